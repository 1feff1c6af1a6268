"""A site as the rig sees it: lines to listen on, units behind them, points with their truth.

The rig reads `site.yaml`, its CSVs and the profiles by itself. The gateway's reader belongs to what
is judged: if both used it, a point that it dropped would be missed by nobody. Only what an
outstation needs is read; `hotpair check` is the place where mistakes are explained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from gateway.model import Access, DataType, Settings, Value, parse_duration
from hil.settings import Rig, SiteError, load_yaml
from hil.tables import read_csv
from hil.truth import Signal, Step
from hil.waves import opcua_signal, register_signals
from profiles.schema import (
    Defaults,
    Limits,
    ModbusPoint,
    PointMap,
    Profile,
    Quirks,
    SunSpec,
    published_type,
    resolve,
)
from profiles.windback import Clock, NoLog, Windback, effective

OPCUA_TYPES: Final = {
    "double": "float64",
    "lreal": "float64",
    "float": "float32",
    "real": "float32",
    "boolean": "bool",
    "byte": "uint8",
    "sbyte": "int8",
    "text": "string",
}
"""What OPC UA calls a type, in our words."""
_NO_LIMITS: Final = Limits()
_NO_QUIRKS: Final = Quirks()

_Model = TypeVar("_Model", bound=Settings)


@dataclass(frozen=True, slots=True)
class PlantPoint:
    """A point with its truth. `bit_of` cuts one bit out of another point's whole number.

    `place` is a PointMap (Modbus) or (NodeId text, array index or None) (OPC UA). `exponent` is the
    signal of its SunSpec scale factor. `unreadable` points lie where the device refuses.
    """

    device: str
    name: str
    place: Any
    data_type: DataType
    access: Access
    scan_class: str
    period_ns: int
    signal: Signal
    deadband: float = 0.0
    bit_of: int | None = None
    exponent: Signal | None = None
    unreadable: bool = False

    @property
    def id(self) -> str:
        return f"{self.device}/{self.name}"

    def raw_at(self, time_ns: int) -> Value:
        """What lies on the wire at an instant, before scaling."""
        return self._cut(self.signal.value_at(time_ns))

    def expected(self, time_ns: int) -> Value:
        """What the gateway should publish for an instant, in engineering units."""
        return self.engineering(self.raw_at(time_ns), time_ns)

    def steps(self, from_ns: int, to_ns: int) -> list[Step]:
        """What the gateway should publish: the value at `from_ns` and each change until `to_ns`."""
        found: list[Step] = []
        for at_ns, value in self.signal.steps(from_ns, to_ns):
            scaled = self.engineering(self._cut(value), at_ns)
            if not found or found[-1].value != scaled:
                found.append(Step(at_ns, scaled))
        return found

    def engineering(self, raw: Value, time_ns: int) -> Value:
        """A raw value scaled as the point's settings say."""
        if not isinstance(self.place, PointMap) or isinstance(raw, (bool, str)) or raw is None:
            return raw
        assert isinstance(raw, int | float)
        settings = self.place.point
        value: int | float = raw
        if settings.range is not None and settings.range.raw is not None:
            (raw_low, raw_high), (low, high) = settings.range.raw, settings.range.eu
            value = low + (raw - raw_low) * (high - low) / (raw_high - raw_low)
        if self.exponent is not None:
            power = self.exponent.value_at(time_ns)
            assert isinstance(power, int)
            value = value * 10.0**power
        if settings.scale != 1 or settings.offset != 0:
            value = value * settings.scale + settings.offset
        if self.data_type in (DataType.FLOAT32, DataType.FLOAT64):
            return float(value)
        return round(value)

    def _cut(self, value: Value) -> Value:
        if self.bit_of is None:
            return value
        assert isinstance(value, int)
        return bool(value >> self.bit_of & 1)


@dataclass(frozen=True, slots=True)
class PlantDevice:
    """One outstation. Modbus: `line` names where it listens, `unit_id` who it is there.

    `windback` says how its own log is read, None: it keeps none. `address_base` counts the
    registers of log and clock.
    """

    name: str
    driver: str
    line: str
    points: tuple[PlantPoint, ...]
    unit_id: int = 1
    limits: Limits = _NO_LIMITS
    quirks: Quirks = _NO_QUIRKS
    sunspec_base: int = 40000
    identity: tuple[str, str, str] = ("Hotpair", "outstation", "1")
    settings: Mapping[str, Any] = field(default_factory=dict)
    windback: Windback | None = None
    clock: Clock | None = None
    address_base: int = 0


@dataclass(frozen=True, slots=True)
class PlantLine:
    """Where outstations listen: transport `tcp`, `tls`, `udp`, `rtu_over_tcp`, `rtu` or `opcua`."""

    name: str
    transport: str
    hosts: tuple[str, ...] = ()
    port: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plant:
    """A whole site, ready to be emulated."""

    site: str
    lines: Mapping[str, PlantLine]
    devices: Mapping[str, PlantDevice]
    rig: Rig

    def points(self) -> Iterable[PlantPoint]:
        """Every point of every device."""
        for device in self.devices.values():
            yield from device.points


def read_site(
    text: str,
    read: Callable[[str], str],
    profile: Callable[[str], Profile],
    rig: Rig | None = None,
) -> Plant:
    """The plant of a `site.yaml`. `read` gives the text of a file beside it, `profile` a profile.

    Raises SiteError.
    """
    data, rig = load_yaml(text), rig or Rig()
    classes = {"normal": "1s"} | data.get("scan_classes", {})
    periods = {name: parse_duration(period) for name, period in classes.items()}
    rows: dict[str, dict[str, Any]] = {}
    for file in data.get("points_csv", ()):
        for device, name, settings in read_csv(read(file)):
            rows.setdefault(device, {})[name] = settings
    lines: dict[str, PlantLine] = {}
    devices: dict[str, PlantDevice] = {}
    for name, settings in data.get("devices", {}).items():
        points = rows.pop(name, {}) | (settings.get("points") or {})
        try:
            if settings["driver"] == "opcua":
                built, line = _opcua_device(name, settings, points, rig, periods)
            else:
                line = _line(settings["line"], data.get("lines", {}))
                known = profile(settings["profile"]) if settings.get("profile") else None
                built = modbus_device(name, settings, points, known, line, rig, periods)
        except (KeyError, TypeError, ValueError) as error:
            raise SiteError(f"device {name}: {error}") from error
        devices[name] = built
        lines.setdefault(line.name, line)
    if rows:
        raise SiteError(f"points of devices that the site does not have: {sorted(rows)}")
    return Plant(data.get("site", "site"), lines, devices, rig)


def _line(line: str | Mapping[str, Any], named: Mapping[str, Any]) -> PlantLine:
    """A named line, or the line that all devices of one inline transport, host and port share."""
    settings = named[line] if isinstance(line, str) else line
    for transport in ("tcp", "tls", "udp", "rtu_over_tcp", "rtu"):
        if transport in settings:
            options = settings[transport] or {}
            if transport == "rtu":
                return PlantLine(str(line), transport, options=options)
            hosts = tuple(options.get("hosts") or [options["host"]])
            port = options.get("port", 802 if transport == "tls" else 502)
            name = line if isinstance(line, str) else f"{transport} {hosts[0]}:{port}"
            return PlantLine(name, transport, hosts, port, options)
    raise SiteError(f"line {line}: no known transport")


def modbus_device(
    name: str,
    settings: Mapping[str, Any],
    points: Mapping[str, Any],
    profile: Profile | None,
    line: PlantLine,
    rig: Rig,
    periods: Mapping[str, int],
) -> PlantDevice:
    """A Modbus outstation: the profile's points, and those that the site adds, changes or drops."""
    models: dict[str, ModbusPoint] = dict(profile.points) if profile else {}
    for point, given in points.items():
        if given is None:
            models.pop(point, None)
            continue
        known: dict[str, Any] = {}
        if point in models:
            known = models[point].model_dump(by_alias=True, exclude_unset=True)
        models[point] = ModbusPoint.model_validate(known | dict(given))
    defaults = _over(profile.defaults if profile else Defaults(), settings.get("defaults"))
    maps = {point: resolve(point, model, defaults) for point, model in models.items()}
    sunspec = _over((profile.sunspec if profile else None) or SunSpec(), settings.get("sunspec"))
    who = (profile.vendor, profile.profile, str(profile.version)) if profile else None
    return PlantDevice(
        name=name,
        driver="modbus",
        line=line.name,
        points=_modbus_points(name, maps, settings, rig, periods),
        unit_id=settings.get("unit_id", 1),
        limits=_over(profile.limits if profile else Limits(), settings.get("limits")),
        quirks=_over(profile.quirks if profile else Quirks(), settings.get("quirks")),
        sunspec_base=sunspec.bases[0],
        identity=who or ("Hotpair", name, "1"),
        settings=settings,
        windback=_windback(profile, settings.get("windback")),
        clock=profile.clock if profile else None,
        address_base=defaults.address_base,
    )


def _windback(profile: Profile | None, said: Mapping[str, Any] | None) -> Windback | None:
    """How the log is read; None too where a profile leaves to the site what the site didn't say."""
    try:
        found = effective(profile, said)
    except ValueError:
        if said is not None:
            raise
        return None
    return None if isinstance(found, NoLog) else found


def _over(base: _Model, given: Mapping[str, Any] | None) -> _Model:
    """A model with what a device says put over it."""
    said = base.model_dump(by_alias=True, exclude_unset=True)
    return type(base).model_validate(said | dict(given or {}))


def _modbus_points(
    device: str,
    maps: Mapping[str, PointMap],
    settings: Mapping[str, Any],
    rig: Rig,
    periods: Mapping[str, int],
) -> tuple[PlantPoint, ...]:
    signals = register_signals(device, maps, rig.change, rig.seed)
    refused = rig.refuse.get(device, {})
    points = []
    for name, place in maps.items():
        own, bit = signals[name]
        scan_class = place.point.scan or settings.get("scan", "normal")
        last = place.address + place.words - 1
        points.append(
            PlantPoint(
                device=device,
                name=name,
                place=place,
                data_type=published_type(place.point),
                access=place.point.access,
                scan_class=scan_class,
                period_ns=periods[scan_class],
                signal=own,
                deadband=deadband_of(place.point.deadband, place.point.range),
                bit_of=bit,
                exponent=signals[place.point.sf][0] if place.point.sf else None,
                unreadable=any(
                    low <= last and place.address <= high
                    for low, high in refused.get(place.area, ())
                ),
            )
        )
    return tuple(points)


def deadband_of(deadband: float | str | None, span: Any) -> float:
    """A deadband in engineering units; a percentage counts of `range.eu`."""
    if deadband is None:
        return 0.0
    text = str(deadband).strip()
    if not text.endswith("%"):
        return float(text)
    if span is None:
        raise SiteError("a deadband in % needs range.eu")
    low, high = span["eu"] if isinstance(span, Mapping) else span.eu
    return float(abs(high - low)) * float(text[:-1]) / 100


def _opcua_device(
    name: str,
    settings: Mapping[str, Any],
    points: Mapping[str, Any],
    rig: Rig,
    periods: Mapping[str, int],
) -> tuple[PlantDevice, PlantLine]:
    address = settings["endpoint"].removeprefix("opc.tcp://").split("/")[0]
    host, _, port = address.rpartition(":")
    subscribed = settings.get("mode", "subscribe") == "subscribe"
    interval_ns = parse_duration(settings.get("publishing_interval", "500ms"))
    made = []
    for point, given in points.items():
        given = dict(given)
        written = str(given.get("type", "double")).lower()
        data_type = DataType(OPCUA_TYPES.get(written, written))
        scan_class = given.get("scan", settings.get("scan", "normal"))
        index = given.get("index")
        made.append(
            PlantPoint(
                device=name,
                name=point,
                place=(given["node"], None if index is None else int(index)),
                data_type=data_type,
                access=Access(given.get("access", "r")),
                scan_class="subscription" if subscribed else scan_class,
                period_ns=interval_ns if subscribed else periods[scan_class],
                signal=opcua_signal(name, point, data_type, given, rig.change, rig.seed),
                deadband=deadband_of(given.get("deadband"), given.get("range")),
            )
        )
    line = PlantLine(f"opcua {name}", "opcua", (host,), int(port), settings)
    return PlantDevice(name, "opcua", line.name, tuple(made), settings=settings), line
