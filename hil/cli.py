"""What `hotpair outstation` runs: one outstation from a profile, or a whole site."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from gateway.errors import ConfigError
from gateway.memory import settle_memory
from gateway.model import NS_PER_S
from hil.outstation.control import ControlServer
from hil.outstation.polls import PollLog
from hil.outstation.rig import OutstationRig
from hil.plant import Plant, PlantLine, modbus_device
from hil.settings import Rig, SiteError
from hil.site import find_profile, load_site, serial_ports
from profiles.schema import Profile
from profiles.windback import Ring

TRANSPORTS: Final = ("tcp", "tls", "udp", "rtu_over_tcp", "rtu")
Ready = Callable[[OutstationRig], Awaitable[None]]


class Listen(NamedTuple):
    """`tcp:127.0.0.1:5020`, `rtu:/dev/pts/3`: where one outstation listens."""

    transport: str
    host: str
    port: int
    path: Path | None


def parse_listen(text: str) -> Listen:
    """Read `--listen`. Raises SiteError that tells what to write."""
    transport, _, place = text.partition(":")
    if transport not in TRANSPORTS or not place:
        raise SiteError(f"{text}: write tcp:127.0.0.1:5020 or rtu:/dev/ttyUSB0")
    if transport == "rtu":
        return Listen(transport, "", 0, Path(place))
    host, _, port = place.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise SiteError(f"{text}: write host and port, such as {transport}:127.0.0.1:5020")
    return Listen(transport, host, int(port), None)


def profile_plant(
    profile: Profile, listen: Listen, unit: int = 1, seed: int = 0, change: float = 0.05
) -> Plant:
    """A plant of one device that holds a profile's points."""
    rig = Rig(seed=seed, change=change)
    line = PlantLine("line", listen.transport, (listen.host,), listen.port)
    points, windback = completed(profile)
    settings = {"unit_id": unit} | ({"windback": windback} if windback else {})
    periods = {"normal": NS_PER_S}
    device = modbus_device("device", settings, points, profile, line, rig, periods)
    return Plant(profile.profile, {line.name: line}, {device.name: device}, rig)


def completed(profile: Profile) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a profile leaves to the site, so that its log can be shown: (points, `windback:`).

    Two float32 points at holding registers 40001 and 40003 where it has none, all its logs with two
    columns, a ring at 1000 with a record a second.
    """
    method = profile.windback
    if method is None or not method.lacking():
        return {}, {}
    points: dict[str, Any] = {}
    if not profile.points:
        points = {
            name: {"address": at, "type": "float32"}
            for at, name in (("40001", "v1"), ("40003", "v2"))
        }
    columns = list(points or profile.points)[:2]
    if isinstance(method, Ring):
        return points, {"address": 1000, "columns": columns, "resolution": "1s"}
    ids = [log.id for log in method.logs] or ["log1"]
    logs = [{"id": name, "select": at, "columns": columns} for at, name in enumerate(ids, start=1)]
    return points, {"logs": logs, "resolution": "1s"}


async def run_profile(
    profile: str,
    listen: str,
    unit: int = 1,
    *,
    control: Path | None = None,
    log: Path | None = None,
    seconds: float | None = None,
    seed: int = 0,
    change: float = 0.05,
    ready: Ready | None = None,
) -> None:
    """Run one outstation until SIGINT, SIGTERM, or `seconds` have passed.

    `ready` is awaited once every port is open. Raises SiteError, ConfigError, OSError.
    """
    place = parse_listen(listen)
    plant = profile_plant(find_profile(profile), place, unit, seed, change)
    ports = {"line": [place.path]} if place.path is not None else {}
    await run_rig(OutstationRig(plant, ports, PollLog(log)), control, seconds, ready)


async def run_site(
    site: Path,
    nodes: Sequence[Path] = (),
    *,
    control: Path | None = None,
    log: Path | None = None,
    seconds: float | None = None,
    port_offset: int = 0,
    ready: Ready | None = None,
) -> None:
    """Run all outstations of a site until SIGINT, SIGTERM, or `seconds` have passed.

    `nodes` name the serial ports. Raises SiteError, ConfigError, OSError.
    """
    plant = load_site(site, port_offset)
    state_dir = site.parent / "run" / "pki"
    rig = OutstationRig(plant, serial_ports(*nodes), PollLog(log), state_dir, site.parent)
    await run_rig(rig, control, seconds, ready)


async def run_rig(
    rig: OutstationRig,
    control: Path | None = None,
    seconds: float | None = None,
    ready: Ready | None = None,
) -> None:
    """Start a rig, serve its control socket, wait for the end, and stop it."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Not the main thread (a test): whoever runs us cancels us instead.
        with contextlib.suppress(ValueError, RuntimeError):
            loop.add_signal_handler(number, ended.set)
    server = ControlServer(control, rig.command) if control is not None else None
    flusher = None
    try:
        await rig.start()
        if server is not None:
            await server.open()
        flusher = asyncio.create_task(rig.flush_for_ever())
        if ready is not None:
            await ready(rig)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await ended.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(ValueError, RuntimeError):
                loop.remove_signal_handler(number)
        if flusher is not None:
            flusher.cancel()
        if server is not None:
            await server.close()
        await rig.stop()


def outstation(
    profile: str,
    listen: str,
    unit: int,
    site: Path | None,
    nodes: Sequence[Path],
    control: Path | None,
    log: Path | None,
    seconds: float | None,
) -> int:
    """`hotpair outstation`; the exit status."""

    async def ready(rig: OutstationRig) -> None:
        settle_memory()
        devices = ", ".join(sorted(rig.plant.devices))
        print(f"hotpair: outstations ready: {devices}", flush=True)

    if bool(profile) == (site is not None):
        print("hotpair: give a profile, or --site site.yaml", file=sys.stderr)
        return 2
    gc.disable()  # as a node: a third of the start of an OPC UA outstation would go by over garbage
    try:
        if site is not None:
            run = run_site(site, nodes, control=control, log=log, seconds=seconds, ready=ready)
        else:
            run = run_profile(
                profile, listen, unit, control=control, log=log, seconds=seconds, ready=ready
            )
        asyncio.run(run)
    except (SiteError, ConfigError, OSError) as error:
        print(f"hotpair: {error}", file=sys.stderr)
        return 1
    finally:
        gc.enable()
    return 0
