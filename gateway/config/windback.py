"""What a site says of a device's log: the profile's words under the site's, checked as a whole.

Executed later; a mistake in it is told now, since nobody looks at windback until it is needed.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from gateway.config.drafts import DeviceDraft, Reading
from gateway.config.explain import explain
from gateway.config.found import suggest
from gateway.model import Settings
from profiles.windback import Windback, overlay


class _Section(Settings):
    """The section with its key, as models and people know it."""

    windback: Windback


def check_windback(device: DeviceDraft, reading: Reading) -> None:
    """Report what is wrong with a device's `windback:`; its columns must be points of it."""
    node = device.node.child("windback")
    if node is None or not isinstance(node.value, dict) or device.lacks_profile:
        return
    inherited = device.profile.windback if device.profile is not None else {}
    said: dict[str, Any] = node.plain()
    data = {"windback": overlay(inherited, said)}
    try:
        method = _Section.model_validate(data).windback
    except ValidationError as error:
        explain(error, _Section, data, device.place, reading.found)
        return
    for key in method.lacking():
        remedy = f"Add `{key}:`; the profile leaves it to the site."
        reading.problem(device.place(("windback",)), f"`{key}` is missing", remedy)
    columns = [*getattr(method, "columns", ()), *(c for log in method.logs for c in log.columns)]
    for column in columns:
        if column.point not in device.points:
            remedy = suggest(column.point, device.points, "points")
            place = device.place(("windback", "columns"))
            reading.problem(place, f"`{device.name}` has no point `{column.point}`", remedy)
