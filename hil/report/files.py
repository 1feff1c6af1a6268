"""Writes a run's report beside its recording."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from hil.recording import Recording
from hil.report.junit import junit
from hil.report.page import page

PAGE_FILE: Final = "report.html"
JUNIT_FILE: Final = "junit.xml"


def write(recording: Recording, folder: Path) -> Path:
    """Write `report.html` and `junit.xml`; the path of the page. Raises OSError."""
    (folder / JUNIT_FILE).write_text(junit(recording), encoding="utf-8")
    file = folder / PAGE_FILE
    file.write_text(page(recording), encoding="utf-8")
    return file
