"""Whatever happened, two connected and quiet nodes end with equal journals, and prove it."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from replication_world import SMALL, World, a_batch, a_fact

NAMES = st.sampled_from(["a", "b"])


class Replication(RuleBasedStateMachine):
    """Commits, cuts, restarts, wipes, old copies, retention and damage, in any order."""

    @initialize(seed=st.integers(0, 2**32 - 1))
    def begin(self, seed: int) -> None:
        self.world = World(seed, SMALL)
        self.count = 0

    @rule(name=NAMES, count=st.integers(1, 40), facts=st.integers(0, 3))
    def commit(self, name: str, count: int, facts: int) -> None:
        for _ in range(count):
            self.count += 1
            self.world.nodes[name].append(a_batch(self.count, self.count % 4))
        if facts:
            self.world.nodes[name].append(*(a_fact(self.count + i) for i in range(facts)))

    @rule(steps=st.integers(1, 120))
    def go_on(self, steps: int) -> None:
        for _ in range(steps):
            self.world.step()

    @rule(names=st.sets(NAMES, min_size=1))
    def connect(self, names: set[str]) -> None:
        self.world.connect(*sorted(names))

    @rule(names=st.sets(NAMES, min_size=1))
    def cut(self, names: set[str]) -> None:
        self.world.cut(*sorted(names))

    @rule(name=NAMES)
    def restart(self, name: str) -> None:
        self.world.nodes[name].restart()

    @rule(name=NAMES)
    def begin_a_term(self, name: str) -> None:
        self.world.nodes[name].journal.term = self.world.term(name)

    @rule(name=NAMES)
    def wipe(self, name: str) -> None:
        self.world.nodes[name].wipe()

    @rule(name=NAMES)
    def save(self, name: str) -> None:
        self.world.nodes[name].save()

    @precondition(lambda self: self.world.a.copy is not None)
    @rule()
    def restore_a(self) -> None:
        self.world.a.restore()

    @precondition(lambda self: self.world.b.copy is not None)
    @rule()
    def restore_b(self) -> None:
        self.world.b.restore()

    @rule(name=NAMES, data=st.data())
    def retain(self, name: str, data: st.DataObject) -> None:
        journal = self.world.nodes[name].journal
        if journal.rows:
            term = data.draw(st.sampled_from(sorted(journal.rows)))
            last = max(journal.rows[term], default=0)
            if last:
                journal.drop(term, data.draw(st.integers(1, last)))

    @rule(name=NAMES, data=st.data())
    def damage(self, name: str, data: st.DataObject) -> None:
        journal = self.world.nodes[name].journal
        if journal.rows:
            term = data.draw(st.sampled_from(sorted(journal.rows)))
            # A lost end of the term in use shows as a hole only once the next record follows it.
            last = max(journal.rows[term], default=0) - (term == journal.term)
            if last > 0:
                first = data.draw(st.integers(1, last))
                journal.lose(term, first, data.draw(st.integers(first, last)))

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        world.connect()
        world.settle(300_000)
        assert world.differences() == []
        for name in world.nodes:
            pull = world.pull(name)
            assert pull.receiver.caught is True
            assert pull.receiver.equal is True
            assert pull.sender.equal is True
            assert pull.proven[-1] == ()
            assert pull.sender.records_behind == pull.receiver.records_behind == 0
            assert pull.sender.percent == pull.receiver.percent == 100.0
            assert not pull.sender.faulted
            assert not pull.receiver.faulted
        summaries = [node.journal.kept_summary() for node in world.nodes.values()]
        assert summaries[0] == summaries[1]


TestReplication = Replication.TestCase
TestReplication.settings = settings(max_examples=80, stateful_step_count=30)
