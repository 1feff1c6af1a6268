"""The PLC witness step by step: each rule of rules.md 6 by itself."""

from __future__ import annotations

from itertools import pairwise

from gateway.model import NS_PER_MS, NS_PER_S
from gateway.pair.plc_events import (
    Claim,
    Event,
    Failure,
    Peer,
    Read,
    Release,
    Reply,
    Tick,
    Vote,
    Write,
)
from gateway.pair.plc_witness import NEVER_NS, OWNER, PlcWitness
from gateway.pair.votes import LeaseTiming

TIMING = LeaseTiming.of(NS_PER_S)
LOWER, HIGHER = Peer(True, True), Peer(False, False)


class Bench:
    """A machine, a PLC that answers when told, and a clock."""

    def __init__(self, peer: Peer | None = LOWER, start: int = 12_345) -> None:
        self.now_ns = 0
        self.words = [7, 9, 0]
        self.connection = 1
        self.votes: list[int] = []
        self.request: Read | Write | None = None
        self.machine = PlcWitness(TIMING, start, 0)
        if peer is not None:
            self.feed(peer)

    def feed(self, event: Event) -> None:
        for effect in self.machine.step(self.now_ns, event):
            if isinstance(effect, Vote):
                self.votes.append(effect.until_ns)
            else:
                assert self.request is None, "one request at a time"
                self.request = effect

    def later(self, ms: float) -> None:
        self.now_ns += int(ms * NS_PER_MS)

    def asked(self) -> Read | Write:
        """The next request, ticking as the shell does."""
        while self.request is None:
            assert self.machine.due_ns < NEVER_NS
            self.now_ns = max(self.now_ns, self.machine.due_ns)
            self.feed(Tick())
        return self.request

    def answer(self, ms: float = 2) -> Read | Write:
        """Carry the next request out and answer it after `ms`."""
        request = self.asked()
        if isinstance(request, Write):
            self.words[request.register] = request.word
            reply = Reply(request.number, self.connection)
        else:
            reply = Reply(request.number, self.connection, tuple(self.words))
        self.later(ms)
        self.request = None
        self.feed(reply)
        return request

    def fail(self, why: str = "no answer", refused: bool = False, ms: float = 200) -> Read | Write:
        request = self.asked()
        self.later(ms)
        self.request = None
        self.feed(Failure(request.number, why, refused))
        self.connection += 1
        return request

    def until_write(self, register: int = 0, limit: int = 100) -> Write:
        """Answer looks until the machine writes that register."""
        for _ in range(limit):
            request = self.asked()
            if isinstance(request, Write) and request.register == register:
                return request
            self.answer()
        raise AssertionError("it never writes")

    def hold(self) -> None:
        """Get the lease."""
        self.feed(Claim())
        while not self.machine.until_ns:
            self.answer()


def test_nothing_is_written_before_a_claim_and_the_registers_are_watched() -> None:
    bench = Bench()
    for _ in range(20):
        assert isinstance(bench.answer(), Read)
    assert bench.votes == []
    assert bench.machine.words == (7, 9, 0)


def test_a_claim_waits_until_the_other_beat_stood_still_for_w() -> None:
    bench = Bench()
    bench.feed(Claim())
    bench.answer()
    received_ns = bench.now_ns
    bench.until_write()
    assert bench.now_ns >= received_ns + TIMING.watch_ns


def test_what_was_watched_before_the_claim_counts() -> None:
    bench = Bench()
    for _ in range(10):
        bench.answer()
    bench.feed(Claim())
    assert isinstance(bench.request, Write)


def test_the_lease_counts_from_the_sending_of_the_write_that_was_read_back() -> None:
    bench = Bench()
    bench.feed(Claim())
    bench.until_write()
    sent_ns = bench.now_ns
    bench.answer(ms=30)
    assert bench.votes == []
    bench.answer(ms=20)
    assert bench.votes == [sent_ns + TIMING.lease_ns]


def test_a_beat_of_the_other_during_the_claim_begins_it_anew_and_who_gives_way_waits_twice() -> (
    None
):
    for peer, factor in ((LOWER, 2), (HIGHER, 1)):
        bench = Bench(peer)
        mine = 0 if peer.mine_is_lower else 1
        bench.feed(Claim())
        bench.until_write(mine)
        bench.words[1 - mine] = 4_711
        bench.answer()
        bench.answer()
        assert bench.votes == []
        seen_ns = bench.now_ns
        bench.until_write(mine)
        waited_ns = bench.now_ns - seen_ns
        assert waited_ns >= factor * TIMING.watch_ns
        assert waited_ns < factor * TIMING.watch_ns + 10 * NS_PER_MS


def test_the_other_beat_moving_while_it_is_watched_begins_the_watch_anew() -> None:
    bench = Bench()
    bench.feed(Claim())
    for beat in range(30):
        bench.words[1] = 100 + beat
        assert isinstance(bench.answer(), Read)


def test_renewals_come_each_r_with_a_new_value_and_never_zero() -> None:
    bench = Bench(start=62_530)
    bench.words[0] = 2_000
    bench.hold()
    seen: list[int] = []
    sent: list[int] = []
    for _ in range(12):
        write = bench.until_write()
        seen.append(write.word)
        sent.append(bench.now_ns)
        bench.answer()
    assert len(set(seen)) == len(seen)
    assert 0 not in seen
    assert 65_535 in seen
    assert 1 in seen
    assert {b - a for a, b in pairwise(sent)} == {TIMING.renew_ns}
    assert bench.votes == sorted(bench.votes)


def test_a_new_process_starts_far_from_the_value_in_force() -> None:
    for start in (0, 1, 65_534, 2**31 - 1):
        bench = Bench(start=start)
        bench.feed(Claim())
        word = bench.until_write().word
        assert 1_000 < (word - bench.words[0]) % 65_535 < 64_535


def test_the_owner_word_says_who_won_and_is_mended_once_it_was_lost() -> None:
    bench = Bench(HIGHER)
    bench.hold()
    assert bench.until_write(OWNER).word == 2
    bench.answer()
    for _ in range(6):
        bench.answer()
    bench.words[OWNER] = 0
    bench.until_write(OWNER)


def test_an_owner_word_that_can_not_be_written_costs_no_lease() -> None:
    bench = Bench()
    bench.hold()
    bench.until_write(OWNER)
    bench.fail("write register was refused: exception 2", refused=True, ms=2)
    assert "exception 2" in bench.machine.trouble.text
    for _ in range(40):
        bench.answer()
    assert 0 not in bench.votes
    bench.words[OWNER] = 0
    assert all(isinstance(bench.answer(), Read) or True for _ in range(4))


def test_one_lost_renewal_does_not_cost_the_lease() -> None:
    bench = Bench()
    bench.hold()
    bench.until_write(OWNER)
    bench.answer()
    bench.until_write()
    bench.fail()
    bench.answer(ms=399)
    bench.answer(ms=190)
    assert 0 not in bench.votes
    assert bench.machine.until_ns > bench.now_ns


def test_a_read_back_that_is_lost_is_asked_again_and_still_counts_from_the_write() -> None:
    bench = Bench()
    bench.hold()
    bench.until_write(OWNER)
    bench.answer()
    bench.until_write()
    sent_ns = bench.now_ns
    bench.answer()
    bench.fail(ms=100)
    assert isinstance(bench.answer(), Read)
    assert bench.votes[-1] == sent_ns + TIMING.lease_ns
    bench.until_write()
    bench.answer()
    bench.fail(ms=50)
    bench.fail(ms=50)
    assert isinstance(bench.asked(), Write)


def test_a_late_reply_never_revives_a_lapsed_lease() -> None:
    bench = Bench()
    bench.hold()
    bench.until_write(OWNER)
    bench.answer()
    bench.until_write()
    bench.answer(ms=1_500)
    assert bench.votes[-1] == 0
    bench.answer()
    assert bench.votes[-1] == 0
    assert bench.machine.until_ns == 0


def test_a_lapse_is_told_though_nothing_answers() -> None:
    bench = Bench()
    bench.hold()
    bench.asked()
    assert bench.machine.due_ns == bench.machine.until_ns
    bench.now_ns = bench.machine.until_ns
    bench.feed(Tick())
    assert bench.votes[-1] == 0


def test_a_claim_that_takes_longer_than_its_lease_is_made_again() -> None:
    bench = Bench()
    bench.feed(Claim())
    bench.until_write()
    bench.answer(ms=600)
    bench.answer(ms=600)
    assert bench.votes == []
    assert isinstance(bench.asked(), Write)


def test_a_new_connection_begins_the_watch_anew() -> None:
    bench = Bench()
    bench.feed(Claim())
    for _ in range(4):
        bench.answer()
    bench.connection += 1
    bench.answer()
    received_ns = bench.now_ns
    bench.until_write()
    assert bench.now_ns >= received_ns + TIMING.watch_ns


def test_a_connection_lost_between_write_and_read_back_undoes_the_claim() -> None:
    bench = Bench()
    bench.feed(Claim())
    bench.until_write()
    bench.answer()
    bench.connection += 1
    bench.answer()
    assert bench.votes == []
    bench = Bench()
    bench.feed(Claim())
    bench.until_write()
    bench.answer()
    bench.fail()
    failed_ns = bench.now_ns
    bench.until_write()
    assert bench.now_ns >= failed_ns + TIMING.watch_ns


def test_a_plc_that_started_anew_is_no_stranger_and_begins_the_watch_anew() -> None:
    bench = Bench()
    bench.feed(Claim())
    for _ in range(4):
        bench.answer()
    bench.words = [0, 9, 0]
    bench.answer()
    received_ns = bench.now_ns
    bench.until_write()
    assert bench.now_ns >= received_ns + TIMING.watch_ns
    assert bench.machine.trouble.text == ""


def test_a_release_ends_the_lease_at_once_and_an_answer_under_way_changes_nothing() -> None:
    bench = Bench()
    bench.hold()
    bench.until_write(OWNER)
    bench.answer()
    bench.until_write()
    bench.feed(Release())
    assert bench.votes[-1] == 0
    count = len(bench.votes)
    for _ in range(20):
        bench.answer()
    assert len(bench.votes) == count
    assert isinstance(bench.asked(), Read)


def test_a_second_claim_changes_nothing() -> None:
    bench = Bench()
    bench.hold()
    votes = list(bench.votes)
    bench.feed(Claim())
    assert bench.votes == votes


def test_without_the_peers_id_nothing_is_written() -> None:
    bench = Bench(peer=None)
    bench.feed(Claim())
    for _ in range(20):
        assert isinstance(bench.answer(), Read)
    bench.feed(LOWER)
    bench.until_write()


def test_a_peer_with_another_id_changes_registers_and_ends_the_lease() -> None:
    bench = Bench(LOWER)
    bench.hold()
    bench.until_write(OWNER)
    bench.answer()
    bench.until_write()
    bench.feed(HIGHER)
    assert bench.votes[-1] == 0
    bench.answer()
    bench.answer()
    assert bench.machine.until_ns == 0
    bench.until_write(1)


def test_the_same_peer_again_changes_nothing() -> None:
    bench = Bench(LOWER)
    bench.hold()
    bench.feed(LOWER)
    assert 0 not in bench.votes


def test_somebody_else_on_this_nodes_beat_is_named_and_hinders_the_claim() -> None:
    bench = Bench()
    bench.feed(Claim())
    for stranger in range(30):
        bench.words[0] = 30_000 + stranger
        assert isinstance(bench.answer(), Read)
    assert "somebody else" in bench.machine.trouble.text
    assert "of its own" in bench.machine.trouble.remedy
    while not bench.votes:
        bench.answer()
    assert bench.machine.trouble.text == ""


def test_a_beat_that_does_not_read_back_is_named_and_asked_for_at_a_gentle_pace() -> None:
    bench = Bench()
    bench.feed(Claim())
    began_ns, writes = bench.now_ns, 0
    while writes < 6:
        if isinstance(bench.answer(), Write):
            writes += 1
            bench.words[0] = 7
    assert "does not read back" in bench.machine.trouble.text
    assert bench.now_ns - began_ns > TIMING.watch_ns + 4 * TIMING.renew_ns // 2
    bench.feed(Release())
    bench.answer()
    assert bench.machine.trouble.text == ""


def test_a_refused_register_gets_an_alarm_with_its_remedy_and_few_questions() -> None:
    bench = Bench()
    bench.feed(Claim())
    for _ in range(5):
        before_ns = bench.now_ns
        bench.fail("read holding registers was refused: exception 2", refused=True, ms=1)
    assert bench.now_ns - before_ns >= NS_PER_S
    assert "three holding registers" in bench.machine.trouble.remedy
    bench.answer()
    assert bench.machine.trouble.text == ""


def test_a_beat_that_may_not_be_written_stays_a_trouble_though_looks_succeed() -> None:
    bench = Bench()
    bench.feed(Claim())
    bench.until_write()
    bench.fail("write register was refused: exception 2", refused=True, ms=1)
    bench.answer()
    assert "exception 2" in bench.machine.trouble.text
    bench.feed(Release())
    bench.answer()
    assert bench.machine.trouble.text == ""


def test_a_tick_while_a_request_is_out_asks_nothing() -> None:
    bench = Bench()
    bench.asked()
    bench.feed(Tick())
    assert bench.machine.due_ns == NEVER_NS


def test_a_silent_plc_is_asked_ever_more_rarely_until_somebody_claims() -> None:
    bench = Bench()
    waits: list[int] = []
    for _ in range(5):
        failed_ns = bench.now_ns
        bench.asked()
        waits.append(bench.now_ns - failed_ns)
        bench.fail(ms=0)
    assert waits[-1] == TIMING.renew_ns * 8
    bench.feed(Claim())
    assert bench.request is not None
    assert bench.request.timeout_ns == 2 * TIMING.timeout_ns


def test_answers_to_questions_that_were_given_up_are_no_answers() -> None:
    bench = Bench()
    request = bench.fail()
    bench.feed(Reply(request.number, 1, (1, 2, 3)))
    bench.feed(Failure(request.number, "late"))
    assert bench.machine.words is None
