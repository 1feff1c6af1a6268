"""What the commands that look print."""

from __future__ import annotations

import pytest

from gateway.cli.look import console, table


def test_texts_of_devices_and_people_are_printed_as_they_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    texts = ["urn:plant:b: trust it", "[refused] by [bold]plc1[/bold]"]
    console().print(table(":b:", ("said",), [(text,) for text in texts]))
    printed = capsys.readouterr().out
    assert all(text in printed for text in (*texts, ":b:"))


def test_a_table_in_a_pipe_is_wide(capsys: pytest.CaptureFixture[str]) -> None:
    console().print(table("t", ("long",), [("x" * 110,)]))
    assert "x" * 110 in capsys.readouterr().out
