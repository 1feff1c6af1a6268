"""The lab does to its cables what it says: a rig that lies proves nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hil.child import Child
from hil.lab import FIELD, Lab, LabError, link_address, possible

pytestmark = pytest.mark.skipif(not possible(), reason="needs root and iproute2")

LISTEN = """
import socket, sys
server = socket.create_server(("", 7), backlog=50)
print("ready", flush=True)
while True:
    server.accept()[0].close()
"""
# waits for longer than Linux takes to send a SYN again, 1 s: a laden machine may lose the first
DIAL = """
import socket, sys
from concurrent.futures import ThreadPoolExecutor
def said(address):
    try:
        socket.create_connection((address, 7), timeout=1.5).close()
        return "heard"
    except TimeoutError:
        return "silence"
    except OSError as error:
        return error.strerror or type(error).__name__
with ThreadPoolExecutor() as all_at_once:
    print(*all_at_once.map(said, sys.argv[1:]), sep="\\n")
"""


class Listener(Child):
    """A program on a machine that accepts connections."""

    async def start(self) -> None:
        output = await self._launch(os.environ)
        assert await output.readline() == b"ready\n"


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(links=2, name=f"hpt{os.getpid()}") as made:
        yield made


def dial(lab: Lab, machine: str, *addresses: str) -> list[str]:
    command = [*lab.inside(machine), sys.executable, "-c", DIAL, *addresses]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[
        :-1
    ]


async def test_cables_are_cut_each_way_pulled_and_mended(lab: Lab, tmp_path: Path) -> None:
    command = [*lab.inside("b"), sys.executable, "-c", LISTEN]
    listener = Listener("b", command, tmp_path / "b.log")
    await listener.start()
    b = [FIELD["b"], link_address("b", 0), link_address("b", 1)]
    assert dial(lab, "a", *b) == ["heard"] * 3
    lab.cut("a", "link0")
    assert dial(lab, "a", *b) == ["heard", "silence", "heard"]
    lab.cut_links("b")
    lab.mend("a", "link0")
    assert dial(lab, "a", *b) == ["heard", "silence", "silence"], "what b answers is cut"
    lab.mend_links()
    lab.unplug("a", "link1")
    assert dial(lab, "a", *b) == ["heard", "heard", "Network is unreachable"]
    lab.plug("a", "link1")
    lab.isolate("b")
    assert dial(lab, "a", *b) == ["silence"] * 3
    assert dial(lab, "c", FIELD["b"]) == ["silence"]
    lab.rejoin("b")
    assert dial(lab, "a", *b) == ["heard"] * 3
    assert dial(lab, "p", FIELD["b"]) == ["heard"]
    await listener.kill()


def test_nothing_stays_behind_and_a_bad_lab_says_why(lab: Lab) -> None:
    with pytest.raises(LabError, match="File exists"), Lab(name=f"hpt{os.getpid()}"):
        raise AssertionError("two labs of one name")
    with pytest.raises(ValueError, match="1 to 8 links"):
        Lab(links=9)
    lab.remove()
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
    assert f"hpt{os.getpid()}-" not in listed.stdout
