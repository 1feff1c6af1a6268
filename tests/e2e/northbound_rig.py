"""A real MQTT broker, a real PostgreSQL, and clients of theirs as judges."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sparkplug_schema import parse

from .plant import free_ports

USER, PASSWORD = "gateway", "se cret"
START_S: Final = 20.0
POSTGRES_BIN: Final = "/usr/lib/postgresql"
STATE: Final = "spBv1.0/STATE/scada"


def missing() -> str:
    """Which tool isn't there; empty when all are."""
    tools = ("mosquitto", "mosquitto_sub", "mosquitto_pub", "mosquitto_passwd", "psql")
    absent = [tool for tool in tools if tool_path(tool) is None]
    absent += [tool for tool in ("initdb", "postgres") if tool_path(tool) is None]
    return ", ".join(absent)


def need_tools() -> None:
    """Skip where tools are missing; fail where .ci/run should have installed them."""
    if not (absent := missing()):
        return
    if os.environ.get("HOTPAIR_CI") == "1":
        pytest.fail(f"missing: {absent}")
    pytest.skip(f"missing: {absent}")


def tool_path(tool: str) -> str | None:
    """Where a tool lies; Debian keeps those of a server away from PATH."""
    places = [os.environ.get("PATH", ""), "/usr/sbin"]
    places += [str(path) for path in sorted(Path(POSTGRES_BIN).glob("*/bin"), reverse=True)]
    return shutil.which(tool, path=":".join(places))


def make_server_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate of a server on loopback: (certificate, key)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    files = folder / "server.crt", folder / "server.key"
    files[0].write_bytes(certificate.public_bytes(pem))
    files[1].write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


class Server(ABC):
    """A process that is started, killed and started again."""

    def __init__(self, log: Path, port: int) -> None:
        self._log = log
        self.port = port
        self.process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> tuple[list[str], str | None]:
        """What is started, and as which user: None for that of the test."""

    def begin(self) -> subprocess.Popen[bytes]:
        command, user = self.command()
        with self._log.open("ab") as log:
            return subprocess.Popen(
                command, stdout=log, stderr=log, user=user, extra_groups=[] if user else None
            )

    async def start(self) -> None:
        """Start it and wait until it takes connections."""
        self.process = self.begin()
        async with asyncio.timeout(START_S):
            while not await self.answers():
                assert self.process.poll() is None, self._log.read_text()
                await asyncio.sleep(0.05)  # paces: a port that opens is no event

    async def answers(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True

    def kill(self) -> None:
        """As a loss of power: at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


class Broker(Server):
    """mosquitto with TLS and a password; what it retained is gone when it is killed."""

    def __init__(self, folder: Path, certificate: Path, key: Path) -> None:
        super().__init__(folder / "mosquitto.log", free_ports(1)[0])
        self.ca = certificate
        passwords = folder / "mosquitto.pw"
        passwords.touch(0o600)
        program = tool_path("mosquitto_passwd")
        assert program is not None
        subprocess.run([program, "-b", str(passwords), USER, PASSWORD], check=True)
        self._file = folder / "mosquitto.conf"
        # `user root`: this process may be root, and mosquitto then couldn't read our files.
        self._file.write_text(
            f"listener {self.port} 127.0.0.1\npassword_file {passwords}\nuser root\n"
            f"allow_anonymous false\ncertfile {certificate}\nkeyfile {key}\npersistence false\n"
            "max_queued_messages 0\nlog_type error\nlog_type warning\nlog_type notice\n"
        )

    def command(self) -> tuple[list[str], str | None]:
        program = tool_path("mosquitto")
        assert program is not None
        return [program, "-c", str(self._file)], None

    def client(self, *more: str) -> list[str]:
        """The arguments of mosquitto's own clients."""
        return [
            *("-h", "localhost", "-p", str(self.port), "-u", USER, "-P", PASSWORD),
            *("--cafile", str(self.ca), "-V", "311", *more),
        ]

    async def publish(self, topic: str, payload: bytes, retain: bool = False) -> None:
        """By mosquitto_pub."""
        process = await asyncio.create_subprocess_exec(
            "mosquitto_pub",
            *self.client("-t", topic, "-s", "-q", "1", *(["-r"] if retain else [])),
            stdin=asyncio.subprocess.PIPE,
        )
        await process.communicate(payload)
        assert process.returncode == 0

    async def host(self, online: bool, at_ms: int) -> None:
        """What the primary host says of itself."""
        text = f'{{"online": {str(online).lower()}, "timestamp": {at_ms}}}'
        await self.publish(STATE, text.encode(), retain=True)


@dataclass
class Heard:
    """A message that mosquitto_sub heard."""

    verb: str
    device: str
    payload: Any

    @property
    def bd_seq(self) -> int:
        found = [m.long_value for m in self.payload.metrics if m.name == "bdSeq"]
        return int(found[0])


@dataclass
class Listener:
    """mosquitto_sub on everything of Sparkplug, with what it heard in order."""

    broker: Broker
    heard: list[Heard] = field(default_factory=list)
    _process: asyncio.subprocess.Process | None = None
    _reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Subscribe, and wait until that is done: then a retained message of our own came."""
        await self.broker.publish("spBv1.0/ready", b"\x00", retain=True)
        self._process = await asyncio.create_subprocess_exec(
            "mosquitto_sub",
            *self.broker.client("-t", "spBv1.0/#", "-q", "1", "-F", "%t %x"),
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 24,
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(START_S):
            while not (await self._process.stdout.readline()).startswith(b"spBv1.0/ready"):
                pass
        self._reading = asyncio.create_task(self._read(self._process.stdout))

    async def _read(self, lines: asyncio.StreamReader) -> None:
        async for line in lines:
            topic, _, digits = line.decode().strip().partition(" ")
            parts = topic.split("/")
            if len(parts) >= 4:
                device = parts[4] if len(parts) > 4 else ""
                self.heard.append(Heard(parts[2], device, parse(bytes.fromhex(digits))))

    async def stop(self) -> None:
        if self._process is not None:
            if self._process.returncode is None:
                self._process.kill()
            await self._process.wait()
        if self._reading is not None:
            await self._reading

    async def until(self, verb: str, after: int = 0, within_s: float = 20.0) -> int:
        """Wait for a message; where it stands, plus one."""
        async with asyncio.timeout(within_s):
            while True:
                for index, message in enumerate(self.heard[after:], after):
                    if message.verb == verb:
                        return index + 1
                await asyncio.sleep(0.02)  # paces: lines of another process


class Database(Server):
    """PostgreSQL with TLS and a password."""

    def __init__(self, folder: Path, certificate: Path, key: Path) -> None:
        super().__init__(folder / "postgres.log", free_ports(1)[0])
        self.ca = certificate
        # A server of its own user: pytest's folders are closed to it.
        self.folder = Path(tempfile.mkdtemp(prefix="hotpair-postgres-"))
        self._user = None
        if os.getuid() == 0:
            self._user = "postgres"
            found = pwd.getpwnam(self._user)
            os.chown(self.folder, found.pw_uid, found.pw_gid)
        for file in (certificate, key):
            copy = self.folder / file.name
            shutil.copy(file, copy)
            copy.chmod(0o600)
            if self._user is not None:
                os.chown(copy, found.pw_uid, found.pw_gid)
        password = self.folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        program = tool_path("initdb")
        assert program is not None
        subprocess.run(
            [
                *(program, "-D", str(self.folder / "data"), "-U", USER, "-A", "scram-sha-256"),
                *("--pwfile", str(password), "-E", "UTF8", "--no-locale", "--no-sync"),
            ],
            check=True,
            user=self._user,
            extra_groups=[] if self._user else None,
            stdout=subprocess.DEVNULL,
            cwd=self.folder,
        )

    def command(self) -> tuple[list[str], str | None]:
        program = tool_path("postgres")
        assert program is not None
        options = {
            "port": str(self.port),
            "listen_addresses": "localhost",
            "unix_socket_directories": "",
            "ssl": "on",
            "ssl_cert_file": str(self.folder / "server.crt"),
            "ssl_key_file": str(self.folder / "server.key"),
            "fsync": "off",
            "max_connections": "20",
            "shared_buffers": "16MB",
        }
        told = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        return [program, "-D", str(self.folder / "data"), *told], self._user

    async def answers(self) -> bool:
        return await super().answers() and (await self._psql("SELECT 1"))[0] == 0

    def kill(self) -> None:
        """The postmaster and all its children, and the file that tells of it."""
        super().kill()

    async def _psql(self, query: str) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            *("psql", "-X", "-A", "-t", "-F", "\t", "-c", query),
            f"host=localhost port={self.port} user={USER} dbname=postgres sslmode=verify-full"
            f" sslrootcert={self.ca}",
            env={**os.environ, "PGPASSWORD": PASSWORD, "PGTZ": "UTC"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()

    async def query(self, query: str) -> list[list[str]]:
        """What psql says: the cells of each row."""
        status, out, err = await self._psql(query)
        assert status == 0, err
        return [line.split("\t") for line in out.splitlines()]

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def servers(folder: Path) -> Iterator[tuple[Broker, Database]]:
    """Both, made but not started; removed whatever happens."""
    need_tools()
    certificate, key = make_server_certificate(folder)
    broker, database = Broker(folder, certificate, key), Database(folder, certificate, key)
    try:
        yield broker, database
    finally:
        broker.kill()
        database.remove()


def give_secrets(folder: Path, ca: Path) -> None:
    """What each node must have beside its site.yaml."""
    (folder / "feeds.pw").write_text(PASSWORD + "\n")
    shutil.copy(ca, folder / "ca.pem")


def northbound(broker: Broker | None, database: Database | None) -> str:
    """The section of site.yaml."""
    text = "northbound:\n"
    secrets = f"user: {USER}, password: {{file: feeds.pw}}, ca: ca.pem"
    if broker is not None:
        text += (
            f'  mqtt: {{broker: "mqtts://localhost:{broker.port}", group: plant, '
            f"primary_host: scada, {secrets}}}\n"
        )
    if database is not None:
        text += (
            f'  postgres: {{server: "localhost:{database.port}", database: postgres, {secrets}}}\n'
        )
    return text
