"""Proxies before real devices that speak Modbus TCP: they can be cut, silenced, delayed, refused.

    python -m hil.field --control SOCK --log polls.jsonl --site site.yaml

The rig.yaml beside the site says where they listen and to where they carry. The control socket
takes `{"begin": "silence", "device": "plc1"}` and `{"end": …}` of each word of `hil.real`, and
`{"flush": true}`: what was not answered yet is in the log, too. What passes is logged as the polls
of outstations are, so that the same judge tells who asked a device when.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import struct
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from hil.outstation.control import ControlServer
from hil.outstation.polls import Poll, PollLog
from hil.plant import Plant
from hil.proxy import Proxy, Way
from hil.settings import SiteError
from hil.site import load_site

PENDING_MAX: Final = 64
BUFFER_MAX: Final = 4096
FLUSH_S: Final = 0.5
AREAS: Final = {1: "coil", 2: "discrete", 3: "holding", 4: "input", 5: "coil", 6: "holding",
                15: "coil", 16: "holding", 22: "holding", 23: "holding"}  # fmt: skip
"""Which area a function code is about (Modbus Application Protocol V1.1b3, section 6)."""
_HEAD: Final = struct.Struct(">HHHB")
_EXCEPTION: Final = 0x80


class Frames:
    """Modbus TCP frames out of a stream: (transaction id, unit, PDU), MBAP as in Modbus Messaging
    on TCP/IP V1.0b, section 3.1.3. What is no frame is passed over to the end of its piece."""

    def __init__(self) -> None:
        self._buffer = b""

    def of(self, data: bytes) -> list[tuple[int, int, bytes]]:
        """The frames that a piece completes."""
        self._buffer += data
        found = []
        while len(self._buffer) > _HEAD.size:
            tid, protocol, length, unit = _HEAD.unpack_from(self._buffer)
            end = _HEAD.size - 1 + length
            if protocol != 0 or not 2 <= length <= BUFFER_MAX:
                self._buffer = b""
                break
            if len(self._buffer) < end:
                break
            found.append((tid, unit, self._buffer[_HEAD.size : end]))
            self._buffer = self._buffer[end:]
        return found


class Listening:
    """What passes one proxy, as polls."""

    def __init__(self, devices: Mapping[int, str], log: PollLog) -> None:
        """`devices`: who is behind it, by unit id."""
        self._devices = devices
        self._log = log
        self._frames: dict[tuple[str, bool], Frames] = {}
        self._open: dict[tuple[str, int], Poll] = {}

    def heard(self, peer: str, there: bool, data: bytes) -> None:
        """A piece passes; an empty one ends a connection."""
        if not data:
            self._frames.pop((peer, True), None)
            self._frames.pop((peer, False), None)
            self.unanswered(peer)
            return
        for tid, unit, pdu in self._frames.setdefault((peer, there), Frames()).of(data):
            if there:
                self._asked(peer, tid, unit, pdu)
            elif (poll := self._open.pop((peer, tid), None)) is not None:
                failed = pdu[0] & _EXCEPTION and len(pdu) > 1
                self._add(poll, time.time_ns(), f"exception {pdu[1]}" if failed else "ok")

    def _asked(self, peer: str, tid: int, unit: int, pdu: bytes) -> None:
        address, count = struct.unpack_from(">HH", pdu, 1) if len(pdu) >= 5 else (0, 0)
        count = 1 if pdu[0] in (5, 6) else count
        device = self._devices.get(unit, f"unit {unit}")
        area = AREAS.get(pdu[0], "")
        while len(self._open) >= PENDING_MAX:
            self._add(self._open.pop(next(iter(self._open))), 0, "silence")
        if (older := self._open.pop((peer, tid), None)) is not None:
            self._add(older, 0, "silence")
        self._open[peer, tid] = Poll(
            time.time_ns(), 0, device, unit, pdu[0], area, address, count, peer, ""
        )

    def unanswered(self, peer: str = "") -> None:
        """Log what of one connection, or of all, has no answer."""
        for key in [key for key in self._open if peer in ("", key[0])]:
            self._add(self._open.pop(key), 0, "silence")

    def _add(self, poll: Poll, answered_ns: int, outcome: str) -> None:
        fields = {name: getattr(poll, name) for name in poll.__struct_fields__}
        self._log.add(Poll(**fields | {"answered_ns": answered_ns, "outcome": outcome}))


class Field:
    """All proxies of a site, by line."""

    def __init__(self, plant: Plant, log: PollLog) -> None:
        self._log = log
        self._line_of = {name: device.line for name, device in plant.devices.items()}
        self._proxies: dict[str, list[Proxy]] = {}
        self._listening: list[Listening] = []
        for name, place in plant.rig.real.items():
            line = self._line_of[name]
            if not place.to or line in self._proxies:
                continue
            units = {d.unit_id: d.name for d in plant.devices.values() if d.line == line}
            listening = Listening(units, log)
            self._listening.append(listening)
            ways = zip(place.at, place.to, strict=True)
            self._proxies[line] = [Proxy(to, at, listening.heard) for at, to in ways]

    async def start(self) -> None:
        """Listen everywhere. Raises OSError."""
        for proxy in self._all():
            await proxy.start()

    async def stop(self) -> None:
        """End everything."""
        for proxy in self._all():
            await proxy.stop()
        self._flush()

    def _all(self) -> list[Proxy]:
        return [proxy for own in self._proxies.values() for proxy in own]

    def _flush(self) -> None:
        for listening in self._listening:
            listening.unanswered()
        self._log.flush()

    async def command(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out one control message, and say what came of it."""
        if "flush" in message:
            self._flush()
            return {"ok": True}
        begins = "begin" in message
        word = str(message.get("begin", message.get("end")))
        own = self._proxies.get(self._line_of.get(str(message.get("device")), ""))
        if own is None:
            return {"ok": False, "error": f"no proxy before {message.get('device')}"}
        try:
            for proxy in own:
                await self._do(proxy, word, begins, message)
        except (KeyError, ValueError, OSError) as error:
            return {"ok": False, "error": repr(error)}
        return {"ok": True}

    async def _do(self, proxy: Proxy, word: str, begins: bool, said: Mapping[str, Any]) -> None:
        if word == "cut":
            _set(proxy.there, not begins)
            _set(proxy.back, not begins)
        elif word == "silence":
            proxy.back.mute = begins
        elif word == "delay":
            proxy.back.delay_s = float(said["ms"]) / 1000 if begins else 0.0
            proxy.back.jitter_s = float(said.get("jitter_ms", 0)) / 1000 if begins else 0.0
        elif word == "drop":
            proxy.drop()
        elif word == "refuse":
            await (proxy.stop() if begins else proxy.start())
        else:
            raise ValueError(f"no word {word}")

    async def flush_for_ever(self) -> None:
        """Keep the file of the log up to date until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_S)
            self._log.flush()


def _set(way: Way, is_open: bool) -> None:
    if is_open:
        way.open.set()
    else:
        way.open.clear()


async def run(site: Path, control: Path, log: Path) -> None:
    """Carry until SIGINT or SIGTERM. Raises SiteError, OSError."""
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    field = Field(load_site(site), PollLog(log))
    server = ControlServer(control, field.command)
    flushing = asyncio.create_task(field.flush_for_ever())
    try:
        await field.start()
        await server.open()
        print("ready", flush=True)
        await ended.wait()
    finally:
        flushing.cancel()
        await server.close()
        await field.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; its exit status."""
    parser = argparse.ArgumentParser(prog="hil.field", description="proxies before real devices")
    parser.add_argument("--control", type=Path, required=True, help="the control socket")
    parser.add_argument("--log", type=Path, required=True, help="where polls are written")
    parser.add_argument("--site", type=Path, required=True, help="a site.yaml, a rig.yaml beside")
    asked = parser.parse_args(arguments)
    try:
        asyncio.run(run(asked.site, asked.control, asked.log))
    except (SiteError, OSError, ValueError) as error:
        print(f"hil.field: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
