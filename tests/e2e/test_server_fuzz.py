"""A thousand malformed messages at a real node change nothing for a client beside them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hil.fuzz.opcua import besiege

SEEDS = (1,)
"""Fixed ones; a seed that once found something is kept. `python -m hil.fuzz opcua` sends more."""


@pytest.mark.parametrize("seed", SEEDS)
def test_a_thousand_malformed_messages_change_nothing(tmp_path: Path, seed: int) -> None:
    heard: list[str] = []
    found = asyncio.run(besiege(tmp_path, 1_000, seed, 4, heard.append))
    assert not found.complaints, "\n".join(found.complaints)
    assert found.packets >= 1_000
