"""A trend as the page draws it: thinned points, and what explains them, at its resolution. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gateway.driver import PointSpec
from gateway.journal.buckets import Bucket, Buckets
from gateway.model import Gap, GapState, HistoryRow, Value

WOUND: tuple[GapState, ...] = (GapState.FILLED, GapState.COARSE)


def shown(value: Value) -> Any:
    """A value as JSON has it: bytes as hexadecimal, what is no finite number as text."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and value - value != 0:
        return str(value)
    return value


def finite(value: float | None) -> float | None:
    """A number that JSON has, or none."""
    return None if value is None or value - value != 0 else value


def trend(
    point: str, spec: PointSpec | None, before: HistoryRow | None, buckets: Buckets
) -> dict[str, Any]:
    """One point of a trend; `spec` is None for one that was deleted and keeps its history."""
    at = sorted(buckets.found)
    cells: list[Bucket] = [buckets.found[index] for index in at]
    held = before and {
        "time_ns": before.time_ns,
        "value": shown(before.value),
        "status": before.status,
    }
    return {
        "point": point,
        "unit": spec.unit if spec else "",
        "type": spec.data_type.value if spec else "",
        "device": spec.device if spec else point.partition("/")[0],
        "scan": spec.scan_class if spec else "",
        "before": held,
        "at": at,
        "min": [finite(cell.least) for cell in cells],
        "max": [finite(cell.greatest) for cell in cells],
        "first": [shown(cell.first) for cell in cells],
        "last": [shown(cell.last) for cell in cells],
        "first_ns": [cell.first_key[0] if cell.first_key else 0 for cell in cells],
        "last_ns": [cell.last_key[0] for cell in cells],
        "status": [cell.status for cell in cells],
        "last_status": [cell.last_status for cell in cells],
        "count": [cell.count for cell in cells],
        "wound": [cell.wound for cell in cells],
        "gap": [cell.gap for cell in cells],
    }


def joined(gaps: Iterable[Gap], near_ns: int) -> list[Gap]:
    """Gaps alike in device, class, cause and state that lie nearer than this become one."""
    found: dict[tuple[str, ...], list[Gap]] = {}
    for gap in sorted(gaps, key=lambda gap: gap.from_ns):
        group = found.setdefault((gap.device, gap.scan_class, gap.cause, gap.state), [])
        if group and gap.from_ns - group[-1].to_ns < near_ns:
            last = group[-1]
            group[-1] = last._replace(
                to_ns=max(last.to_ns, gap.to_ns),
                points=tuple(dict.fromkeys((*last.points, *gap.points))),
                resolution_ns=max(last.resolution_ns, gap.resolution_ns),
                uncertainty_ns=max(last.uncertainty_ns, gap.uncertainty_ns),
            )
        else:
            group.append(gap)
    return sorted((gap for group in found.values() for gap in group), key=lambda gap: gap.from_ns)


def reigns_in(
    reigns: Iterable[Mapping[str, Any]], from_ns: int, to_ns: int
) -> list[Mapping[str, Any]]:
    """The reigns that touch [from, to)."""
    return [
        reign
        for reign in reigns
        if reign["from_ns"] < to_ns and (reign["to_ns"] is None or reign["to_ns"] > from_ns)
    ]
