"""The manual is about this program: its reference is current, its links lead somewhere, and what it
cites as a message of the program is one."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from command import hotpair

from gateway.app import schemas
from gateway.cli.reference import reference

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "gateway" / "docs"
CHAPTERS = sorted(DOCS.glob("*.md"))
DOCUMENTS = [ROOT / "README.md", *CHAPTERS]
_LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]*)(#[^)]*)?\)")
_ANYTHING = "\x00"


def test_the_configuration_reference_is_current() -> None:
    made = reference(schemas())
    stands = (DOCS / "configuration.md").read_text()
    assert stands == made, "python -m gateway.cli.reference > gateway/docs/configuration.md"
    for part in (
        "| `on_role_change` | list of [RoleCommand]",
        "| `heartbeat` | duration | `100ms` |",
    ):
        assert part in made


def anchors(text: str) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    text = document.read_text()
    for target, anchor in _LINK.findall(text):
        if "://" in target:
            continue
        found = document.parent / target if target else document
        assert found.exists(), target
        if anchor and found.suffix == ".md":
            assert anchor[1:] in anchors(found.read_text()), f"{target}{anchor}"


def test_the_chapters_are_listed_and_printed() -> None:
    said = hotpair("manual")
    assert said.status == 0
    assert [line.split()[0] for line in said.out.splitlines()[:-1]] == [c.stem for c in CHAPTERS]
    assert hotpair("manual", "upgrade").out == (DOCS / "upgrade.md").read_text()
    wrong = hotpair("manual", "upgrading")
    assert wrong.status == 3 and "upgrade" in wrong.err
    index = (DOCS / "README.md").read_text()
    assert all(chapter.name in index for chapter in CHAPTERS if chapter.stem != "README")


# ----------------------------------------------------------------------------------- messages


@cache
def texts() -> tuple[str, ...]:
    """Every text of the program, with a mark where a value goes into it."""
    found: list[str] = []
    for package in ("gateway", "drivers"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    parts = [
                        str(part.value) if isinstance(part, ast.Constant) else _ANYTHING
                        for part in node.values
                    ]
                    found.append("".join(parts))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
                    found.append(re.sub(r"%s|\{\w*\}", _ANYTHING, node.value))
    return tuple(found)


def cited() -> list[str]:
    """What the troubleshooting chapter says that the program says."""
    text = (DOCS / "troubleshooting.md").read_text()
    rows = re.findall(r"^\| (`.*?(?<!\\)`) \|", text, re.MULTILINE)
    return [row.strip("`").replace("\\`", "`") for row in rows]


def says(message: str) -> bool:
    """Whether the program says this somewhere; each piece between `...` must stand there."""
    pieces = [re.escape(piece) for piece in re.split(r"\s*\.\.\.\s*", message) if piece]
    pattern = re.compile(".*?".join(pieces), re.DOTALL)
    return any(pattern.search(text) for text in texts())


@pytest.mark.parametrize("message", cited())
def test_a_cited_message_is_one_of_the_program(message: str) -> None:
    assert len(re.sub(r"\.\.\.|\W", "", message)) >= 4, "too little to be found by"
    assert says(message)


def test_a_message_that_the_program_has_not_would_be_noticed() -> None:
    assert len(cited()) > 30
    assert not says("no node walks on ...")
    assert not says("another node already runs ... and OPC UA")
