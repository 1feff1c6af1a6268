"""The site of the windback bench: a device that keeps a log, and devices beside it.

`plc1` keeps a ring, `plc2` is an OPC UA server with history; either has 20 points, as all devices
do: eight numbers and a word of twelve bits. So an hour of records fits into the registers that
Modbus can address. All are scanned each 200 ms, each on a line of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hil.bench.site import node_yaml

SCAN_MS: Final = 200
NUMBERS: Final = 8
BITS: Final = 12
POINTS: Final = NUMBERS + BITS
RING_AT: Final = 1000
HEADER_WORDS: Final = 12
RECORD_WORDS: Final = 6 + NUMBERS + 1 + 1
CAPACITY: Final = 3_900
"""Records that the ring holds: an hour, and five minutes in which the hour may be read."""
HISTORY_URI: Final = "urn:bench:plc2"


@dataclass(frozen=True, slots=True)
class LoggedSite:
    """What a run is about: `device` keeps the log, `others` are polled beside it."""

    folder: Path
    device: str
    port: int
    others: tuple[str, ...]

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"


def modbus_points() -> list[str]:
    """Lines of the points of one Modbus device: registers 0 to 8."""
    numbers = [
        f"      n{at}: {{register: holding, address: {at}, type: uint16, unit: m, scale: 0.001}}"
        for at in range(NUMBERS)
    ]
    bits = [
        f"      b{bit}: {{register: holding, address: {NUMBERS}, type: bool, bit: {bit}}}"
        for bit in range(BITS)
    ]
    return ["    points:", *numbers, *bits]


def ring() -> list[str]:
    """Lines of `plc1`'s log: a record each second, the bits in one word of it."""
    columns = [f"n{at}" for at in range(NUMBERS)]
    columns += [f"{{point: b{bit}, at: {6 + NUMBERS}}}" for bit in range(BITS)]
    said = f"address: {RING_AT}, resolution: 1s, depth_records: {CAPACITY}"
    return [f"    windback: {{{said},", f"      columns: [{', '.join(columns)}]}}"]


def _modbus(name: str, port: int, more: Sequence[str] = ()) -> list[str]:
    line = f"line: {{tcp: {{host: 127.0.0.1, port: {port}}}}}"
    return [
        f"  {name}:",
        f"    driver: modbus\n    {line}\n    scan: fast",
        *more,
        *modbus_points(),
    ]


def _plc2(port: int) -> list[str]:
    nodes = [(f"n{at}", "float64") for at in range(NUMBERS)]
    nodes += [(f"b{bit}", "bool") for bit in range(BITS)]
    points = [f'      {n}: {{node: "nsu={HISTORY_URI};s={n}", type: {t}}}' for n, t in nodes]
    head = f"    driver: opcua\n    endpoint: opc.tcp://127.0.0.1:{port}\n    insecure: true"
    mode = "    mode: subscribe\n    windback: {method: opcua_history}"
    return ["  plc2:", head, mode, "    points:", *points]


def write(folder: Path, device: str, ports: Sequence[int]) -> LoggedSite:
    """Write the files of one run; the first port is the device's, the last the node's endpoint."""
    folder.mkdir(parents=True)
    own, *beside, endpoint = ports
    others = {f"d{number}": port for number, port in enumerate(beside, start=1)}
    lines = ["site: bench", f"scan_classes: {{fast: {SCAN_MS}ms}}", "devices:"]
    if device == "plc1":
        lines += _modbus("plc1", own, ["    profile: generic/plc-ring", *ring()])
    else:
        lines += _plc2(own)
    for name, port in others.items():
        lines += _modbus(name, port)
    lines.append("history: {retention: 30d, max_size: 10GB}")
    (folder / "site.yaml").write_text("\n".join(lines) + "\n")
    (folder / "node.yaml").write_text(node_yaml(endpoint))
    return LoggedSite(folder, device, own, tuple(others))


def write_rig(
    site: LoggedSite, folder: Path, devices: Sequence[str], seconds: int, latency_ms: float
) -> Path:
    """The same site for outstations that are some of its devices; its site.yaml."""
    folder.mkdir()
    dead = [name for name in (site.device, *site.others) if name not in devices]
    text = (site.folder / "site.yaml").read_text()
    (folder / "site.yaml").write_text(text)
    rig = [f"seed: 7\nchange: 1\ndead: [{', '.join(dead)}]"]
    if site.device == "plc1":
        rig.append(f"logs: {{plc1: {{age: {seconds}s}}}}")
        rig.append(f"latency_ms: {{plc1: {latency_ms:g}}}")
    else:
        rig.append(f"opcua_history: {{plc2: {{before: {seconds}s, depth: 2h}}}}")
    (folder / "rig.yaml").write_text("\n".join(rig) + "\n")
    return folder / "site.yaml"
