"""HTML and SVG as text: what is not markup already is escaped, wherever it comes from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

_CHILDLESS: Final = frozenset({"rect", "path", "line", "circle", "use", "meta", "br"})
_ILLEGAL: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What neither HTML nor XML 1.0 may hold (XML 1.0 section 2.2): it comes with torn log lines."""


class Html(str):
    """Text that is markup; `tag` escapes any other."""

    __slots__ = ()


def legal(text: str) -> str:
    """The text with a mark in place of every character that markup may not hold."""
    return _ILLEGAL.sub("\ufffd", text)


def number(value: float) -> str:
    """A coordinate to a tenth of a pixel, as short as it goes."""
    return f"{value:.1f}".removesuffix(".0")


def tag(name: str, /, *inner: str, **attributes: str | float | bool | None) -> Html:
    """An element. `class_` is class, `data_act` is data-act; None and False are left out."""
    given = "".join(
        _attribute(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items()
    )
    if name in _CHILDLESS:
        return Html(f"<{name}{given}/>")
    return Html(f"<{name}{given}>{joined(inner)}</{name}>")


def joined(parts: Iterable[str]) -> Html:
    """Several pieces as one; those that are no markup are escaped."""
    return Html("".join(part if isinstance(part, Html) else escape(legal(part)) for part in parts))


def _attribute(key: str, value: str | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    if value is True:
        return f" {key}"
    text = value if isinstance(value, str) else number(value)
    return f' {key}="{escape(legal(text))}"'


def table(
    caption: str,
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numeric: Iterable[int] = (),
) -> Html:
    """A table; the columns in `numeric` are set flush right."""
    right = set(numeric)

    def cell(kind: str, column: int, text: str) -> Html:
        scope = "col" if kind == "th" else None
        return tag(kind, text, class_="n" if column in right else None, scope=scope)

    head = tag("tr", *(cell("th", column, text) for column, text in enumerate(heads)))
    body = [tag("tr", *(cell("td", at, text) for at, text in enumerate(row))) for row in rows]
    whole = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", *body))
    # What scrolls must be reached by keyboard.
    return tag("div", whole, class_="scroll", tabindex="0", role="region", aria_label=caption)


def folded(summary: str, *inner: str) -> Html:
    """What is shown on demand."""
    return tag("details", tag("summary", summary), *inner)
