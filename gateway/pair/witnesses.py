"""The witnesses of a site, running: PLC registers, etcd, hosts. The decisions are in pure modules.

Each PLC has a task that carries its one request out, and looks on while no vote is wanted: so a
claim needs no waiting that could have been done before. A task that dies lets its vote run out.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence
from typing import Any, Final

from gateway.clock import Clock
from gateway.config.site import Witness
from gateway.driver import Registers
from gateway.errors import DeviceError, Refused
from gateway.model import NS_PER_MS, NS_PER_S, format_duration
from gateway.pair.complaint import ALARM, Complaint
from gateway.pair.etcd_witness import EtcdWitness
from gateway.pair.events import Veto, WitnessVote
from gateway.pair.hosts_witness import HostsWitness
from gateway.pair.plc_events import (
    Claim,
    Event,
    Failure,
    Peer,
    Read,
    Release,
    Reply,
    Tick,
    Vote,
    Write,
)
from gateway.pair.plc_witness import OWNER, REGISTERS, PlcWitness
from gateway.pair.votes import LeaseTiming, Votes, ttl_s
from gateway.pair.words import Timing

UNSUPPORTED: Final = frozenset({1, 2, 3})
"""Exceptions that say the request itself was wrong (Modbus Application Protocol, section 7)."""
ETCD: Final = "etcd"


class PlcVoter:
    """Carries out what one PLC's machine asks."""

    def __init__(
        self,
        address: int,
        registers: Registers,
        machine: PlcWitness,
        clock: Clock,
        told: Callable[[int], None],
        complaint: Complaint,
    ) -> None:
        self.machine = machine
        self.complaint = complaint
        self._address = address
        self._registers = registers
        self._clock = clock
        self._told = told
        self._request: Read | Write | None = None
        self._wake = asyncio.Event()

    def feed(self, event: Event) -> None:
        """Let the machine take an event in; its request is carried out by `run`."""
        for effect in self.machine.step(self._clock.monotonic_ns(), event):
            if isinstance(effect, Vote):
                self._told(effect.until_ns)
            else:
                self._request = effect
        self._wake.set()

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            while True:
                self.feed(Tick())
                request, self._request = self._request, None
                if request is not None:
                    self.feed(await self._ask(request))
                    trouble = self.machine.trouble
                    now_ns = self._clock.monotonic_ns()
                    self.complaint.is_now(now_ns, trouble.text, trouble.remedy)
                if self._request is None:
                    await self._rest()
        finally:
            self._registers.close()

    async def _rest(self) -> None:
        self._wake.clear()
        wait_ns = self.machine.due_ns - self._clock.monotonic_ns()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(wait_ns, NS_PER_MS) / NS_PER_S):
                await self._wake.wait()

    async def _ask(self, request: Read | Write) -> Reply | Failure:
        registers = self._registers
        words: tuple[int, ...] = ()
        try:
            async with asyncio.timeout(request.timeout_ns / NS_PER_S):
                if isinstance(request, Read):
                    words = tuple(await registers.read(self._address, REGISTERS))
                else:
                    await registers.write(self._address + request.register, [request.word])
        except TimeoutError:
            registers.close()
            patience = format_duration(request.timeout_ns)
            return Failure(request.number, f"no answer within {patience} (from `takeover_after`)")
        except Refused as refused:
            return Failure(request.number, refused.message, refused.code in UNSUPPORTED)
        except DeviceError as error:
            return Failure(request.number, str(error))
        return Reply(request.number, registers.connection, words)


class Witnesses:
    """All witnesses as one vote, and the hosts' veto."""

    def __init__(
        self,
        settings: Witness,
        me: str,
        peer_lower: bool | None,
        timing: Timing,
        clock: Clock,
        registers: Callable[[str], Registers],
        told: Callable[[WitnessVote | Veto], None],
        alarm: Callable[[int, str], None],
        *,
        site: str = "",
        priority: int = 0,
        rng: random.Random | None = None,
    ) -> None:
        """`peer_lower`: whether the peer's node id is the lower one, None while it isn't known.

        `registers` opens the registers of a device by its name; `told` takes each change of the
        vote and of the veto, `alarm` (severity 0..1000, text).
        """
        self._me, self._priority = me, priority
        self._clock, self._told, self._alarm = clock, told, alarm
        self._lease = LeaseTiming.of(timing.takeover_after_ns)
        self._patience_ns = 2 * timing.takeover_after_ns
        rng = rng or random.Random()
        names = [f"{plc.device}:{plc.address}" for plc in settings.modbus]
        self._votes = Votes([*names, *([ETCD] if settings.etcd else [])])
        self._plcs = {
            name: PlcVoter(
                plc.address,
                registers(plc.device),
                PlcWitness(self._lease, rng.getrandbits(31), clock.monotonic_ns()),
                clock,
                self._counter(name),
                self._complaint(name),
            )
            for name, plc in zip(names, settings.modbus, strict=True)
        }
        self._etcd: EtcdWitness | None = None
        self._etcd_complaint = self._complaint(ETCD)
        if settings.etcd is not None:
            self._etcd = EtcdWitness(
                settings.etcd.endpoints,
                f"/hotpair/{site}/main",
                me,
                ttl_s(timing.takeover_after_ns),
                self._lease.flight_ns,
                clock,
                rng.getrandbits,
                self._counter(ETCD),
                self._etcd_complaint,
            )
        self._hosts: HostsWitness | None = None
        if settings.hosts:
            self._hosts = HostsWitness(
                settings.hosts,
                self._lease.timeout_ns,
                clock,
                lambda holds: told(Veto(holds)),
                self._complaint,
            )
        self._tasks: list[asyncio.Task[None]] = []
        self._claimed = False
        self._peer_lower: bool | None = None
        if peer_lower is not None:
            self._meet(peer_lower, gives_way=not peer_lower)

    @property
    def voting(self) -> bool:
        """Whether there is a vote at all; `hosts` alone have none."""
        return len(self._votes) > 0

    # ------------------------------------------------------------------------------ the seam

    async def start(self) -> None:
        """Begin to look on."""
        runs: list[tuple[str, Any]] = [(name, plc.run()) for name, plc in self._plcs.items()]
        runs += [(ETCD, self._etcd.run())] if self._etcd else []
        runs += [("hosts", self._hosts.run())] if self._hosts else []
        for name, run in runs:
            task = asyncio.create_task(run, name=f"witness {name}")
            task.add_done_callback(self._ended)
            self._tasks.append(task)

    async def stop(self) -> None:
        """Let the votes go and end. Idempotent."""
        self.release()
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def claim(self) -> None:
        """Claim the vote and keep renewing it; each change is told."""
        self._claimed = True
        if self._plcs and self._peer_lower is None:
            self._alarm(
                ALARM,
                "the PLC witnesses can't vote: the peer's node id is not known yet. "
                "Start the other node once, so that this one hears it",
            )
        for plc in self._plcs.values():
            plc.feed(Claim())
        if self._etcd is not None:
            self._etcd.claim()

    def release(self) -> None:
        """Stop renewing: the vote is given up at once."""
        self._claimed = False
        for plc in self._plcs.values():
            plc.feed(Release())
        if self._etcd is not None:
            self._etcd.release()

    def peer_is(self, node: str, priority: int) -> None:
        """Who the peer is, as it was heard: it says which beat is whose, and who gives way."""
        if node != self._me:
            gives_way = (self._priority, self._me) < (priority, node)
            self._meet(node < self._me, gives_way)

    def look(self, needed: bool, urgent: bool) -> None:
        """For the hosts: `needed` while not Main, `urgent` while the peer is silent too."""
        if self._hosts is not None:
            self._hosts.need(needed, urgent)

    # -------------------------------------------------------------------------------- inside

    def _meet(self, peer_lower: bool, gives_way: bool) -> None:
        self._peer_lower = peer_lower
        for plc in self._plcs.values():
            plc.feed(Peer(not peer_lower, gives_way))

    def _counter(self, voter: str) -> Callable[[int], None]:
        def count(until_ns: int) -> None:
            if self._votes.tell(voter, until_ns):
                self._told(WitnessVote(self._votes.until_ns or None))

        return count

    def _complaint(self, name: str) -> Complaint:
        return Complaint(f"witness {name}", self._patience_ns, self._alarm)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._alarm(900, f"{task.get_name()} ended: {task.exception()!r}. Restart this node")

    # -------------------------------------------------------------------------------- status

    def status(self) -> list[dict[str, Any]]:
        """One entry a witness, for status and page; ages and rests in ms."""
        rows = [self._plc_row(name, plc) for name, plc in self._plcs.items()]
        if self._etcd is not None:
            owner, _, _ = self._etcd.owner.partition(" ")
            rows.append(self._row(ETCD, "etcd", self._etcd_complaint, owner=owner))
            rows[-1]["endpoint"] = self._etcd.endpoint
        rows += self._host_rows()
        return rows

    def _row(self, name: str, kind: str, complaint: Complaint, **more: Any) -> dict[str, Any]:
        now_ns = self._clock.monotonic_ns()
        return {
            "name": name,
            "kind": kind,
            "votes": self._votes.held(name, now_ns),
            "trouble": complaint.text,
            "remedy": complaint.remedy,
            **more,
        }

    def _plc_row(self, name: str, plc: PlcVoter) -> dict[str, Any]:
        words = plc.machine.words
        owner = ""
        if words is not None and self._peer_lower is not None and words[OWNER] in (1, 2):
            mine = (words[OWNER] == 1) is not self._peer_lower
            owner = self._me if mine else "peer"
        return self._row(name, "modbus", plc.complaint, owner=owner, registers=words)

    def _host_rows(self) -> Sequence[dict[str, Any]]:
        if self._hosts is None:
            return ()
        return [
            {
                "name": host,
                "kind": "host",
                "votes": None,
                "answers": answer,
                "vetoes": self._hosts.vetoes,
                "trouble": complaint.text,
                "remedy": complaint.remedy,
            }
            for host, answer, complaint in self._hosts.rows()
        ]
