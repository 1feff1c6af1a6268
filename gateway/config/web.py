"""The files that `web: tls:` names: there, readable, and belonging together."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from gateway.config.drafts import Reading, path
from gateway.config.explain import Place
from gateway.config.node import WebTls
from gateway.config.text import Unreadable
from gateway.config.yaml import Node
from gateway.pair.certificate import belongs, read_certificate

_REMEDY: Final = "Name PEM files; or write `tls: {}`, and a certificate is made at the first start."


def check_web_tls(tls: WebTls, root: Node, file: str, reading: Reading) -> None:
    """Report what would keep the page closed, at the key of node.yaml that names it."""
    texts: dict[str, str] = {}
    for key, name in (("cert", tls.cert), ("key", tls.key)):
        if name is not None:
            texts[key] = _text(name, _place(key, root, file), reading)
    if not all(texts.values()) or not texts:
        return
    place = _place("cert", root, file)
    try:
        read_certificate(texts["cert"])
        place = _place("key", root, file)
        if not belongs(texts["key"], texts["cert"]):
            reading.problem(place, f"is not the key of {tls.cert}", _REMEDY, str(tls.key))
    except ValueError as error:
        reading.problem(place, str(error), _REMEDY)


def _place(key: str, root: Node, file: str) -> Place:
    loc = ("web", "tls", key)
    return Place(file, root.line_of(loc), path(*loc))


def _text(name: Path, place: Place, reading: Reading) -> str:
    try:
        return reading.source.read(reading.folder / name)
    except Unreadable as error:
        message = "is no PEM text" if error.line else error.message
        reading.problem(place, message, _REMEDY, str(name))
        return ""
