"""Windback at work on simulated time: a log behind a port, a journal of records, no waiting."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest

from gateway.driver import (
    DeviceEvent,
    DeviceSpec,
    Lacking,
    LogPage,
    LogSpec,
    LogWanted,
    Observation,
    PointSpec,
)
from gateway.errors import ControlError, DeviceError, JournalError, LogUnavailable, ReplyTimeout
from gateway.journal.coverage import subtract, union
from gateway.journal.records import (
    Audit,
    Batch,
    Body,
    Coverage,
    Event,
    Fact,
    Fill,
    Hole,
    Record,
    Ruling,
    seal,
)
from gateway.model import NS_PER_S, Access, Cause, DataType, Gap, GapState, Origin, Position, Term
from gateway.windback.forgetting import (
    ACK_PATIENCE_NS,
    FULL_PATIENCE_NS,
    ForgetPorts,
    Forgetting,
)
from gateway.windback.runner import FORCED_MAX, Ports, Runner
from tests.unit.field_world import T0_NS, Clock, pass_s, simulate

S = NS_PER_S
OWN, OTHER = Term(2, "a", 1), Term(1, "b", 1)
PAGE = 10
RING = LogSpec("ring", "ring", ("level",), resolution_ns=S)
LOST_BEFORE_S = -2_000


def at(second: float) -> int:
    """An instant of the world, which begins at second 0."""
    return T0_NS + int(second * S)


def device(name: str = "plc1", line: str = "l1") -> DeviceSpec:
    point = PointSpec(0, name, "level", DataType.INT64, "fast", Access.READ, None)
    return DeviceSpec(name, "fake", line, None, (point,), {"fast": S})


@dataclass
class World:
    """One device with a log of one record a second, and a journal of what was said of it."""

    gaps: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    devices: dict[str, DeviceSpec] = field(default_factory=lambda: {"plc1": device()})
    spec: LogSpec = RING
    known: bool = True
    records: list[Body] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    asked: list[LogWanted] = field(default_factory=list)
    released: int = 0
    answering: bool = True
    ends: int | None = None
    errors: list[Exception] = field(default_factory=list)
    refused: str | None = None
    store: bool = True
    safe_here: bool = True
    safe_there: bool = True
    asked_safe: list[bool] = field(default_factory=list)
    acknowledged: list[int] = field(default_factory=list)
    ack_errors: list[Exception] = field(default_factory=list)
    events: LogSpec | None = None
    fullness: float | None = None
    acknowledge_ring: int | None = None
    before_page: Callable[[], None] = lambda: None
    disk_s: float = 0.0
    waiting: int = 0

    def runner(self, clock: Clock | None = None) -> Runner:
        return Runner(
            Ports(
                clock=clock or Clock(),
                devices=lambda: self.devices,
                revision=lambda: 1,
                answers=lambda device: self.answering,
                logs=self.logs,
                read_log=self.read_log,
                gaps=self.gaps_of,
                fills=self.fills,
                floor_ns=lambda: at(-10_000),
                append=self.append,
                room=self.room,
                alarm=lambda source, severity, text: self.told.append(f"{severity} {text}"),
                refused=lambda: self.refused,
            ),
            Forgetting(
                ForgetPorts(
                    clock=Clock(),
                    node="a",
                    safe=self.is_safe,
                    commit=self.commit,
                    acknowledge=self.acknowledge,
                    alarm=lambda source, severity, text: self.told.append(f"{severity} {text}"),
                )
            ),
        )

    def logs(self, name: str) -> list[LogSpec]:
        return [self.spec, *([self.events] if self.events else [])] if self.known else []

    async def is_safe(self, position: Position, both: bool) -> bool:
        self.asked_safe.append(both)
        return self.safe_here and (self.safe_there or not both)

    async def commit(self, body: Body) -> object:
        return await self.append(body)

    async def acknowledge(self, name: str, page: LogPage) -> None:
        if self.ack_errors:
            raise self.ack_errors.pop(0)
        self.acknowledged.append(page.acknowledge)

    async def gaps_of(self, name: str, from_ns: int, to_ns: int) -> list[Gap]:
        fills = [r for r in self.records if isinstance(r, Fill) and r.device == name]
        found: list[Gap] = []
        for state in (GapState.FILLED, GapState.LOST):
            found += [
                Gap(name, "fast", f.from_ns, f.to_ns, Cause.LINK, state)
                for f in fills
                if f.kind == state
            ]
        judged = union((f.from_ns, f.to_ns) for f in fills)
        found += [
            Gap(name, "fast", *stretch, Cause.LINK)
            for stretch in subtract(union(self.gaps.get(name, ())), judged)
        ]
        return [gap for gap in sorted(found) if gap.to_ns > from_ns and gap.from_ns < to_ns]

    async def fills(self, name: str, from_ns: int, to_ns: int) -> Sequence[Fill]:
        return [r for r in self.records if isinstance(r, Fill) and r.device == name]

    def append(self, body: Body) -> asyncio.Future[Record]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Record] = loop.create_future()
        self.waiting += 1
        if self.disk_s:
            loop.call_later(self.disk_s, self._stored, future, body)
        else:
            self._stored(future, body)
        return future

    def _stored(self, future: asyncio.Future[Record], body: Body) -> None:
        self.waiting -= 1
        if future.cancelled():
            return
        if not self.store:
            future.set_exception(JournalError("full"))
            return
        self.records.append(body)
        future.set_result(seal(OWN, len(self.records), b"", body))

    async def room(self) -> None:
        await asyncio.sleep(0)

    async def read_log(
        self, name: str, wanted: LogWanted, share: float
    ) -> AsyncGenerator[LogPage, None]:
        if self.events is not None and wanted.log == self.events.name:
            event = DeviceEvent(wanted.from_ns, 500, "LoLo alarm", "level")
            yield LogPage(
                wanted.from_ns,
                wanted.to_ns,
                events=[event],
                records=1,
                acknowledge=len(self.acknowledged) + 1,
                fullness=self.fullness,
            )
            return
        self.asked.append(wanted)
        try:
            end = min(wanted.to_ns, self.ends or wanted.to_ns)
            start = wanted.from_ns
            while start < end:
                await pass_s(0.01)
                if self.errors:
                    raise self.errors.pop(0)
                self.before_page()
                stop = min(end, start + PAGE * S)
                number = start // S
                seen = [Observation(0, t, t // S, 0) for t in range(-(-start // S) * S, stop, S)]
                lacking = [Lacking(start, min(stop, at(LOST_BEFORE_S)), "overwritten")]
                yield LogPage(
                    start,
                    stop,
                    seen,
                    [part for part in lacking if part.from_ns < part.to_ns],
                    records=len(seen),
                    first_record=number,
                    next_record=stop // S,
                    acknowledge=self.acknowledge_ring,
                )
                start = stop
        finally:
            self.released += 1

    def stretches(self, kind: str) -> list[tuple[int, int]]:
        return union((r.from_ns, r.to_ns) for r in self.fills_of(kind))

    def fills_of(self, kind: str) -> list[Fill]:
        return [r for r in self.records if isinstance(r, Fill) and r.kind == kind]


def test_a_gap_is_filled_page_by_page_and_told_once() -> None:
    world = World({"plc1": [(at(-100), at(-55))]})

    async def run() -> None:
        runner = world.runner()
        runner.begin()
        await pass_s(1)
        assert world.stretches("filled") == [(at(-100), at(-55))]
        samples = [s for r in world.records if isinstance(r, Batch) for s in r.samples]
        assert [s[1] for s in samples] == [at(t) for t in range(-100, -55)]
        assert len(world.told) == 1 and "45 records, 45 samples" in world.told[0]
        status = runner.status()["plc1"]
        assert (status["open_gaps"], status["records"], status["reading"]) == (0, 45, None)
        assert len(runner.tasks) == 1
        await runner.end(1)
        assert world.released == 1 and not runner.tasks

    simulate(run())


@pytest.mark.parametrize("stateful", [False, True])
@pytest.mark.parametrize("acknowledge", [None, 7])
def test_a_line_does_not_wait_for_a_disk_but_where_reading_changes_the_log(
    stateful: bool, acknowledge: int | None
) -> None:
    waiting: list[int] = []
    world = World({"plc1": [(at(-100), at(-55))]}, disk_s=0.015)  # a page takes 0.01
    world.spec = replace(RING, stateful=stateful)
    world.acknowledge_ring = acknowledge
    world.before_page = lambda: waiting.append(world.waiting)

    async def run() -> None:
        runner = world.runner()
        runner.begin()
        await pass_s(10)
        assert world.stretches("filled") == [(at(-100), at(-55))]
        assert len(waiting) > 2 and runner.status()["plc1"]["records"] == 45
        await runner.end(1)

    simulate(run())
    records_of_a_page = 2
    ahead = not stateful and acknowledge is None
    assert max(waiting) == (records_of_a_page if ahead else 0)


def test_a_page_that_is_not_stored_stops_the_read_and_is_read_again() -> None:
    world = World({"plc1": [(at(-100), at(-55))]}, disk_s=0.005)

    def fail() -> None:
        world.store = len(world.records) != 2 or asyncio.get_running_loop().time() > 1

    world.before_page = fail

    async def run() -> None:
        runner = world.runner()
        runner.begin()
        await pass_s(1)
        assert world.stretches("filled") == [(at(-100), at(-90))]
        assert runner.status()["plc1"]["records"] == 10
        assert runner.status()["plc1"]["waits"] == "full"
        await pass_s(10)
        assert [wanted.from_ns for wanted in world.asked] == [at(-100), at(-90)]
        assert world.stretches("filled") == [(at(-100), at(-55))]
        await runner.end(1)

    simulate(run())


@pytest.mark.parametrize("cancelled_s", [0.015, 0.022], ids=["a page is read", "it waits"])
def test_a_reign_that_ends_while_a_page_is_committed_leaves_no_failure_unheard(
    cancelled_s: float,
) -> None:
    unheard: list[dict[str, object]] = []
    world = World({"plc1": [(at(-100), at(-55))]}, store=False, disk_s=0.015)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: unheard.append(context))
        runner = world.runner()
        runner.begin()
        await pass_s(cancelled_s)
        assert world.waiting
        await runner.end(1)
        await pass_s(1)
        assert world.released == 1 and not runner.tasks
        gc.collect()

    simulate(run())
    assert not unheard and not world.waiting


def test_what_was_read_before_a_failure_is_stored_and_not_read_again() -> None:
    world = World({"plc1": [(at(-100), at(-55))]}, disk_s=0.05)

    def fail() -> None:
        if len(world.asked) == 1 and world.waiting:
            world.errors.append(DeviceError("it hung up"))

    world.before_page = fail

    async def run() -> None:
        runner = world.runner()
        runner.begin()
        await pass_s(100)
        assert world.stretches("filled") == [(at(-100), at(-55))]
        assert world.asked[1].from_ns > world.asked[0].from_ns
        times = [s[1] for r in world.records if isinstance(r, Batch) for s in r.samples]
        assert times == sorted(set(times)), "nothing twice"
        await runner.end(1)

    simulate(run())


def test_a_blank_journal_is_looked_at_again_when_it_has_its_first_claim() -> None:
    world = World({"plc1": []})

    async def run() -> None:
        runner = world.runner()
        runner.begin()
        await pass_s(5)
        world.gaps["plc1"].append((at(-2_000), at(-1_995)))  # it knew of no class before
        runner.committed([seal(OWN, 1, b"", Coverage(1, at(99), at(100)))], own)
        await pass_s(5)
        assert world.stretches("filled") == [(at(-2_000), at(-1_995))]
        await runner.end(1)

    simulate(run())


def test_what_a_skipped_scan_left_out_is_looked_for_too() -> None:
    world = World({"plc1": []})

    async def run() -> None:
        runner = world.runner()
        runner.begin()
        runner.committed([seal(OWN, 7, b"", Coverage(1, at(-31), at(-30)))], own)
        await pass_s(5)
        assert not world.asked
        world.gaps["plc1"].append((at(-20), at(-15)))
        open_ = Coverage(1, at(-30), at(-15), (Hole("plc1", "fast", at(-20), at(-15), "device"),))
        runner.committed([seal(OWN, 8, b"", open_)], own)
        await pass_s(5)
        assert not world.asked, "it goes on"
        ended = Coverage(1, at(-15), at(1), (Hole("plc1", "fast", at(-20), at(-15), "overrun"),))
        runner.committed([seal(OWN, 9, b"", ended)], own)
        await pass_s(5)
        assert world.stretches("filled") == [(at(-20), at(-15))]
        await runner.end(1)

    simulate(run())


def test_a_log_is_not_told_to_forget_what_an_older_gap_needs() -> None:
    world = World({"plc1": [(at(-20), at(-15))]}, safe_there=False, acknowledge_ring=1)
    world.spec = replace(RING, ack="both", order="oldest")

    async def run() -> None:
        runner = world.runner()
        runner.begin()
        await pass_s(5)
        assert world.stretches("filled") == [(at(-20), at(-15))] and not world.acknowledged
        # The other node's coverage came, and with it an older gap.
        world.gaps["plc1"].append((at(-40), at(-36)))
        world.safe_there = True
        runner.committed([seal(OTHER, 1, b"", Coverage(1, at(-30), at(-20)))], own)
        await pass_s(10)
        assert world.stretches("filled") == [(at(-40), at(-36)), (at(-20), at(-15))]
        assert world.acknowledged == [1], "what it forgets was read, all of it"
        await runner.end(1)

    simulate(run())


def test_the_next_reign_goes_on_where_this_one_stopped() -> None:
    world = World({"plc1": [(at(-100), at(-50))]})

    async def run() -> None:
        runner = world.runner()
        runner.begin()
        while len(world.stretches("filled")) == 0:
            await pass_s(0.001)
        await runner.end(1)
        done = world.stretches("filled")[0][1]
        assert done < at(-50)
        world.runner()  # a node that never reigned does nothing
        other = world.runner()
        other.begin()
        await pass_s(1)
        await other.end(1)
        assert world.asked[-1].from_ns == done and world.asked[-1].next_record == done // S
        assert world.stretches("filled") == [(at(-100), at(-50))]
        times = [s[1] for r in world.records if isinstance(r, Batch) for s in r.samples]
        assert times == sorted(set(times)), "nothing twice"

    simulate(run())


def test_what_the_log_lost_is_told_and_not_asked_for_again() -> None:
    world = World({"plc1": [(at(LOST_BEFORE_S - 20), at(LOST_BEFORE_S + 20))]})

    async def run() -> None:
        runner = world.runner()
        runner.begin()
        await pass_s(100)
        assert world.stretches("lost") == [(at(LOST_BEFORE_S - 20), at(LOST_BEFORE_S))]
        assert len(world.asked) == 1 and "lost 20.0 s: overwritten" in world.told[0]
        assert runner.asked("plc1", at(LOST_BEFORE_S - 15), at(LOST_BEFORE_S)) == 1
        await pass_s(1)
        assert len(world.asked) == 2, "by hand it is tried again, once"
        await pass_s(100)
        assert len(world.asked) == 2
        await runner.end(1)

    simulate(run())


def test_a_log_that_ends_before_the_gap_is_asked_again_then_the_rest_is_lost() -> None:
    world = World({"plc1": [(at(-100), at(-50))]}, ends=at(-60))

    async def run() -> None:
        runner = world.runner()
        runner.begin()
        await pass_s(1)
        assert world.stretches("filled") == [(at(-100), at(-60))]
        assert "has not come that far" in runner.status()["plc1"]["waits"]
        await pass_s(300)
        assert world.stretches("lost") == [(at(-60), at(-50))]
        await runner.end(1)

    simulate(run())


@pytest.mark.parametrize(
    "error",
    [LogUnavailable("locked by port 2", 5 * S), ReplyTimeout("silent"), ValueError("a bug")],
    ids=["locked", "silent", "bug"],
)
def test_what_fails_is_tried_again(error: Exception) -> None:
    world = World({"plc1": [(at(-100), at(-50))]}, errors=[error])

    async def run() -> None:
        runner = world.runner()
        runner.begin()
        await pass_s(1)
        assert not world.records and runner.status()["plc1"]["waits"]
        await pass_s(10)
        assert world.stretches("filled") == [(at(-100), at(-50))]
        await runner.end(1)

    simulate(run())


FOUND_OUT = "what the log records was just found out"


def test_a_log_that_only_told_what_it_records_is_read_at_once_and_did_not_fail() -> None:
    world = World({"plc1": [(at(-100), at(-50))]}, errors=[LogUnavailable(FOUND_OUT, 0)])

    async def run() -> None:
        runner = world.runner()
        runner.begin()
        assert runner.asked("plc1", at(-100), at(-50)) == 1
        for _ in range(40):
            await pass_s(0.005)
            assert runner.status()["plc1"]["waits"] == ""
        assert not world.errors
        assert world.stretches("filled") == [(at(-100), at(-50))]
        assert len(world.told) == 1
        assert "50 records" in world.told[0]
        await pass_s(100)
        assert len(world.asked) == 2, "what was asked by hand is done"
        await runner.end(1)

    simulate(run())


def test_a_log_that_tells_again_and_again_what_it_records_is_left_alone_for_a_while() -> None:
    errors: list[Exception] = [LogUnavailable(FOUND_OUT, 0) for _ in range(6)]
    world = World({"plc1": [(at(-100), at(-50))]}, errors=errors)

    async def run() -> None:
        runner = world.runner()
        runner.begin()
        await pass_s(1)
        assert len(world.asked) == 2
        assert runner.status()["plc1"]["waits"] == FOUND_OUT
        await pass_s(60)
        assert world.stretches("filled") == [(at(-100), at(-50))]
        await runner.end(1)

    simulate(run())


def test_somebody_else_who_reads_a_log_that_only_told_what_it_records() -> None:
    world = World(errors=[LogUnavailable(FOUND_OUT, 0)])

    async def run() -> None:
        runner = world.runner()
        runner.begin()
        wanted = LogWanted("ring", at(-20), at(0))
        assert sum([page.records async for page in runner.pages("plc1", wanted)]) == 20
        for errors in ([0, 0], [5 * S]):
            world.errors = [LogUnavailable(FOUND_OUT, wait_ns) for wait_ns in errors]
            with pytest.raises(LogUnavailable):
                await anext(runner.pages("plc1", wanted))
            assert not world.errors
        await runner.end(1)

    simulate(run())


def test_a_store_that_takes_nothing_leaves_the_gap_open() -> None:
    world = World({"plc1": [(at(-100), at(-50))]}, store=False)

    async def run() -> None:
        runner = world.runner()
        runner.begin()
        await pass_s(1)
        assert not world.records
        world.store = True
        await pass_s(10)
        assert world.stretches("filled") == [(at(-100), at(-50))]
        await runner.end(1)

    simulate(run())


def complete(name: str, term: Term = OWN) -> Record:
    batch = Batch(name, "fast", 1, Origin.POLL, 1, 1, (), complete=True)
    return seal(term, 1, b"", batch)


def own(record: Record) -> bool:
    return record.position.term == OWN


def test_a_gap_that_ends_now_is_filled_once_it_is_claimed_around() -> None:
    world = World()

    async def run() -> None:
        runner = world.runner()
        runner.begin()
        await pass_s(100)
        assert not world.asked
        world.gaps["plc1"] = [(at(60), at(99))]
        runner.committed([complete("plc1"), complete("unknown")], own)
        await pass_s(1)
        assert not world.asked, "only a claim tells what is covered"
        runner.committed([seal(OWN, 2, b"", Coverage(1, at(99), at(100)))], own)
        await pass_s(5)
        assert world.stretches("filled") == [(at(60), at(99))]
        await runner.end(1)
        runner.committed([complete("plc1")], own)  # a Standby hears, and does nothing

    simulate(run())


@pytest.mark.parametrize(
    "news",
    [
        seal(OTHER, 1, b"", Coverage(1, at(0), at(1))),
        seal(OWN, 1, b"", Ruling(OWN, OTHER, at(0), at(1), "merge", "", at(1))),
    ],
    ids=["the other node's claim", "ruling"],
)
def test_what_the_other_node_tells_may_change_any_gap(news: Record) -> None:
    world = World()

    async def run() -> None:
        runner = world.runner()
        runner.begin()
        await pass_s(100)
        world.gaps["plc1"] = [(at(-500), at(-490))]
        runner.committed([news], own)
        await pass_s(40)
        assert world.stretches("filled") == [(at(-500), at(-490))]
        await runner.end(1)

    simulate(run())


def test_a_device_that_does_not_answer_is_left_alone() -> None:
    world = World({"plc1": [(at(-100), at(-50)), (at(-1), at(1_000))]}, answering=False)

    async def run() -> None:
        runner = world.runner()
        runner.begin()
        await pass_s(100)
        assert not world.asked
        world.answering = True
        await pass_s(40)
        assert world.stretches("filled") == [(at(-100), at(-50))]
        await runner.end(1)

    simulate(run())


def test_a_device_of_which_it_is_learned_late_that_it_keeps_a_log_is_read() -> None:
    world = World({"plc1": [(at(-100), at(-50))]}, known=False)

    async def run() -> None:
        runner = world.runner()
        runner.begin()
        await pass_s(100)
        assert not world.asked
        assert not runner.tasks
        facts = [Fact(name, "points", {"level": "kept"}, at(99)) for name in ("plc1", "gone")]
        runner.committed([seal(OWN, 2, b"", fact) for fact in facts], own)
        assert not runner.tasks, "it keeps none still"
        world.known = True
        runner.committed([seal(OWN, 3, b"", fact) for fact in facts], own)
        await pass_s(10)
        assert world.stretches("filled") == [(at(-100), at(-50))]
        await runner.end(1)
        runner.committed([seal(OWN, 4, b"", fact) for fact in facts], own)
        assert not runner.tasks, "the reign is over"

    simulate(run())


def test_a_device_that_stops_keeping_a_log_is_read_when_it_begins_again() -> None:
    world = World()

    async def run() -> None:
        runner = world.runner()
        runner.begin()
        await pass_s(100)
        world.known = False
        world.gaps["plc1"] = [(at(60), at(99))]
        claim = seal(OWN, 2, b"", Coverage(1, at(99), at(100)))
        runner.committed([complete("plc1"), claim], own)
        await pass_s(100)
        assert [task.done() for task in runner.tasks] == [False]
        assert not world.asked and not world.records, "nothing is lost for good yet"
        world.known = True
        fact = Fact("plc1", "points", {"level": "kept"}, at(99))
        runner.committed([seal(OWN, 3, b"", fact)], own)
        await pass_s(10)
        assert world.stretches("filled") == [(at(60), at(99))]
        await runner.end(1)

    simulate(run())


def two_devices() -> dict[str, DeviceSpec]:
    return {"plc1": device("plc1"), "plc2": device("plc2")}


async def none_ended(runner: Runner) -> None:
    """A task that ends by itself would end the node."""
    await pass_s(1)
    assert runner.tasks and not any(task.done() for task in runner.tasks)
    await runner.end(1)


def test_a_device_is_removed_while_the_journal_is_asked_for_its_gaps() -> None:
    class Slow(World):
        async def gaps_of(self, name: str, from_ns: int, to_ns: int) -> list[Gap]:
            await pass_s(0.05)
            return await super().gaps_of(name, from_ns, to_ns)

    world = Slow({"plc1": [(at(-100), at(-55))]}, devices=two_devices())

    async def run() -> None:
        runner = world.runner()
        runner.begin()
        await pass_s(0.02)
        del world.devices["plc1"]
        runner.begin()
        await none_ended(runner)
        assert any("windback of line l1: internal error" in text for text in world.told)

    simulate(run())


def test_a_device_is_removed_while_its_read_waits_for_that_of_somebody_else() -> None:
    world = World({}, devices=two_devices())

    async def run() -> None:
        runner = world.runner()
        runner.begin()
        await pass_s(1)

        async def verify() -> None:
            async for _ in runner.pages("plc2", LogWanted("ring", at(-600), at(-300))):
                await pass_s(0.5)

        verifying = asyncio.create_task(verify())
        await pass_s(0.1)
        world.gaps["plc1"] = [(at(-100), at(-55))]
        runner.asked("plc1", at(-100), at(-55))
        await pass_s(1)
        del world.devices["plc1"]
        runner.begin()
        await verifying
        await none_ended(runner)

    simulate(run())


def test_a_device_is_removed_while_its_last_page_is_committed() -> None:
    class Known(World):
        def logs(self, name: str) -> list[LogSpec]:
            assert self.devices[name]
            return super().logs(name)

    world = Known({"plc1": [(at(-100), at(-95))]}, devices=two_devices(), disk_s=0.2)

    async def run() -> None:
        runner = world.runner()
        runner.begin()
        await pass_s(0.1)
        assert world.waiting
        del world.devices["plc1"]
        runner.begin()
        await none_ended(runner)

    simulate(run())


def test_a_device_is_removed_while_what_it_may_forget_is_made_durable() -> None:
    class Slow(World):
        async def is_safe(self, position: Position, both: bool) -> bool:
            await pass_s(0.3)
            return True

    world = Slow({"plc1": [(at(-100), at(-95))]}, devices=two_devices(), acknowledge_ring=7)
    world.spec = replace(RING, ack="both")

    async def run() -> None:
        runner = world.runner()
        runner.begin()
        await pass_s(0.2)
        del world.devices["plc1"]
        runner.begin()
        await none_ended(runner)

    simulate(run())


def test_a_drivers_bug_in_a_log_of_events_costs_that_log() -> None:
    events = LogSpec("events", "ring", (), events=True)

    class Broken(World):
        async def read_log(
            self, name: str, wanted: LogWanted, share: float
        ) -> AsyncGenerator[LogPage, None]:
            if wanted.log == "events":
                raise IndexError("the device's answer was too short")
            async for page in super().read_log(name, wanted, share):
                yield page

    world = Broken({"plc1": [(at(-100), at(-95))]}, events=events)

    async def run() -> None:
        runner = world.runner()
        runner.begin()
        await none_ended(runner)
        assert world.stretches("filled") == [(at(-100), at(-95))]

    simulate(run())


def test_a_bug_that_stays_is_told_once() -> None:
    asked = 0

    class Broken(World):
        async def gaps_of(self, name: str, from_ns: int, to_ns: int) -> list[Gap]:
            nonlocal asked
            asked += 1
            self.dirty()
            raise IndexError("a bug of ours")

        def dirty(self) -> None:
            runner.committed([complete("plc1")], own)

    world = Broken({"plc1": [(at(-100), at(-95))]})
    runner = world.runner()

    async def run() -> None:
        runner.begin()
        await pass_s(200)
        assert asked > 3
        assert len([text for text in world.told if "internal error" in text]) == 1
        await none_ended(runner)

    simulate(run())


def test_a_page_that_the_journal_can_not_take_fills_nothing() -> None:
    refusals = 2

    class Refusing(World):
        def append(self, body: Body) -> Awaitable[Record]:
            nonlocal refusals
            if not isinstance(body, Batch) or not refusals:
                return super().append(body)
            refusals -= 1
            refused: asyncio.Future[Record] = asyncio.get_running_loop().create_future()
            refused.set_exception(JournalError("it has no wire"))
            return refused

    world = Refusing({"plc1": [(at(-100), at(-55))]})

    async def run() -> None:
        runner = world.runner()
        runner.begin()
        await pass_s(1)
        assert refusals == 1 and not world.records and runner.status()["plc1"]["waits"]
        await pass_s(60)
        assert not refusals and world.stretches("filled") == [(at(-100), at(-55))]
        await runner.end(1)

    simulate(run())


def test_a_clock_that_is_set_back_holds_no_log_back() -> None:
    world = World({"plc1": [(at(-9_000), at(-8_955))]}, errors=[ReplyTimeout("no answer")])
    clock = Clock(ahead_ns=3 * 3600 * S)

    async def run() -> None:
        runner = world.runner(clock)
        runner.begin()
        await pass_s(0.5)
        assert runner.status()["plc1"]["waits"]
        clock.ahead_ns = 0
        runner.clock_stepped()
        await pass_s(60)
        assert not runner.status()["plc1"]["open_gaps"]
        await runner.end(1)

    simulate(run())


def test_a_class_without_a_logged_point_is_lost() -> None:
    spec = LogSpec("ring", "ring", ("pressure",), resolution_ns=S)
    world = World({"plc1": [(at(-100), at(-50))]}, spec=spec)

    async def run() -> None:
        runner = world.runner()
        runner.begin()
        await pass_s(5)
        assert world.stretches("lost") == [(at(-100), at(-50))] and not world.asked
        await runner.end(1)

    simulate(run())


def test_another_revision_in_the_middle_of_a_read() -> None:
    world = World({"plc1": [(at(-100), at(-50))]})

    async def run() -> None:
        runner = world.runner()

        def change() -> None:
            if len(world.records) > 2:
                world.devices = {"plc1": device(line="l2"), "plc3": device("plc3", "l3")}
                runner.begin()
                world.before_page = lambda: None

        world.before_page = change
        runner.begin()
        await pass_s(20)
        assert world.stretches("filled") == [(at(-100), at(-50))]
        assert {task.get_name() for task in runner.tasks} == {"windback l2", "windback l3"}
        await runner.end(1)

    simulate(run())


def test_somebody_else_reads_between_the_reads_for_gaps() -> None:
    world = World()

    async def run() -> None:
        runner = world.runner()
        runner.begin()
        pages = [p async for p in runner.pages("plc1", LogWanted("ring", at(-20), at(0)))]
        assert sum(page.records for page in pages) == 20 and not world.records
        with pytest.raises(ControlError, match="keeps no log 'tape'"):
            await anext(runner.pages("plc1", LogWanted("tape", 0, 1)))
        world.spec = LogSpec("w", "window_session", ("level",), stateful=True)
        world.refused = "both are Main"
        with pytest.raises(ControlError, match="both are Main"):
            await anext(runner.pages("plc1", LogWanted("w", 0, 1)))
        await runner.end(1)

    simulate(run())


def test_what_is_asked_by_hand_is_bounded() -> None:
    world = World(answering=False)

    async def run() -> None:
        runner = world.runner()
        runner.begin()
        for number in range(FORCED_MAX + 10):
            assert runner.asked("plc1", at(10 * number), at(10 * number + 1)) <= FORCED_MAX
        with pytest.raises(KeyError):
            runner.asked("plc9", 0, 1)
        await runner.end(1)

    simulate(run())


EVENTS = LogSpec("events", "enron", (), stateful=True, destructive=True, events=True)


def eventful(**more: object) -> World:
    """A world with a gap, and an event log that forgets what is acknowledged."""
    return World({"plc1": [(at(-100), at(-50))]}, events=EVENTS, **more)  # type: ignore[arg-type]


def told(world: World, text: str) -> bool:
    return any(text in line for line in world.told)


def test_events_are_acknowledged_once_both_nodes_have_them_for_good() -> None:
    world = eventful(safe_there=False)

    async def run() -> None:
        runner = world.runner()
        runner.begin()
        await pass_s(5)
        event = next(r for r in world.records if isinstance(r, Event))
        assert (event.text, event.at_ns) == ("LoLo alarm", at(-100))
        assert not world.acknowledged and set(world.asked_safe) == {True}
        world.safe_there = True
        await pass_s(2)
        assert world.acknowledged == [1]
        intent = next(r for r in world.records if isinstance(r, Audit))
        assert intent.target == "plc1/events" and intent.outcome.startswith("begun: 1 records")
        assert told(world, "was acknowledged")
        await runner.end(1)

    simulate(run())


@pytest.mark.parametrize("full", [True, False])
def test_a_full_log_or_an_hour_is_reason_enough_to_do_without_the_other_node(full: bool) -> None:
    world = eventful(safe_there=False, fullness=0.9 if full else None, safe_here=False)

    async def run() -> None:
        runner = world.runner()
        runner.begin()
        await pass_s(5)
        world.safe_here = True
        await pass_s(2)
        assert not world.acknowledged
        await pass_s((FULL_PATIENCE_NS if full else ACK_PATIENCE_NS) / S)
        assert world.acknowledged == [1] and told(world, "on this node only")
        await runner.end(1)

    simulate(run())


def test_local_and_never_mean_what_they_say() -> None:
    for ack, acknowledged in (("local", [1]), ("never", [])):
        world = eventful(safe_there=False)
        world.events = LogSpec("events", "enron", (), events=True, ack=ack)

        async def run(world: World = world, acknowledged: list[int] = acknowledged) -> None:
            runner = world.runner()
            runner.begin()
            await pass_s(5)
            assert world.acknowledged == acknowledged
            await runner.end(1)

        simulate(run())


def test_an_acknowledgement_that_fails_is_told_and_the_log_is_read_again() -> None:
    world = eventful(ack_errors=[ReplyTimeout("silent")])

    async def run() -> None:
        runner = world.runner()
        runner.begin()
        await pass_s(5)
        assert not world.acknowledged and told(world, "could not be acknowledged: silent")
        world.gaps["plc1"].append((at(-20), at(-10)))
        runner.committed([seal(OTHER, 1, b"", Coverage(1, at(0), at(1)))], own)
        await pass_s(40)
        assert world.acknowledged == [1]
        await runner.end(1)

    simulate(run())


def test_no_event_log_is_read_while_the_other_node_could_read_it() -> None:
    world = eventful(refused="both are Main")

    async def run() -> None:
        runner = world.runner()
        runner.begin()
        await pass_s(5)
        assert not any(isinstance(r, Event) for r in world.records)
        assert world.stretches("filled") == [(at(-100), at(-50))]
        await runner.end(1)

    simulate(run())


def test_device_errors_are_what_drivers_raise() -> None:
    assert issubclass(LogUnavailable, DeviceError)
