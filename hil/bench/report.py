"""How a bench is asked and how it answers: the same options, one table, or one JSON object."""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
from rich.console import Console
from rich.table import Table

from hil.bench.process import BenchError, cleaning_up

WIDE: Final = 150


@dataclass(frozen=True, slots=True)
class Row:
    """One party's figures, by column; `None` is shown as a dash."""

    party: str
    figures: Mapping[str, float | int | str | None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One table: rows side by side, and notes on how to read them."""

    title: str
    rows: Sequence[Row]
    notes: Sequence[str] = ()


def ratio(one: float | None, other: float | None) -> float | None:
    """How many times `other` fits into `one`; None when either is unknown."""
    return one / other if one is not None and other else None


def asker(description: str | None) -> argparse.ArgumentParser:
    """The options that every bench has."""
    found = argparse.ArgumentParser(description=description)
    found.add_argument("--json", action="store_true", help="print one JSON object")
    found.add_argument("--keep", type=Path, help="work in this new folder and keep it")
    return found


def parser(description: str | None, seconds: float) -> argparse.ArgumentParser:
    """The options of a bench that watches each party through a window."""
    found = asker(description)
    found.add_argument("--seconds", type=float, default=seconds, help="window of each party")
    found.add_argument("--warmup", type=float, default=5.0, help="seconds before each window")
    return found


def _shown(value: float | int | str | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else value


def draw(outcome: Outcome, console: Console) -> None:
    """Print a table with its notes."""
    table = Table(title=outcome.title, title_justify="left", header_style="bold", box=None)
    columns = list(dict.fromkeys(key for row in outcome.rows for key in row.figures))
    table.add_column("party")
    for column in columns:
        table.add_column(column, justify="right")
    for row in outcome.rows:
        table.add_row(row.party, *(_shown(row.figures.get(column)) for column in columns))
    console.print(table)
    for note in outcome.notes:
        console.print(f"  {note}", highlight=False)


def as_json(outcomes: Sequence[Outcome]) -> str:
    """All tables as one JSON object."""
    tables: dict[str, Any] = {
        outcome.title: {
            "rows": {row.party: dict(row.figures) for row in outcome.rows},
            "notes": list(outcome.notes),
        }
        for outcome in outcomes
    }
    return json.dumps(tables)


Bench = Callable[[Path, argparse.Namespace, Callable[[str], None]], Awaitable[Sequence[Outcome]]]


def main(bench: Bench, options: argparse.ArgumentParser) -> None:
    """Run a bench in a folder of its own and print what it found; exit status 1 if it could not."""
    given = options.parse_args()
    console = Console(stderr=given.json)
    if not console.is_terminal:
        console = Console(stderr=given.json, width=WIDE)
    folder = given.keep or Path(tempfile.mkdtemp(prefix="hotpair-bench-"))
    folder.mkdir(parents=True, exist_ok=True)

    def progress(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    try:
        outcomes = asyncio.run(_run(bench, folder.resolve(), given, progress))
    except (BenchError, psutil.Error, httpx.HTTPError) as error:
        sys.exit(f"bench: {error or repr(error)}")
    except asyncio.CancelledError:
        sys.exit(128 + signal.SIGTERM)
    finally:
        if given.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    if given.json:
        print(as_json(outcomes))
        return
    for outcome in outcomes:
        draw(outcome, console)


async def _run(
    bench: Bench, folder: Path, given: argparse.Namespace, progress: Callable[[str], None]
) -> Sequence[Outcome]:
    return await cleaning_up(bench(folder, given, progress))
