"""Tests as an integrator writes them, with the fixtures of `hil.pytest_plugin`."""

from __future__ import annotations

from hil.hands import HotpairPair, Outstations


def test_a_dead_main_loses_nothing(hotpair_pair: HotpairPair, outstation: Outstations) -> None:
    """Who takes over serves fresh values, and what nobody polled comes from the devices' logs."""
    left = hotpair_pair.main
    outstation.fault("plc1", "silence", seconds=2)
    takeover = hotpair_pair.kill("main", seconds=5).takeover()

    assert takeover.left == left and hotpair_pair.main == takeover.taken
    gaps = hotpair_pair.until_filled("plc1")
    assert gaps and all(gap.state == "filled" for gap in gaps)
    assert hotpair_pair.read("plc1/level").status == "Good"

    hotpair_pair.judge(main="other", filled=["plc1"])
