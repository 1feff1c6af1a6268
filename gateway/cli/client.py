"""Speaking to the running node through its socket; errors become one line with a remedy."""

from __future__ import annotations

import contextlib
import getpass
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx

from gateway.errors import BadInput, ControlError, NotThere

TIMEOUT_S: Final = 30.0
SOCKET: Final = "control.sock"
SILENT: Final = "BadNoCommunication"
"""How a device error is told whose device did not answer."""
_KINDS: Final = {404: NotThere, 422: BadInput}


def socket_of(node: Path) -> Path:
    """The socket of the node that `node` names.

    That is a node.yaml, its folder, a data directory or the socket. Raises NotThere, BadInput,
    ControlError.
    """
    from gateway.config.files import data_dir_of

    try:
        if node.is_socket():
            return node
        if node.is_dir() and not (node / SOCKET).exists() and (node / "node.yaml").is_file():
            node = node / "node.yaml"
        path = (node if node.is_dir() else data_dir_of(node)) / SOCKET
        with contextlib.suppress(FileNotFoundError):
            path.stat()
    except PermissionError as error:
        raise ControlError(
            f"this user may not look at {error.filename}",
            "Be root, or in the group of the node's user: `usermod -aG hotpair NAME`",
        ) from error
    return path


def _start(file: Path | str) -> str:
    """Run by hand, the service's node would leave files that the service can't write."""
    from gateway.cli.options import SERVICE

    return "`systemctl start hotpair`" if file == SERVICE else f"`hotpair run {file}`"


def who() -> str:
    """Who acts, for the audit."""
    return f"{getpass.getuser()} (local)"


class NodeClient:
    """A connection to one node. Raises ControlError."""

    def __init__(self, node: Path, timeout_s: float = TIMEOUT_S) -> None:
        self._path = socket_of(node)
        named = [file for file in (node, node / "node.yaml") if file.is_file()]
        file = self._file = named[0] if named else "node.yaml"
        if not self._path.exists():
            raise NotThere(f"no node runs on {self._path.parent}", f"Start it with {_start(file)}")
        transport = httpx.HTTPTransport(uds=str(self._path))
        self._http = httpx.Client(
            transport=transport, base_url="http://node", timeout=timeout_s, trust_env=False
        )

    def __enter__(self) -> NodeClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, **params: Any) -> Any:
        """A JSON answer."""
        return self._checked(self._send("GET", path, params=params))

    def post(self, path: str, body: dict[str, Any], timeout_s: float = TIMEOUT_S) -> Any:
        """A JSON answer to a command."""
        return self._checked(self._send("POST", path, json=body, timeout=timeout_s))

    def lines(self, path: str, **params: Any) -> Iterator[dict[str, Any]]:
        """A stream of JSON lines, until the node or the reader ends it."""
        try:
            with self._http.stream("GET", path, params=params, timeout=None) as response:
                if response.is_error:
                    response.read()
                    self._checked(response)
                for line in response.iter_lines():
                    if line:
                        yield json.loads(line)
        except httpx.TransportError as error:
            raise self._silent(error) from error

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise self._silent(error) from error

    def _silent(self, error: Exception) -> NotThere:
        return NotThere(
            f"the node at {self._path} does not answer ({error})",
            f"Look at its log; start it with {_start(self._file)}",
        )

    @staticmethod
    def _checked(response: httpx.Response) -> Any:
        if not response.is_error:
            return response.json()
        try:
            body = response.json()
        except ValueError as error:  # not of ours: the node was stopped while it worked on this
            raise ControlError(
                f"the node broke off ({response.status_code} {response.reason_phrase})",
                "Look at its log",
            ) from error
        detail = body.get("detail", response.reason_phrase)
        if isinstance(detail, list):
            detail = "; ".join(f"{'/'.join(map(str, d['loc'][1:]))}: {d['msg']}" for d in detail)
        kind = _KINDS.get(response.status_code, ControlError)
        if body.get("status") == SILENT:
            kind = NotThere
        raise kind(str(detail), body.get("remedy", ""))
