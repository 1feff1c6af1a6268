"""An OPC UA PLC whose values step exactly when the truth does.

SourceTimestamps are the instants of change, so a judge can tell a value that came late from one
that was never true. Built on asyncua's server by subclassing; the port opens and closes apart from
the address space, as the power of a PLC does.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from asyncua import Server, ua
from asyncua.crypto.cert_gen import setup_self_signed_certificate
from asyncua.server.binary_server_asyncio import BinaryServer
from cryptography.x509.oid import ExtendedKeyUsageOID

from gateway.model import NS_PER_S, Value
from hil.outstation.faults import Fault
from hil.outstation.historian import Historian, recording
from hil.outstation.plc_history import Diary
from hil.outstation.plc_nodes import PlcNode, moment, nodes_of, status_of
from hil.outstation.plc_session import OneUser, PlcServer, first_last
from hil.outstation.polls import Poll, PollLog
from hil.plant import PlantPoint
from hil.settings import PlcHistory, SiteError

PER_FOLDER: Final = 100
"""Variables in one folder: asyncua is quadratic in them."""
LONGEST_SLEEP_S: Final = 0.1
YIELD_EVERY: Final = 250
NO_VALUE: Final = "BadSensorFailure"
REFUSES: Final = "BadResourceUnavailable"


class Plc:
    """One OPC UA outstation. `security` is the device's section of the site, if it has one.

    With `history` it records its points by itself.
    """

    def __init__(
        self,
        name: str,
        points: Sequence[PlantPoint],
        host: str,
        port: int,
        now_ns: Callable[[], int],
        security: Mapping[str, Any] | None = None,
        state_dir: Path | None = None,
        password: str | None = None,
        history: PlcHistory | None = None,
        log: PollLog | None = None,
    ) -> None:
        self.name, self.host, self.port = name, host, port
        self.powered = True
        self._speaks = asyncio.Event()
        self._speaks.set()
        self.fault: Fault | None = None
        self._now_ns = now_ns
        self._security = security or {}
        self._state_dir = state_dir
        self._iserver = PlcServer(OneUser(self._security.get("user"), password))
        self._server = Server(iserver=self._iserver)
        self._nodes = nodes_of(points)
        self._by_id: dict[Any, PlcNode] = {}
        self._heap: list[tuple[int, int, int | None]] = []
        self._port_server: BinaryServer | None = None
        self._task: asyncio.Task[None] | None = None
        self.historian: Historian | None = None
        self._history = history
        self._log = log
        self._ahead_ns = history.clock_ns if history is not None else 0
        self._diary = Diary(now_ns() - (history.before_ns if history is not None else 0))
        self._policy = self._security.get("policy", "Basic256Sha256") if security else "None"
        if self._policy != "None" and state_dir is None:
            raise SiteError(f"{name}: a secured PLC needs a directory for its certificate")

    @property
    def endpoint(self) -> str:
        return f"opc.tcp://{self.host}:{self.port}"

    @property
    def listening(self) -> bool:
        return self._port_server is not None

    @property
    def refusal(self) -> int | None:
        """The StatusCode by which it refuses services; None: it does its work."""
        fault = self.fault
        return status_of(fault, REFUSES) if fault and fault.kind == "exception" else None

    @property
    def late_s(self) -> float:
        """How much later it answers and publishes."""
        if self.fault is None or self.fault.kind != "delay":
            return 0.0
        jitter_ms = self.fault.number("jitter_ms", 0) * random.random()
        return (self.fault.number("ms", 500) + jitter_ms) / 1000

    async def speaks(self) -> None:
        """Wait until it is not silent."""
        await self._speaks.wait()

    async def start(self) -> None:
        """Build the address space, open the port, let the values step. Raises OSError."""
        server = self._server
        await server.init()
        server.set_endpoint(f"{self.endpoint}/")
        server.set_server_name(self.name)
        await server.set_application_uri(f"urn:hotpair:outstation:{self.name}")
        await self._secure()
        await self._build()
        if self._history is not None:
            self.historian = await recording(
                self._server, self._nodes, self._diary, self._history, self._now_ns, self._note
            )
        server.disable_clock(True)
        await server._setup_server_nodes()
        await self._iserver.start()
        await self._tell_time()
        self._iserver.plc = self
        await self.open()
        self._task = asyncio.create_task(self._step_for_ever())

    def _note(self, received_ns: int, nodes: int) -> None:
        """A HistoryRead was answered; of all requests the log holds only these."""
        if self._log is not None:
            now_ns = self._now_ns()
            self._log.add(Poll(received_ns, now_ns, self.name, 0, 0, "history", 0, nodes, "", "ok"))

    def _time(self) -> datetime:
        """The PLC's own clock."""
        return moment(self._now_ns() + self._ahead_ns)

    async def _tell_time(self) -> None:
        """CurrentTime whenever it is read, and StartTime as of now."""
        aspace, value = self._iserver.aspace, ua.AttributeIds.Value
        now = ua.NodeId(ua.ObjectIds.Server_ServerStatus_CurrentTime)
        start = ua.NodeId(ua.ObjectIds.Server_ServerStatus_StartTime)
        kind = ua.VariantType.DateTime
        aspace.set_attribute_value_callback(
            now, value, lambda *_: ua.DataValue(ua.Variant(self._time(), kind))
        )
        up_ns = self._diary.up_ns + self._ahead_ns
        began = ua.DataValue(ua.Variant(moment(up_ns), kind))
        await aspace.write_attribute_value(start, value, began)

    async def _secure(self) -> None:
        if self._state_dir is None or self._policy == "None":
            self._server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
            return
        mode = self._security.get("mode", "SignAndEncrypt")
        self._state_dir.mkdir(parents=True, exist_ok=True)
        key, cert = self._state_dir / f"{self.name}.pem", self._state_dir / f"{self.name}.der"
        uri = f"urn:hotpair:outstation:{self.name}"
        await setup_self_signed_certificate(
            key, cert, uri, self.host, [ExtendedKeyUsageOID.SERVER_AUTH], {"commonName": self.name}
        )
        await self._server.load_certificate(str(cert))
        await self._server.load_private_key(str(key))
        wanted = f"{self._policy}_{mode}"
        self._server.set_security_policy([ua.SecurityPolicyType[wanted]])

    # ------------------------------------------------------------------ the address space

    async def _build(self) -> None:
        now_ns = self._now_ns()
        for node in self._nodes:
            node.node_id = await self._node_id(node.text)
            self._by_id[node.node_id] = node
        folder = None
        for number, node in enumerate(self._nodes):
            if number % PER_FOLDER == 0:
                name = f"Block{number // PER_FOLDER + 1}"
                folder = await self._server.nodes.objects.add_folder(1, name)
                await asyncio.sleep(0)
            assert folder is not None
            for index, point in node.points.items():
                step = point.signal.index_at(now_ns)
                node.values[index] = point.signal.value_of(step)
                node.stamps[index] = point.signal.starts_at(step)
                self._heap.append((point.signal.starts_at(step + 1), number, index))
            browse = ua.QualifiedName(str(node.node_id.Identifier), node.node_id.NamespaceIndex)
            variable = await folder.add_variable(
                node.node_id, browse, ua.Variant(node.held(), node.variant)
            )
            if node.writable:
                await variable.set_writable()
            await self._publish(node)
        # (time, node, element) ties end at the element, and None does not compare with a number:
        # a scalar's node has no other element, so a tie never gets that far.
        heapq.heapify(self._heap)

    async def _node_id(self, text: str) -> Any:
        """A NodeId; a namespace named by URI is registered, one named by number is padded up to."""
        if text.startswith("nsu="):
            uri, _, rest = text[4:].partition(";")
            return ua.NodeId.from_string(f"ns={await self._server.register_namespace(uri)};{rest}")
        node_id = ua.NodeId.from_string(text)
        array = await self._server.get_namespace_array()
        for number in range(len(array), node_id.NamespaceIndex + 1):
            await self._server.register_namespace(f"urn:hotpair:outstation:namespace:{number}")
        return node_id

    # ------------------------------------------------------------------ values

    async def _publish(self, node: PlcNode) -> None:
        stamp_ns = max(node.stamps.values())
        value = ua.DataValue(
            ua.Variant(node.held(), node.variant),
            SourceTimestamp=moment(stamp_ns + self._ahead_ns),
            ServerTimestamp=self._time(),
        )
        if self.fault is not None and self.fault.kind == "nan":
            value = ua.DataValue(
                StatusCode=ua.StatusCode(status_of(self.fault, NO_VALUE)),
                SourceTimestamp=self._time(),
                ServerTimestamp=self._time(),
            )
        aspace = self._iserver.aspace
        await aspace.write_attribute_value(node.node_id, ua.AttributeIds.Value, value)

    async def _step_for_ever(self) -> None:
        stuck = False
        while True:
            now_ns = self._now_ns()
            until_ns = self.fault.until_ns if self.fault is not None else None
            if until_ns is not None and now_ns >= until_ns:
                await self.set_fault(None)
            if self.fault is not None and self.fault.kind == "silence":
                self._hold_reading()  # of who came meanwhile, too
            leap, stuck = stuck, self.fault is not None and self.fault.kind == "stuck"
            if not stuck:
                await self._step(now_ns, leap)
            due_ns = self._heap[0][0] - self._now_ns() if self._heap else NS_PER_S
            await asyncio.sleep(min(LONGEST_SLEEP_S, max(0.0, due_ns / NS_PER_S)))

    async def _step(self, now_ns: int, leap: bool = False) -> None:
        """Bring every value that stepped up to now, change by change, each with its own instant.

        With `leap` only the last change counts: what came before it was not held.
        """
        done = 0
        while self._heap and self._heap[0][0] <= now_ns:
            due_ns, number, index = self._heap[0]
            node = self._nodes[number]
            signal = node.points[index].signal
            step = signal.index_at(now_ns if leap else due_ns)
            heapq.heapreplace(self._heap, (signal.starts_at(step + 1), number, index))
            value = signal.value_of(step)
            if index in node.written or value == node.values[index]:
                continue
            node.values[index] = value
            node.stamps[index] = now_ns if leap else signal.starts_at(step)
            await self._publish(node)
            done += 1
            if done % YIELD_EVERY == 0:
                await asyncio.sleep(0)

    def splice(self, wanted: Any) -> Any:
        """A write with IndexRange, as one of the whole array; or the StatusCode that refuses it."""
        node = self._by_id.get(wanted.NodeId)
        if not wanted.IndexRange or node is None or wanted.AttributeId != ua.AttributeIds.Value:
            return wanted
        try:
            first, end = first_last(wanted.IndexRange)
        except ValueError:
            return ua.StatusCode(ua.StatusCodes.BadIndexRangeInvalid)
        held, given = node.held(), wanted.Value.Value.Value
        if not isinstance(held, list) or end > len(held) or not isinstance(given, list):
            return ua.StatusCode(ua.StatusCodes.BadIndexRangeNoData)
        if len(given) != end - first:
            return ua.StatusCode(ua.StatusCodes.BadIndexRangeInvalid)
        held[first:end] = given
        whole = ua.DataValue(ua.Variant(held, wanted.Value.Value.VariantType))
        return ua.WriteValue(NodeId=wanted.NodeId, AttributeId=wanted.AttributeId, Value=whole)

    def wrote(self, wanted: Any) -> None:
        """A client wrote: what it wrote stays until `reset`, whatever the truth says."""
        node = self._by_id.get(wanted.NodeId)
        if node is None or wanted.AttributeId != ua.AttributeIds.Value:
            return
        given, now_ns = wanted.Value.Value.Value, self._now_ns()
        if not node.is_array:
            pairs: list[tuple[int | None, Value]] = [(None, given)]
        else:
            first = first_last(wanted.IndexRange)[0] if wanted.IndexRange else 0
            pairs = [(first + offset, value) for offset, value in enumerate(given)]
        for index, value in pairs:
            node.values[index] = value
            node.stamps[index] = now_ns
            node.written.add(index)
            self._diary.wrote((node.text, index), value, now_ns)

    async def reset(self) -> None:
        """Forget what was written."""
        now_ns = self._now_ns()
        self._diary.reset(now_ns)
        for node in self._nodes:
            for index in node.written & set(node.points):
                step = node.points[index].signal.index_at(now_ns)
                node.values[index] = node.points[index].signal.value_of(step)
                node.stamps[index] = now_ns
            if node.written:
                node.written.clear()
                await self._publish(node)

    # ------------------------------------------------------------------ faults and power

    async def set_fault(self, fault: Fault | None) -> None:
        """Begin a fault, or end the present one (None)."""
        old, self.fault = self.fault, fault
        before, kind = (one.kind if one is not None else None for one in (old, fault))
        self._diary.fault(kind, self._now_ns())
        if self.historian is not None:
            await self.historian.show(kind != "no_history")
        if before == "silence":
            self._speaks.set()
            for transport in self._transports():
                transport.resume_reading()
        if before == "refuse" and self.powered:
            await self.open()
        if "nan" in (before, kind):
            for node in self._nodes:  # what it has after a fault it has since then
                node.stamps |= dict.fromkeys(node.stamps, self._now_ns())
                await self._publish(node)
        if kind == "silence":
            self._speaks.clear()
            self._hold_reading()
        elif kind == "refuse":
            await self.close()
        elif kind == "drop":
            self.drop()
        elif kind == "forget":
            await self.forget()

    def _transports(self) -> list[Any]:
        return list(self._iserver.asyncio_transports)

    def _hold_reading(self) -> None:
        for transport in self._transports():
            if transport.is_reading():
                transport.pause_reading()

    def drop(self) -> None:
        """Close every connection; the port stays open."""
        for transport in self._transports():
            transport.abort()

    async def forget(self) -> None:
        """Close every session, but no connection: the next request is told so."""
        for session in list(self._iserver._external_sessions.values()):
            session.forgotten, session.external = True, False
            await session.close_session()

    async def power(self, on: bool) -> None:
        """Switch it off or on. A start forgets written values and faults. Raises OSError."""
        self.powered = on
        volatile = self._history is not None and self._history.volatile
        self._diary.power(on, self._now_ns(), volatile)
        if not on:
            await self.close()
            return
        await self.reset()
        await self._tell_time()
        await self.set_fault(None)
        await self.open()

    async def open(self) -> None:
        """Open the port. Raises OSError."""
        if self._port_server is not None:
            return
        server = BinaryServer(self._iserver, self.host, self.port, self._server.limits)
        server.set_policies(self._server._policies)
        await server.start()
        self._port_server = server

    async def close(self) -> None:
        """Close the port and end every session, as when the power goes."""
        server, self._port_server = self._port_server, None
        if server is None:
            return
        self.drop()
        for session in list(self._iserver._external_sessions.values()):
            await session.close_session()
        await server.stop()

    async def stop(self) -> None:
        """Close the port and end the server."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.close()
        await self._server.stop()
