"""What of a pair a server is part of."""

from __future__ import annotations

import pytest

from gateway.server.settings import OpcUaSettings, Redundancy


@pytest.mark.parametrize(
    ("redundancy", "support", "warm"),
    [(Redundancy.NONE, 0, False), (Redundancy("closed"), 1, False), (Redundancy("warm"), 2, True)],
)
def test_redundancy_support_is_what_the_standby_does(
    redundancy: Redundancy, support: int, warm: bool
) -> None:
    assert redundancy.support == support
    assert OpcUaSettings("a", redundancy=redundancy).is_warm is warm
