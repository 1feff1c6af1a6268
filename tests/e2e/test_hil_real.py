"""A scenario against a real device: here libmodbus, a program that the test starts by itself."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from hil.bench.process import Spawned, compile_c, free_port
from hil.outstation.polls import read_polls
from hil.pattern import PATTERN_FILE
from hil.recording import Outcome, load
from hil.verdicts import IN_TIME, ONE_POLLER, RIGHT

from .plant import DEMO, free_offset
from .test_third_party_outstations import LIBMODBUS
from .third_party.rig import HERE, need_libmodbus

pytestmark = [pytest.mark.external]

SITE = """\
site: realplant
scan_classes: {{fast: 200ms, normal: 500ms}}
devices:
  plc1:
    driver: modbus
    line: {{tcp: {{host: 127.0.0.1, port: {port}}}}}
    timeout: 300ms
    scan: fast
    points:
      count: {{register: holding, address: 0, type: uint16}}
      pattern: {{register: holding, address: 20, type: uint16}}
      wide: {{register: holding, address: 22, type: float32, deadband: 0.5, range: {{eu: [0, 40]}}}}
      pulse: {{register: coil, address: 3, type: bool}}
  plc2:
    driver: modbus
    line: {{tcp: {{host: 127.0.0.1, port: 4940}}}}
    points:
      level: {{register: holding, address: 0, type: float32, range: {{eu: [0, 10]}}}}
"""
SCENARIO = """\
scenario: A real PLC
promise: What the rig wrote to a real device is in history, or declared.
site: realplant
lasts: 6s
outstation: {real: [plc1]}
pattern:
  plc1/pattern: {counter: 300ms}
  plc1/wide: counter
  plc1/pulse: {counter: 700ms}
timeline:
  - {at: 500ms, silence: plc1, for: 1s}
  - {at: 2s, kill: main, for: 2s}
  - {at: 4500ms, delay: plc1, ms: 100, for: 500ms}
  - {at: 5500ms, drop: plc1}
expect:
  - {main: other}
"""


async def test_a_real_device_is_struck_by_its_proxy_and_judged_by_the_pattern(
    tmp_path: Path,
) -> None:
    need_libmodbus()
    site, port = tmp_path / "realplant", free_port()
    site.mkdir()
    text = SITE.format(port=port)
    (site / "site.yaml").write_text(text)
    for name in ("node-a.yaml", "node-b.yaml"):
        lines = (DEMO / name).read_text().splitlines(keepends=True)
        (site / name).write_text("".join(line for line in lines if not line.startswith("ports:")))
    (tmp_path / "one.yaml").write_text(SCENARIO)
    program = compile_c(HERE / "libmodbus_server.c", tmp_path, *LIBMODBUS)
    async with Spawned("device", [str(program), "tcp", str(port)], tmp_path) as device:
        await device.hear("port")
        options = ["--keep", str(tmp_path / "kept"), "--port-offset", str(free_offset()), "--json"]
        command = [sys.executable, "-m", "gateway.cli", "hil", "run", str(tmp_path / "one.yaml")]
        done = await asyncio.to_thread(
            partial(subprocess.run, capture_output=True, text=True, timeout=110),
            [*command, *options],
        )
        assert device.running, "whoever started it ends it"
    folder = tmp_path / "kept" / "one"
    run = load(folder)
    bad = [f for f in run.findings if f.outcome is not Outcome.PASSED]
    assert not bad or (run.busy and [f.judge for f in bad] == [IN_TIME]), (bad, done.stderr)
    assert [act.failed for act in run.acts] == [""] * 4
    judges = {finding.judge: finding.said for finding in run.findings}
    instants = int(judges[f"{RIGHT}, node a"].split()[0])
    assert instants > 3 * 6 * 5, "three points of plc1 each 200 ms, and plc2"
    assert any(s.device == "plc1" for s in run.stretches), "the silence is a gap"
    (said,) = run.unjudged
    assert said.startswith("the values of 1 points, such as plc1/count: plc1 is real")
    assert said in (folder / "report.html").read_text()
    polls = list(read_polls(folder / "polls-field.jsonl"))
    assert {poll.device for poll in polls} == {"plc1"}
    assert {poll.peer.partition(":")[0] for poll in polls} == {"127.0.0.11", "127.0.0.12"}
    assert {"ok", "silence"} <= {poll.outcome for poll in polls}
    assert int(judges[ONE_POLLER].split()[0]) > 40
    written = [json.loads(line) for line in (folder / PATTERN_FILE).read_text().splitlines()]
    assert {one[0] for one in written} == {"plc1/pattern", "plc1/wide", "plc1/pulse"}
    assert (site / "site.yaml").read_text() == text and f"port: {port}" not in (
        folder / "site.yaml"
    ).read_text()
    shutil.rmtree(tmp_path / "kept")
