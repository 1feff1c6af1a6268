"""Live values go over to another revision by name, and batches of another one are translated."""

from __future__ import annotations

from gateway.acquisition.live import LiveTable
from gateway.driver import DeviceSettings, DeviceSpec, PointSpec
from gateway.model import NS_PER_S, Access, DataType, Status

KINDS = {"f": DataType.FLOAT64, "i": DataType.INT16, "l": DataType.INT32}


def table(**devices: str) -> LiveTable:
    """A live table of devices with points such as `level:f setpoint:f:w`, numbered by id."""
    said = sorted(
        (device, *point.split(":"))
        for device, points in devices.items()
        for point in points.split()
    )
    found: dict[str, list[PointSpec]] = {}
    for number, (device, name, kind, *access) in enumerate(said):
        may = Access(access[0]) if access else Access.READ
        spec = PointSpec(number, device, name, KINDS[kind], "fast", may, None)
        found.setdefault(device, []).append(spec)
    settings = DeviceSettings(driver="modbus")
    return LiveTable(
        [
            DeviceSpec(name, "modbus", "line", settings, tuple(points), {"fast": NS_PER_S})
            for name, points in found.items()
        ]
    )


def test_values_go_over_by_name_by_former_name_and_not_by_number() -> None:
    old = table(a="count:i level:f sensor:f", b="level:f")
    number = {p.id: p.number for p in old.points}
    for point, value in (("a/level", 1.0), ("a/count", 3), ("a/sensor", 4.0), ("b/level", 2.0)):
        old.apply([(number[point], 10, value, 0)])
    old.polled("b", "fast", 99)
    new = table(a="aaa:f count:l height:f sensor:f:w", b="level:f", c="level:f")
    new.take_over(old, {"a/height": "a/level"})
    now = {p.id: new.get(p.number) for p in new.points}
    assert now["a/height"] == (1.0, 0, 10, 10)
    assert now["b/level"] == (2.0, 0, 10, 99), "when it was polled last goes over, too"
    assert now["a/count"].value is None, "another type is another point"
    assert now["a/sensor"].status == Status.BAD_NOT_READABLE
    for fresh in ("a/aaa", "c/level"):
        assert now[fresh].status == Status.BAD_WAITING_FOR_INITIAL_DATA


def test_the_numbers_of_another_revision_are_translated_by_name() -> None:
    here = table(a="b:f c:f")
    assert here.translation(["a/a", "a/b", "a/c", "z/z"]) == [None, 0, 1, None]
