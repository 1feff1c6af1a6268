"""`hotpair check node.yaml`: every mistake with file and line; nothing is started."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gateway.config.build import Loaded
from gateway.config.disk import Disk
from gateway.config.files import check_node, check_site, read_text
from gateway.config.site import SiteConfig
from gateway.config.text import Unreadable
from gateway.config.yaml import parse
from gateway.driver import DeviceSpec, Schema
from gateway.errors import Problem
from gateway.journal.peek import revisions_in
from gateway.model import NS_PER_S

NODE_KEYS = frozenset({"node", "data_dir", "ports", "bind", "link", "opcua", "web"})


def is_node_file(file: Path) -> bool:
    """Whether a file is a node.yaml rather than a site.yaml, by its keys, else by its name."""
    try:
        tree, _ = parse(read_text(file), file.name)
    except Unreadable:
        tree = None
    if tree is None:
        return file.name.startswith("node")
    return len(NODE_KEYS & tree.mapping.keys()) >= len({"devices", "lines"} & tree.mapping.keys())


def check(
    file: Path,
    drivers: Mapping[str, Schema],
    as_json: bool = False,
    out: Callable[[str], None] = print,
) -> int:
    """Check a node file with its site, or a site file; the exit status is 1 if it is wrong."""
    loaded = check_node(file, drivers) if is_node_file(file) else check_site(file, drivers)
    if as_json:
        out(json.dumps(_as_json(file, loaded, drivers), ensure_ascii=False))
    else:
        for line in _as_text(file, loaded, drivers):
            out(line)
    return 1 if loaded.problem_count else 0


def summary(site: SiteConfig, drivers: Mapping[str, Schema]) -> dict[str, Any]:
    """Figures of a site; `requests_per_s` is None where no driver foretells its requests."""
    scans = 0.0
    requests: float | None = 0.0
    for device in site.devices:
        if device.subscribed or not device.settings.enabled:
            continue
        for name, period_ns in device.scan_classes.items():
            scans += NS_PER_S / period_ns
            count = _requests(device, name, drivers)
            requests = (
                None
                if requests is None or count is None
                else (requests + count * NS_PER_S / period_ns)
            )
    return {
        "site": site.site,
        "devices": len(site.devices),
        "lines": len(site.lines),
        "points": len(site.points),
        "scans_per_s": round(scans, 1),
        "requests_per_s": None if requests is None else round(requests, 1),
    }


def _requests(device: DeviceSpec, scan_class: str, drivers: Mapping[str, Schema]) -> int | None:
    foretell = drivers[device.driver].requests
    return None if foretell is None else foretell(device, scan_class)


def differing(loaded: Loaded) -> list[str]:
    """How the files on disk differ from the revision that the node runs: they are not in force."""
    node = loaded.node
    if node is None:
        return []
    head, known = revisions_in(node.data_dir)
    if head is None:
        return []
    disk = Disk(node.site_file)
    for revision in known:
        disk.remember(revision.number, revision.files)
    disk.follow(head.revision.number, head.revision.files)
    return disk.told(node.node_file)


def _as_text(file: Path, loaded: Loaded, drivers: Mapping[str, Schema]) -> list[str]:
    lines = [str(problem) for problem in loaded.problems]
    lines += [f"warning: {problem}" for problem in loaded.warnings]
    lines += [f"note: {line}" for line in differing(loaded)]
    if loaded.problem_count:
        noun = "problem" if loaded.problem_count == 1 else "problems"
        return [*lines, f"{file}: {loaded.problem_count} {noun}"]
    assert loaded.site is not None
    figures = summary(loaded.site, drivers)
    pace = f"{figures['scans_per_s']:g} scans a second"
    if figures["requests_per_s"] is not None:
        pace += f", {figures['requests_per_s']:g} requests a second"
    counts = ", ".join(_count(figures[word], word) for word in ("devices", "lines", "points"))
    return [*lines, f"{file}: OK: site {figures['site']}, {counts}, {pace}"]


def _count(number: int, plural: str) -> str:
    return f"{number} {plural[:-1] if number == 1 else plural}"


def _as_json(file: Path, loaded: Loaded, drivers: Mapping[str, Schema]) -> dict[str, Any]:
    result: dict[str, Any] = {
        "file": str(file),
        "ok": loaded.problem_count == 0,
        "problem_count": loaded.problem_count,
        "problems": [_problem(problem) for problem in loaded.problems],
        "warnings": [_problem(problem) for problem in loaded.warnings],
        "differs": differing(loaded),
    }
    if loaded.site is not None:
        result["summary"] = summary(loaded.site, drivers)
    return result


def _problem(problem: Problem) -> dict[str, Any]:
    return {
        "file": problem.file,
        "line": problem.line,
        "where": problem.where,
        "value": problem.value,
        "message": problem.message,
        "remedy": problem.remedy,
    }
