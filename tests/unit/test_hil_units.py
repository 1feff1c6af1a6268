"""What an outstation holds and answers: memory, function codes, exceptions, faults. No sockets."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from gateway.model import NS_PER_S
from hil.outstation.bus import Bus, Outstation
from hil.outstation.faults import (
    KINDS,
    LINE_FAULTS,
    REPLY_FAULTS,
    VALUE_FAULTS,
    Fault,
    limited,
)
from hil.outstation.frames import Asked, Mbap, Rtu, crc16
from hil.outstation.layout import memory_of
from hil.outstation.logs import DeviceLogs
from hil.outstation.polls import Poll, PollLog, read_polls
from hil.outstation.unit import Unit, describe
from hil.plant import Plant, PlantDevice, read_site
from hil.settings import LogSettings, Rig, SiteError
from hil.truth import EPOCH_NS
from profiles.schema import Area, Profile

T0 = EPOCH_NS + 1_000 * NS_PER_S
POINTS = """
      v: {address: 0, type: float32, unit: V}
      i: {address: 2, type: int16, scale: 0.1, unit: A, nan: [0x8000]}
      word: {address: 3, bits: {0: a, 5: b}}
      b5: {address: 3, type: bool, bit: 5}
      own9: {address: 4, type: bool, bit: 9, access: rw}
      own2: {address: 4, type: bool, bit: 2, access: rw}
      name: {address: 5, type: string, length: 4}
      set: {address: 9, type: uint32, byte_order: CDAB, access: rw}
      swapped: {address: 11, type: bool, bit: 1, byte_order: DCBA}
      far: {address: 40, type: uint16}
      in1: {register: input, address: 7, type: uint16}
      c0: {register: coil, address: 0, type: bool, access: rw}
      c1: {register: coil, address: 1, type: bool}
      c9: {register: coil, address: 9, type: bool, access: rw}
      d3: {register: discrete, address: 3, type: bool}
"""
SITE = """
site: test
devices:
  plc:
    driver: modbus
    line: {tcp: {host: 127.0.0.1, port: 1502}}
    unit_id: 5
    heartbeat: {register: holding, address: 77, period: 1s}
    points:
""" + "\n".join("  " + line for line in POINTS.splitlines())


def plant_of(text: str = SITE, profile: Profile | None = None, **rig: Any) -> Plant:
    def load(name: str) -> Profile:
        assert profile is not None
        return profile

    return read_site(text, lambda name: "", load, Rig(change=1.0, **rig))


def device_of(**rig: Any) -> tuple[PlantDevice, Unit]:
    plant = plant_of(**rig)
    device = plant.devices["plc"]
    return device, Unit(memory_of(device, plant.rig))


def held(device: PlantDevice, name: str, at_ns: int) -> Any:
    return next(p for p in device.points if p.name == name).raw_at(at_ns)


def ask(unit: Unit, pdu: str, at_ns: int = T0) -> str:
    return unit.answer(bytes.fromhex(pdu), at_ns).hex(" ")


# ---------------------------------------------------------------------------------- what it holds


@pytest.mark.parametrize("after_s", [0, 1, 7, 3600])
def test_registers_hold_the_truth_of_the_moment(after_s: int) -> None:
    device, unit = device_of()
    at_ns = T0 + after_s * NS_PER_S
    data = unit.answer(bytes.fromhex("030000000c"), at_ns)[2:]
    assert struct.unpack(">f", data[:4])[0] == held(device, "v", at_ns)
    assert struct.unpack(">h", data[4:6])[0] == held(device, "i", at_ns)
    word = struct.unpack(">H", data[6:8])[0]
    assert word == held(device, "word", at_ns)
    assert bool(word >> 5 & 1) is held(device, "b5", at_ns)
    bits = struct.unpack(">H", data[8:10])[0]
    assert bool(bits >> 9 & 1) is held(device, "own9", at_ns)
    assert bool(bits >> 2 & 1) is held(device, "own2", at_ns)
    assert data[10:18].rstrip(b"\0").decode() == held(device, "name", at_ns)
    high_last = struct.unpack(">HH", data[18:22])
    assert high_last[1] << 16 | high_last[0] == held(device, "set", at_ns)
    assert bool(struct.unpack("<H", data[22:24])[0] >> 1 & 1) is held(device, "swapped", at_ns)


def test_bits_are_packed_lowest_first() -> None:
    device, unit = device_of()
    reply = unit.answer(bytes.fromhex("010000000a"), T0)
    assert reply[1] == 2
    packed = int.from_bytes(reply[2:], "little")
    for address, name in ((0, "c0"), (1, "c1"), (9, "c9")):
        assert bool(packed >> address & 1) is held(device, name, T0)
    assert ask(unit, "0200030001") in ("02 01 00", "02 01 01")


def test_what_the_engineer_expects_is_scaled() -> None:
    device, _ = device_of()
    point = next(p for p in device.points if p.name == "i")
    raw = point.raw_at(T0)
    assert isinstance(raw, int)
    assert point.expected(T0) == pytest.approx(raw * 0.1)


# ---------------------------------------------------------------------------------- functions


def test_holes_are_refused_and_small_gaps_read_zero() -> None:
    _, unit = device_of()
    assert ask(unit, "0300140001") == "83 02"
    assert ask(unit, "03000b001e") == "83 02"
    assert ask(unit, "0300280002") == "83 02"
    assert ask(unit, "0400000001") == "84 02"
    assert ask(unit, "03ffff0002") == "83 02"
    _, strict = device_of(strict=frozenset({"plc"}))
    assert ask(strict, "0100000003") == "81 02"
    assert ask(unit, "0100000003").startswith("01 01")
    assert ask(unit, "03004d0001") == "03 02 00 00"


def test_a_stretch_can_be_refused_though_points_lie_in_it() -> None:
    _, unit = device_of(refuse={"plc": {Area.HOLDING: ((2, 2), (900, 950))}})
    assert ask(unit, "0300000002").startswith("03 04")
    assert ask(unit, "0300000003") == "83 02"


def test_a_device_may_refuse_to_cut_a_value() -> None:
    _, unit = device_of(whole=frozenset({"plc"}))
    assert ask(unit, "0300000001") == "83 02"
    assert ask(unit, "0300010002") == "83 02"
    assert ask(unit, "0300000002").startswith("03 04")
    assert ask(unit, "0300000003").startswith("03 06")


@pytest.mark.parametrize(
    "pdu",
    [
        "0300000000",
        "030000007e",
        "01000007d1",
        "0300",
        "0100",
        "0500001234",
        "06000900",
        "0f00000001",
        "0f0000000a01ff",
        "1000090001040001",
        "16000400ff",
        "1700000001",
        "1700000001000000010200",
        "17000000000009000102000a",
        "170000000100090001020000ff",
        "1700000001000900010400",
        "2b0e0500",
    ],
)
def test_a_malformed_request_is_an_illegal_value(pdu: str) -> None:
    _, unit = device_of()
    assert ask(unit, pdu).split()[1] == "03"


def test_an_unknown_function_is_illegal() -> None:
    _, unit = device_of()
    assert ask(unit, "64") == "e4 01"
    assert ask(unit, "2b0d0100") == "ab 01"


def test_writes_override_the_truth_until_reset() -> None:
    device, unit = device_of()
    assert ask(unit, "06 0009 1234") == "06 00 09 12 34"
    assert ask(unit, "10 0009 0002 04 0001 0002") == "10 00 09 00 02"
    assert ask(unit, "03 0009 0002", T0 + 3600 * NS_PER_S) == "03 04 00 01 00 02"
    on = not held(device, "c0", T0)
    assert ask(unit, f"05 0000 {'ff00' if on else '0000'}").startswith("05 00 00")
    assert unit.answer(bytes.fromhex("0100000001"), T0 + 60 * NS_PER_S)[2] == on
    unit.memory.reset(T0)
    value = held(device, "set", T0)
    words = struct.pack(">HH", value & 0xFFFF, value >> 16).hex(" ")
    assert ask(unit, "03 0009 0002") == f"03 04 {words}"


def test_what_is_read_only_or_not_there_refuses_writes() -> None:
    _, unit = device_of()
    for pdu in ("0600000001", "06 0014 0001", "05 0001 ff00", "05 0063 ff00", "06 0003 0001"):
        assert ask(unit, pdu).endswith("02")
    assert ask(unit, "0f 0000 0002 01 03") == "8f 02"
    assert ask(unit, "10 0008 0002 04 0000 0000") == "90 02"
    assert ask(unit, "06 004d 0007") == "06 00 4d 00 07"


def test_coils_are_written_together() -> None:
    _, unit = device_of()
    assert ask(unit, "0f 0009 0001 01 01") == "0f 00 09 00 01"
    assert ask(unit, "01 0009 0001", T0 + 99 * NS_PER_S) == "01 01 01"


def test_masked_write_touches_only_its_bits() -> None:
    _, unit = device_of()
    ask(unit, "06 0009 0012")
    assert ask(unit, "16 0009 00f2 0025") == "16 00 09 00 f2 00 25"
    assert ask(unit, "03 0009 0001") == "03 02 00 17"  # the example of section 6.16
    assert ask(unit, "16 0014 0000 0000") == "96 02"
    assert ask(unit, "16 0000 0000 0000") == "96 02"


def test_read_write_writes_first() -> None:
    _, unit = device_of()
    assert ask(unit, "17 0009 0001 0009 0001 02 00aa") == "17 02 00 aa"
    assert ask(unit, "17 0014 0001 0009 0001 02 00aa") == "97 02"
    assert ask(unit, "17 0009 0001 0014 0001 02 00aa") == "97 02"


def test_the_device_tells_who_it_is() -> None:
    device, _ = device_of()
    unit = Unit(memory_of(device, Rig()), ("Acme", "P1", "3"))
    assert unit.answer(b"\x11", T0) == b"\x11\x0b\x01\xffAcme P1 3"
    basic = unit.answer(bytes.fromhex("2b0e0100"), T0)
    assert basic == b"\x2b\x0e\x01\x81\0\0\x03\0\x04Acme\x01\x02P1\x02\x013"
    assert unit.answer(bytes.fromhex("2b0e0401"), T0)[6:] == b"\x01\x01\x02P1"
    assert unit.answer(bytes.fromhex("2b0e0409"), T0) == b"\xab\x02"
    assert unit.answer(bytes.fromhex("2b0e0109"), T0)[6] == 3


def test_input_registers_may_be_shown_by_fc03() -> None:
    device, _ = device_of()
    unit = Unit(memory_of(device, Rig()), input_by_fc03=True)
    assert ask(unit, "0300070001") == ask(unit, "0400070001").replace("04 02", "03 02", 1)


def test_values_may_stand_still_or_say_nothing() -> None:
    device, unit = device_of()
    memory = unit.memory
    later = T0 + 500 * NS_PER_S
    before = ask(unit, "0300000003")
    memory.freeze(T0, True)
    assert ask(unit, "0300000003", later) == before
    memory.freeze(later, False)
    memory.blank(later, True)
    blank = unit.answer(bytes.fromhex("0300000003"), later + NS_PER_S)[2:]
    assert blank[4:] == b"\x80\0"
    assert blank[:2] == b"\x7f\xc0"
    memory.blank(later, False)
    data = unit.answer(bytes.fromhex("0300000002"), later)[2:]
    assert struct.unpack(">f", data)[0] == held(device, "v", later)


def test_ranges_that_a_profile_allows_may_be_read_though_nobody_declared_them() -> None:
    limits = "limits: {allowed_ranges: {holding: [[0, 20]], input: []}}"
    plant = plant_of(SITE.replace("unit_id: 5", f"unit_id: 5\n    {limits}"))
    unit = Unit(memory_of(plant.devices["plc"], plant.rig))
    assert ask(unit, "03 0014 0001") == "03 02 00 00"
    assert ask(unit, "03 0015 0001") == "83 02"


def test_an_area_without_any_address_does_not_exist() -> None:
    plant = plant_of(scratch={"plc": {Area.INPUT: (), Area.HOLDING: ((60, 61),)}})
    unit = Unit(memory_of(plant.devices["plc"], plant.rig))
    assert ask(unit, "03 003c 0002") == "03 04 00 00 00 00"
    points = "{c: {register: coil, address: 0, type: bool}}"
    head = "driver: modbus, line: {tcp: {host: 127.0.0.1}}"
    bare = plant_of(
        f"devices: {{plc: {{{head}, points: {points}}}}}", scratch={"plc": {Area.INPUT: ()}}
    )
    unit = Unit(memory_of(bare.devices["plc"], bare.rig))
    assert ask(unit, "04 0000 0001") == "84 02"


# ---------------------------------------------------------------------------------- SunSpec


SUNSPEC = {
    "profile": "test/sunspec",
    "version": 1,
    "vendor": "SunSpec",
    "models": ["x"],
    "status": "manual",
    "source": "github sunspec/models",
    "sunspec": {"bases": [40000]},
    "points": {
        "mn": {"model": 1, "address": 2, "type": "string", "length": 16},
        "w": {"model": 103, "address": 14, "type": "int16", "sf": "w_sf", "nan": [0x8000]},
        "w_sf": {"model": 103, "address": 15, "type": "int16", "nan": [0x8000]},
    },
}
SUNSPEC_SITE = """
devices:
  pv: {driver: modbus, line: {tcp: {host: 127.0.0.1}}, profile: test/sunspec}
"""


def test_sunspec_models_are_chained() -> None:
    plant = plant_of(SUNSPEC_SITE, Profile.model_validate(SUNSPEC))
    device = plant.devices["pv"]
    unit = Unit(memory_of(device, plant.rig))
    assert ask(unit, "03 9c40 0004") == "03 08 53 75 6e 53 00 01 00 42"
    assert ask(unit, "03 9c86 0002") == "03 04 00 67 00 32"
    assert ask(unit, "03 9cba 0002") == "03 04 ff ff 00 00"
    raw, factor = struct.unpack(">hh", unit.answer(bytes.fromhex("039c940002"), T0)[2:])
    points = {point.name: point for point in device.points}
    assert (raw, factor) == (points["w"].raw_at(T0), points["w_sf"].raw_at(T0))
    assert points["w"].expected(T0) == pytest.approx(raw * 10.0**factor)
    assert ask(unit, "03 9c88 0001") == "03 02 ff ff"


def test_a_model_too_short_for_its_points_is_an_error() -> None:
    points = {"w": {"model": 103, "address": 60, "type": "int16"}}
    plant = plant_of(SUNSPEC_SITE, Profile.model_validate(SUNSPEC | {"points": points}))
    with pytest.raises(SiteError, match="model 103 has 50 words"):
        memory_of(plant.devices["pv"], plant.rig)


# ---------------------------------------------------------------------------------- faults


READ_TWO = Asked(7, 5, bytes.fromhex("0300000002"))


def bus_of(fault: Fault | None = None, **settings: Any) -> tuple[Bus, Outstation, list[int]]:
    device, unit = device_of()
    now = [T0]
    station = Outstation(device.name, 5, unit, **settings)
    bus = Bus([station], PollLog(), lambda: now[0])
    station.set_fault(fault, T0)
    return bus, station, now


def sent(fault: Fault | None, asked: Asked = READ_TWO, rtu: bool = False) -> list[bytes]:
    bus, _, _ = bus_of(fault)
    return [p.data for p in bus.respond(asked, Rtu() if rtu else Mbap(), "peer").pieces]


TRUE = sent(None)[0]


def test_every_kind_of_fault_changes_something() -> None:
    for kind in REPLY_FAULTS:
        bus, _, _ = bus_of(Fault(kind))
        plan = bus.respond(READ_TWO, Mbap(), "peer")
        assert (
            plan.close
            or plan.overtaken
            or plan.merged > 1
            or plan.pieces != bus_of()[0].respond(READ_TWO, Mbap(), "peer").pieces
        ), kind
    assert set(REPLY_FAULTS) | LINE_FAULTS | VALUE_FAULTS == KINDS


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        ("silence", {}, []),
        ("exception", {"code": 2}, ["00 07 00 00 00 03 05 83 02"]),
        ("exception", {}, ["00 07 00 00 00 03 05 83 04"]),
        ("busy", {}, ["00 07 00 00 00 03 05 83 06"]),
        ("gateway", {}, ["00 07 00 00 00 03 05 83 0b"]),
        ("wrong_tid", {}, ["00 08 " + TRUE[2:].hex(" ")]),
        ("wrong_unit", {}, [TRUE[:6].hex(" ") + " 06 " + TRUE[7:].hex(" ")]),
        ("wrong_function", {}, [TRUE[:7].hex(" ") + " 04 " + TRUE[8:].hex(" ")]),
        ("short_count", {}, ["00 07 00 00 00 05 05 03 02 " + TRUE[9:11].hex(" ")]),
        ("lying_length", {}, [TRUE[:8].hex(" ") + " 08 " + TRUE[9:].hex(" ")]),
        ("truncated", {}, [TRUE[:6].hex(" ")]),
        ("twice", {}, [(TRUE * 2).hex(" ")]),
    ],
)
def test_a_fault_shapes_the_reply(kind: str, options: dict[str, Any], expected: list[str]) -> None:
    assert [data.hex(" ") for data in sent(Fault(kind, None, options))] == expected


def test_noise_may_come_before_the_reply() -> None:
    assert not sent(Fault("garbage"))[0].endswith(TRUE)
    assert sent(Fault("garbage", None, {"then_reply": True}))[0].endswith(TRUE)


def test_a_bad_crc_is_bad() -> None:
    frame = sent(Fault("bad_crc"), rtu=True)[0]
    assert crc16(frame[:-2]) != frame[-2:]


def test_a_split_reply_is_whole_when_put_together() -> None:
    pieces = sent(Fault("split", None, {"bytes": 4}))
    assert len(pieces) == 4
    assert b"".join(pieces) == TRUE


def test_a_short_count_of_an_exception_stays_an_exception() -> None:
    hole = Asked(7, 5, bytes.fromhex("0300140001"))
    assert sent(Fault("short_count"), hole) == sent(None, hole)
    assert sent(Fault("lying_length"), hole) == sent(None, hole)


def test_delays_are_told_and_late_replies_may_be_overtaken() -> None:
    bus, _, _ = bus_of(Fault("delay", None, {"ms": 40}), latency_ms=10)
    plan = bus.respond(READ_TWO, Mbap(), "peer")
    assert plan.pieces[0].delay_s == pytest.approx(0.05)
    assert not plan.overtaken
    assert bus.log.polls[-1].answered_ns - T0 == pytest.approx(50_000_000)
    bus, _, _ = bus_of(Fault("late", None, {"ms": 40}), latency_ms=10)
    assert bus.respond(READ_TWO, Mbap(), "peer").overtaken


def test_slow_replies_jitter_within_bounds_and_each_for_itself() -> None:
    bus, _, _ = bus_of(Fault("delay", None, {"ms": 40, "jitter_ms": 100}))
    waits = [bus.respond(READ_TWO, Mbap(), "peer").pieces[0].delay_s for _ in range(50)]
    assert all(0.04 <= wait_s < 0.14 for wait_s in waits)
    assert len(set(waits)) == 50
    assert max(waits) - min(waits) > 0.08


def test_merged_replies_say_how_many_leave_together() -> None:
    for options, merged in (({}, 2), ({"count": 3}, 3), ({"count": 0}, 1)):
        plan = bus_of(Fault("merged", None, options))[0].respond(READ_TWO, Mbap(), "peer")
        assert (plan.merged, [piece.data for piece in plan.pieces]) == (merged, [TRUE])


def test_a_limit_of_connections_has_a_number_and_a_manner() -> None:
    assert limited(Fault("limit")) == (1, False)
    assert limited(Fault("limit", None, {"connections": 3, "evict": True})) == (3, True)
    assert limited(Fault("limit", None, {"connections": -1})) == (0, False)


def test_a_fault_ends_when_its_time_is_over() -> None:
    bus, station, now = bus_of(Fault("silence", T0 + NS_PER_S))
    assert bus.respond(READ_TWO, Mbap(), "peer").pieces == ()
    now[0] = T0 + NS_PER_S
    assert bus.respond(READ_TWO, Mbap(), "peer").pieces != ()
    assert station.fault is None
    assert [poll.outcome for poll in bus.log.polls] == ["silence", "ok"]


def test_value_faults_reach_the_memory_and_leave_it_again() -> None:
    bus, station, now = bus_of(Fault("stuck"))
    first = bus.respond(READ_TWO, Mbap(), "peer")
    now[0] += 900 * NS_PER_S
    assert bus.respond(READ_TWO, Mbap(), "peer") == first
    station.set_fault(Fault("nan"), now[0])
    assert bus.respond(READ_TWO, Mbap(), "peer").pieces[0].data[9:11] == b"\x7f\xc0"
    station.set_fault(None, now[0])
    assert bus.respond(READ_TWO, Mbap(), "peer") != first


def test_nobody_answers_for_another_unit_or_without_power() -> None:
    bus, station, _ = bus_of()
    assert bus.respond(Asked(1, 6, READ_TWO.pdu), Mbap(), "peer").pieces == ()
    assert bus.respond(Asked(1, 5, b""), Mbap(), "peer").pieces == ()
    assert not bus.log.polls
    station.powered = False
    assert bus.respond(READ_TWO, Mbap(), "peer").pieces == ()
    assert bus.log.polls[-1].outcome == "no power"


def test_two_units_with_one_number_are_refused() -> None:
    _, station, _ = bus_of()
    with pytest.raises(ValueError, match="one number"):
        Bus([station, station], PollLog(), lambda: T0)


# ---------------------------------------------------------------------------------- the poll log


def test_requests_are_described() -> None:
    assert describe(bytes.fromhex("0400070003")) == (4, "input", 7, 3)
    assert describe(bytes.fromhex("0600070003")) == (6, "holding", 7, 1)
    assert describe(bytes.fromhex("1700010002000300040800")) == (23, "holding", 1, 2)
    assert describe(bytes.fromhex("14070600040003000c")) == (20, "file", 3, 12)
    assert describe(bytes.fromhex("1407")) == (20, "", 0, 0)
    assert describe(b"\x11") == (17, "", 0, 0)
    assert describe(b"\x03\x00") == (3, "", 0, 0)


def test_polls_are_kept_in_bounds_and_written_to_a_file(tmp_path: Path) -> None:
    path = tmp_path / "polls.jsonl"
    log = PollLog(path, kept=2)
    polls = [
        Poll(T0 + number, T0, "plc", 5, 3, "holding", number, 1, "x", "ok") for number in range(600)
    ]
    for poll in polls:
        log.add(poll)
    assert list(log.polls) == polls[-2:]
    assert log.count == 600
    log.close()
    log.close()
    log.flush()
    assert list(read_polls(path)) == polls
    assert list(PollLog().polls) == []


def test_a_unit_tells_its_log_of_faults_and_power() -> None:
    plant = plant_of(
        SITE.replace(
            "    points:", "    windback: {method: ring, address: 100, columns: [i]}\n    points:"
        )
    )
    device = plant.devices["plc"]
    logs = DeviceLogs(device, LogSettings(), T0)
    station = Outstation("plc", 5, Unit(memory_of(device, plant.rig), faces=logs.faces), logs=logs)
    bus = Bus([station], PollLog(), lambda: T0 + 5 * NS_PER_S)
    station.set_fault(Fault("nan"), T0 + NS_PER_S)
    station.set_fault(None, T0 + 2 * NS_PER_S)
    station.power(False, T0 + 2 * NS_PER_S)
    station.power(True, T0 + 4 * NS_PER_S)
    plan = bus.respond(Asked(1, 5, bytes.fromhex("0300700028")), Mbap(), "me")
    words = struct.unpack(">40H", plan.pieces[0].data[9:])
    assert [words[at + 1] for at in range(8, 40, 8)] == [1, 2, 3, 4]
    assert words[14] == held(device, "i", T0) & 0xFFFF
    assert words[22] == 0x8000
    times = [words[at + 2] << 16 | words[at + 3] for at in range(8, 40, 8)]
    assert [time - times[0] for time in times] == [0, 1, 4, 5]
    station.power(False, T0 + 6 * NS_PER_S)
    station.power(True, T0 + 7 * NS_PER_S, keep=False)
    assert logs.books[0].log.span(T0 + 7 * NS_PER_S) == (1, 2)
