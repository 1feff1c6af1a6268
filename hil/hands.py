"""What the pytest plug-in gives to tests: a pair and its outstations, as plain calls.

Each call returns when it is done, or raises: ValueError for what can't be meant, ProgramError for
what could not be done, TimeoutError for what took too long. Moments are ns UTC, as `time.time_ns`
gives them. In an async test `awaitable` is the same with everything awaited.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from gateway.model import Gap, HistoryRow, Value
from hil.gateway import ProgramError
from hil.live import Asked, Doing, LivePair, Reading
from hil.loop_thread import LoopThread
from hil.pair import NODES
from hil.play import told
from hil.recording import Finding, Outcome, Recording, Switch
from hil.report.files import PAGE_FILE
from hil.truth import Step
from hil.warden import Warden
from hil.words import LINKS, MAIN, PAIR, POWER, STANDBY

CALL_S: Final = 60.0
START_S: Final = 150.0
JUDGE_S: Final = 600.0
"""Judging waits a minute for each of five things, and reads both histories of every point."""
CLOSE_S: Final = 60.0

_T = TypeVar("_T")


class PromiseBroken(AssertionError):
    """What `judge` found to be wrong, or could not find out; the text has it all."""

    def __init__(self, text: str, recording: Recording) -> None:
        super().__init__(text)
        self.recording = recording


class Awaitable:
    """Any object of this module with all of it awaited: `await pair.awaitable.kill("main")`.

    Attributes that are no methods are awaited as well: `await pair.awaitable.main`.
    """

    def __init__(self, of: Any) -> None:
        self._of = of

    def __getattr__(self, name: str) -> Any:
        if callable(getattr(type(self._of), name, None)):
            return lambda *a, **k: self._away(lambda: getattr(self._of, name)(*a, **k))
        return self._away(lambda: getattr(self._of, name))

    async def _away(self, work: Callable[[], Any]) -> Any:
        found = await asyncio.to_thread(work)
        return Awaitable(found) if isinstance(found, Act) else found

    async def __aenter__(self) -> Awaitable:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._away(self._of.undo)


class _Hand:
    """What reaches into the loop in which the pair runs."""

    def __init__(self, live: LivePair, loop: LoopThread) -> None:
        self._live = live
        self._loop = loop

    def _call(self, what: str, work: Coroutine[Any, Any, _T], within_s: float = CALL_S) -> _T:
        return self._loop.call(what, work, within_s)

    def _do(self, word: str, target: str, seconds: float | None, options: Mapping[str, Any]) -> Act:
        doing = self._call(
            f"{word} {target}", self._live.do(word, target, seconds, options), CALL_S
        )
        return Act(self._live, self._loop, doing)

    @property
    def awaitable(self) -> Any:
        """The same for async tests."""
        return Awaitable(self)


class Act(_Hand):
    """Something that was done, and lasts; as a context manager it is undone at its end."""

    def __init__(self, live: LivePair, loop: LoopThread, doing: Doing) -> None:
        super().__init__(live, loop)
        self._doing = doing

    def __str__(self) -> str:
        return str(self._doing.entry)

    def __enter__(self) -> Act:
        return self

    def __exit__(self, *_: object) -> None:
        self.undo()

    def undo(self, within_s: float = CALL_S) -> None:
        """Undo it: the node is started, the cable mended. No-op once it is."""
        act = self._call(f"the end of {self}", self._live.undo(self._doing), within_s)
        if act.failed:
            raise ProgramError(f"{act}: {act.failed}")

    def takeover(self, within_s: float = CALL_S) -> Switch:
        """The takeover that it caused; `took_ms` is until the first fresh value at a client."""
        return self._call(f"a takeover by {self}", self._live.takeover(self._doing), within_s)


class Outstations(_Hand):
    """The emulated field: what it holds, and its faults, those that hil/DESIGN.md lists."""

    @property
    def devices(self) -> list[str]:
        """Their names."""
        return list(self._live.pair.plant.devices)

    def fault(self, device: str, kind: str, *, seconds: float | None = None, **options: Any) -> Act:
        """A fault such as `silence`, `delay` (ms=200) or `exception` (code=4) begins."""
        return self._do(kind, device, seconds, options)

    def power_off(self, device: str, *, seconds: float | None = None, **options: Any) -> Act:
        """It has no power; with `log="lose"` its own log is empty after."""
        return self._do(POWER, device, seconds, options)

    def log(self, device: str, what: str, *, seconds: float | None = None, **options: Any) -> Act:
        """Disturb its own log: `stop`, `clear`, `torn`, …"""
        return self._do(f"log_{what}", device, seconds, options)

    def clock(self, device: str, **options: Any) -> None:
        """Its own clock runs otherwise: `step`, `offset` (seconds), `drift_ppm`, `dst`."""
        self._do("clock", device, None, options)

    def truth(self, point: str, at: int | None = None) -> Value:
        """What the device held at a moment (ns; now), scaled as the gateway must publish it."""
        moment = time.time_ns() if at is None else at
        return self.steps(point, moment, moment + 1)[0].value

    def steps(self, point: str, from_ns: int, to_ns: int) -> Sequence[Step]:
        """(since when, value): what it held at `from_ns`, and each change before `to_ns`."""
        return self._call(f"the truth of {point}", self._live.steps(point, from_ns, to_ns))


class HotpairPair(_Hand):
    """A pair of nodes as processes, with emulated outstations; one test's own."""

    def __init__(self, live: LivePair, loop: LoopThread, warden: Warden) -> None:
        super().__init__(live, loop)
        self._warden = warden
        self.outstation = Outstations(live, loop)
        self.folder = live.pair.folder
        """Site, logs, journals; after `judge` also report.html, run.json, junit.xml."""

    @classmethod
    def start(
        cls, asked: Asked, folder: Path, offset: int, say: Callable[[str], None] = print
    ) -> HotpairPair:
        """Start all; whatever happens here or later, `close` or the warden ends it."""
        live = LivePair(asked, folder, offset, say)
        pair = cls(live, LoopThread(), Warden(folder))
        try:
            pair._call("the start of the pair", pair._live.start(), START_S)
        except BaseException:  # whatever stopped us, nothing must outlive us
            pair.close()
            raise
        return pair

    def close(self) -> None:
        """End all that runs, at the latest after a minute."""
        try:
            self._call("the end of the pair", self._live.close(), CLOSE_S)
        finally:
            try:
                self._loop.close()
            finally:
                self._warden.release()

    # ------------------------------------------------------------------------------ looking

    @property
    def main(self) -> str:
        """The name of the Main, `a` or `b`; waits 5 s for there to be one."""
        return self._call("a Main", self._live.node(MAIN)).name

    @property
    def standby(self) -> str:
        """The name of the node beside the Main, which may be down."""
        return self._call("a Main", self._live.node(STANDBY)).name

    def endpoint(self, node: str) -> str:
        """The OPC UA endpoint of a node: `a`, `b`, `main`, `standby`."""
        return self._call(f"node {node}", self._live.node(node)).endpoint

    def status(self, node: str = MAIN) -> dict[str, Any]:
        """What `hotpair status --json` gives; {} of a node that is silent."""

        async def status() -> dict[str, Any]:
            return await (await self._live.node(node)).status()

        return self._call(f"the status of {node}", status())

    def value(self, point: str, node: str = MAIN) -> Value:
        """The live value of `device/point`."""
        return self.read(point, node).value

    def read(self, point: str, node: str = MAIN) -> Reading:
        """The live value with its status (`Good`) and its times."""
        return self._call(f"the value of {point}", self._live.reading(point, node))

    def write(self, point: str, value: Value) -> Mapping[str, Any]:
        """Write as `hotpair write` does. A point that was written is not judged by its truth."""
        return self._call(f"the write of {point}", self._live.write(point, value))

    def history(
        self, point: str, from_ns: int | None = None, to_ns: int | None = None, node: str = MAIN
    ) -> list[HistoryRow]:
        """The samples in [from, to), as stored; all since the start, without either."""

        async def rows() -> list[HistoryRow]:
            self._live.plant_point(point)
            span = self._span(from_ns, to_ns)
            return await (await self._live.node(node)).control.history(point, *span)

        return self._call(f"the history of {point}", rows())

    def gaps(
        self,
        device: str = "",
        from_ns: int | None = None,
        to_ns: int | None = None,
        node: str = MAIN,
    ) -> list[Gap]:
        """The gaps that touch [from, to), of one device or of all, whatever became of them."""

        async def gaps() -> list[Gap]:
            span = self._span(from_ns, to_ns)
            found = await (await self._live.node(node)).control.gaps(*span)
            return [gap for gap in found if device in ("", gap.device)]

        return self._call("the gaps", gaps())

    def _span(self, from_ns: int | None, to_ns: int | None) -> tuple[int, int]:
        born_ns, now_ns = self._live.pair.born_ns, time.time_ns()
        return born_ns if from_ns is None else from_ns, now_ns if to_ns is None else to_ns

    # ------------------------------------------------------------------------------ doing

    def do(self, word: str, target: str, *, seconds: float | None = None, **options: Any) -> Act:
        """Any word of a timeline; it is undone after `seconds`, by `undo`, or by `judge`.

        Some words must be prepared: `@pytest.mark.hotpair(words=["slow_disk"])`.
        """
        return self._do(word, target, seconds, options)

    def kill(self, node: str, *, seconds: float | None = None) -> Act:
        """kill -9; undone: it is started again."""
        return self._do("kill", node, seconds, {})

    def freeze(self, node: str, *, seconds: float | None = None) -> Act:
        """SIGSTOP; undone: it goes on."""
        return self._do("freeze", node, seconds, {})

    def restart(self, node: str) -> Act:
        """SIGTERM, and a start."""
        return self._do("restart", node, None, {})

    def cut(self, target: str = LINKS, *, seconds: float | None = None) -> Act:
        """`links`, `link0`, or what a node sends: nothing arrives, and nobody is told."""
        return self._do("cut", target, seconds, {})

    def changeover(self) -> Act:
        """Hand over by hand; waits 10 s for a synced Standby. It is underway when this returns."""
        return self._do("changeover", PAIR, None, {})

    def until_paired(self, within_s: float = CALL_S) -> None:
        """Wait until one node is Main and the other synced."""
        self._call("a whole pair", self._live.pair.until_paired(within_s), within_s + 5)

    def until_main(self, node: str, within_s: float = CALL_S) -> None:
        """Wait until a node, `a` or `b`, is Main."""
        if node not in NODES:
            raise ValueError(f"no node {node!r}. Write {' or '.join(NODES)}.")
        waiting = self._live.pair.until(lambda s: s[node].get("role") == "main", within_s)
        self._call(f"node {node} as Main", waiting, within_s + 5)

    def until_up(self, device: str, within_s: float = CALL_S) -> None:
        """Wait until the Main polls a device with success."""
        if device not in self.outstation.devices:
            raise ValueError(f"the site has no device {device!r}")
        self._call(f"{device} up", self._live.pair.until_up(device), within_s)

    def until_filled(self, device: str, within_s: float = CALL_S) -> list[Gap]:
        """Wait until no gap of a device is open, at most so long; its gaps."""
        from_ns, to_ns = self._span(None, None)
        waiting = self._live.pair.until_filled(from_ns, to_ns, within_s, (device,))
        self._call(f"the filling of {device}", waiting, within_s + 5)
        return self.gaps(device, from_ns, to_ns)

    # ------------------------------------------------------------------------------ judging

    def judge(
        self, *, may_be_unknown: Collection[str] = (), within_s: float = JUDGE_S, **expect: Any
    ) -> Recording:
        """Undo and heal everything, end the pair, and judge every promise. It is the last call.

        `expect` is what a scenario may expect: `judge(takeover="1s", main="other",
        no_gaps=["plc2"])`. Raises PromiseBroken with all findings that are not `passed`;
        `may_be_unknown` names judges that need not have come to an end (a machine that is far too
        busy can't tell takeovers in time). Beside it `report.html` shows the run.
        """
        __tracebackhide__ = True
        recording = self._call("the verdict", self._live.judge(expect), within_s)
        wrong = [one for one in recording.findings if _wrong(one, may_be_unknown)]
        if wrong or not recording.findings:
            said = "\n".join(map(told, wrong)) or "nothing was judged"
            raise PromiseBroken(f"{said}\nreport: {self.folder / PAGE_FILE}", recording)
        return recording


def _wrong(finding: Finding, may_be_unknown: Collection[str]) -> bool:
    if finding.outcome is Outcome.UNKNOWN:
        return finding.judge not in may_be_unknown
    return finding.outcome is not Outcome.PASSED
