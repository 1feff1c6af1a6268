"""The gateway as a program whose wall clock is behind: `hour_ago SECONDS run node.yaml`.

What it journals it journals so long ago. A node that is started on the same data afterwards finds
that nobody polled since: a gap as long as wanted, made by the gateway itself in a few seconds.
Nothing of the gateway is imported before its clock is set.
"""

from __future__ import annotations

import runpy
import sys
import time

from gateway.model import NS_PER_S


def main() -> None:
    """The command line."""
    seconds = float(sys.argv.pop(1))
    now_ns = time.time_ns
    behind_ns = round(seconds * NS_PER_S)
    time.time_ns = lambda: now_ns() - behind_ns
    runpy.run_module("gateway.cli", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
