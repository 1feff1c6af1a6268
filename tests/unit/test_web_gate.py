"""The local door for tokens, and what a caller of a moment ago may still do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from web_world import LEVEL, T0, USERS, FakeNode, Orders, WebWorld

from gateway.driver import PointSpec
from gateway.errors import ControlError
from gateway.rest_view import WILD_MAX, selected
from gateway.server.settings import Role, User
from gateway.web.local_tokens import local_tokens
from gateway.web.rights import Caller
from gateway.web.tokens import DAY_NS, new_token


async def test_tokens_are_made_listed_and_revoked_over_the_local_socket() -> None:
    node = FakeNode()
    app = FastAPI()
    app.include_router(local_tokens(node, Orders(node)))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://node"
    ) as client:
        body = {"name": "grafana", "who": "root (local)"}
        made = (await client.post("/tokens", json=body)).json()
        assert made["token"].startswith("hotpair_") and len(made["token"]) > 40
        assert (await client.get("/tokens")).json() == []
        assert (await client.post("/tokens/revoke", json=body)).status_code == 200
        bad = {"name": "a b", "who": "root"}
        assert (await client.post("/tokens", json=bad)).status_code == 422
    assert node.told == [
        ("token", "root (local)", "grafana", "observer", 365),
        ("revoke", "root (local)", "grafana"),
    ]


def test_a_stream_of_a_token_ends_with_it() -> None:
    world = WebWorld()
    token = new_token("scada", "operator", 1, "digest", "anna", T0, {})
    world.tokens[token.digest] = token
    caller = Caller("scada", Role.OPERATOR)
    assert world.gate.still(caller)
    assert not world.gate.still(Caller("scada", Role.ADMIN)), "another role is another caller"
    world.clock.now_ns += DAY_NS
    assert not world.gate.still(caller)


async def test_a_stream_of_a_person_ends_with_the_session_and_with_a_change_of_role() -> None:
    world = WebWorld()
    secret = await world.gate.log_in("olga", "a long password", "10.0.0.1")
    assert secret is not None
    caller = world.gate.caller(f"hotpair_a={secret}", "")
    assert caller is not None and world.gate.still(caller)
    assert world.gate.sessions == 1
    demoted = {**USERS, "olga": User("olga", Role.ADMIN, USERS["olga"].password_hash)}
    world.gate._logins.replace(demoted)
    assert not world.gate.still(caller), "it asks again, with what it may do now"
    await world.gate.log_out(caller)
    assert world.gate.sessions == 0


async def test_log_ins_outlive_the_program_and_log_outs_too(tmp_path: Path) -> None:
    path = tmp_path / "web" / "sessions.json"

    async def restarted() -> WebWorld:
        world = WebWorld(sessions=path)
        await world.gate.recall()
        return world

    world = await restarted()
    secret = await world.gate.log_in("olga", "a long password", "10.0.0.1")
    cookie = f"hotpair_a={secret}"
    assert (path.stat().st_mode & 0o777) == 0o600 and str(secret) not in path.read_text()
    world = await restarted()
    caller = world.gate.caller(cookie, "")
    assert caller is not None and caller.name == "olga"
    await world.gate.log_out(caller)
    assert (await restarted()).gate.caller(cookie, "") is None


async def test_a_file_of_log_ins_that_is_damaged_costs_log_ins_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "sessions.json"
    path.write_text('[["key", 5')
    world = WebWorld(sessions=path)
    await world.gate.recall()
    assert world.gate.sessions == 0 and "can't be read" in caplog.text
    path.unlink()
    path.mkdir()
    assert await world.gate.log_in("olga", "a long password", "10.0.0.1")
    assert "can't be written" in caplog.text


def points(*names: str) -> list[PointSpec]:
    device = [name.partition("/") for name in names]
    return [
        PointSpec(n, d, p, LEVEL.data_type, "fast", LEVEL.access, None)
        for n, (d, _, p) in enumerate(device)
    ]


def test_points_are_selected_by_id_and_by_pattern() -> None:
    known = points("plc1/level", "plc1/flow", "plc2/level")
    assert selected(["*"], known) == [0, 1, 2]
    assert selected(["plc1/*"], known) == [0, 1]
    assert selected(["*/level", "plc1/flow"], known) == [0, 1, 2]
    assert selected(["plc2/level", "no/such"], known) == [2]
    assert selected(["plc[!1]/*"], known) == [2]
    assert selected([], known) == []
    assert selected(["*"], known, "LEVEL") == [0, 2]
    assert selected(["plc1/*"], known, "level") == [0]
    assert selected(["*"], [known[0], replace(known[1], unit="m3/h")], "M3") == [1]
    with pytest.raises(ControlError, match="21 patterns are too many"):
        selected([f"*{n}" for n in range(WILD_MAX + 1)], known)
