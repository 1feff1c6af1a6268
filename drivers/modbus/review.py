"""What is wrong with a line that no single device or point shows. Pure.

Gives (device, point or "", key, message, remedy); `warning: ` as in gateway.driver.Schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from drivers.modbus.log.check import check
from drivers.modbus.plan import unreadable
from drivers.modbus.settings import Effective, ModbusDevice, ModbusLine, effective
from drivers.modbus.write import is_register_bit
from gateway.driver import DeviceSpec, LineSpec, PointSpec
from gateway.model import format_duration
from profiles.schema import Area, ModbusPoint, PointMap, WireType, parse_address, resolve

Finding = tuple[str, str, str, str, str]


def review(line: LineSpec) -> Sequence[Finding]:
    """Every finding of a line and its devices."""
    return [*_line(line), *(f for device in line.devices for f in _device(line, device))]


def _line(line: LineSpec) -> Iterator[Finding]:
    settings: ModbusLine = line.settings
    first = line.devices[0].name if line.devices else ""
    if settings.rtu is not None and line.port is None:
        yield (
            first,
            "",
            "line",
            f"line {line.name} is serial, and this node names no port for it",
            f"Write `ports: {{{line.name}: /dev/ttyUSB0}}` in node.yaml",
        )
    taken: dict[int, str] = {}
    for device in line.devices:
        unit_id = device.settings.unit_id
        if unit_id in taken:
            yield (
                device.name,
                "",
                "unit_id",
                f"unit {unit_id} on line {line.name} is {taken[unit_id]} already",
                "Give each device of a line a unit_id of its own, or merge the two",
            )
        taken.setdefault(unit_id, device.name)
    yield from _neighbours(line)


def _neighbours(line: LineSpec) -> Iterator[Finding]:
    """Devices whose time-out, spent when they hang, makes others on the line miss instants."""
    fastest = sorted(
        (period_ns, device.name, scan_class)
        for device in line.devices
        for scan_class, period_ns in device.scan_classes.items()
    )
    for device in line.devices:
        timeout_ns = device.settings.timeout_ns
        others = [each for each in fastest if each[1] != device.name]
        if not others or timeout_ns * 2 <= others[0][0] * 3:
            continue
        period_ns, other, scan_class = others[0]
        yield (
            device.name,
            "",
            "timeout",
            f"warning: whenever it hangs, class {scan_class} ({format_duration(period_ns)}) of "
            f"{other} on the same line waits {format_duration(timeout_ns)} and misses instants",
            f"Set timeout to {format_duration(period_ns)}, or scan {other} more slowly",
        )


def _device(line: LineSpec, device: DeviceSpec) -> Iterator[Finding]:
    own: ModbusDevice = device.settings
    line_settings: ModbusLine = line.settings
    if line_settings.is_rtu_framed and not 1 <= own.unit_id <= 247:
        what = "the broadcast address" if own.unit_id == 0 else "reserved"
        yield (
            device.name,
            "",
            "unit_id",
            f"unit {own.unit_id} is {what} on a serial line",
            "Use 1 to 247, as set at the device",
        )
    if own.unit_id == 255 and device.profile and "pac3200" in device.profile.profile.lower():
        yield (
            device.name,
            "",
            "unit_id",
            "a PAC3200 does not answer reads for unit 255",
            "Use unit_id: 1",
        )
    holds = effective(device)
    if own.heartbeat is not None:
        try:
            _, area = parse_address(own.heartbeat.address, holds.defaults.address_base)
            if area not in (None, own.heartbeat.register_):
                raise ValueError(f"it is a {area}, but register says {own.heartbeat.register_}")
        except ValueError as error:
            yield device.name, "", "heartbeat.address", str(error), "Correct the address"
    resolved: list[tuple[PointSpec, PointMap]] = []
    for spec in device.points:
        try:
            resolved.append((spec, resolve(spec.name, spec.settings, holds.defaults)))
        except ValueError as error:
            yield device.name, spec.name, "address", str(error), "Correct the point"
    yield from _points(device, holds, resolved)
    for key, message, remedy in check(device):
        yield device.name, "", key, message, remedy


def _points(
    device: DeviceSpec, holds: Effective, resolved: Sequence[tuple[PointSpec, PointMap]]
) -> Iterator[Finding]:
    # Where the models of a SunSpec device begin is known only at the device.
    fixed = [(spec, place) for spec, place in resolved if place.model is None]
    readable = [(spec, place) for spec, place in fixed if spec.access.readable]
    reasons = unreadable([place for _, place in readable], holds.limits)
    for index, reason in sorted(reasons.items()):
        yield (
            device.name,
            readable[index][0].name,
            "address",
            f"the point can't be read: {reason}",
            "Correct the address, or `limits:` of the device",
        )
    for spec, place in resolved:
        yield from _writable(device, holds, spec, place)
        yield from _modicon(device, holds, spec, place)
    yield from _overlaps(device, fixed)


def _writable(
    device: DeviceSpec, holds: Effective, spec: PointSpec, place: PointMap
) -> Iterator[Finding]:
    if not spec.access.writable:
        return
    if is_register_bit(place) and not (holds.quirks.has_fc22 or place.point.read_modify_write):
        yield (
            device.name,
            spec.name,
            "read_modify_write",
            "writing one bit of a register needs FC22 or a read before the write",
            "Set `quirks: {has_fc22: true}`, or `read_modify_write: true` if nobody else writes it",
        )
    if not place.area.is_bits and place.words > holds.limits.max_write_words:
        yield (
            device.name,
            spec.name,
            "access",
            f"the value has {place.words} registers, one write takes "
            f"{holds.limits.max_write_words}",
            "Use access: r, or raise limits.max_write_words if the device can do more",
        )


def _modicon(
    device: DeviceSpec, holds: Effective, spec: PointSpec, place: PointMap
) -> Iterator[Finding]:
    point: ModbusPoint = spec.settings
    first = {Area.HOLDING: 40001, Area.INPUT: 30001, Area.DISCRETE: 10001}.get(place.area)
    if first is None or not isinstance(point.address, int) or device.profile is not None:
        return
    if holds.defaults.address_base == 0 and point.model is None:
        beyond = point.address - first
        if 0 <= beyond <= 9998 and _looks_modicon(device, first):
            wire = beyond
            yield (
                device.name,
                spec.name,
                "address",
                f"warning: {point.address} looks like a Modicon number but is taken as 0-based",
                f"Write '{point.address}' in quotes, or {wire}; if the device really has "
                f"register {point.address}, write it in hexadecimal: {point.address:#x}",
            )


def _looks_modicon(device: DeviceSpec, first: int) -> bool:
    """Whether all integer addresses of a device lie where Modicon numbers do."""
    addresses = [p.settings.address for p in device.points]
    return all(first <= a <= first + 9998 for a in addresses if isinstance(a, int))


def _overlaps(device: DeviceSpec, fixed: Sequence[tuple[PointSpec, PointMap]]) -> Iterator[Finding]:
    """Writable values that share registers: writing one changes the other."""
    writable = sorted(
        ((s, m) for s, m in fixed if s.access.writable and not is_register_bit(m)),
        key=lambda pair: (pair[1].area, pair[1].address),
    )
    for (spec, place), (other, neighbour) in pairwise(writable):
        alike = place.address == neighbour.address and place.words == neighbour.words
        same = alike and place.type is neighbour.type is not WireType.STRING
        if place.area is neighbour.area and neighbour.address < place.address + place.words:
            yield (
                device.name,
                other.name,
                "address",
                f"warning: it shares registers with {spec.name}, and both can be written"
                + (" (the same value twice)" if same else ""),
                "Make one of them access: r, or correct the addresses",
            )
