"""All ways between the nodes: heartbeats on every one, channels for bulk on the best.

Each node dials every address of the peer and speaks on what it dialled; it hears on what the peer
dialled. Nothing here decides who is Main: it tells what was heard and who refused.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.clock import Clock
from gateway.config.node import Link
from gateway.errors import AskRefused, HotpairError, LinkClosed, LinkDown
from gateway.model import NS_PER_MS, NS_PER_S, format_time
from gateway.pair.asking import answer_one, ask_one
from gateway.pair.beats import Beats
from gateway.pair.channel import SILENCE_NS, Channel
from gateway.pair.greeting import Addresses, Greeted, Greeter
from gateway.pair.heartbeat import Heartbeat
from gateway.pair.hello import HEARTBEATS, HelloRefused, LinkIdentity
from gateway.pair.listener import Listener
from gateway.pair.pace import Standing, Told, best_first
from gateway.pair.path import Path
from gateway.pair.serial_link import NAME as SERIAL
from gateway.pair.serial_link import SerialLink
from gateway.pair.stream import words
from gateway.pair.tls import Security
from gateway.pair.wire import WireError, encode_question

log = logging.getLogger(__name__)

ASK: Final = "ask"
EARS_MAX: Final = 16
SERVED_MAX: Final = 16
NAMES_MAX: Final = 16
CHANNEL_CONNECT_S: Final = 1.0
ASK_SILENCE_NS: Final = 10 * NS_PER_S
"""Whoever checks a configuration may be busy for a while."""
STRANGERS_WITHIN_NS: Final = 600 * NS_PER_S
_DATES_S: Final = 3_600.0


@dataclass(slots=True)
class Known:
    """What is known of one link; ages by this node's monotonic clock, -1: never."""

    name: str
    heard_ns: int = -1
    why: str = ""
    """Why this node's own dialling does not succeed."""
    turned_away: str = ""
    """Why this node did not take the peer's."""


class Links:
    """The links of this node."""

    def __init__(
        self,
        me: LinkIdentity,
        link: Link,
        clock: Clock,
        hear: Callable[[str, Heartbeat], None],
        refused: Callable[[str], None],
        serve: Mapping[str, Callable[[Channel], Awaitable[None]]],
        answer: Callable[[str, Any], Awaitable[Any]],
        alarm: Callable[[int, str], None],
    ) -> None:
        """Nothing is opened yet.

        `hear` gets each heartbeat with its link's name, `refused` the name of a path whose host
        refused a connection. `serve` has what answers each kind of channel, `answer` what is asked
        (raising HotpairError to refuse). `alarm` gets a severity from 1 to 1000 and a line.
        Raises ControlError when the TLS files can't be used.
        """
        self._me = me
        self._link = link
        self._clock = clock
        self._hear = hear
        self._alarm = alarm
        self._security = Security(link.tls) if link.tls is not None else None
        self._serve: dict[str, Callable[[Channel], Awaitable[None]]] = dict(serve)
        self._serve[ASK] = lambda channel: answer_one(channel, answer)
        greeter = Greeter(me, self._security, clock, Addresses())
        self._greeter = greeter
        self._listener = Listener(link.listen, greeter, self._taken, self._turned_away)
        self._paths = [Path(to, greeter, refused, self._path_changed) for to in link.peer]
        self._known = {path.name: Known(path.name) for path in self._paths}
        self._serial: SerialLink | None = None
        if link.serial is not None:
            self._known[SERIAL] = Known(SERIAL)
            self._serial = SerialLink(link.serial, clock, self._heard_serial, self._serial_changed)
        self._ears: dict[tuple[int, str], Beats] = {}
        self._channels: set[Channel] = set()
        self._services: dict[asyncio.Task[None], None] = {}
        self._told = Told()
        self._told_strangers = Told(STRANGERS_WITHIN_NS)
        self._strangers = 0
        self._dates: asyncio.TimerHandle | None = None
        self._stopped = False

    # ---------------------------------------------------------------------------- its life

    async def start(self) -> None:
        """Listen and dial. Raises ControlError naming the address that can't be had."""
        self._listener.open()
        if self._security is None:
            self._alarm(500, "the link has no TLS: it is for trials on this machine only")
        self._look_at_dates()
        for path in self._paths:
            path.start()
        if self._serial is not None:
            self._serial.start()

    async def stop(self) -> None:
        """Close everything; what was sent last arrives where the link still carries."""
        self._stopped = True
        if self._dates is not None:
            self._dates.cancel()
        ways: list[Path | SerialLink] = [*self._paths]
        if self._serial is not None:
            ways.append(self._serial)
        await asyncio.gather(*(way.stop() for way in ways))
        for channel in list(self._channels):
            channel.close()
        services = list(self._services)
        for task in services:
            task.cancel()
        await asyncio.gather(*services, return_exceptions=True)
        for ear in list(self._ears.values()):
            ear.end("closed here")
        await self._listener.close()

    def _look_at_dates(self) -> None:
        if self._security is not None:
            for text in self._security.warnings(self._clock.utc_ns()):
                self._tell(600, f"certificate {text[:60]}", text)
            loop = asyncio.get_running_loop()
            self._dates = loop.call_later(_DATES_S, self._look_at_dates)

    # ------------------------------------------------------------------------- heartbeats

    def send(self, heartbeat: Heartbeat) -> None:
        """Send on every link that stands; never waits."""
        for path in self._paths:
            path.send(heartbeat)
        if self._serial is not None:
            self._serial.send(heartbeat)

    def drain(self) -> None:
        """Tell `hear` every heartbeat that lies unread in this process or in the kernel."""
        for ear in list(self._ears.values()):
            ear.drain()
        for path in self._paths:
            path.drain()
        if self._serial is not None:
            self._serial.drain()

    def _heard(self, name: str, heartbeat: Heartbeat) -> None:
        self._known[name].heard_ns = self._clock.monotonic_ns()
        self._hear(name, heartbeat)

    def _heard_serial(self, heartbeat: Heartbeat) -> None:
        known = self._known[SERIAL]
        if heartbeat.boot == self._me.boot:
            known.turned_away = "the line echoes what this node sends: check the cable"
            self._tell(700, SERIAL, f"link {SERIAL}: {known.turned_away}")
            return
        if (heartbeat.site, heartbeat.node == self._me.node) != (self._me.site, False):
            # The machine refuses it too, and says so; here it is for the status.
            known.turned_away = f"node {heartbeat.node} of site {heartbeat.site} is on the line"
        else:
            known.turned_away = ""
        self._heard(SERIAL, heartbeat)

    # ------------------------------------------------------------------------- what comes in

    async def _taken(self, greeted: Greeted, number: int, remote: str) -> None:
        name = self._name_of(number, remote)
        theirs = greeted.theirs
        if name not in self._known and len(self._known) >= NAMES_MAX:
            name = self._paths[0].name
        known = self._known.setdefault(name, Known(name))
        full = len(self._services) >= SERVED_MAX
        if theirs.kind != HEARTBEATS and (full or theirs.kind not in self._serve):
            what = "too many channels are open" if full else f"it serves no `{theirs.kind}`"
            await self._greeter.refuse(greeted.stream, HelloRefused(what))
            return
        try:
            await self._greeter.answer(greeted)
        except OSError:
            greeted.stream.close()
            return
        known.turned_away = ""
        if theirs.kind == HEARTBEATS:
            self._listen_to(greeted, name)
            return
        channel = self._channel(greeted, name)
        task = asyncio.create_task(self._serve_one(theirs.kind, channel))
        self._services[task] = None
        task.add_done_callback(lambda done: self._services.pop(done, None))

    def _listen_to(self, greeted: Greeted, name: str) -> None:
        key = (greeted.theirs.boot, greeted.theirs.path)
        before = self._ears.get(key)
        if before is None and len(self._ears) >= EARS_MAX:
            before = next(iter(self._ears.values()))
        if before is not None:
            before.drain()  # It was dialled anew; what lies unread in the old one counts.
            before.end("dialled anew")

        def ended(why: str) -> None:
            if self._ears.get(key) is ear:
                del self._ears[key]

        ear = Beats(greeted, self._clock, lambda heard: self._heard(name, heard), ended)
        self._ears[key] = ear
        ear.start()

    def _turned_away(self, why: HelloRefused, number: int, remote: str) -> None:
        if self._stopped:
            return
        if why.stranger:
            self._strangers += 1
            text = f"link: turned away {remote}: {why}"
            line = self._told_strangers.news(self._clock.monotonic_ns(), "", text)
            if line is not None:
                self._alarm(500, line)
            return
        name = self._name_of(number, remote)
        known = self._known.get(name) or Known(name)
        known.turned_away = str(why)
        if known.why != known.turned_away:
            self._tell(700, f"in {name}", f"link {name}: turned away {remote}: {why}")

    def _name_of(self, number: int, remote: str) -> str:
        if len(self._paths) == 1:
            return self._paths[0].name
        if len(self._link.listen) == len(self._paths):
            return self._paths[number].name
        for path in self._paths:
            if path.address.host == remote:
                return path.name
        return f"from {remote}"

    # ------------------------------------------------------------------------ what goes out

    def _path_changed(self, path: Path, why: HelloRefused | str | None) -> None:
        known = self._known[path.name]
        if self._stopped:
            return
        if why is None:
            known.why = ""
            self._told.over(path.name)
            assert path.beats is not None
            theirs = path.beats.theirs
            text = f"link {path.name} stands: node {theirs.node}, Hotpair {theirs.version}"
            self._tell(300, f"up {path.name}", text)
            return
        known.why = str(why)
        self._told.over(f"up {path.name}")
        if isinstance(why, HelloRefused):
            if known.why != known.turned_away:
                self._tell(700, path.name, f"link {path.name}: {why}")
        else:
            self._tell(600, path.name, f"link {path.name} is down: {why}")
        for channel in [one for one in self._channels if one.path == path.name]:
            channel.close("its path fell")

    def _serial_changed(self, why: str) -> None:
        self._known[SERIAL].why = why
        if not self._stopped:
            text = f"is down: {why}" if why else "is open"
            self._tell(600 if why else 300, SERIAL, f"link {SERIAL} {text}")

    def _tell(self, severity: int, name: str, text: str) -> None:
        line = self._told.news(self._clock.monotonic_ns(), name, text)
        if line is not None:
            self._alarm(severity, line)

    # --------------------------------------------------------------------------- channels

    def _channel(self, greeted: Greeted, name: str) -> Channel:
        silence_ns = ASK_SILENCE_NS if greeted.theirs.kind == ASK else SILENCE_NS
        gone = self._channels.discard
        channel = Channel(greeted, name, self._clock, gone, silence_ns)
        self._channels.add(channel)
        return channel

    async def dial(self, kind: str) -> Channel:
        """A channel over the best path that stands. Raises LinkDown."""
        now_ns = self._clock.monotonic_ns()
        ways = {path.name: path for path in self._paths if path.up}
        standing = [
            Standing(name, path.beats.rtt_ns if path.beats else 0, path.since_ns - now_ns)
            for name, path in ways.items()
        ]
        why: str = self._why_down()
        for name in best_first(standing):
            try:
                greeted = await self._greeter.dial(ways[name].address, kind, CHANNEL_CONNECT_S)
            except TimeoutError:
                why = f"{name}: no answer"
            except (HelloRefused, OSError, EOFError, WireError) as error:
                why = f"{name}: {error if isinstance(error, HelloRefused) else words(error)}"
            else:
                if ways[name].up and not self._stopped:
                    return self._channel(greeted, name)
                greeted.stream.close()
                why = f"{name}: it fell"
        raise LinkDown(f"no link to the peer carries data: {why}")

    def _why_down(self) -> str:
        whys = [f"{known.name}: {known.why}" for known in self._known.values() if known.why]
        return "; ".join(whys) or "none stands yet"

    async def _serve_one(self, kind: str, channel: Channel) -> None:
        try:
            await self._serve[kind](channel)
        except LinkClosed:
            pass
        except HotpairError as error:
            self._tell(700, f"serve {kind}", f"{kind} with node {channel.peer}: {error}")
        except Exception:  # a bug in one service must not end the links of this node
            log.exception("the service of %s failed", kind)
            self._tell(900, f"serve {kind}", f"{kind} with node {channel.peer} failed: see the log")
        finally:
            channel.close()

    # ----------------------------------------------------------------------------- asking

    async def ask(self, what: str, body: Any, timeout_s: float) -> Any:
        """Ask the peer; bodies are what MessagePack carries.

        Raises LinkDown (it may have been carried out nonetheless), AskRefused.
        """
        wire = encode_question(what, body)
        try:
            async with asyncio.timeout(timeout_s):
                answer = await ask_one(await self.dial(ASK), wire)
        except TimeoutError as error:
            raise LinkDown(f"the peer did not answer `{what}` within {timeout_s:g} s") from error
        except (LinkClosed, WireError) as error:
            raise LinkDown(f"the peer did not answer `{what}`: {error.message}") from error
        if not answer.accepted:
            raise AskRefused(answer.message, answer.remedy)
        return answer.body

    # ----------------------------------------------------------------------------- status

    def status(self) -> list[dict[str, Any]]:
        """Each link as status and page show it; times are UTC in ISO 8601, None: not known."""
        return [self._status(known) for known in self._known.values()]

    def _status(self, known: Known) -> dict[str, Any]:
        now_ns, utc_ns = self._clock.monotonic_ns(), self._clock.utc_ns()
        path = next((path for path in self._paths if path.name == known.name), None)
        way = self._serial if known.name == SERIAL else path
        up = way is not None and way.up
        beats = path.beats if path is not None else None
        heard_ms = None if known.heard_ns < 0 else (now_ns - known.heard_ns) // NS_PER_MS
        shown: dict[str, Any] = {
            "name": known.name,
            "kind": "serial" if way is self._serial and way is not None else "tcp",
            "up": up,
            "since": format_time(utc_ns - (now_ns - way.since_ns)) if way is not None else None,
            "last_heard_age_ms": heard_ms,
            "rtt_ms": round(beats.rtt_ns / NS_PER_MS, 2) if beats and beats.rtt_ns else None,
            "refused_why": known.why or known.turned_away,
            "peer_version": beats.theirs.version if beats else None,
            "garbled": self._serial.garbled if self._serial and way is self._serial else 0,
            "doubled": self._serial.doubled if self._serial and way is self._serial else 0,
            "strangers": self._strangers,
        }
        if self._security is not None and shown["kind"] == "tcp":
            shown["certificate_until"] = format_time(self._security.mine.valid_until_ns)
            shown["peer_certificate_until"] = format_time(self._security.peer.valid_until_ns)
        return shown
