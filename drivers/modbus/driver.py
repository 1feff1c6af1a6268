"""The Modbus driver as the gateway knows it."""

from __future__ import annotations

from drivers.modbus.layout import Layout
from drivers.modbus.line import OpenLine
from drivers.modbus.refusals import Refusals
from drivers.modbus.review import review
from drivers.modbus.settings import ModbusDevice, ModbusLine, Tls, effective
from gateway.driver import DeviceSpec, Driver, DriverContext, Line, LineSpec, Schema
from profiles.schema import ModbusPoint, Profile, published_type


def requests(device: DeviceSpec, scan_class: str) -> int:
    """How many requests one scan of a class takes; SunSpec points count once the device is met."""
    layout = Layout.of(device, effective(device), None, serial=False)
    return len(layout.plan_of(scan_class, Refusals((), 0)).blocks)


def files(line: LineSpec) -> list[tuple[str, str, str]]:
    """The certificates that a line of Modbus/TCP Security names: each node has its own."""
    tls: Tls | None = line.settings.tls
    if tls is None:
        return []
    named = (("ca", tls.ca), ("cert", tls.cert), ("key", tls.key))
    first = line.devices[0].name
    return [(first, f"line.tls.{key}", path) for key, path in named if path]


class ModbusDriver:
    """Modbus TCP, TCP Security, UDP, RTU, and RTU over TCP."""

    name = "modbus"
    schema = Schema(
        device=ModbusDevice,
        point=ModbusPoint,
        line=ModbusLine,
        profile=Profile,
        published_type=published_type,
        subscribed=lambda settings: False,
        review=review,
        requests=requests,
        files=files,
    )

    def open_line(self, line: LineSpec, context: DriverContext) -> Line:
        """A line ready to be scanned; it connects on its first scan."""
        return OpenLine(line, context)


driver: Driver = ModbusDriver()
