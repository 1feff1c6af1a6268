"""All outstations of a plant in one process: opened, faulted, powered and closed together."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from gateway.model import NS_PER_S
from hil.outstation.bus import Bus, Outstation
from hil.outstation.faults import KINDS, OPCUA_KINDS, Fault, limited
from hil.outstation.layout import memory_of
from hil.outstation.logs import UNDONE, DeviceLogs
from hil.outstation.opcua import NO_VALUE, Plc
from hil.outstation.plc_nodes import status_of
from hil.outstation.polls import PollLog
from hil.outstation.server import Listener, SerialLine, UdpListener
from hil.outstation.unit import Unit
from hil.plant import Plant, PlantDevice, PlantLine
from hil.runs import Happening
from hil.settings import LogSettings, SiteError

JOURNAL_KEPT: Final = 10_000
CONNECTIONS_MAX: Final = 64
SERIAL_OPTIONS: Final = ("baudrate", "parity", "stopbits", "bytesize")

Port = Listener | UdpListener | SerialLine


class OutstationRig:
    """The emulated field of a site.

    `ports` says where serial lines are: the path that each node will open. A path that is a device
    is opened, any other becomes a link to a pty; the units answer on all of them, as on one cable.
    `state_dir` holds certificates.
    """

    def __init__(
        self,
        plant: Plant,
        ports: Mapping[str, Sequence[Path]] | None = None,
        log: PollLog | None = None,
        state_dir: Path | None = None,
        base_dir: Path | None = None,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.plant = plant
        self.log = log or PollLog()
        self.journal: deque[Happening] = deque(maxlen=JOURNAL_KEPT)
        self.lines: dict[str, list[Port]] = {}
        self.stations: dict[str, Outstation] = {}
        self.plcs: dict[str, Plc] = {}
        self._ports = dict(ports or {})
        self._state_dir = state_dir
        self._base_dir = base_dir or Path()
        self._now_ns = now_ns
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        for name, line in plant.lines.items():
            devices = [
                device
                for device in plant.devices.values()
                if device.line == name and device.name not in plant.rig.absent
            ]
            if devices:
                self._place(line, devices)

    # ------------------------------------------------------------------ building

    def _place(self, line: PlantLine, devices: list[PlantDevice]) -> None:
        if line.transport == "opcua":
            self.plcs[devices[0].name] = self._plc(line, devices[0])
            return
        rig = self.plant.rig
        own = []
        for device in devices:
            fc03 = device.quirks.reads_by_fc03_only
            logs = self._logs_of(device)
            faces = logs.faces if logs is not None else ()
            unit = Unit(memory_of(device, rig), device.identity, fc03, faces)
            latency_ms = rig.latency_ms.get(device.name, 0.0)
            station = Outstation(device.name, device.unit_id, unit, True, None, latency_ms, logs)
            own.append(station)
        self.stations |= {station.name: station for station in own}
        bus = Bus(own, self.log, self._now_ns)
        limits = [rig.max_connections[d.name] for d in devices if d.name in rig.max_connections]
        limit = min(limits, default=CONNECTIONS_MAX)
        evict = any(device.name in rig.evict_oldest for device in devices)
        self.lines[line.name] = self._listeners(line, bus, limit, evict)

    def _logs_of(self, device: PlantDevice) -> DeviceLogs | None:
        if device.windback is None:
            return None
        said = self.plant.rig.logs.get(device.name, LogSettings())
        try:
            return DeviceLogs(device, said, self._now_ns())
        except (SiteError, ValueError) as error:
            raise SiteError(f"device {device.name}: {error}") from error

    def _listeners(self, line: PlantLine, bus: Bus, limit: int, evict: bool) -> list[Port]:
        if line.transport == "rtu":
            paths = self._ports.get(line.name)
            if not paths:
                raise SiteError(f"line {line.name}: no port is named for it (node.yaml `ports:`)")
            return [self._serial(line, bus, path) for path in paths]
        if line.transport == "udp":
            return [UdpListener(bus, host, line.port) for host in line.hosts]
        tls = self._tls(line) if line.transport == "tls" else None
        rtu = line.transport == "rtu_over_tcp"
        return [
            Listener(bus, host, line.port, rtu, tls, limit, evict_oldest=evict)
            for host in line.hosts
        ]

    def _serial(self, line: PlantLine, bus: Bus, path: Path) -> SerialLine:
        if path.is_char_device() and not path.is_symlink():
            settings = {key: line.options[key] for key in SERIAL_OPTIONS if key in line.options}
            return SerialLine(bus, port=str(path), **settings)
        # A pty has neither speed nor parity, and setting a parity on it twice is an error.
        return SerialLine(bus, link=path)

    def _tls(self, line: PlantLine) -> ssl.SSLContext:
        """Modbus/TCP Security: TLS 1.2 or later, and the client shows a certificate, too."""
        files = self.plant.rig.tls
        if "cert" not in files or "key" not in files:
            raise SiteError(f"line {line.name}: rig.yaml names no `tls: {{cert, key, ca}}`")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._base_dir / files["cert"], self._base_dir / files["key"])
        if "ca" in files:
            context.load_verify_locations(self._base_dir / files["ca"])
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _plc(self, line: PlantLine, device: PlantDevice) -> Plc:
        security = device.settings.get("security")
        password = None
        if security and "password" in security:
            password = (self._base_dir / security["password"]["file"]).read_text().strip()
        host, port = line.hosts[0], line.port
        return Plc(
            device.name,
            device.points,
            host,
            port,
            self._now_ns,
            security,
            self._state_dir,
            password,
            self.plant.rig.opcua_history.get(device.name),
            self.log,
        )

    # ------------------------------------------------------------------ life

    async def start(self) -> None:
        """Open every port. What could be opened is closed again when one can't. Raises OSError."""
        try:
            for ports in self.lines.values():
                for port in ports:
                    await port.open()
            for plc in self.plcs.values():
                await plc.start()
        except BaseException:  # a cancelled start too leaves nothing open
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close everything."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for ports in self.lines.values():
            for port in ports:
                await port.close()
        for plc in self.plcs.values():
            await plc.stop()
        self.log.close()

    def endpoints(self) -> dict[str, str]:
        """Where each device is reached."""
        found = {name: plc.endpoint for name, plc in self.plcs.items()}
        for device in self.plant.devices.values():
            for port in self.lines.get(device.line, ())[:1]:
                if device.name in self.stations:
                    place = (
                        port.name if isinstance(port, SerialLine) else f"{port.host}:{port.port}"
                    )
                    found[device.name] = f"{place} unit {device.unit_id}"
        return found

    # ------------------------------------------------------------------ faults and power

    async def set_fault(self, device: str, fault: Fault | None, only: str | None = None) -> None:
        """Begin a fault of one device (None: end it, or `only` that). Raises SiteError."""
        plc, station = self.plcs.get(device), self.stations.get(device)
        if (one := plc or station) is None:
            raise SiteError(f"no outstation named {device} (or it is dead, or real)")
        if only is not None and (one.fault is None or one.fault.kind != only):
            return  # the next fault began in the moment in which this one ends
        self._cancel(device)
        now_ns = self._now_ns()
        kinds = OPCUA_KINDS if plc is not None else KINDS
        if fault is not None and fault.kind not in kinds:
            raise SiteError(f"no fault {fault.kind}; there are {', '.join(sorted(kinds))}")
        if plc is not None and fault is not None:
            status_of(fault, NO_VALUE)  # or nobody must note that it began
        self._note(device, "clear" if fault is None else f"fault {fault.kind}")
        if plc is not None:
            await plc.set_fault(fault)
        elif station is not None:
            station.set_fault(fault, now_ns)
            await self._settle(device)
            if fault is not None and fault.kind == "drop":
                for port in self._line_of(device):
                    port.drop()
        if fault is not None and fault.until_ns is not None:
            delay_s = max(0.0, (fault.until_ns - now_ns) / NS_PER_S)
            loop = asyncio.get_running_loop()
            self._timers[device] = loop.call_later(delay_s, self._run_out, device)

    def _run_out(self, device: str) -> None:
        self._timers.pop(device, None)
        task = asyncio.get_running_loop().create_task(self.set_fault(device, None))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _cancel(self, device: str) -> None:
        timer = self._timers.pop(device, None)
        if timer is not None:
            timer.cancel()

    async def power(self, device: str, on: bool, keep_log: bool = True) -> None:
        """Switch one device off or on. A start forgets written values and faults.

        Without `keep_log` its own log is empty after the start. Its port closes with it, unless
        other units of the line still have power.
        """
        self._cancel(device)
        self._note(device, "power on" if on else "power off")
        if device in self.plcs:
            await self.plcs[device].power(on)
            return
        station = self._station(device)
        station.power(on, self._now_ns(), keep_log)
        await self._settle(device)

    def disturb(self, device: str, what: str, options: Mapping[str, Any]) -> None:
        """Disturb the logs of a device; with `seconds` what lasts ends by itself.

        Raises SiteError, KeyError, TypeError and ValueError for what can't be done.
        """
        logs, rest = self._logs(device), dict(options)
        seconds = rest.pop("seconds", None)
        logs.disturb(what, rest, self._now_ns())
        self._note(device, f"log {what}")
        if seconds is not None and what in UNDONE:
            key = f"{device} {what}"
            self._cancel(key)
            loop = asyncio.get_running_loop()
            self._timers[key] = loop.call_later(float(seconds), self._undo, device, what)

    def _undo(self, device: str, what: str) -> None:
        self._timers.pop(f"{device} {what}", None)
        self.disturb(device, UNDONE[what], {})

    def set_clock(self, device: str, said: Mapping[str, Any]) -> None:
        """Let the clock of a device with a log run otherwise. Raises SiteError, ValueError."""
        self._logs(device).set_clock(said, self._now_ns())
        self._note(device, "clock " + " ".join(f"{key} {value}" for key, value in said.items()))

    def recorded(self, device: str, from_ns: int, to_ns: int, at_ns: int) -> dict[str, Any]:
        """Truth of the logs of a device: what they held at `at_ns` of [from, to)."""
        return self._logs(device).recorded(from_ns, to_ns, at_ns)

    def _logs(self, device: str) -> DeviceLogs:
        logs = self._station(device).logs
        if logs is None:
            raise SiteError(f"{device} keeps no log")
        return logs

    async def reset(self, device: str) -> None:
        """Forget what was written to a device and end its fault."""
        await self.set_fault(device, None)
        self._note(device, "reset")
        if device in self.plcs:
            await self.plcs[device].reset()
        else:
            self._station(device).unit.memory.reset(self._now_ns())

    async def _settle(self, device: str) -> None:
        """Open or close the ports of a device's line, as power and faults of its units ask."""
        line = self.plant.devices[device].line
        units = [self.stations[d.name] for d in self._on(line)]
        refused = any(unit.fault is not None and unit.fault.kind == "refuse" for unit in units)
        wanted = not refused and any(unit.powered for unit in units)
        limits = [unit.fault for unit in units if unit.fault and unit.fault.kind == "limit"]
        limit = limited(limits[0]) if limits else (None, False)
        for port in self.lines[line]:
            if isinstance(port, Listener):
                port.restrict(*limit)
            if wanted:
                await port.open()
            else:
                await port.close()

    def _on(self, line: str) -> list[PlantDevice]:
        return [
            device
            for device in self.plant.devices.values()
            if device.line == line and device.name in self.stations
        ]

    def _line_of(self, device: str) -> list[Port]:
        return self.lines[self.plant.devices[device].line]

    def _station(self, device: str) -> Outstation:
        if device not in self.stations:
            raise SiteError(f"no outstation named {device} (or it is dead, or real)")
        return self.stations[device]

    def _note(self, device: str, what: str) -> None:
        self.journal.append(Happening(self._now_ns(), device, what))

    # ------------------------------------------------------------------ commands

    async def command(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out one control message and say what came of it; see hil/DESIGN.md."""
        rest = dict(message)
        try:
            if "fault" in rest:
                kind, device = str(rest.pop("fault")), str(rest.pop("device"))
                seconds = rest.pop("seconds", None)
                until_ns = (
                    None if seconds is None else self._now_ns() + int(float(seconds) * NS_PER_S)
                )
                await self.set_fault(device, Fault(kind, until_ns, rest))
            elif "clear" in rest:
                await self.set_fault(str(rest["clear"]), None, rest.get("only"))
            elif "power" in rest:
                if rest["power"] not in ("on", "off"):
                    raise SiteError("power is on or off")
                if rest.get("log", "keep") not in ("keep", "lose"):
                    raise SiteError("a log is kept (`log: keep`) or lost (`log: lose`)")
                kept = rest.get("log") != "lose"
                await self.power(str(rest["device"]), rest["power"] == "on", kept)
            elif "clock" in rest:
                self.set_clock(str(rest["device"]), rest["clock"])
            elif "log" in rest:
                self.disturb(str(rest.pop("device")), str(rest.pop("log")), rest)
            elif "recorded" in rest:
                at_ns = int(rest.get("at", self._now_ns()))
                held = self.recorded(
                    str(rest["recorded"]), int(rest["from"]), int(rest["to"]), at_ns
                )
                return {"ok": True, "logs": held}
            elif "reset" in rest:
                await self.reset(str(rest["reset"]))
            elif "journal" in rest:
                return {"ok": True, "journal": [list(item) for item in self.journal]}
            elif "status" in rest:
                return {"ok": True} | self.status()
            else:
                raise SiteError(
                    "say one of fault, clear, power, clock, log, recorded, reset, status, journal"
                )
        except (SiteError, KeyError, TypeError, ValueError, OSError) as error:
            said = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            return {"ok": False, "error": said}
        return {"ok": True}

    def status(self) -> dict[str, Any]:
        """What runs, and what is wrong with it on purpose."""
        faults = {s.name: s.fault.kind for s in self.stations.values() if s.fault is not None}
        faults |= {p.name: p.fault.kind for p in self.plcs.values() if p.fault is not None}
        off = [s.name for s in self.stations.values() if not s.powered]
        off += [p.name for p in self.plcs.values() if not p.powered]
        return {
            "site": self.plant.site,
            "devices": len(self.stations) + len(self.plcs),
            "polls": self.log.count,
            "faults": faults,
            "off": off,
            "endpoints": self.endpoints(),
        }

    async def flush_for_ever(self, period_s: float = 1.0) -> None:
        """Keep the poll log's file up to date until cancelled."""
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                await asyncio.sleep(period_s)
                self.log.flush()
