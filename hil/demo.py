"""`hotpair demo`: a small plant, a pair, its faults, and the judge, in one command on loopback.

Outstations, both nodes and a proxy on their links run as programs, as they would in a plant. This
one kills, hands over and cuts, and looks through the doors that everybody has. At the end it counts
in both nodes' history, for each scan instant of each point, whether history gives the value that
the plant held, or a declared gap says why not.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
from rich.console import Console
from rich.live import Live

from gateway.model import (
    NS_PER_MS,
    NS_PER_S,
    Gap,
    GapState,
    HistoryRow,
    Origin,
    Value,
    format_time,
)
from hil.demo_page import open_pages
from hil.demo_view import BAR_S, Seen, draw
from hil.gateway import ProgramError, Reader
from hil.judges import Judged, Row, Verdict, judge
from hil.outstation.control import send
from hil.pair import Pair, PairNode, lay_out
from hil.recording import Switch
from hil.runs import judged

SITE: Final = Path(__file__).parent / "sites" / "demo"
BASE_PORT: Final = 4840
RENEW_S: Final = 0.5
PAUSE_MAX_S: Final = 4.0
PAUSE_MIN_S: Final = 1.0
PAUSES: Final = 15
"""A run is as long as so many pauses between its acts."""
SPLIT_PAUSES: Final = 1.5
OUT: Final = "plc1"
OUTAGE_S: Final = 3.0
WINDBACK_S: Final = 30.0
"""How long the gaps may take to be filled."""
WIDE: Final = 160
"""Characters of a line in a pipe."""
GAPS_SHOWN: Final = 12
EVIDENCE_SHOWN: Final = 20


@dataclass(slots=True)
class Story:
    """What was done to the pair, and how long it took."""

    takeover: Switch | None = None
    changeover: Switch | None = None
    split: Switch | None = None


@dataclass(slots=True)
class Findings:
    """What both nodes know at the end, and what the judge says of it."""

    verdicts: dict[str, Verdict] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)
    reigns: list[dict[str, Any]] = field(default_factory=list)
    journals_equal: bool = False
    histories_equal: bool = False
    wound_back: int = 0
    """Samples of the Main's history that devices logged while nobody polled."""

    def gaps_in(self, *states: GapState) -> int:
        """How many gaps ended so."""
        return sum(gap.state in states for gap in self.gaps)

    def total(self, count: str) -> int:
        """A count over both nodes' verdicts."""
        return sum(getattr(found, count) for found in self.verdicts.values())

    @property
    def evidence(self) -> list[str]:
        """What is missing, and where."""
        return [
            f"node {name}: {item}"
            for name, found in self.verdicts.items()
            for item in found.evidence[:EVIDENCE_SHOWN]
        ]


# ------------------------------------------------------------------------------------- the acts


async def play(pair: Pair, story: Story, say: Callable[[str], None], pause_s: float) -> None:
    """Do to the pair, once each, what happens to pairs. Raises ProgramError."""

    async def unplugged() -> None:
        say(f"{OUT} is unreachable for {OUTAGE_S:g} s")
        fault = {"fault": "refuse", "device": OUT, "seconds": OUTAGE_S}
        answer = await send(pair.rig_socket, fault)
        if not answer.get("ok"):
            raise ProgramError(f"the rig refused {fault}: {answer.get('error')}")
        await asyncio.sleep(OUTAGE_S)
        await pair.until_up(OUT)
        say(f"{OUT} is back: its own log has what nobody polled")

    async def killed() -> None:
        left = await pair.main()
        say(f"kill -9 of node {left.name}, the Main")
        story.takeover = await pair.kill_main()
        say(str(story.takeover))
        await asyncio.sleep(pause_s)
        say(f"node {left.name} is started again")
        await left.start()
        await pair.until_paired()
        say(f"node {left.name} is Standby and has caught up")

    async def handed_over() -> None:
        say("hotpair changeover")
        story.changeover = await pair.changeover()
        await pair.until_paired()
        say(str(story.changeover))

    async def split() -> None:
        main = await pair.main()
        say("all links between the nodes are cut")
        cut_ns = time.time_ns()
        await pair.cut()
        story.split = await pair.fresh("links cut", main, cut_ns)
        await pair.until_mains()
        say(f"{story.split}: Main-Main, both poll")
        await asyncio.sleep(pause_s * SPLIT_PAUSES)
        await pair.heal()
        say("the links are healed")
        await pair.until_paired()
        say(f"node {(await pair.main()).name} stays Main, the other is Standby")
        await pair.until_equal()
        say("both journals are equal, with what both nodes collected")

    for act in (unplugged, killed, handed_over, split):
        await asyncio.sleep(pause_s)
        await act()


async def run_acts(
    pair: Pair, story: Story, say: Callable[[str], None], seconds: float | None
) -> None:
    """The acts, and then the plant goes on until the time is over or Ctrl-C comes."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    end_s = None if seconds is None else loop.time() + seconds
    pause_s = PAUSE_MAX_S
    if seconds is not None:
        pause_s = min(PAUSE_MAX_S, max(PAUSE_MIN_S, seconds / PAUSES))
    playing = asyncio.create_task(play(pair, story, say, pause_s))
    waiting = asyncio.create_task(ended.wait())
    try:
        await asyncio.wait({playing, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if playing.done():
            await playing
            left_s = None if end_s is None else max(0.0, end_s - loop.time())
            await asyncio.wait({waiting}, timeout=left_s)
    finally:
        for task in (playing, waiting):
            task.cancel()
        await asyncio.gather(playing, waiting, return_exceptions=True)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
    if not playing.cancelled():
        return
    say("ended early: the pair is made whole")
    await pair.heal()
    for node in pair.nodes.values():
        if not node.program.running:
            await node.start()
    await pair.until_paired()


# ------------------------------------------------------------------------------------- the view


async def look(pair: Pair, seen: Seen) -> None:
    """Look at both nodes, and at the plant through the one that is Main."""
    now_ns = time.time_ns()
    seen.note(now_ns, await pair.statuses())
    if not seen.told:
        return
    control = pair.nodes[seen.told["node"]].control
    try:
        seen.points = await control.get("/points")
        seen.gaps = await control.gaps(now_ns - BAR_S * NS_PER_S, now_ns)
    except httpx.HTTPError:
        return  # it was killed between two questions: the next look finds the other


async def watch(pair: Pair, seen: Seen, console: Console, quiet: bool) -> None:
    """Show the pair until cancelled."""
    with Live(console=console, auto_refresh=False, transient=False) as screen:
        while True:
            await look(pair, seen)
            if not quiet:
                screen.update(draw(seen, time.time_ns()), refresh=True)
            await asyncio.sleep(RENEW_S)


# ---------------------------------------------------------------------------------- the verdict


async def find(pair: Pair) -> Findings:
    """Read both histories and judge them: the Main's as a client of its endpoint reads it.

    A Standby's endpoint is closed; its history comes by its local interface. Raises ProgramError.
    """
    found = Findings()
    await pair.until_paired()
    to_ns = time.time_ns()
    main = await pair.main()
    await pair.until_complete(to_ns)
    await pair.until_filled(pair.paired_ns, to_ns, WINDBACK_S)
    await pair.until_equal()
    found.journals_equal = True
    points = judged(pair.plant)
    gaps = {n.name: await n.control.gaps(pair.paired_ns, to_ns) for n in pair.nodes.values()}
    rows: dict[str, dict[str, list[Row]]] = {}
    for node in pair.nodes.values():
        rows[node.name] = await _rows(node, points, pair.born_ns, to_ns)
        found.verdicts[node.name] = judge(
            points, rows[node.name], gaps[node.name], pair.paired_ns, to_ns
        )
    served = await _served(main, pair.namespace, points, pair.born_ns, to_ns)
    found.verdicts[main.name] = judge(points, served, gaps[main.name], pair.paired_ns, to_ns)
    found.histories_equal = rows["a"] == rows["b"] and gaps["a"] == gaps["b"]
    found.gaps = gaps[main.name]
    found.wound_back = sum(
        isinstance(row, HistoryRow) and row.origin is Origin.WINDBACK
        for of_point in rows[main.name].values()
        for row in of_point
    )
    found.reigns = (await main.control.get("/roles"))["reigns"]
    return found


async def _rows(
    node: PairNode, points: Sequence[Judged], from_ns: int, to_ns: int
) -> dict[str, list[Row]]:
    return {p.id: list(await node.control.history(p.id, from_ns, to_ns)) for p in points}


async def _served(
    node: PairNode, namespace: str, points: Sequence[Judged], from_ns: int, to_ns: int
) -> dict[str, list[tuple[int, Value, int]]]:
    async with Reader(node.endpoint, namespace) as reader:
        return {p.id: await reader.history(p.id, from_ns, to_ns) for p in points}


def report(found: Findings, story: Story, endpoint: str) -> dict[str, Any]:
    """What the last line of `--json` says. Counts are those of both nodes' histories together."""

    def took(switch: Switch | None) -> int | None:
        return switch.took_ms if switch is not None else None

    return {
        "expected": found.total("expected"),
        "collected": found.total("collected"),
        "declared": found.total("declared"),
        "missing": found.total("missing"),
        "takeover_ms": took(story.takeover),
        "changeover_ms": took(story.changeover),
        "split_ms": took(story.split),
        "wound_back": found.wound_back,
        "lost": found.gaps_in(GapState.LOST),
        "open": found.gaps_in(GapState.OPEN, GapState.FILLING),
        "journals_equal": found.journals_equal,
        "histories_equal": found.histories_equal,
        "roles": [
            {key: reign[key] for key in ("node", "term", "from", "to", "why", "ended")}
            for reign in found.reigns
        ],
        "endpoint": endpoint,
        "evidence": found.evidence[:EVIDENCE_SHOWN],
    }


def tell(found: Findings, console: Console) -> None:
    """The verdict for people."""
    for reign in found.reigns:
        to = reign["to"][11:23] if reign["to"] else "now"
        why = f"{reign['why']}; ended: {reign['ended'] or 'it lasts'}"
        console.print(f"Main was {reign['node']} {reign['from'][11:23]} to {to}: {why}")
    for gap in sorted(found.gaps, key=lambda gap: gap.from_ns)[:GAPS_SHOWN]:
        length_ms = (gap.to_ns - gap.from_ns) // NS_PER_MS
        where = f"{gap.device} ({gap.scan_class})"
        console.print(
            f"gap {format_time(gap.from_ns)[11:23]} {length_ms} ms: {where} {gap.cause.value}, "
            f"{gap.state.value}"
        )
    more = len(found.gaps) - GAPS_SHOWN
    if more > 0:
        console.print(f"and {more} more gaps")
    states = ", ".join(f"{found.gaps_in(s)} {s}" for s in GapState if found.gaps_in(s)) or "none"
    console.print(f"gaps: {states}; {found.wound_back} samples were wound back from devices' logs")
    equal = "equal by their digests" if found.journals_equal else "NOT EQUAL"
    same = "the same samples and gaps" if found.histories_equal else "NOT the same history"
    console.print(f"journals: {equal}; both nodes give {same}")
    for name, one in found.verdicts.items():
        share = 100 * one.collected / one.expected if one.expected else 0.0
        console.print(
            f"node {name}: {one.expected} scan instants: {one.collected} right ({share:.2f} %), "
            f"{one.declared} in declared gaps, {one.missing} missing"
        )
    for line in found.evidence[:EVIDENCE_SHOWN]:
        console.print(f"  {line}", style="red")


async def demo(seconds: float | None, as_json: bool, base_port: int, keep: Path | None) -> int:
    """Run it all; the exit status is 0 when nothing is missing and both nodes are equal."""
    console = Console(stderr=as_json, markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(stderr=as_json, markup=False, emoji=False, width=WIDE)
    folder = keep or Path(tempfile.mkdtemp(prefix="hotpair-demo-"))
    story = Story()
    try:
        console.print("outstations, node a and node b are starting")
        pair = lay_out(SITE, folder, base_port - BASE_PORT)
        page = await open_pages(folder, base_port - BASE_PORT)
        await pair.start()
        try:
            found = await _shown(pair, story, str(page), seconds, console, as_json)
            endpoint = (await pair.main()).endpoint
        finally:
            await pair.stop()
    except ProgramError as error:
        console.print(f"hotpair: {error}", style="red", soft_wrap=True)
        return 1
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    if as_json:
        print(json.dumps(report(found, story, endpoint)))
    else:
        console.print()
        tell(found, console)
    return 0 if found.total("missing") == 0 and found.histories_equal else 1


async def _shown(
    pair: Pair,
    story: Story,
    page: str,
    seconds: float | None,
    console: Console,
    quiet: bool,
) -> Findings:
    """The acts under the view, then the verdict. Raises ProgramError."""
    seen = Seen(pair.paired_ns, page)

    def say(text: str) -> None:
        seen.happened.append(f"{format_time(time.time_ns())[11:23]}  {text}")
        if quiet or not console.is_terminal:
            console.print(seen.happened[-1], soft_wrap=True)

    ends = " and ".join(node.endpoint for node in pair.nodes.values())
    console.print(
        f"{page}.\nOPC UA endpoints {ends}: the Main's is open "
        f"(no encryption, no users: loopback only). Logs and data: {pair.folder}. Ctrl-C ends it.",
        soft_wrap=True,
    )
    watching = asyncio.create_task(watch(pair, seen, console, quiet))
    try:
        await run_acts(pair, story, say, seconds)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    return await find(pair)
