"""Options that many commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

NodeFile = Annotated[
    Path, typer.Option("--node", "-n", help="node.yaml, data directory or socket of the node")
]
Json = Annotated[bool, typer.Option("--json", help="print JSON")]
DEFAULT_NODE: Final = Path("node.yaml")
