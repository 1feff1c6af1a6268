"""The files on disk against the revision that runs: they are its origin, not its master."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from gateway.config.files import disk_text, stamp
from gateway.config.texts import first_difference, root_of, shipped_in

REMEMBERED_MAX: Final = 20


class Difference(NamedTuple):
    """Which file differs first, and where; `older` is the revision that the disk still has."""

    file: str
    line: int
    names: tuple[str, ...]
    revision: int
    older: int | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        more = f" (also {', '.join(self.names[1:])})" if len(self.names) > 1 else ""
        if self.older is not None:
            return (
                f"{place} is still that of revision {self.older}; revision {self.revision} runs: "
                "`hotpair revisions --save FOLDER` writes its files"
            )
        return f"{place} differs from revision {self.revision}, which runs{more}"


class Disk:
    """Compares the files with a revision, and reads them again only when they were written."""

    def __init__(self, site_file: Path) -> None:
        self._site_file = site_file
        self._number = 0
        self._files: Mapping[str, str] = {}
        self._older: dict[int, dict[str, bytes]] = {}
        self._stamps: tuple[tuple[int, int], ...] | None = None
        self._found: Difference | None = None

    def follow(self, number: int, files: Mapping[str, str]) -> None:
        """This revision is the one to compare with."""
        self.remember(number, files)
        self._number, self._files, self._stamps = number, files, None

    def remember(self, number: int, files: Mapping[str, str]) -> None:
        """A revision that may have been on the disk once."""
        self._older[number] = {name: _mark(text) for name, text in files.items()}
        while len(self._older) > REMEMBERED_MAX:
            del self._older[min(self._older)]

    def difference(self) -> Difference | None:
        """What differs now; None when nothing does, or when there is no site file at all."""
        if not self._files or not self._site_file.exists():
            return None
        root, shipped = root_of(self._files), shipped_in(self._files)
        paths = [self._path(name, root) for name in self._files if name not in shipped]
        stamps = tuple(map(stamp, paths))
        if stamps != self._stamps:
            self._stamps = stamps
            self._found = self._compare(root, shipped)
        return self._found

    def told(self, node_file: Path) -> list[str]:
        """The difference for people, with how to apply it; empty when nothing differs."""
        found = self.difference()
        if found is None:
            return []
        if found.older is not None:
            return [str(found)]
        return [f"{found}; apply it with: hotpair apply {self._site_file} --node {node_file}"]

    def _path(self, name: str, root: str) -> Path:
        return self._site_file if name == root else self._site_file.parent / name

    def _now(self, name: str, root: str, shipped: tuple[str, ...]) -> str | None:
        on_disk = self._site_file.name if name == root else name
        return disk_text(self._site_file, on_disk, name in shipped)

    def _compare(self, root: str, shipped: tuple[str, ...]) -> Difference | None:
        first: tuple[str, int] | None = None
        names = []
        for name, text in self._files.items():
            now = self._now(name, root, shipped)
            if now == text:
                continue
            shown = name if name in shipped else str(self._path(name, root))
            names.append(shown)
            if first is None:
                first = shown, first_difference(now, text) if now is not None else 0
        if first is None:
            return None
        return Difference(*first, tuple(names), self._number, self._older_on_disk(root, shipped))

    def _older_on_disk(self, root: str, shipped: tuple[str, ...]) -> int | None:
        """The revision whose files lie on the disk: somebody applied a newer one elsewhere."""
        found: dict[str, bytes | None] = {}
        for number, marks in sorted(self._older.items(), reverse=True):
            for name in marks.keys() - found.keys():
                text = self._now(name, root, shipped)
                found[name] = _mark(text) if text is not None else None
            if number != self._number and all(found[name] == marks[name] for name in marks):
                return number
        return None


def _mark(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
