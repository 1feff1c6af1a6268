"""The pytest plug-in: fixtures `hotpair_pair` and `outstation`; hil/DESIGN.md, "In pytest".

pytest loads this in every run on a machine where Hotpair is installed, so nothing but pytest is
imported before a test asks for a fixture.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from hil.hands import HotpairPair, Outstations
    from hil.live import Asked

MARK = "hotpair"
SITE = "hotpair_site"
PATH_MAX = 85
"""Characters of a folder: a node's control socket lies in it, and Linux allows 107 for that."""
_MARKED = (
    "hotpair(site=FOLDER, seed=N, pair={...}, words=[...]): what the pair of this test runs: "
    "a site's folder beside the test file, or a shipped one; the seed of its plant; settings "
    "under `pair:` of site.yaml; words of a timeline that must be prepared, as `slow_disk`"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """What pytest.ini may say."""
    said = "the site of hotpair_pair: a folder beside the ini file, or a shipped one (demo)"
    parser.addini(SITE, said, default="demo")


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", _MARKED)


@pytest.fixture
def hotpair_pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HotpairPair]:
    """Two nodes and their outstations as processes, the pair standing; ended with the test."""
    from hil.hands import HotpairPair
    from hil.ports import free_offset

    asked = _asked(request)
    folder = tmp_path_factory.mktemp(MARK) / "run"
    if len(str(folder)) > PATH_MAX:
        raise pytest.UsageError(f"{folder} is too long for a socket in it: give --basetemp=/tmp/x")
    with free_offset(asked.site) as offset:
        pair = HotpairPair.start(asked, folder, offset)
        try:
            yield pair
        finally:
            pair.close()


@pytest.fixture
def outstation(hotpair_pair: HotpairPair) -> Outstations:
    """The emulated field of `hotpair_pair`: faults, and what each point truly held."""
    return hotpair_pair.outstation


def _asked(request: pytest.FixtureRequest) -> Asked:
    from hil.acts import needs_of
    from hil.laying import find_site
    from hil.live import Asked

    marks = list(request.node.iter_markers(MARK))
    said: Mapping[str, Any] = {k: v for mark in reversed(marks) for k, v in mark.kwargs.items()}
    known = {"site", "seed", "pair", "words"}
    if not set(said) <= known or any(mark.args for mark in marks):
        raise pytest.UsageError(f"@pytest.mark.hotpair takes {', '.join(sorted(known))} by name")
    base = request.path.parent if "site" in said else request.config.rootpath
    try:
        site = find_site(str(said.get("site", request.config.getini(SITE))), base)
        needs_of(said.get("words", ()))
    except ValueError as error:  # SiteError is one
        raise pytest.UsageError(f"{request.node.nodeid}: {error}") from error
    doc = (getattr(request.node.obj, "__doc__", "") or "").strip().split("\n")[0]
    return Asked(
        site.resolve(), request.node.name, doc, said.get("seed"), said.get("pair", {}),
        tuple(said.get("words", ())),
    )  # fmt: skip
