"""`python -m hil.fuzz NAME …`: run one of the fuzzers."""

from __future__ import annotations

import runpy
import sys
from typing import Final

FUZZERS: Final = ("opcua",)


def main() -> None:
    """The command line."""
    if len(sys.argv) < 2 or sys.argv[1] not in FUZZERS:
        sys.exit(f"usage: python -m hil.fuzz {{{','.join(FUZZERS)}}} [options]")
    name = sys.argv.pop(1)
    runpy.run_module(f"hil.fuzz.{name}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
