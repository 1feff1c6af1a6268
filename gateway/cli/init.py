"""`hotpair init`: a few questions, and files that work: a pair or a lone node.

Each node gets a folder with all that belongs on its machine, so that a folder is copied as a whole.
"""

from __future__ import annotations

import json
import re
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import typer

from gateway.cli.new_files import write_new
from gateway.commissioning import is_opcua, parse_target
from gateway.config.node import parse_host_port
from gateway.config.site import NAME, better_name
from gateway.errors import BadInput
from gateway.pair.certificate import make_identity
from profiles.load import names

LINK_PORT: Final = 7700
OPCUA_PORT: Final = 4840
WEB_PORT: Final = 8443
TRIAL_WEB_PORT: Final = 8080
CERTIFICATE_DAYS: Final = 7_300
PASSWORD_BYTES: Final = 12
LOOPBACK: Final = ("127.0.0.1", "127.0.0.1")
EXAMPLE_ADDRESSES: Final = ("10.0.9.1", "10.0.9.2")
EXAMPLE_DEVICE: Final = "tcp:127.0.0.1:5020"


class Answers(NamedTuple):
    """What was given on the command line; None: to be asked, or the usual with `--yes`."""

    site: str | None
    lone: bool | None
    addresses: tuple[str, ...]
    device: str | None
    unit: int | None
    profile: str | None
    user: str | None
    password_file: Path | None
    trial: bool
    data_dir: str = "data"


class Plan(NamedTuple):
    """All answers, checked. `made` tells that we made the password up."""

    site: str
    nodes: tuple[str, ...]
    addresses: tuple[str, ...]
    device: str
    unit: int
    profile: str
    user: str
    password: str
    made: bool
    trial: bool
    data_dir: str

    @property
    def web_port(self) -> int:
        """The page's port on node a."""
        return TRIAL_WEB_PORT if self.trial else WEB_PORT

    def page(self, index: int) -> str:
        """Where a node's page is."""
        scheme = "http" if self.trial else "https"
        port = self.web_port + (index if self.trial else 0)
        return f"{scheme}://{parse_host_port(f'{self.addresses[index]}:{port}')}"


def init(folder: Path, given: Answers, yes: bool, as_json: bool) -> int:
    """`hotpair init`; the exit status is 1 when what was written does not pass `check`.

    Raises BadInput, ControlError.
    """
    ask = _never if yes or not sys.stdin.isatty() else _prompt
    plan = answered(folder, given, ask)
    files = texts(plan, folder, time.time_ns())
    remedy = "Choose another folder: `hotpair init FOLDER`"
    write_new(files, False, remedy)
    node_files = [path for path in files if path.name == "node.yaml"]
    checks: list[str] = []
    status = max(_check(path, checks) for path in node_files)
    if as_json:
        told: dict[str, Any] = {
            "written": [str(path) for path in files],
            "ok": status == 0,
            "check": checks,
        }
        if plan.made:
            told["password"] = plan.password
        print(json.dumps(told))
        return status
    for path in files:
        print(f"wrote {path}")
    print("\n".join(checks))
    print("\n".join(next_steps(plan, node_files)))
    return status


def _check(path: Path, lines: list[str]) -> int:
    from gateway.app import schemas
    from gateway.cli.check import check

    return check(path, schemas(), False, lines.append)


# ---------------------------------------------------------------------------------- questions

Ask = Callable[[str, str], str]


def _never(question: str, usual: str) -> str:
    return usual


def _prompt(question: str, usual: str) -> str:
    answer: str = typer.prompt(question, default=usual, err=True)
    return answer


def answered(folder: Path, given: Answers, ask: Ask) -> Plan:
    """The answers, asked for where they were not given. Raises BadInput."""
    usual = better_name(folder.resolve().name)
    site = given.site if given.site is not None else ask("Name of the site", usual)
    if not NAME.match(site):
        raise BadInput(f"{site!r} is no name", f"Write {better_name(site)}")
    if len(given.addresses) > 2:
        raise BadInput("more than two addresses", "A pair has two nodes: give two")
    lone = given.lone
    if lone is None and len(given.addresses) != 2:
        said = ask("One node, or a hot-standby pair? (one, pair)", "pair").lower()
        if said not in ("one", "pair"):
            raise BadInput(f"{said!r} is neither", "Write one or pair")
        lone = said == "one"
    nodes = ("a",) if lone else ("a", "b")
    addresses = _addresses(nodes, given, ask)
    question = "First device: tcp:HOST[:PORT], rtu:/dev/ttyUSB0, opc.tcp://HOST:4840"
    device = given.device if given.device is not None else ask(question, EXAMPLE_DEVICE)
    unit, profile = 1, ""
    if not is_opcua(device):
        parse_target(device)
        unit = given.unit if given.unit is not None else _number(ask("Its unit id", "1"))
        profile = _profile(given, ask)
    elif given.profile:
        raise BadInput("an OPC UA server needs no profile", "Leave --profile out")
    user = given.user if given.user is not None else ask("Who logs in", "admin")
    if not NAME.match(user):
        raise BadInput(f"{user!r} is no name of a user", f"Write {better_name(user)}")
    made = given.password_file is None
    password = secrets.token_urlsafe(PASSWORD_BYTES) if made else _password(given.password_file)
    who = (user, password, made, given.trial, given.data_dir)
    return Plan(site, nodes, addresses, device, unit, profile, *who)


def _password(file: Path | None) -> str:
    assert file is not None
    try:
        password = file.read_text().rstrip("\r\n")
    except OSError as error:
        text = f"{file} can't be read: {error.strerror}"
        raise BadInput(text, "Write the password into it") from error
    if not password:
        raise BadInput(f"{file} is empty", "Write the password into it")
    return password


def _addresses(nodes: tuple[str, ...], given: Answers, ask: Ask) -> tuple[str, ...]:
    if given.trial and not given.addresses:
        return LOOPBACK[: len(nodes)]
    found = list(given.addresses)
    if len(found) > len(nodes):
        raise BadInput("a lone node has one address", "Give one, or leave --lone out")
    for node, usual in list(zip(nodes, EXAMPLE_ADDRESSES, strict=False))[len(found) :]:
        found.append(ask(f"Address of node {node}'s machine", usual))
    for address in found:
        try:
            end = parse_host_port(f"{address}:{OPCUA_PORT}")
        except ValueError as error:
            raise BadInput(f"{address!r} is no address: {error}", "Write 10.0.9.1") from None
        if given.trial and not end.is_loopback:
            raise BadInput(
                f"{address} is not this machine's own", "A trial stays on loopback: leave it out"
            )
    if len(set(found)) < len(found) and not given.trial:
        raise BadInput("both nodes have the same address", "Give each machine's own")
    return tuple(found)


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 255:
        raise BadInput(f"{text!r} is no unit id", "Write 0 to 255")
    return int(text)


def _profile(given: Answers, ask: Ask) -> str:
    profile = given.profile
    if profile is None:
        profile = ask("Its profile, - for none (`hotpair profiles list` shows them)", "-")
    profile = "" if profile == "-" else profile
    if profile and profile not in names():
        from gateway.config.found import suggest

        raise BadInput(f"there is no profile {profile!r}", suggest(profile, names(), "profiles"))
    return profile


# -------------------------------------------------------------------------------------- files


def texts(plan: Plan, folder: Path, now_ns: int) -> dict[Path, tuple[bytes, int]]:
    """Every file with its mode; keys are for their owner only."""
    lone = len(plan.nodes) == 1
    files: dict[Path, tuple[bytes, int]] = {}
    site = _site_text(plan).encode()
    made = {} if lone else {n: make_identity(n, now_ns, CERTIFICATE_DAYS) for n in plan.nodes}
    for index, node in enumerate(plan.nodes):
        home = folder if lone else folder / node
        files[home / "node.yaml"] = (_node_text(plan, index).encode(), 0o644)
        # It holds the users' password hashes.
        files[home / "site.yaml"] = (site, 0o640)
        if made:
            peer = plan.nodes[1 - index]
            files[home / f"{node}.key"] = (made[node].key_pem, 0o600)
            files[home / f"{node}.crt"] = (made[node].certificate_pem, 0o644)
            files[home / f"{peer}.crt"] = (made[peer].certificate_pem, 0o644)
    return files


def _site_text(plan: Plan) -> str:
    lines = [
        f"# {plan.site}: the same file on every node. `hotpair check` finds its mistakes,",
        "# `hotpair apply site.yaml` puts a change in force without a restart.",
        f"site: {plan.site}",
    ]
    if len(plan.nodes) == 2:
        lines += [
            "pair: {}                  # usual timing: heartbeat 100ms, takeover_after 1s",
        ]
    lines += ["scan_classes: {fast: 200ms, normal: 1s, slow: 10s}"]
    lines += _device_lines(plan)
    lines += ["history: {retention: 30d, max_size: 10GB}"]
    from gateway.server.passwords import hash_password

    hashed = hash_password(plan.password)
    lines += [
        "users:                    # of the page and of OPC UA; `hotpair password` makes a hash",
        f'  {plan.user}: {{role: admin, password_hash: "{hashed}"}}',
    ]
    return "\n".join(lines) + "\n"


def _device_lines(plan: Plan) -> list[str]:
    if is_opcua(plan.device):
        return [
            "devices:",
            "  plc1:",
            "    driver: opcua",
            f"    endpoint: {plan.device}",
            "    # Better: security: {policy: Basic256Sha256, mode: SignAndEncrypt, …}",
            "    insecure: true",
            "    points:               # `hotpair browse plc1 --as yaml` lists what there is",
            "      server_time: {node: i=2258, type: datetime}",
        ]
    target = parse_target(plan.device)
    lines = ["lines:", "  bus1: {rtu: {baudrate: 19200, parity: E}}"] if target.is_serial else []
    line = "bus1" if target.is_serial else _flow(target.line)
    lines += ["devices:", "  plc1:", "    driver: modbus", f"    line: {line}"]
    lines += [f"    unit_id: {plan.unit}"]
    if plan.profile:
        return [*lines, f"    profile: {plan.profile}"]
    return [
        *lines,
        "    points:               # `hotpair probe` shows registers in every byte order",
        "      register0: {register: holding, address: 0, type: uint16}",
    ]


def _flow(line: dict[str, Any]) -> str:
    ((kind, said),) = line.items()
    host = json.dumps(said["host"]) if ":" in said["host"] else said["host"]
    return f"{{{kind}: {{host: {host}, port: {said['port']}}}}}"


def _node_text(plan: Plan, index: int) -> str:
    node, lone = plan.nodes[index], len(plan.nodes) == 1
    lines = [
        "# This machine only. `hotpair run node.yaml` runs it.",
        f"node: {node}",
        f"data_dir: {_plain(plan.data_dir)}",
        "site: site.yaml",
    ]
    if not is_opcua(plan.device) and (port := parse_target(plan.device).port):
        lines += [f"ports: {{bus1: {port}}}"]
    if not lone:
        own, other = _link(plan, index), _link(plan, 1 - index)
        peer = plan.nodes[1 - index]
        lines += [
            f'link: {{listen: "{own}", peer: "{other}",',
            f"       tls: {{cert: {node}.crt, key: {node}.key, peer_cert: {peer}.crt}}}}",
        ]
    port_number = OPCUA_PORT + (index if plan.trial else 0)
    if plan.trial:
        lines += [f"opcua: {{listen: 127.0.0.1:{port_number}, insecure: true}}   # a trial"]
    else:
        name = json.dumps(plan.addresses[index])
        lines += [f"opcua: {{listen: 0.0.0.0:{port_number}, advertise: [{name}]}}"]
    lines += [_web(plan, index)]
    return "\n".join(lines) + "\n"


def _plain(path: str) -> str:
    """A path in YAML, quoted where it could be read as something else."""
    return path if re.fullmatch(r"[A-Za-z./][\w./-]*", path) else json.dumps(path)


def _web(plan: Plan, index: int) -> str:
    peer = f', peer: "{plan.page(1 - index)}"' if len(plan.nodes) == 2 else ""
    if plan.trial:
        return f'web: {{listen: "127.0.0.1:{plan.web_port + index}"{peer}}}'
    name = json.dumps(plan.addresses[index])
    return f'web: {{listen: "0.0.0.0:{plan.web_port}", tls: {{}}, advertise: [{name}]{peer}}}'


def _link(plan: Plan, index: int) -> str:
    port = LINK_PORT + (index if plan.trial else 0)
    return str(parse_host_port(f"{plan.addresses[index]}:{port}"))


def next_steps(plan: Plan, node_files: list[Path]) -> list[str]:
    """What to do now."""
    lines = [""]
    if plan.made:
        lines += [f"User {plan.user}, password {plan.password} (shown once; note it now)"]
        lines += ["Another password: `hotpair password`, and its hash into site.yaml"]
    lines += ["Next:"]
    if plan.device == EXAMPLE_DEVICE:
        emulated = plan.profile or "eastron/sdm120"
        lines += [
            f"  hotpair outstation {emulated} --listen {plan.device}    # emulates the device"
        ]
    elif not is_opcua(plan.device):
        lines += [f"  hotpair probe {plan.device} --units {plan.unit}    # does it answer?"]
    else:
        lines += [f"  hotpair probe {plan.device}    # does it answer?"]
    if len(node_files) == 2 and not plan.trial:
        for node, address, path in zip(plan.nodes, plan.addresses, node_files, strict=True):
            lines += [f"  copy the folder {path.parent} to {address}: it is all that {node} needs"]
    for path in node_files:
        lines += [f"  hotpair run {path}"]
    lines += [f"  hotpair status --node {node_files[0]}"]
    lines += [f"  the page: {' and '.join(map(plan.page, range(len(plan.nodes))))}"]
    if not plan.trial:
        lines += ["  hotpair trust list    # a client that was refused: hotpair trust accept …"]
    return lines
