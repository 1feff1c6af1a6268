"""The running node as its local interface sees it: status, points, commands."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gateway import __version__
from gateway.acquisition.collector import Collector
from gateway.acquisition.maintenance import ACTIONS, coerce
from gateway.clock import Clock
from gateway.config.node import NodeConfig
from gateway.driver import Frame, PointSpec
from gateway.errors import BadInput, ControlError, NotThere
from gateway.journal.journal import Journal
from gateway.journal.records import Event, Maintenance
from gateway.model import NS_PER_MS, NS_PER_S, Gap, HistoryReader, Value, format_time, status_name
from gateway.open_gaps import Open, OpenGaps
from gateway.pair.chronicle import reigns
from gateway.pair.keeper import Keeper
from gateway.revisions import Revisions
from gateway.running import Running
from gateway.timekeeping import Timekeeper
from gateway.web.tokens import Token, tokens_of

RAW_COUNT_MAX = 2_000


class NodeView:
    """What `gateway.web.api` shows of a node; everything here is read from the running parts."""

    def __init__(
        self,
        node: NodeConfig,
        running: Running,
        journal: Journal,
        revisions: Revisions,
        clock: Clock,
    ) -> None:
        self.peering: Callable[[], dict[str, Any]] = dict
        self.northbound: Callable[[], dict[str, Any]] = dict
        self.keeper: Keeper
        self.timekeeper: Timekeeper
        self._node = node
        self._running = running
        self._journal = journal
        self._revisions = revisions
        self._clock = clock
        self._started_ns = clock.utc_ns()
        self._paced = (clock.monotonic_ns(), 0)
        self._open_gaps = OpenGaps(
            self._gaps, lambda: self.site_devices, lambda: journal.begins_ns, clock
        )

    @property
    def _collector(self) -> Collector:
        return self._running.field.collector

    @property
    def history(self) -> HistoryReader:
        return self._running.history

    @property
    def site_devices(self) -> list[str]:
        return list(self._collector.devices)

    def knows(self, point: str) -> bool:
        return point in self._running.points

    def point(self, point: str) -> PointSpec:
        """A point by id. Raises ControlError."""
        found = self._running.points.get(point)
        if found is None:
            raise NotThere(f"there is no point {point!r}", "`hotpair points` lists them")
        return found

    # ------------------------------------------------------------------------------ looking

    async def _gaps(self, device: str, from_ns: int, to_ns: int) -> list[Gap]:
        return await self.history.gaps(device, from_ns, to_ns)

    async def gaps_counted(self) -> None:
        """Wait until the open gaps were counted once."""
        await self._open_gaps.counted()

    def status(self) -> dict[str, Any]:
        """One screen's worth: the node and its peer, the journal, each device."""
        now_ns, live = self._clock.utc_ns(), self._running.live
        through_ns, behind = self._journal.claimed_ns, self._journal.behind
        pair = self.keeper.machine.status(self._clock.monotonic_ns())
        pair["links_carry"], pair["witness_vote"] = pair.pop("links"), pair.pop("witness")
        since_ns = now_ns - pair["role_age_ms"] * NS_PER_MS
        return {
            "version": __version__,
            "site": self._running.site.site,
            "node": self._node.node,
            **pair,
            "term": str(self._journal.term),
            "now": format_time(now_ns),
            "since": format_time(since_ns),
            "linked": self._node.link is not None,
            "late_max_ms": round(self.keeper.late_max_ms, 1),
            "endpoint": self._running.server.endpoint,
            "endpoint_open": self._running.server.is_open,
            "insecure": self._node.opcua.insecure,
            "clients_trusted": self._running.server.clients_trusted,
            "certificate_expires": self._certificate_expires(),
            "points": len(live.points),
            "complete_through": _through(min((through_ns, *behind.values()))),
            "claimed_through": _through(through_ns),
            "behind": {f"{d}/{c}": format_time(told_ns) for (d, c), told_ns in behind.items()},
            "storing": self._journal.store_failed_since_ns is None,
            "conflicts": self._journal.conflicts,
            "clock": {
                "synchronised": self.timekeeper.known.synchronised,
                "error_max_ms": self.timekeeper.known.error_max_us / 1_000,
            },
            "revision": self._revisions.status(),
            "devices": {name: self._device(name, now_ns) for name in self._collector.devices},
            "substituted": sorted(self._collector.maintenance.substituted),
            "disabled": sorted(self._collector.maintenance.disabled),
            "links": [],
            "witness": [],
            "replication": None,
            "northbound": self.northbound(),
            **self.peering(),
        }

    def _certificate_expires(self) -> str | None:
        until = self._running.server.certificate_valid_until
        return format_time(int(until.timestamp()) * NS_PER_S) if until is not None else None

    def _device(self, name: str, now_ns: int) -> dict[str, Any]:
        state = self._collector.states[name]
        device = self._collector.devices[name]
        counters = self._collector.line_of(name).diagnostics(name)
        disabled = name in self._collector.maintenance.disabled
        fault = state.fault
        gaps = self._open_gaps.known.get(name, Open())
        word = "disabled" if disabled else "down" if fault else "up" if state.scans else "starting"
        if not disabled and not self.keeper.is_main:
            word = "idle"
        return {
            "state": word,
            "driver": device.driver,
            "line": device.line,
            "points": len(device.points),
            "scans": state.scans,
            "samples": state.samples,
            "overruns": state.overruns,
            "last_scan_age_ms": (now_ns - state.last_scan_ns) // 1_000_000
            if state.last_scan_ns
            else None,
            "open_gaps": gaps.number,
            "open_gaps_ms": gaps.length_ns / 1e6,
            "down_since": format_time(state.down_since_ns) if state.down_since_ns else None,
            "why": fault.detail if fault else "",
            "status": status_name(fault.status) if fault else "Good",
            "requests": counters.requests,
            "replies": counters.replies,
            "timeouts": counters.timeouts,
            "invalid_replies": counters.invalid_replies,
            "link_failures": counters.link_failures,
            "exceptions": {str(code): count for code, count in counters.exceptions.items()},
            "last_error": counters.last_error,
            "last_error_at": format_time(counters.last_error_ns)
            if counters.last_error_ns
            else None,
            "rtt_p50_ms": counters.percentile_ms(0.5),
            "rtt_p95_ms": counters.percentile_ms(0.95),
            "notes": dict(counters.notes),
        }

    def points(self, pattern: str) -> list[dict[str, Any]]:
        """The live values of the points whose id fits a shell pattern."""
        return [
            self._point(point)
            for point in self._running.live.points
            if pattern == "*" or fnmatch.fnmatchcase(point.id, pattern)
        ]

    def _point(self, point: PointSpec) -> dict[str, Any]:
        live = self._running.live.get(point.number)
        value = live.value
        return {
            "point": point.id,
            "value": _plain(value),
            "unit": point.unit,
            "type": point.data_type.value,
            "access": point.access.value,
            "scan": point.scan_class,
            "status": status_name(live.status),
            "source_time_ns": live.source_ns,
            "server_time_ns": live.server_ns,
            "label": point.enum.get(value) if point.enum and isinstance(value, int) else None,
        }

    def known_tokens(self) -> dict[str, Token]:
        """The tokens of programs, by digest."""
        return tokens_of(self._journal.facts)

    def diagnostics(self) -> dict[str, dict[str, Any]]:
        """The counters that the OPC UA server shows, by device; `` is the node."""
        holes = {name: self._holes(name) for name in self._collector.devices}
        shown = {name: self._counters(name, holes[name]) for name in holes}
        shown[""] = {
            "Name": self._node.node,
            "Role": self.keeper.machine.role.shown,
            "Term": str(self._journal.term),
            "Revision": self._running.number or None,
            "Version": __version__,
            "StartTime": self._started_ns,
            "JournalOk": self._journal.store_failed_since_ns is None,
            "SamplesPerSecond": self._pace(),
            "OpenGaps": sum(gaps.number for gaps in self._open_gaps.known.values()),
        }
        return shown

    def _holes(self, name: str) -> int:
        coverage, classes = self._collector.coverage, self._collector.devices[name].scan_classes
        return sum(coverage.in_hole((name, scan_class)) for scan_class in classes)

    def _counters(self, name: str, holes: int) -> dict[str, Any]:
        """By the names of `gateway.server.diagnostics.DEVICE`."""
        state = self._collector.states[name]
        counters = self._collector.line_of(name).diagnostics(name)
        refused = sum(counters.exceptions.values())
        enabled = name not in self._collector.maintenance.disabled
        failed = counters.timeouts + counters.invalid_replies + counters.link_failures
        return {
            "Connected": enabled and state.fault is None and state.scans > 0,
            "Enabled": enabled,
            "CoverageOk": holes == 0,
            "Requests": counters.requests,
            "Replies": counters.replies,
            "Errors": failed + refused,
            "Timeouts": counters.timeouts,
            "InvalidReplies": counters.invalid_replies,
            "LinkFailures": counters.link_failures,
            "Exceptions": refused,
            "Overruns": state.overruns,
            "RoundTripP50": counters.percentile_ms(0.5),
            "RoundTripP95": counters.percentile_ms(0.95),
            "LastError": counters.last_error or None,
            "LastErrorTime": counters.last_error_ns or None,
            "LastGoodTime": state.last_scan_ns or None,
        }

    def _pace(self) -> float:
        """Samples kept a second since this was asked last."""
        at_ns, before = self._paced
        now_ns = self._clock.monotonic_ns()
        samples = sum(state.samples for state in self._collector.states.values())
        self._paced = (now_ns, samples)
        return (samples - before) * NS_PER_S / max(now_ns - at_ns, 1)

    def windback(self) -> dict[str, dict[str, Any]]:
        """What windback does, by device; of a Main only."""
        return self._running.windback.status()

    async def events(self, from_ns: int, to_ns: int) -> list[dict[str, Any]]:
        """The events of a stretch of time, oldest first."""
        found: Sequence[Event] = await self._journal.events(from_ns, to_ns)
        return [event_as_json(event) for event in found]

    async def audit(self, limit: int) -> list[dict[str, Any]]:
        """The newest entries of the audit, oldest first."""
        found = await self._journal.audit(limit)
        return [
            {
                "time": format_time(entry.at_ns),
                "action": entry.action,
                "target": entry.target,
                "who": entry.who,
                "outcome": entry.outcome,
                "detail": {key: _plain(value) for key, value in entry.detail.items()},
                "position": str(position),
            }
            for position, entry in sorted(found, key=lambda pair: pair[1].at_ns)
        ]

    async def roles(self, limit: int) -> dict[str, Any]:
        """The newest role changes of both nodes, newest first, and the reigns they add up to."""
        taken = await self._journal.roles(limit)
        return {
            "roles": [
                {
                    "time": format_time(role.at_ns),
                    "node": role.node,
                    "role": role.role,
                    "why": role.why,
                    "term": str(role.term) if role.term else None,
                    "position": str(position),
                }
                for position, role in taken
            ],
            "reigns": [
                {
                    "node": span.node,
                    "term": str(span.term) if span.term else None,
                    "from_ns": span.from_ns,
                    "to_ns": span.to_ns,
                    "from": format_time(span.from_ns),
                    "to": format_time(span.to_ns) if span.to_ns is not None else None,
                    "why": span.why,
                    "ended": span.ended,
                }
                for span in reigns(taken)
            ],
        }

    # ------------------------------------------------------------------------------ acting

    def _known_device(self, device: str) -> str:
        if device not in self._collector.devices:
            known = ", ".join(sorted(self._collector.devices))
            raise NotThere(f"there is no device {device!r}", f"Known are: {known}")
        return device

    def _must_poll(self, lacks: str) -> None:
        if not self.keeper.is_main:
            role = self.keeper.machine.role.shown
            raise ControlError(f"node {self._node.node} is {role} and {lacks}", "Ask the Main")

    async def raw(self, device: str, area: str, address: str, count: int) -> list[Value]:
        """Read registers or a node past all maps."""
        line = self._collector.line_of(self._known_device(device))
        self._must_poll("reads no device")
        if not 1 <= count <= RAW_COUNT_MAX:
            raise BadInput(f"count {count} is out of range", f"Ask for 1 to {RAW_COUNT_MAX}")
        try:
            return list(await line.raw(device, area, address, count))
        except ValueError as error:
            remedy = "Areas are holding, input, coil and discrete; addresses count from 0"
            raise BadInput(f"{area} {address}: {error}", remedy) from error

    def trace(self, device: str, sink: Callable[[Frame], None]) -> Callable[[], None]:
        """Send each frame of a device to `sink` until the returned function is called."""
        line = self._collector.line_of(self._known_device(device))
        self._must_poll("exchanges no frames with devices")
        return line.trace(device, sink)

    async def maintain(self, action: str, target: str, value: Value, who: str, why: str) -> None:
        """Disable, enable, substitute or release, journalled before it is done."""
        if action not in ACTIONS:
            raise ControlError(f"unknown action {action!r}", f"Use one of {', '.join(ACTIONS)}")
        point = self._running.points.get(target)
        if point is None and (target not in self._collector.devices or action == "substitute"):
            kind = "point" if action in ("substitute", "release") else "device or point"
            raise NotThere(f"there is no {kind} {target!r}", "`hotpair points` lists them")
        if action == "substitute":
            assert point is not None
            value = coerce(point, value)
        else:
            value = None
        record = Maintenance(action, target, self._clock.utc_ns(), who, why, value)
        await self._running.house.commit(record)
        self._collector.maintain(record)
        self._running.house.alarm(
            target.partition("/")[0], 400, f"{action} {target} by {who}: {why}"
        )

    async def backup(self, path: str) -> None:
        """An online copy of the journal. Raises ControlError."""
        await self._journal.backup(Path(path))


def _through(time_ns: int) -> str | None:
    """How far history is complete; None while nothing was polled yet."""
    return format_time(time_ns) if time_ns > 0 else None


def event_as_json(event: Event) -> dict[str, Any]:
    """An event for people."""
    return {
        "time": format_time(event.at_ns),
        "source": event.source,
        "severity": event.severity,
        "text": event.text,
    }


def _plain(value: Any) -> Any:
    """What JSON can't say as text."""
    if isinstance(value, bytes):
        return value.hex()
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
