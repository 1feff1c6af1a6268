"""`python -m hil.bench NAME …`: run one of the benches."""

from __future__ import annotations

import runpy
import sys
from typing import Final

BENCHES: Final = (
    "acquire",
    "serve",
    "history",
    "failover",
    "replication",
    "windback",
    "publish",
)


def main() -> None:
    """The command line."""
    if len(sys.argv) < 2 or sys.argv[1] not in BENCHES:
        sys.exit(f"usage: python -m hil.bench {{{','.join(BENCHES)}}} [options]")
    name = sys.argv.pop(1)
    runpy.run_module(f"hil.bench.{name}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
