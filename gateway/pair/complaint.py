"""Telling people of a trouble that lasts: once, and once when it is over. Pure."""

from __future__ import annotations

from collections.abc import Callable

ALARM = 600
WELL = 200


class Complaint:
    """One witness's trouble; `alarm` takes (severity, text)."""

    def __init__(self, name: str, patience_ns: int, alarm: Callable[[int, str], None]) -> None:
        self._name = name
        self._patience_ns = patience_ns
        self._alarm = alarm
        self._since_ns = 0
        self._told = ""
        self.text = ""
        self.remedy = ""

    def is_now(self, now_ns: int, text: str, remedy: str = "") -> None:
        """What hinders now, "" for nothing; a trouble shorter than the patience is not told."""
        if not text:
            if self._told:
                self._alarm(WELL, f"{self._name} is well again")
            self.text = self.remedy = self._told = ""
            return
        if not self.text:
            self._since_ns = now_ns
        self.text, self.remedy = text, remedy
        if now_ns - self._since_ns >= self._patience_ns and text != self._told:
            self._told = text
            self._alarm(ALARM, f"{self._name}: {text}" + (f". {remedy}" if remedy else ""))
