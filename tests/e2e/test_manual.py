"""What stands in the README and the manual as a command was run, and prints what stands there."""

from __future__ import annotations

from pathlib import Path

import pytest

from .manual import can_be_played, fits, play, steps
from .third_party.rig import need

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "gateway" / "docs").glob("*.md"))]
WITH_COMMANDS = [path for path in DOCUMENTS if "```console" in path.read_text()]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("document", WITH_COMMANDS, ids=lambda path: path.stem)
def test_each_command_prints_what_stands_there(document: Path, tmp_path: Path) -> None:
    need(can_be_played(), "unshare --net")
    assert play(document, tmp_path, slow=False) > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "document", [p for p in WITH_COMMANDS if "<!-- slow: " in p.read_text()], ids=lambda p: p.stem
)
def test_the_long_ones_do_too(document: Path, tmp_path: Path) -> None:
    need(can_be_played(), "unshare --net")
    assert play(document, tmp_path, slow=True) > 0


def test_a_block_is_commands_with_what_they_print() -> None:
    text = (
        "a\n\n<!-- slow: it takes long -->\n```console\n$ cat > x <<'END'\n$ no command\nEND\n"
        "$ hotpair status\nall ... well\n...\n```\n\n```console\n$ one \\\n  two\n```\n"
    )
    first, second, third = steps(text)
    assert first.command == "cat > x <<'END'\n$ no command\nEND" and first.prints == ""
    assert (second.line, second.prints, second.how) == (
        *(8, "all ... well\n...", "slow: it takes long"),
    )
    assert second.looks and first.how
    assert third.command == "one \\\n  two" and third.how == "" and not third.looks


def test_what_is_printed_fits_or_does_not() -> None:
    assert fits("", "") and not fits("", "x\n")
    assert fits("a ... c", "a b c  \n") and not fits("a ... c", "a b\nc\n")
    assert fits("a\n...\nc", "a\nb\nb\nc\n") and fits("a\n...\nc", "a\nc")
    assert not fits("a\n...", "b\n") and not fits("a", "a\nb\n")
    assert fits("(1.5) [x]", "(1.5) [x]\n") and not fits("1.5", "1x5\n")
