"""`hotpair hil canary`: one short real run, and each promise broken in it: does its judge say so?

The run is the shipped scenario `canary`. What it left is kept and altered, one canary at a time
(hil.canaries); afterwards, while the pair still stands, a poller of the rig's own asks beside the
Main, and both nodes are stopped so that nobody can take over. Nothing is asked of the product.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import socket
import sqlite3
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from hil.asking import AskedPair
from hil.breaking import CanaryError
from hil.breaking_pair import in_no_hurry
from hil.canaries import CANARIES, LIVE, Caught, caught, name_of, unproven
from hil.expect import EXPECTATIONS
from hil.fresh import first_fresh_ns
from hil.gateway import ProgramError
from hil.journals import read_journal
from hil.kept import Kept, judge, keep
from hil.laying import SCENARIOS, find_site, prepare
from hil.pair import Pair
from hil.play import Player, told
from hil.recording import Finding, Outcome, Switch
from hil.running import BAD_INPUT, FAILED, PASSED, UNKNOWN, load
from hil.scenario import Scenario
from hil.settings import SiteError
from hil.stopping import Stopping

SCENARIO: Final = SCENARIOS / "canary.yaml"
ASKED: Final = "plc1"
BESIDE: Final = ("127.0.0.13", 0)
REQUESTS: Final = 5
REQUEST: Final = struct.pack(">HHHBBHH", 1, 0, 6, 1, 3, 0, 2)
"""Read two holding registers of unit 1 (Modbus Messaging on TCP/IP, section 3.1.3)."""
STOPPED_S: Final = 4.0
PATIENT_MS: Final = 30_000
SHOWN: Final = 150


class CanaryPlayer(Player):
    """Plays the run; before the pair is stopped, keeps what it left, and breaks what is live."""

    def __init__(self, scenario: Scenario, pair: Pair, say: Callable[[str], None]) -> None:
        super().__init__(scenario, pair, say)
        self.kept: Kept | None = None
        self.live: dict[str, Kept] = {}

    async def gather(self) -> None:
        self.kept = await keep(AskedPair(self.pair), self.run, self.found)
        # Judges are on trial here, not this machine, however busy it is.
        self.kept.run.switches = [
            msgspec.structs.replace(switch, limit_ms=PATIENT_MS)
            for switch in self.kept.run.switches
        ]
        await super().gather()
        run, found = self.run, self.found
        self.live["poller"] = await self._with_poller(self.kept)
        self.live["record"] = await self._bitten(self.kept)
        self.live |= await self._stopped(self.kept)
        self.run, self.found = run, found

    async def _with_poller(self, kept: Kept) -> Kept:
        """A master of the rig's own asks a device while the Main does."""
        device = self.pair.plant.devices[ASKED]
        line = self.pair.plant.lines[device.line]
        await asyncio.to_thread(poll_beside, line.hosts[0], line.port)
        mine = kept.copied()
        self.run, self.found = mine.run, type(self.found)()
        await self._settle()
        again = await keep(AskedPair(self.pair), self.run, self.found)
        again.broken = [*kept.broken]
        return again

    async def _bitten(self, kept: Kept) -> Kept:
        """A record is deleted from the file of node b, which runs."""
        data, mine = self.pair.b.data, kept.copied()
        await asyncio.to_thread(bite, data, kept.run.from_ns, kept.run.to_ns)
        mine.journals["b"] = await asyncio.to_thread(read_journal, data)
        return mine

    async def _stopped(self, kept: Kept) -> Mapping[str, Kept]:
        """Both nodes stand still: nobody takes over, and nobody is Main."""
        main = await self.pair.main()
        late, nobody = kept.copied(), kept.copied()
        begun_ns = time.time_ns()
        for node in self.pair.nodes.values():
            node.signal(signal.SIGSTOP)
        try:
            taken = self.pair.other(main)
            wanted = self.pair.wanted(taken, begun_ns, STOPPED_S)
            with suppress(ProgramError):
                raise CanaryError(f"a stopped node serves values: {await first_fresh_ns(*wanted)}")
            try:
                await self.pair.until_paired(STOPPED_S)
            except ProgramError as error:
                said = f"one Main, the other synced: did not come about: {error}"
                nobody.waits.append((said, time.time_ns()))
            nobody.main = ""
        finally:
            for node in self.pair.nodes.values():
                node.signal(signal.SIGCONT)
        in_no_hurry(late)
        late.run.switches.append(Switch("SIGSTOP of both", main.name, taken.name, begun_ns, 0))
        return {"takeover": late, "main": nobody}


def bite(data: Path, from_ns: int, to_ns: int) -> None:
    """Delete the first batch of samples in [from, to) from a journal's file.

    Raises sqlite3.Error.
    """
    path = max((data / "journal").glob("*.sqlite"))
    with closing(sqlite3.connect(path, timeout=10)) as file, file:
        first = "SELECT min(record_id) FROM record WHERE kind = 'b' AND at_ns >= ? AND at_ns < ?"
        file.execute(f"DELETE FROM record WHERE record_id = ({first})", (from_ns, to_ns))


def poll_beside(host: str, port: int) -> None:
    """Read registers a few times, from an address that no node has. Raises OSError."""
    with socket.create_connection((host, port), 2.0, BESIDE) as connection:
        for _ in range(REQUESTS):
            connection.sendall(REQUEST)
            if not connection.recv(260):
                raise OSError(f"{host}:{port} hung up on the second poller")


async def sing(folder: Path, offset: int, say: Callable[[str], None]) -> tuple[
    Sequence[Finding], Sequence[Caught]
]:  # fmt: skip
    """The findings on the run itself, and what came of each canary. Raises ProgramError, ..."""
    loaded = load(SCENARIO)
    scenario = loaded.scenario
    site = find_site(scenario.site, SCENARIO.parent)
    pair = prepare(site, folder, offset, scenario.seed, scenario.pair, None)
    player = CanaryPlayer(scenario, pair, say)
    await player.play()
    if player.kept is None:
        raise ProgramError("nothing of the run was kept")
    before = await judge(player.kept, scenario)
    found = []
    for canary in CANARIES:
        broken = player.kept.copied()
        try:
            clue = canary.breaks(broken)
        except CanaryError as error:
            found.append(Caught(canary, {}, (f"could not be broken: {error}",)))
            continue
        found.append(caught(canary, clue, before, await judge(broken, scenario)))
    for name, kept in player.live.items():
        live = LIVE[name]
        found.append(caught(live, live.clue, before, await judge(kept, scenario)))
    return before, found


def canary(keep_in: Path | None, offset: int, as_json: bool) -> int:
    """`hotpair hil canary`; 0: every judge failed as it must, 1: one didn't, 3: nothing proven."""
    if keep_in is not None and keep_in.exists() and any(keep_in.iterdir()):
        print(f"hotpair: {keep_in} is not empty: remove it, or keep elsewhere", file=sys.stderr)
        return BAD_INPUT

    def say(text: str) -> None:
        print(text, file=sys.stderr if as_json else sys.stdout, flush=True)

    folder = keep_in or Path(tempfile.mkdtemp(prefix="hotpair-canary-"))
    with Stopping(say) as stopping:
        try:
            before, found = stopping.run(sing(folder, offset, say))
        except asyncio.CancelledError:
            return stopping.status
        except (ProgramError, SiteError, CanaryError, OSError) as error:
            say(f"UNKNOWN: the run broke off: {error}")
            return stopping.status or UNKNOWN
        finally:
            if keep_in is None:
                shutil.rmtree(folder, ignore_errors=True)
    return _tell(before, found, say, as_json)


def _tell(
    before: Sequence[Finding], found: Sequence[Caught], say: Callable[[str], None], as_json: bool
) -> int:
    """The table, and the exit status."""
    unsound = [f for f in before if f.outcome is not Outcome.PASSED]
    judges = {name_of(f) for f in before} | {f"expect {kind}" for kind in EXPECTATIONS}
    lacking = unproven(judges, [one.canary for one in found])
    for finding in unsound:
        say(told(finding))
    for one in found:
        for name in sorted(one.canary.fails | one.canary.unknown):
            say(_row(one, name))
        for text in one.amiss:
            say(f"    AMISS: {one.canary.said}: {text}")
    for name in lacking:
        say(f"    AMISS: no canary makes this judge fail: {name}")
    amiss = bool(lacking) or any(one.amiss for one in found)
    if unsound:
        word, status = "UNKNOWN: the run itself is not sound, so that it proves little", UNKNOWN
    elif amiss:
        word, status = "FAILED: a judge did not say what it must", FAILED
    else:
        word, status = "PASSED: every judge can fail", PASSED
    say(f"{word} ({len(found)} canaries, {len(judges)} judges)")
    if as_json:
        print(json.dumps({"outcome": word.partition(":")[0].lower(), "judges": sorted(judges),
                          "canaries": [_plain(one) for one in found]}))  # fmt: skip
    return status


def _row(one: Caught, name: str) -> str:
    finding = one.findings.get(name)
    outcome = finding.outcome.value if finding is not None else "not judged"
    said = ""
    if finding is not None:
        said = finding.evidence[0] if finding.evidence else finding.said
    return f"{name:50} {one.canary.said:45} {outcome:8} {said.splitlines()[0][:SHOWN]}"


def _plain(one: Caught) -> Mapping[str, Any]:
    wanted = one.canary.fails | one.canary.unknown
    return {
        "broken": one.canary.said,
        "judges": {n: f.outcome.value for n, f in one.findings.items() if n in wanted},
        "evidence": {n: list(f.evidence) for n, f in one.findings.items() if n in wanted},
        "amiss": list(one.amiss),
    }
