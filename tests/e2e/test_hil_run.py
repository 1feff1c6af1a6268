"""`hotpair hil`, run as test engineers run it: scenarios for real, and what they leave behind."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest

from hil.lab import possible
from hil.laying import SITES
from hil.recording import Outcome, load
from hil.running import SCENARIOS
from hil.verdicts import CLIENTS, IN_TIME, NOT_TWICE, ONE_MAIN, RIGHT
from hil.visitor import USER

from .plant import free_offset

MAIN_DIES = """\
scenario: The Main dies while a device is away
promise: Nothing is lost but what is declared.
site: demo
lasts: 9s
seed: 11
timeline:
  - {at: 1s, refuse: plc1, for: 2s}
  - {at: 2s, kill: main, for: 3s}
expect:
  - {main: other}
  - {filled: plc1}
  - {told: is dead}
"""
CAN_NOT_HOLD = """\
scenario: What can't hold
promise: A run whose expectations don't hold fails, and says why.
site: demo
lasts: 4s
timeline:
  - {at: 1s, refuse: plc1, for: 1s}
expect:
  - {no_gaps: plc1}
  - {told: the moon}
  - {takeover: 1s}
"""
LAB = """\
scenario: A cut in the lab
promise: The same file runs on machines of their own.
site: demo
lasts: 9s
timeline:
  - {at: 1s, cut: links, for: 3s}
"""


def hil(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "gateway.cli", "hil", *arguments)
    return subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)


def played(tmp_path: Path, text: str, *options: str) -> tuple[int, dict[str, Any], Path]:
    """The exit status, what `--json` says, and the folder that is kept."""
    file = tmp_path / "one.yaml"
    file.write_text(text, encoding="utf-8")
    kept, offset = tmp_path / "kept", str(free_offset())
    done = hil("run", str(file), "--keep", str(kept), "--port-offset", offset, "--json", *options)
    assert done.stdout, done.stderr
    (said,) = json.loads(done.stdout)
    return done.returncode, said, kept / "one"


def secured(tmp_path: Path) -> Path:
    """The demo's site, but clients must sign, encrypt and log in."""
    site = tmp_path / "secured"
    shutil.copytree(SITES / "demo", site, ignore=shutil.ignore_patterns("data", "run"))
    for node in ("node-a.yaml", "node-b.yaml"):
        text = (site / node).read_text(encoding="utf-8")
        assert "insecure: true, " in text
        (site / node).write_text(text.replace("insecure: true, ", ""), encoding="utf-8")
    return site


def test_a_scenario_is_played_judged_and_kept(tmp_path: Path) -> None:
    site = secured(tmp_path)
    status, said, folder = played(tmp_path, MAIN_DIES.replace("site: demo", f"site: {site.name}"))
    run = load(folder)
    bad = [f for f in run.findings if f.outcome is not Outcome.PASSED]
    assert not bad or (run.busy and [f.judge for f in bad] == [IN_TIME]), bad
    assert status == (3 if bad else 0)
    assert said["outcome"] == run.outcome and said["folder"] == str(folder)
    assert (run.scenario, run.seed) == ("The Main dies while a device is away", 11)
    assert [(act.word, act.target) for act in run.acts] == [("refuse", "plc1"), ("kill", "main")]
    assert all(not act.failed for act in run.acts)
    (switch,) = run.switches
    assert switch.kind == "kill -9" and switch.fresh_ns > switch.fault_ns
    assert [reign.node for reign in run.reigns][:2] == [switch.left, switch.taken]
    assert {look.role for look in run.looks} >= {"main", "synced", ""}, "and a silent one"
    assert run.stretches and run.polls > 50 and run.told
    judges = {finding.judge: finding.said for finding in run.findings}
    assert {CLIENTS, NOT_TWICE, ONE_MAIN, f"{RIGHT}, node a", f"{RIGHT}, node b"} <= set(judges)
    assert int(judges[CLIENTS].split()[0]) > 20, "the client saw values"
    words = (folder / f"node-{switch.taken}.log").read_text(encoding="utf-8")
    assert f"logged in as {USER} (observer)" in words and "insecure" not in words
    suite = Xml.parse(folder / "junit.xml").getroot().find("testsuite")
    assert suite is not None and suite.get("tests") == str(len(run.findings))
    assert "took over: kill -9" in (folder / "transcript.txt").read_text()
    page = folder / "report.html"
    assert "The Main dies while a device is away" in page.read_text(encoding="utf-8")
    page.unlink()
    again = hil("report", str(folder))
    assert (again.returncode, again.stdout.strip()) == (0, str(page)) and page.exists()
    assert hil("report", str(tmp_path)).returncode == 2


@pytest.mark.slow
def test_an_expectation_that_does_not_hold_fails_the_run_with_its_evidence(tmp_path: Path) -> None:
    status, said, folder = played(tmp_path, CAN_NOT_HOLD)
    assert (status, said["outcome"]) == (1, "failed")
    found = {f["judge"]: f for f in said["findings"] if f["judge"].startswith("expect")}
    outcomes = {judge.split()[1].rstrip(":"): f["outcome"] for judge, f in found.items()}
    assert outcomes == {"no_gaps": "failed", "told": "failed", "takeover": "unknown"}
    evidence = found["expect no_gaps: plc1"]["evidence"]
    gap = next(text for text in evidence if text.endswith("link, filled"))
    assert gap.startswith("plc1 (")
    cases = Xml.parse(folder / "junit.xml").getroot().findall("testsuite/testcase")
    of_no_gaps = next(case for case in cases if case.get("name") == "expect no_gaps: plc1")
    failure = of_no_gaps.find("failure")
    assert failure is not None and gap in (failure.text or "")
    again = hil("run", str(tmp_path / "one.yaml"), "--keep", str(tmp_path / "kept"))
    assert again.returncode == 2 and "holds an earlier run" in again.stderr


@pytest.mark.slow
@pytest.mark.skipif(not possible(), reason="namespaces need root")
def test_the_same_file_runs_on_machines_of_the_lab(tmp_path: Path) -> None:
    status, said, folder = played(tmp_path, LAB, "--lab")
    run = load(folder)
    bad = [f for f in run.findings if f.outcome is not Outcome.PASSED]
    assert not bad or (run.busy and [f.judge for f in bad] == [IN_TIME]), bad
    assert status == (3 if bad else 0) and said["scenario"] == "A cut in the lab"
    assert [switch.kind for switch in run.switches] == ["links cut"]
    assert run.splits and "10.66.0.10" in (folder / "site.yaml").read_text()


def test_mistakes_are_told_all_at_once_and_nothing_is_started(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(MAIN_DIES.replace("kill", "kil").replace("plc1}", "plc9}"), encoding="utf-8")
    done = hil("run", str(file), "no_such")
    assert done.returncode == 2 and "no scenario no_such" in done.stderr
    if possible():
        done = hil("run", "waterworks", "--lab")
        assert done.returncode == 2 and "can't reach the lab" in done.stderr
    done = hil("run", str(file))
    assert done.returncode == 2 and not done.stdout
    assert [line.split(": ")[0] for line in done.stderr.splitlines()] == [
        *(f"{file}:8", f"{file}:11")
    ]


def test_the_shipped_scenarios_are_listed_with_their_promise() -> None:
    done = hil("list", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {one["name"] for one in found} == {path.stem for path in SCENARIOS.glob("*.yaml")}
    assert all(one["lasts_s"] <= 40 for one in found if one["site"] == "demo"), "they are short"
    assert "main_dies (demo, " in hil("list").stdout
