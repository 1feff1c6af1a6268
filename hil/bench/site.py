"""The configuration of a bench: outstations full of 16-bit registers, one point a register."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

DEVICES_PER_AREA = 10


@dataclass(frozen=True, slots=True)
class BenchSite:
    """A folder that `hotpair run node.yaml` is started in."""

    folder: Path
    endpoint: str
    points: tuple[str, ...]

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    @property
    def nodes(self) -> list[str]:
        """The NodeIds of all points, as a client of any vendor writes them."""
        return [f"ns=2;s={point}" for point in self.points]


def site_yaml(ports: Sequence[int]) -> str:
    """A site with one device a port; its points come from points.csv."""
    lines = ["site: bench", "points_csv: [points.csv]", "devices:"]
    for number, port in enumerate(ports):
        line = f"line: {{tcp: {{host: 127.0.0.1, port: {port}}}}}"
        area = f"area: group{number // DEVICES_PER_AREA}"
        lines.append(f"  d{number}: {{driver: modbus, {line}, {area}, scan: normal}}")
    lines.append("history: {retention: 30d, max_size: 10GB}")
    return "\n".join(lines) + "\n"


def node_yaml(opcua_port: int) -> str:
    """One node on loopback, open to this machine."""
    return (
        "node: a\ndata_dir: data\nsite: site.yaml\n"
        f"opcua: {{listen: 127.0.0.1:{opcua_port}, advertise: [127.0.0.1], insecure: true}}\n"
    )


def points_csv(devices: int, registers: int) -> str:
    """One holding register a point."""
    rows = ["device,point,register,address,type"]
    for device in range(devices):
        rows += [f"d{device},r{n},holding,{n},uint16" for n in range(registers)]
    return "\n".join(rows) + "\n"


def write(folder: Path, ports: Sequence[int], registers: int, opcua_port: int) -> BenchSite:
    """Write the files of a bench into a new folder."""
    folder.mkdir(parents=True)
    (folder / "site.yaml").write_text(site_yaml(ports))
    (folder / "node.yaml").write_text(node_yaml(opcua_port))
    (folder / "points.csv").write_text(points_csv(len(ports), registers))
    points = (f"d{d}/r{n}" for d in range(len(ports)) for n in range(registers))
    return BenchSite(folder, f"opc.tcp://127.0.0.1:{opcua_port}", tuple(points))
