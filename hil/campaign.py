"""`hotpair hil campaign`: round after round of random faults, each on a fresh pair, and judged.

A round is a scenario that `hil.schedule` drew; it is written as a file and played by the player of
`hotpair hil run`, which can play it again. What passed leaves its report and its recording; what
didn't leaves everything. `campaign.json`, `junit.xml` and `campaign.html` are written anew after
each round, and when the campaign is stopped (Ctrl-C): the round that is played then is ended in
order, and told as stopped, not judged.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from gateway.model import NS_PER_S, format_duration
from hil import disk, tamper
from hil.identity import tls_files
from hil.lab import possible
from hil.laying import SITES, find_site
from hil.plant import Plant
from hil.recording import Outcome
from hil.report.campaign import Round, campaign_page, suites
from hil.report.files import JUNIT_FILE
from hil.running import BAD_INPUT, STATUS, load, played
from hil.schedule import ROUND_MIN_S, Prone, Wire, scenario
from hil.settings import SiteError
from hil.site import load_site
from hil.stopping import Stopping
from hil.verdicts import worst
from hil.words import NODES

KEPT: Final = frozenset(
    {"report.html", "junit.xml", "run.json", "transcript.txt", "site.yaml", "rig.yaml"}
)
"""What a round that passed leaves; data, logs and what the client saw can be gigabytes."""
ROUND_S: Final = 300.0
AFTER_S: Final = 60.0
"""About so long a round takes beside its timeline: start, healing, windback, judging."""
BROKEN_MAX: Final = 3
"""So many rounds in a row that break off end a campaign: the next one would, too."""
WHOLE_MAX: Final = 20
"""So many rounds that did not pass are kept whole; more of them only as those that passed."""
SUMMARY_FILE: Final = "campaign.json"
PAGE_FILE: Final = "campaign.html"
_SERIAL: Final = frozenset({"rtu", "rtu_over_tcp"})


class Asked(NamedTuple):
    """What the command line asked for; times in seconds."""

    seed: int
    lasts_s: float
    round_s: float
    site: str
    keep: Path | None
    offset: int
    lab: bool
    as_json: bool


def prone(plant: Plant) -> list[Prone]:
    """The devices that may be faulted; a dead one is as faulty as can be."""
    found = []
    for name, device in sorted(plant.devices.items()):
        transport = plant.lines[device.line].transport
        wire = Wire.SERIAL if transport in _SERIAL else Wire.TCP
        if device.driver == "opcua":
            wire = Wire.OPCUA
        if name not in plant.rig.dead:
            found.append(Prone(name, wire, device.windback is not None))
    return found


def given(site: Path, lab: bool) -> frozenset[str]:
    """What of `Draw.needs` this machine and the site can give."""
    tls = all(tls_files(site / f"node-{node}.yaml") for node in NODES)
    needs = {
        "disk": disk.hindrance() or ("in the lab" if lab else ""),
        "tamper": tamper.hindrance(),
        "proxies": "in the lab" if lab else "",
        "tls": "" if tls else "the links have no TLS",
    }
    return frozenset(need for need, hindrance in needs.items() if not hindrance)


def campaign(asked: Asked) -> int:
    """Play rounds until the time is over; the exit status, as that of `hotpair hil run`.

    Stopped by a signal it is 128 and that signal, whatever the rounds before it came to.
    """
    try:
        found = find_site(asked.site, Path())
        if found.parent != SITES:  # the rounds lie elsewhere
            asked = asked._replace(site=str(found.resolve()))
        if asked.lab and not possible():
            raise SiteError("--lab makes network namespaces: run it as root, with iproute2")
        devices = prone(load_site(found / "site.yaml"))
        scenario(asked.seed, 1, asked.site, devices, asked.round_s, ())
        if asked.keep is not None and (asked.keep / SUMMARY_FILE).exists():
            raise SiteError(f"{asked.keep} holds an earlier campaign: remove it, or keep elsewhere")
    except (SiteError, OSError, ValueError) as error:
        print(f"hotpair: {error}", file=sys.stderr)
        return BAD_INPUT
    folder = asked.keep or Path(tempfile.mkdtemp(prefix="hotpair-campaign-"))
    folder.mkdir(parents=True, exist_ok=True)
    going = _Campaign(asked, devices, folder, given(found, asked.lab))
    status = going.play()
    if asked.keep is None and going.passed and not status:
        shutil.rmtree(folder, ignore_errors=True)
    if asked.as_json:
        print(json.dumps(going.summary()))
    return status or STATUS[going.outcome]


class _Campaign:
    """One campaign while it goes on."""

    def __init__(
        self, asked: Asked, devices: Sequence[Prone], folder: Path, gives: frozenset[str]
    ) -> None:
        self.rounds: list[Round] = []
        self._asked = asked
        self._devices = devices
        self._folder = folder
        self._gives = gives
        self._stopping = Stopping(self.say)
        self._ends_s = time.monotonic() + asked.lasts_s

    @property
    def outcome(self) -> Outcome:
        """Of all rounds that were judged."""
        return worst(one.outcome for one in self.rounds if not one.stopped)

    @property
    def passed(self) -> bool:
        return all(one.outcome is Outcome.PASSED for one in self.rounds)

    @property
    def _hopeless(self) -> bool:
        """Whether rounds do nothing but break off: without an entry, there was no run."""
        last = self.rounds[-BROKEN_MAX:]
        return len(last) == BROKEN_MAX and all(one.broken_off for one in last)

    def say(self, text: str) -> None:
        print(text, file=sys.stderr if self._asked.as_json else sys.stdout, flush=True)

    def play(self) -> int:
        """All rounds; the exit status if somebody stopped it (Ctrl-C, SIGTERM), else 0."""
        asked = self._asked
        lasts = format_duration(round(asked.lasts_s) * NS_PER_S)
        self.say(f"campaign of seed {asked.seed} on {asked.site}, {lasts}, in {self._folder}")
        with self._stopping as stopping:
            while (lasts_s := self._next_s()) >= ROUND_MIN_S and not self._hopeless:
                self._round(len(self.rounds) + 1, lasts_s)
                self._write()
                if stopping.name:
                    self.say(f"stopped by {stopping.name}")
                    break
                left_s = max(0, round(self._ends_s - time.monotonic()))
                bad = sum(one.outcome is not Outcome.PASSED for one in self.rounds)
                left = format_duration(left_s * NS_PER_S)
                self.say(f"{len(self.rounds)} rounds, {bad} of them not passed; {left} left")
        if self._hopeless:
            self.say(f"the last {BROKEN_MAX} rounds broke off: mend that first")
        for one in self.rounds:
            self.say(str(one))
        return stopping.status

    def _next_s(self) -> float:
        """How long the next round's timeline may be: the last one takes what is left."""
        left_s = self._ends_s - time.monotonic()
        if not self.rounds:
            left_s = max(left_s, ROUND_MIN_S + AFTER_S)
        return min(self._asked.round_s, float(int(left_s - AFTER_S)))

    def _round(self, number: int, lasts_s: float) -> None:
        asked = self._asked
        text = scenario(asked.seed, number, asked.site, self._devices, lasts_s, self._gives)
        file = self._folder / f"round-{number:03}.yaml"
        file.write_text(text, encoding="utf-8")
        began_s = time.monotonic()
        folder = self._folder / file.stem
        try:
            loaded = load(file, asked.lab)
            outcome, said = played(
                loaded, folder, asked.offset, asked.lab, self.say, True, self._stopping
            )
        except asyncio.CancelledError:
            took_s = time.monotonic() - began_s
            why = f"stopped by {self._stopping.name}, not judged"
            self.rounds.append(Round(number, Outcome.UNKNOWN, took_s, (), (why,), stopped=True))
            return
        except Exception as error:  # a fault of the rig: the other rounds are worth playing
            self.say(traceback.format_exc())
            why = f"the rig failed: {error!r}"
            took_s = time.monotonic() - began_s
            self.rounds.append(Round(number, Outcome.UNKNOWN, took_s, (), (why,), broken_off=True))
            return
        took_s = time.monotonic() - began_s
        self.rounds.append(_round(number, outcome, took_s, len(loaded.scenario.timeline), said))
        whole = sum(one.outcome is not Outcome.PASSED for one in self.rounds)
        if outcome is Outcome.PASSED or whole > WHOLE_MAX:
            _prune(folder)

    def summary(self) -> dict[str, Any]:
        """Everything that the campaign came to, for programs."""
        asked = self._asked
        return {
            "seed": asked.seed,
            "site": asked.site,
            "outcome": self.outcome.value,
            "stopped": self._stopping.name,
            "folder": "" if asked.keep is None and self.passed else str(self._folder),
            "rounds": [one.plain() for one in self.rounds],
        }

    def _write(self) -> None:
        seed, site = self._asked.seed, self._asked.site
        (self._folder / SUMMARY_FILE).write_text(json.dumps(self.summary(), indent=1) + "\n")
        (self._folder / JUNIT_FILE).write_text(suites(seed, self.rounds), encoding="utf-8")
        page = campaign_page(seed, site, self.rounds)
        (self._folder / PAGE_FILE).write_text(page, encoding="utf-8")


def _round(
    number: int, outcome: Outcome, took_s: float, entries: int, said: Mapping[str, Any]
) -> Round:
    findings = [
        f"{f['judge']}: {f['said']}" for f in said["findings"] if f["outcome"] != "passed"
    ] or ([f"the run broke off: {said['why']}"] if "why" in said else [])
    right = [f["said"] for f in said["findings"] if "every scan instant" in f["judge"]]
    return Round(
        number, outcome, took_s, tuple(said.get("takeovers_ms", ())), tuple(findings), entries,
        right[0] if right else "", "why" in said,
    )  # fmt: skip


def _prune(folder: Path) -> None:
    """Leave of a round that passed what tells of it."""
    for path in folder.iterdir():
        if path.name in KEPT:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
