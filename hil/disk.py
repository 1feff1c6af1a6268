"""A file system of a node's own, to be filled to its last block and to fail as disks do.

An ext4 of some megabytes in a file, mounted where the node keeps its data. When it *fails*, the
kernel itself finds an error and makes it read-only while the node has its files open
(`errors=remount-ro`, /sys/fs/ext4/<dev>/trigger_fs_error): a remount by hand would be refused. Made
by root of Linux with `mount` and e2fsprogs; `hindrance` says what is lacking.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hil.gateway import ProgramError

DISK_BYTES: Final = 64 << 20
BLOCKS: Final = (1 << 20, 1 << 12)
FILLER: Final = "filler"
_LOST: Final = "lost+found"
_REPAIRED: Final = (0, 1)
"""Exit statuses of e2fsck after which a file system may be used."""


def hindrance() -> str:
    """Why this machine gives a node no file system of its own; empty where it does."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "that needs root on Linux"
    for tool in ("mount", "umount", "mkfs.ext4", "e2fsck", "findmnt"):
        if shutil.which(tool, path=f"{os.environ.get('PATH', '')}:/sbin:/usr/sbin") is None:
            return f"there is no `{tool}`"
    if not Path("/dev/loop-control").exists():
        return "this kernel has no loop devices"
    return ""


class Disk:
    """One file system, mounted on a folder; what is in it stays there after `keep`."""

    def __init__(self, folder: Path, size: int = DISK_BYTES) -> None:
        self.folder = folder
        self._image = folder.with_name(f".{folder.name}.img")
        self._repairs = 0
        self._size = size

    def mount(self) -> None:
        """Make it, empty, and mount it. Raises ProgramError."""
        if why := hindrance():
            raise ProgramError(f"a node can't have a disk of its own here: {why}")
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._image.open("wb") as image:
            image.truncate(self._size)
        _run("mkfs.ext4", "-q", "-F", "-m", "0", str(self._image))
        self._mount()
        (self.folder / _LOST).rmdir()

    def _mount(self) -> None:
        _run("mount", "-o", "loop,errors=remount-ro", str(self._image), str(self.folder))

    def unmount(self) -> None:
        """Nobody has a file open on it any more. Raises ProgramError."""
        _run("umount", str(self.folder))

    def keep(self) -> None:
        """Unmount it, and leave what was on it in the folder. Raises ProgramError, OSError."""
        self.free()
        kept = self.folder.with_name(f".{self.folder.name}.kept")
        shutil.copytree(self.folder, kept, ignore=shutil.ignore_patterns("*.sock", _LOST))
        self.unmount()
        self.folder.rmdir()
        kept.rename(self.folder)
        self._image.unlink()

    # ------------------------------------------------------------------------------ faults

    def fill(self) -> None:
        """Fill it to its last block."""
        with (self.folder / FILLER).open("ab", buffering=0) as file:
            for size in BLOCKS:
                with contextlib.suppress(OSError):  # ENOSPC: no room for a block of this size
                    while True:
                        file.write(bytes(size))

    def free(self) -> None:
        """Give the room back."""
        with contextlib.suppress(OSError):  # read-only
            (self.folder / FILLER).unlink(missing_ok=True)

    def fail(self) -> None:
        """Let the kernel find an error: from now on it can only be read. Raises ProgramError."""
        device = _run("findmnt", "-no", "SOURCE", str(self.folder)).strip()
        trigger = Path("/sys/fs/ext4") / Path(device).name / "trigger_fs_error"
        try:
            trigger.write_text("the rig\n")
        except OSError as error:
            raise ProgramError(f"{trigger}: {error.strerror}") from error

    def repair(self) -> None:
        """As somebody does it by hand, when the node is ended. Raises ProgramError.

        What is checked and mounted is a copy: as long as any other mount namespace of this machine
        holds the old one, the same file would be mounted as it was, read-only.
        """
        self.unmount()
        self._repairs += 1
        copy = self._image.with_name(f".{self.folder.name}.{self._repairs}.img")
        shutil.copyfile(self._image, copy)
        self._image.unlink()
        self._image = copy
        _run("e2fsck", "-y", str(self._image), allowed=_REPAIRED)
        self._mount()


@contextlib.contextmanager
def own_disk(folder: Path, size: int = DISK_BYTES) -> Iterator[Disk]:
    """A folder that is a file system of its own; its content stays. Raises ProgramError."""
    disk = Disk(folder, size)
    disk.mount()
    try:
        yield disk
    finally:
        disk.keep()


def _run(*command: str, allowed: tuple[int, ...] = (0,)) -> str:
    path = f"{os.environ.get('PATH', '')}:/sbin:/usr/sbin"
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PATH": path}
    )
    if done.returncode not in allowed:
        raise ProgramError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout
