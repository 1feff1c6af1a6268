"""A device that refuses everything is in download; one that refuses a part was made otherwise."""

from __future__ import annotations

from drivers.modbus.download import PATIENCE_NS, Download
from gateway.model import NS_PER_S

S = NS_PER_S


def test_a_device_that_never_gave_anything_is_looked_at_at_once() -> None:
    assert not Download().lasts("fast", 0)


def test_who_gave_before_and_refuses_all_is_in_download_for_a_while() -> None:
    found = Download()
    found.gave("fast", 0)
    assert found.lasts("fast", 10 * S)
    assert found.lasts("fast", 10 * S + PATIENCE_NS - 1)
    assert not found.lasts("fast", 10 * S + PATIENCE_NS), "patience ends"
    found.gave("fast", 700 * S)
    assert found.lasts("fast", 701 * S), "another download"


def test_while_another_class_is_answered_only_these_addresses_are_refused() -> None:
    found = Download()
    found.gave("fast", 0)
    found.gave("slow", 9 * S)
    assert found.lasts("fast", 10 * S)
    assert found.lasts("slow", 11 * S)
    found.gave("slow", 12 * S)
    assert not found.lasts("fast", 13 * S)


def test_what_was_given_is_known_to_the_other_node() -> None:
    one = Download()
    assert [one.gave(name, 0) for name in ("slow", "fast", "slow")] == [True, True, False]
    assert one.given == ["fast", "slow"]
    assert Download(one.given).lasts("fast", 0)


def test_it_is_told_once_a_download() -> None:
    found = Download()
    found.gave("fast", 0)
    assert (found.is_news(), found.is_news()) == (True, False)
    found.gave("fast", S)
    assert found.is_news()
