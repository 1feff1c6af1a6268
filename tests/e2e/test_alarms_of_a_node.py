"""Alarms of a node that runs: a device that falls silent, and what an operator says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from asyncua import Client, ua

from hil.bench.process import Spawned, free_port, python

from .test_server_alarms import Heard, say, state
from .third_party.rig import running_node, until

SITE = """
site: alarms
scan_classes: {{quick: 100ms}}
devices:
  plc1:
    driver: modbus
    line: {{tcp: {{host: 127.0.0.1, port: {port}}}}}
    timeout: 300ms
    scan: quick
    points:
      count: {{register: holding, address: 0, type: uint16}}
"""


async def test_a_silent_device_is_an_alarm_and_disabling_it_ends_that(tmp_path: Path) -> None:
    command = python("hil.bench.outstations", "--registers", 10, "--period", 0.1)
    async with Spawned("field", command, tmp_path) as outstation:
        port = (await outstation.hear("ports"))["ports"][0]
        site = SITE.format(port=port)
        async with running_node(tmp_path / "node", site, free_port()) as node:

            async def polled() -> Any:
                return await node.value("plc1/count")

            await until(polled, "the first poll")
            async with Client(node.endpoint, watchdog_intervall=30) as client:
                heard = Heard()
                subscription = await client.create_subscription(100, heard)
                kind = ua.ObjectIds.OffNormalAlarmType
                await subscription.subscribe_alarms_and_conditions(evtypes=kind)
                await outstation.stop()
                [lost] = await heard.until(1, 20)
                assert state(lost) == ("plc1#Alarm.Lost", True, False, True)
                assert await say(client, lost, ua.LocalizedText("a fuse")) == ua.StatusCodes.Good
                [seen] = await heard.until(1)
                assert state(seen) == ("plc1#Alarm.Lost", True, True, True)
                words = ("disable", "plc1", "--why", "its fuse is changed")
                status, said = await node.command(*words, json_output=False)
                assert status == 0, said
                [over] = await heard.until(1, 20)
                assert state(over) == ("plc1#Alarm.Lost", False, True, False)
            _, audit = await node.command("audit")
    told = [(e["action"], e["target"], e["who"], e["detail"]) for e in audit]
    assert ("acknowledge", "plc1#Alarm.Lost", "anonymous", {"comment": "a fuse"}) in told
