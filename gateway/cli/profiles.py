"""`hotpair profiles list | show | lint | new`: known devices, and files of one's own."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final, NamedTuple

import typer

from gateway.cli.look import console, counted, table
from gateway.cli.new_files import write_new
from gateway.commissioning import wrong_examples
from gateway.config.files import read_text
from gateway.config.site import NAME, better_name
from gateway.config.text import Unreadable
from gateway.errors import BadInput, ConfigError, NotThere, Problem
from profiles.load import load, load_text, names, parse, parse_lines
from profiles.registers import Area, ByteOrder
from profiles.schema import Profile

SUFFIXES: Final = (".yaml", ".yml")


def method_of(profile: Profile) -> str:
    """How the log of a device is read, or `none`."""
    return profile.windback.method if profile.windback is not None else "unknown"


def _summary(name: str, profile: Profile) -> dict[str, Any]:
    return {
        "profile": name,
        "vendor": profile.vendor,
        "models": list(profile.models),
        "status": profile.status,
        "points": len(profile.points),
        "windback": method_of(profile),
        "source": profile.source,
        "description": profile.description,
    }


def list_profiles(words: Sequence[str], as_json: bool) -> None:
    """`hotpair profiles list`: those that hold all words, in whatever place. Raises NotThere."""
    found = []
    for name in names():
        text = load_text(name).lower() + name
        if all(word.lower() in text for word in words):
            found.append(_summary(name, load(name)))
    if not found:
        remedy = "`hotpair profiles new FILE` begins one; `hotpair profiles list` shows all"
        raise NotThere(f"no profile holds {' and '.join(words)}", remedy)
    if as_json:
        print(json.dumps(found))
        return
    columns = ("profile", "vendor", "models", "status", "points", "windback")
    rows = ([_shown(entry[column]) for column in columns] for entry in found)
    console().print(table(counted(found, "profile"), columns, rows))


def _shown(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)


def profile_of(name: str) -> Profile:
    """A shipped profile, or the one in a file. Raises NotThere, ConfigError."""
    if not name.endswith(SUFFIXES):
        try:
            return load(name)
        except ConfigError as error:
            if name in names():
                raise
            problem = error.problems[0]
            raise NotThere(f"there is no profile {name!r}", problem.remedy) from error
    try:
        return parse(read_text(Path(name)), name)
    except Unreadable as error:
        raise NotThere(error.message, error.remedy) from error


def show_profile(name: str, as_json: bool) -> None:
    """`hotpair profiles show`."""
    profile = profile_of(name)
    if as_json:
        points = {
            key: point.model_dump(mode="json", by_alias=True, exclude_unset=True)
            for key, point in profile.points.items()
        }
        print(json.dumps(_summary(profile.profile, profile) | {"points": points}))
        return
    head = [
        f"{profile.profile} version {profile.version}: {profile.vendor}",
        f"models: {', '.join(profile.models)}",
        f"status: {profile.status}    source: {profile.source}",
        f"windback: {method_of(profile)}    byte order: {profile.defaults.byte_order}",
        profile.description,
    ]
    rows = (
        (
            key,
            point.register_ or profile.defaults.register_,
            f"model {point.model} +{point.address}" if point.model is not None else point.address,
            point.type,
            point.unit,
            point.access,
            point.description,
        )
        for key, point in profile.points.items()
    )
    columns = ("point", "register", "address", "type", "unit", "access", "description")
    console().print(table("\n".join(filter(None, head)), columns, rows))


def lint(file: Path) -> list[Problem]:
    """Every mistake of a profile file, and every worked example that does not come out."""
    try:
        text = read_text(file)
    except Unreadable as error:
        return [Problem(str(file), error.line, "", None, error.message, error.remedy)]
    try:
        profile, lines = parse_lines(text, str(file))
    except ConfigError as error:
        return error.problems
    found = []
    for number, point, message in wrong_examples(profile):
        path = ("examples", number, "expect", point)
        where = f"examples.{number}.expect.{point}"
        remedy = "Check type, byte order, scale and address against the manual."
        line = lines.get(path, lines.get(("examples", number), 0))
        found.append(Problem(str(file), line, where, None, message, remedy))
    return found


def lint_profiles(files: Sequence[Path], as_json: bool) -> int:
    """`hotpair profiles lint`; the exit status is 1 when something is wrong."""
    problems: list[Problem] = []
    for file in files:
        found = lint(file)
        problems += found
        if not as_json:
            for problem in found:
                print(problem)
            noun = "problem" if len(found) == 1 else "problems"
            print(f"{file}: OK" if not found else f"{file}: {len(found)} {noun}")
    if as_json:
        print(json.dumps({"ok": not problems, "problems": list(map(str, problems))}))
    return 1 if problems else 0


# ---------------------------------------------------------------------------------------- new


class Draft(NamedTuple):
    """What was said about a new profile; None: to be asked."""

    vendor: str | None
    model: str | None
    source: str | None
    area: str | None
    byte_order: str | None


TEMPLATE: Final = """\
# A device profile: what the manual says, as data. `hotpair profiles lint {file}` checks it.
# Keys: gateway schema (`hotpair schema profile`), profiles/README.md.
profile: {name}
version: 1                       # raise it with every change
vendor: {vendor}
models: [{model}]
status: manual                   # manual: read in a document; field-tested: read from a device
source: {source}
description: >-
  What the device is, and what of this is not verified ({today}).
defaults: {{register: {area}, byte_order: {byte_order}, address_base: 0}}
# address_base: 1 when the manual counts registers from 1
limits:
  max_read_words: 125            # the longest read the manual allows
  max_gap_words: 0               # registers that no point declares are never read in passing
# quirks: {{one_request_per_point: true}}
points:
  # name: {{address, type, unit, scale, description}}: value = raw * scale + offset
  # types: bool int16 uint16 int32 uint32 int64 uint64 float32 float64 bcd16 bcd32 string
  example: {{address: 0x0000, type: float32, unit: V, description: replace this point}}
  # power: {{address: 0x0002, type: int32, unit: W, scale: 0.1}}
  # serial_number: {{address: 0x0100, type: string, length: 8}}
windback: {{method: none}}         # the device keeps no log, or nobody asks for it
examples:
  # Registers as the manual prints them, and the values they mean: lint works them out.
  - source: page and table of the manual
    registers: {{0x0000: {words}}}
    expect: {{example: 1.5}}
"""
_WORDS: Final = {
    "ABCD": "[0x3FC0, 0x0000]",
    "CDAB": "[0x0000, 0x3FC0]",
    "BADC": "[0xC03F, 0x0000]",
    "DCBA": "[0x0000, 0xC03F]",
}


def new_profile(file: Path, draft: Draft, yes: bool, as_json: bool) -> None:
    """`hotpair profiles new`: a skeleton that lint passes. Raises BadInput, ControlError."""
    if file.suffix not in SUFFIXES:
        raise BadInput(f"{file} is no name of a profile", "Let it end in .yaml")
    folder = file.resolve().parent.name
    given = Draft(
        _asked(draft.vendor, "Vendor", folder or "vendor", yes),
        _asked(draft.model, "Model, as on the type plate", file.stem, yes),
        _asked(draft.source, "Source (manual, revision, pages)", "not read yet", yes),
        _asked(draft.area, "Where its values lie: holding or input", "holding", yes),
        _asked(draft.byte_order, "Byte order: ABCD, CDAB, BADC or DCBA", "ABCD", yes),
    )
    if given.area not in (Area.HOLDING, Area.INPUT):
        raise BadInput(f"{given.area} is no kind of register", "Write holding or input")
    if given.byte_order not in list(ByteOrder):
        raise BadInput(f"{given.byte_order} is no byte order", "Write ABCD, CDAB, BADC or DCBA")
    stem = file.stem if NAME.match(file.stem) else better_name(file.stem)
    text = TEMPLATE.format(
        file=file,
        name=f"{better_name(str(given.vendor)).lower()}/{stem}",
        vendor=json.dumps(given.vendor, ensure_ascii=False),
        model=json.dumps(given.model, ensure_ascii=False),
        source=json.dumps(given.source, ensure_ascii=False),
        area=given.area,
        byte_order=given.byte_order,
        words=_WORDS[str(given.byte_order)],
        today=date.today().isoformat(),  # noqa: DTZ011 - a day in a comment
    )
    parse(text, str(file))
    write_new({file: (text.encode(), 0o644)}, False, "Choose another name, or edit that file")
    if as_json:
        print(json.dumps({"file": str(file)}))
    else:
        print(f"{file} is written: fill in its points, then `hotpair profiles lint {file}`")


def _asked(given: str | None, question: str, usual: str, yes: bool) -> str:
    if given is not None or yes or not sys.stdin.isatty():
        return given or usual
    answer: str = typer.prompt(question, default=usual, err=True)
    return answer
