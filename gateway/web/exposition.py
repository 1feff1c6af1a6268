"""Prometheus' text format, version 0.0.4: families of samples with labels. Pure.

(https://prometheus.io/docs/instrumenting/exposition_formats/, "Text-based format")
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

Kind = Literal["gauge", "counter", "histogram"]
Labels = Mapping[str, str]
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


class Exposition:
    """Families, each with its help and type, in the order in which they are added."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def gauge(self, name: str, told: str, samples: Iterable[tuple[Labels, float | None]]) -> None:
        """What goes up and down; a sample that is None isn't there."""
        self._family(name, "gauge", told, samples)

    def counter(self, name: str, told: str, samples: Iterable[tuple[Labels, float | None]]) -> None:
        """What only grows while the program runs; the name ends with `_total`."""
        self._family(name, "counter", told, samples)

    def one(self, name: str, told: str, value: float | None) -> None:
        """A gauge without labels."""
        self._family(name, "gauge", told, [({}, value)])

    def states(self, name: str, told: str, label: str, known: Sequence[str], now: str) -> None:
        """One of some states: each has a sample, and that of the one that holds is 1."""
        self._family(name, "gauge", told, [({label: s}, s == now) for s in known])

    def histogram(
        self,
        name: str,
        told: str,
        bounds: Sequence[float],
        samples: Iterable[tuple[Labels, Sequence[int], float]],
    ) -> None:
        """Of each sample how many fell up to each bound, then the rest, and the sum of all."""
        self._head(name, "histogram", told)
        for labels, counts, total in samples:
            below = 0
            for bound, count in zip((*bounds, math.inf), counts, strict=True):
                below += count
                self._sample(f"{name}_bucket", {**labels, "le": _number(bound)}, below)
            self._sample(f"{name}_sum", labels, total)
            self._sample(f"{name}_count", labels, below)

    def text(self) -> str:
        """Everything that was added."""
        return "\n".join(self._lines) + "\n"

    def _family(
        self, name: str, kind: Kind, told: str, samples: Iterable[tuple[Labels, float | None]]
    ) -> None:
        self._head(name, kind, told)
        for labels, value in samples:
            if value is not None:
                self._sample(name, labels, value)

    def _head(self, name: str, kind: Kind, told: str) -> None:
        escaped = told.replace("\\", r"\\").replace("\n", r"\n")
        self._lines += [f"# HELP {name} {escaped}", f"# TYPE {name} {kind}"]

    def _sample(self, name: str, labels: Labels, value: float) -> None:
        inside = ",".join(f'{key}="{text.translate(_ESCAPES)}"' for key, text in labels.items())
        self._lines.append(
            f"{name}{{{inside}}} {_number(value)}" if inside else f"{name} {_number(value)}"
        )


def _number(value: float) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if value == math.inf:
        return "+Inf"
    return str(value) if isinstance(value, int) else repr(float(value))
