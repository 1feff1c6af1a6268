"""`hotpair demo`, run as its users run it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from .plant import free_offset


def test_the_demo_runs_unattended_and_nothing_is_missing(tmp_path: Path) -> None:
    port = 4840 + free_offset()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "gateway.cli", "demo", "--seconds", "8", "--json"),
            *("--base-port", str(port), "--keep", str(tmp_path / "kept")),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["missing"] == 0
    assert found["expected"] == found["collected"] + found["declared"] > 100
    assert found["collected"] > 0
    assert found["endpoint"] == f"opc.tcp://127.0.0.1:{port}"
    assert (tmp_path / "kept" / "data" / "a" / "journal").is_dir()
