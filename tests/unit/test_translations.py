"""Batches of another revision, shown by the names of the points."""

from __future__ import annotations

from field_world import device, site

from gateway.acquisition.live import LiveTable
from gateway.journal.records import Batch
from gateway.model import NS_PER_S, Origin, Term
from gateway.translations import TRANSLATIONS_MAX, Translations

OURS = site(device("a", "l", {"f": NS_PER_S}, [("p", "f"), ("r", "f")]))
WON = Term(8, "b", 1)
SAMPLES = ((0, 1, 10, 0), (1, 1, 11, 0), (2, 1, 12, 0))


def batch(*samples: tuple[int, int, int, int], revision: int = 6) -> Batch:
    return Batch("a", "f", revision, Origin.POLL, 1, 1, samples, True)


def test_two_revisions_of_one_number_are_told_apart_by_the_term() -> None:
    known = {(6, WON): ("a/p", "a/q", "a/r"), (6, WON._replace(number=9)): ("a/p", "a/r")}
    translations = Translations(lambda number, term: known.get((number, term)))
    live = LiveTable(OURS.devices)
    assert translations.here(live, WON, batch(*SAMPLES)) == ((0, 1, 10, 0), (1, 1, 12, 0))
    same = batch(*SAMPLES[:2])
    assert translations.here(live, WON._replace(number=9), same) is same.samples
    assert translations.here(live, WON, batch(*SAMPLES, revision=7)) == ()
    known[7, WON] = ("a/r",)
    assert translations.here(live, WON, batch(SAMPLES[0], revision=7)) == ((1, 1, 10, 0),)
    known[6, WON] = ("a/p", "a/r")
    assert translations.here(live, WON, batch(*SAMPLES[:2])) == (SAMPLES[0],), "as it was"
    translations.clear()
    assert translations.here(live, WON, batch(*SAMPLES[:2])) == SAMPLES[:2]


def test_what_is_known_is_bounded() -> None:
    asked = []

    def names(number: int, term: Term) -> tuple[str, ...]:
        asked.append(number)
        return ("a/p", "a/r")

    translations, live = Translations(names), LiveTable(OURS.devices)
    for _ in range(2):
        for number in range(TRANSLATIONS_MAX + 1):
            translations.here(live, WON, batch(SAMPLES[0], revision=number))
    assert len(asked) == 2 * (TRANSLATIONS_MAX + 1)
