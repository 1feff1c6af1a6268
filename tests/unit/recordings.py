"""Recordings for tests of the report: a small one by hand, a large one by chance from a seed."""

from __future__ import annotations

from random import Random

from gateway.model import NS_PER_MS, NS_PER_S
from hil.recording import (
    Act,
    Finding,
    Look,
    Outcome,
    Recording,
    Reign,
    Stretch,
    Switch,
    Told,
)

T0 = 1_795_629_720 * NS_PER_S  # 2026-11-25T18:02:00Z
S = NS_PER_S
MS = NS_PER_MS
NAMES = ("pump1", "pump2", "plc1", "plc2", "meter1", "meter2", "inlet", "outlet", "tank3", "chlor")


def at(seconds: float) -> int:
    return T0 + round(seconds * S)


def role_at(node: str, s: float) -> tuple[str, str]:
    """What a node of the small recording is at a moment: role and role shown."""
    if node == "a":
        if 10 <= s < 18.5:
            return "", ""
        if s < 10:
            return "main", "main"
        if s < 20:
            return "starting", "starting"
        if s < 23:
            return "syncing", "standby (syncing)"
        if s >= 41:
            return "main", "main"
        return "synced", "standby (synced)"
    if s < 10.6:
        return "synced", "standby (synced)"
    if 41 <= s < 44:
        return "syncing", "standby (syncing)"
    return ("synced", "standby (synced)") if s >= 44 else ("main", "main")


def small(**changed: object) -> Recording:
    """A minute of four devices: the Main dies, a device is silent, the links are cut."""
    looks = []
    for tick in range(240):
        s = tick / 4
        for node in "ab":
            role, shown = role_at(node, s)
            lag = 900.0 if role == "syncing" else 12.0 + tick % 7 if role == "synced" else 0.0
            behind = round(lag * 0.2) if role in ("synced", "syncing") else 0
            equal_ns = at(s // 5 * 5) if role and not (10 <= s < 25 or 38 <= s < 45) else 0
            looks.append(Look(at(s), node, role, shown, behind, lag, equal_ns, 4, 4))
    recording = Recording(
        scenario="The Main dies",
        promise="A dead Main is replaced within a second; nothing is lost but what is declared.",
        site="demo",
        seed=7,
        version="0.1.0",
        from_ns=T0,
        to_ns=at(60),
        devices={
            "pump1": ["fast"], "plc1": ["fast", "normal"], "plc2": ["sub"], "meter1": ["slow"],
        },
        acts=[
            Act("kill", "main", "a", at(10), at(18)),
            Act("silence", "plc1", "plc1", at(24), at(29)),
            Act("cut", "links", "links", at(38), at(41)),
            Act("power_off", "meter1", "meter1", at(47), at(54), {"log": "lose"}),
            Act("clock", "plc2", "plc2", at(56), at(56), {"step": -60}),
        ],
        looks=looks,
        switches=[
            Switch("SIGKILL", "a", "b", at(10), at(10.612)),
            Switch("links cut", "b", "a", at(38), at(39.104)),
        ],
        splits=[(at(39.1), at(41.2))],
        reigns=[
            Reign("1.a.00ff", "a", at(-4), at(10), "start rule alone", "it died"),
            Reign("2.b.01ff", "b", at(10.55), at(41.2), "node a is dead", "arbitration"),
            Reign("3.a.02ff", "a", at(39.05), 0, "node b is silent"),
        ],
        stretches=[
            *(Stretch(d, c, "node_down", "lost", at(9.9), at(10.7))
              for d, c in (("pump1", "fast"), ("plc2", "sub"))),
            Stretch("plc1", "fast", "node_down", "filled", at(9.9), at(10.7)),
            Stretch("plc1", "fast", "device", "filled", at(24), at(29.3)),
            Stretch("plc1", "normal", "device", "coarse", at(24), at(29.6)),
            Stretch("meter1", "slow", "device", "lost", at(47), at(54.5)),
            Stretch("plc2", "sub", "clock", "open", at(56), at(60), ("flow", "level")),
        ],
        told=[
            Told(at(9.5), "a", "log", 0, "poll of plc1 took 12 ms"),
            Told(at(10.52), "b", "pair", 600, "node a is dead: taking over"),
            Told(at(10.6), "b", "log", 0, "endpoint opc.tcp://127.0.0.1:4841 is open"),
            Told(at(18.6), "a", "log", 0, "journal opened: 18,311 records"),
            Told(at(23), "a", "pair", 200, "caught up"),
            Told(at(24.6), "b", "plc1", 500, "plc1 does not answer: time-out after 1 s"),
            Told(at(39.05), "a", "pair", 700, "node b is silent on all links: taking over"),
            Told(at(55), "b", "plc2", 800, "<script>alert('told')</script>"),
        ],
        polls=5120,
        findings=[
            Finding("one poller", Outcome.PASSED, "5120 polls, none that no reign explains"),
            Finding("histories", Outcome.PASSED, "both nodes give the same 4 histories"),
            Finding(
                "every scan instant", Outcome.FAILED,
                "2 of 9,600 instants are neither right nor declared",
                ("plc1/level at 30.0 s: the device held 4.25, both nodes have 4.0",
                 "plc1/level at 33.2 s: the device held 4.5, both nodes have 4.0"),
                (at(30), at(36.5)),
            ),
            Finding(
                "takeover", Outcome.PASSED, "2 takeovers, the longest after 1104 ms",
                ("SIGKILL: 612 ms", "links cut: 1104 ms"), (at(10), at(38)),
            ),
            Finding("clock of plc2", Outcome.UNKNOWN, "plc2 has no log to compare with"),
        ],
    )  # fmt: skip
    for key, value in changed.items():
        setattr(recording, key, value)
    return recording


WORDS = (
    "kill", "freeze", "restart", "cut", "silence", "delay", "power_off", "hang_up", "busy",
    "bad_crc", "disk_full", "slow_disk", "clock", "log_stop", "log_clear", "changeover",
    "truncated", "garbage",
)  # fmt: skip
SWITCHING = ("kill", "freeze", "restart", "cut")
OF_THE_PAIR = (*SWITCHING, "disk_full", "slow_disk", "changeover")


def large(seed: int, devices: int = 500, hours: float = 2.0) -> Recording:
    """A campaign: an act every half minute, 10,000 looks, gaps of every device at each takeover."""
    chance = Random(seed)
    end_s = hours * 3600
    names = [f"{NAMES[n % len(NAMES)]}-{n:03d}" for n in range(devices)]
    recording = small(
        scenario="Campaign", promise="Whatever happens, nothing is lost silently.", seed=seed,
        to_ns=at(end_s), devices={name: ["fast", "normal"] for name in names}, acts=[],
        looks=[], switches=[], splits=[], reigns=[], stretches=[], told=[], polls=14_400_000,
        findings=small().findings[:2],
    )  # fmt: skip
    main, s = "a", 20.0
    down: list[tuple[float, float, str]] = []
    while s < end_s - 60:
        word, lasts = chance.choice(WORDS), chance.uniform(1, 25)
        target = "main" if word in OF_THE_PAIR else chance.choice(names)
        hit = main if word in OF_THE_PAIR else target
        recording.acts.append(Act(word, target, hit, at(s), at(s + lasts)))
        recording.told += [_said(chance, names, s) for _ in range(chance.randrange(120))]
        if word in SWITCHING:
            down.append((s, s + lasts, main))
            main = _switched(recording, chance, main, s, lasts)
        elif word not in OF_THE_PAIR:
            state = chance.choice(("filled", "coarse", "lost"))
            gap = Stretch(target, "normal", "device", state, at(s), at(s + lasts))
            recording.stretches.append(gap)
        s += lasts + chance.uniform(5, 20)
    for tick in range(5000):
        recording.looks += _looks(recording, chance, main, tick * end_s / 5000, down)
    return recording


def _said(chance: Random, names: list[str], s: float) -> Told:
    text = f"device {chance.choice(names)} answered after {chance.randrange(900)} ms"
    severity = chance.choice((0, 0, 0, 0, 0, 500, 700))
    return Told(at(s + chance.uniform(-1, 6)), chance.choice("ab"), "log", severity, text)


def _switched(recording: Recording, chance: Random, main: str, s: float, lasts: float) -> str:
    """The other node takes over: its name. Every third device has no log to fill the gap from."""
    word, took = recording.acts[-1].word, chance.lognormvariate(-0.7, 0.3)
    other = "b" if main == "a" else "a"
    since_ns = recording.switches[-1].fresh_ns if recording.switches else T0
    term = f"{len(recording.acts)}.{main}.0"
    recording.reigns.append(Reign(term, main, since_ns, at(s), "the other is silent", word))
    recording.switches.append(Switch(word, main, other, at(s), at(s + took)))
    if word == "cut":
        recording.splits.append((at(s + took), at(s + lasts + 1)))
    for number, name in enumerate(recording.devices):
        state = "filled" if number % 3 and chance.random() < 0.98 else "lost"
        recording.stretches.append(Stretch(name, "fast", "node_down", state, at(s), at(s + took)))
    return other


def _looks(
    recording: Recording, chance: Random, last: str, s: float, down: list[tuple[float, float, str]]
) -> list[Look]:
    reigning = next((r.node for r in recording.reigns if r.from_ns <= at(s) < r.to_ns), last)
    found = []
    for node in "ab":
        gone = any(a <= s < b and who == node for a, b, who in down)
        late = any(b <= s < b + 8 and who == node for a, b, who in down)
        role = "" if gone else "main" if node == reigning else "syncing" if late else "synced"
        lag = chance.lognormvariate(8, 1) if late else chance.lognormvariate(2.5, 0.6)
        count = len(recording.devices)
        found.append(Look(at(s), node, role, "", round(lag), lag, 0, count, count))
    return found
