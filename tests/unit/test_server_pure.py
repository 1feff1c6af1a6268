"""History plans, units, settings, diagnostics, frames."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from asyncua import ua
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import NS_PER_S, Status
from gateway.server import history_plan
from gateway.server.diagnostics import DEVICE, NODE_COUNTERS, DiagnosticsTable
from gateway.server.encoding import ticks
from gateway.server.history_plan import PlanRefused, plan
from gateway.server.settings import Limits, OpcUaSettings, Role
from gateway.server.transport import FrameRefused, frame_size
from gateway.server.units import _CODES, _SPELLINGS, UNECE, unit_id, unit_of

T1, T2 = 1_000 * NS_PER_S, 2_000 * NS_PER_S
A, B = ticks(T1), ticks(T2)


def test_forward_takes_the_start_and_leaves_the_end() -> None:
    assert plan(A, B, 5) == (T1, T2, False, 5, T1, T2)


def test_backward_takes_the_start_and_leaves_the_end() -> None:
    assert plan(B, A, 0) == (T1 + 100, T2 + 100, True, 0, T2, T1)


def test_start_equal_to_end_is_that_one_tick() -> None:
    assert plan(A, A, 0) == (T1, T1 + 100, False, 0, T1, T1)


def test_a_start_alone_goes_forward_as_far_as_values_are_asked_for() -> None:
    found = plan(A, 0, 10)
    assert (found.from_ns, found.reverse, found.end_ns) == (T1, False, None)
    assert found.to_ns == history_plan.TO_NS_MAX


def test_an_end_alone_goes_backward() -> None:
    found = plan(0, B, 10)
    assert (found.from_ns, found.to_ns, found.reverse) == (0, T2 + 100, True)


@pytest.mark.parametrize(("start", "end", "count"), [(0, 0, 0), (0, 0, 5), (A, 0, 0), (0, B, 0)])
def test_fewer_than_two_of_three_is_no_request(start: int, end: int, count: int) -> None:
    with pytest.raises(PlanRefused) as refused:
        plan(start, end, count)
    assert refused.value.status == ua.StatusCodes.BadHistoryOperationInvalid


@given(st.integers(1, 2**63 - 1), st.integers(1, 2**63 - 1))
def test_no_time_reaches_a_reader_that_64_bits_do_not_hold(start: int, end: int) -> None:
    found = plan(start, end, 0)
    assert 0 <= found.from_ns <= found.to_ns <= 2**62


def test_the_code_of_bad_bounds_is_the_librarys() -> None:
    assert ua.StatusCodes.BadBoundNotFound == history_plan.BAD_BOUND_NOT_FOUND


def test_known_units_carry_their_unece_code_and_unknown_ones_none() -> None:
    assert unit_of("m", "urn:x") == (UNECE, 0x4D5452, "m", "metre")
    assert unit_of("m3/h", "urn:x") == (UNECE, unit_id("MQH"), "m3/h", "cubic metre per hour")
    assert unit_of("furlong", "urn:x") == ("urn:x", -1, "furlong", "furlong")


def test_unit_codes_are_distinct_and_every_spelling_leads_to_one() -> None:
    codes = [code for code, _ in _CODES.values()]
    assert len(set(codes)) == len(codes)
    assert set(_SPELLINGS.values()) <= set(_CODES)


def test_roles_include_one_another() -> None:
    assert Role.parse("operator") is Role.OPERATOR
    assert Role.OBSERVER < Role.OPERATOR < Role.ENGINEER < Role.ADMIN
    with pytest.raises(ValueError, match="observer, operator, engineer, admin"):
        Role.parse("god")


def test_the_two_nodes_share_the_namespace_and_not_the_application() -> None:
    a, b = OpcUaSettings("a"), OpcUaSettings("b")
    assert a.namespace("s7") == b.namespace("s7") == "urn:hotpair:s7"
    assert (a.application("s7"), b.application("s7")) == ("urn:hotpair:s7:a", "urn:hotpair:s7:b")
    own = OpcUaSettings("a", namespace_uri="urn:x", application_uri="urn:y")
    assert (own.namespace("s7"), own.application("s7")) == ("urn:x", "urn:y")


def test_security_is_switched_off_on_loopback_only() -> None:
    for host in ("127.0.0.1", "127.66.0.1", "::1", "localhost"):
        assert OpcUaSettings("a", host=host, insecure=True).insecure
    for host in ("0.0.0.0", "10.0.0.1", "gateway.example"):
        with pytest.raises(ValueError, match="loopback only"):
            OpcUaSettings("a", host=host, insecure=True)


class StillClock:
    def __init__(self) -> None:
        self.now_ns = 5

    def utc_ns(self) -> int:
        return self.now_ns

    def monotonic_ns(self) -> int:
        return self.now_ns


def test_diagnostics_are_asked_for_at_most_once_a_second() -> None:
    asked = []
    clock = StillClock()

    def supply() -> dict[str, dict[str, Any]]:
        asked.append(1)
        return {"plc1": {"Requests": len(asked)}}

    table = DiagnosticsTable(supply, clock)
    assert table.read("plc1", "Requests") == (1, 0, 5, 5)
    assert table.read("plc1", "Nothing") == (None, Status.BAD_NO_DATA, 5, 5)
    assert table.read("plc2", "Requests").status == Status.BAD_NO_DATA
    assert len(asked) == 1
    clock.now_ns += NS_PER_S
    assert table.read("plc1", "Requests").value == 2


def test_diagnostic_names_are_distinct() -> None:
    for counters in (DEVICE, NODE_COUNTERS):
        names = [counter.name for counter in counters]
        assert len(set(names)) == len(names)


def head(kind: bytes, size: int) -> bytes:
    return struct.pack("<4sI", kind, size)


def test_a_frame_is_refused_at_its_header() -> None:
    most = Limits().max_chunk_bytes
    assert frame_size(head(b"HELF", 60), False, most) == 60
    assert frame_size(head(b"MSGC", most), True, most) == most
    wrong_kind, too_large = (
        ua.StatusCodes.BadTcpMessageTypeInvalid,
        ua.StatusCodes.BadTcpMessageTooLarge,
    )
    for greeted, data, status in (
        (False, head(b"MSGF", 60), wrong_kind),
        (False, head(b"OPNF", 60), wrong_kind),
        (False, head(b"GET ", 60), wrong_kind),
        (False, head(b"HELF", 600_000_000), too_large),
        (True, head(b"HELF", 60), wrong_kind),
        (True, head(b"MSGX", 60), wrong_kind),
        (True, head(b"MSGF", 600_000_000), too_large),
        (True, head(b"MSGF", 8), too_large),
    ):
        with pytest.raises(FrameRefused) as refused:
            frame_size(data, greeted, most)
        assert refused.value.status == status
