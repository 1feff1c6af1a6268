"""Who was what, and when: both nodes' roles as they told them when they were looked at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from statistics import median
from typing import Final, NamedTuple

from gateway.model import NS_PER_S
from hil.recording import Look, Recording, Reign
from hil.report.axis import Axis, exact, length
from hil.report.chart import Band, bar, row_label, swatches
from hil.report.marks import CHAR_PX, Stretched, text_px, thinned
from hil.report.markup import Html, joined, table, tag

ROW_PX: Final = 30
TALL_PX: Final = 20
PATIENCE_NS: Final = 5 * NS_PER_S
"""After so long (or four usual pauses) without a look nothing is claimed any more."""
ROWS_MAX: Final = 400
LEGEND_MAX: Final = 12


class Drawn(NamedTuple):
    """How a standing is drawn: whichever ranks higher is seen where both share a pixel."""

    kind: str
    shown: str
    rank: int
    tall: float


STANDINGS: Final[dict[str, Drawn]] = {
    "main": Drawn("main", "Main", 1, 1.0),
    "synced": Drawn("synced", "Standby, synced", 2, 0.5),
    "syncing": Drawn("syncing", "Standby, catching up", 3, 0.5),
    "starting": Drawn("starting", "starting", 4, 0.3),
    "": Drawn("silent", "silent", 5, 0.5),
}
"""By the role as a node tells it (`Role.name.lower()`); a silent node tells none."""
OTHER_RANK: Final = 4


class Standing(NamedTuple):
    """What a node was in [from, to)."""

    node: str
    role: str
    shown: str
    from_ns: int
    to_ns: int


def drawn_as(role: str) -> Drawn:
    """How a role is drawn; one that this report doesn't know is drawn, too, and named."""
    return STANDINGS.get(role) or Drawn("other", role, OTHER_RANK, 0.5)


def said(role: str, shown: str) -> str:
    """A standing in words: the word of the design, and what else the node told (paused, merging).

    `shown` is what the node says for people, such as `standby (synced)` or `main, paused`.
    """
    known = drawn_as(role).shown
    usual = {f"standby ({role})", role, known.lower(), ""}
    if shown.lower() in usual:
        return known
    _, comma, more = shown.partition(", ")
    return f"{known}, {more}" if comma else f"{known} ({shown})"


def standings(looks: Iterable[Look]) -> dict[str, list[Standing]]:
    """By node, what it was from when to when: a look holds until the next one.

    Equal ones are one. After a pause that is too long nothing is known until the next look.
    """
    by_node: dict[str, list[Look]] = {}
    for look in sorted(looks, key=lambda look: look.time_ns):
        by_node.setdefault(look.node, []).append(look)
    return {node: _standings(own) for node, own in sorted(by_node.items())}


def _standings(looks: Sequence[Look]) -> list[Standing]:
    pauses = [late.time_ns - early.time_ns for early, late in pairwise(looks)]
    usual_ns = int(median(pauses)) if pauses else 0
    patience_ns = max(PATIENCE_NS, 4 * usual_ns)
    found: list[Standing] = []
    for look, pause_ns in zip(looks, [*pauses, usual_ns], strict=True):
        from_ns = look.time_ns
        to_ns = from_ns + min(pause_ns, patience_ns)
        shown = said(look.role, look.shown)
        last = found[-1] if found else None
        if last and last.to_ns >= from_ns and (last.role, last.shown) == (look.role, shown):
            found[-1] = last._replace(to_ns=to_ns)
        else:
            found.append(Standing(look.node, look.role, shown, from_ns, to_ns))
    return found


def band(axis: Axis, found: dict[str, list[Standing]]) -> Band:
    """A row for each node: the higher the bar, the more it does; named where there is room."""
    drawn = [_row(axis, node, own, at * ROW_PX) for at, (node, own) in enumerate(found.items())]
    return Band("Roles", len(found) * ROW_PX, joined(drawn))


def legend(found: dict[str, list[Standing]]) -> Html:
    """What the bars of roles mean: only what is seen in this run."""
    seen = dict.fromkeys((drawn_as(s.role), s.shown) for own in found.values() for s in own)
    order = sorted(seen, key=lambda pair: (pair[0].rank, pair[1]))[:LEGEND_MAX]
    return swatches("Roles", [(_class(how, shown), how.tall, shown) for how, shown in order])


def _class(how: Drawn, shown: str) -> str:
    """A node that tells more than its role (paused, merging) has a dashed outline."""
    return f"r-{how.kind}" if shown == how.shown else f"r-{how.kind} more"


def _row(axis: Axis, node: str, own: Sequence[Standing], y: int) -> Html:
    spans = [Stretched(s.from_ns, s.to_ns, drawn_as(s.role).rank, s.role, s.shown) for s in own]
    parts = [row_label(f"node {node}", y + TALL_PX - 5)]
    for run in thinned(axis, spans):
        how = drawn_as(run.kind)
        tall = TALL_PX * how.tall
        title = f"node {node}: {run.note}\n{_span(run.from_ns, run.to_ns, axis.zero_ns)}"
        top = y + TALL_PX - tall
        kind = _class(how, run.note)
        parts.append(bar(run.x0, run.x1, top, tall, title, class_=kind, data_role=how.kind))
        if text_px(run.note) + CHAR_PX <= run.x1 - run.x0:
            # Above the low bars, inside the tall one.
            inside = how.tall == 1.0
            base = y + TALL_PX - 6 if inside else top - 1
            kind = "in-main" if inside else "note"
            parts.append(tag("text", run.note, x=run.x0 + 4, y=base, class_=kind))
    return joined(parts)


def _span(from_ns: int, to_ns: int, zero_ns: int) -> str:
    return f"{exact(from_ns, zero_ns)} to {exact(to_ns, zero_ns)}, {length(to_ns - from_ns)}"


def shares(found: dict[str, list[Standing]]) -> Html:
    """How long each node was what, and how often it became it."""
    rows = []
    for node, own in found.items():
        whole_ns = sum(s.to_ns - s.from_ns for s in own) or 1
        for shown in dict.fromkeys(s.shown for s in own):
            mine = [s for s in own if s.shown == shown]
            long_ns = sum(s.to_ns - s.from_ns for s in mine)
            share = f"{100 * long_ns / whole_ns:.1f} %"
            rows.append((f"node {node}", shown, length(long_ns), share, str(len(mine))))
    heads = ("node", "role", "in all", "share", "times")
    return table("How long each node was what", heads, rows, numeric=(2, 3, 4))


def listed(found: dict[str, list[Standing]], zero_ns: int) -> Html:
    """Every change of role, the longest kept where they are too many for a page."""
    every = sorted((s for own in found.values() for s in own), key=lambda s: s.from_ns)
    kept = every
    if len(every) > ROWS_MAX:
        by_length = sorted(every, key=lambda s: s.from_ns - s.to_ns)
        kept = sorted(by_length[:ROWS_MAX], key=lambda s: s.from_ns)
    rows = [
        (f"node {s.node}", s.shown, exact(s.from_ns, zero_ns), exact(s.to_ns, zero_ns),
         length(s.to_ns - s.from_ns))
        for s in kept
    ]  # fmt: skip
    caption = "Roles of both nodes, as they told them"
    if len(kept) < len(every):
        caption += f"; the {len(kept)} longest of {len(every)} stretches"
    return table(caption, ("node", "role", "from", "to", "lasted"), rows, numeric=(2, 3, 4))


def reigns(recording: Recording) -> Html:
    """Who was Main by the journal, and why it began and ended."""
    zero_ns = recording.from_ns
    rows = [_reign(reign, zero_ns) for reign in sorted(recording.reigns, key=lambda r: r.from_ns)]
    heads = ("term", "node", "from", "to", "lasted", "why it began", "why it ended")
    return table("Reigns: who was Main by the journal", heads, rows, numeric=(2, 3, 4))


def _reign(reign: Reign, zero_ns: int) -> tuple[str, ...]:
    to = exact(reign.to_ns, zero_ns) if reign.to_ns else "still"
    lasted = length(reign.to_ns - reign.from_ns) if reign.to_ns else ""
    # A term is number.node.nonce: the nonce tells nobody anything.
    term = reign.term.partition(".")[0] or reign.term
    ended = reign.ended or ("" if reign.to_ns else "it lasts")
    return term, reign.node, exact(reign.from_ns, zero_ns), to, lasted, reign.why, ended
