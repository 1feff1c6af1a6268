"""OPC UA servers visited without a node: for `hotpair probe` and `browse`.

A part of `commissioning` of its own, since loading the OPC UA library takes half a second.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from drivers.opcua.nodes import HELP, parse_node
from drivers.opcua.rehearsal import remedy_of
from drivers.opcua.session_browsing import Visit, endpoints
from drivers.opcua.settings import OpcUaDevice
from gateway.commissioning import Login
from gateway.driver import DriverContext
from gateway.errors import BadInput, DeviceError, LinkError
from gateway.model import NS_PER_MS


def opcua_device(url: str, login: Login, timeout_ns: int) -> OpcUaDevice:
    """The settings that reach a server. Raises BadInput."""
    user, password_file, policy, trust_any = login
    security: dict[str, Any] = {"policy": policy, "trust_any": trust_any}
    if user:
        security["user"] = user
    if password_file is not None:
        if not password_file.is_file():
            raise BadInput(f"there is no file {password_file}", "Write the password into a file")
        security["password"] = {"file": str(password_file)}
    settings = {
        "driver": "opcua",
        "endpoint": url,
        "timeout": f"{timeout_ns // NS_PER_MS}ms",
        "security": security,
        "insecure": policy == "None",
    }
    try:
        return OpcUaDevice.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        remedy = "`hotpair probe --help` lists what may be said"
        raise BadInput(f"{where}: {message}" if where else message, remedy) from None


def check_node_id(text: str) -> None:
    """Whether a text is a NodeId. Raises BadInput."""
    try:
        parse_node(text)
    except ValueError as error:
        raise BadInput(f"{text!r} is no NodeId", f"{HELP[0].upper()}{HELP[1:]}") from error


async def about(device: OpcUaDevice, context: DriverContext) -> dict[str, Any]:
    """A server's endpoints, and what it says when it lets us in, or why it doesn't.

    Raises DeviceError when it does not tell even its endpoints.
    """
    try:
        offered = await endpoints(device, context)
    except LinkError as error:
        raise LinkError(error.message, error.remedy or remedy_of(error.message)) from error
    found: dict[str, Any] = {
        "endpoints": [end._asdict() for end in offered],
        "server": None,
        "refused": "",
    }
    visit = Visit(device, context)
    try:
        await visit.open()
    except DeviceError as error:
        found["refused"] = str(error)
        return found
    found["server"] = visit.about
    await visit.close()
    return found


async def variables(
    device: OpcUaDevice,
    context: DriverContext,
    start: str,
    depth: int,
    limit: int,
    told: Callable[[int], None],
) -> dict[str, Any]:
    """The variables below a node, and whether a bound ended the search. Raises DeviceError."""
    visit = Visit(device, context)
    try:
        await visit.open()
    except LinkError as error:
        raise LinkError(error.message, error.remedy or remedy_of(error.message)) from error
    try:
        tree = await visit.browse(start, depth, limit, told)
    finally:
        await visit.close()
    return {
        "nodes": tree.nodes,
        "more": tree.more,
        "variables": [variable._asdict() for variable in tree.variables],
    }
