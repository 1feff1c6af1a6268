"""A node whose wall clock is set by hand: `clock_child.py NODE_YAML SHIFT_FILE`.

The file holds by how many seconds the clock is off; it may change at any time.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from gateway.app import App
from gateway.cli.run import set_up_logging
from gateway.clock import SystemClock
from gateway.config.files import load_node
from gateway.model import NS_PER_S


def main(node_file: Path, shift_file: Path) -> int:
    def wall() -> int:
        return time.time_ns() + int(float(shift_file.read_text() or 0) * NS_PER_S)

    set_up_logging(verbose=False)
    app = App(load_node(node_file), SystemClock(wall))
    return asyncio.run(app.run(lambda line: print(line, flush=True)))


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]), Path(sys.argv[2])))
