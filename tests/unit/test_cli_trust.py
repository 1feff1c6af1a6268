"""`hotpair trust` and `hotpair audit`: what a person sees and does about who may come in."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from certificates import DAY, make
from typer.testing import CliRunner

from gateway.cli import app
from gateway.cli.look import console, draw_northbound, draw_status
from gateway.cli.trust import draw_audit
from gateway.errors import ControlError
from gateway.server.trust import thumbprint
from gateway.server.trust_folder import TrustFolder

HMI = make("HMI")


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A node's files, with a client that asked in vain; the node does not run."""
    file = tmp_path / "node.yaml"
    file.write_text("node: a\ndata_dir: d\n")
    folder = TrustFolder(tmp_path / "d" / "pki")
    folder.make()
    folder.reject(HMI.der, datetime.now(UTC))
    return file


def run(*words: str) -> str:
    found = CliRunner().invoke(app, ["trust", *words], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.stdout


def listed(node: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run("list", "--json", "-n", str(node)))
    return found


def test_a_client_is_listed_accepted_and_removed(node: Path) -> None:
    shown = thumbprint(HMI.der)
    [row] = listed(node)
    assert (row["state"], row["thumbprint"]) == ("rejected", shown)
    assert (row["subject"], row["uri"]) == ("CN=HMI", "urn:test:client")
    assert shown in run("list", "-n", str(node))
    assert run("accept", shown[:8], "-n", str(node)) == f"{shown} CN=HMI is trusted\n"
    assert [row["state"] for row in listed(node)] == ["trusted"]
    assert run("remove", shown[:8], "-n", str(node)) == f"{shown} CN=HMI is trusted no more\n"
    assert [row["state"] for row in listed(node)] == ["rejected"]


def test_what_a_certificate_means_is_said(node: Path, tmp_path: Path) -> None:
    root, late = make("Plant root", ca=True), make("Late", end=-DAY / 2)
    _, root_file = root.write(tmp_path, "root")
    _, late_file = late.write(tmp_path, "late")
    assert "every client whose certificate it issued" in run(
        "accept", str(root_file), "-n", str(node)
    )
    assert "an issuer that completes chains" in run(
        "accept", str(root_file), "--issuer", "-n", str(node)
    )
    assert "It expired" in run("accept", str(late_file), "-n", str(node))


def test_a_mistake_names_its_remedy(node: Path) -> None:
    with pytest.raises(ControlError) as refused:
        run("accept", "abcdef", "-n", str(node))
    assert str(refused.value) == (
        "no rejected certificate has the thumbprint abcdef. `hotpair trust list` shows who asked"
    )


def test_the_audit_is_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    entry = {
        "time": "2026-11-26T04:00:00Z",
        "action": "login refused",
        "target": "10.0.0.66",
        "who": "mallory",
        "outcome": "BadUserAccessDenied",
        "detail": {"client": "UaExpert"},
    }
    console().print(draw_audit([entry]))
    text = capsys.readouterr().out
    assert "1 entry" in text
    for part in ("login refused", "10.0.0.66", "mallory", "client UaExpert"):
        assert part in text


@pytest.mark.parametrize(
    ("more", "part"),
    [
        ({"insecure": True}, "INSECURE"),
        ({"clients_trusted": None}, "EVERY CLIENT'S CERTIFICATE IS TRUSTED"),
        ({}, "CERTIFICATE EXPIRES"),
    ],
)
def test_the_status_says_what_is_not_safe(
    more: dict[str, Any], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    soon = (datetime.now(UTC) + timedelta(days=29)).strftime("%Y-%m-%dT%H:%M:%SZ")
    late = (datetime.now(UTC) + timedelta(days=31)).strftime("%Y-%m-%dT%H:%M:%SZ")
    found = {
        "site": "s", "node": "a", "role_shown": "Main", "since": "", "why": "", "term": "",
        "endpoint": "opc.tcp://h:4840", "endpoint_open": True, "insecure": False,
        "clients_trusted": 3, "certificate_expires": late if more else soon, "points": 0,
        "claimed_through": "", "complete_through": "", "behind": {}, "storing": True,
        "linked": False, "devices": {}, "northbound": {},
        "clock": {"synchronised": None, "error_max_ms": 0},
        "revision": {"running": 1, "differs": "", "not_able": ""},
    } | more  # fmt: skip
    console().print(draw_status(found))
    said = capsys.readouterr().out
    parts = ("INSECURE", "EVERY CLIENT'S CERTIFICATE IS TRUSTED", "CERTIFICATE EXPIRES")
    assert [one for one in parts if one in said] == [part]


def test_the_status_tells_how_far_each_feed_is() -> None:
    lines = draw_northbound(
        {
            "mqtt": {
                "where": "broker:8883", "state": "delivering", "records_behind": 3, "lag_s": 0.25,
                "samples": 400, "skipped": 7, "insecure": True, "last_error": "",
            },
            "postgres": {
                "where": "db:5432/h", "state": "failing", "records_behind": 90, "lag_s": None,
                "samples": 0, "skipped": 0, "insecure": False, "last_error": "no route",
            },
            "standby": {
                "where": "x", "state": "standby", "records_behind": None, "lag_s": None,
                "samples": 5, "skipped": 0, "insecure": False, "last_error": "old",
            },
        }
    )  # fmt: skip
    assert lines == [
        "northbound mqtt broker:8883: delivering, 400 samples delivered, 3 records and 0.2 s behind"
        "  7 RECORDS SKIPPED  INSECURE: without TLS",
        "northbound postgres db:5432/h: failing, 0 samples delivered, 90 records behind: no route",
        "northbound standby x: standby",
    ]
