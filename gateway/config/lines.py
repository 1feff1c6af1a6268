"""Which devices share a line: named lines, and inline ones that mean the same socket."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from gateway.config.drafts import DeviceDraft, Reading, path
from gateway.config.explain import EXAMPLES, Loc, Place, explain
from gateway.config.found import suggest
from gateway.config.site import NAME, better_name
from gateway.config.yaml import Node
from gateway.driver import DeviceSpec, LineSpec

Endpoint = tuple[str, tuple[str, ...], int]


@dataclass(slots=True)
class _Line:
    """A line while devices gather on it; `settings` is None when they are wrong."""

    name: str
    place: Place
    driver: str
    settings: BaseModel | None


def endpoint_of(settings: BaseModel) -> Endpoint | None:
    """(transport, hosts, port) of a line that reaches hosts; None for a serial one.

    The transport is the one field of a line's model that holds a model of its own.
    """
    for name, info in type(settings).model_fields.items():
        transport = getattr(settings, name)
        if not isinstance(transport, BaseModel):
            continue
        hosts = getattr(transport, "hosts", None) or ()
        host = getattr(transport, "host", None)
        all_hosts = (*((host,) if host else ()), *hosts)
        if all_hosts:
            return info.alias or name, all_hosts, int(getattr(transport, "port", 0))
    return None


class Lines:
    """Gathers the lines of a site while its devices are read."""

    def __init__(self, reading: Reading, file: str, node: Node | None) -> None:
        self._reading = reading
        self._file = file
        self._entries = node.mapping if node is not None else {}
        self._lines: dict[str, _Line] = {}
        for name, entry in self._entries.items():
            if not NAME.match(name):
                place = Place(file, entry.line, path("lines", name))
                message = f"`{name}` is no name: 1 to 64 letters, digits, `_`, `.`, `-`"
                reading.problem(place, message, f"Write `{better_name(name)}` instead.")

    def assign(self, device: DeviceDraft) -> str | None:
        """The name of the line a device sits on; None when that is wrong."""
        if device.schema.line is None:
            return self._own(device)
        node = device.node.child("line")
        if node is None or node.value is None:
            remedy = f"Add it, such as `{EXAMPLES['line']}`, or the name of a line."
            self._reading.problem(device.place(("line",)), "`line` is missing", remedy)
            return None
        if isinstance(node.value, dict):
            return self._inline(device, device.schema.line, node)
        if isinstance(node.value, list):
            remedy = f"Write `{EXAMPLES['line']}`, or the name of a line."
            self._reading.problem(device.place(("line",)), "can't be a list", remedy)
            return None
        return self._named(device, device.schema.line, str(node.value))

    def _own(self, device: DeviceDraft) -> str:
        name = f"{device.driver} {device.name}"
        self._lines[name] = _Line(name, device.place(()), device.driver, None)
        return name

    def _named(self, device: DeviceDraft, model: type[BaseModel], name: str) -> str | None:
        entry = self._entries.get(name)
        if entry is None:
            remedy = suggest(name, self._entries, "lines")
            if not self._entries:
                remedy += f" Add `lines: {{{name}: {{tcp: {{host: 10.0.0.11}}}}}}`."
            place = device.place(("line",))
            self._reading.problem(place, f"there is no line `{name}`", remedy)
            return None
        line = self._lines.get(name)
        if line is None:
            settings = self._validate(model, entry, self._file, ("lines", name))
            place = Place(self._file, entry.line, path("lines", name))
            line = self._lines[name] = _Line(name, place, device.driver, settings)
        elif line.driver != device.driver:
            message = f"the line `{name}` already belongs to the driver {line.driver}"
            self._reading.problem(device.place(("line",)), message, "Give it a line of its own.")
            return None
        return name if line.settings is not None else None

    def _inline(self, device: DeviceDraft, model: type[BaseModel], node: Node) -> str | None:
        settings = self._validate(model, node, device.file, ("devices", device.name, "line"))
        if settings is None:
            return None
        endpoint = endpoint_of(settings)
        place = device.place(("line",))
        if endpoint is None:
            self._reading.problem(
                place,
                "a serial line needs a name, since each node has a port of its own for it",
                "Move it to `lines: {bus1: …}`, write `line: bus1` here and "
                "`ports: {bus1: /dev/ttyUSB0}` in node.yaml.",
            )
            return None
        transport, hosts, port = endpoint
        name = f"{transport} {hosts[0]}:{port}"
        other = self._lines.setdefault(name, _Line(name, place, device.driver, settings))
        if other.settings != settings or other.driver != device.driver:
            self._reading.problem(
                place,
                f"the same socket is described differently in line {other.place.line}",
                "Name the line under `lines:` and let both devices refer to it.",
            )
            return None
        return name

    def _validate(self, model: type[BaseModel], node: Node, file: str, at: Loc) -> BaseModel | None:
        data = node.plain()

        def locate(loc: Loc) -> Place:
            return Place(file, node.line_of(loc), path(*at, *loc))

        try:
            return model.model_validate(data)
        except ValidationError as error:
            explain(error, model, data, locate, self._reading.found)
            return None

    def finish(
        self,
        devices: Mapping[str, DeviceSpec],
        ports: Mapping[str, str] | None,
        node_file: str,
        port_line: Mapping[str, int],
    ) -> tuple[LineSpec, ...]:
        """The lines with their devices, by name. `ports` is None when no node is known."""
        self._check_unused()
        self._check_sockets()
        if ports is not None:
            self._check_ports(ports, node_file, port_line)
        specs = []
        for name, line in sorted(self._lines.items()):
            on_it = tuple(devices[d] for d in sorted(devices) if devices[d].line == name)
            if on_it:
                port = (ports or {}).get(name)
                specs.append(LineSpec(name, line.driver, line.settings, on_it, port))
        return tuple(specs)

    def _check_unused(self) -> None:
        models = [s.line for s in self._reading.drivers.values() if s.line is not None]
        for name, entry in self._entries.items():
            if name in self._lines:
                continue
            place = Place(self._file, entry.line, path("lines", name))
            self._reading.warn(place, f"no device is on the line `{name}`", "Use or remove it.")
            if len(models) == 1:
                self._validate(models[0], entry, self._file, ("lines", name))

    def _check_sockets(self) -> None:
        """Two lines to one socket hinder each other: small gateways have one or two to spare."""
        first: dict[tuple[str, int], _Line] = {}
        for line in self._lines.values():
            endpoint = endpoint_of(line.settings) if line.settings is not None else None
            for host in endpoint[1] if endpoint is not None else ():
                assert endpoint is not None
                other = first.setdefault((host, endpoint[2]), line)
                if other is not line:
                    message = f"`{line.name}` and `{other.name}` both reach {host}:{endpoint[2]}"
                    remedy = "Put their devices on one line, if it is the same gateway."
                    self._reading.warn(line.place, message, remedy)

    def _check_ports(
        self, ports: Mapping[str, str], node_file: str, port_line: Mapping[str, int]
    ) -> None:
        serial: dict[str, Any] = {
            name: line
            for name, line in self._lines.items()
            if line.settings is not None and endpoint_of(line.settings) is None
        }
        for name, line in serial.items():
            if name not in ports:
                message = f"this node has no port for the serial line `{name}`"
                remedy = f"Add `ports: {{{name}: /dev/ttyUSB0}}` to {node_file}."
                self._reading.problem(line.place, message, remedy)
        taken: dict[str, str] = {}
        for name, port in ports.items():
            place = Place(node_file, port_line.get(name, 0), path("ports", name))
            # A port to spare hinders nothing: it is there before the revision that uses it.
            if name not in serial and name not in self._entries:
                message = f"the site has no serial line `{name}`"
                self._reading.warn(place, message, suggest(name, serial, "serial lines"))
            elif name not in serial and name in self._lines and self._lines[name].settings:
                message = f"the line `{name}` is not serial"
                self._reading.warn(place, message, "Remove its port.")
            if (other := taken.setdefault(port, name)) != name:
                message = f"`{port}` is already the port of `{other}`"
                self._reading.problem(place, message, "One port serves one line.")
