"""What a session is told of history, what of it is believed, and when it is asked again."""

from __future__ import annotations

from drivers.opcua.log.discovery import KEPT, LOOK_LATEST_NS, SETTLED_NS, Discovery
from gateway.model import NS_PER_S

S = NS_PER_S
NONE = "the server keeps no history of it"
T0 = 1_000 * S


def test_where_all_is_there_nothing_is_asked_again() -> None:
    discovery = Discovery({}, T0)
    assert discovery.due_ns == T0 and discovery.asks("a")
    discovery.take({"a": KEPT, "b": KEPT}, T0)
    assert discovery.due_ns is None and not discovery.late
    assert discovery.verdicts == {"a": KEPT, "b": KEPT} and not discovery.asks("a")


def test_what_was_kept_and_is_missing_is_late_until_the_session_has_settled() -> None:
    discovery = Discovery({"a": KEPT, "b": KEPT, "c": NONE}, T0)
    discovery.take({"a": KEPT, "b": NONE, "c": NONE}, T0)
    assert discovery.late == ("b",)
    assert discovery.verdicts == {"a": KEPT, "b": KEPT, "c": NONE}
    discovery.take({"b": NONE, "c": NONE}, T0 + SETTLED_NS - 1)
    assert discovery.late == ("b",) and discovery.verdicts["b"] == KEPT
    settled, came = (Discovery({"a": KEPT, "b": KEPT}, T0) for _ in range(2))
    for one in (settled, came):
        one.take({"a": KEPT, "b": NONE}, T0)
    settled.take({"b": NONE}, T0 + SETTLED_NS)
    assert not settled.late and settled.verdicts == {"a": KEPT, "b": NONE}
    came.take({"b": KEPT}, T0 + S)
    assert not came.late and came.verdicts == {"a": KEPT, "b": KEPT} and came.due_ns is None


def test_of_what_was_never_kept_nothing_is_late() -> None:
    discovery = Discovery({"a": NONE}, T0)
    discovery.take({"a": NONE, "new": NONE}, T0)
    assert not discovery.late and discovery.verdicts == {"a": NONE, "new": NONE}


def test_what_is_missing_is_looked_for_ever_later() -> None:
    discovery = Discovery({}, T0)
    now_ns, waits = T0, []
    for _ in range(10):
        discovery.take({"a": NONE}, now_ns)
        assert discovery.due_ns is not None
        waits.append(discovery.due_ns - now_ns)
        now_ns = discovery.due_ns
    assert waits[:4] == [60 * S, 60 * S, 120 * S, 240 * S]
    assert waits[-1] == LOOK_LATEST_NS
