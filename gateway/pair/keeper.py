"""The shell around the role machine: time and events in, effects carried out in their order.

Everything runs on the node's loop and nothing here waits: what takes time (a term, draining, a
probe) is begun, and its end is an event. An event that comes while effects are carried out waits
until they are done, so that no effect of one step overtakes another's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from gateway.clock import Clock
from gateway.errors import ControlError, JournalError
from gateway.model import NS_PER_S, Term
from gateway.pair import events as ev
from gateway.pair.heartbeat import Due, Heartbeat
from gateway.pair.machine import Machine
from gateway.pair.words import Role

TICKS_A_HEARTBEAT: Final = 4
WAITING_MAX: Final = 10_000
"""Events that may wait for a step to end; far beyond what links can hold unread."""


class Acts(Protocol):
    """What the node does when the machine says so. None of these waits but the coroutines.

    An exception that is not named ends the node: nobody would know what was done and what not.
    """

    async def begin_term(self, number: int) -> Term:
        """Commit a term of at least this number. Raises JournalError."""

    def unused_term(self) -> None:
        """The term just begun is not reigned in: what follows belongs to the node's diary."""

    def new_term(self, term: Term, why: str) -> None: ...
    def journal_role(self, role: Role, term: Term | None, why: str) -> None: ...
    def journal_ruling(self, ruling: ev.JournalRuling) -> None: ...
    def open_field(self, term: Term, next_due: tuple[Due, ...]) -> None: ...
    async def drain(self) -> tuple[Due, ...]: ...
    def close_field(self) -> None: ...
    def open_endpoint(self) -> None: ...
    def close_endpoint(self, reason: str) -> None: ...
    def send(self, heartbeat: Heartbeat) -> None: ...
    def drain_links(self) -> None: ...
    async def probe(self) -> bool | None:
        """Whether any device answers; None when no device may be asked."""

    def claim_witness(self) -> None: ...
    def release_witness(self) -> None: ...
    def alarm(self, text: str) -> None: ...
    def progress(self) -> ev.Progress: ...
    def stepped(self, role_before: Role) -> None:
        """A step was taken and all its effects were carried out."""


class Keeper:
    """Runs the machine of one node until its process may end."""

    def __init__(self, machine: Machine, clock: Clock, acts: Acts) -> None:
        self.machine = machine
        self.late_max_ms = 0.0
        self._clock = clock
        self._acts = acts
        self._waiting: deque[ev.Event] = deque()
        self._stepping = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked: asyncio.Future[ev.Answer] | None = None
        self._handing: asyncio.Future[ev.Answer] | None = None

    # ------------------------------------------------------------------------------ running

    @property
    def is_main(self) -> bool:
        """Whether this node reigns."""
        return self.machine.role is Role.MAIN

    def now_ns(self) -> int:
        """The machine's time."""
        return self._clock.monotonic_ns()

    def may_send(self) -> bool:
        """Whether a request may leave for the field now."""
        return self.machine.may_send(self._clock.monotonic_ns())

    async def run(self) -> None:
        """Tick until the machine says that all is said; raises what an act raised."""
        period_s = self.machine.timing.heartbeat_ns / TICKS_A_HEARTBEAT / NS_PER_S
        loop = asyncio.get_running_loop()
        count = 0
        due_s = loop.time()
        try:
            while not self._ended.done():
                if count % TICKS_A_HEARTBEAT == 0:
                    self.feed(self._acts.progress())
                else:
                    self.feed(ev.Tick())
                count += 1
                due_s = max(due_s + period_s, loop.time())
                await asyncio.wait({self._ended}, timeout=due_s - loop.time())
                if count > TICKS_A_HEARTBEAT:  # the first ones come while the start settles
                    self.late_max_ms = max(self.late_max_ms, (loop.time() - due_s) * 1e3)
            self._ended.result()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def feed(self, event: ev.Event) -> None:
        """Take an event in, and carry out what it calls for."""
        if len(self._waiting) < WAITING_MAX:
            self._waiting.append(event)
        if self._stepping or self._ended.done():
            return
        self._stepping = True
        try:
            while self._waiting:
                self._step(self._waiting.popleft())
        except Exception as error:  # what was done and what not is unknown: `run` ends with it
            self._waiting.clear()
            if not self._ended.done():
                self._ended.set_exception(error)
        finally:
            self._stepping = False

    def _step(self, event: ev.Event) -> None:
        before = self.machine.role
        effects = self.machine.step(self._clock.monotonic_ns(), event)
        for effect in effects:
            _CARRY_OUT[type(effect)](self, effect)
        self._acts.stepped(before)

    # ----------------------------------------------------------------------------- commands

    async def command(self, event: ev.Changeover | ev.Pause | ev.PeerAbsent) -> str:
        """Carry out a person's command; what it came to. Raises ControlError when refused."""
        answer: asyncio.Future[ev.Answer] = asyncio.get_running_loop().create_future()
        self._asked = answer
        self.feed(event)
        self._asked = None
        if not answer.done():
            if not isinstance(event, ev.Changeover):
                raise ControlError("the node ends", "Ask the other node")
            self._handing = answer
        # Draining, the grant and the takeover rules: each is bounded by the machine.
        patience_s = 5 * self.machine.timing.takeover_after_ns / NS_PER_S
        done, _ = await asyncio.wait({answer}, timeout=patience_s)
        if not done:
            raise ControlError(
                "the changeover was not answered in time", "`hotpair status` tells who is Main"
            )
        accepted, text = answer.result().accepted, answer.result().text
        if not accepted:
            raise ControlError(text, "`hotpair status` tells the state of both nodes")
        return text

    def _answer(self, effect: ev.Answer) -> None:
        for place in ("_asked", "_handing"):
            waiting: asyncio.Future[ev.Answer] | None = getattr(self, place)
            if waiting is not None and not waiting.done():
                waiting.set_result(effect)
                setattr(self, place, None)
                return

    # ------------------------------------------------------------------------- what takes time

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(self._guarded(work), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # as in `feed`: the node ends with it
            if not self._ended.done():
                self._ended.set_exception(error)

    async def _begin_term(self, number: int) -> None:
        try:
            term = await self._acts.begin_term(number)
        except JournalError as error:
            self.feed(ev.TermFailed(str(error)))
            return
        self.feed(ev.TermBegun(term))
        if self.machine.term != term and self.machine.role is not Role.MAIN:
            self._acts.unused_term()  # The reason for the claim was gone meanwhile.

    async def _drain(self) -> None:
        self.feed(ev.Drained(await self._acts.drain()))

    async def _probe(self) -> None:
        reached = await self._acts.probe()
        if reached is not None:
            self.feed(ev.FieldSeen(reached))

    def _exit(self, _: ev.Exit) -> None:
        if not self._ended.done():
            self._ended.set_result(None)


_CARRY_OUT: Final[dict[type, Callable[[Keeper, Any], None]]] = {
    ev.DrainLinks: lambda keeper, _: keeper._acts.drain_links(),
    ev.StopPolling: lambda keeper, _: keeper._spawn(keeper._drain(), "drain"),
    ev.CloseField: lambda keeper, _: keeper._acts.close_field(),
    ev.CloseEndpoint: lambda keeper, _: keeper._acts.close_endpoint(keeper.machine.why),
    ev.ReleaseWitness: lambda keeper, _: keeper._acts.release_witness(),
    ev.ClaimWitness: lambda keeper, _: keeper._acts.claim_witness(),
    ev.BeginTerm: lambda keeper, effect: keeper._spawn(
        keeper._begin_term(effect.number), "begin a term"
    ),
    ev.JournalRole: lambda keeper, effect: keeper._acts.journal_role(
        effect.role, effect.term, effect.why
    ),
    ev.JournalRuling: lambda keeper, effect: keeper._acts.journal_ruling(effect),
    ev.NewTerm: lambda keeper, effect: keeper._acts.new_term(effect.term, effect.why),
    ev.OpenField: lambda keeper, effect: keeper._acts.open_field(effect.term, effect.next_due),
    ev.OpenEndpoint: lambda keeper, _: keeper._acts.open_endpoint(),
    ev.SendHeartbeat: lambda keeper, effect: keeper._acts.send(effect.heartbeat),
    ev.ProbeField: lambda keeper, _: keeper._spawn(keeper._probe(), "probe"),
    ev.Alarm: lambda keeper, effect: keeper._acts.alarm(effect.text),
    ev.Answer: Keeper._answer,
    ev.Exit: Keeper._exit,
}
