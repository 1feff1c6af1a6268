"""node.yaml as a model, and as the program uses it: what belongs to this machine only."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from gateway.config.site import Name
from gateway.model import NS_PER_S, Duration, Settings


class HostPort(NamedTuple):
    """Where something listens or is reached."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_host_port(text: object) -> HostPort:
    """`10.0.9.1:7700`, `[::1]:7700` or `name:7700`; ValueError tells what to write."""
    remedy = "write host and port, such as 10.0.9.1:7700"
    if isinstance(text, HostPort):
        return text
    if not isinstance(text, str):
        raise ValueError(remedy)
    host, _, port = text.rpartition(":")
    bare = host.strip("[]")
    if not bare or " " in bare or (":" in bare and not host.startswith("[")):
        raise ValueError(remedy)
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise ValueError("write a port from 1 to 65535 after the colon")
    return HostPort(bare, int(port))


def _is_ip(text: str) -> str:
    try:
        ipaddress.ip_address(text)
    except ValueError as error:
        raise ValueError("write an IP address of this machine, such as 10.0.1.1") from error
    return text


Endpoint = Annotated[
    HostPort,
    BeforeValidator(parse_host_port, json_schema_input_type=str),
]


class LinkTls(Settings):
    """Files of this node's identity towards its peer, and the peer's certificate."""

    cert: Path
    key: Path
    peer_cert: Path


class LinkSerial(Settings):
    """A null-modem cable between the nodes."""

    port: str
    baudrate: int = Field(
        115_200, ge=9_600, le=4_000_000, description="below 9600 a heartbeat takes too long"
    )


def _several(value: object) -> object:
    return value if isinstance(value, list | tuple) and not isinstance(value, HostPort) else [value]


PATHS_MAX: Final = 8
Endpoints = Annotated[
    tuple[Endpoint, ...],
    Field(min_length=1, max_length=PATHS_MAX),
    BeforeValidator(_several, json_schema_input_type=str | list[str]),
]


class Link(Settings):
    """The paths between the nodes: addresses here, and where the peer is found, in one order."""

    listen: Endpoints
    peer: Endpoints
    tls: LinkTls | None = None
    serial: LinkSerial | None = None

    @property
    def path_names(self) -> tuple[str, ...]:
        """The network paths as the role machine, the log and the status call them."""
        return tuple(map(str, self.peer))

    @model_validator(mode="after")
    def _leads_to_the_peer(self) -> Link:
        for name, addresses in (("listen", self.listen), ("peer", self.peer)):
            if len(set(addresses)) < len(addresses):
                raise ValueError(f"`{name}` has an address twice: write each path once")
        if own := set(self.listen) & set(self.peer):
            raise ValueError(
                f"`peer` names this node's own address {min(map(str, own))}: "
                "write where the other node listens"
            )
        if nowhere := [p for p in self.peer if p.host in ("0.0.0.0", "::")]:
            raise ValueError(
                f"`peer` names {nowhere[0]}, which is no address of a node: "
                "write where the other node listens"
            )
        return self

    @model_validator(mode="after")
    def _is_protected(self) -> Link:
        open_to_all = any(not end.is_loopback for end in (*self.listen, *self.peer))
        if self.tls is None and open_to_all:
            raise ValueError(
                "a link that leaves this machine needs TLS: write "
                "`tls: {cert: a.crt, key: a.key, peer_cert: b.crt}`"
            )
        return self


class PairNode(Settings):
    """This node's place in the pair."""

    priority: int = Field(0, ge=-1_000, le=1_000, description="the higher one wins")


class OpcUaNode(Settings):
    """This node's OPC UA endpoint."""

    listen: Endpoint = HostPort("0.0.0.0", 4840)
    advertise: tuple[str, ...] = Field(
        (), max_length=16, description="names and addresses under which clients find this node"
    )
    insecure: bool = Field(
        False, description="no encryption and no users: for trials on loopback only"
    )
    trust: Literal["list", "any"] = Field(
        "list",
        description="list: clients that `hotpair trust accept` let in; any: every client's "
        "certificate, so that a password is all that keeps others out",
    )
    ignore_write_timestamps: bool = Field(
        False, description="accept writes of clients that add a timestamp, and drop it"
    )

    @model_validator(mode="after")
    def _open_on_loopback_only(self) -> OpcUaNode:
        if self.insecure and not self.listen.is_loopback:
            raise ValueError(
                "an insecure endpoint may listen on loopback only: write "
                "`listen: 127.0.0.1:4840`, or remove `insecure`"
            )
        return self


class WebTls(Settings):
    """Files of the web's certificate; without names one is made at the first start."""

    cert: Path | None = None
    key: Path | None = None

    @model_validator(mode="after")
    def _come_together(self) -> WebTls:
        if (self.cert is None) is not (self.key is None):
            raise ValueError("name both `cert` and `key`, or neither: then they are made")
        return self


class WebNode(Settings):
    """This node's page, REST, health and metrics."""

    listen: Endpoint = HostPort("127.0.0.1", 8080)
    advertise: tuple[str, ...] = Field(
        (), max_length=16, description="names and addresses under which people find this node"
    )
    tls: WebTls | None = Field(
        None, description="{}: with a certificate that is made; or {cert: web.crt, key: web.key}"
    )
    insecure: bool = Field(
        False, description="no encryption beyond this machine: passwords can be overheard"
    )
    peer: str | None = Field(
        None,
        pattern=r"^https?://[^\s/]+/?$",
        max_length=300,
        description="where the other node's page is: the page links to it",
        examples=["https://gw-b.plant:8080"],
    )
    metrics: Literal["login", "open"] = Field(
        "login", description="open: /metrics and nothing else can be read without a log-in"
    )

    @model_validator(mode="after")
    def _open_on_loopback_only(self) -> WebNode:
        if self.insecure and self.tls is not None:
            raise ValueError("`insecure` and `tls` contradict each other: remove one of them")
        if self.tls is None and not self.insecure and not self.listen.is_loopback:
            raise ValueError(
                "a listener beyond this machine needs TLS: write `tls: {}`, and a certificate is "
                "made at the first start; `insecure: true` lets passwords be overheard"
            )
        return self


def _command(value: object) -> object:
    """`/path/program argument …` as the words it is made of."""
    if isinstance(value, str):
        return {"run": value.split()}
    return {"run": value} if isinstance(value, list) else value


class RoleCommand(Settings):
    """A command that is run when this node's role changes; role and reason are added to it."""

    run: tuple[str, ...] = Field(
        min_length=1,
        max_length=32,
        description="the program and its arguments; no shell reads them",
        examples=[["/usr/local/bin/floating-address", "eth0", "10.0.1.100/24"]],
    )
    timeout_ns: Duration = Field(
        10 * NS_PER_S, alias="timeout", description="it is ended when it takes longer"
    )

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        return _command(value)


class NodeFile(Settings):
    """node.yaml."""

    node: Name = Field(examples=["a"])
    data_dir: Path = Field(examples=["./data"])
    site: str = Field("site.yaml", description="the first revision; later ones come from the Main")
    ports: dict[str, str] = Field(
        {}, max_length=256, description="where this node's serial lines are, by line name"
    )
    bind: Annotated[str, AfterValidator(_is_ip)] | None = Field(
        None, description="address from which field devices are reached"
    )
    link: Link | None = None
    pair: PairNode = PairNode()
    opcua: OpcUaNode = OpcUaNode()
    web: WebNode | None = None
    on_role_change: tuple[RoleCommand, ...] = Field(
        (), max_length=16, description="commands, run one after the other; nothing waits for them"
    )


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """This machine. Paths are joined with the folder of node.yaml; `base_dir` holds site.yaml."""

    node: str
    data_dir: Path
    node_file: Path
    site_file: Path
    base_dir: Path
    ports: Mapping[str, str]
    bind: str | None
    link: Link | None
    priority: int
    opcua: OpcUaNode
    web: WebNode | None
    on_role_change: tuple[RoleCommand, ...] = ()


def _port(folder: Path, port: str) -> str:
    """A device file relative to node.yaml; a URL of pyserial (`socket://…`) as it stands."""
    return port if "://" in port else str(folder / port)


def _placed(folder: Path, command: RoleCommand) -> RoleCommand:
    """A program with a path is looked for from node.yaml on, a bare name in PATH."""
    program, *arguments = command.run
    if "/" not in program or program.startswith("/"):
        return command
    return command.model_copy(update={"run": (f"{folder}/{program}", *arguments)})


def node_config(file: Path, model: NodeFile) -> NodeConfig:
    """Join the paths of a node file with the folder it lies in."""
    folder = file.parent
    site_file = folder / model.site
    link = model.link
    if link is not None and link.tls is not None:
        tls = LinkTls(
            cert=folder / link.tls.cert,
            key=folder / link.tls.key,
            peer_cert=folder / link.tls.peer_cert,
        )
        link = link.model_copy(update={"tls": tls})
    if link is not None and link.serial is not None:
        port = _port(folder, link.serial.port)
        serial = link.serial.model_copy(update={"port": port})
        link = link.model_copy(update={"serial": serial})
    web = model.web
    if web is not None and web.tls is not None and web.tls.cert and web.tls.key:
        found = WebTls(cert=folder / web.tls.cert, key=folder / web.tls.key)
        web = web.model_copy(update={"tls": found})
    return NodeConfig(
        node=model.node,
        data_dir=folder / model.data_dir,
        node_file=file,
        site_file=site_file,
        base_dir=site_file.parent,
        ports={line: _port(folder, port) for line, port in model.ports.items()},
        bind=model.bind,
        link=link,
        priority=model.pair.priority,
        opcua=model.opcua,
        web=web,
        on_role_change=tuple(_placed(folder, command) for command in model.on_role_change),
    )
