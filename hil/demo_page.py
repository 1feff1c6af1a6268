"""The demo's page: opened on both nodes, for a user whose password is made up for this run."""

from __future__ import annotations

import asyncio
import secrets
import sys
from pathlib import Path
from typing import Final, NamedTuple

from hil.gateway import ProgramError

PORTS: Final = {"a": 4846, "b": 4847}
USER: Final = "demo"
PASSWORD_BYTES: Final = 6


class Page(NamedTuple):
    """Where the pages are, and what lets in."""

    ports: tuple[int, ...]
    password: str

    def __str__(self) -> str:
        where = " and ".join(f"http://127.0.0.1:{port}" for port in self.ports)
        return f"Pages {where}: user {USER}, password {self.password}"


async def open_pages(folder: Path, offset: int) -> Page:
    """Have both nodes serve their page. Raises ProgramError."""
    page = Page(tuple(port + offset for port in PORTS.values()), secrets.token_hex(PASSWORD_BYTES))
    program = (sys.executable, "-m", "gateway.cli", "password")
    pipe = asyncio.subprocess.PIPE
    hashing = await asyncio.create_subprocess_exec(*program, stdin=pipe, stdout=pipe)
    out, _ = await hashing.communicate(page.password.encode() + b"\n")
    if hashing.returncode != 0:
        raise ProgramError("`hotpair password` made no hash")
    user = f'users:\n  {USER}: {{role: admin, password_hash: "{out.decode().strip()}"}}\n'
    with (folder / "site.yaml").open("a", encoding="utf-8") as site:
        site.write(user)
    for node, own, other in zip(PORTS, page.ports, page.ports[::-1], strict=True):
        web = f'web: {{listen: "127.0.0.1:{own}", peer: "http://127.0.0.1:{other}"}}\n'
        with (folder / f"node-{node}.yaml").open("a", encoding="utf-8") as file:
            file.write(web)
    return page
