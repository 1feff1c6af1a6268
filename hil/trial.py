"""A site run for half an hour as a pair: devices and nodes faulted, a foreign client, a judge.

    python -m hil.trial [SITE] [--minutes 30] [--keep FOLDER] [--port-offset N]

Outstations, both nodes and the proxy on their links run as processes of the installed program. A
node-opcua client follows the pair from the start to the end, subscribed to every point at whichever
endpoint is open. At the end both nodes' histories are judged by the truth of the plant, faults of
values included, and compared with one another, with the roles, with the outstations' log of polls,
and with what the client reads back. The printed transcript is what an issue is closed with.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import psutil

from gateway.model import NS_PER_S, format_time
from hil.bench.process import BenchError, Spawned, cleaning_up, node_js
from hil.gateway import ProgramError
from hil.nemesis import Stroke, Struck, drive, read_blows, read_schedule, strike
from hil.pair import Pair, lay_out
from hil.trial_verdict import Judgement, find

WATERWORKS: Final = Path(__file__).parent / "sites" / "waterworks"
CLIENTS: Final = Path(__file__).parent / "bench"
REPORT_S: Final = 30.0
PUBLISHING_MS: Final = 500
EVIDENCE_SHOWN: Final = 10


def say(text: str) -> None:
    """A line of the transcript."""
    print(f"{format_time(time.time_ns())}  {text}", flush=True)


@dataclass(slots=True)
class Trial:
    """What runs, and what was done to it."""

    pair: Pair
    client: Spawned | None = None
    from_ns: int = 0
    struck: list[Struck] = field(default_factory=list)
    watched: dict[int, psutil.Process] = field(default_factory=dict)
    rss_max: dict[str, int] = field(default_factory=dict)


def node_ids(pair: Pair) -> Path:
    """The NodeIds of all readable points, a line each, for the client."""
    ids = [f"ns=2;s={point.id}" for point in pair.plant.points() if point.access.readable]
    path = pair.folder / "nodes.txt"
    path.write_text("\n".join(ids) + "\n")
    return path


async def start(trial: Trial) -> None:
    """Start pair and client. Raises ProgramError, BenchError."""
    pair = trial.pair
    await pair.start()
    say(f"node {(await pair.main()).name} is Main, the other is Standby and has caught up")
    ends = ",".join(node.endpoint for node in pair.nodes.values())
    command = node_js(CLIENTS / "follower.js", ends, node_ids(pair), PUBLISHING_MS)
    trial.client = Spawned("client", command, pair.folder)
    await trial.client.start()
    heard = await trial.client.hear("monitored")
    say(f"node-opcua client subscribed to {heard['monitored']} points at {ends}")
    trial.from_ns = time.time_ns()


async def stop(trial: Trial) -> None:
    """End everything."""
    if trial.client is not None:
        await trial.client.stop()
    began = time.monotonic()
    statuses = await trial.pair.stop()
    said = ", ".join(f"node {name} with status {status}" for name, status in statuses.items())
    say(f"stopped: {said or 'no node'} in {time.monotonic() - began:.2f} s")


# ------------------------------------------------------------------------------ while it runs


def tell(stroke: Stroke, answer: Mapping[str, Any]) -> None:
    """A fault of a device in the transcript."""
    words = " ".join(f"{key}={value}" for key, value in stroke.message.items())
    say(f"fault: {words}" + ("" if answer.get("ok") else f"  REFUSED: {answer.get('error')}"))


def tell_blow(trial: Trial, item: Struck | str) -> None:
    """What is done to the pair, and what came of it, in the transcript."""
    if isinstance(item, str):
        say(f"pair: {item}")
        return
    trial.struck.append(item)
    if item.failed:
        say(f"pair: {item.blow}: FAILED: {item.failed}")
        return
    switched = f"{item.switch}; " if item.switch is not None else ""
    say(f"pair: {switched}whole again, one Main, journals equal")


def machine(trial: Trial) -> str:
    """CPU and memory of both nodes since the last look."""
    words = []
    for name, node in trial.pair.nodes.items():
        if not node.program.running:
            words.append(f"{name} down")
            continue
        process = trial.watched.setdefault(node.program.pid, psutil.Process(node.program.pid))
        try:
            cpu, rss = process.cpu_percent(), process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
        trial.rss_max[name] = max(trial.rss_max.get(name, 0), rss)
        words.append(f"{name} {cpu:.0f} % CPU {rss / 1e6:.0f} MB")
    return ", ".join(words)


async def watch(trial: Trial, minutes: float) -> None:
    """A line each half minute: roles, devices, lag, CPU, memory, what the client saw."""
    loop = asyncio.get_running_loop()
    end = loop.time() + minutes * 60
    machine(trial)
    while (left_s := end - loop.time()) > 0:
        await asyncio.sleep(min(REPORT_S, left_s))
        seen = await trial.pair.statuses()
        roles = ", ".join(f"{n} {s['role_shown'] if s else 'silent'}" for n, s in seen.items())
        mains = [status for status in seen.values() if status and status["role"] == "main"]
        shown = "no Main"
        if mains:
            devices = mains[0]["devices"].items()
            down = [name for name, device in devices if device["state"] != "up"]
            pull = mains[0]["replication"]["sending"]
            shown = (
                f"down: {', '.join(down) or 'none'}; Standby {pull['samples_behind']} samples, "
                f"{pull['lag_ms']:.0f} ms behind"
            )
        assert trial.client is not None
        heard = await trial.client.ask("report", "values")
        p50, p95, away = heard["age_p50_ms"], heard["age_p95_ms"], heard["switches"]
        moved = f", changed endpoint after {away} ms without values" if away else ""
        say(
            f"{roles}; {shown}; {machine(trial)}; "
            f"client got {heard['values']} values, age p50/p95 {p50}/{p95} ms{moved}"
        )


async def run_faults(trial: Trial, site: Path) -> None:
    """Everything that `faults.yaml` says, to devices and nodes."""
    text = (site / "faults.yaml").read_text()
    await asyncio.gather(
        drive(read_schedule(text), trial.pair.rig_socket, tell),
        strike(read_blows(text), trial.pair, lambda item: tell_blow(trial, item)),
    )


async def events(trial: Trial) -> None:
    """What the nodes themselves said about the run."""
    main = await trial.pair.main()
    span = {"from": trial.pair.born_ns, "to": time.time_ns()}
    found = await main.control.get("/events", **span)
    say(f"the nodes told {len(found)} events:")
    for event in found:
        say(f"    {event['time']} [{event['severity']}] {event['source']}: {event['text'][:160]}")
    for reign in (await main.control.get("/roles", limit=1000))["reigns"]:
        to = reign["to"] or "now"
        say(
            f"    Main was {reign['node']} from {reign['from']} to {to}, term {reign['term']}: "
            f"{reign['why']}; ended: {reign['ended'] or 'it lasts'}"
        )


# ------------------------------------------------------------------------------ the verdict


async def read_back(trial: Trial, to_ns: int, stored: int) -> bool:
    """Read the whole history with the client of the other vendor, and count."""
    begin, end = format_time(trial.pair.born_ns - NS_PER_S), format_time(to_ns)
    nodes, endpoint = trial.pair.folder / "nodes.txt", (await trial.pair.main()).endpoint
    command = node_js(CLIENTS / "history_reader.js", endpoint, nodes, begin, end, 0, 100)
    reader = Spawned("history", command, trial.pair.folder)
    await reader.start()
    try:
        found = await reader.hear("seconds", 300)
    finally:
        await reader.stop()
    rate = found["values"] / found["seconds"]
    say(
        f"node-opcua HistoryRead: {found['values']} values in {found['calls']} calls, "
        f"{rate:.0f} values/s, {found['unordered']} out of order, {found['same_time']} of equal "
        f"time, {found['refused']} refused; the journal holds {stored} for the same time"
    )
    return bool(found["values"] == stored and not found["unordered"] and not found["refused"])


def conclude(trial: Trial, found: Judgement, read: bool) -> bool:
    """The verdict in the transcript; whether all of it is as it must be."""
    for (device, cause), length_s in sorted(found.declared_s.items()):
        say(f"declared: {device} {cause} {length_s:.1f} s (all scan classes together)")
    for (device, state), length_s in sorted(found.states_s.items()):
        say(f"windback: {device} {length_s:.1f} s {state} (all scan classes together)")
    say(f"windback: {found.wound_back} samples from the devices' logs speak in history; "
        f"{len(found.missed)} stretches are empty though a log still holds some of it")  # fmt: skip
    for stretch in found.missed[:EVIDENCE_SHOWN]:
        say(f"    {stretch}")
    for struck in trial.struck:
        if struck.switch is not None:
            say(f"took over: {struck.switch.kind}: {struck.switch.took_ms} ms")
    for name, rss in sorted(trial.rss_max.items()):
        say(f"memory: node {name} never used more than {rss / 1e6:.0f} MB")
    say(f"polls: {found.polls} in the outstations' log; {len(found.strays)} turns that no reign")
    say(f"    explains, {len(found.doubled)} requests while the other node's was open")
    for text in (*found.strays, *found.doubled, *found.unlike)[:EVIDENCE_SHOWN]:
        say(f"    {text}")
    same = "give the same history" if not found.unlike else "DON'T give the same history"
    say(f"journals: equal by digest; both nodes {same}")
    good = read and not (found.strays or found.doubled or found.unlike or found.missed)
    for name, verdict in found.verdicts.items():
        share = 100 * verdict.collected / verdict.expected if verdict.expected else 0.0
        say(
            f"VERDICT on node {name}: {verdict.expected} scan instants, {verdict.collected} right "
            f"({share:.3f} %), {verdict.declared} in declared gaps, {verdict.missing} missing"
        )
        for item in verdict.evidence[:EVIDENCE_SHOWN]:
            say(f"    {item}")
        good = good and verdict.passed
    return good and not any(struck.failed for struck in trial.struck)


async def trial(site: Path, minutes: float, folder: Path, offset: int) -> int:
    """Run it all; the exit status is 0 when nothing is missing and nothing was polled twice."""
    running = Trial(lay_out(site, folder, offset))
    say(f"site {running.pair.plant.site}: {len(running.pair.plant.devices)} devices, a pair, "
        f"{minutes:g} minutes")  # fmt: skip
    try:
        await start(running)
        faults = asyncio.create_task(run_faults(running, site))
        await watch(running, minutes)
        if faults.done():
            await faults
        faults.cancel()
        await asyncio.gather(faults, return_exceptions=True)
        await running.pair.until_paired()
        await events(running)
        splits = [struck.split for struck in running.struck if struck.split is not None]
        found = await find(running.pair, running.from_ns, splits)
        read = await read_back(running, found.to_ns, found.stored)
        good = conclude(running, found, read)
    finally:
        await stop(running)
    missing = {name: verdict.missing for name, verdict in found.verdicts.items()}
    say("PASSED" if good else "FAILED")
    print(json.dumps({"passed": good, "missing": missing}))
    return 0 if good else 1


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m hil.trial", description=__doc__)
    parser.add_argument("site", nargs="?", type=Path, default=WATERWORKS)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--keep", type=Path, help="working folder, kept afterwards")
    parser.add_argument("--port-offset", type=int, default=0)
    options = parser.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp(prefix="hotpair-trial-"))
    try:
        work = trial(options.site, options.minutes, folder, options.port_offset)
        return asyncio.run(cleaning_up(work))
    except (ProgramError, BenchError, httpx.HTTPError) as error:
        print(f"hotpair: {error}", file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM
    finally:
        if options.keep is None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
