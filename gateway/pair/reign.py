"""How long this node may send: the deadline of a reign, and the votes that hold it (rules.md 5, 6).

Without a witness a reign lasts 0.8 x takeover_after from the last heartbeat sent, so that it is
over before a Standby that heard that heartbeat loses patience. With a witness it also needs a
second vote of three: the witness's grant, the peer's consent, or a peer declared absent. The peer's
consent counts from the sending of what it answers, so that no delay on the way can lengthen it; 0.8
leaves room for clocks that drift apart.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.pair.words import Timing


@dataclass(slots=True)
class Reign:
    """The deadline of this node's reign; times are its own monotonic clock."""

    timing: Timing
    witnessed: bool
    sent_ns: int = 0
    began_ns: int = 0
    witness_until_ns: int = 0
    consent_until_ns: int = 0
    absent: bool = False

    def consented(self, echo_ns: int) -> None:
        """The peer agreed, in answer to what this node sent at `echo_ns`."""
        self.consent_until_ns = max(self.consent_until_ns, echo_ns + self.timing.reign_ns)

    def left(self, echo_ns: int) -> None:
        """The peer said goodbye: it claims nothing before it started anew and waited."""
        until_ns = echo_ns + self.timing.alone_ns * 4 // 5
        self.consent_until_ns = max(self.consent_until_ns, until_ns)

    def holds_vote(self, now_ns: int) -> bool:
        """Whether a vote other than the peer's is there: the witness's, or an absent peer's."""
        return self.absent or now_ns < self.witness_until_ns

    def proven(self, now_ns: int) -> bool:
        """Whether the votes that a reign needs are there."""
        return not self.witnessed or self.holds_vote(now_ns) or now_ns < self.consent_until_ns

    @property
    def until_ns(self) -> int:
        """When the reign ends; each heartbeat sent and each vote moves it on."""
        by_sending_ns = self.sent_ns + self.timing.reign_ns
        if not self.witnessed or self.absent:
            return by_sending_ns
        return min(by_sending_ns, max(self.witness_until_ns, self.consent_until_ns))
