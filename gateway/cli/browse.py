"""`hotpair browse`: the variables of an OPC UA server, as rows that can become points."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, NamedTuple

from gateway.cli.look import console, counted, table
from gateway.cli.probe import timeout_of
from gateway.commissioning import Login, is_opcua, visitor
from gateway.config.points_sheet import Sheet, as_csv
from gateway.config.site import better_name
from gateway.driver import DriverContext
from gateway.errors import BadInput, ConfigError, NotThere

FORMS: Final = ("table", "yaml", "csv")
NAME_MAX: Final = 64


class Wanted(NamedTuple):
    """What was typed."""

    target: str
    start: str
    depth: int
    limit: int
    match: str
    form: str
    device: str
    timeout: str


def browse(wanted: Wanted, login: Login, node: Path, as_json: bool) -> None:
    """`hotpair browse`. Raises BadInput, NotThere, ConfigError, DeviceError."""
    if wanted.form not in FORMS:
        raise BadInput(f"{wanted.form!r} is no form", f"Write --as {', '.join(FORMS)}")
    from gateway.opcua_visits import check_node_id, opcua_device

    check_node_id(wanted.start)
    if is_opcua(wanted.target):
        device: Any = opcua_device(wanted.target, login, timeout_of(wanted.timeout))
        name, context = wanted.device or "plc1", visitor()
    else:
        device, context = _of_site(wanted.target, node)
        name = wanted.device or wanted.target
    found = asyncio.run(_variables(device, context, wanted))
    rows = named(found["variables"], wanted.match)
    if found["more"]:
        print(
            f"hotpair: {wanted.limit} nodes were seen, there are more: raise --limit, or begin "
            "deeper with --start",
            file=sys.stderr,
        )
    if as_json:
        print(json.dumps(found | {"variables": rows}))
    elif wanted.form == "csv":
        print(as_csv(_sheet(name, rows)), end="")
    elif wanted.form == "yaml":
        print(as_yaml(rows), end="")
    else:
        columns = ("point", "node", "type", "access", "value", "why")
        shown = ([row[column] or "" for column in columns] for row in rows)
        head = f"{counted(rows, 'variable')} among {found['nodes']} nodes"
        console().print(table(head, columns, shown))


def _of_site(name: str, node: Path) -> tuple[Any, DriverContext]:
    """A device of the site that node.yaml names, with the node's own certificates."""
    from gateway.app import schemas
    from gateway.config.files import check_node

    loaded = check_node(node, schemas())
    if loaded.node is None or loaded.site is None:
        raise ConfigError(list(loaded.problems))
    of_opcua = {d.name: d for d in loaded.site.devices if d.driver == "opcua"}
    if name not in of_opcua:
        known = ", ".join(of_opcua) or "none"
        raise NotThere(
            f"the site has no OPC UA device {name!r}",
            f"It has: {known}; or write opc.tcp://HOST:4840",
        )
    return of_opcua[name].settings, visitor(loaded.node.base_dir, loaded.node.data_dir)


async def _variables(device: Any, context: DriverContext, wanted: Wanted) -> dict[str, Any]:
    from gateway.opcua_visits import variables

    def told(count: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{count} nodes ", end="", file=sys.stderr, flush=True)

    found = await variables(device, context, wanted.start, wanted.depth, wanted.limit, told)
    if sys.stderr.isatty():
        print("\r", end="", file=sys.stderr)
    return found


def named(variables: Sequence[dict[str, Any]], match: str) -> list[dict[str, Any]]:
    """The variables whose path fits, each with the name that its point would have.

    Names come from the end of the path, with as much of it as makes them differ.
    """
    fitting = [v for v in variables if fnmatchcase("/".join(v["path"]), match)]
    taken: set[str] = set()
    rows = []
    for variable in fitting:
        path = variable["path"]
        name = ""
        for parts in range(1, len(path) + 1):
            name = better_name(".".join(path[-parts:]))
            if name not in taken:
                break
        number = 2
        while name in taken:  # ends: each round tries another number
            name = f"{better_name('.'.join(path))[: NAME_MAX - 6]}_{number}"
            number += 1
        taken.add(name)
        type_ = variable["type"]
        rows.append(
            {
                "point": name,
                "path": "/".join(path),
                "node": variable["node"],
                "type": None if type_ is None else str(type_),
                "access": variable["access"],
                "value": variable["value"][:60],
                "array": variable["array"],
                "why": variable["why"],
            }
        )
    return rows


def _usable(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["type"] is not None]


def _sheet(device: str, rows: Sequence[dict[str, Any]]) -> Sheet:
    from gateway.config.cells import guarded

    found: list[dict[str, str]] = []
    for row in _usable(rows):
        cells = {"device": device, "point": row["point"], "node": guarded(row["node"])}
        cells |= {"type": row["type"], "access": row["access"]}
        if row["array"] is not None:
            cells["index"] = "0"
        found.append(cells)
    columns = ("device", "point", "node", "type", "access", "index")
    return Sheet(columns, tuple(found), ())


def as_yaml(rows: Sequence[dict[str, Any]]) -> str:
    """The points as they stand under a device in site.yaml; what can't be a point is a comment."""
    lines = ["points:"]
    for row in rows:
        if row["type"] is None:
            lines.append(f"  # {row['point']}: {row['node']}: {row['why']}".replace("\n", " "))
            continue
        node = json.dumps(row["node"], ensure_ascii=False)
        access = f", access: {row['access']}" if row["access"] != "r" else ""
        index = ", index: 0" if row["array"] is not None else ""
        lines.append(f"  {row['point']}: {{node: {node}, type: {row['type']}{access}{index}}}")
    return "\n".join(lines) + "\n"
