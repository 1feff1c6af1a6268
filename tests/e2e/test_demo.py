"""`hotpair demo`, run as its users run it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from .plant import free_offset


def test_the_demo_shows_a_pair_in_all_its_acts_and_nothing_is_missing(tmp_path: Path) -> None:
    port = 4840 + free_offset()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "gateway.cli", "demo", "--seconds", "10", "--json"),
            *("--base-port", str(port), "--keep", str(tmp_path / "kept")),
        ],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert f"Pages http://127.0.0.1:{port + 6} and" in done.stderr
    assert found["missing"] == 0
    assert found["expected"] == found["collected"] + found["declared"] > 100
    assert found["collected"] > 0
    assert found["wound_back"] > 0 and found["lost"] == 0 and found["declared"] == 0
    assert found["journals_equal"] and found["histories_equal"]
    assert all(found[name] > 0 for name in ("takeover_ms", "changeover_ms", "split_ms"))
    nodes = [reign["node"] for reign in found["roles"]]
    assert nodes[:4] == ["a", "b", "a", "b"], "killed, changed over, split"
    assert [reign["to"] for reign in found["roles"]].count(None) == 1, "one is Main at the end"
    assert "a is dead" in found["roles"][1]["why"] or "silent" in found["roles"][1]["why"]
    assert "Main-Main" in str(found["roles"])
    assert found["endpoint"] in (f"opc.tcp://127.0.0.1:{port}", f"opc.tcp://127.0.0.1:{port + 1}")
    for node in ("a", "b"):
        assert (tmp_path / "kept" / "data" / node / "journal").is_dir()
