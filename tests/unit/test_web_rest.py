"""REST without a socket: who comes in, who may what, how refusals look, what is bounded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from web_world import LEVEL, PASSWORD, T0, WebWorld, row, schema

from gateway.errors import ControlError, DeviceError
from gateway.model import NS_PER_S, Status
from gateway.server.logins import FREE_FAILURES
from gateway.web import guard as guard_module
from gateway.web.api import build
from gateway.web.feeds import (
    EVENTS_WAITING_MAX,
    LISTENERS_PER_CALLER_MAX,
    Audience,
    EventListener,
    LiveListener,
)
from gateway.web.guard import BODY_MAX, STRANGERS_BODY_MAX, Guard
from gateway.web.rest import PUBLIC
from gateway.web.rest_look import LIVE_POINTS_MAX
from gateway.web.routing import SLICE, in_slices
from gateway.web.sessions import IDLE_NS
from gateway.web.tokens import DAY_NS

API = "/api/v1"
SPAN = {"from": str(T0), "to": str(T0 + 10 * NS_PER_S)}


async def routes(world: WebWorld) -> dict[str, dict[str, Any]]:
    async with world.as_user("olga") as client:
        document = schema(await client.get(f"{API}/openapi.json"))
    return document["paths"]  # type: ignore[no-any-return]


# ------------------------------------------------------------------------------- who comes in


async def test_without_a_log_in_nothing_is_there_but_health_and_the_log_in() -> None:
    world = WebWorld()
    async with world.client() as client:
        for path, operations in (await routes(world)).items():
            for method in operations:
                answer = await client.request(method, path.replace("{", "").replace("}", ""))
                if path.startswith("/health/"):
                    assert answer.status_code in (200, 503)
                elif path == f"{API}/login":
                    assert answer.status_code == 422
                else:
                    assert answer.status_code == 401, f"{method} {path}"
                    assert answer.headers["www-authenticate"] == "Bearer"
        for path in (f"{API}/openapi.json", f"{API}/nothing", "/docs", "/metrics", "/healthy"):
            assert (await client.get(path)).status_code == 401, path


async def test_a_person_logs_in_and_out() -> None:
    world = WebWorld()
    async with world.as_user("otto") as client:
        (cookie,) = client.cookies.jar
        assert cookie.name == "hotpair_a" and cookie.secure
        assert cookie.has_nonstandard_attr("HttpOnly")
        assert cookie.get_nonstandard_attr("SameSite") == "strict"
        me = (await client.get(f"{API}/me")).json()
        assert me["user"] == "otto" and me["role"] == "operator" and not me["token"]
        assert me["acts"] == ["read", "write", "substitute", "windback"]
        assert (await client.post(f"{API}/logout")).json() == {"done": "logged out"}
        client.cookies.set("hotpair_a", cookie.value or "", domain="node")
        assert (await client.get(f"{API}/me")).status_code == 401, "the old cookie is worth nothing"
    told = [(action, who, outcome) for action, _, who, outcome, _ in world.audit]
    assert told == [("login", "otto", "logged in")]


async def test_a_session_nobody_heard_of_for_a_shift_is_over() -> None:
    world = WebWorld()
    async with world.as_user("olga") as client:
        world.clock.now_ns += IDLE_NS + 1
        assert (await client.get(f"{API}/me")).status_code == 401


async def test_wrong_passwords_are_recorded_and_slow_the_guesser_down() -> None:
    world = WebWorld()
    async with world.client(**{"X-Hotpair": "page"}) as client:
        for user in ("anna", "nobody", "anna", "anna"):
            found = await client.post(f"{API}/login", json={"user": user, "password": "wrong"})
            assert found.status_code == 401
            assert not client.cookies
        assert FREE_FAILURES < 4
        right = {"user": "anna", "password": PASSWORD}
        assert (await client.post(f"{API}/login", json=right)).status_code == 429
        world.clock.now_ns += 60 * NS_PER_S
        assert (await client.post(f"{API}/login", json=right)).status_code == 200
    assert [entry[3] for entry in world.audit] == [
        *["wrong name or password"] * 4,
        "too many log-ins failed",
        "logged in",
    ]


async def test_a_page_of_another_site_changes_nothing_with_the_cookie_of_this_one() -> None:
    world = WebWorld()
    write = {"point": LEVEL.id, "value": 1}
    async with world.as_user("anna") as client:
        del client.headers["X-Hotpair"]
        client.cookies.set("of another program", "{[(\\;=,", domain="node.local")
        assert (await client.post(f"{API}/write", json=write)).status_code == 403
        login = {"user": "anna", "password": PASSWORD}
        assert (await client.post(f"{API}/login", json=login)).status_code == 403
        assert world.node.told == []
        assert (await client.get(f"{API}/me")).status_code == 200


async def test_a_program_comes_in_by_token_until_it_expires_or_is_revoked() -> None:
    world = WebWorld()
    async with world.as_program("operator") as client:
        me = (await client.get(f"{API}/me")).json()
        assert (me["role"], me["token"]) == ("operator", True)
        answer = await client.post(f"{API}/write", json={"point": LEVEL.id, "value": 1.5})
        assert answer.status_code == 200, "no header is needed: a browser sends no token unasked"
        assert world.node.told == [("write", "operator (token)", LEVEL.id, 1.5)]
        world.clock.now_ns += DAY_NS
        assert (await client.get(f"{API}/me")).status_code == 401
    async with world.as_program("observer") as client:
        assert (await client.get(f"{API}/me")).status_code == 200
        world.tokens.clear()
        assert (await client.get(f"{API}/me")).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer hotpair_wrong"},
        {"Authorization": "Basic YW5uYTphbm5h"},
        {"Cookie": "hotpair_a="},
        {"Cookie": "hotpair_a=" + "x" * 4_000},
        {"Cookie": "=;;; hotpair_a"},
        {"Cookie": "hotpair_b=x"},
    ],
)
async def test_what_is_no_token_and_no_cookie_of_ours_opens_nothing(
    headers: dict[str, str],
) -> None:
    async with WebWorld().client(**headers) as client:
        assert (await client.get(f"{API}/me")).status_code == 401


# ------------------------------------------------------------------------------------ who may

LOG = {"device": "plc1", "from_ns": 1, "to_ns": 2}
DISABLE = {"action": "disable", "target": "plc1", "why": "repair"}
SUBSTITUTE = {"action": "substitute", "target": LEVEL.id, "value": 2.5, "why": "broken"}
ACTS: list[tuple[str, str, dict[str, Any] | None, str, int]] = [
    ("POST", "/write", {"point": LEVEL.id, "value": 2}, "operator", 200),
    ("POST", "/maintenance", SUBSTITUTE, "operator", 200),
    ("POST", "/windback", LOG, "operator", 200),
    ("POST", "/verify", LOG, "operator", 200),
    ("POST", "/maintenance", DISABLE, "engineer", 200),
    ("GET", "/raw/plc1/holding/0?count=2", None, "engineer", 200),
    ("GET", "/trace/plc1?seconds=0.01", None, "engineer", 200),
    ("POST", "/rehearse", None, "engineer", 200),
    ("GET", "/revisions/files", None, "engineer", 200),
    ("GET", "/revisions/differences?old=3", None, "engineer", 200),
    ("POST", "/revisions/apply", {"files": {"site.yaml": "site: n\n"}}, "engineer", 200),
    ("POST", "/revisions/rollback", {"reference": "3"}, "engineer", 200),
    ("GET", "/trust", None, "engineer", 200),
    ("POST", "/changeover", None, "admin", 409),
    ("POST", "/pause", None, "admin", 200),
    ("POST", "/resume", None, "admin", 200),
    ("POST", "/peer", {"absent": True}, "admin", 200),
    ("POST", "/backup", {"name": "before-upgrade"}, "admin", 200),
    ("GET", "/users", None, "admin", 200),
    ("GET", "/tokens", None, "admin", 200),
    ("POST", "/tokens", {"name": "grafana"}, "admin", 200),
    ("DELETE", "/tokens/grafana", None, "admin", 200),
    ("POST", "/trust", {"thumbprint": "abcd"}, "admin", 200),
    ("DELETE", "/trust/abcd", None, "admin", 200),
    ("GET", "/status", None, "observer", 200),
    ("GET", "/certificates", None, "observer", 200),
    ("GET", "/windback", None, "observer", 200),
    ("GET", "/revisions", None, "observer", 200),
    ("GET", "/audit", None, "observer", 200),
    ("GET", "/roles", None, "observer", 200),
]
ROLES = ("observer", "operator", "engineer", "admin")


@pytest.mark.parametrize("role", ROLES)
async def test_each_role_may_what_the_table_says_and_no_more(role: str) -> None:
    world = WebWorld()
    async with world.as_program(role) as client:
        for method, path, body, least, expected in ACTS:
            answer = await client.request(method, API + path, json=body)
            allowed = ROLES.index(role) >= ROLES.index(least)
            assert answer.status_code == (expected if allowed else 403), f"{path}: {answer.text}"
    if role == "observer":
        assert world.node.told == []


async def test_every_route_that_changes_something_is_in_that_table() -> None:
    listed = {(method, path.partition("?")[0]) for method, path, *_ in ACTS}
    for path, operations in (await routes(WebWorld())).items():
        for method in operations:
            if method.upper() in ("GET", "HEAD", "OPTIONS") or path.endswith(("login", "logout")):
                continue
            bare = path.removeprefix(API).replace("{name}", "grafana")
            assert (method.upper(), bare.replace("{thumbprint}", "abcd")) in listed, path


async def test_who_acts_is_who_logged_in_whatever_the_body_says() -> None:
    world = WebWorld()
    async with world.as_user("anna") as client:
        body = {"point": LEVEL.id, "value": True, "who": "somebody else"}
        await client.post(f"{API}/write", json=body)
        await client.post(f"{API}/tokens", json={"name": "x", "role": "operator", "days": 7})
        await client.post(f"{API}/backup", json={"name": "b"})
    assert world.node.told == [
        ("write", "anna", LEVEL.id, True),
        ("token", "anna", "x", "operator", 7),
        ("backup", "b", "anna"),
    ]


async def test_an_engineer_makes_nobody_an_admin() -> None:
    world = WebWorld()
    eve = {"site.yaml": "site: pump\ndevices: {}\nusers: {eve: {role: admin}}\n"}
    async with world.as_program("engineer") as client:
        answer = await client.post(f"{API}/revisions/apply", json={"files": eve})
        assert answer.status_code == 403
        world.node.head = eve
        rollback = {"reference": "3"}
        answer = await client.post(f"{API}/revisions/rollback", json=rollback)
        assert answer.status_code == 403
        assert world.node.told == []
    async with world.as_program("admin") as client:
        answer = await client.post(f"{API}/revisions/apply", json={"files": eve})
        assert answer.status_code == 200


# ----------------------------------------------------------------------------------- answers


async def test_a_trend_has_points_gaps_wound_back_stretches_and_reigns() -> None:
    world = WebWorld()
    async with world.as_program("observer") as client:
        asked = {"points": LEVEL.id, "buckets": 5, **SPAN}
        found = (await client.get(f"{API}/trend", params=asked)).json()
    (line,) = found["points"]
    assert (line["at"], line["last"], found["step_ns"]) == ([0, 1], [1.0, 2.0], 2 * NS_PER_S)
    assert [gap["state"] for gap in found["gaps"]] == ["open"], "of the point's own scan class"
    assert [gap["state"] for gap in found["wound_back"]] == ["filled"]
    assert [reign["to_ns"] for reign in found["reigns"]] == [None]


@pytest.mark.parametrize(
    ("path", "params", "status", "says"),
    [
        ("/trend", {"points": "no/such", **SPAN}, 404, "no point 'no/such'"),
        ("/trend", {"points": ",", **SPAN}, 422, "name 1 to 20"),
        ("/trend", {"points": ",".join("abcdefghijklmnopqrstu"), **SPAN}, 422, "name 1 to 20"),
        ("/trend", {"points": "a", "from": "5", "to": "5"}, 422, "must be after"),
        ("/trend", {"points": "a", "from": "yesterday", "to": "5"}, 422, "write 2026-"),
        ("/trend", {"points": "a", "from": "9" * 40, "to": "5"}, 422, "write 2026-"),
        ("/history", {"point": "no/such", **SPAN}, 404, "no point 'no/such'"),
        ("/history", {"point": LEVEL.id, "cursor": "x", **SPAN}, 422, "cursor"),
        ("/gaps", {"state": "odd", **SPAN}, 422, "state"),
        ("/live", {"points": ["a"] * 201}, 422, "points"),
        ("/live", {"points": ",".join(["a"] * 201)}, 422, "name at most 200"),
        ("/nothing", {}, 404, "Not Found"),
    ],
)
async def test_what_has_no_meaning_is_refused_with_a_remedy(
    path: str, params: dict[str, Any], status: int, says: str
) -> None:
    async with WebWorld().as_program("observer") as client:
        answer = await client.get(API + path, params=params)
    assert answer.status_code == status, answer.text
    assert says in answer.json()["detail"]


async def test_history_gaps_and_events_are_given() -> None:
    async with WebWorld().as_program("observer") as client:
        page = (await client.get(f"{API}/history", params={"point": LEVEL.id, **SPAN})).json()
        assert [item["value"] for item in page["rows"]] == [1.0, 2.0]
        gaps = (await client.get(f"{API}/gaps", params={"state": "filled", **SPAN})).json()
        assert [gap["cause"] for gap in gaps] == ["link"]
        assert len((await client.get(f"{API}/events", params=SPAN)).json()) == 1
        assert (await client.get(f"{API}/points")).json()[0]["point"] == LEVEL.id
        whole, few = [
            (await client.get(f"{API}/status", params={"devices": devices})).json()
            for devices in ("true", "false")
        ]
        assert whole["devices"] and few == {**whole, "devices": {}}


@pytest.mark.parametrize(("value", "text"), [(float("nan"), "nan"), (float("-inf"), "-inf")])
async def test_what_is_no_number_is_told_in_words_at_both_doors(value: float, text: str) -> None:
    """JSON has no NaN (RFC 8259, section 6)."""
    world = WebWorld()
    world.node.rows = [row(0, value)]
    asked = {"point": LEVEL.id, **SPAN}
    async with world.as_program("observer") as client:
        answers = [await client.get(f"{API}/history", params=asked)]
    local = httpx.ASGITransport(build(world.node, world.node))
    async with httpx.AsyncClient(transport=local, base_url="http://node") as client:
        answers.append(await client.get("/history", params=asked))
    for answer in answers:
        assert answer.status_code == 200
        assert [each["value"] for each in answer.json()["rows"]] == [text]


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (ControlError("not now", "later"), 409),
        (DeviceError("no answer", "look", Status.BAD_TIMEOUT), 409),
        (RuntimeError("a fault of ours"), 500),
    ],
)
async def test_a_fault_is_one_message_never_a_traceback(
    fault: Exception, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    world = WebWorld()
    world.node.fault = fault
    async with world.as_program("observer") as client:
        answer = await client.get(f"{API}/status")
    assert answer.status_code == status
    assert "Traceback" not in answer.text and "a fault of ours" not in answer.text
    if isinstance(fault, DeviceError):
        assert answer.json()["status"] == "BadTimeout"
    # The log has the whole of what only we can mend, and nothing of what a caller can.
    assert ("a fault of ours" in caplog.text) == (status == 500)
    assert answer.json()["remedy"]


async def test_health_answers_by_status_code() -> None:
    world = WebWorld()
    async with world.client() as client:
        for method in ("GET", "HEAD", "OPTIONS"):
            assert (await client.request(method, "/health/main")).status_code == 200
            assert (await client.request(method, "/health/standby")).status_code == 503
        world.node.stands = world.node.stands._replace(role="syncing", lag_ns=4 * NS_PER_S)
        assert (await client.get("/health/standby?lag=5s")).status_code == 200
        found = await client.get("/health/standby?lag=3s")
        assert found.status_code == 503 and "lags 4.0 s" in found.json()["why"]
        assert (await client.get("/health/standby?lag=soon")).status_code == 422
        assert (await client.get("/health/live")).status_code == 200


async def test_metrics_are_open_only_where_that_is_said() -> None:
    async with WebWorld().as_program("observer") as client:
        answer = await client.get("/metrics")
        assert answer.text == "hotpair_is_main 1\n"
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    async with WebWorld(metrics_open=True).client() as client:
        assert (await client.get("/metrics")).status_code == 200
        assert (await client.get(f"{API}/status")).status_code == 401


# ------------------------------------------------------------------------------------ bounds


async def test_every_answer_has_the_headers_that_browsers_need() -> None:
    for lasting in (False, True):
        async with WebWorld(lasting=lasting).client() as client:
            for path in ("/health/live", f"{API}/status", f"{API}/login"):
                headers = (await client.get(path)).headers
                assert headers["cache-control"] == "no-store"
                assert "frame-ancestors 'none'" in headers["content-security-policy"]
                assert headers["x-content-type-options"] == "nosniff"
                assert ("strict-transport-security" in headers) is lasting


async def test_bodies_are_bounded_more_so_before_a_log_in() -> None:
    world = WebWorld()

    async def pieces(size: int) -> AsyncIterator[bytes]:
        for _ in range(-(-size // 65_536)):
            yield b"x" * 65_536

    async with world.client(**{"X-Hotpair": "page"}) as client:
        big = b"x" * (STRANGERS_BODY_MAX + 1)
        assert (await client.post(f"{API}/login", content=big)).status_code == 413
        assert (await client.post(f"{API}/login", content=pieces(65_536))).status_code == 413
        odd = {"Content-Length": "-1"}
        request = client.build_request("POST", f"{API}/login", content=b"{}", headers=odd)
        assert (await client.send(request)).status_code == 413
    async with world.as_program("engineer") as client:
        path = f"{API}/revisions/apply"
        assert (await client.post(path, content=pieces(BODY_MAX + 1))).status_code == 413
        assert (await client.post(path, content=b"{not json")).status_code == 422


class Door:
    def caller(self, cookie: str, authorization: str) -> None:
        return None


async def asked(app: Any, path: str = "/page/x", **more: Any) -> list[Any]:
    """What an ASGI application sends."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    scope = {"type": "http", "method": "GET", "path": path, "headers": [], **more}
    await Guard(app, Door(), PUBLIC, False)(scope, receive, send)
    return sent


async def test_an_answer_that_does_not_begin_in_time_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guard_module, "READ_S", 0.01)

    async def hangs(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    start, _ = await asked(hangs)
    assert start["status"] == 503


async def test_an_answer_that_was_begun_may_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_module, "READ_S", 0.01)

    async def streams(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(0.05)  # paces: longer than an answer may take to begin
        await send({"type": "http.response.body", "body": b"late"})

    assert (await asked(streams))[-1]["body"] == b"late"


async def test_a_fault_after_the_beginning_ends_the_answer() -> None:
    async def breaks(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("half way")

    assert len(await asked(breaks)) == 1
    assert await asked(breaks, type="websocket") == [], "there are no web sockets"


# ----------------------------------------------------------------------------------- streams


async def read_events(client: httpx.AsyncClient, path: str, count: int) -> list[tuple[str, Any]]:
    """The first events of a stream that ends."""
    text = (await client.get(path)).text
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
        if "event" in fields:
            found.append((fields["event"], json.loads(fields["data"])))
    assert len(found) >= count, text
    return found[:count]


async def test_live_values_come_as_a_snapshot_then_as_changes_until_the_right_is_gone() -> None:
    world = WebWorld()

    async def change() -> None:
        while not len(world.live):
            await asyncio.sleep(0)
        (listener,) = world.live
        listener.hear([0])
        listener.hear([0])
        while listener.news.is_set():
            await asyncio.sleep(0.01)  # paces: the stream has its shortest pause
        world.tokens.clear()

    async with world.as_program("observer") as client:
        changing = asyncio.create_task(change())
        events = await read_events(client, f"{API}/live?points=plc1/*&every_ms=100", 2)
        await changing
    (name, snapshot), *rest = events
    assert name == "snapshot" and snapshot["points"][0]["point"] == LEVEL.id
    assert rest[-1][0] in ("change", "bye")
    assert not len(world.live), "who left is forgotten"


async def test_of_very_many_points_the_first_are_told_and_how_many_fit() -> None:
    world = WebWorld()
    world.node.points_known = LIVE_POINTS_MAX + 1
    async with world.as_program("observer") as client:
        answer = await client.get(f"{API}/live")
        assert answer.status_code == 422
        assert "5001 of them, at most 5000: name fewer" in answer.json()["detail"]
        found = await client.get(f"{API}/points", params={"find": "lev", "first": 3})
        assert len(found.json()) == 3
        assert (await client.get(f"{API}/points", params={"find": "flow"})).json() == []
        values = world.node.values

        def last(numbers: Any) -> Any:
            world.tokens.clear()
            return values(numbers)

        world.node.values = last  # type: ignore[method-assign]
        (name, told), bye = await read_events(client, f"{API}/live?find=lev&first=2", 2)
    assert (name, len(told["points"]), told["fits"]) == ("snapshot", 2, LIVE_POINTS_MAX + 1)
    assert bye[0] == "bye"


async def test_a_revision_that_comes_while_values_are_made_is_a_snapshot_again() -> None:
    world = WebWorld()
    values, made = world.node.values, 0

    def changing(numbers: Any) -> Any:
        nonlocal made
        made += 1
        if made == 1:
            raise IndexError("the revision before had more points")
        world.tokens.clear()
        return values(numbers)

    world.node.values = changing  # type: ignore[method-assign]
    async with world.as_program("observer") as client:
        path = f"{API}/live?points={LEVEL.id}&every_ms=100"
        (name, first), (again, second), bye = await read_events(client, path, 3)
    assert (name, again, bye[0]) == ("snapshot", "snapshot", "bye")
    assert first["points"] == [] and second["points"][0]["point"] == LEVEL.id


async def test_a_long_list_is_made_in_slices_between_which_others_have_their_turn() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    made = await in_slices(range(3 * SLICE), lambda part: [{"n": n} for n in part])
    task.cancel()
    found = json.loads(bytes(made))
    assert [item["n"] for item in found] == list(range(3 * SLICE))
    assert turns >= 3
    assert bytes(await in_slices([], list)) == b"[]"


async def test_events_come_as_they_are_journalled() -> None:
    world = WebWorld()

    async def happen() -> None:
        while not len(world.events):
            await asyncio.sleep(0)
        (listener,) = world.events
        listener.hear({"text": "lost"})
        while listener.news.is_set():
            await asyncio.sleep(0.01)  # paces: the stream has its shortest pause
        world.tokens.clear()

    async with world.as_program("observer") as client:
        happening = asyncio.create_task(happen())
        (first, last) = await read_events(client, f"{API}/events/live", 2)
        await happening
    assert first == ("events", {"lost": 0, "events": [{"text": "lost"}]})
    assert last[0] == "bye"


def test_a_listener_is_told_what_newer_values_replaced() -> None:
    numbers = [1, 2]
    listener = LiveListener("olga", lambda: numbers)
    assert listener.take() == ([1, 2], 0), "first everything"
    listener.hear([3])
    assert not listener.news.is_set(), "of a point that nobody asked for"
    listener.hear([1, 3])
    listener.hear([1, 2])
    assert listener.take() == ([1, 2], 1)
    listener.hear([2])
    numbers[:] = [7]
    listener.hear(None)
    listener.hear([1, 7])
    assert listener.anew and listener.take() == ([7], 0), "numbers mean other points now"


def test_a_slow_listener_of_events_is_told_how_many_it_lost() -> None:
    listener = EventListener("olga")
    for number in range(EVENTS_WAITING_MAX + 3):
        listener.hear({"n": number})
    found, lost = listener.take()
    assert (len(found), lost, found[-1]["n"]) == (EVENTS_WAITING_MAX, 3, EVENTS_WAITING_MAX + 2)
    assert listener.take() == ([], 0)


async def test_streams_are_bounded_by_caller() -> None:
    world = WebWorld()
    for _ in range(LISTENERS_PER_CALLER_MAX):
        assert world.live.join(LiveListener("observer (token)", list))
    async with world.as_program("observer") as client:
        assert (await client.get(f"{API}/live")).status_code == 429
    audience: Audience[EventListener] = Audience()
    joined = [audience.join(EventListener(f"user{n // 4}")) for n in range(60)]
    assert joined.count(True) == len(audience) == 48
