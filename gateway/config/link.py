"""The files that `link: tls:` names: there, readable, and belonging together."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from gateway.config.drafts import Reading, path
from gateway.config.explain import Place
from gateway.config.node import LinkTls
from gateway.config.text import Unreadable
from gateway.config.yaml import Node
from gateway.pair.certificate import Certificate, belongs, read_certificate

_MAKE: Final = "Make both nodes' files with `hotpair cert`"


def check_tls(tls: LinkTls, root: Node, file: str, reading: Reading) -> None:
    """Report what would keep the link from standing, at the key of node.yaml that names it."""

    def place(key: str) -> Place:
        loc = ("link", "tls", key)
        return Place(file, root.line_of(loc), path(*loc))

    certificate = _text(tls.cert, place("cert"), reading)
    key = _text(tls.key, place("key"), reading)
    peer = _text(tls.peer_cert, place("peer_cert"), reading)
    mine = _certificate(certificate, tls.cert, place("cert"), reading)
    theirs = _certificate(peer, tls.peer_cert, place("peer_cert"), reading)
    if mine is not None and certificate is not None and key is not None:
        try:
            if not belongs(key, certificate):
                message = f"is not the key of {tls.cert}"
                reading.problem(place("key"), message, f"{_MAKE}.", str(tls.key))
        except ValueError as error:
            reading.problem(place("key"), str(error), f"{_MAKE}.", str(tls.key))
    if mine is not None and theirs is not None and mine.der == theirs.der:
        remedy = "Name the other node's certificate."
        message = "is this node's own certificate"
        reading.problem(place("peer_cert"), message, remedy, str(tls.peer_cert))


def _text(name: Path, place: Place, reading: Reading) -> str | None:
    try:
        return reading.source.read(reading.folder / name)
    except Unreadable as error:
        message = "is no PEM text" if error.line else error.message
        remedy = f"{_MAKE}." if error.line else f"{error.remedy} {_MAKE}."
        reading.problem(place, message, remedy, str(name))
        return None


def _certificate(
    text: str | None, name: Path, place: Place, reading: Reading
) -> Certificate | None:
    if text is None:
        return None
    try:
        return read_certificate(text)
    except ValueError as error:
        reading.problem(place, str(error), f"{_MAKE}.", str(name))
        return None
