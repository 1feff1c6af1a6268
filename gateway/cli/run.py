"""`hotpair run`: the node itself."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from pathlib import Path

from gateway.errors import ConfigError


def set_up_logging(verbose: bool) -> None:
    """Logs go to stderr, where journald and containers look; libraries speak from WARNING on."""
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.WARNING,
        format="%(asctime)s.%(msecs)03d %(levelname)s %(name)s: %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )
    level = logging.DEBUG if verbose else logging.INFO
    for name in ("hotpair", "gateway", "drivers"):
        logging.getLogger(name).setLevel(level)
    for name in ("pymodbus", "asyncua", "uvicorn"):
        logging.getLogger(name).setLevel(logging.WARNING if verbose else logging.CRITICAL)


def run(node_file: Path, verbose: bool) -> int:
    """Run a node until it is told to stop; the exit status."""
    gc.disable()  # A quarter of a start would go by over garbage of which there is none.
    from gateway.app import App
    from gateway.config.files import load_node

    set_up_logging(verbose)

    def say(line: str) -> None:
        print(line, flush=True)

    try:
        node = load_node(node_file)
        return asyncio.run(App(node).run(say))
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        print(f"{len(error.problems)} problem(s): nothing was started", file=sys.stderr)
        return 1
    finally:
        gc.enable()
