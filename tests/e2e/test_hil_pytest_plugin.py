"""The pytest plug-in as integrators use it: a pytest of its own on real test files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import hil
from hil import warden

EXAMPLE = Path(hil.__file__).parent / "examples" / "test_pump_station.py"
ASYNC = """\
import asyncio
import time

import pytest

pytestmark = pytest.mark.hotpair(seed=11)


async def test_what_does_not_hold(hotpair_pair, outstation):
    pair, field = hotpair_pair.awaitable, outstation.awaitable
    ticks = 0

    async def count():
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.05)  # paces: it counts

    counting = asyncio.create_task(count())
    async with await field.fault("plc1", "refuse"):
        with pytest.raises(ValueError, match="no device `plc9`. Did you mean `plc"):
            await field.fault("plc9", "silence")
        with pytest.raises(ValueError, match="no option `joke`"):
            await pair.do("delay", "links", ms=1, joke=True)
        with pytest.raises(ValueError, match="hotpair.words=..slow_disk.."):
            await pair.do("slow_disk", "main", ms=20)
        with pytest.raises(ValueError, match="no point 'plc1/nothing'"):
            await pair.value("plc1/nothing")
        await asyncio.sleep(1)  # paces: so long the device refuses
    assert ticks > 10, "the test's own loop went on"
    counting.cancel()
    assert {await pair.main, await pair.standby} == {"a", "b"}
    at = time.time_ns()
    (step,) = await field.steps("plc1/level", at, at + 1)
    assert await field.truth("plc1/level", at) == step.value
    await pair.until_up("plc1")
    assert (await pair.write("plc1/setpoint", 2.5))["status"] == "Good"
    await pair.judge(no_gaps=["plc1"], told="the moon")
"""
DIES = """\
import os, signal, subprocess, sys
from hil.warden import Warden

folder, wait = sys.argv[1], "import sys; sys.stdin.read()"
Warden(folder)
for name in ("node-a.yaml", "deep/sock"):
    ours = subprocess.Popen([sys.executable, "-c", wait, f"{folder}/{name}"], stdin=PIPE_OF_OURS)
os.kill(os.getpid(), signal.SIGKILL)
"""
UNMEANT = """\
import sys
import pytest

def test_nothing_is_paid_without_a_fixture():
    assert not {name for name in sys.modules if name.split(".")[0] in ("gateway", "asyncua")}

@pytest.mark.hotpair(site="nowhere")
def test_no_site(hotpair_pair): ...

@pytest.mark.hotpair("demo")
def test_no_name(hotpair_pair): ...

@pytest.mark.hotpair(words=["slow_dsk"])
def test_no_word(hotpair_pair): ...
"""
INI = """\
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
addopts = --strict-markers -p no:cacheprovider -p no:cov -q
filterwarnings = error
"""


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short path: the sockets of nodes lie deep in it."""
    return tmp_path_factory.mktemp("p")


def pytest_of(folder: Path, text: str) -> list[str]:
    """The command that runs a test file in a folder, its temporary files beside it."""
    (folder / "pytest.ini").write_text(INI)
    file = folder / "test_it.py"
    file.write_text(text)
    return [sys.executable, "-m", "pytest", f"--basetemp={folder}/t", str(file)]


def test_the_example_of_the_documents_passes(folder: Path) -> None:
    command = pytest_of(folder, EXAMPLE.read_text())
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, cwd=folder)
    busy = os.getloadavg()[0] > 2.0 * (os.cpu_count() or 1)
    if done.returncode == 1 and busy:
        (line,) = [text for text in done.stdout.splitlines() if text.startswith("E       hil.h")]
        assert "UNKNOWN" in line and "too busy to keep time" in line, done.stdout
    else:
        assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout
    assert (folder / "t" / "hotpair0" / "run" / "report.html").exists()
    assert not warden.of(str(folder))


def test_a_promise_that_does_not_hold_fails_an_async_test_with_its_findings(folder: Path) -> None:
    command = pytest_of(folder, ASYNC)
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, cwd=folder)
    assert done.returncode == 1, done.stdout
    assert "PromiseBroken: FAILED   expect no_gaps: plc1" in done.stdout, done.stdout
    assert "FAILED   expect told: 'the moon'" in done.stdout
    assert "link, filled" in done.stdout and "report.html" in done.stdout
    assert not warden.of(str(folder))


def test_nothing_outlives_who_was_killed(folder: Path) -> None:
    """What the fixture starts beside each pair, without the pair."""
    read, write = os.pipe()
    with os.fdopen(read), os.fdopen(write, "wb"):
        text = DIES.replace("PIPE_OF_OURS", str(read))
        other = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()", f"{folder}-other/x"], stdin=read
        )
        command = [sys.executable, "-c", text, str(folder)]
        died = subprocess.run(command, pass_fds=(read,), timeout=60)
        assert died.returncode == -signal.SIGKILL
        end_s = time.monotonic() + 60
        while warden.of(str(folder)):
            assert time.monotonic() < end_s, "they live"
            time.sleep(0.02)  # paces: nobody tells of the death of another's children
        assert other.poll() is None, "of another folder"
        other.kill()
        other.wait(10)


def test_what_can_not_be_meant_is_told_and_nothing_is_started(folder: Path) -> None:
    done = subprocess.run(
        pytest_of(folder, UNMEANT), capture_output=True, text=True, timeout=60, cwd=folder
    )
    assert done.returncode == 1 and "1 passed, 3 errors" in done.stdout, done.stdout
    assert "nowhere with a site.yaml; shipped are demo, waterworks" in done.stdout
    assert "@pytest.mark.hotpair takes pair, seed, site, words by name" in done.stdout
    assert "no word 'slow_dsk'" in done.stdout
