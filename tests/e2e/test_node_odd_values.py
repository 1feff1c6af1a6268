"""A node whose devices say what nobody can store: it costs that point, and neither node."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.model import NS_PER_S, Cause
from hil.gateway import Control, Program

from .opcua_peer import KINDS, URI, Plc, free_port, running

SITE = """\
site: odd
scan_classes: {{normal: 200ms}}
devices:
  plc:
    driver: opcua
    endpoint: {endpoint}
    insecure: true
    mode: {mode}
    points:
      text: {{node: "nsu={uri};s=String", type: string}}
      time: {{node: "nsu={uri};s=Time", type: datetime}}
      flow: {{node: "nsu={uri};s=Double", type: double}}
"""
NODE = """\
node: a
data_dir: data
site: site.yaml
opcua: {{listen: "127.0.0.1:{port}", advertise: [127.0.0.1], insecure: true}}
"""
LATIN_1 = "21,5 \N{DEGREE SIGN}C".encode("latin-1").decode(errors="surrogateescape")
"""As the library hands on, and sends, a String of these bytes."""


@pytest.mark.parametrize("mode", ["poll", "subscribe"])
async def test_a_text_that_is_no_utf_8_and_a_time_of_never_end_no_node(
    tmp_path: Path, mode: str
) -> None:
    async with running(Plc()) as plc:
        site = SITE.format(endpoint=plc.endpoint, uri=URI, mode=mode)
        (tmp_path / "site.yaml").write_text(site)
        (tmp_path / "node.yaml").write_text(NODE.format(port=free_port()))
        arguments = ["run", str(tmp_path / "node.yaml")]
        node = Program("node", arguments, tmp_path / "node.log", "is Main")
        await node.start()
        control = Control(tmp_path / "data")

        async def shows(point: str, value: Any, status: str) -> None:
            async with asyncio.timeout(15):
                while True:
                    points = {p["point"]: p for p in await control.get("/points")}
                    found = points[f"plc/{point}"]
                    if (found["value"], found["status"]) == (value, status):
                        return
                    await asyncio.sleep(0.02)  # paces: the socket has no event for this

        try:
            await plc.set("String", LATIN_1, KINDS.String)
            await plc.set("Time", datetime.max.replace(tzinfo=UTC), KINDS.DateTime)
            await plc.set("Double", 7.5, KINDS.Double)
            await shows("text", "21,5 \N{REPLACEMENT CHARACTER}C", "Uncertain")
            await shows("time", None, "BadOutOfRange")
            await shows("flow", 7.5, "Good")
            to_ns = time.time_ns()
            gaps = await control.gaps(to_ns - 60 * NS_PER_S, to_ns)
            assert {gap.cause for gap in gaps} <= {Cause.STARTING, Cause.NODE_DOWN}, gaps
        finally:
            await control.close()
            assert await node.stop() == 0
