"""`hotpair hil campaign` as a test engineer runs it: a round of random faults, its evidence."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from hil.laying import SITES
from hil.warden import of

from .plant import free_offset

SEED = 1052
"""Its first round kills the Main, restarts a node while links are cut, and faults all devices."""


COMMAND = (sys.executable, "-m", "gateway.cli", "hil", "campaign")


def campaign(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = (*COMMAND, *arguments)
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose sockets' paths are short enough for the kernel (unix(7): 107 bytes)."""
    with tempfile.TemporaryDirectory(prefix="camp-") as folder:
        yield Path(folder)


def test_a_round_of_random_faults_loses_nothing(short_path: Path) -> None:
    folder = short_path / "campaign"
    done = campaign(
        *("--seed", str(SEED), "--minutes", "2.5", "--round", "60", "--keep", str(folder)),
        *("--port-offset", str(free_offset()), "--json"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    assert (said["outcome"], len(said["rounds"])) == ("passed", 1)
    drawn = (folder / "round-001.yaml").read_text(encoding="utf-8")
    for word in ("kill: main", "cut: links, together: true", "plc1", "meter1", "plc2"):
        assert word in drawn
    assert said["rounds"][0]["faults"] == drawn.count("{at: ")
    assert said["rounds"][0]["takeovers_ms"]
    (suite,) = Xml.parse(folder / "junit.xml").getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("1", "0", "0")
    assert 'class="verdict passed"' in (folder / "campaign.html").read_text(encoding="utf-8")
    kept = {path.name for path in (folder / "round-001").iterdir()}
    assert {"report.html", "run.json", "transcript.txt"} <= kept and "data" not in kept
    again = campaign("--keep", str(folder))
    assert again.returncode == 2 and "holds an earlier campaign" in again.stderr


def test_what_can_not_be_played_is_told(tmp_path: Path) -> None:
    done = campaign("--site", "nowhere", "--minutes", "1")
    assert done.returncode == 2 and "nowhere" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_ctrl_c_ends_the_round_in_order_and_tells_that_it_is_not_judged(short_path: Path) -> None:
    folder = short_path / "campaign"
    arguments = ("--minutes", "3", "--keep", str(folder), "--port-offset", str(free_offset()))
    with subprocess.Popen(
        (*COMMAND, *arguments), stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        assert running.stdout is not None
        assert any("subscribed to" in line for line in running.stdout)
        assert of(str(folder)), "nodes and outstations run"
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does: to all that it started, too
        rest = running.stdout.read()
        assert running.wait(60) == 130, rest
    assert not of(str(folder))
    assert "stopped by SIGINT, not judged" in rest
    said = json.loads((folder / "campaign.json").read_text(encoding="utf-8"))
    assert said["stopped"] == "SIGINT" and said["outcome"] == "unknown"
    assert [one["outcome"] for one in said["rounds"]] == ["stopped"]
    (suite,) = Xml.parse(folder / "junit.xml").getroot()
    assert suite.get("skipped") == "1"


@pytest.mark.slow
def test_rounds_that_only_break_off_end_it_and_their_folder_stays(tmp_path: Path) -> None:
    site = tmp_path / "mysite"
    shutil.copytree(SITES / "demo", site)
    node = site / "node-b.yaml"
    node.write_text(node.read_text(encoding="utf-8") + "nonsense: 1\n", encoding="utf-8")
    folder = tmp_path / "campaign"
    done = campaign(
        *("--site", str(site), "--minutes", "30", "--keep", str(folder)),
        *("--port-offset", str(free_offset())),
    )
    assert done.returncode == 3, done.stdout + done.stderr
    assert "the last 3 rounds broke off" in done.stdout
    assert len(list(folder.glob("round-*.yaml"))) == 3
    assert "nonsense" in done.stdout, "it says why"
