"""What reading costs: the node beside a bare pymodbus loop and a libmodbus loop in C.

All read the same outstations in blocks of 125 registers each second, one party after the other in
one run, so that each has a core and the outstations have the other.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hil.bench import site as sites
from hil.bench.measure import Usage, watch
from hil.bench.process import (
    HERE,
    BenchError,
    Spawned,
    compile_c,
    free_port,
    hotpair,
    python,
)
from hil.bench.report import Outcome, Row, main, parser, ratio
from hil.gateway import Control

START_S: Final = 600.0
PERIOD_S: Final = 1.0
LOOK_S: Final = 0.02
Count = Callable[[], Awaitable[tuple[int, ...]]]


@dataclass(frozen=True, slots=True)
class Case:
    """So many outstations of so many registers, of which a share changes each second."""

    name: str
    outstations: int
    registers: int
    change: float

    def __str__(self) -> str:
        size = f"{self.outstations} outstations × {self.registers} registers"
        return f"acquire, {self.name}: {size} at {PERIOD_S:g} s, {self.change:.0%} changing"


@dataclass(frozen=True, slots=True)
class Measured:
    """What one party did in its window."""

    party: str
    usage: Usage
    scans: int
    late: int
    kept: int | None = None


async def between_scans(count: Count) -> None:
    """Wait for the middle of the pause between two rounds, so that a window holds whole ones.

    Gives up after two periods: the scans of a party that staggers them never pause together.
    """
    first = await count()
    for _ in range(int(2 * PERIOD_S / LOOK_S)):
        if await count() != first:
            break
        await asyncio.sleep(LOOK_S)
    await asyncio.sleep(PERIOD_S / 2)


async def window(party: str, spawned: Spawned, seconds: float, count: Count) -> Measured:
    """Measure a running party; `count` gives (scans, late scans, samples kept) so far."""
    await between_scans(count)
    before = await count()
    usage = (await watch({party: spawned.pid}, seconds))[party]
    after = await count()
    scans, late, *kept = (b - a for a, b in zip(before, after, strict=True))
    return Measured(party, usage, scans, late, kept[0] if kept else None)


async def gateway(
    case: Case, folder: Path, ports: list[int], given: argparse.Namespace
) -> Measured:
    """The node, its OPC UA endpoint open, no client."""
    place = sites.write(folder / f"hotpair-{case.name}", ports, case.registers, free_port())
    node = Spawned("hotpair", hotpair("run", "node.yaml"), place.folder)
    control = Control(place.data_dir)

    async def count() -> tuple[int, ...]:
        devices = (await control.get("/status"))["devices"].values()
        keys = ("scans", "overruns", "samples")
        return tuple(sum(device[key] for device in devices) for key in keys)

    try:
        await node.start()
        await node.hear("text", START_S, "is Main")
        await asyncio.sleep(given.warmup)
        return await window("hotpair", node, given.seconds, count)
    finally:
        await control.close()
        await node.stop()


async def loop(
    party: str, command: Sequence[object], folder: Path, case: Case, given: argparse.Namespace
) -> Measured:
    """A loop that prints the scans it completed after each cycle."""
    spawned = Spawned(party, [str(part) for part in command], folder)

    async def count() -> tuple[int, ...]:
        if not spawned.running:
            raise BenchError(f"{party} ended:\n{spawned.last_words()}")
        return (spawned.latest["scans"], spawned.latest["late"])

    async with spawned:
        await spawned.hear("scans")
        await asyncio.sleep(given.warmup)
        return await window(party, spawned, given.seconds, count)


def row(found: Measured, case: Case, hotpair_us: float | None) -> Row:
    """A line of the table. `due` counts the periods that fit into the window."""
    us = found.usage.per(found.scans * case.registers)
    seconds = found.usage.seconds
    figures = {
        "CPU % of a core": found.usage.cpu_percent,
        "CPU µs / register": us,
        "hotpair / this": ratio(hotpair_us, us),
        "RSS MB": found.usage.rss_mb,
        "registers / s": found.scans * case.registers / seconds,
        "scans done": found.scans,
        "scans due": round(case.outstations * seconds / PERIOD_S),
        "late": found.late,
        "samples kept / s": None if found.kept is None else found.kept / seconds,
    }
    return Row(found.party, figures)


async def measure(
    case: Case, folder: Path, given: argparse.Namespace, progress: Callable[[str], None]
) -> Outcome:
    """All parties on one set of outstations."""
    settings = ("--outstations", case.outstations, "--registers", case.registers)
    changing = ("--change", case.change, "--period", PERIOD_S)
    field = Spawned("outstations", python("hil.bench.outstations", *settings, *changing), folder)
    program = compile_c(HERE / "bare_loop.c", folder, "-I/usr/include/modbus", "-lmodbus")
    async with field:
        ports: list[int] = (await field.hear("ports"))["ports"]
        listed = folder / f"ports-{case.name}"
        listed.write_text("\n".join(map(str, ports)) + "\n")
        bare = python("hil.bench.bare_loop", "--ports", listed, "--registers", case.registers)
        in_c = [program, listed, case.registers, int(1000 * PERIOD_S)]
        progress(f"{case}: hotpair")
        ours = await gateway(case, folder, ports, given)
        progress(f"{case}: pymodbus")
        python_loop = await loop("pymodbus", bare, folder, case, given)
        progress(f"{case}: libmodbus")
        c_loop = await loop("libmodbus", in_c, folder, case, given)
    us = ours.usage.per(ours.scans * case.registers)
    parties = (ours, python_loop, c_loop)
    notes = (
        "The loops read and forget; hotpair also keeps each change durably and serves it.",
        "Changing registers lie spread over the whole map.",
    )
    return Outcome(str(case), [row(found, case, us) for found in parties], notes)


async def bench(
    folder: Path, given: argparse.Namespace, progress: Callable[[str], None]
) -> list[Outcome]:
    """Both cases: a large site that hardly changes, and one small device that changes whole."""
    cases = (
        Case("large", given.outstations, given.registers, given.change),
        Case("small", 1, 1000, 1.0),
    )
    wanted = [case for case in cases if given.case in (case.name, "both")]
    return [await measure(case, folder, given, progress) for case in wanted]


if __name__ == "__main__":
    options = parser(__doc__, seconds=30)
    options.add_argument("--case", choices=("large", "small", "both"), default="both")
    options.add_argument("--outstations", type=int, default=100)
    options.add_argument("--registers", type=int, default=1000, help="of each outstation")
    options.add_argument("--change", type=float, default=0.01, help="share that changes a second")
    main(bench, options)
