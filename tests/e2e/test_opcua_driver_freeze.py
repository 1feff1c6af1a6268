"""The OPC UA driver behind a network that stops: short stops are ridden through, long ones told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.e2e.opcua_peer import KINDS, URI, Heard, House, Plc, open_line, running

FLOW = {"flow": {"node": f"nsu={URI};s=Double", "type": "double"}}


class Relay:
    """Passes bytes between a client and a PLC, unless it is stopped."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self.open = asyncio.Event()
        self.open.set()
        self.port = 0
        self.connections = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        there, back = await asyncio.open_connection("127.0.0.1", self._target_port)
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._pass(source, sink))
            self._tasks.add(task)

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                await self.open.wait()
                sink.write(data)
                await sink.drain()
        except ConnectionError:
            pass
        finally:
            sink.close()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def relayed() -> AsyncIterator[tuple[Plc, Relay]]:
    plc = Plc()
    relay = Relay(plc.port)
    async with running(plc):
        server = await asyncio.start_server(relay.accept, "127.0.0.1", 0)
        relay.port = server.sockets[0].getsockname()[1]
        yield plc, relay
        server.close()
        await relay.stop()


async def test_a_stop_of_three_seconds_loses_nothing_and_a_long_one_ends_in_a_fault(
    tmp_path: Path,
) -> None:
    house = House(tmp_path)
    async with relayed() as (plc, relay):
        device = {
            "endpoint": f"opc.tcp://127.0.0.1:{relay.port}",
            "insecure": True,
            "publishing_interval": "100ms",
            "queue_size": 100,
        }
        async with Heard(open_line(house, device, FLOW)) as heard:
            await heard.value(0, 2.25)
            relay.open.clear()
            for step in range(30):
                await asyncio.sleep(0.1)  # paces: three seconds of plant time
                await plc.set("Double", float(step), KINDS.Double)
            frozen_through_ns = heard.deliveries[-1].through_ns
            relay.open.set()
            await heard.value(0, 29.0)
            values = [o.value for d in heard.deliveries for o in d.observations]
            assert values == [2.25, *(float(step) for step in range(30))]
            assert relay.connections == 1
            assert all(d.complete and d.fault is None for d in heard.deliveries)

            await heard.until(lambda d: d.through_ns > frozen_through_ns)
            relay.open.clear()
            fault = (await heard.until(lambda d: d.fault is not None)).fault
            assert fault is not None and "no keep-alive" in fault.detail
            relay.open.set()
            count = len(heard.deliveries)
            await heard.value(0, 29.0, after=count)
