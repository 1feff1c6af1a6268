"""From a scenario to a working folder: its site, on free ports or on machines of the lab."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Collection, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from hil.lab import FIELD, SECOND, Lab, link_address
from hil.pair import NODES, Pair
from hil.ports import free_ports
from hil.real import proxied
from hil.scenario import Ground
from hil.settings import SiteError, load_yaml
from hil.site import RIG_FILE, edit_yaml, load_site, localise

SITES: Final = Path(__file__).parent / "sites"
SCENARIOS: Final = Path(__file__).parent / "scenarios"
_OWN: Final = ("run", "data", "tls", "__pycache__")
_NEWNET: Final = 0x40000000


def find_site(name: str, base: Path) -> Path:
    """The folder of a site: beside the scenario, or shipped. Raises SiteError."""
    for folder in (base / name, SITES / name):
        if (folder / "site.yaml").is_file():
            missing = [f"node-{n}.yaml" for n in NODES if not (folder / f"node-{n}.yaml").is_file()]
            if missing:
                raise SiteError(f"{folder} has no {' and no '.join(missing)}")
            return folder
    shipped = sorted(path.name for path in SITES.iterdir() if (path / "site.yaml").is_file())
    raise SiteError(f"no folder {base / name} with a site.yaml; shipped are {', '.join(shipped)}")


@lru_cache(maxsize=64)
def ground_of(name: str, base: Path) -> Ground:
    """What a scenario must know of its site; many ask for the same one. Raises SiteError."""
    folder = find_site(name, base)
    try:
        plant = load_site(folder / "site.yaml")
        link = load_yaml((folder / "node-a.yaml").read_text(encoding="utf-8"))["link"]["listen"]
    except (OSError, KeyError, TypeError) as error:
        raise SiteError(f"{folder}: {error!r}") from error
    return Ground(frozenset(plant.devices), len(link) if isinstance(link, list) else 1, plant)


def prepare(
    site: Path,
    folder: Path,
    offset: int,
    seed: int | None,
    settings: Mapping[str, Any],
    lab: Lab | None,
    real: Collection[str] = (),
) -> Pair:
    """Copy a site into a folder and make it what a scenario asks for; the pair that will run.

    Without a lab all ports are moved by `offset`; `settings` replace those under `pair:` in
    site.yaml, `seed` that of rig.yaml. `real` devices stay where they are: the copy leads to a
    proxy before each that speaks Modbus TCP. Raises SiteError, OSError.
    """
    shutil.copytree(site, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*_OWN))
    for name in ("site.yaml", *(f"node-{node}.yaml" for node in NODES)):
        path = folder / name
        text = path.read_text(encoding="utf-8")
        path.write_text(localise(text, offset if lab is None else 0), encoding="utf-8")
    if settings:
        edit_yaml(folder / "site.yaml", lambda data: data.setdefault("pair", {}).update(settings))
    if seed is not None:
        edit_yaml(folder / RIG_FILE, lambda data: data.update(seed=seed))
    if real:
        _leave(site, folder, real)
    if lab is not None:
        text = (folder / "site.yaml").read_text(encoding="utf-8")
        for old, new in (
            ("localhost", FIELD["p"]),
            ("127.0.0.1", FIELD["p"]),
            ("127.0.0.2", SECOND),
        ):
            text = text.replace(old, new)
        (folder / "site.yaml").write_text(text, encoding="utf-8")
        for name in NODES:
            edit_yaml(folder / f"node-{name}.yaml", _on_machine)
    return Pair(folder, lab)


def _leave(site: Path, folder: Path, real: Collection[str]) -> None:
    """Lead a copied site to real devices: where they are, or to a proxy that carries there."""
    original = load_yaml((site / "site.yaml").read_text(encoding="utf-8"))
    plant = load_site(site / "site.yaml")
    lines = sorted({plant.devices[name].line for name in real if proxied(plant, name)})
    ports = dict(zip(lines, free_ports(len(lines)), strict=True))

    def lead(data: Any) -> None:
        for name in sorted(real):
            said, device = original["devices"][name], data["devices"][name]
            if "endpoint" in said:
                device["endpoint"] = said["endpoint"]
                continue
            line = said["line"]
            settings = original["lines"][line] if isinstance(line, str) else line
            if plant.devices[name].line in ports:
                port = ports[plant.devices[name].line]
                there = {k: v for k, v in settings["tcp"].items() if k not in ("host", "hosts")}
                count = len(plant.lines[plant.devices[name].line].hosts)
                where = {"host": _host(0)} if count == 1 else {"hosts": [*map(_host, range(count))]}
                settings = {**settings, "tcp": {**there, **where, "port": port}}
            if isinstance(line, str):
                data["lines"][line] = settings
            else:
                device["line"] = settings

    def known(data: Any) -> None:
        data["real"] = {}
        for name in sorted(real):
            line = plant.lines[plant.devices[name].line]
            data["real"][name] = {}
            if line.name in ports:
                at = [f"{_host(n)}:{ports[line.name]}" for n in range(len(line.hosts))]
                to = [f"{host}:{line.port}" for host in line.hosts]
                data["real"][name] = {"at": at, "to": to}

    edit_yaml(folder / "site.yaml", lead)
    edit_yaml(folder / RIG_FILE, known)


def _host(number: int) -> str:
    """Where the proxy before the Nth address of a device listens: all on one port."""
    return f"127.0.0.{number + 1}"


def links_of(site: Path) -> int:
    """How many links the nodes of a site have."""
    listen = load_yaml((site / "node-a.yaml").read_text(encoding="utf-8"))["link"]["listen"]
    return len(listen) if isinstance(listen, list) else 1


def _on_machine(data: Any) -> None:
    """A node.yaml of loopback for one machine of the lab: field and links by their cables.

    OPC UA stays on loopback, because an endpoint without security may not leave it: clients go to
    the machine (`go_to`).
    """
    name = str(data["node"])
    other = "b" if name == "a" else "a"
    data["bind"] = FIELD[name]
    listen = data["link"]["listen"]
    count = len(listen) if isinstance(listen, list) else 1
    data["link"]["listen"] = [f"{link_address(name, at)}:7700" for at in range(count)]
    data["link"]["peer"] = [f"{link_address(other, at)}:7700" for at in range(count)]


def go_to(namespace: str) -> None:
    """Let this thread's sockets be those of a machine of the lab. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/run/netns", namespace).open() as file:
        if libc.setns(file.fileno(), _NEWNET) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), namespace)
