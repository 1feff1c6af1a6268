"""The pure half of the Modbus line: frames, back-off, late answers, refusals, writes, settings."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from drivers.modbus import backoff, frames
from drivers.modbus.backoff import Breaker, link_wait_ns, unit_wait_ns
from drivers.modbus.refusals import RETRY_NS, Refusals
from drivers.modbus.resync import HORIZON_NS, KEPT, Suspects, probe_counts
from drivers.modbus.settings import ModbusDevice, ModbusLine, effective
from drivers.modbus.write import needs_held, write_request
from gateway.driver import DeviceSpec
from gateway.errors import InvalidReply, WriteRefused
from gateway.model import NS_PER_MS, NS_PER_S, Status
from profiles.schema import Area, Defaults, Limits, ModbusPoint, PointMap, Profile, Quirks, resolve

chances = st.floats(0, 1)


def place(name: str = "p", **keys: Any) -> PointMap:
    return resolve(name, ModbusPoint(**{"register": "holding", **keys}), Defaults())


# ---------------------------------------------------------------------------------------- frames


def test_payloads_are_those_of_the_specification() -> None:
    """The examples of Modbus Application Protocol V1.1b3, sections 6.3 to 6.16."""
    assert frames.read_payload(0x6B, 3) == bytes.fromhex("006B0003")
    assert frames.coil_payload(0xAC, True) == bytes.fromhex("00ACFF00")
    assert frames.coil_payload(0xAC, False) == bytes.fromhex("00AC0000")
    assert frames.register_payload(1, 3) == bytes.fromhex("00010003")
    coils = [bool(int(bit)) for bit in "1011001110"]
    assert frames.coils_payload(0x13, coils) == bytes.fromhex("0013000A02CD01")
    assert frames.registers_payload(1, (0x0A, 0x0102)) == bytes.fromhex("0001000204000A0102")
    assert frames.mask_payload(4, 2, True) == bytes.fromhex("0004FFFB0004")
    assert frames.mask_payload(4, 2, False) == bytes.fromhex("0004FFFB0000")


@given(held=st.integers(0, 0xFFFF), bit=st.integers(0, 15), value=st.booleans())
def test_a_masked_write_changes_one_bit_only(held: int, bit: int, value: bool) -> None:
    payload = frames.mask_payload(0, bit, value)
    and_mask, or_mask = int.from_bytes(payload[2:4], "big"), int.from_bytes(payload[4:6], "big")
    result = (held & and_mask) | (or_mask & ~and_mask & 0xFFFF)
    assert result == (held | 1 << bit if value else held & ~(1 << bit))


def test_the_data_of_a_read_must_have_the_length_that_was_asked() -> None:
    assert frames.read_data(3, 4, b"\4abcd") == b"abcd"
    for reply in (b"\4abc", b"\2abcd", b"\4abcde", b""):
        with pytest.raises(InvalidReply):
            frames.read_data(3, 4, reply)
    assert [frames.read_size(f, 9) for f in (1, 2, 3, 4)] == [2, 2, 18, 18]


def test_the_echo_of_a_write_must_repeat_it() -> None:
    frames.check_echo(6, b"\0\1\0\3", b"\0\1\0\3")
    frames.check_echo(16, bytes.fromhex("0001000204000A0102"), b"\0\1\0\2")
    for reply in (b"\0\1\0\4", b"\0\1", b""):
        with pytest.raises(InvalidReply):
            frames.check_echo(6, b"\0\1\0\3", reply)


@pytest.mark.parametrize(
    ("frame", "size"),
    [
        ("01", None),
        ("0183", None),
        ("018302", 5),
        ("010304", 9),
        ("010600", 8),
        ("011600", 10),
        ("011800", None),
        ("01180006", 12),
        ("014100", 0),
    ],
)
def test_the_length_of_an_rtu_reply_is_known_from_its_beginning(
    frame: str, size: int | None
) -> None:
    assert frames.rtu_reply_size(bytes.fromhex(frame)) == size


def test_frames_are_told_in_words() -> None:
    say = frames.describe_request
    assert say(1, 3, frames.read_payload(100, 10)) == "unit 1 read holding registers 100 x 10"
    assert say(1, 6, frames.register_payload(7, 5)) == "unit 1 write register 7 = 5"
    assert say(1, 22, frames.mask_payload(4, 2, True)).endswith("4 and FFFB or 0004")
    asked = bytes.fromhex("07 06 0004 0001 000A")
    assert say(1, 20, asked) == "unit 1 read file record 1 of file 4 x 10"
    assert say(1, 43, b"\x0e") == "unit 1 read device identification"
    assert say(1, 24, b"\0\1") == "unit 1 function 24"
    assert frames.describe_reply(1, 0x83, b"\2").endswith("exception 2 (illegal data address)")
    assert frames.describe_reply(1, 0x83, b"").endswith("exception 0 (not in the specification)")
    assert frames.describe_reply(1, 3, b"\4abcd") == "unit 1 read holding registers: 4 bytes"
    assert frames.describe_reply(1, 6, b"\0\1\0\3") == "unit 1 write register: done"


# --------------------------------------------------------------------------------------- back-off


@given(failures=st.integers(1, 10_000), chance=chances)
def test_a_connection_is_tried_again_between_a_tenth_and_eight_tenths_of_a_second(
    failures: int, chance: float
) -> None:
    assert 100 * NS_PER_MS <= link_wait_ns(failures, chance) <= 800 * NS_PER_MS


@given(failures=st.integers(1, 10_000), timeout_ns=st.integers(10**7, 6 * 10**10), chance=chances)
def test_a_sole_unit_waits_half_a_second_at_most(
    failures: int, timeout_ns: int, chance: float
) -> None:
    wait_ns = unit_wait_ns(failures, timeout_ns, 0, 1, chance)
    assert 100 * NS_PER_MS <= wait_ns <= backoff.SOLE_CAP_NS


@given(dead=st.integers(1, 6), timeout_ns=st.integers(10**7, 10**9), chance=chances)
def test_dead_units_together_cost_a_line_about_a_tenth_of_its_time(
    dead: int, timeout_ns: int, chance: float
) -> None:
    wait_ns = unit_wait_ns(3, timeout_ns, 1, dead, chance)
    share = dead * timeout_ns / (wait_ns + timeout_ns)
    assert share <= 0.125
    assert wait_ns <= backoff.CROWD_CAP_NS


def test_a_unit_beside_others_is_doubted_once_before_it_is_left_alone() -> None:
    assert unit_wait_ns(1, NS_PER_S, 1, 1, 1.0) == 0
    assert unit_wait_ns(2, NS_PER_S, 1, 1, 1.0) == 3 * NS_PER_S
    assert unit_wait_ns(3, NS_PER_S, 1, 1, 1.0) == 9 * NS_PER_S
    assert unit_wait_ns(9, 60 * NS_PER_S, 0, 3, 1.0) == backoff.SHARED_CAP_NS


def test_a_breaker_opens_for_as_long_as_it_is_told_and_closes_on_success() -> None:
    breaker = Breaker()
    assert breaker.wait_ns(5) == 0
    breaker.failed(5, 10)
    assert (breaker.failures, breaker.wait_ns(9), breaker.wait_ns(15)) == (1, 6, 0)
    breaker.succeeded()
    assert (breaker.failures, breaker.wait_ns(9)) == (0, 0)


# ----------------------------------------------------------------------------------- late answers


@given(
    counts=st.lists(st.integers(1, 125), min_size=1, max_size=KEPT),
    wanted=st.integers(1, 125),
    bits=st.booleans(),
)
def test_a_probe_never_asks_for_a_size_that_may_still_arrive(
    counts: list[int], wanted: int, bits: bool
) -> None:
    def size(count: int) -> int:
        return (count + 7) // 8 if bits else 2 * count

    suspects = Suspects()
    for count in counts:
        suspects.timed_out(1, 3, size(count), 0)
    limit = 2000 if bits else 125
    probe = suspects.probe(1, 3, probe_counts(wanted, limit), bits)
    if not bits:
        assert probe is not None
    if probe is not None:
        assert 1 <= probe <= limit
        assert size(probe) not in {size(count) for count in counts}


def test_a_unit_is_suspect_until_it_answers_or_the_horizon_has_passed() -> None:
    suspects = Suspects()
    assert not suspects.is_suspect(1, 0)
    suspects.timed_out(1, 3, 4, 10)
    assert suspects.is_suspect(1, 11)
    assert not suspects.is_suspect(2, 11)
    assert not suspects.is_suspect(1, 10 + HORIZON_NS)
    suspects.timed_out(1, 3, 4, 10)
    suspects.answered(1)
    assert not suspects.is_suspect(1, 11)
    assert suspects.probe(1, 3, probe_counts(2, 125), False) == 2
    suspects.timed_out(1, 1, 1, 10)
    assert suspects.probe(1, 1, probe_counts(1, 1), True) is None


# --------------------------------------------------------------------------------------- refusals


def test_refusals_are_doubted_soon_and_then_ever_more_rarely() -> None:
    refusals = Refusals((), 0)
    assert not refusals
    refusals.add(Area.HOLDING, 5, 6, 2, 0)
    assert refusals.due(RETRY_NS[0] - 1) is None
    waits = []
    now_ns = 0
    for _ in range(5):
        refusal = next(iter(refusals._all))
        waits.append(refusal.retry_at_ns - now_ns)
        now_ns = refusal.retry_at_ns
        due = refusals.due(now_ns)
        assert due is refusal
        refusals.postpone(due, now_ns)
    assert waits == [*RETRY_NS, RETRY_NS[-1]]
    refusals.remove(refusal)
    assert not refusals


def test_refusals_survive_as_a_fact_and_name_what_they_touch() -> None:
    refusals = Refusals((), 0)
    refusals.add(Area.HOLDING, 5, 6, 2, 0)
    refusals.add(Area.HOLDING, 5, 6, 3, 0)
    refusals.add(Area.INPUT, 9, 9, 1, 0)
    again = Refusals(refusals.fact(), 0)
    assert again.fact() == [["holding", 5, 6, 3], ["input", 9, 9, 1]]
    assert again.ranges == ((Area.HOLDING, 5, 6), (Area.INPUT, 9, 9))
    assert str(again) == (
        "holding 5..6: exception 3 (illegal data value); input 9: exception 1 (illegal function)"
    )
    assert again.status_of(place(address=6)) == Status.BAD_CONFIGURATION_ERROR
    assert again.status_of(place(address=4, type="int32")) == Status.BAD_CONFIGURATION_ERROR
    assert again.status_of(place(address=9, register="input")) == Status.BAD_NOT_SUPPORTED
    assert again.status_of(place(address=7)) is None


# ----------------------------------------------------------------------------------------- writes


def test_a_bit_needs_fc22_or_permission_to_read_first() -> None:
    bit = place(address=1, type="bool", bit=3, access="rw")
    allowed = place(address=1, type="bool", bit=3, access="rw", read_modify_write=True)
    assert not needs_held(place(address=1), Quirks())
    assert not needs_held(bit, Quirks(has_fc22=True))
    assert needs_held(allowed, Quirks())
    with pytest.raises(WriteRefused) as refused:
        needs_held(bit, Quirks())
    assert refused.value.status == Status.BAD_NOT_WRITABLE
    assert write_request(allowed, False, Quirks(), Limits(), 0xFFFF) == (6, b"\0\1\xff\xf7")


def test_each_kind_of_point_is_written_by_its_function() -> None:
    quirks, limits = Quirks(has_fc22=True), Limits()
    for keys, encoded, function in (
        ({"register": "coil", "type": "bool"}, True, 5),
        ({"register": "coil", "type": "bool", "write_multiple": True}, True, 15),
        ({"type": "bool", "bit": 3}, True, 22),
        ({}, (1,), 6),
        ({"write_multiple": True}, (1,), 16),
        ({"type": "int32"}, (1, 2), 16),
    ):
        point = place(address=1, access="rw", **keys)
        assert write_request(point, encoded, quirks, limits)[0] == function


def test_a_value_that_does_not_fit_into_one_write_is_refused() -> None:
    wide = place(address=1, type="float64", access="rw")
    with pytest.raises(WriteRefused):
        write_request(wide, (0, 0, 0, 0), Quirks(), Limits(max_write_words=2))


# --------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"tcp": {"host": "h"}, "udp": {"host": "h"}},
        {"tcp": {}},
        {"tcp": {"host": "h", "hosts": ["g"]}},
        {"tcp": {"host": "h"}, "gap": "2s"},
        {"rtu": {}, "listen": "2m"},
        {"tls": {"host": "h"}},
    ],
)
def test_a_line_that_contradicts_itself_is_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ModbusLine(**keys)


@pytest.mark.parametrize(
    "keys",
    [
        {"timeout": "1ms"},
        {"timeout": "2m"},
        {"retries": 6},
        {"unit_id": 256},
        {"heartbeat": {"address": 1, "period": "1ms"}},
        {"heartbeat": {"address": 1, "register": "input"}},
    ],
)
def test_a_device_out_of_bounds_is_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ModbusDevice(driver="modbus", line="bus", **keys)


def test_lines_have_the_ports_of_their_protocols_and_what_they_are_framed_as() -> None:
    line = ModbusLine(tls={"hosts": ["a", "b"], "ca": "c", "cert": "d", "key": "e"})
    assert line.network is not None
    assert (line.network.port, line.network.addresses) == (802, ("a", "b"))
    assert not line.is_rtu_framed
    assert ModbusLine(tcp={"host": "h"}).network.port == 502  # type: ignore[union-attr]
    assert ModbusLine(rtu={}).network is None
    assert ModbusLine(rtu={}).is_rtu_framed
    assert ModbusLine(rtu_over_tcp={"host": "h"}).is_rtu_framed


def test_a_device_overrides_its_profile_key_by_key() -> None:
    profile = Profile(
        profile="x/y",
        version=1,
        vendor="x",
        models=("y",),
        status="manual",
        source="a manual of ours",
        limits={"max_read_words": 50, "max_gap_words": 3},
        quirks={"has_fc22": True},
    )
    settings = ModbusDevice(
        driver="modbus", line="bus", limits={"max_gap_words": 0}, defaults={"address_base": 1}
    )
    spec = DeviceSpec("d", "modbus", "bus", settings, (), {}, profile)
    holds = effective(spec)
    assert (holds.limits.max_read_words, holds.limits.max_gap_words) == (50, 0)
    assert holds.quirks.has_fc22
    assert holds.defaults.address_base == 1
    assert holds.sunspec.bases[0] == 40000


def test_neighbours_that_were_refused_alike_are_told_as_one_stretch() -> None:
    refusals = Refusals((), 0)
    for first, last, code in ((12, 13, 2), (10, 11, 2), (14, 14, 3), (20, 20, 2)):
        refusals.add(Area.HOLDING, first, last, code, 0)
    assert str(refusals) == (
        "holding 10..13: exception 2 (illegal data address); "
        "holding 20: exception 2 (illegal data address); "
        "holding 14: exception 3 (illegal data value)"
    )


@pytest.mark.parametrize(
    "given", [{"timeout": "1ms"}, {"heartbeat": {"address": 0, "period": "1ms"}}]
)
def test_times_outside_their_bounds_are_refused_with_the_bounds(given: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="between"):
        ModbusDevice.model_validate({"driver": "modbus", "line": "bus1", **given})


def test_a_heartbeat_within_its_bounds_is_taken() -> None:
    given = {"driver": "modbus", "line": "bus1", "heartbeat": {"address": 5, "period": "2s"}}
    device = ModbusDevice.model_validate(given)
    assert device.heartbeat is not None
    assert device.heartbeat.period_ns == 2 * NS_PER_S
