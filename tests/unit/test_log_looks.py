"""A clock that is read before anybody sets it: what it is set by later was set in the device."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from log_device import NOW_NS, SECOND, Device, a_device, drive, lacking, read_log, rows
from test_log_enron_events import spec as flow_computer
from test_log_record_select import PROFILE
from test_log_ring import FIRST, last, plc_with, spec

from drivers.modbus.log.methods import FACT, Logs
from gateway.driver import DeviceSpec, LogWanted
from profiles.schema import Profile

CLOCK = {"read": {"address": 500, "format": "unix_s"}, "zone": "UTC", "resolution": "1s"}


def look(device: Device, said: DeviceSpec, fact: dict[str, Any] | None, run: str) -> int:
    """What a new connection of a run does; how many logs it looked for."""
    logs = Logs(said)
    facts = {} if fact is None else {("plc", FACT + "ring"): fact}
    looks = logs.looks(facts, device.now_ns, run)
    for _, reading in looks:
        assert drive(reading, device) == []
    return len(looks)


def test_another_node_that_has_looked_places_what_was_made_before_the_clock_was_set() -> None:
    for looked in (True, False):
        plc = plc_with(60)
        read_log(spec(), plc, last(30, 20), clock_run="b")
        fact = plc.facts[-1]
        if looked:
            plc.seen.clear()
            assert look(plc, spec(), fact, "a") == 1
            assert plc.reads() and all(op.address < FIRST for op in plc.reads())
            fact = plc.facts[-1]
            assert fact["clock"][-1][2:4] == ["b", "a"]
            assert fact["depth_records"] == 100
            told = len(plc.facts)
            look(plc, spec(), fact, "a")
            assert len(plc.facts) == told, "nothing new"
        for seconds in range(20):
            plc.make(NOW_NS + seconds * SECOND)
        plc.clock_ahead_ns = 90 * SECOND
        for seconds in range(20, 25):
            plc.make(NOW_NS + seconds * SECOND)
        plc.now_ns = NOW_NS + 25 * SECOND
        wanted = LogWanted("ring", NOW_NS + 9 * SECOND // 2, NOW_NS + 39 * SECOND // 2)
        pages = read_log(spec(), plc, wanted, fact, clock_run="a")
        if not looked:
            assert lacking(pages)
            continue
        assert not lacking(pages)
        made = [(value, time_ns) for _, time_ns, value in rows(pages)]
        assert [value for value, _ in made] == [float(n) for n in range(66, 81)]
        assert all(abs(at - NOW_NS - (n - 61) * SECOND) < SECOND // 10 for n, at in made)


def test_only_what_has_a_clock_and_places_records_by_it_is_looked_at() -> None:
    points = {"level": {"address": 7, "type": "float32"}}
    files = {
        "method": "file_record",
        "resolution": "1s",
        "file": 4,
        "records": 30,
        "record": {
            "time": {"at": 0, "type": "uint32", "format": "unix_s"},
            "columns_at": 2,
            "column_type": "float32",
        },
        "logs": [{"id": "file", "columns": ["level"]}],
    }
    clocked = Profile.model_validate(PROFILE | {"clock": CLOCK})
    device = Device()
    device.put(500, *divmod(NOW_NS // SECOND, 65536))
    assert look(device, a_device(files, points), None, "a") == 0
    assert look(device, a_device(files, points, clocked), None, "a") == 1
    (fact,) = device.facts
    assert fact["clock"][0][2:4] == ["a", "a"]
    device.words.clear()
    assert look(device, a_device(files, points, clocked), None, "a") == 1
    assert len(device.facts) == 1, "a clock that shows nothing teaches nothing"
    assert look(device, a_device({"method": "none"}, points, clocked), None, "a") == 0
    computer = replace(flow_computer(), profile=clocked)
    assert {log.name for log in Logs(computer).specs({})} == {"interval", "events"}
    assert [name for name, _ in Logs(computer).looks({}, NOW_NS, "a")] == [FACT + "interval"]
