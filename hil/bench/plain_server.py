"""The server that one would write on asyncua in an afternoon: variables in folders of a hundred.

Folders, since asyncua is quadratic in the size of one. Values are written by its
`write_attribute_value`, the fastest way that it documents, with a pause after each folder.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime

from asyncua import Server, ua

from hil.bench.publish_party import FOLDER, serve


class Plain:
    """asyncua's server as it is."""

    def __init__(self, points: int, port: int) -> None:
        self._points = points
        self._endpoint = f"opc.tcp://127.0.0.1:{port}"
        self._server = Server()
        self._nodes: list[ua.NodeId] = []

    async def build(self) -> None:
        server = self._server
        await server.init()
        server.set_endpoint(self._endpoint)
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        index = await server.register_namespace("urn:plain:points")
        for number in range(self._points):
            if number % FOLDER == 0:
                name = f"d{number // FOLDER}"
                folder = await server.nodes.objects.add_folder(ua.NodeId(name, index), name)
            nodeid = ua.NodeId(f"d{number // FOLDER}/r{number}", index)
            await folder.add_variable(nodeid, f"{index}:r{number}", 0.0)
            self._nodes.append(nodeid)

    async def open(self) -> str:
        await self._server.start()
        return self._endpoint

    async def close(self) -> None:
        await self._server.stop()

    async def change(self, number: int) -> None:
        moment, write = datetime.now(UTC), self._server.write_attribute_value
        for place, nodeid in enumerate(self._nodes):
            value = ua.Variant(float(number), ua.VariantType.Double)
            await write(nodeid, ua.DataValue(value, SourceTimestamp=moment))
            if place % FOLDER == 0:
                await asyncio.sleep(0)


if __name__ == "__main__":
    asyncio.run(serve(Plain(int(sys.argv[1]), int(sys.argv[2]))))
