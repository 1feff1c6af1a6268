"""The emulated PLC's history is a pure function of the truth and of what befell it."""

from __future__ import annotations

import pytest

from gateway.model import NS_PER_S, Value
from hil.outstation.plc_history import Diary, Entry, Recorded
from hil.settings import SiteError, read_rig
from hil.truth import EPOCH_NS, Kind, Shape, Signal, signal

S = NS_PER_S
BEGUN = EPOCH_NS + 1_000 * S


def counter(name: str = "n") -> Signal:
    """A counter that steps about once a second."""
    return signal(name, Shape(Kind.INT, 0, 2**22, counter=True), 1.0)


def records(diary: Diary, from_s: float, to_s: float, **more: bool) -> list[Entry]:
    node = Recorded("n", {None: counter()}, diary)
    return list(node.entries(BEGUN + int(from_s * S), BEGUN + int(to_s * S), **more))


def test_each_change_is_a_record_and_so_is_the_beginning() -> None:
    found = records(Diary(BEGUN), -100, 60)
    own = counter()
    steps = list(own.steps(BEGUN, BEGUN + 60 * S))
    assert found == [Entry(*step) for step in steps]


def test_a_stretch_is_the_same_whoever_asks_and_in_whichever_order() -> None:
    diary = Diary(BEGUN)
    diary.fault("nan", BEGUN + 20 * S)
    diary.fault(None, BEGUN + 25 * S)
    whole = records(diary, 0, 60)
    assert records(diary, 0, 31.5) + records(diary, 31.5, 60) == whole
    assert records(diary, 0, 60, reverse=True) == whole[::-1]
    assert not records(diary, 60, 60)


def test_without_power_nothing_is_recorded_and_the_start_is() -> None:
    diary = Diary(BEGUN)
    diary.power(False, BEGUN + 20 * S)
    diary.power(True, BEGUN + 40 * S)
    times = [(entry.time_ns - BEGUN) / S for entry in records(diary, 0, 60)]
    assert not [at for at in times if 20 <= at < 40]
    assert 40.0 in times
    assert diary.up_ns == BEGUN + 40 * S
    diary.power(False, BEGUN + 50 * S)
    assert not records(diary, 51, 60)


def test_a_volatile_history_begins_anew_with_the_power() -> None:
    diary = Diary(BEGUN)
    diary.power(False, BEGUN + 20 * S, volatile=True)
    diary.power(True, BEGUN + 40 * S, volatile=True)
    assert records(diary, 0, 60)[0].time_ns == BEGUN + 40 * S == diary.up_ns


def test_faults_and_writes_are_recorded_as_they_were_held() -> None:
    diary = Diary(BEGUN)
    diary.fault("nan", BEGUN + 5 * S)
    diary.fault("stuck", BEGUN + 10 * S)
    diary.fault("silence", BEGUN + 15 * S)
    diary.wrote(("n", None), 7, BEGUN + 20 * S)
    diary.wrote(("n", None), 8, BEGUN + 25 * S)
    diary.reset(BEGUN + 30 * S)
    found = records(diary, 0, 60)

    def held(at_s: float) -> Value:
        value: Value = [e for e in found if e.time_ns <= BEGUN + int(at_s * S)][-1].value
        return value

    own = counter()
    assert held(7) is None
    assert held(14.9) == own.value_at(BEGUN + 10 * S)
    assert held(17) == own.value_at(BEGUN + 17 * S)
    assert (held(22), held(27)) == (7, 8)
    assert held(30) == own.value_at(BEGUN + 30 * S)


def test_an_array_is_recorded_when_one_of_its_elements_changes() -> None:
    one, other = counter("one"), counter("other")
    node = Recorded("n", {0: one, 2: other}, Diary(BEGUN), blank=0)
    for time_ns, value in node.entries(BEGUN, BEGUN + 30 * S):
        assert value == [one.value_at(time_ns), 0, other.value_at(time_ns)]


def test_the_rig_says_what_a_plc_records() -> None:
    text = """
opcua_history:
  plc2: {depth: 2h, page: 500, points: 4, nodes: 3, without: [on], volatile: true, before: 1h,
         clock: "-90s", slow: 200ms, odd: [cut_off]}
  plc3:
"""
    rig = read_rig(text)
    found = rig.opcua_history["plc2"]
    assert (found.depth_ns, found.clock_ns, found.slow_ns) == (7_200 * S, -90 * S, S // 5)
    assert (found.page, found.points, found.nodes) == (500, 4, 3)
    assert found.without == {"on"} and found.volatile and found.before_ns == 3_600 * S
    assert rig.opcua_history["plc3"].depth_ns == 86_400 * S
    for wrong in ("{deep: 2h}", "{odd: [late]}"):
        with pytest.raises(SiteError, match="plc2: unknown"):
            read_rig(f"opcua_history: {{plc2: {wrong}}}")
