"""`hotpair run`: the node itself."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from pathlib import Path

from gateway.cli.logs import LogFormat, set_up_logging
from gateway.errors import ConfigError


def run(node_file: Path, verbose: bool, log_format: LogFormat = LogFormat.TEXT) -> int:
    """Run a node until it is told to stop; the exit status."""
    gc.disable()  # A quarter of a start would go by over garbage of which there is none.
    from gateway.app import App
    from gateway.config.files import load_node

    set_up_logging(log_format, verbose)
    log = logging.getLogger("hotpair")
    plain = log_format is LogFormat.TEXT

    def say(line: str) -> None:
        if plain:
            print(line, flush=True)
        else:
            log.info(line.removeprefix("hotpair: "))

    def complain(line: str) -> None:
        if plain:
            print(line, file=sys.stderr)
        else:
            log.error(line)

    try:
        node = load_node(node_file)
        return asyncio.run(App(node).run(say))
    except ConfigError as error:
        for problem in error.problems:
            complain(str(problem))
        complain(f"{len(error.problems)} problem(s): nothing was started")
        return 1
    finally:
        gc.enable()
