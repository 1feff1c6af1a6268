"""Whatever is written into the files: `check` names mistakes and never fails itself."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import HealthCheck, given
from hypothesis import settings as options
from hypothesis import strategies as st

UNIT = Path(__file__).resolve().parents[1] / "unit"
sys.path.insert(0, str(UNIT))

from test_config_scenarios import ROOT, loaded_of  # noqa: E402

PLANT = ROOT / "plant_ok"
SITE = (PLANT / "site.yaml").read_text()
POINTS = (PLANT / "points.csv").read_bytes().decode("utf-8-sig")
OWN = (PLANT / "own.yaml").read_text()
SIGNS = "\n \t : { } [ ] , ; ' \" & * < | # - ~ @ ä \x00"
WORDS = "&a *a <<: null -1 1.5 .nan 1e999 0x 99999999999999999999 devices points on"
PIECES = st.sampled_from(["", "  ", *SIGNS, *WORDS.split()])


@st.composite
def damaged(draw: st.DrawFn, text: str) -> str:
    """A text with a few stretches replaced."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 12)))
        text = text[:start] + draw(PIECES | st.text(max_size=4)) + text[end:]
    return text


@given(damaged(SITE), st.just(POINTS) | damaged(POINTS), st.just(OWN) | damaged(OWN))
@options(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
def test_a_damaged_site_is_usable_or_its_mistakes_are_named(
    site: str, points: str, own: str
) -> None:
    result = loaded_of({"site.yaml": site, "points.csv": points, "own.yaml": own})
    assert (result.site is None) == (result.problem_count > 0)
    assert all(problem.message for problem in result.problems)
    if result.site is not None:
        assert [p.number for p in result.site.points] == list(range(len(result.site.points)))
        assert [p.id for p in result.site.points] == sorted(p.id for p in result.site.points)
