"""Devices that keep logs, one a method, as lines of site.yaml and rig.yaml.

A new method is a row of `METHODS`: the scenarios go over the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.model import NS_PER_MS, GapState

DATED = "record: {time: {at: 0, format: packed_ymdhms_ms}, columns_at: 4}"
"""A record that begins with its date."""


@dataclass(frozen=True)
class Method:
    """One way to keep a log; `ends` is what gaps become where the log has all of the stretch.

    `device` are lines of site.yaml besides driver and line; `rig` what rig.yaml says of the log.
    `clocked`: the node can read the device's clock. `log_at`: registers from here on are the
    log's, reads below are live polls.
    """

    name: str
    device: str
    rig: str = ""
    ends: GapState = GapState.FILLED
    resolution_ms: int = 1_000
    driver: str = "modbus"
    clocked: bool = True
    log_at: int = 900

    @property
    def resolution_ns(self) -> int:
        return self.resolution_ms * NS_PER_MS


POINTS = """\
    scan: {scan}
    points:
      level: {{register: holding, address: 0, type: float32}}
      flow: {{register: holding, address: 2, type: float32}}
"""
COLUMNS = "columns: [level, flow]"

METHODS = (
    Method(
        "ring",
        f"""\
    profile: generic/plc-ring
    windback:
      {{zone: utc, address: 1000, resolution: 200ms, depth_records: 600, {COLUMNS}}}
"""
        + POINTS.format(scan="fast"),
        rig="{start: 4294967266, clock_offset: 2.5}",  # its numbers have 32 bits
        resolution_ms=200,
    ),
    Method(
        "ion",
        f"""\
    profile: schneider/ion-recorder
    windback:
      resolution: 1s
      logs: [{{id: recorder1, select: 1, depth_records: 600, {COLUMNS}}}]
    points:
      level: {{address: "40011", type: float32}}
      flow: {{address: "40013", type: float32}}
""",
        rig="{start: 4294967290, clock_offset: -90}",  # its numbers have 32 bits
    ),
    Method(
        "cet",
        f"""\
    profile: cet/pmc-53a
    windback:
      zone: utc
      resolution: 1s
      logs: [{{id: recorder1, depth_records: 600, {COLUMNS}}}]
"""
        + POINTS.format(scan="fast"),
        rig="{clock_offset: 90.5}",
        ends=GapState.COARSE,
        log_at=20_000,
    ),
    Method(
        "file",
        f"""\
    windback:
      method: file_record
      file: 1
      records: 600
      newest: {{address: 1000}}
      zone: utc
      resolution: 1s
      {DATED}
      logs: [{{id: file, {COLUMNS}}}]
"""
        + POINTS.format(scan="normal"),
        rig="{start: 594}",  # behind the last place comes the first one
        clocked=False,
    ),
    Method(
        "times",
        f"""\
    windback:
      method: time_select
      moment: {{address: 20000, format: packed_ymdhms}}
      direction: {{address: 20003}}
      next: {{address: 20004}}
      channel: {{address: 20005}}
      data: {{address: 20010}}
      data_words: 80
      newest_first: true
      zone: utc
      resolution: 1s
      record: {{time: {{at: 0, format: packed_ymdhms}}, quality: {{at: 3}}, columns_at: 4}}
      logs: [{{id: profile, select: 1, depth_records: 600, {COLUMNS}}}]
"""
        + POINTS.format(scan="normal"),
        clocked=False,
        log_at=20_000,
    ),
    Method(
        "enron",
        f"""\
    profile: cameron/scanner-2000
    windback: {{zone: utc, logs: [{{id: interval, resolution: 1s, {COLUMNS}}}]}}
"""
        + POINTS.format(scan="normal"),
        rig="{start: 2298}",  # and so here, behind place 2304
        clocked=False,
        log_at=700,
    ),
    Method(
        "satec",
        """\
    profile: satec/pm172
    windback:
      zone: utc
      resolution: 1s
      logs:
        - id: data1
          depth_records: 600
          columns: [{point: level, type: float32}, {point: flow, type: float32}]
"""
        + POINTS.format(scan="normal"),
        rig="{start: 65530}",  # its numbers have 16 bits
        clocked=False,
        log_at=20_000,
    ),
    Method(
        "shark",
        """\
    profile: electro-industries/shark-200
    windback: {zone: utc, logs: [{id: historical1, resolution: 1s}]}
    scan: normal
    points: {apparent_power: null}
""",
        clocked=False,
        log_at=30_000,
    ),
    Method(
        "plc",
        """\
    mode: subscribe
    publishing_interval: 200ms
    windback: {method: opcua_history}
    insecure: true
    points:
      level: {node: "nsu=urn:wound:plc;s=Level", type: float64}
      flow: {node: "nsu=urn:wound:plc;s=Flow", type: float64}
""",
        rig="{depth: 10m, clock: 90s}",
        resolution_ms=0,
        driver="opcua",
        clocked=True,
    ),
)
FINE = Method(
    "fine",
    f"""\
    windback:
      method: file_record
      file: 1
      records: 10000
      newest: {{address: 1000}}
      resolution: 3ms
      {DATED}
      logs: [{{id: file, columns: [level]}}]
    scan: normal
    points:
      level: {{register: holding, address: 0, type: float32}}
""",
    resolution_ms=3,
    clocked=False,
)
"""A log with so many records that reading it can be interrupted: half a minute of them."""
FINE_S = 16.0
"""An outage of so long brings three pages."""
BY_NAME = {method.name: method for method in METHODS}


def device_lines(method: Method, port: int) -> str:
    """A device of site.yaml."""
    if method.driver == "opcua":
        way = f"    endpoint: opc.tcp://127.0.0.1:{port}\n"
    else:
        way = f"    line: {{tcp: {{host: 127.0.0.1, port: {port}}}}}\n    timeout: 300ms\n"
    return f"  {method.name}:\n    driver: {method.driver}\n{way}{method.device}"


def rig_lines(methods: Sequence[Method]) -> str:
    """rig.yaml: every second point steps each second."""
    text = "seed: 11\nchange: 0.5\n"
    for key, driver in (("logs", "modbus"), ("opcua_history", "opcua")):
        said = [f"  {m.name}: {m.rig}\n" for m in methods if m.driver == driver and m.rig]
        text += f"{key}:\n{''.join(said)}" if said else ""
    return text
