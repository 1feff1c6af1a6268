"""How a node and its peer stand, read from the parts of a node as they would be."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.config.site import PairSettings
from gateway.errors import ControlError
from gateway.journal.records import Fact
from gateway.model import NS_PER_S
from gateway.pair.words import Field, Role
from gateway.server.alarms import Watched, lost
from gateway.server.discovery import Member
from gateway.server.redundancy import UNHEARD, Told
from gateway.server.service_level import Backup, Duty, Situation
from gateway.standing import NodeStanding

OWN = Member("a", "urn:s:a", "Hotpair s a", ("opc.tcp://a:4840",))
PEER = ["urn:s:b", "Hotpair s b", ["opc.tcp://b:4840"]]


class Node:
    """A node around its standing: a role machine's state, a field, a server that is told."""

    def __init__(self, linked: bool = True, **pair: Any) -> None:
        self.now_ns_ = 10 * NS_PER_S
        self.heard = True
        self.machine = SimpleNamespace(
            role=Role.MAIN,
            paused=False,
            handing=None,
            ready_standby=lambda _now_ns: object(),
            peer=SimpleNamespace(
                last=SimpleNamespace(node="b", role=Role.SYNCED, paused=False, field=Field.UNKNOWN),
                heard=lambda _now_ns: self.heard,
            ),
        )
        self.faults: dict[str, Any] = {"plc1": None, "plc2": None, "plc3": None, "plc4": None}
        self.disabled: set[str] = set()
        self.facts: dict[tuple[str, str], Any] = {}
        self.appended: list[Fact] = []
        self.others: list[Member | None] = []
        self.orders = SimpleNamespace(refusal=lambda: self.refused, changeover=self._changeover)
        self.orders.note = lambda *told: self.noted.append(told)
        self.noted: list[tuple[str, ...]] = []
        self.refused = ""
        self.ordered: list[str] = []
        clock: Any = SimpleNamespace(utc_ns=lambda: 7)
        self.standing = NodeStanding("a", clock, PairSettings(**pair), linked)

    def now_ns(self) -> int:
        return self.now_ns_

    async def _changeover(self, who: str) -> str:
        self.ordered.append(who)
        return f"b is Main, asked by {who}"

    def begin(self) -> NodeStanding:
        states = {
            name: SimpleNamespace(fault=fault, down_since_ns=5)
            for name, fault in self.faults.items()
        }
        collector = SimpleNamespace(
            maintenance=SimpleNamespace(disabled=self.disabled), states=states, devices=self.faults
        )
        server = SimpleNamespace(
            own=OWN,
            other_is=self.others.append,
            look=lambda: None,
            shown=SimpleNamespace(level=90, state=0),
        )
        running: Any = SimpleNamespace(
            server=server,
            facts=self.facts,
            field=SimpleNamespace(collector=collector),
            house=SimpleNamespace(append=self.appended.append),
        )
        keeper: Any = self
        orders: Any = self.orders
        self.standing.begin(running, keeper, orders)
        return self.standing


def test_before_it_has_its_parts_a_node_starts() -> None:
    node = Node()
    assert node.standing.standing().situation == Situation(Role.STARTING)
    node.standing.look()
    assert node.others == []


def test_a_main_counts_the_devices_in_service_that_answer() -> None:
    node = Node()
    node.faults["plc2"] = "timeout"
    node.disabled = {"plc3"}
    found = node.begin().standing()
    assert found.situation == Situation(Role.MAIN, Duty.SERVING, Backup.READY, 2, 3)


def test_alarms_are_of_devices_in_service_that_do_not_answer_their_main() -> None:
    node = Node()
    assert node.standing.watched() is None
    fault = SimpleNamespace(detail="no answer")
    node.faults |= {"plc2": fault, "plc3": fault}
    node.disabled = {"plc3"}
    standing = node.begin()
    assert standing.watched() == Watched([lost("plc2", 5, "no answer")], frozenset({"plc3"}))
    node.machine.role = Role.SYNCED
    assert standing.watched() is None


@pytest.mark.parametrize(
    ("pair", "backup"),
    [({}, Backup.ABSENT), ({"service_level_alone": "degraded"}, Backup.ABSENT_DEGRADED)],
)
def test_without_a_ready_standby_a_main_is_alone(pair: dict[str, str], backup: Backup) -> None:
    node = Node(**pair)
    node.machine.ready_standby = lambda _now_ns: None
    assert node.begin().standing().situation.backup is backup
    paused = Node(**pair)
    paused.machine.paused = True
    assert paused.begin().standing().situation.backup is backup, "nobody takes over by itself"


def test_a_node_without_a_link_is_no_pair() -> None:
    assert Node(linked=False).begin().standing().situation.backup is Backup.NO_PAIR


def test_a_main_that_hands_over_leaves_and_says_why() -> None:
    node = Node()
    node.machine.handing = SimpleNamespace(why="changeover by anna")
    found = node.begin().standing()
    assert (found.situation.duty, found.reason) == (Duty.LEAVING, "changeover by anna")


@pytest.mark.parametrize(
    ("role", "paused", "backup"),
    [
        (Role.SYNCED, False, Backup.READY),
        (Role.SYNCED, True, Backup.ABSENT),
        (Role.SYNCING, False, Backup.ABSENT),
    ],
)
def test_a_standby_is_ready_or_not(role: Role, paused: bool, backup: Backup) -> None:
    node = Node()
    node.machine.role, node.machine.paused = role, paused
    assert node.begin().standing().situation == Situation(role, backup=backup)


def test_a_closed_standby_has_no_data_and_one_unheard_is_unknown() -> None:
    node = Node()
    assert node.begin().standing().peer == Told(1, 3)
    node.heard = False
    assert node.standing.standing().peer == UNHEARD
    node.machine.peer.last = None
    assert node.standing.standing().peer == UNHEARD


@pytest.mark.parametrize(
    ("role", "field", "told"),
    [
        (Role.SYNCED, Field.UNKNOWN, Told(90, 0)),
        (Role.SYNCING, Field.UNKNOWN, Told(50, 0)),
        (Role.STARTING, Field.UNKNOWN, Told(1, 3)),
    ],
)
def test_what_a_warm_peer_says_is_derived_until_it_was_asked(
    role: Role, field: Field, told: Told
) -> None:
    node = Node(standby_endpoint="warm")
    node.machine.peer.last.role, node.machine.peer.last.field = role, field
    assert node.begin().standing().peer == told


@pytest.mark.parametrize(("field", "level"), [(Field.REACHED, 255), (Field.LOST, 100)])
def test_a_standby_tells_of_its_main_by_the_heartbeat(field: Field, level: int) -> None:
    node = Node()
    node.machine.role, last = Role.SYNCED, node.machine.peer.last
    last.role, last.field = Role.MAIN, field
    assert node.begin().standing().peer == Told(level, 0)


async def test_the_peer_is_asked_and_its_word_holds_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.standing.ASK_S", 0.001)
    node = Node(standby_endpoint="warm")
    answers: list[Any] = [ControlError("this version knows no 'standing'"), "?", [77, 0]]
    asked, all_asked = [], asyncio.Event()

    async def ask(what: str, _body: Any, _timeout_s: float) -> Any:
        asked.append(what)
        answer = answers.pop(0) if answers else [77, 0]
        if not answers:
            all_asked.set()
        if isinstance(answer, Exception):
            raise answer
        return answer

    task = asyncio.create_task(node.begin().listen(ask))
    await asyncio.wait_for(all_asked.wait(), 5)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert set(asked) == {"standing"}
    assert node.standing.standing().peer == Told(77, 0)
    node.now_ns_ += 4 * NS_PER_S
    assert node.standing.standing().peer == Told(90, 0)
    assert node.standing.told() == [90, 0]


def test_a_node_introduces_its_server_once() -> None:
    node = Node()
    node.begin()
    told = [OWN.application_uri, OWN.name, list(OWN.urls)]
    assert node.appended == [Fact("", "opcua/a", told, 7)]
    node.begin()
    assert len(node.appended) == 1


def test_the_other_server_is_known_by_the_journal_though_its_node_is_dead() -> None:
    node = Node()
    node.begin().look()
    node.facts["", "opcua/b"] = PEER
    node.standing.look()
    node.machine.peer.last = None
    node.standing.look()
    member = Member("b", "urn:s:b", "Hotpair s b", ("opc.tcp://b:4840",))
    assert node.others == [None, member, member]
    node.facts["", "opcua/former"] = PEER
    node.standing.look()
    node.facts["", "opcua/b"] = "of another version"
    node.machine.peer.last = SimpleNamespace(node="b")
    node.standing.look()
    assert node.others[3:] == [None, None], "one of two is a guess"


async def test_an_order_by_opc_ua_is_put_on_record_once_whatever_it_comes_to() -> None:
    node = Node()
    standing = node.begin()
    await standing.failover("anna")
    assert node.ordered == ["anna"]
    assert node.noted == [], "who carries a changeover out puts it on record"
    node.refused = "the peer is not heard"
    assert standing.refusal() == node.refused
    with pytest.raises(ControlError, match="not heard"):
        await standing.failover("anna")
    assert node.ordered == ["anna"]
    assert node.noted == [("Failover", "anna", "refused: the peer is not heard")]
