"""`python -m tests.simulation SEED...`: replay seeds with their log, or run many of them."""

from __future__ import annotations

import argparse
import sys
import time
from multiprocessing import Pool
from pathlib import Path

from tests.simulation.world import World

KEPT = Path(__file__).with_name("seeds.txt")
SHOWN_MAX = 20


def outcome(seed: int) -> tuple[int, list[str]]:
    """What a seed breaks."""
    try:
        return seed, World(seed).run()
    except Exception as error:  # a bug of the world or of what lives in it: the seed tells which
        return seed, [f"{type(error).__name__}: {error}"]


def seeds_of(text: str) -> list[int]:
    """`17`, `1-300`, or `1,5,9`."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def kept_seeds() -> list[int]:
    """The seeds that failed once, in the order of their numbers."""
    lines = KEPT.read_text().splitlines() if KEPT.exists() else []
    return sorted(int(line.split()[0]) for line in lines if line and not line.startswith("#"))


def keep(seed: int, why: str) -> None:
    """Remember a seed that failed, for ever."""
    if seed not in kept_seeds():
        with KEPT.open("a") as file:
            file.write(f"{seed} {why.splitlines()[0][:90]}\n")


def replay(seed: int) -> int:
    """One seed with its log."""
    world = World(seed, keep_log=True)
    print(world.conditions)
    try:
        world.run()
    finally:
        print("\n".join(world.log))
    print("\n".join(world.problems) or "all promises were kept")
    return 1 if world.problems else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seed", type=int, help="replay this one")
    parser.add_argument("--seeds", default="1-300")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", action="store_true", help="add failures to seeds.txt")
    given = parser.parse_args()
    if given.seed is not None:
        return replay(given.seed)
    began_s = time.monotonic()
    failed = done = 0
    with Pool(given.jobs, maxtasksperchild=200) as pool:
        for seed, problems in pool.imap_unordered(outcome, seeds_of(given.seeds)):
            done += 1
            if done % 1_000 == 0:
                print(f"{done} seeds so far, {failed} failed", flush=True)
            if problems:
                failed += 1
                if failed <= SHOWN_MAX:
                    print(f"seed {seed}: {problems[0]}", flush=True)
                if given.keep:
                    keep(seed, problems[0])
    took_s = time.monotonic() - began_s
    print(f"{done} seeds, {failed} failed, {took_s / max(1, done) * 1000:.0f} ms a seed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
