"""Outstations over real sockets and ptys, asked by bare bytes and by the system's own tools."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import json
import ssl
import struct
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import serial_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hil.cli import parse_listen, profile_plant, run_profile, run_rig
from hil.outstation.control import send
from hil.outstation.frames import Rtu, crc16
from hil.outstation.polls import PollLog, read_polls
from hil.outstation.rig import OutstationRig
from hil.outstation.server import PENDING_MAX
from hil.plant import Plant, read_site
from hil.settings import LogSettings, Rig, SiteError
from hil.words import messages
from profiles.load import load
from tests.e2e.third_party.rig import need_program

READ = bytes.fromhex("0300000002")
POINTS = "{v: {address: 0, type: float32, unit: V}, s: {address: 2, access: rw}}"


def plant_of(lines: str, devices: Mapping[str, str], **rig: Any) -> Plant:
    text = f"site: test\nlines: {lines}\ndevices:\n"
    for name, settings in devices.items():
        text += f"  {name}: {{driver: modbus, points: {POINTS}, {settings}}}\n"
    return read_site(text, lambda name: "", load, Rig(change=0.5, **rig))


def tcp_plant(transport: str = "tcp", **rig: Any) -> Plant:
    """Port 0: the rig takes a free one."""
    line = f"line: {{{transport}: {{host: 127.0.0.1, port: 0}}}}"
    return plant_of("{}", {"plc": line + ", unit_id: 5", "pump": line + ", unit_id: 6"}, **rig)


@asynccontextmanager
async def running(plant: Plant, **settings: Any) -> AsyncIterator[OutstationRig]:
    rig = OutstationRig(plant, **settings)
    await rig.start()
    try:
        yield rig
    finally:
        await rig.stop()


def port_of(rig: OutstationRig) -> int:
    (ports,) = rig.lines.values()
    port = ports[0]
    assert hasattr(port, "port")
    return int(port.port)


OPENED: list[asyncio.StreamWriter] = []


@pytest.fixture(autouse=True)
async def _hang_up() -> AsyncIterator[None]:
    yield
    for writer in OPENED:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    OPENED.clear()


class Master:
    """A bare Modbus TCP master."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def on(cls, rig: OutstationRig, **settings: Any) -> Master:
        master = cls(*await asyncio.open_connection("127.0.0.1", port_of(rig), **settings))
        OPENED.append(master.writer)
        return master

    def ask(self, pdu: bytes = READ, unit: int = 5, tid: int = 1) -> None:
        self.writer.write(struct.pack(">HHHB", tid, 0, len(pdu) + 1, unit) + pdu)

    async def reply(self, timeout_s: float = 5.0) -> tuple[int, int, bytes]:
        async with asyncio.timeout(timeout_s):
            head = await self.reader.readexactly(7)
            tid, _, size, unit = struct.unpack(">HHHB", head)
            return tid, unit, await self.reader.readexactly(size - 1)

    async def closed(self) -> bool:
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionError):
                return await self.reader.read(1) == b""
        return True


async def test_pipelined_requests_are_answered_in_order_though_the_first_is_delayed() -> None:
    async with running(tcp_plant()) as rig:
        master = await Master.on(rig)
        await rig.command({"fault": "delay", "device": "plc", "ms": 50})
        for tid in range(8):
            master.ask(unit=5 if tid % 2 == 0 else 6, tid=tid)
        assert [(await master.reply())[0] for _ in range(8)] == list(range(8))


async def test_a_late_reply_is_overtaken() -> None:
    async with running(tcp_plant()) as rig:
        master = await Master.on(rig)
        await rig.command({"fault": "late", "device": "plc", "ms": 80})
        master.ask(unit=5, tid=1)
        master.ask(unit=6, tid=2)
        assert [(await master.reply())[0] for _ in range(2)] == [2, 1]


async def test_values_are_the_truth_of_the_moment() -> None:
    plant = tcp_plant()
    async with running(plant) as rig:
        master = await Master.on(rig)
        master.ask()
        _, unit, pdu = await master.reply()
        poll = rig.log.polls[-1]
        assert unit == 5
        point = plant.devices["plc"].points[0]
        assert struct.unpack(">f", pdu[2:])[0] == point.expected(poll.received_ns)
        assert (poll.device, poll.area, poll.address, poll.count) == ("plc", "holding", 0, 2)
        assert poll.answered_ns >= poll.received_ns
        assert poll.peer.startswith("127.0.0.1:")


async def test_a_hung_unit_leaves_the_other_alone_and_comes_back_by_itself() -> None:
    async with running(tcp_plant()) as rig:
        master = await Master.on(rig)
        await rig.command({"fault": "silence", "device": "plc", "seconds": 0.2})
        master.ask(unit=5, tid=1)
        master.ask(unit=6, tid=2)
        assert (await master.reply())[:2] == (2, 6)
        async with asyncio.timeout(5):
            while rig.status()["faults"]:
                await asyncio.sleep(0.02)  # paces: the fault runs out by itself
        master.ask(unit=5, tid=3)
        assert (await master.reply())[:2] == (3, 5)
        assert [item.what for item in rig.journal] == ["fault silence", "clear"]


async def test_a_port_closes_and_opens_again() -> None:
    async with running(tcp_plant()) as rig:
        master = await Master.on(rig)
        await rig.command({"fault": "refuse", "device": "plc", "seconds": 0.2})
        assert await master.closed()
        with pytest.raises(ConnectionRefusedError):
            await Master.on(rig)
        async with asyncio.timeout(5):
            while True:
                try:
                    master = await Master.on(rig)
                    break
                except ConnectionRefusedError:
                    await asyncio.sleep(0.02)  # paces: a client that tries again
        master.ask()
        await master.reply()
        await rig.command({"fault": "drop", "device": "plc"})
        assert await master.closed()
        await Master.on(rig)


async def test_power_silences_a_unit_and_closes_the_port_with_the_last_one() -> None:
    async with running(tcp_plant()) as rig:
        master = await Master.on(rig)
        master.ask(bytes.fromhex("0600020007"))
        await master.reply()
        await rig.command({"power": "off", "device": "plc"})
        master.ask(unit=5)
        master.ask(unit=6, tid=9)
        assert (await master.reply())[0] == 9
        await rig.command({"power": "off", "device": "pump"})
        assert await master.closed()
        with pytest.raises(ConnectionRefusedError):
            await Master.on(rig)
        assert sorted(rig.status()["off"]) == ["plc", "pump"]
        await rig.command({"power": "on", "device": "plc"})
        master = await Master.on(rig)
        master.ask(bytes.fromhex("0300020001"))
        point = rig.plant.devices["plc"].points[1]
        _, _, pdu = await master.reply()
        assert int.from_bytes(pdu[2:], "big") == point.raw_at(rig.log.polls[-1].received_ns)


@pytest.mark.parametrize("evict", [False, True])
async def test_connections_are_limited(evict: bool) -> None:
    names = frozenset({"plc"}) if evict else frozenset()
    plant = tcp_plant(max_connections={"plc": 1}, evict_oldest=names)
    async with running(plant) as rig:
        first = await Master.on(rig)
        first.ask()
        await first.reply()
        second = await Master.on(rig)
        assert await (first if evict else second).closed()
        survivor = second if evict else first
        survivor.ask()
        await survivor.reply()


@pytest.mark.parametrize("evict", [False, True])
async def test_connections_are_limited_at_will_during_a_run(evict: bool) -> None:
    async with running(tcp_plant()) as rig:
        masters = [await Master.on(rig) for _ in range(3)]
        for master in masters:
            master.ask()
            await master.reply()
        await rig.command({"fault": "limit", "device": "plc", "connections": 1, "evict": evict})
        survivor = masters[2 if evict else 0]
        for master in masters:
            if master is not survivor:
                assert await master.closed()
        survivor.ask()
        await survivor.reply()
        late = await Master.on(rig)
        assert await (survivor if evict else late).closed()
        await rig.command({"clear": "plc"})
        for _ in range(2):
            master = await Master.on(rig)
            master.ask()
            await master.reply()


async def test_merged_replies_leave_in_one_segment() -> None:
    async with running(tcp_plant()) as rig:
        master = await Master.on(rig)
        await rig.command({"fault": "merged", "device": "plc"})
        master.ask(unit=5, tid=1)
        with pytest.raises(TimeoutError):
            await master.reply(0.1)
        master.ask(unit=5, tid=2)
        async with asyncio.timeout(5):
            segment = await master.reader.read(1_000)
        assert len(segment) == 2 * 13
        assert (segment[1], segment[14]) == (1, 2)
        master.ask(unit=5, tid=3)
        with pytest.raises(TimeoutError):
            await master.reply(0.1)
        master.ask(unit=6, tid=4)  # nothing holds the reply of this unit: what waits leaves with it
        async with asyncio.timeout(5):
            segment = await master.reader.read(1_000)
        assert (len(segment), segment[1], segment[14]) == (26, 3, 4)
        assert not rig.status()["faults"].get("pump")


async def test_what_is_no_modbus_ends_the_connection() -> None:
    async with running(tcp_plant()) as rig:
        master = await Master.on(rig)
        master.writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await master.closed()


async def test_a_master_that_asks_faster_than_delayed_replies_leave_is_cut_off() -> None:
    async with running(tcp_plant()) as rig:
        master = await Master.on(rig)
        await rig.command({"fault": "delay", "device": "plc", "ms": 60_000})
        for tid in range(PENDING_MAX + 3):
            master.ask(tid=tid)
        assert await master.closed()


async def test_hang_up_closes_instead_of_answering() -> None:
    async with running(tcp_plant()) as rig:
        master = await Master.on(rig)
        await rig.command({"fault": "hang_up", "device": "plc"})
        master.ask()
        assert await master.closed()


async def test_rtu_frames_travel_over_tcp() -> None:
    async with running(tcp_plant("rtu_over_tcp")) as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(rig))
        frame = Rtu().frame(0, 6, READ)
        writer.write(b"\xff\x00" + frame[:3])
        await asyncio.sleep(0)
        writer.write(frame[3:])
        reply = await reader.readexactly(9)
        assert reply[:3] == b"\x06\x03\x04"
        assert crc16(reply[:-2]) == reply[-2:]
        writer.close()


class _Datagram(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.received: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.received.put_nowait(data)


async def test_udp_answers_datagrams() -> None:
    async with running(tcp_plant("udp")) as rig:
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_datagram_endpoint(
            _Datagram, remote_addr=("127.0.0.1", port_of(rig))
        )
        transport.sendto(b"junk that is no Modbus")
        transport.sendto(struct.pack(">HHHB", 3, 0, 6, 5) + READ)
        async with asyncio.timeout(5):
            reply = await protocol.received.get()
        assert reply[:3] == b"\0\3\0"
        assert len(reply) == 13
        transport.close()
        await rig.command({"power": "off", "device": "plc"})
        await rig.command({"power": "off", "device": "pump"})
        assert not rig.lines["udp 127.0.0.1:0"][0].listening


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / f"{name}.crt", folder / f"{name}.key"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return cert_file, key_file


async def test_tls_asks_for_the_certificate_of_the_master(tmp_path: Path) -> None:
    certificate(tmp_path, "plc")
    cert, key = certificate(tmp_path, "master")
    files = {"cert": "plc.crt", "key": "plc.key", "ca": "master.crt"}
    async with running(tcp_plant("tls", tls=files), base_dir=tmp_path) as rig:
        context = ssl.create_default_context(cafile=str(tmp_path / "plc.crt"))
        context.load_cert_chain(cert, key)
        master = await Master.on(rig, ssl=context)
        master.ask()
        assert (await master.reply())[1] == 5
        nobody = ssl.create_default_context(cafile=str(tmp_path / "plc.crt"))
        with contextlib.suppress(OSError):
            stranger = await Master.on(rig, ssl=nobody)
            stranger.ask()
            assert await stranger.closed()


def test_tls_without_files_is_refused() -> None:
    with pytest.raises(SiteError, match="names no"):
        OutstationRig(tcp_plant("tls"))


# ---------------------------------------------------------------------------------- serial lines


BUS = "{bus: {rtu: {baudrate: 19200, parity: N}}}"
UNITS = {"m1": "line: bus, unit_id: 1", "m2": "line: bus, unit_id: 2"}


async def test_units_share_a_serial_line_that_survives_its_masters(tmp_path: Path) -> None:
    link = tmp_path / "run" / "bus"
    async with running(plant_of(BUS, UNITS), ports={"bus": [link]}) as rig:
        for _ in range(2):  # a master comes, goes, and another comes
            reader, writer = await serial_asyncio.open_serial_connection(
                url=str(link), baudrate=19200, exclusive=True
            )
            for unit in (1, 2):
                writer.write(Rtu().frame(0, unit, READ))
                async with asyncio.timeout(5):
                    reply = await reader.readexactly(9)
                assert reply[0] == unit
                assert crc16(reply[:-2]) == reply[-2:]
            writer.close()
            await asyncio.sleep(0)
        assert {poll.device for poll in rig.log.polls} == {"m1", "m2"}
        assert rig.endpoints()["m1"] == f"{link} unit 1"
    assert not link.exists()


def test_a_serial_line_without_a_port_is_refused() -> None:
    with pytest.raises(SiteError, match="no port is named"):
        OutstationRig(plant_of(BUS, UNITS))


async def mbpoll(*arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        "mbpoll", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(20):
        output, _ = await process.communicate()
    return output.decode(errors="replace")


@pytest.mark.external
async def test_mbpoll_reads_and_writes_over_tcp_and_rtu(tmp_path: Path) -> None:
    need_program("mbpoll")
    async with running(tcp_plant()) as rig:
        port = str(port_of(rig))
        tcp = ("-m", "tcp", "-p", port, "-a", "5", "-0", "-1")
        held = await mbpoll(*tcp, "-r", "0", "-t", "4:float", "-B", "-c", "1", "127.0.0.1")
        point = rig.plant.devices["plc"].points[0]
        value = point.expected(rig.log.polls[-1].received_ns)
        assert isinstance(value, float)
        assert float(held.rpartition("[0]:")[2].split()[0]) == pytest.approx(value, rel=1e-5)
        await mbpoll("-m", "tcp", "-p", port, "-a", "5", "-0", "-r", "2", "127.0.0.1", "4711")
        assert "4711" in await mbpoll(*tcp, "-r", "2", "-c", "1", "127.0.0.1")
        hole = await mbpoll(*tcp, "-r", "90", "-c", "1", "127.0.0.1")
        assert "Illegal data address" in hole
    link = tmp_path / "bus"
    async with running(plant_of(BUS, UNITS), ports={"bus": [link]}):
        rtu = ("-m", "rtu", "-b", "19200", "-P", "none", "-a", "2", "-0", "-1")
        reply = await mbpoll(*rtu, "-r", "0", "-t", "4:float", "-B", "-c", "1", str(link))
        assert 200 < float(reply.rpartition("[0]:")[2].split()[0]) < 250


# ---------------------------------------------------------------------------------- commands


async def test_the_control_socket_takes_commands_and_explains_refusals(tmp_path: Path) -> None:
    path = tmp_path / "control"
    log = tmp_path / "polls.jsonl"
    said: list[dict[str, Any]] = []

    async def play(rig: OutstationRig) -> None:
        messages: tuple[dict[str, Any], ...] = (
            {"status": True},
            {"fault": "silence", "device": "plc", "seconds": 30},
            {"status": True},
            {"clear": "plc"},
            {"reset": "plc"},
            {"journal": True},
            {"fault": "silence", "device": "nobody"},
            {"fault": "earthquake", "device": "plc"},
            {"fault": "silence"},
            {"power": "maybe", "device": "plc"},
            {"power": "off", "device": "nobody"},
            {"dance": True},
        )
        said.extend([await send(path, message) for message in messages])
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"no json\n[1]\n")
        said.extend([json.loads(await reader.readline()) for _ in range(2)])
        writer.close()
        master = await Master.on(rig)
        master.ask()
        await master.reply()

    rig = OutstationRig(tcp_plant(), log=PollLog(log))
    await run_rig(rig, path, 0.2, play)
    status, _, faulted, *_ = said
    assert status["devices"] == 2
    assert faulted["faults"] == {"plc": "silence"}
    assert [answer["ok"] for answer in said] == [True] * 6 + [False] * 8
    assert [item[2] for item in said[5]["journal"]][:2] == ["fault silence", "clear"]
    assert "no outstation named nobody" in said[6]["error"]
    assert "there are" in said[7]["error"]
    assert said[8]["error"] == "'device' is missing"
    assert not path.exists()
    assert len(list(read_polls(log))) == 1


async def test_logs_are_disturbed_and_told_of_through_the_control_socket(tmp_path: Path) -> None:
    path = tmp_path / "control"
    said: list[dict[str, Any]] = []

    async def play(rig: OutstationRig) -> None:
        now = time.time_ns()
        span = {"from": now - 10**12, "to": now + 10**12}
        messages: tuple[dict[str, Any], ...] = (
            {"recorded": "plc", **span},
            {"clock": {"offset": 90}, "device": "plc"},
            {"log": "stop", "device": "plc", "seconds": 0.02},
            {"log": "clear", "device": "plc"},
            {"recorded": "plc", **span, "at": now},
            {"power": "on", "device": "plc", "log": "lose"},
            {"recorded": "pump", **span},
            {"log": "dance", "device": "plc"},
            {"clock": {"zone": 1}, "device": "plc"},
            {"power": "on", "device": "plc", "log": "burn"},
        )
        said.extend([await send(path, message) for message in messages])
        async with asyncio.timeout(5):
            while all(item.what != "log go" for item in rig.journal):
                await asyncio.sleep(0.01)  # paces: the rig's own timer ends what it began

    plant = plant_of(
        "{}",
        {
            "plc": "line: {tcp: {host: 127.0.0.1, port: 0}}, unit_id: 5, "
            "windback: {method: ring, address: 100, resolution: 100ms, columns: [v]}",
            "pump": "line: {tcp: {host: 127.0.0.1, port: 0}}, unit_id: 6",
        },
        logs={"plc": LogSettings(age_ns=10**10)},
    )
    rig = OutstationRig(plant)
    await run_rig(rig, path, 0, play)
    assert [answer["ok"] for answer in said] == [True] * 6 + [False] * 4
    (first, last) = said[0]["logs"]["ring"]["runs"][0]
    assert 97 <= (last - first) // 10**8 <= 200
    assert said[0]["logs"]["ring"]["points"] == ["v"]
    assert said[4]["logs"]["ring"]["runs"] == said[0]["logs"]["ring"]["runs"]
    assert "pump keeps no log" in said[6]["error"]
    assert "a log can't dance" in said[7]["error"]
    told = [item.what for item in rig.journal if item.device == "plc"]
    told.remove("log go")  # whenever its time was over
    assert told == ["clock offset 90", "log stop", "log clear", "power on"]


def test_a_log_that_cannot_be_is_told_with_its_device() -> None:
    windback = "windback: {method: ring, address: 65000, columns: [v]}"
    line = "line: {tcp: {host: 127.0.0.1, port: 0}}"
    with pytest.raises(SiteError, match="device plc: a ring of 1000 records doesn't fit"):
        OutstationRig(plant_of("{}", {"plc": f"{line}, {windback}"}))


@pytest.mark.parametrize(
    ("profile", "asked", "told"),
    [
        ("generic/plc-ring", "0303e80001", "03025742"),
        ("schneider/ion-recorder", "030bbb0001", "03020002"),
        ("cet/pmc-53a", "034e200002", "030400000000"),
        ("electro-industries/shark-200", "031193 0001", "03020003"),
        ("cameron/scanner-2000", "0300200001", "0300"),
        ("satec/pm172", "036e0c0001", "03020001"),
    ],
)
def test_an_outstation_of_a_bare_profile_shows_its_log(profile: str, asked: str, told: str) -> None:
    plant = profile_plant(load(profile), parse_listen("tcp:127.0.0.1:0"))
    rig = OutstationRig(plant)
    unit = rig.stations["device"].unit
    assert unit.answer(bytes.fromhex(asked), time.time_ns()).hex() == told


async def test_what_a_timeline_does_to_devices_is_understood_by_the_outstations() -> None:
    rig = OutstationRig(tcp_plant())
    tried = [("exception", {"code": 4}), ("power_off", {"log": "lose"}), ("refuse", {})]
    await rig.start()
    try:
        for word, options in tried:
            for message in messages(word, "plc", options):
                assert message is not None
                assert (await rig.command(message))["ok"], message
        begin, _ = messages("busy", "ghost", {})
        assert "no outstation named ghost" in (await rig.command(begin))["error"]
    finally:
        await rig.stop()
    assert [item.what for item in rig.journal] == [
        *("fault exception", "clear", "power off", "power on", "fault refuse", "clear")
    ]


async def test_one_outstation_runs_from_a_shipped_profile() -> None:
    seen: list[bytes] = []

    async def play(rig: OutstationRig) -> None:
        master = await Master.on(rig)
        master.ask(bytes.fromhex("0400000002"), unit=7)
        seen.append((await master.reply())[2])

    await run_profile("eastron/sdm630", "tcp:127.0.0.1:0", 7, seconds=0, ready=play)
    volts = struct.unpack(">f", seen[0][2:])[0]
    assert 200 < volts < 250


@pytest.mark.parametrize("text", ["tcp:127.0.0.1", "smoke:1", "rtu:", "tcp::5", "udp:h:99999"])
def test_a_listen_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(SiteError, match="write"):
        parse_listen(text)


async def test_a_port_in_use_leaves_nothing_open() -> None:
    async with running(tcp_plant()) as rig:
        taken = port_of(rig)
        second = OutstationRig(
            profile_plant(load("eastron/sdm120"), parse_listen(f"tcp:127.0.0.1:{taken}"))
        )
        with pytest.raises(OSError, match="in use"):
            await second.start()
        assert not any(port.listening for ports in second.lines.values() for port in ports)


async def test_five_hundred_outstations_run_in_one_process() -> None:
    devices = {
        f"d{n}": f"line: {{tcp: {{hosts: [127.0.{n // 250}.{n % 250 + 1}], port: 0}}}}"
        for n in range(500)
    }
    # One line each: a port of 0 would otherwise make devices of one host share a socket.
    async with running(plant_of("{}", devices)) as rig:
        assert len(rig.lines) == 500
        for ports in list(rig.lines.values())[::100]:
            port = ports[0]
            assert hasattr(port, "host")
            reader, writer = await asyncio.open_connection(port.host, port.port)
            writer.write(struct.pack(">HHHB", 1, 0, 6, 1) + READ)
            assert len(await reader.readexactly(13)) == 13
            writer.close()
