"""Reads `devices:`: each with its driver's models, its line, its profile and its points."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from pydantic import ValidationError

from gateway.config import points_csv
from gateway.config.drafts import DeviceDraft, Reading, path
from gateway.config.explain import Place, explain, known_keys
from gateway.config.found import suggest
from gateway.config.lines import Lines
from gateway.config.profile import Profiles, draft_of, is_inside, take_points
from gateway.config.site import NAME, better_name
from gateway.config.yaml import Node
from gateway.driver import DeviceSettings, Schema

DEVICES_MAX: Final = 2_000
_OUR_KEYS: Final = ("line", "points")


def read_devices(
    reading: Reading, file: str, node: Node | None, lines: Lines
) -> dict[str, DeviceDraft]:
    """Every device whose driver is known, with the points of its profile and of site.yaml."""
    devices: dict[str, DeviceDraft] = {}
    entries = node.mapping if node is not None else {}
    if len(entries) > DEVICES_MAX:
        place = Place(file, node.line if node is not None else 0, "devices")
        message = f"{len(entries)} devices are more than {DEVICES_MAX}"
        reading.problem(place, message, "Divide the site between several gateways.")
        return {}
    profiles = Profiles(reading)
    for name, entry in entries.items():
        device = _device(reading, file, name, entry)
        if device is not None:
            devices[name] = device
            _settings(reading, device)
            device.line = lines.assign(device)
            _profile(reading, device, profiles)
            _points(reading, device)
    return devices


def _device(reading: Reading, file: str, name: str, entry: Node) -> DeviceDraft | None:
    place = Place(file, entry.line, path("devices", name))
    if not NAME.match(name):
        message = f"`{name[:80]}` is no name: 1 to 64 letters, digits, `_`, `.`, `-`"
        reading.problem(place, message, f"Write `{better_name(name)}` instead.")
    if not isinstance(entry.value, dict):
        remedy = "Write `{driver: modbus, line: {tcp: {host: 10.0.0.11}}}`."
        reading.problem(place, "a device must be a mapping", remedy, entry.value)
        return None
    driver = entry.child("driver")
    known = ", ".join(sorted(reading.drivers))
    if driver is None or driver.value is None:
        reading.problem(place, "`driver` is missing", f"Add it: one of {known}.")
        return None
    schema = reading.drivers.get(str(driver.value))
    if schema is None:
        at = Place(file, driver.line, path("devices", name, "driver"))
        remedy = suggest(str(driver.value), reading.drivers, "drivers")
        reading.problem(at, "there is no such driver", remedy, driver.value)
        return None
    return DeviceDraft(name, file, entry, str(driver.value), schema)


def _settings(reading: Reading, device: DeviceDraft) -> None:
    """Validate what a device says; its line is looked after by Lines, its points one by one."""
    model = device.schema.device
    data = {key: value for key, value in device.node.plain().items() if key not in _OUR_KEYS}
    if "line" in known_keys(model):
        data["line"] = device.name
    elif "line" in device.node.mapping and device.schema.line is None:
        data["line"] = device.node.mapping["line"].plain()
    try:
        device.settings = model.model_validate(data)
    except ValidationError as error:
        explain(error, model, data, device.place, reading.found)


def _profile(reading: Reading, device: DeviceDraft, profiles: Profiles) -> None:
    name = device.node.child("profile")
    if name is None or not isinstance(name.value, str):
        return
    device.profile = profiles.load(device, name.value)
    settings: DeviceSettings | None = device.settings
    take_points(device, settings.include if settings is not None else (), reading)


def _points(reading: Reading, device: DeviceDraft) -> None:
    """Let `points:` add to the profile's points, change them, or drop them (`name: null`)."""
    node = device.node.child("points")
    if node is None or node.value is None:
        return
    if not isinstance(node.value, dict):
        remedy = "Write `points: {level: {register: holding, address: 0, type: uint16}}`."
        reading.problem(device.place(("points",)), "must be a mapping", remedy, node.value)
        return
    fallback = device.place(("points",))
    for name, entry in node.mapping.items():
        known = device.points.get(name)
        place = device.place(("points", name))
        if entry.value is None:
            if known is not None:
                del device.points[name]
            elif not device.lacks_profile and name not in _profile_names(device):
                remedy = "Only a point of the profile can be dropped: give it an address."
                reading.problem(place, f"there is no point `{name}` to drop", remedy)
        elif not isinstance(entry.value, dict):
            remedy = "Write `{register: holding, address: 0, type: uint16}`."
            reading.problem(place, "a point must be a mapping", remedy, entry.value)
        else:
            # A point of the profile that `include` left out comes back when it is mentioned.
            draft = known or draft_of(device, name, fallback)
            draft.over(entry.plain())
            draft.file, draft.node = device.file, entry
            device.points[name] = draft


def _profile_names(device: DeviceDraft) -> Collection[str]:
    return device.profile.points if device.profile is not None else ()


# ---------------------------------------------------------------------------- points by CSV


def columns(schemas: list[Schema]) -> frozenset[str]:
    """The columns that points of these drivers may have."""
    return frozenset(key for schema in schemas for key in known_keys(schema.point))


def read_csv(reading: Reading, name: str, at: Place, devices: dict[str, DeviceDraft]) -> None:
    """Add the points of one CSV file to their devices."""
    if not is_inside(name):
        message = f"`{name}` doesn't lie beside site.yaml"
        reading.problem(at, message, "Copy it there, and name it relatively.")
        return
    text = reading.text(name, at)
    if text is None:
        return
    file = reading.file_of(name)
    all_columns = columns(list(reading.drivers.values()))
    table = points_csv.parse(text, file, all_columns, reading.found)
    for row in table.rows if table is not None else ():
        assert table is not None
        device = devices.get(row.device)
        place = Place(file, row.line, "column device")
        if device is None:
            full = reading.found.full(file)
            remedy = "" if full else suggest(row.device, devices, "devices")
            reading.problem(place, f"the site has no device `{row.device}`", remedy)
        else:
            _csv_point(reading, device, row, table)


def _csv_point(
    reading: Reading, device: DeviceDraft, row: points_csv.Row, table: points_csv.Table
) -> None:
    data: dict[str, Any] = points_csv.settings(row, table, device.schema.point)
    known = device.points.get(row.point)
    if known is not None and (known.node is not None or known.row is not None):
        first = known.own_place
        message = f"`{device.name}/{row.point}` is already defined in {first.file}:{first.line}"
        place = Place(table.file, row.line, "column point")
        reading.problem(place, message, "Remove one, or rename it.")
        return
    if known is None:
        at = device.place(("points",))
        known = device.points[row.point] = draft_of(device, row.point, at)
    known.over(data)
    known.row, known.table = row, table
