"""`hotpair cert`: both nodes' files in one step, never by accident over others."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from gateway.cli.cert import cert
from gateway.config.node import LinkTls, NodeFile
from gateway.config.yaml import parse
from gateway.errors import ControlError
from gateway.pair.tls import Security


def test_both_nodes_get_what_their_link_lines_name(tmp_path: Path) -> None:
    said: list[str] = []
    cert("a", "b", tmp_path / "new", 10, False, said.append)
    lines = [line for line in said if line.startswith("link: ")]
    assert len(lines) == 2
    for node, line in zip("ab", lines, strict=True):
        tree, problems = parse(f"node: {node}\ndata_dir: d\n{line}\n", "node.yaml")
        assert tree is not None and not problems
        link = NodeFile.model_validate(tree.plain()).link
        assert link is not None and link.tls is not None
        files = {key: tmp_path / "new" / path for key, path in link.tls}
        security = Security(LinkTls(**files))
        assert security.mine.name == node and security.peer.name == ("b" if node == "a" else "a")
        assert stat.S_IMODE(files["key"].stat().st_mode) == 0o600


def test_what_exists_is_replaced_only_when_told(tmp_path: Path) -> None:
    cert("a", "b", tmp_path, 10, False, lambda line: None)
    before = (tmp_path / "a.key").read_bytes()
    (tmp_path / "b.key").unlink()
    with pytest.raises(ControlError, match="exists: nothing was written"):
        cert("a", "b", tmp_path, 10, False, lambda line: None)
    assert not (tmp_path / "b.key").exists()
    cert("a", "b", tmp_path, 10, True, lambda line: None)
    assert (tmp_path / "a.key").read_bytes() != before


@pytest.mark.parametrize(
    ("nodes", "days", "message"),
    [
        (("a", "a"), 10, "same name"),
        (("a", "../b"), 10, "no name of a node"),
        (("a", "b"), 0, "0 days"),
        (("a", "b"), 99_999, "99999 days"),
    ],
)
def test_a_mistake_is_named_and_nothing_is_written(
    tmp_path: Path, nodes: tuple[str, str], days: int, message: str
) -> None:
    with pytest.raises(ControlError, match=message):
        cert(*nodes, tmp_path, days, False, print)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_takes_nothing_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ControlError, match="can't be written"):
        cert("a", "b", tmp_path / "file", 10, False, print)
