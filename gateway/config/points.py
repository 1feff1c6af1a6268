"""From a drafted point to the PointSpec the program uses, with the checks that no model makes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from pydantic import ValidationError

from gateway.config.drafts import DeviceDraft, PointDraft, Reading
from gateway.config.explain import explain
from gateway.config.found import suggest
from gateway.config.points_csv import RANGE_COLUMNS, kinds
from gateway.config.site import NAME, better_name
from gateway.driver import SUBSCRIPTION_CLASS, PointSettings, PointSpec
from gateway.model import (
    FLOAT_TYPES,
    INTEGER_RANGES,
    NS_PER_MS,
    NUMERIC_TYPES,
    DataType,
    format_duration,
)

POINTS_MAX: Final = 100_000
PULSE_NS: Final = (10 * NS_PER_MS, 3_600_000 * NS_PER_MS)

Fault = tuple[str, str, str]
"""(key, message, remedy)"""


class Checked(NamedTuple):
    """A point whose settings passed its driver's model."""

    draft: PointDraft
    settings: PointSettings
    data_type: DataType
    scan_class: str
    deadband: float


def check(
    draft: PointDraft, device: DeviceDraft, classes: Mapping[str, int], reading: Reading
) -> Checked | None:
    """Validate a point and report what is wrong with it; None when it can't be used."""
    model = device.schema.point
    partial = device.lacks_profile
    if partial and draft.node is None and draft.row is None:
        return None
    if not NAME.match(draft.name):
        message = f"`{draft.name[:80]}` is no name: 1 to 64 letters, digits, `_`, `.`, `-`"
        remedy = f"Write `{better_name(draft.name)}` instead."
        reading.problem(draft.own_place, message, remedy)
    foreign = _foreign_columns(draft, device, reading)
    data = {key: value for key, value in draft.data.items() if key not in foreign}
    wrong: set[int | str] = set()
    try:
        settings = model.model_validate(data)
    except ValidationError as error:
        wrong = explain(error, model, data, draft.place, reading.found, partial)
        try:
            # What is left may break a rule below: one check shows every mistake.
            settings = model.model_validate({k: v for k, v in data.items() if k not in wrong})
        except ValidationError:
            return None
    data_type = device.schema.published_type(settings)
    subscribed = device.settings is not None and device.schema.subscribed(device.settings)
    scan = settings.scan or (device.settings.scan if device.settings is not None else "")
    deadband, faults = _deadband(settings, data_type)
    faults += _scan(settings, scan, subscribed, classes)
    faults += [fault for rule in _RULES for fault in rule(settings, data_type)]
    for key, message, remedy in faults:
        reading.problem(draft.place((key,)), message, remedy, draft.data.get(key))
    if faults or wrong or foreign:
        return None
    return Checked(draft, settings, data_type, SUBSCRIPTION_CLASS if subscribed else scan, deadband)


def _foreign_columns(draft: PointDraft, device: DeviceDraft, reading: Reading) -> set[str]:
    """Filled cells of columns that only points of other drivers have."""
    if draft.row is None:
        return set()
    foreign = draft.row.cells.keys() - kinds(device.schema.point).keys() - RANGE_COLUMNS.keys()
    for column in sorted(foreign):
        message = f"a point of the driver {device.driver} has no `{column}`"
        reading.problem(draft.place((column,)), message, "Leave the cell empty.")
    return set(foreign)


def check_renamed(points: Sequence[Checked], reading: Reading) -> None:
    """A name whose history goes on elsewhere can't still be in use, nor be given away twice."""
    names = {(point.draft.device, point.draft.name) for point in points}
    heirs: dict[tuple[str, str], str] = {}
    for draft, settings, *_ in points:
        if settings.renamed_from is None:
            continue
        place = draft.place(("renamed_from",))
        device, _, name = settings.renamed_from.rpartition("/")
        old = (device or draft.device, name)
        if old in names:
            message = f"`{'/'.join(old)}` still exists"
            reading.problem(place, message, "Remove the old point, or `renamed_from`.")
        elif (heir := heirs.setdefault(old, draft.name)) != draft.name:
            message = f"`{heir}` already continues `{'/'.join(old)}`"
            reading.problem(place, message, "A history goes on in one place only.")


def spec(point: Checked, number: int) -> PointSpec:
    """The point as the program uses it."""
    settings = point.settings
    return PointSpec(
        number=number,
        device=point.draft.device,
        name=point.draft.name,
        data_type=point.data_type,
        scan_class=point.scan_class,
        access=settings.access,
        settings=settings,
        unit=settings.unit,
        description=settings.description,
        eu_range=settings.range.eu if settings.range is not None else None,
        enum=settings.enum,
        deadband=point.deadband,
        max_interval_ns=settings.max_interval_ns,
        minimum=settings.min,
        maximum=settings.max,
        pulse_ns=settings.pulse_ns,
    )


# ---------------------------------------------------------------------------- rules


def _deadband(settings: PointSettings, data_type: DataType) -> tuple[float, list[Fault]]:
    """The absolute deadband in engineering units, and what is wrong with it."""
    said = settings.deadband
    if said is None:
        return 0.0, []
    form = "Write a number in engineering units, or a share of the range such as `1%`."
    number, percent, rest = str(said).partition("%")
    try:
        value = float(number)
    except ValueError:
        return 0.0, [("deadband", "can't be read", form)]
    if rest.strip() or not math.isfinite(value) or value < 0 or (percent and value > 100):
        return 0.0, [("deadband", "can't be read", form)]
    if data_type not in NUMERIC_TYPES:
        return 0.0, [("deadband", f"a {data_type} has no deadband", "Remove it.")]
    if not percent:
        return value, []
    if settings.range is None:
        remedy = "Add `range: {eu: [0, 100]}`, or write the deadband in engineering units."
        return 0.0, [("deadband", "a percentage needs the range it refers to", remedy)]
    low, high = settings.range.eu
    return value / 100 * abs(high - low), []


def _scan(
    settings: PointSettings, scan: str, subscribed: bool, classes: Mapping[str, int]
) -> list[Fault]:
    if subscribed:
        if settings.scan is None:
            return []
        remedy = "Remove `scan:`, or give the device `mode: poll`."
        return [("scan", "a subscribed device reports changes by itself", remedy)]
    if scan and scan not in classes:
        remedy = suggest(scan, classes, "scan classes")
        return [("scan", f"there is no scan class `{scan}`", remedy)]
    keep_ns, period_ns = settings.max_interval_ns, classes.get(scan, 0)
    if keep_ns is not None and keep_ns < period_ns:
        message = f"is shorter than the scan class `{scan}` ({format_duration(period_ns)})"
        return [("max_interval", message, "Make it longer, or scan faster.")]
    return []


def _limits(settings: PointSettings, data_type: DataType) -> Iterator[Fault]:
    low, high = settings.min, settings.max
    given = [(key, v) for key, v in (("min", low), ("max", high)) if v is not None]
    if given and not settings.access.writable:
        remedy = "Add `access: rw`, or give `range: {eu: [low, high]}` to tell the span."
        yield given[0][0], "limits what clients write, but they can't write this point", remedy
    elif given and data_type not in NUMERIC_TYPES:
        yield given[0][0], f"a {data_type} has no limits", "Remove `min` and `max`."
    elif low is not None and high is not None and low >= high:
        yield "min", "is not below `max`", "Exchange them."
    elif data_type in INTEGER_RANGES:
        lowest, highest = INTEGER_RANGES[data_type]
        for key, value in given:
            if not lowest <= value <= highest:
                yield key, f"is outside {data_type}", f"It holds {lowest} to {highest}."


def _pulse(settings: PointSettings, data_type: DataType) -> Iterator[Fault]:
    if settings.pulse_ns is None:
        return
    low, high = PULSE_NS
    if not settings.access.writable:
        yield "pulse", "a pulse needs a point that clients may write", "Add `access: rw`."
    elif data_type is not DataType.BOOL:
        yield "pulse", "only a bool returns to false by itself", "Write `type: bool`."
    elif not low <= settings.pulse_ns <= high:
        span = f"{format_duration(low)} to {format_duration(high)}"
        yield "pulse", "is out of range", f"Write a time from {span}."


def _enum(settings: PointSettings, data_type: DataType) -> Iterator[Fault]:
    if settings.enum is None:
        return
    if not settings.enum:
        yield "enum", "names no value", "Write `enum: {0: off, 1: on}`, or remove it."
    elif data_type is DataType.BOOL:
        if not settings.enum.keys() <= {0, 1}:
            yield "enum", "a bool is 0 or 1", "Write `enum: {0: off, 1: on}`."
    elif data_type not in INTEGER_RANGES:
        yield "enum", f"a {data_type} can't be counted", "Name the values of whole numbers."
    else:
        lowest, highest = INTEGER_RANGES[data_type]
        for key in settings.enum:
            if not lowest <= key <= highest:
                yield "enum", f"{key} is outside {data_type}", f"It holds {lowest} to {highest}."


def _range(settings: PointSettings, data_type: DataType) -> Iterator[Fault]:
    if settings.range is None:
        return
    if data_type not in NUMERIC_TYPES:
        yield "range", f"a {data_type} has no range", "Remove it."
    elif not all(map(math.isfinite, (*settings.range.eu, *(settings.range.raw or ())))):
        yield "range", "a range has finite ends", "Write two numbers."


def _renamed(settings: PointSettings, data_type: DataType) -> Iterator[Fault]:
    old = settings.renamed_from
    if old is None:
        return
    parts = old.split("/")
    if len(parts) > 2 or not all(map(NAME.match, parts)):
        yield "renamed_from", "is no name of a point", "Write `level`, or `plc1/level`."


def _published(settings: PointSettings, data_type: DataType) -> Iterator[Fault]:
    scaled = settings.range is not None and settings.range.raw is not None
    if settings.publish_as is not None and scaled and data_type not in NUMERIC_TYPES:
        yield "publish_as", f"a scaled value is no {data_type}", "Write `float64`."
    elif settings.publish_as is not None and scaled and data_type not in FLOAT_TYPES:
        low, high = INTEGER_RANGES[data_type]
        assert settings.range is not None
        if not all(low <= end <= high for end in settings.range.eu):
            remedy = f"{data_type} holds {low} to {high}: publish a wider type."
            yield "publish_as", "can't hold every value of range.eu", remedy


_RULES: Final[tuple[Callable[[PointSettings, DataType], Iterator[Fault]], ...]] = (
    _limits,
    _pulse,
    _enum,
    _range,
    _renamed,
    _published,
)
