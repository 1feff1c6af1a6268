"""Files as text, YAML as a tree, and the nearest word."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.files import read_text
from gateway.config.found import SHOWN_PER_FILE, Found, nearest, shown, suggest
from gateway.config.text import CSV_MAX_BYTES, YAML_MAX_BYTES, Unreadable, decode
from gateway.config.yaml import DEPTH_MAX, Node, parse, resolve
from gateway.errors import Problem


def tree(text: str) -> Node:
    node, problems = parse(text, "f.yaml")
    assert node is not None and not problems, problems
    return node


def refusal(text: str) -> str:
    _, problems = parse(text, "f.yaml")
    assert problems
    return str(problems[-1])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 10),
        ("0x10", 16),
        ("0o10", 8),
        ("-7", -7),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("on", "on"),
        ("yes", "yes"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("", None),
        ("~", None),
        ("True", True),
        ("-.inf", -math.inf),
        ("0x", "0x"),
        ("10.0.0.1", "10.0.0.1"),
    ],
)
def test_plain_scalars_follow_the_core_schema_of_yaml_1_2(text: str, value: object) -> None:
    assert resolve(text) == value
    assert type(resolve(text)) is type(value)


@given(st.text())
def test_a_quoted_text_is_never_anything_else(text: str) -> None:
    assert isinstance(tree("a: 'x'").mapping["a"].value, str)
    value = resolve(text)
    assert value is None or isinstance(value, str | int | float | bool)


@given(st.text(max_size=200))
def test_no_text_makes_the_parser_fail_without_saying_where(text: str) -> None:
    node, problems = parse(text, "f.yaml")
    assert node is not None or problems
    assert all(problem.message and problem.remedy for problem in problems)


def test_lines_are_those_of_the_keys() -> None:
    node = tree("a: 1\nb:\n  c: [1,\n    2]\n  0x10: x\n")
    assert node.line_of(("a",)) == 1
    assert node.line_of(("b", "c")) == 3
    assert node.line_of(("b", "c", 1)) == 4
    assert node.line_of(("b", "gone", "deeper")) == 2
    assert node.line_of(("b", 16)) == 5
    assert node.plain() == {"a": 1, "b": {"c": [1, 2], 16: "x"}}
    assert tree("a: x").mapping["a"].mapping == {}
    assert node.child("a") is not None and node.mapping["a"].child("x") is None


def test_aliases_and_merge_keys_are_understood() -> None:
    node = tree("base: &b {x: 1, y: 2}\none: {<<: *b, y: 3}\ntwo: {<<: [*b, {z: 4}]}\nsame: *b\n")
    assert node.plain()["one"] == {"x": 1, "y": 3}
    assert node.plain()["two"] == {"x": 1, "y": 2, "z": 4}
    assert node.line_of(("one", "x")) == 1
    assert node.line_of(("same",)) == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: *nowhere\n", "f.yaml:1: `*nowhere` has no `&nowhere` before it"),
        ("a: &x [*x]\n", "f.yaml:1: `*x` refers to itself"),
        ("a: {<<: 5}\n", "f.yaml:1: `<<` merges mappings only"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2: a second document begins here"),
        ("%YAML 1.1\n---\na: 1\n", "f.yaml:2: only YAML 1.2 is read"),
        ("? [a]\n: 1\n", "f.yaml:1: a key must be a single word or number"),
        ("a: !!python/name:os.system x\n", "the tag `tag:yaml.org,2002:python/name:os.system`"),
        ("- a\n- b\n", "f.yaml:1: the file holds no keys"),
        ("# nothing\n", "f.yaml:1: the file holds no keys"),
        ("a: b: c\n", "f.yaml:1: mapping values are not allowed here"),
        ("a:\n  b: 1\n c: 2\n", "f.yaml:3: the indentation doesn't fit"),
        ("a: 1\nb: [1,\nc: 2\n", "f.yaml:2: a list isn't closed"),
        ("a: {b: 1\n", "f.yaml:1: a mapping isn't closed"),
        ("a: 'x\nb: 1\n", "f.yaml:1: a quoted text isn't closed"),
        ("a: 1\nkey\nb: 2\n", "f.yaml:2: a key has no `:`"),
        ("a: @x\n", "f.yaml:1: a text can't begin so. Quote the text."),
        ("a: 1\nb: \x01\n", "f.yaml:2: a control character"),
        ("a: |x\n  b\n", "Check the syntax"),
        (
            "a: 1\na: 2\n",
            "f.yaml:2: the key `a` appears twice. Remove one; the first is in line 1.",
        ),
        ("1: x\n01: y\n", "the key `01` appears twice"),
    ],
)
def test_what_is_not_taken_is_refused_with_its_line(text: str, said: str) -> None:
    assert said in refusal(text)


def test_a_text_tag_makes_text() -> None:
    assert tree("a: !!str 5\nb: ! 6\n").plain() == {"a": "5", "b": "6"}


def test_nesting_is_bounded() -> None:
    assert "nested deeper" in refusal("a: " + "[" * (DEPTH_MAX + 2) + "]" * (DEPTH_MAX + 2))


def test_bytes_become_text_or_a_reason() -> None:
    assert decode(b"\xef\xbb\xbfa: 1", "a.yaml") == "a: 1"
    with pytest.raises(Unreadable, match="larger than 4 MiB"):
        decode(b"x" * (YAML_MAX_BYTES + 1), "a.yaml")
    with pytest.raises(Unreadable, match="larger than 32 MiB"):
        decode(b"x" * (CSV_MAX_BYTES + 1), "a.CSV")


def test_a_file_that_cannot_be_opened_is_a_reason(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="there is no file"):
        read_text(tmp_path / "gone.yaml")
    with pytest.raises(Unreadable, match="is a folder"):
        read_text(tmp_path)
    loop = tmp_path / "loop.yaml"
    loop.symlink_to(loop)
    with pytest.raises(Unreadable, match="can't be read"):
        read_text(loop)


def test_only_the_first_hundred_problems_of_a_file_are_kept_and_all_are_counted() -> None:
    found = Found()
    for line in range(SHOWN_PER_FILE + 5):
        found.add(Problem("f.csv", line + 1, "", None, "wrong", ""))
    assert found.full("f.csv")
    assert found.count == SHOWN_PER_FILE + 5
    last = found.problems()[-1]
    assert str(last).startswith("f.csv:101: and 5 more problems in this file")


def test_the_same_problem_is_said_once() -> None:
    found = Found()
    for _ in range(2):
        found.add(Problem("f", 1, "", None, "wrong", ""))
        found.warn(Problem("f", 1, "", None, "doubtful", ""))
    assert found.count == len(found.warnings()) == 1


def test_the_nearest_word_is_suggested() -> None:
    assert nearest("Timout", ["timeout", "retries"]) == "timeout"
    assert nearest("xyz", ["timeout"]) is None
    assert suggest("x", [], "lines") == "There are no lines yet."
    many = [f"device{i}" for i in range(20)]
    assert suggest("zzz", many, "devices").endswith("and 8 more.")


def test_only_short_scalars_are_shown() -> None:
    assert shown("x" * 100) == "x" * 60 + "…"
    assert shown([1]) is None
    assert shown(5) == 5
