"""The shipped scenarios of the demo's site hold: each is there because it once did not."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hil.recording import Outcome, load
from hil.running import SCENARIOS
from hil.verdicts import IN_TIME

from .plant import free_offset

ALWAYS = ("clock_set_unseen", "clock_steps")
"""What only a run with two nodes, a log and a clock shows; the others take a quarter of an hour."""


def of_the_demo() -> Iterator[object]:
    for file in sorted(SCENARIOS.glob("*.yaml")):
        if "\nsite: demo\n" in file.read_text(encoding="utf-8"):
            marks = () if file.stem in ALWAYS else (pytest.mark.slow,)
            yield pytest.param(file.stem, marks=marks)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", list(of_the_demo()))
def test_a_shipped_scenario_passes_every_judge(name: str) -> None:
    with tempfile.TemporaryDirectory(prefix="hil-") as kept:
        options = ("--keep", kept, "--port-offset", str(free_offset()))
        command = (sys.executable, "-m", "gateway.cli", "hil", "run", name, *options)
        done = subprocess.run(command, capture_output=True, text=True, timeout=170, check=False)
        assert done.returncode in (0, 3), done.stdout + done.stderr
        run = load(Path(kept) / name)
    bad = [finding for finding in run.findings if finding.outcome is not Outcome.PASSED]
    assert not bad or (run.busy and [finding.judge for finding in bad] == [IN_TIME]), bad
