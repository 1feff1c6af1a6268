"""What is claimed while a class is slow or quiet: its own lag is nobody else's."""

from __future__ import annotations

from itertools import pairwise

from field_world import T0_NS, Plant, device, gaps, missing, pass_s, site
from test_field import HEARD, node_of, simulated

from gateway.acquisition.coverage import BEHIND_NS, CLAIM_NS
from gateway.acquisition.field import Begin
from gateway.journal.coverage import lagging
from gateway.journal.records import Coverage
from gateway.model import NS_PER_MS, NS_PER_S

PAIR = site(
    device("plc1", "tcp1", {"fast": 200 * NS_PER_MS}, [("a", "fast")]),
    device("plc2", "tcp2", {"fast": 200 * NS_PER_MS}, [("a", "fast")]),
)
LAG_NS = CLAIM_NS + BEHIND_NS


@simulated
async def test_a_slow_reply_holds_back_the_claims_of_its_own_class_only() -> None:
    node = node_of(PAIR, Plant())
    node.field.open(Begin())
    await pass_s(3)
    node.plant.hung_s = {"plc2": 2.0}
    await pass_s(1.9)
    now_ns = node.clock.utc_ns()
    last = node.of(Coverage)[-1]
    assert last.through_ns > now_ns - LAG_NS
    assert [(own.device, own.scan_class) for own in last.behind] == [("plc2", "fast")]
    assert last.behind[0].through_ns < now_ns - NS_PER_S
    # This is what is known of the node if it is killed now.
    killed_ns = last.through_ns
    assert gaps([node], "plc1", "fast", T0_NS + NS_PER_S, killed_ns) == []
    ((from_ns, to_ns),) = gaps([node], "plc2", "fast", T0_NS + NS_PER_S, killed_ns)
    assert (from_ns, to_ns) == (last.behind[0].through_ns, killed_ns)
    node.plant.hung_s = {}
    await pass_s(2)
    last = node.of(Coverage)[-1]
    end_ns = last.through_ns
    assert lagging(last) == {}
    assert gaps([node], "plc1", "fast", T0_NS + NS_PER_S, end_ns) == []
    await node.field.close()
    assert missing([node], PAIR, T0_NS, end_ns, NS_PER_S // 4) == []


@simulated
async def test_a_subscription_between_two_signs_of_life_holds_nobody_back() -> None:
    node = node_of(HEARD, Plant())
    node.field.open(Begin())
    await pass_s(5.3)
    records = node.of(Coverage)
    assert any(own.device == "srv" for record in records for own in record.behind)
    assert all(own.device == "srv" for record in records[8:] for own in record.behind)
    paces = [after.through_ns - before.through_ns for before, after in pairwise(records)]
    assert max(paces) <= LAG_NS
    end_ns = node.field.collector.coverage.complete_ns
    assert gaps([node], "srv", "subscription", T0_NS + 2 * NS_PER_S, end_ns) == []
    await node.field.close()


@simulated
async def test_a_first_scan_that_is_told_late_counts_from_where_its_hole_was_told_to_last() -> None:
    """Campaign 20261212, round 19: a value that did not change was in no interval of its stream."""
    plant = Plant(change_ns=3600 * NS_PER_S, told_late_s={"plc1": 0.6})
    alone = site(device("plc1", "tcp1", {"normal": NS_PER_S}, [("a", "normal")]))
    node = node_of(alone, plant)
    node.field.open(Begin())
    await pass_s(4)
    end_ns = node.field.collector.coverage.complete_ns
    await node.field.close()
    ((_, to_ns),) = gaps([node], "plc1", "normal", T0_NS, end_ns)
    assert to_ns - T0_NS >= 500 * NS_PER_MS, "it was told before the scan"
    assert missing([node], alone, T0_NS, end_ns, NS_PER_S // 4) == []
