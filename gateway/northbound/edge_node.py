"""A Sparkplug B edge node as a machine without a wire: which message comes next, on which topic.

One object is one MQTT session. Sections are those of "Sparkplug 3.0.0"; requirements are named by
their tck-id where the number of a section says less.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from gateway.model import Status
from gateway.northbound.payload import BOOLEAN, INT64, STRING, Metric, encode, payload, true_metrics

NAMESPACE: Final = "spBv1.0"
REBIRTH: Final = "Node Control/Rebirth"
NUMBERS: Final = 256
"""seq and bdSeq run from 0 to 255."""
STATE_BYTES_MAX: Final = 4_096


class Message(NamedTuple):
    """What is published; births, deaths and data are never retained (6.4.19 to 6.4.26)."""

    topic: str
    payload: bytes


class HostState(NamedTuple):
    """What a primary host says of itself; `at_ms` is its own time, ms UTC."""

    online: bool
    at_ms: int


def host_state(data: bytes) -> HostState | None:
    """A STATE payload (6.4.27): JSON with `online` and `timestamp`; None of anything else."""
    try:
        said = json.loads(data[: STATE_BYTES_MAX + 1])
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    online, at_ms = said.get("online"), said.get("timestamp")
    if not isinstance(online, bool) or not isinstance(at_ms, int) or isinstance(at_ms, bool):
        return None
    return HostState(online, at_ms)


@dataclass
class Host:
    """The primary host as this node knows it: of two states the one with the later time holds.

    tck-id-message-flow-edge-node-birth-publish-phid-wait-timestamp,
    tck-id-operational-behavior-edge-node-termination-host-offline-timestamp.
    """

    state: HostState | None = None

    @property
    def online(self) -> bool:
        return self.state is not None and self.state.online

    def hear(self, data: bytes) -> None:
        """Take in a STATE message; one that is older, or none at all, changes nothing."""
        said = host_state(data)
        if said is not None and (self.state is None or said.at_ms >= self.state.at_ms):
            self.state = said


@dataclass
class EdgeNode:
    """One session of an edge node; `births` counts the sessions of the pair, for bdSeq."""

    group: str
    edge_node: str
    births: int
    _seq: int = 0
    _born: set[str] = field(default_factory=set)

    @property
    def bd_seq(self) -> int:
        """What binds a death to its birth (tck-id-payloads-nbirth-bdseq-inc)."""
        return self.births % NUMBERS

    @property
    def alive(self) -> frozenset[str]:
        """The devices that were born and didn't die."""
        return frozenset(self._born)

    def topic(self, verb: str, device: str = "") -> str:
        """Section 4.1: namespace/group_id/message_type/edge_node_id/[device_id]."""
        parts = [NAMESPACE, self.group, verb, self.edge_node, *([device] if device else [])]
        return "/".join(parts)

    @property
    def commands(self) -> str:
        """What this node listens to (tck-id-message-flow-edge-node-ncmd-subscribe)."""
        return self.topic("NCMD")

    def death(self, now_ns: int) -> Message:
        """The will, and what is published before a session is ended on purpose (6.4.25)."""
        return Message(self.topic("NDEATH"), payload(now_ns, None, [self._bd_seq(now_ns)]))

    def birth(
        self,
        now_ns: int,
        about: Mapping[str, str],
        devices: Mapping[str, Sequence[Metric]],
        down: Iterable[str],
    ) -> list[Message]:
        """NBIRTH, then a DBIRTH of each device that isn't down (6.4.19, 6.4.20).

        Also after a rebirth command: the same bdSeq, and seq from 0
        (tck-id-operational-behavior-data-commands-rebirth-action-3). `about` are texts on the
        node. A metric of a control has no alias.
        """
        self._seq = 0
        self._born.clear()
        metrics = [
            self._bd_seq(now_ns),
            encode(Metric(None, BOOLEAN, now_ns, False, name=REBIRTH)),
            *(encode(Metric(None, STRING, now_ns, text, name=key)) for key, text in about.items()),
        ]
        found = [Message(self.topic("NBIRTH"), payload(now_ns, self._next(), metrics))]
        absent = set(down)
        for device, points in devices.items():
            if device not in absent:
                found.append(self.device_birth(now_ns, device, points))
        return found

    def device_birth(self, now_ns: int, device: str, points: Sequence[Metric]) -> Message:
        """DBIRTH: every metric that will ever be told, with name, alias, type and value."""
        self._born.add(device)
        body = payload(now_ns, self._next(), map(encode, points))
        return Message(self.topic("DBIRTH", device), body)

    def device_death(self, now_ns: int, device: str) -> Message:
        """DDEATH: the device was lost (6.4.26, tck-id-operational-behavior-device-ddeath)."""
        self._born.discard(device)
        return Message(self.topic("DDEATH", device), payload(now_ns, self._next(), ()))

    def data(self, now_ns: int, device: str, metrics: Iterable[Metric]) -> Message:
        """DDATA of a device that was born (6.4.22)."""
        body = payload(now_ns, self._next(), map(encode, metrics))
        return Message(self.topic("DDATA", device), body)

    def wants_rebirth(self, topic: str, data: bytes, retained: bool) -> bool:
        """Whether a message is the command to be born anew (6.4.23); a retained one is none."""
        return topic == self.commands and not retained and REBIRTH in true_metrics(data)

    def _bd_seq(self, now_ns: int) -> bytes:
        return encode(Metric(None, INT64, now_ns, self.bd_seq, Status.GOOD, name="bdSeq"))

    def _next(self) -> int:
        seq = self._seq
        self._seq = (seq + 1) % NUMBERS
        return seq


def state_topic(host: str) -> str:
    """Where a host tells its state (4.2.3 of Sparkplug 3.0.0: spBv1.0/STATE/sparkplug_host_id)."""
    return f"{NAMESPACE}/STATE/{host}"
