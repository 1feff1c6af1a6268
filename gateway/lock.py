"""One node to a data directory: a lock that the kernel lets go of with the process."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from gateway.errors import ControlError


def lock(data_dir: Path) -> int:
    """Make sure that no second node works on the same data; the lock goes with the process."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        handle = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ControlError(
            f"the data directory {data_dir} can't be written: {error.strerror}",
            "Give this user the right to write there, or name another data_dir in node.yaml",
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise ControlError(
            f"another node already runs on {data_dir}",
            "Stop it, or give this node its own data_dir",
        ) from error
    return handle
