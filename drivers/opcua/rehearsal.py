"""Logging in at a server once from the Standby: would it let us in, and if not, why not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from drivers.opcua import pki
from drivers.opcua.session import Session
from drivers.opcua.settings import OpcUaDevice
from drivers.opcua.wire import Wire
from gateway.driver import DeviceSpec, DriverContext, Rehearsal
from gateway.errors import DeviceError, LinkError, Refused, ReplyTimeout
from gateway.model import Status

_BUSY: Final = (
    "BadTooManySessions",
    "BadTcpServerTooBusy",
    "BadTcpNotEnoughResources",
    "BadMaxConnectionsReached",
    "BadSecureChannelLimit",
)
_SLOTS: Final = "The server has no session free (the Main holds one): raise its limit, or free one"
_REASONS: Final = (
    (
        ("refused", "Connect call failed"),
        "Nothing listens there, or the server admits only addresses that it knows: check "
        "`endpoint:`",
    ),
    (
        ("No route to host", "unreachable"),
        "There is no way to it: check the address, this node's cable and routes, and `bind:`",
    ),
    (
        ("assign requested address",),
        "`bind:` in node.yaml is no address of this machine",
    ),
    (
        ("not known", "name resolution", "No address"),
        "The name is not known on this node: write the address, or teach it the name",
    ),
    (
        ("does not answer a connection attempt",),
        "The server is off, elsewhere, or behind a firewall",
    ),
)


async def rehearse(spec: DeviceSpec, context: DriverContext) -> Rehearsal:
    """Connect, log in, ask for namespaces and time, leave. Not gated: a Standby may knock."""
    visitor = replace(context, may_send=lambda: True)
    session = Session(spec.settings, Wire(spec.name, visitor), visitor)
    try:
        await session.open()
    except DeviceError as error:
        remedy = await _remedy(error, spec.settings, context)
        return Rehearsal(spec.name, True, False, error.message, remedy)
    detail = "; ".join([f"{session.product or 'the server'} lets us in", *session.warnings])
    await session.close()
    return Rehearsal(spec.name, True, True, detail)


async def _remedy(error: DeviceError, device: OpcUaDevice, context: DriverContext) -> str:
    if any(name in error.message for name in _BUSY):
        return _SLOTS
    if isinstance(error, pki.NotTrusted | pki.BadCredentials):
        return error.remedy
    secured = device.protected and "secure channel" in error.message
    untrusted = isinstance(error, Refused) and error.status == Status.BAD_CONFIGURATION_ERROR
    if untrusted or (secured and isinstance(error, LinkError | ReplyTimeout)):
        return _trust(device, context)
    if isinstance(error, ReplyTimeout):
        return error.remedy or "It took the connection but said nothing: is it an OPC UA server?"
    if error.remedy:
        return error.remedy
    return remedy_of(error.message)


def remedy_of(reason: str) -> str:
    """What a person can do about a connection that did not come about."""
    return next((text for signs, text in _REASONS if any(s in reason for s in signs)), "")


def _trust(device: OpcUaDevice, context: DriverContext) -> str:
    """Which certificate the server has to trust: this node's own, not the Main's."""
    security = device.security
    own: Path = context.data_dir / "pki" / "own" / "client.der"
    if security is not None and security.certificate is not None:
        own = context.base_dir / security.certificate
    shown = pki.fingerprint_of(own)
    return f"Let the server trust this node's own certificate: {own}{shown}"
