"""Configuration as a pure function of its texts: everything checked, or every problem named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from gateway.config import points
from gateway.config.devices import read_csv, read_devices
from gateway.config.drafts import DeviceDraft, Reading, Source, path
from gateway.config.explain import Loc, Place, explain
from gateway.config.found import Found, suggest
from gateway.config.lines import Lines, endpoint_of
from gateway.config.link import check_tls
from gateway.config.node import NodeConfig, NodeFile, node_config
from gateway.config.site import SCAN_CLASSES, SiteConfig, SiteFile
from gateway.config.users import read_users
from gateway.config.web import check_web_tls
from gateway.config.windback import check_windback
from gateway.config.yaml import Node
from gateway.driver import SUBSCRIPTION_CLASS, DeviceSpec, LineSpec, PointSpec, Schema
from gateway.errors import Problem
from gateway.model import NS_PER_S

_PUBLISHING_NS = NS_PER_S // 2
_M = TypeVar("_M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came of a reading. `node` and `site` are None when problems forbid their use."""

    node: NodeConfig | None
    site: SiteConfig | None
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    problem_count: int


@dataclass(frozen=True, slots=True)
class NodeDraft:
    """What a site needs to know of the node it is checked for."""

    file: str
    ports: Mapping[str, str]
    port_line: Mapping[str, int]
    site: Place


def build_node(
    file: Path, source: Source, found: Found
) -> tuple[NodeConfig | None, NodeDraft | None]:
    """Check node.yaml."""
    name = str(file)
    reading = Reading(file.parent, source, {}, found)
    node = reading.tree(file.name, Place(name, 0, ""))
    if node is None:
        return None, None
    model = _validate(NodeFile, node.plain(), name, node, found, {"node": "a", "data_dir": "."})
    if model is None:  # pragma: no cover - the defaults are valid
        return None, None
    if model.link is not None and model.link.tls is not None:
        check_tls(model.link.tls, node, name, reading)
    if model.web is not None and model.web.tls is not None:
        check_web_tls(model.web.tls, node, name, reading)
    site = Place(name, node.line_of(("site",)), "site")
    ports = node.child("ports")
    port_line = {key: at.line for key, at in ports.mapping.items()} if ports else {}
    config = node_config(file, model)
    return config, NodeDraft(name, config.ports, port_line, site)


def build_site(
    file: Path,
    source: Source,
    drivers: Mapping[str, Schema],
    found: Found,
    node: NodeDraft | None = None,
) -> SiteConfig | None:
    """Check a site and all that it names; None when problems were found.

    Without `node` the site is checked for itself: nobody asks where its serial ports are.
    """
    before = found.count
    name = str(file)
    reading = Reading(file.parent, source, drivers, found)
    root = reading.tree(file.name, node.site if node is not None else Place(name, 0, ""))
    if root is None:
        return None
    data = {k: v for k, v in root.plain().items() if k not in ("devices", "lines")}
    data |= {key: _mapping_or(root, key) for key in ("devices", "lines") if key in root.mapping}
    model = _validate(SiteFile, data, name, root, found, {"site": "site", "devices": {}})
    if model is None:  # pragma: no cover - the defaults are valid
        return None
    classes = _scan_classes(model, root, reading, name)
    lines = Lines(reading, name, root.child("lines"))
    drafts = read_devices(reading, name, root.child("devices"), lines)
    for number, csv_name in enumerate(model.points_csv):
        at = Place(name, root.line_of(("points_csv", number)), path("points_csv", number))
        read_csv(reading, csv_name, at, drafts)
    for device in drafts.values():
        check_windback(device, reading)
    checked = _check_points(drafts, classes, reading, name)
    specs = [points.spec(point, number) for number, point in enumerate(checked)]
    devices = _device_specs(drafts, specs, classes)
    if node is None:
        line_specs = lines.finish(devices, None, "", {})
    else:
        line_specs = lines.finish(devices, node.ports, node.file, node.port_line)
    _review(line_specs, drafts, reading)
    _check_devices(model, root, name, drafts, line_specs, reading)
    users = read_users(model, root, name, reading)
    if found.count > before:
        return None
    return SiteConfig(
        site=model.site,
        namespace=model.namespace or f"urn:hotpair:{model.site}",
        lines=line_specs,
        devices=tuple(devices[key] for key in sorted(devices)),
        points=tuple(specs),
        scan_classes=classes,
        history=model.history,
        users=users,
        pair=model.pair,
        files=dict(reading.files),
        northbound=model.northbound,
    )


def build(node_file: Path, source: Source, drivers: Mapping[str, Schema]) -> Loaded:
    """Check a node file and the site it names; what the site names lies beside the site."""
    found = Found()
    node, draft = build_node(node_file, source, found)
    site = None
    if node is not None:
        site = build_site(node.site_file, source, drivers, found, draft)
    return loaded(node, site, found)


def loaded(node: NodeConfig | None, site: SiteConfig | None, found: Found) -> Loaded:
    """Put a reading together with what was found in it."""
    usable = found.count == 0
    return Loaded(
        node if usable else None,
        site if usable else None,
        tuple(found.problems()),
        tuple(found.warnings()),
        found.count,
    )


# ---------------------------------------------------------------------------- parts


def _mapping_or(root: Node, key: str) -> Any:
    """A section as the site's model needs to see it: its shape, since drivers see the rest."""
    node = root.mapping[key]
    return dict.fromkeys(node.mapping) if isinstance(node.value, dict) else node.plain()


def _validate(
    model: type[_M],
    data: dict[str, Any],
    file: str,
    node: Node,
    found: Found,
    spare: dict[str, Any],
) -> _M | None:
    """The model of a file; sections that are wrong are reported and then left out."""

    def locate(loc: Loc) -> Place:
        return Place(file, node.line_of(loc), path(*loc))

    for _ in range(3):
        try:
            return model.model_validate(data)
        except ValidationError as error:
            wrong = explain(error, model, data, locate, found)
            data = {key: value for key, value in data.items() if key not in wrong}
            data |= {key: value for key, value in spare.items() if key not in data}
    return None  # pragma: no cover - what is left out can't be wrong again


def _scan_classes(model: SiteFile, root: Node, reading: Reading, file: str) -> dict[str, int]:
    """Every scan class by name; where the section is wrong, its names count nonetheless."""
    section = root.child("scan_classes")
    named = section.mapping if section is not None else {}
    classes = {**dict(SCAN_CLASSES), **dict.fromkeys(named, NS_PER_S), **model.scan_classes}
    if SUBSCRIPTION_CLASS in named:
        line = named[SUBSCRIPTION_CLASS].line
        place = Place(file, line, path("scan_classes", SUBSCRIPTION_CLASS))
        reading.problem(place, "this name is taken by subscribed devices", "Choose another.")
    return classes


def _check_points(
    drafts: Mapping[str, DeviceDraft], classes: Mapping[str, int], reading: Reading, file: str
) -> list[points.Checked]:
    """The points that passed, in the order of their ids, which both nodes agree on."""
    total = sum(len(device.points) for device in drafts.values())
    if total > points.POINTS_MAX:
        message = f"{total} points are more than {points.POINTS_MAX}"
        place = Place(file, 0, "devices")
        reading.problem(place, message, "Divide the site between several gateways.")
        return []
    _check_device_class(drafts, classes, reading)
    checked: list[points.Checked] = []
    for device in drafts.values():
        if not device.points and "profile" not in device.node.mapping:
            reading.warn(device.place(()), f"`{device.name}` has no points", "Add `points:`.")
        known = _known(device, classes)
        results = (points.check(draft, device, known, reading) for draft in device.points.values())
        checked.extend(point for point in results if point is not None)
    checked.sort(key=lambda point: f"{point.draft.device}/{point.draft.name}")
    points.check_renamed(checked, reading)
    return checked


def _known(device: DeviceDraft, classes: Mapping[str, int]) -> Mapping[str, int]:
    """The scan classes, and the device's own wrong one, so that it is reported once only."""
    own = device.settings.scan if device.settings is not None else ""
    return classes if own in classes else {**classes, own: NS_PER_S}


def _check_device_class(
    drafts: Mapping[str, DeviceDraft], classes: Mapping[str, int], reading: Reading
) -> None:
    for device in drafts.values():
        if device.settings is not None and device.settings.scan not in classes:
            scan = device.settings.scan
            remedy = suggest(scan, classes, "scan classes")
            reading.problem(device.place(("scan",)), f"there is no scan class `{scan}`", remedy)


def _device_specs(
    drafts: Mapping[str, DeviceDraft], specs: Sequence[PointSpec], classes: Mapping[str, int]
) -> dict[str, DeviceSpec]:
    by_device: dict[str, list[PointSpec]] = {name: [] for name in drafts}
    for spec in specs:
        by_device[spec.device].append(spec)
    result = {}
    for name, draft in drafts.items():
        if draft.settings is None or draft.line is None:
            continue
        if draft.profile is not None and draft.profile.model is None:
            continue
        subscribed = draft.schema.subscribed(draft.settings)
        if subscribed:
            period_ns = getattr(draft.settings, "publishing_interval_ns", _PUBLISHING_NS)
            used = {SUBSCRIPTION_CLASS: int(period_ns)}
        else:
            names = sorted({spec.scan_class for spec in by_device[name]})
            used = {key: classes[key] for key in names if key in classes}
        result[name] = DeviceSpec(
            name=name,
            driver=draft.driver,
            line=draft.line,
            settings=draft.settings,
            points=tuple(by_device[name]),
            scan_classes=used,
            profile=draft.profile.model if draft.profile is not None else None,
            subscribed=subscribed,
        )
    return result


def _review(lines: Sequence[LineSpec], drafts: Mapping[str, DeviceDraft], reading: Reading) -> None:
    """Ask each driver what no single model sees."""
    for line in lines:
        for device, point, key, message, remedy in reading.drivers[line.driver].review(line):
            if not point and key in ("line", "port") and _is_serial(line):
                continue  # where the port is was checked against node.yaml, with the lines
            draft = drafts[device]
            loc = tuple(key.split(".")) if key else ()
            known = draft.points.get(point)
            place = known.place(loc) if known is not None else draft.place(loc)
            if message.startswith("warning: "):
                reading.warn(place, message.removeprefix("warning: "), remedy)
            else:
                value = known.data.get(key) if known is not None else None
                reading.problem(place, message, remedy, value)


def _check_devices(
    model: SiteFile,
    root: Node,
    file: str,
    drafts: Mapping[str, DeviceDraft],
    lines: Sequence[LineSpec],
    reading: Reading,
) -> None:
    """A witness must be a device on a network: a serial line can't be read by both nodes."""
    line_of = {device.name: line for line in lines for device in line.devices}
    for number, witness in enumerate(model.pair.witness.modbus):
        loc = ("pair", "witness", "modbus", number, "device")
        place = Place(file, root.line_of(loc), path(*loc))
        draft = drafts.get(witness.device)
        if draft is None:
            remedy = suggest(witness.device, drafts, "devices")
            reading.problem(place, "there is no such device", remedy, witness.device)
        elif draft.driver != "modbus":
            reading.problem(place, "is no Modbus device", "Name a PLC.", witness.device)
        elif (line := line_of.get(witness.device)) is not None and _is_serial(line):
            remedy = "Name a PLC that both nodes reach over a network."
            reading.problem(place, "sits on a serial line", remedy, witness.device)
        elif line is not None and _transport(line) == "udp":
            remedy = "Name a PLC that both nodes reach by TCP."
            message = "is reached by UDP, where a request may arrive twice"
            reading.problem(place, message, remedy, witness.device)


def _transport(line: LineSpec) -> str:
    endpoint = endpoint_of(line.settings) if line.settings is not None else None
    return endpoint[0] if endpoint is not None else ""


def _is_serial(line: LineSpec) -> bool:
    return line.settings is not None and endpoint_of(line.settings) is None
