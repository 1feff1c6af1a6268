"""`hotpair probe`: a device looked at before it is in a site."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from gateway import commissioning
from gateway.cli.byte_orders import TYPES, doubles, singles
from gateway.cli.look import console, table
from gateway.cli.profiles import profile_of
from gateway.commissioning import Login, is_opcua
from gateway.errors import BadInput, DeviceError, NotThere
from gateway.model import parse_duration
from profiles.registers import Area, ByteOrder

NETWORK_UNITS: Final = (1, 255, 0)
SERIAL_UNITS: Final = (1,)
COUNT_MAX: Final = 125
STRETCHES_MAX: Final = 20


class Wanted(NamedTuple):
    """What was typed."""

    target: str
    units: str
    profile: str
    registers: tuple[str, ...]
    baudrate: int
    parity: str
    timeout: str


def unit_ids(text: str) -> list[int]:
    """`1-247`, `1,5,255`: unit ids in the order said. Raises BadInput."""
    found: dict[int, None] = {}
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        try:
            low, high = int(first), int(last) if dash else int(first)
        except ValueError:
            low, high = 1, 0
        if not 0 <= low <= high <= 255:
            raise BadInput(f"{part.strip()!r} is no unit id", "Write 1-247 or 1,5,255: 0 to 255")
        found |= dict.fromkeys(range(low, high + 1))
    return list(found)


def stretch(text: str) -> tuple[Area, int, int]:
    """`holding:0:20`: area, 0-based address, count. Raises BadInput."""
    area, _, rest = text.partition(":")
    address, _, count = rest.partition(":")
    try:
        found = (Area(area), int(address, 0), int(count or "1"))
    except ValueError:
        remedy = "Write holding:0:20; areas are holding, input, coil and discrete"
        raise BadInput(f"{text!r} names no registers", remedy) from None
    if not (found[1] >= 0 and 1 <= found[2] <= COUNT_MAX and found[1] + found[2] <= 0x10000):
        remedy = f"Addresses are 0 to 65535, and a read takes 1 to {COUNT_MAX}"
        raise BadInput(f"{text!r} can't be read", remedy)
    return found


def timeout_of(text: str) -> int:
    """How long to wait, in ns. Raises BadInput."""
    try:
        found = parse_duration(text)
    except ValueError as error:
        raise BadInput(f"{text!r} is no time-out", str(error)) from None
    if not 10_000_000 <= found <= 60_000_000_000:
        raise BadInput(f"{text!r} is no time-out", "Write 10ms to 60s")
    return found


def probe(wanted: Wanted, login: Login, as_json: bool) -> int:
    """`hotpair probe`; the exit status is 1 when a profile could not be read.

    Raises BadInput, NotThere when nothing answers, DeviceError.
    """
    if is_opcua(wanted.target):
        found = asyncio.run(_opcua(wanted, login))
        print(json.dumps(found)) if as_json else _show_opcua(found)
        return 0
    target = commissioning.parse_target(wanted.target, wanted.baudrate, wanted.parity)
    stretches = [stretch(text) for text in wanted.registers]
    if wanted.profile:
        profile_of(wanted.profile)
    if len(stretches) > STRETCHES_MAX:
        raise BadInput(f"more than {STRETCHES_MAX} stretches", "Ask several times")
    usual = SERIAL_UNITS if target.is_serial else NETWORK_UNITS
    units = unit_ids(wanted.units) if wanted.units else list(usual)
    answered = asyncio.run(_modbus(target, units, stretches, wanted))
    if not answered:
        asked = wanted.units or ", ".join(map(str, usual))
        wait = "" if wanted.units else "`--units 1-247` asks them all; "
        raise NotThere(
            f"{target.shown} takes connections, but no unit of {asked} answers"
            if not target.is_serial
            else f"nothing answers on {target.shown} as unit {asked}",
            f"{wait}check wiring, baudrate, parity and --timeout".capitalize()
            if target.is_serial
            else f"{wait}check the unit id and --timeout".capitalize(),
        )
    if as_json:
        print(json.dumps({"target": target.shown, "units": answered}))
    else:
        for unit in answered:
            _show_unit(target.shown, unit)
    return 1 if any(unit.get("profile", {}).get("fault") for unit in answered) else 0


async def _modbus(
    target: commissioning.Target,
    units: Sequence[int],
    stretches: Sequence[tuple[Area, int, int]],
    wanted: Wanted,
) -> list[dict[str, Any]]:
    timeout_ns = timeout_of(wanted.timeout)
    found = await commissioning.survey(
        target, units, not wanted.units, timeout_ns, _progress(len(units))
    )
    answered = []
    for unit in found:
        texts = [*unit.identity.values(), unit.server_id]
        suggested = commissioning.suggest_profiles(texts, unit.models)
        told: dict[str, Any] = {
            "unit_id": unit.unit_id,
            "answer": unit.answer,
            "identity": unit.identity,
            "server_id": unit.server_id,
            "sunspec": None
            if unit.base is None
            else {"base": unit.base, "models": list(unit.models)},
            "suggested": [suggestion._asdict() for suggestion in suggested],
            "registers": [
                await _read(target, unit.unit_id, *part, timeout_ns) for part in stretches
            ],
        }
        if wanted.profile:
            points, fault = await commissioning.decoded(
                target, unit.unit_id, wanted.profile, timeout_ns
            )
            told["profile"] = {
                "profile": wanted.profile,
                "fault": fault,
                "points": [_plain(point._asdict()) for point in points],
            }
        answered.append(told)
    return answered


def _plain(point: dict[str, Any]) -> dict[str, Any]:
    value = point["value"]
    return point | {"value": value.hex() if isinstance(value, bytes) else value}


async def _read(
    target: commissioning.Target, unit: int, area: Area, address: int, count: int, timeout_ns: int
) -> dict[str, Any]:
    found: dict[str, Any] = {"area": area.value, "address": address, "words": [], "error": ""}
    try:
        found["words"] = await commissioning.registers(
            target, unit, area, address, count, timeout_ns
        )
    except DeviceError as error:
        found["error"] = error.message
    return found


def _progress(count: int) -> Callable[[int], None]:
    """Tells on a terminal which unit is asked."""

    def tell(unit: int) -> None:
        if count > len(NETWORK_UNITS) and sys.stderr.isatty():
            print(f"\rasking unit {unit} ", end="", file=sys.stderr, flush=True)

    return tell


# ------------------------------------------------------------------------------------- shown


def _show_unit(shown: str, unit: dict[str, Any]) -> None:
    lines = [f"{shown} unit {unit['unit_id']} answers: {unit['answer']}"]
    lines += [f"  {name}: {text}" for name, text in unit["identity"].items()]
    if unit["server_id"]:
        lines.append(f"  server id: {unit['server_id']}")
    if unit["sunspec"] is not None:
        models = ", ".join(map(str, unit["sunspec"]["models"]))
        lines.append(f"  SunSpec at {unit['sunspec']['base']}: models {models}")
    if not unit["identity"] and not unit["server_id"] and unit["sunspec"] is None:
        lines.append("  it does not say who it is (FC43/14, FC17, SunSpec)")
    for suggested in unit["suggested"]:
        lines.append(f"  profile {suggested['profile']} may fit: {suggested['why']}")
    print("\n".join(lines))
    for part in unit["registers"]:
        _show_registers(part)
    if "profile" in unit:
        _show_profile(unit["profile"])


def _show_registers(part: dict[str, Any]) -> None:
    where = f"{part['area']} {part['address']}"
    if part["error"]:
        print(f"{where}: {part['error']}")
        return
    words, first = part["words"], part["address"]
    if Area(part["area"]).is_bits:
        rows = [(first + at, bool(word)) for at, word in enumerate(words)]
        console().print(table(where, ("address", "value"), rows))
        return
    rows_16 = (
        (first + at, f"0x{words[at]:04X}", one["uint16"], one["int16"], one["swapped"])
        for at, one in enumerate(singles(words))
    )
    columns = ("address", "hex", "uint16", "int16", "bytes swapped")
    console().print(table(f"{where}: 16 bits", columns, rows_16))
    for kind in TYPES if len(words) > 1 else ():
        rows_32 = (
            (first + at, *(_figure(one[order.value]) for order in ByteOrder))
            for at, one in enumerate(doubles(words, kind))
        )
        head = f"{where}: {kind} by byte order"
        console().print(table(head, ("address", *ByteOrder), rows_32))


def _figure(value: float) -> str:
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def _show_profile(found: dict[str, Any]) -> None:
    rows = (
        (
            point["point"],
            _figure(point["value"]) if point["value"] is not None else "",
            point["label"] or "",
            point["unit"],
            point["status"],
        )
        for point in found["points"]
    )
    head = f"profile {found['profile']}"
    head += f": {found['fault']}" if found["fault"] else ""
    console().print(table(head, ("point", "value", "means", "unit", "status"), rows))


# ----------------------------------------------------------------------------------- OPC UA


async def _opcua(wanted: Wanted, login: Login) -> dict[str, Any]:
    from gateway.opcua_visits import about, opcua_device

    device = opcua_device(wanted.target, login, timeout_of(wanted.timeout))
    return {"target": wanted.target, **await about(device, commissioning.visitor())}


def _show_opcua(found: dict[str, Any]) -> None:
    rows = (
        (end["policy"], end["mode"], ", ".join(end["users"]), end["url"], end["certificate"][:23])
        for end in found["endpoints"]
    )
    columns = ("policy", "mode", "logins", "url", "certificate (SHA-256)")
    console().print(table(f"{found['target']}: endpoints", columns, rows))
    if found["refused"]:
        print(f"no session: {found['refused']}")
        return
    server = found["server"]
    offset = server["clock_offset_ms"]
    told = "unknown" if offset is None else f"{offset:+.1f} ms from this machine's"
    print(f"it lets us in: {server['product'] or 'no product name'}, clock {told}")
    for index, uri in enumerate(server["namespaces"]):
        print(f"  namespace {index}: {uri}")
    for warning in server["warnings"]:
        print(f"  {warning}")
    print("`hotpair browse` lists its variables")
