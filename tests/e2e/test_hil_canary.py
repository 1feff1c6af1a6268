"""`hotpair hil canary`: in a short real run every promise is broken, and every judge says so."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hil.canaries import CANARIES, LIVE

from .plant import free_offset


def canary(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "gateway.cli", "hil", "canary", *arguments)
    return subprocess.run(command, capture_output=True, text=True, timeout=115, check=False)


@pytest.mark.slow
def test_every_judge_can_fail() -> None:
    done = canary("--port-offset", str(free_offset()), "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["outcome"] == "passed"
    assert [one["broken"] for one in said["canaries"]] == [
        one.said for one in (*CANARIES, *LIVE.values())
    ]
    assert all(one["judges"] and not one["amiss"] for one in said["canaries"])
    lost = said["canaries"][0]["evidence"]
    (right,) = (texts for judge, texts in lost.items() if judge.endswith("node a"))
    assert "held" in right[0] and "history has" in right[0] and "node b has" in right[0]
    poller = next(one for one in said["canaries"] if "second poller" in one["broken"])
    assert "node 127.0.0.13:" in str(poller["evidence"])


def test_a_folder_that_holds_something_is_not_mixed_with_a_run(tmp_path: Path) -> None:
    (tmp_path / "run.json").touch()
    done = canary("--keep", str(tmp_path))
    assert done.returncode == 2 and "is not empty" in done.stderr
