"""Commands to a node: a Main carries them out, any other carries them to it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gateway.errors import ControlError, StoreFull
from gateway.journal.records import Audit, Fact
from gateway.orders import Orders
from gateway.pair import events as ev
from gateway.pair.roles import PeerView
from gateway.pair.words import Role
from gateway.web.tokens import Token, tokens_of


class Node:
    """A node as far as orders need it: what it was told, and what it asked of its peer."""

    def __init__(self, role: Role, peer: PeerView = PeerView.MAIN) -> None:
        self.commands: list[ev.Event] = []
        self.asked: list[tuple[str, Any]] = []
        self.audit: list[Audit] = []
        self.facts: dict[tuple[str, str], Any] = {}
        self.alarms: list[str] = []
        self.maintained: list[str] = []
        self.refusal = ""
        self.store_full = False
        self.machine = SimpleNamespace(role=role, view=lambda _: peer)
        self.is_main = role is Role.MAIN
        self.house = SimpleNamespace(
            clock=SimpleNamespace(utc_ns=lambda: 7),
            commit=self._commit,
            alarm=lambda source, severity, text: self.alarms.append(text),
        )

    def now_ns(self) -> int:
        return 1

    async def command(self, event: ev.Event) -> str:
        self.commands.append(event)
        if self.refusal:
            raise ControlError(self.refusal)
        return "done"

    async def _commit(self, body: Audit | Fact) -> None:
        if self.store_full:
            raise StoreFull("the store takes no records")
        if isinstance(body, Fact):
            self.facts[body.device, body.key] = body.value
        else:
            self.audit.append(body)

    def known_tokens(self) -> dict[str, Token]:
        return tokens_of(self.facts)

    async def maintain(self, action: str, target: str, value: Any, who: str, why: str) -> None:
        self.maintained.append(f"{action} {target}")

    async def ask(self, what: str, body: Any, timeout_s: float) -> Any:
        self.asked.append((what, body))
        return (
            [
                0,
                3.5,
                "",
            ][:3]
            if what == "write"
            else f"{what} by the Main"
        )


def orders(node: Node, linked: bool = True) -> Orders:
    running: Any = SimpleNamespace(house=node.house)
    view: Any = node
    keeper: Any = node
    return Orders("a", running, view, keeper, node.ask if linked else None)


async def test_a_main_carries_out_and_audits_what_a_standby_carries_to_it() -> None:
    main, standby = Node(Role.MAIN), Node(Role.SYNCED)
    assert await orders(main).changeover("me") == "done"
    assert main.commands == [ev.Changeover("me")]
    assert [(a.action, a.who, a.outcome) for a in main.audit] == [("changeover", "me", "done")]
    assert await orders(standby).changeover("me") == "changeover by the Main"
    assert standby.commands == [] and standby.asked == [("changeover", {"who": "me"})]
    assert (await orders(standby).write("me", "plc1/x", 3.5)).read_back == 3.5
    await orders(standby).maintain("disable", "plc1", None, "me", "why")
    assert [what for what, _ in standby.asked][1:] == ["write", "maintenance"]
    assert (
        await orders(main).answer(
            "maintenance",
            {
                "action": "disable",
                "target": "plc1",
                "value": None,
                "who": "me",
                "why": "x",
            },
        )
        is None
    )
    assert main.maintained == ["disable plc1"]


async def test_a_refused_command_is_audited_too_and_a_full_store_hinders_no_answer() -> None:
    main = Node(Role.MAIN)
    main.refusal = "the peer is not heard"
    with pytest.raises(ControlError, match="not heard"):
        await orders(main).changeover("me")
    assert main.audit[0].outcome == "refused: the peer is not heard"
    main.refusal, main.store_full = "", True
    assert await orders(main).pause(True, "me") == "done"
    assert "not journalled" in main.alarms[0]


async def test_without_a_main_only_pause_and_resume_are_carried_out_here() -> None:
    node = Node(Role.STARTING, PeerView.NEVER)
    with pytest.raises(ControlError, match="no Main is heard"):
        await orders(node).write("me", "plc1/x", 1)
    assert await orders(node).pause(True, "me") == "done"
    assert await orders(node).pause(False, "me") == "done"
    assert node.commands == [ev.Pause(True, "me"), ev.Pause(False, "me")]


async def test_a_node_without_a_link_has_no_pair_to_command() -> None:
    node = orders(Node(Role.MAIN), linked=False)
    for command in (node.changeover("me"), node.pause(True, "me"), node.peer(True, "me")):
        with pytest.raises(ControlError, match="no peer") as refused:
            await command
        assert "link" in refused.value.remedy


async def test_what_the_peer_asks_is_looked_at_before_it_is_done() -> None:
    standby, main = orders(Node(Role.SYNCED)), orders(Node(Role.MAIN))
    with pytest.raises(ControlError, match="standby"):
        await standby.answer("changeover", {"who": "me"})
    assert await standby.answer("pause", {"who": "me"}) == "done"
    for what, body in (("write", {"who": "me"}), ("nonsense", {}), ("pause", 3)):
        with pytest.raises(ControlError, match="no request"):
            await main.answer(what, body)


async def test_a_main_does_not_rehearse() -> None:
    with pytest.raises(ControlError, match="polls every device"):
        await orders(Node(Role.MAIN)).rehearse("me")


@pytest.mark.parametrize(
    ("role", "peer", "linked", "why"),
    [
        (Role.MAIN, PeerView.STANDBY, False, "no peer"),
        (Role.SYNCED, PeerView.MAIN, True, ""),
        (Role.SYNCING, PeerView.MAIN, True, "syncing"),
        (Role.SYNCED, PeerView.SILENT, True, "no Main is heard"),
    ],
)
def test_why_no_changeover_is_possible_is_known_without_asking(
    role: Role, peer: PeerView, linked: bool, why: str
) -> None:
    refusal = orders(Node(role, peer), linked).refusal()
    assert why in refusal and bool(why) is bool(refusal)


def test_what_was_asked_for_by_opc_ua_is_noted_with_its_outcome() -> None:
    node = Node(Role.MAIN)
    noted: list[Audit] = []
    node.house.append = noted.append
    orders(node).note("Failover", "anna", "refused: no peer")
    assert noted == [Audit("Failover", "a", 7, "anna", "refused: no peer")]


async def test_a_token_is_kept_by_the_main_and_revoked_by_it() -> None:
    main, standby = Node(Role.MAIN), Node(Role.SYNCED)
    await orders(main).token("anna", "grafana", "observer", 30, "digest")
    assert [token.name for token in main.known_tokens().values()] == ["grafana"]
    with pytest.raises(ControlError, match="already"):
        await orders(main).token("anna", "grafana", "admin", 30, "other")
    assert await orders(main).revoke("anna", "grafana") == "token grafana is revoked"
    assert main.known_tokens() == {}
    with pytest.raises(ControlError, match="no token 'grafana'"):
        await orders(main).revoke("anna", "grafana")
    assert [(entry.action, entry.who) for entry in main.audit] == [("token grafana", "anna")] * 2
    await orders(standby).token("anna", "scada", "operator", 1, "digest")
    await orders(standby).revoke("anna", "scada")
    assert [what for what, _ in standby.asked] == ["token", "revoke"] and not standby.facts
