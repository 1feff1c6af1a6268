"""What every command has in common: its help, its exit statuses, errors of one line, JSON."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from command import hotpair

from gateway.cli import app, grouping
from gateway.cli.exits import MEANINGS, status_of
from gateway.cli.options import meant
from gateway.errors import (
    BadInput,
    ControlError,
    LinkError,
    NotThere,
    Refused,
    ReplyTimeout,
)

ROOT = Path(__file__).parents[2]
WITHOUT_JSON = {"run", "schema", "outstation", "packaging", "manual"}
"""A node's log, a text that is JSON anyhow, what runs until it is stopped, and files."""


def commands() -> dict[str, typer.core.TyperCommand]:
    found: dict[str, typer.core.TyperCommand] = {}
    whole = typer.main.get_command(app)
    for name, command in whole.commands.items():  # type: ignore[attr-defined]
        for own, inner in getattr(command, "commands", {"": command}).items():
            found[f"{name} {own}".strip()] = inner
    return found


ALL = commands()


@pytest.mark.parametrize("name", sorted(ALL))
def test_every_command_tells_what_it_does_and_offers_json(name: str) -> None:
    said = hotpair(*name.split(), "--help")
    assert said.status == 0
    assert said.out.startswith(f"Usage: hotpair {name}")
    assert (ALL[name].help or "").rstrip().endswith((".", "files."))
    assert ("--json" in said.out) == (name not in WITHOUT_JSON)


def test_the_help_lists_each_command_once_under_what_it_is_for() -> None:
    lines = hotpair("--help").out.splitlines()
    headings = [line.rstrip(":") for line in lines if line.endswith(":") and line[0] != " "]
    purposes = [value for key, value in vars(grouping).items() if key.isupper()]
    assert headings == ["Options", "Run", *purposes]
    begun = [line.split()[0] for line in lines if line.startswith("  ") and line[2:3].isalpha()]
    for name in {name.split()[0] for name in ALL}:
        assert begun.count(name) == 1, name


def test_a_command_that_names_no_node_means_this_folder_s_else_the_service_s(
    tmp_path: Path,
) -> None:
    here, service = tmp_path / "node.yaml", tmp_path / "etc" / "node.yaml"
    assert meant(here, service) == here, "no service is installed"
    service.parent.mkdir()
    assert meant(here, service) == service
    here.touch()
    assert meant(here, service) == here


def test_the_help_loads_neither_models_nor_drivers() -> None:
    heavy = {"pydantic", "rich.table", "asyncua", "pymodbus", "fastapi", "openpyxl", "httpx"}
    code = f"import sys, gateway.cli; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_errors_have_the_status_of_their_kind() -> None:
    assert status_of(ControlError("refused")) == 1
    assert status_of(Refused("exception", 2)) == 1
    assert status_of(BadInput("what?")) == 2
    for error in (NotThere("no such"), LinkError("cut"), ReplyTimeout("silent")):
        assert status_of(error) == 3


def test_the_readme_has_the_table_of_exit_statuses() -> None:
    text = (ROOT / "README.md").read_text()
    for status, meaning in MEANINGS.items():
        assert f"| {status} | {meaning} |" in text


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["status", "-n", "nowhere.yaml"], 3),
        (["points", "-n", "nowhere.yaml"], 3),
        (["read", "a/b", "-n", "nowhere.yaml"], 3),
        (["history", "plc1/level", "--from", "yesterday", "-n", "nowhere.yaml"], 2),
        (["history", "plc1/level", "--from", "1h", "--to", "2h", "-n", "nowhere.yaml"], 2),
        (["history", "plc1/level", "--csv", "--plot", "-n", "nowhere.yaml"], 2),
        (["history", "plc1/level", "-o", "x.doc", "-n", "nowhere.yaml"], 2),
        (["gaps", "-n", "nowhere.yaml"], 3),
        (["events", "--from", "", "-n", "nowhere.yaml"], 2),
        (["write", "a/b", "nan", "-n", "nowhere.yaml"], 2),
        (["peer", "gone", "-n", "nowhere.yaml"], 2),
        (["schema", "sight"], 2),
        (["cert", "a", "a"], 2),
        (["cert", "a", "b", "--days", "0"], 2),
        (["password"], 2),
        (["profiles", "show", "acme/m7"], 3),
        (["profiles", "list", "nosuchword"], 3),
        (["probe", "10.0.0.1"], 2),
        (["probe", "tcp:h", "--units", "300"], 2),
        (["probe", "tcp:h", "-r", "holding:0:200"], 2),
        (["probe", "tcp:h", "-r", "holdings:0:2"], 2),
        (["probe", "tcp:h", "--timeout", "1h"], 2),
        (["probe", "tcp:h", "--timeout", "soon"], 2),
        (["probe", "tcp:h", "--profile", "acme/m7"], 3),
        (["probe", "tcp:127.0.0.1:1"], 3),
        (["probe", "rtu:/dev/nosuch"], 3),
        (["probe", "opc.tcp://"], 2),
        (["probe", "opc.tcp://127.0.0.1:1"], 3),
        (["browse", "opc.tcp://127.0.0.1:1", "--start", "level"], 2),
        (["browse", "opc.tcp://127.0.0.1:1", "--as", "xml"], 2),
        (["browse", "opc.tcp://127.0.0.1:1", "--password-file", "nosuch"], 2),
        (["export", "points.doc"], 2),
        (["export", "points.csv", "--site", "nosuch.yaml"], 3),
        (["import", "points.csv", "--site", "nosuch.yaml"], 3),
        (["import", "points.txt"], 2),
        (["import", "points.csv", "--into", "points.txt"], 2),
        (["restore", "nosuch", "-n", "nowhere.yaml"], 3),
        (["support-bundle", "--log", "nosuch.log"], 3),
        (["trust", "accept", "zz", "-n", "nowhere.yaml"], 3),
        (["init", "--address", "x y", "--yes", "--lone"], 2),
        (["check", "nowhere.yaml"], 1),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_bad_input_is_one_line_with_a_remedy_and_its_status(
    words: list[str], status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = hotpair(*words)
    assert said.status == status, said
    told = said.out if words[0] == "check" else said.err
    first = told.splitlines()[0]
    assert first.startswith("hotpair: ") or words[0] == "check"
    assert ". " in first, "what to do about it"
    assert list(tmp_path.iterdir()) == [], "nothing was written"
    if words[0] not in ("schema", "check"):
        again = hotpair(*words, "--json")
        assert again.status == status
        assert again.json["error"]
        assert again.json["remedy"]


def test_wrong_usage_is_2_and_says_where_help_is() -> None:
    for words in (["nosuch"], ["status", "--nosuch"], ["history"], ["raw", "plc1", "holding"]):
        said = hotpair(*words)
        assert said.status == 2
        assert "--help" in said.err


def test_completion_names_profiles_and_is_silent_without_a_node(tmp_path: Path) -> None:
    from gateway.cli.options import complete_device, complete_point, complete_profile

    assert complete_profile("eastron/") == ["eastron/sdm120", "eastron/sdm630"]

    class Context:
        params = {"node": tmp_path / "node.yaml"}

    for complete in (complete_device, complete_point):
        assert complete(Context(), "p") == []  # type: ignore[arg-type]


def test_a_silent_node_is_named_by_the_file_that_was_given(tmp_path: Path) -> None:
    file = tmp_path / "node-b.yaml"
    file.write_text("node: b\ndata_dir: data\n")
    said = hotpair("status", "--node", file)
    assert said.status == 3
    assert said.err == (
        f"hotpair: no node runs on {tmp_path}/data. Start it with `hotpair run {file}`\n"
    )
    folder = hotpair("status", "--node", tmp_path)
    assert "Start it with `hotpair run node.yaml`" in folder.err
    file.rename(tmp_path / "node.yaml")
    folder = hotpair("status", "--node", tmp_path)
    assert folder.err == said.err.replace("node-b", "node")


def test_a_folder_stands_for_the_node_file_in_it(tmp_path: Path) -> None:
    assert hotpair("init", str(tmp_path), "--yes", "--lone", "--trial").status == 0
    said = hotpair("check", str(tmp_path))
    assert (said.status, said.out.split(": ")[:2]) == (0, [str(tmp_path / "node.yaml"), "OK"])
