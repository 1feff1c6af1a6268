"""SunSpec models of one unit over time: a chain that broke off, and how often it is asked."""

from __future__ import annotations

from itertools import pairwise

from test_sunspec import chain

from drivers.modbus.models import CHECK_NS, ONWARD_MAX_NS, Models
from drivers.modbus.sunspec import Fact
from gateway.errors import ReplyTimeout
from gateway.model import NS_PER_S
from profiles.schema import SunSpec


class Inverter:
    """Registers that are refused from an address on while it starts up."""

    def __init__(self, registers: dict[int, int], ready: int = 0x10000) -> None:
        self.registers, self.ready = registers, ready
        self.asked: list[int] = []
        self.silent = False

    async def words(self, address: int, count: int) -> list[int] | None:
        self.asked.append(address)
        if address >= self.ready and self.silent:
            raise ReplyTimeout("no answer")
        wanted = range(address, address + count)
        if any(each >= self.ready or each not in self.registers for each in wanted):
            return None
        return [self.registers[each] for each in wanted]


def models(inverter: Inverter, fact: Fact | None = None) -> Models:
    return Models(SunSpec(), inverter.words, fact)


async def test_a_chain_that_broke_off_goes_on_once_the_device_is_ready() -> None:
    inverter = Inverter(chain(40000, (1, 66), (103, 50)), ready=40070)
    known = models(inverter)
    assert await known.look(1, 0)
    assert known.fact == {"base": 40000, "complete": False, "models": {"1": [[40002, 66]]}}
    assert not await known.look(1, CHECK_NS - 1)
    assert not await known.look(1, CHECK_NS)
    inverter.ready = 0x10000
    other = models(inverter, known.fact)
    assert await other.look(1, 0), "another node, or a restart, asks at once"
    assert await known.look(1, 3 * CHECK_NS)
    assert known.fact == other.fact
    assert known.fact is not None
    assert known.fact["complete"]
    assert known.fact["models"]["103"] == [[40070, 50]]
    inverter.asked.clear()
    assert not await known.look(2, 4 * CHECK_NS)
    assert inverter.asked == [40000, 40070], "a whole chain is only checked"


async def test_a_chain_without_an_end_costs_one_request_less_and_less_often() -> None:
    inverter = Inverter(chain(40000, (1, 66), end=()))
    known = models(inverter)
    await known.look(1, 0)
    inverter.asked.clear()
    seconds = []
    for now_ns in range(CHECK_NS, 3600 * NS_PER_S, CHECK_NS):
        before = inverter.asked.count(40070)
        assert not await known.look(1, now_ns)
        if inverter.asked.count(40070) > before:
            seconds.append(now_ns // NS_PER_S)
    assert seconds[:7] == [10, 20, 40, 80, 160, 320, 640]
    assert {b - a for a, b in pairwise(seconds[6:])} == {ONWARD_MAX_NS // NS_PER_S}


async def test_a_device_that_is_silent_beyond_its_models_is_not_lost_for_that() -> None:
    inverter = Inverter(chain(40000, (1, 66), (103, 50)), ready=40070)
    known = models(inverter)
    await known.look(1, 0)
    inverter.silent = True
    failed = 0
    for at in range(1, 361):
        try:
            await known.look(at, at * CHECK_NS)
        except ReplyTimeout:
            failed += 1
            known.suspect()
    assert 0 < failed <= 6 + 3600 * NS_PER_S // ONWARD_MAX_NS
