"""The veil before the live values of a Standby."""

from __future__ import annotations

from gateway.acquisition.live import LiveTable
from gateway.driver import DeviceSettings, DeviceSpec, PointSpec
from gateway.model import NS_PER_S, Access, DataType, Status
from gateway.server.veil import Veil


def table(value: float) -> LiveTable:
    point = PointSpec(0, "plc1", "level", DataType.FLOAT64, "fast", Access.READ, None)
    settings = DeviceSettings(driver="modbus")
    live = LiveTable([DeviceSpec("plc1", "modbus", "line", settings, (point,), {"fast": NS_PER_S})])
    live.apply([(0, 5, value, Status.GOOD)])
    return live


def test_behind_the_veil_there_are_no_values_and_time_stands_still() -> None:
    veil = Veil(table(1.5))
    assert veil.get(0).value == 1.5 and not veil.is_down
    veil.drop(77)
    veil.live.apply([(0, 6, 2.5, Status.GOOD)])
    assert veil.is_down
    assert veil.get(0) == (None, Status.BAD_NO_COMMUNICATION, 77, 77)
    veil.lift()
    assert veil.get(0).value == 2.5 and not veil.is_down


def test_another_revision_is_behind_the_same_veil() -> None:
    veil = Veil(table(1.5))
    veil.follow(table(2.5))
    assert veil.get(0).value == 2.5
    veil.drop(77)
    veil.follow(table(3.5))
    assert veil.get(0).status == Status.BAD_NO_COMMUNICATION
    veil.lift()
    assert veil.get(0).value == 3.5
