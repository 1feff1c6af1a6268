"""`hotpair password`: a pipe gives one line in and one line out."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.errors import ControlError
from gateway.server.passwords import verify_password


def test_a_piped_password_gives_its_hash_and_nothing_else() -> None:
    found = CliRunner().invoke(app, ["password"], input="geheim ä\n")
    assert found.exit_code == 0
    assert found.stdout.count("\n") == 1
    assert verify_password("geheim ä", found.stdout.strip())


def test_no_password_is_refused() -> None:
    with pytest.raises(ControlError, match="no password was given"):
        CliRunner().invoke(app, ["password"], input="", catch_exceptions=False)
