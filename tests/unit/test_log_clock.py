"""The clock of a device that records on local time."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from log_device import NOW_NS, SECOND, Device, a_device, a_job

from drivers.modbus.log.ops import Answer
from gateway.driver import LogWanted
from profiles.records import Clock

FILE = {"method": "file_record", "file": 1, "records": 10, "resolution": "1s"}
RECORD = {"record": {"time": {"at": 0, "type": "uint32", "format": "unix_s"}, "columns_at": 2}}


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "America/New_York", "utc"])
def test_a_local_clock_is_in_the_zone_that_the_site_names_for_its_log(zone: str) -> None:
    named = ZoneInfo("UTC" if zone == "utc" else zone)
    wall = datetime.fromtimestamp(NOW_NS / SECOND, named).replace(tzinfo=ZoneInfo("UTC"))
    device = Device()
    device.long(10, int(wall.timestamp()))
    site = {**FILE, **RECORD, "zone": zone, "logs": [{"id": "log", "columns": ["level"]}]}
    spec = a_device(site, {"level": {"address": 1, "type": "float32"}})
    _, job = a_job(spec, LogWanted("log", NOW_NS - SECOND, NOW_NS))
    own = "utc" if zone == "utc" else "local"
    read = {"address": 10, "type": "uint32", "format": "unix_s"}
    clock = Clock.model_validate({"read": read, "zone": own})
    asking = replace(job, clock=clock).read_clock()
    answer = device.carry_out(next(asking))
    assert isinstance(answer, Answer)
    with pytest.raises(StopIteration) as done:
        asking.send(answer)
    assert abs(done.value.value.offset_ns) <= done.value.value.uncertainty_ns <= 2 * SECOND
