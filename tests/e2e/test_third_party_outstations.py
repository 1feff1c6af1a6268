"""Outstations by libmodbus, jsmodbus and modbus-serial, read by `hotpair run`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hil.bench.process import Spawned, compile_c, free_port

from .test_modbus_networks import certificate
from .third_party.rig import (
    HERE,
    MODBUS_CONSTANTS,
    MODBUS_POINTS,
    Node,
    need_libmodbus,
    need_npm,
    need_program,
    running_node,
    script,
    until,
)

pytestmark = [pytest.mark.external, pytest.mark.timeout(60)]

LIBMODBUS = ("-I/usr/include/modbus", "-lmodbus")


def libmodbus(folder: Path, *arguments: object) -> list[str]:
    need_libmodbus()
    program = compile_c(HERE / "libmodbus_server.c", folder, *LIBMODBUS)
    return [str(program), *map(str, arguments)]


def by_libmodbus(folder: Path, port: int) -> list[str]:
    return libmodbus(folder, "tcp", port)


def by_jsmodbus(folder: Path, port: int) -> list[str]:
    need_npm("jsmodbus")
    return script("jsmodbus_server.js", port)


def by_modbus_serial(folder: Path, port: int) -> list[str]:
    need_npm("modbus-serial")
    return script("modbus_serial_server.js", port)


PARTIES = {"libmodbus": by_libmodbus, "jsmodbus": by_jsmodbus, "modbus-serial": by_modbus_serial}


def site(line: str) -> str:
    return (
        "site: third\nscan_classes: {quick: 100ms}\ndevices:\n"
        f"  plc:\n    driver: modbus\n    line: {line}\n    timeout: 500ms\n    scan: quick\n"
        f"    points:{MODBUS_POINTS}"
    )


async def everything_is_read(node: Node) -> None:
    for name, value in MODBUS_CONSTANTS.items():
        await node.becomes(f"plc/{name}", value)
    first = await node.value("plc/count")

    async def counted() -> bool:
        now = await node.value("plc/count")
        return now is not None and now > first

    await until(counted, "the counter moves")


@pytest.mark.parametrize("party", PARTIES)
async def test_an_outstation_of_another_vendor_is_read_written_lost_and_found(
    party: str, tmp_path: Path
) -> None:
    make: Callable[[Path, int], list[str]] = PARTIES[party]
    port = free_port()
    command = make(tmp_path, port)
    line = f"{{tcp: {{host: 127.0.0.1, port: {port}}}}}"
    async with Spawned(party, command, tmp_path) as outstation:
        await outstation.hear("port")
        async with running_node(tmp_path / "node", site(line), free_port()) as node:
            await everything_is_read(node)

            status, said = await node.command("write", "plc/setpoint", 55)
            assert (status, said["status"], said["read_back"]) == (0, "Good", 55)
            status, said = await node.command("write", "plc/switch", "true")
            assert (status, said["status"], said["read_back"]) == (0, "Good", True)
            await node.becomes("plc/setpoint", 55)
            await node.becomes("plc/switch", True)

            assert (await node.control.get("/status"))["devices"]["plc"]["exceptions"] == {}
            await outstation.stop()
            assert await node.goes_bad("plc/count") == "BadNoCommunication"
            async with Spawned(f"{party}-again", make(tmp_path, port), tmp_path) as again:
                await again.hear("port")
                await node.becomes("plc/setpoint", MODBUS_CONSTANTS["setpoint"])


async def test_an_outstation_of_another_vendor_behind_tls_is_read_and_written(
    tmp_path: Path,
) -> None:
    need_npm("jsmodbus")
    certificate(tmp_path, "ca")
    for name in ("plc", "gw"):
        certificate(tmp_path, name, "ca")
    port = free_port()
    keys = "ca: ../ca.crt, cert: ../gw.crt, key: ../gw.key"
    line = f"{{tls: {{host: 127.0.0.1, port: {port}, {keys}}}}}"
    async with Spawned("plc", script("jsmodbus_server.js", port, tmp_path), tmp_path) as plc:
        await plc.hear("port")
        async with running_node(tmp_path / "node", site(line), free_port()) as node:
            await everything_is_read(node)
            status, said = await node.command("write", "plc/setpoint", 55)
            assert (status, said["status"], said["read_back"]) == (0, "Good", 55)


async def test_a_libmodbus_slave_on_a_serial_line_is_read_and_written(tmp_path: Path) -> None:
    need_program("socat")
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ends = [f"pty,raw,echo=0,link={end}" for end in (ours, theirs)]
    async with Spawned("cable", ["socat", *ends], tmp_path):

        async def plugged() -> bool:
            return ours.exists() and theirs.exists()

        await until(plugged, "socat links the ptys")
        command = libmodbus(tmp_path, "rtu", theirs)
        async with Spawned("libmodbus-rtu", command, tmp_path) as outstation:
            await outstation.hear("port")
            # parity none: a pseudo terminal has no parity bit
            bus = "lines: {bus: {rtu: {baudrate: 19200, parity: N}, listen: 50ms}}\n"
            more = f"ports: {{bus: {ours}}}\n"
            files = bus + site("bus")
            async with running_node(tmp_path / "node", files, free_port(), more) as node:
                await everything_is_read(node)
                status, said = await node.command("write", "plc/setpoint", 99)
                assert (status, said["status"], said["read_back"]) == (0, "Good", 99)
                await node.becomes("plc/setpoint", 99)
