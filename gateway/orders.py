"""What people tell a node: commands to the pair, to devices and to points.

A command that belongs to the Main is carried there when this node is not it, so that either node
can be asked. Each is audited by the node that carried it out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from gateway.acquisition.maintenance import coerce
from gateway.driver import LogSpec, Rehearsal, WriteOutcome
from gateway.errors import ControlError, HotpairError, NotThere
from gateway.journal.records import Audit, Fact
from gateway.model import Value, format_time
from gateway.node import NodeView
from gateway.pair import events as ev
from gateway.pair.handover import refusal_of
from gateway.pair.keeper import Keeper
from gateway.pair.roles import PeerView
from gateway.pair.words import Role
from gateway.running import Running
from gateway.web.tokens import FACT, new_token
from gateway.windback.planner import check_asked
from gateway.windback.verify import verify

Ask = Callable[[str, Any, float], Awaitable[Any]]
FORWARDED_S: Final = 20.0
"""How long the Main may take: a changeover and a write are bounded well below."""


class Orders:
    """Carries out what the local interface, or the peer for it, asks for."""

    def __init__(
        self, node: str, running: Running, view: NodeView, keeper: Keeper, ask: Ask | None
    ) -> None:
        self._node = node
        self._running = running
        self._view = view
        self._keeper = keeper
        self._ask = ask
        self._known: dict[str, Callable[[dict[str, Any]], Awaitable[Any]]] = {
            "changeover": lambda body: self._changeover(body["who"]),
            "pause": lambda body: self._pause(True, body["who"]),
            "resume": lambda body: self._pause(False, body["who"]),
            "write": lambda body: self._write(body["who"], body["point"], body["value"]),
            "maintenance": lambda body: self._maintain(**body),
            "windback": lambda body: self._windback(**body),
            "verify": lambda body: self._verify(**body),
            "token": lambda body: self._token(**body),
            "revoke": lambda body: self._revoke(**body),
        }

    @property
    def names(self) -> tuple[str, ...]:
        """What the peer may ask for."""
        return tuple(self._known)

    # ------------------------------------------------------------------------------ commands

    async def changeover(self, who: str) -> str:
        """Hand the reign to the synced Standby. Raises ControlError."""
        return str(await self._carried("changeover", {"who": who}))

    async def pause(self, paused: bool, who: str) -> str:
        """Stop automatic changes, or let them go on, on both nodes."""
        return str(await self._carried("pause" if paused else "resume", {"who": who}))

    async def peer(self, absent: bool, who: str) -> str:
        """Count the peer as agreeing while it is under repair; asked of this node itself."""
        if self._ask is None:
            raise ControlError("this node has no peer", "Configure `link:` in node.yaml")
        return await self._commanded(ev.PeerAbsent(absent, who), "peer", who)

    async def rehearse(self, who: str) -> list[Rehearsal]:
        """Knock once at each device that allows it, as a Standby."""
        if self._keeper.is_main:
            raise ControlError(
                "this node is Main and polls every device", "Rehearse on the Standby"
            )
        found = await self._running.field.rehearse()
        reached = sum(item.reached for item in found)
        await self._audit("rehearse", who, f"{reached} of {len(found)} devices answered")
        return found

    async def write(self, who: str, point: str, value: Value) -> WriteOutcome:
        """A control write, carried out by the Main."""
        body = {"who": who, "point": point, "value": value}
        return WriteOutcome(*await self._carried("write", body))

    async def maintain(self, action: str, target: str, value: Value, who: str, why: str) -> None:
        """Disable, enable, substitute or release, on the Main."""
        body = {"action": action, "target": target, "value": value, "who": who, "why": why}
        await self._carried("maintenance", body)

    async def windback(self, who: str, device: str, from_ns: int, to_ns: int) -> str:
        """Have the Main read a device's log for a stretch, lost and disabled gaps included."""
        body = {"who": who, "device": device, "from_ns": from_ns, "to_ns": to_ns}
        return str(await self._carried("windback", body))

    async def verify(
        self, who: str, device: str, log: str, from_ns: int, to_ns: int
    ) -> dict[str, Any]:
        """Have the Main compare a device's log with history."""
        span = {"from_ns": from_ns, "to_ns": to_ns}
        found: dict[str, Any] = await self._carried(
            "verify", {"who": who, "device": device, "log": log, **span}
        )
        return found

    async def token(self, who: str, name: str, role: str, days: int, digest: str) -> str:
        """Have the Main keep a token, so that it is good on both nodes."""
        body = {"who": who, "name": name, "role": role, "days": days, "digest": digest}
        return str(await self._carried("token", body))

    async def revoke(self, who: str, name: str) -> str:
        """Have the Main let a token in no more, on both nodes."""
        return str(await self._carried("revoke", {"who": who, "name": name}))

    def refusal(self) -> str:
        """Why no changeover is possible now, as far as this node knows, or nothing."""
        if self._ask is None:
            return "this node has no peer"
        machine, now_ns = self._keeper.machine, self._keeper.now_ns()
        if self._keeper.is_main:
            return refusal_of(machine, now_ns)
        if machine.view(now_ns) is not PeerView.MAIN:
            return f"this node is {machine.role.shown}, and no Main is heard"
        return "" if machine.role is Role.SYNCED else f"this node is {machine.role.shown}"

    def note(self, what: str, who: str, outcome: str) -> None:
        """Journal what somebody asked for on another way than by a command."""
        house = self._running.house
        house.append(Audit(what, self._node, house.clock.utc_ns(), who, outcome))

    # ------------------------------------------------------------------------------- inside

    async def answer(self, what: str, body: Any) -> Any:
        """Do what the peer asks for; only a Main is asked. Raises HotpairError."""
        machine = self._keeper.machine
        if not self._keeper.is_main and what not in ("pause", "resume"):
            raise ControlError(
                f"node {self._node} is {machine.role.shown}", "Ask again once a node is Main"
            )
        try:
            return await self._known[what](body)
        except (KeyError, TypeError) as error:
            raise ControlError(f"{what}: {body!r} is no request", "Run one version") from error

    async def _carried(self, what: str, body: dict[str, Any]) -> Any:
        if self._ask is None and what in ("changeover", "pause", "resume"):
            raise ControlError(f"{what}: this node has no peer", "Configure `link:` in node.yaml")
        if self._keeper.is_main or self._ask is None:
            return await self._known[what](body)
        machine = self._keeper.machine
        view = machine.view(self._keeper.now_ns())
        if view is not PeerView.MAIN:
            if what in ("pause", "resume"):
                return await self._known[what](body)
            raise ControlError(
                f"this node is {machine.role.shown}, and no Main is heard (the peer is {view})",
                "`hotpair status` tells the state of the links",
            )
        return await self._ask(what, body, FORWARDED_S)

    async def _changeover(self, who: str) -> str:
        return await self._commanded(ev.Changeover(who), "changeover", who)

    async def _pause(self, paused: bool, who: str) -> str:
        return await self._commanded(ev.Pause(paused, who), "pause" if paused else "resume", who)

    async def _commanded(
        self, event: ev.Changeover | ev.Pause | ev.PeerAbsent, what: str, who: str
    ) -> str:
        try:
            text = await self._keeper.command(event)
        except ControlError as error:
            await self._audit(what, who, f"refused: {error.message}")
            raise
        await self._audit(what, who, text)
        return text

    async def _audit(self, what: str, who: str, outcome: str) -> None:
        house = self._running.house
        entry = Audit(what, self._node, house.clock.utc_ns(), who, outcome)
        try:
            await house.commit(entry)
        except HotpairError as error:  # it is done, and was told
            house.alarm("journal", 800, f"{what} by {who} was not journalled: {error}")

    async def _write(self, who: str, point: str, value: Value) -> tuple[int, Value, str]:
        spec = self._view.point(point)
        found = await self._running.field.writer.write(who, spec, coerce(spec, value))
        return found.status, found.read_back, found.detail

    async def _maintain(self, action: str, target: str, value: Value, who: str, why: str) -> None:
        await self._view.maintain(action, target, value, who, why)

    async def _token(self, who: str, name: str, role: str, days: int, digest: str) -> str:
        now_ns, known = self._running.house.clock.utc_ns(), self._view.known_tokens()
        token = new_token(name, role, days, digest, who, now_ns, known)
        await self._running.house.commit(Fact("", FACT + name, token.fact, now_ns))
        text = f"made for {role}, until {format_time(token.expires_ns)}"
        await self._audit(f"token {name}", who, text)
        return text

    async def _revoke(self, who: str, name: str) -> str:
        if all(token.name != name for token in self._view.known_tokens().values()):
            raise ControlError(f"there is no token {name!r}", "`hotpair token list` lists them")
        now_ns = self._running.house.clock.utc_ns()
        await self._running.house.commit(Fact("", FACT + name, None, now_ns))
        await self._audit(f"token {name}", who, "revoked")
        return f"token {name} is revoked"

    def _keeps_log(self, device: str, log: str = "") -> LogSpec:
        """A device's log by name, or its first. Raises ControlError."""
        devices = self._running.field.collector.devices
        if device not in devices:
            known = ", ".join(sorted(devices))
            raise NotThere(f"there is no device {device!r}", f"Known are: {known}")
        logs = self._running.field.logs(device)
        if not logs:
            raise ControlError(
                f"{device} keeps no log that can be read", "See `windback:` in site.yaml"
            )
        found = next((spec for spec in logs if log in ("", spec.name)), None)
        if found is None:
            names = ", ".join(spec.name for spec in logs)
            raise ControlError(f"{device} has no log {log!r}", f"Its logs are: {names}")
        return found

    async def _windback(self, who: str, device: str, from_ns: int, to_ns: int) -> str:
        self._keeps_log(device)
        check_asked(from_ns, to_ns, self._running.house.clock.utc_ns())
        self._running.windback.asked(device, from_ns, to_ns)
        text = f"{format_time(from_ns)} to {format_time(to_ns)} of {device} will be read"
        await self._audit(f"windback {device}", who, text)
        return text

    async def _verify(
        self, who: str, device: str, log: str, from_ns: int, to_ns: int
    ) -> dict[str, Any]:
        spec = self._keeps_log(device, log)
        running = self._running
        check_asked(from_ns, to_ns, running.house.clock.utc_ns())
        known = running.field.collector.devices[device]
        found = await verify(running.windback, running.history, known, spec, from_ns, to_ns)
        told = [
            [d.point, d.time_ns, _plain(d.logged), [_plain(value) for value in d.history]]
            for d in found.differences
        ]
        return found._asdict() | {"log": spec.name, "differences": told}


def _plain(value: Value) -> Any:
    return value.hex() if isinstance(value, bytes) else value
