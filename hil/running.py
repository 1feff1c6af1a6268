"""What `hotpair hil run` and `hotpair hil list` do."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from hil.acts import WORDS, needs_of
from hil.gateway import ProgramError
from hil.ground import on
from hil.lab import Lab, LabError, possible
from hil.laying import SCENARIOS, find_site, ground_of, links_of, prepare
from hil.play import Player, told
from hil.recording import RUN_FILE, Outcome, Recording
from hil.recording import load as load_run
from hil.report.files import PAGE_FILE, write
from hil.scenario import Mistake, Scenario, ScenarioError
from hil.scenario_reading import read_scenario
from hil.settings import SiteError
from hil.stopping import Stopping
from hil.verdicts import worst

PASSED: Final = 0
FAILED: Final = 1
BAD_INPUT: Final = 2
UNKNOWN: Final = 3
STATUS: Final = {Outcome.PASSED: PASSED, Outcome.FAILED: FAILED, Outcome.UNKNOWN: UNKNOWN}
EVIDENCE_SHOWN: Final = 5


class Loaded(NamedTuple):
    """A scenario and where it came from."""

    path: Path
    scenario: Scenario


def find_scenario(name: str) -> Path:
    """The file of a scenario: a path, or a shipped one by name. Raises SiteError."""
    path, shipped = Path(name), SCENARIOS / f"{name}.yaml"
    for found in (path, shipped):
        if found.is_file():
            return found
    names = ", ".join(sorted(file.stem for file in SCENARIOS.glob("*.yaml")))
    raise SiteError(f"no scenario {name}: no such file, and shipped are {names}")


def load(path: Path, lab: bool = False) -> Loaded:
    """Read a scenario. Raises ScenarioError, OSError, UnicodeDecodeError."""
    shapes = {word: entry.shape for word, entry in WORDS.items()}
    scenario = read_scenario(
        path.read_text(encoding="utf-8"),
        str(path),
        shapes,
        lambda site: ground_of(site, path.parent),
        lab,
    )
    return Loaded(path, scenario)


async def run_one(
    loaded: Loaded, folder: Path, offset: int, lab: bool, say: Callable[[str], None]
) -> Recording:
    """Play a scenario; the folder keeps all. Raises ProgramError, LabError, SiteError, OSError."""
    scenario = loaded.scenario
    site = find_site(scenario.site, loaded.path.parent)
    with Lab(links_of(site)) if lab else nullcontext() as machines:
        pair = prepare(site, folder, offset, scenario.seed, scenario.pair, machines, scenario.real)
        async with on(pair, needs_of(e.word for e in scenario.timeline if not e.device)):
            run = await Player(scenario, pair, say).play()
    write(run, folder)
    return run


def run(names: Sequence[str], keep: Path | None, offset: int, lab: bool, as_json: bool) -> int:
    """`hotpair hil run`; the exit status: 0 passed, 1 failed, 2 bad input, 3 unknown.

    Stopped by a signal it is 128 and that signal: what was played is not judged.
    """
    try:
        loaded = _loaded(names, lab)
        _free(loaded, keep)
    except (SiteError, ScenarioError, OSError, UnicodeDecodeError) as error:
        print(error if isinstance(error, ScenarioError) else f"hotpair: {error}", file=sys.stderr)
        return BAD_INPUT

    def say(text: str) -> None:
        print(text, file=sys.stderr if as_json else sys.stdout, flush=True)

    folder = keep or Path(tempfile.mkdtemp(prefix="hotpair-hil-"))
    outcomes, answers = [], []
    with Stopping(say) as stopping:
        try:
            for one in loaded:
                kept = folder / one.path.stem
                outcome, said = played(one, kept, offset, lab, say, keep is not None, stopping)
                outcomes.append(outcome)
                answers.append(said)
        except asyncio.CancelledError:
            return stopping.status
        finally:
            if keep is None:
                shutil.rmtree(folder, ignore_errors=True)
    if as_json:
        print(json.dumps(answers))
    elif len(loaded) > 1:
        for one, outcome in zip(loaded, outcomes, strict=True):
            say(f"{outcome.value.upper():8} {one.scenario.name}")
    return STATUS[worst(outcomes)]


def _loaded(names: Sequence[str], lab: bool) -> list[Loaded]:
    """All scenarios, or all that is wrong with any. Raises ScenarioError, SiteError, OSError."""
    if lab and not possible():
        raise SiteError("--lab makes network namespaces: run it as root, with iproute2")
    found: list[Loaded] = []
    mistakes: list[Mistake] = []
    for name in names:
        try:
            found.append(load(find_scenario(name), lab))
        except ScenarioError as error:
            mistakes += error.mistakes
    if mistakes:
        raise ScenarioError(mistakes)
    if lab and (named := [str(one.path) for one in found if one.scenario.client]):
        raise SiteError(f"{', '.join(named)}: `client:` can't reach the lab; run it without --lab")
    if lab and (real := [str(one.path) for one in found if one.scenario.real]):
        raise SiteError(f"{', '.join(real)}: the lab can't reach real devices; run without --lab")
    return found


def _free(loaded: Sequence[Loaded], keep: Path | None) -> None:
    """What is kept must not be mixed with an earlier run. Raises SiteError."""
    stems = [one.path.stem for one in loaded]
    if twice := {stem for stem in stems if stems.count(stem) > 1}:
        raise SiteError(f"{', '.join(sorted(twice))}: each scenario once, please")
    for stem in stems:
        if keep is not None and (keep / stem).exists():
            raise SiteError(f"{keep / stem} holds an earlier run: remove it, or keep elsewhere")


def played(
    one: Loaded,
    folder: Path,
    offset: int,
    lab: bool,
    say: Callable[[str], None],
    keeps: bool,
    stopping: Stopping,
) -> tuple[Outcome, Mapping[str, Any]]:
    """Play one and tell what came of it. Raises CancelledError when it was stopped."""
    say(f"{one.scenario.name}: {one.scenario.promise}")
    try:
        found = stopping.run(run_one(one, folder, offset, lab, say))
    except (ProgramError, LabError, SiteError, OSError) as error:
        if stopping.name:  # what it was doing broke off, as it had to
            raise asyncio.CancelledError from error
        say(f"UNKNOWN: the run broke off: {error}")
        return Outcome.UNKNOWN, {"scenario": one.scenario.name, "outcome": "unknown",
                                 "why": str(error), "findings": []}  # fmt: skip
    for finding in found.findings:
        kept = () if finding.outcome is Outcome.PASSED else finding.evidence[:EVIDENCE_SHOWN]
        say(told(msgspec.structs.replace(finding, evidence=kept)))
    where = f"; kept in {folder} ({PAGE_FILE}, {RUN_FILE}, logs, journals)" if keeps else ""
    say(f"{found.outcome.value.upper()}: {one.scenario.name}{where}")
    said = {
        "scenario": found.scenario,
        "outcome": found.outcome.value,
        "folder": str(folder) if keeps else "",
        "takeovers_ms": [switch.took_ms for switch in found.switches if switch.fresh_ns],
        "findings": [
            {"judge": f.judge, "outcome": f.outcome.value, "said": f.said,
             "evidence": list(f.evidence)}
            for f in found.findings
        ],
    }  # fmt: skip
    return found.outcome, said


def show(as_json: bool) -> int:
    """`hotpair hil list`; the exit status."""
    found, status = [], PASSED
    for path in sorted(SCENARIOS.glob("*.yaml")):
        try:
            scenario = load(path, lab=True).scenario
        except (ScenarioError, OSError) as error:
            print(error, file=sys.stderr)
            status = BAD_INPUT
            continue
        lasts_s = scenario.lasts_ns / 1e9
        found.append((path.stem, lasts_s, scenario))
    if as_json:
        print(json.dumps([
            {"name": name, "scenario": s.name, "promise": s.promise, "site": s.site,
             "lasts_s": lasts_s, "file": str(SCENARIOS / f"{name}.yaml")}
            for name, lasts_s, s in found
        ]))  # fmt: skip
        return status
    for name, lasts_s, scenario in found:
        print(f"{name} ({scenario.site}, {lasts_s:g} s): {scenario.promise}")
    return status


def report(folder: Path, as_json: bool) -> int:
    """`hotpair hil report`: write the report of a kept run anew; the exit status."""
    try:
        page = write(load_run(folder), folder)
    except (OSError, msgspec.MsgspecError) as error:
        remedy = "give the folder of one run, which `hotpair hil run --keep` left"
        print(f"hotpair: {folder}: no recording to report of ({error}): {remedy}", file=sys.stderr)
        return BAD_INPUT
    print(json.dumps({"report": str(page)}) if as_json else page)
    return PASSED
