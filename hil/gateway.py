"""The gateway as the rig sees it: an installed program, its socket, its OPC UA endpoint.

Nothing of the gateway is imported here but its words: what the rig judges is the program that an
integrator installs, started as a process, killed as a process.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import httpx
from asyncua import Client, ua

from gateway.model import Cause, Gap, GapState, HistoryRow, Origin, Position, Term, Value
from hil.child import Child

START_S: Final = 30.0
PAGE: Final = 10_000


class ProgramError(RuntimeError):
    """A program of the rig did not do what it must; the message holds its last words."""


class Program(Child):
    """A `hotpair` process, or another Python program that `runs` names.

    The line `ready` is awaited on its standard output before it counts as started. `before` is put
    before the command: `Lab.inside` runs it on one of the lab's machines.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        log: Path,
        ready: str,
        runs: Sequence[str] = ("-m", "gateway.cli"),
        before: Sequence[str] = (),
    ) -> None:
        super().__init__(name, (*before, sys.executable, *runs, *arguments), log)
        self._ready = ready

    async def start(self) -> str:
        """Start, and wait for the ready line; it is returned. Raises ProgramError."""
        output = await self._launch(os.environ)
        try:
            async with asyncio.timeout(START_S):
                while line := (await output.readline()).decode():
                    if self._ready in line:
                        self._pump = asyncio.create_task(self._drain(output))
                        return line.strip()
        except TimeoutError:
            pass
        await self.kill()
        raise ProgramError(f"{self.name} did not start:\n{self.last_words()}")

    async def _drain(self, output: asyncio.StreamReader) -> None:
        while await output.readline():
            continue


class Control:
    """A running node through its socket."""

    def __init__(self, data_dir: Path) -> None:
        transport = httpx.AsyncHTTPTransport(uds=str(data_dir / "control.sock"))
        self._http = httpx.AsyncClient(
            transport=transport, base_url="http://node", timeout=30.0, trust_env=False
        )

    async def close(self) -> None:
        """Close the connection."""
        await self._http.aclose()

    async def get(self, path: str, **params: Any) -> Any:
        """A JSON answer. Raises httpx.HTTPError."""
        response = await self._http.get(path, params=params)
        response.raise_for_status()
        return response.json()

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """An order; what was done. Raises httpx.HTTPError."""
        response = await self._http.post(path, json=body)
        response.raise_for_status()
        answer: dict[str, Any] = response.json()
        return answer

    async def write(self, point: str, value: Value) -> dict[str, Any]:
        """Write a point as a command does; the outcome. Raises httpx.HTTPError."""
        return await self.post("/write", {"who": "rig", "point": point, "value": value})

    async def gaps(self, from_ns: int, to_ns: int) -> list[Gap]:
        """All gaps of all devices."""
        found = await self.get("/gaps", **{"from": from_ns, "to": to_ns})
        return [
            Gap(
                **{
                    **gap,
                    "cause": Cause(gap["cause"]),
                    "state": GapState(gap["state"]),
                    "points": tuple(gap["points"]),
                }
            )
            for gap in found
        ]

    async def history(self, point: str, from_ns: int, to_ns: int) -> list[HistoryRow]:
        """The stored samples of a point, page by page."""
        rows: list[HistoryRow] = []
        cursor: str | None = ""
        while cursor is not None:
            span = {"from": from_ns, "to": to_ns, "limit": PAGE, "cursor": cursor}
            page = await self.get("/history", point=point, **span)
            rows += [_row(row) for row in page["rows"]]
            cursor = page["cursor"]
        return rows


def _row(row: dict[str, Any]) -> HistoryRow:
    term, _, seq = row["position"].rpartition("/")
    number, node, nonce = term.split(".")
    return HistoryRow(
        row["time_ns"],
        row["value"],
        row["status"],
        row["received_ns"],
        Origin[row["origin"].upper()],
        Position(Term(int(number), node, int(nonce, 16)), int(seq)),
    )


def ticks(moment: Any) -> int:
    """A datetime of the OPC UA client (naive, UTC) in ns."""
    epoch: int = ua.datetime_to_win_epoch(moment) * 100
    return epoch - 11_644_473_600 * 1_000_000_000


class Reader:
    """An OPC UA client that reads history as any vendor's would: HistoryRead raw, page by page."""

    def __init__(self, url: str, namespace: str) -> None:
        self._client = Client(url, timeout=10)
        self._client.session_timeout = 60_000
        self._namespace = namespace
        self._index = 0

    async def __aenter__(self) -> Reader:
        await self._client.connect()
        self._index = await self._client.get_namespace_index(self._namespace)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.disconnect()

    async def history(self, point: str, from_ns: int, to_ns: int) -> list[tuple[int, Value, int]]:
        """(source time in ns, value, status) of each stored sample in [from, to)."""
        node = ua.NodeId(point, self._index)
        details = ua.ReadRawModifiedDetails(
            IsReadModified=False,
            StartTime=_moment(from_ns),
            EndTime=_moment(to_ns),
            NumValuesPerNode=0,
            ReturnBounds=False,
        )
        rows: list[tuple[int, Value, int]] = []
        continuation: bytes | None = None
        while True:
            wanted = ua.HistoryReadValueId(NodeId=node, ContinuationPoint=continuation)
            parameters = ua.HistoryReadParameters(
                HistoryReadDetails=details,
                TimestampsToReturn=ua.TimestampsToReturn.Both,
                ReleaseContinuationPoints=False,
                NodesToRead=[wanted],
            )
            result = (await self._client.uaclient.history_read(parameters))[0]
            result.StatusCode.check()
            for found in result.HistoryData.DataValues:
                value = found.Value.Value if found.Value is not None else None
                rows.append((ticks(found.SourceTimestamp), value, found.StatusCode.value))
            continuation = result.ContinuationPoint
            if not continuation:
                return rows


def _moment(time_ns: int) -> Any:
    return ua.win_epoch_to_datetime(time_ns // 100 + 116_444_736_000_000_000)
