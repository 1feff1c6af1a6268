"""A page as its elements, read by Python's own parser: what is not closed, or not legal, fails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = frozenset({"meta", "br"})


@dataclass
class Element:
    """An element: its attributes, and what is in it, elements and text, in order."""

    name: str
    given: dict[str, str]
    inner: list[Element | str] = field(default_factory=list)

    @property
    def children(self) -> list[Element]:
        return [part for part in self.inner if isinstance(part, Element)]

    @property
    def text(self) -> str:
        return "".join(part if isinstance(part, str) else part.text for part in self.inner)

    def all(self, name: str = "", **given: str) -> list[Element]:
        """The elements below of a name that have these attributes (`data_act` is data-act)."""
        wanted = {key.rstrip("_").replace("_", "-"): value for key, value in given.items()}
        return [
            element
            for element in self._below()
            if (not name or element.name == name)
            and all(element.given.get(key) == value for key, value in wanted.items())
        ]

    def having(self, attribute: str) -> list[Element]:
        """The elements below that have an attribute."""
        return [element for element in self._below() if attribute in element.given]

    def one(self, name: str = "", **given: str) -> Element:
        found = self.all(name, **given)
        assert len(found) == 1, f"{len(found)} of {name} {given}"
        return found[0]

    def _below(self) -> Iterator[Element]:
        for child in self.children:
            yield child
            yield from child._below()


class Tree(HTMLParser):
    """Reads a page; raises AssertionError where tags don't match."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.root = Element("", {})
        self._open = [self.root]
        self.feed(page)
        self.close()
        assert self._open == [self.root], f"not closed: {[e.name for e in self._open[1:]]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"{tag}: an attribute twice: {attrs}"
        element = Element(tag, {key: value or "" for key, value in attrs})
        self._open[-1].inner.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open[-1].name == tag, f"</{tag}> ends <{self._open[-1].name}>"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        self._open[-1].inner.append(data)


def tree(page: str) -> Element:
    """The root of a page."""
    return Tree(page).root
