"""The rules of roles as text: a story, `----`, what happened. REWRITE=1 writes what happens.

A file: comments (#), commands, `----`, the transcript without heartbeats. Commands: `links NAME...`
(before the nodes; `serial` is the line), `slow N` (all timing N times as long), `witness`,
`node NAME [priority=N] [coverage=S] [link=no]`, `start NAME`, `run DURATION`, `kill|lose NAME`
(refuses | vanishes), `freeze|thaw NAME`, `cut A>` (what A says is lost; `A>tcp1` on that link),
`reject` (a firewall refuses every TCP connection), `heal`, `delay DURATION` (one way),
`field|store|disk|follow|see|veto NAME on|off` (disk: not noticed yet; see: the witness; veto: no
host answers it), `clock NAME DURATION` (ahead by that), `set NAME` (its clock was set: Renew),
`changeover|stop|pause|resume|absent NAME`, `say TEXT`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pair_world import World

from gateway.model import parse_duration
from gateway.pair import events as ev
from gateway.pair.words import Timing

FOLDER = Path(__file__).resolve().parents[1] / "scenarios" / "roles"
FILES = sorted(FOLDER.glob("*.txt"))


def slower(timing: Timing, factor: int) -> Timing:
    """All of the timing, so many times as long."""
    return replace(
        timing,
        heartbeat_ns=timing.heartbeat_ns * factor,
        takeover_after_ns=timing.takeover_after_ns * factor,
        startup_wait_ns=timing.startup_wait_ns * factor,
        field_lost_after_ns=timing.field_lost_after_ns * factor,
        stable_ns=timing.stable_ns * factor,
    )


class Story:
    """Runs the commands of one file."""

    def __init__(self) -> None:
        self.world = World(timing=Timing())

    def play(self, line: str) -> None:
        world = self.world
        word, *rest = line.split()
        name = rest[0] if rest else ""
        events: dict[str, ev.Event] = {
            "changeover": ev.Changeover("alice"),
            "stop": ev.Stop(),
            "pause": ev.Pause(True, "alice"),
            "resume": ev.Pause(False, "alice"),
            "absent": ev.PeerAbsent(True, "alice"),
            "set": ev.Renew("the clock was set"),
        }
        simple: dict[str, Callable[[], object]] = {
            "run": lambda: world.run(parse_duration(name)),
            "start": lambda: world.start(name),
            "kill": lambda: world.kill(name),
            "lose": lambda: world.kill(name, refuses=False),
            "freeze": lambda: setattr(world.hosts[name], "frozen", True),
            "thaw": lambda: world.thaw(name),
            "cut": lambda: world.net.cut.add(name),
            "heal": self.heal,
            "reject": lambda: setattr(world.net, "rejects", True),
            "links": lambda: setattr(world.net, "links", tuple(rest)),
            "delay": lambda: setattr(world.net, "delay_ns", parse_duration(name)),
            "clock": lambda: setattr(world.hosts[name], "utc_ns", parse_duration(rest[1])),
            "slow": lambda: setattr(world, "timing", slower(world.timing, int(name))),
            "witness": lambda: setattr(world, "witness", True),
            "say": lambda: world.log.append(f"{'':10}-- {line[4:]}"),
            "node": lambda: self.node(name, rest[1:]),
        }
        if word in events:
            world.feed(name, events[word])
        elif word in simple:
            simple[word]()
        else:
            self.switch(word, name, rest[1] == "on")

    def node(self, name: str, options: list[str]) -> None:
        given = dict(option.split("=") for option in options)
        self.world.add(
            name,
            priority=int(given.get("priority", 0)),
            coverage_s=int(given.get("coverage", 1)),
            linked=given.get("link") != "no",
        )

    def heal(self) -> None:
        self.world.net.cut.clear()
        self.world.net.rejects = False

    def switch(self, what: str, name: str, on: bool) -> None:
        host = self.world.hosts[name]
        if what == "field":
            host.reaches = on
        elif what == "see":
            host.sees_witness = on
        elif what == "follow":
            host.behind = not on
            if not on:
                self.world.feed(name, ev.Caught(False))
        elif what == "disk":
            host.store = on
        elif what == "store":
            host.store = on
            self.world.feed(name, ev.StoreState(on, "" if on else "disk full"))
        elif what == "veto":
            self.world.feed(name, ev.Veto(on))
        else:
            raise ValueError(f"no such command: {what}")


def transcript(text: str) -> str:
    story = Story()
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            story.play(line)
    world = story.world
    for name, role in world.roles().items():
        host = world.hosts[name]
        shown = role.shown if role is not None else "gone"
        kind = "" if role is None else f", {host.machine.why}" if host.machine else ""
        world.log.append(f"{'at the end':11}{name} is {shown}{kind}")
    return "\n".join(line.rstrip() for line in world.log) + "\n"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_rule_tells_this_story(path: Path) -> None:
    commands, _, expected = path.read_text().partition("----\n")
    told = transcript(commands)
    if os.environ.get("REWRITE"):
        path.write_text(f"{commands}----\n{told}")
        expected = told
    assert told == expected


def test_there_is_a_story_for_each_rule() -> None:
    assert len(FILES) >= 20
