"""`hotpair init`: what it writes works, and nothing is overwritten."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from command import hotpair

from gateway.app import schemas
from gateway.cli.init import Answers, answered
from gateway.config.files import check_node
from gateway.errors import BadInput
from gateway.server.passwords import verify_password

NOTHING = Answers(None, None, (), None, None, None, None, None, False)


def test_a_pair_is_written_that_check_passes(tmp_path: Path) -> None:
    said = hotpair(
        *("init", tmp_path / "plant", "--yes", "--site", "pump-7"),
        *("--address", "10.0.9.1", "--address", "10.0.9.2"),
        *("--device", "tcp:10.0.1.5", "--unit", "3", "--profile", "eastron/sdm630"),
    )
    assert said.status == 0, said
    assert "OK: site pump-7, 1 device" in said.out
    assert "hotpair probe tcp:10.0.1.5 --units 3" in said.out
    for node, peer in (("a", "b"), ("b", "a")):
        folder = tmp_path / "plant" / node
        names = {path.name for path in folder.iterdir()}
        assert names == {"node.yaml", "site.yaml", f"{node}.key", f"{node}.crt", f"{peer}.crt"}
        assert stat.S_IMODE((folder / f"{node}.key").stat().st_mode) == 0o600
        loaded = check_node(folder / "node.yaml", schemas())
        assert not loaded.problem_count
        assert loaded.node is not None and loaded.node.link is not None
        assert str(loaded.node.link.listen[0]) == f"10.0.9.{'12'['ab'.index(node)]}:7700"
        assert loaded.node.link.tls is not None
        assert loaded.site is not None and loaded.site.site == "pump-7"
        assert loaded.site.devices[0].settings.unit_id == 3
    a, b = (tmp_path / "plant" / node / "site.yaml" for node in "ab")
    assert a.read_bytes() == b.read_bytes()


def test_the_password_that_is_made_up_is_the_one_that_lets_in(tmp_path: Path) -> None:
    said = hotpair("init", tmp_path, "--yes", "--lone", "--json")
    assert said.status == 0, said
    found = said.json
    assert found["ok"] and len(found["password"]) >= 16
    loaded = check_node(tmp_path / "node.yaml", schemas())
    assert loaded.site is not None
    hashed = loaded.site.users["admin"].password_hash
    assert hashed is not None
    assert verify_password(found["password"], hashed)
    assert found["password"] not in (tmp_path / "site.yaml").read_text()


def test_a_password_of_ones_own_is_taken_from_a_file_and_never_shown(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("geheim ä\n")
    said = hotpair(
        *("init", tmp_path / "x", "-y", "--lone", "--user", "olga", "--password-file", secret)
    )
    assert said.status == 0, said
    assert "geheim" not in said.out
    loaded = check_node(tmp_path / "x" / "node.yaml", schemas())
    assert loaded.site is not None
    hashed = loaded.site.users["olga"].password_hash
    assert hashed is not None and verify_password("geheim ä", hashed)


@pytest.mark.parametrize(
    "device", ["tcp:[::1]:502", "udp:10.0.0.9", "rtu:/dev/ttyUSB0", "opc.tcp://10.0.0.12:4840"]
)
@pytest.mark.parametrize("kind", ["--lone", "--pair"])
def test_each_kind_of_device_and_a_trial_pass_check(tmp_path: Path, device: str, kind: str) -> None:
    said = hotpair("init", tmp_path, kind, "--trial", "-y", "--device", device, "--site", "s")
    assert said.status == 0, said
    assert "problem" not in said.out
    assert "User admin, password" in said.out and "http://127.0.0.1:8080" in said.out


def test_nothing_is_overwritten_and_nothing_is_written_halfway(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "b.key").write_text("mine")
    said = hotpair("init", tmp_path, "--yes")
    assert said.status == 1
    assert "b.key exists: nothing was written. Choose another folder" in said.err
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["b", "b.key"]
    assert (tmp_path / "b" / "b.key").read_text() == "mine"


def test_what_was_not_given_is_asked_for() -> None:
    asked: dict[str, str] = {}
    answers = {
        "Name": "plant",
        "One node": "pair",
        "Its unit": "7",
        "Its profile": "eastron/sdm120",
    }

    def ask(question: str, usual: str) -> str:
        asked[question] = usual
        return next((a for begun, a in answers.items() if question.startswith(begun)), usual)

    plan = answered(Path("folder"), NOTHING, ask)
    assert (plan.site, plan.nodes, plan.unit, plan.profile) == (
        *("plant", ("a", "b"), 7, "eastron/sdm120"),
    )
    assert plan.addresses == ("10.0.9.1", "10.0.9.2")
    assert len(asked) == 8
    asked.clear()
    answered(Path("f"), Answers("s", True, ("10.0.0.1",), "tcp:h", 1, "-", "eva", None, False), ask)
    assert asked == {}, "what is known is not asked"


@pytest.mark.parametrize(
    ("given", "tells"),
    [
        (NOTHING._replace(site="a b"), "Write a_b"),
        (NOTHING._replace(addresses=("1", "2", "3")), "Give two|more than two"),
        (NOTHING._replace(lone=True, addresses=("10.0.0.1", "10.0.0.2")), "one address"),
        (NOTHING._replace(lone=False, addresses=("10.0.0.1", "10.0.0.1")), "the same address"),
        (NOTHING._replace(lone=True, addresses=("a b",)), "no address"),
        (NOTHING._replace(trial=True, addresses=("10.0.0.1",), lone=True), "loopback"),
        (NOTHING._replace(device="10.0.0.1"), "names no device"),
        (NOTHING._replace(device="opc.tcp://h", profile="eastron/sdm120"), "needs no profile"),
        (NOTHING._replace(profile="eastron/sdm12"), "eastron/sdm120"),
        (NOTHING._replace(user="a b"), "Write a_b"),
        (NOTHING._replace(password_file=Path("nosuch")), "can't be read"),
        (NOTHING._replace(password_file=Path("/dev/null")), "is empty"),
    ],
)
def test_answers_that_can_not_be_meant_are_refused(given: Answers, tells: str) -> None:
    with pytest.raises(BadInput) as refused:
        answered(Path("plant"), given, lambda question, usual: usual)
    assert any(part in str(refused.value) for part in tells.split("|"))


@pytest.mark.parametrize(("question", "answer"), [("One node", "three"), ("Its unit", "x")])
def test_an_answer_that_is_none_is_refused(question: str, answer: str) -> None:
    def ask(asked: str, usual: str) -> str:
        return answer if asked.startswith(question) else usual

    with pytest.raises(BadInput):
        answered(Path("plant"), NOTHING, ask)


@pytest.mark.parametrize("data_dir", ["data", "/var/lib/hotpair", "1e3", "a: b", "~"])
def test_the_data_directory_is_where_one_says(tmp_path: Path, data_dir: str) -> None:
    assert hotpair("init", tmp_path, "-y", "--lone", "--data-dir", data_dir).status == 0
    loaded = check_node(tmp_path / "node.yaml", schemas())
    assert loaded.node is not None and loaded.node.data_dir == tmp_path / data_dir


def test_the_page_is_there_and_each_node_links_to_the_others(tmp_path: Path) -> None:
    addresses = ("--address", "10.0.9.1", "--address", "10.0.9.2")
    said = hotpair("init", tmp_path, "-y", "--site", "s", *addresses)
    assert "the page: https://10.0.9.1:8443 and https://10.0.9.2:8443" in said.out
    for node, peer in (("a", "10.0.9.2"), ("b", "10.0.9.1")):
        loaded = check_node(tmp_path / node / "node.yaml", schemas())
        assert loaded.node is not None and loaded.node.web is not None
        assert loaded.node.web.tls is not None
        assert loaded.node.web.peer == f"https://{peer}:8443"
