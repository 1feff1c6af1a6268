"""What a site says about Modbus lines and devices. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from pydantic import Field, field_validator, model_validator

from gateway.driver import DeviceSettings, DeviceSpec
from gateway.model import NS_PER_MS, NS_PER_S, Duration, Settings
from profiles.schema import Area, Defaults, Limits, Profile, Quirks, SunSpec

TIMEOUT_MIN_NS: Final = 10 * NS_PER_MS
TIMEOUT_MAX_NS: Final = 60 * NS_PER_S


class Tcp(Settings):
    """Modbus/TCP; with two hosts they are tried in turn and the one that works is kept."""

    host: str | None = None
    hosts: tuple[str, ...] = Field((), max_length=4)
    port: int = Field(502, ge=1, le=65535)

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> Tcp:
        if (self.host is None) == (not self.hosts):
            raise ValueError("write either `host: 10.0.0.11` or `hosts: [10.0.0.11, 10.0.2.11]`")
        return self

    @property
    def addresses(self) -> tuple[str, ...]:
        return self.hosts if self.host is None else (self.host,)


class Tls(Tcp):
    """Modbus/TCP Security (MB-TCP-Security V2.1): TLS 1.2 or later, both sides show certificates.

    Files are PEM, relative to the folder of the configuration.
    """

    port: int = Field(802, ge=1, le=65535)
    ca: str = Field(description="certificate of the authority, or of the device itself")
    cert: str
    key: str
    server_name: str | None = Field(
        None, description="name in the device's certificate, when it isn't the host"
    )


class Rs485(Settings):
    """How the kernel switches the transmitter of an RS-485 port (TIOCSRS485)."""

    rts_level_for_tx: bool = True
    rts_level_for_rx: bool = False
    delay_before_tx_ms: int = Field(0, ge=0, le=100)
    delay_before_rx_ms: int = Field(0, ge=0, le=100)


class Rtu(Settings):
    """Modbus RTU on a serial port; the port itself is named in node.yaml under `ports:`."""

    baudrate: int = Field(19200, ge=300, le=4_000_000)
    parity: Literal["N", "E", "O"] = "E"
    stopbits: Literal[1, 2] = 1
    bytesize: Literal[8] = 8
    rs485: bool | Rs485 = False
    echo: bool = Field(False, description="the adapter hands back what is sent")


class ModbusLine(Settings):
    """A line: what units share, and how it is reached."""

    tcp: Tcp | None = None
    tls: Tls | None = None
    udp: Tcp | None = None
    rtu: Rtu | None = None
    rtu_over_tcp: Tcp | None = None
    gap_ns: Duration | None = Field(
        None, alias="gap", description="silence between two frames; serial default 3.5 characters"
    )
    listen_ns: Duration = Field(
        500 * NS_PER_MS,
        alias="listen",
        description="how long a serial session listens for another master before it speaks",
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> ModbusLine:
        kinds = ("tcp", "tls", "udp", "rtu", "rtu_over_tcp")
        if sum(getattr(self, kind) is not None for kind in kinds) != 1:
            raise ValueError(f"a Modbus line is exactly one of {', '.join(kinds)}")
        if self.gap_ns is not None and self.gap_ns > NS_PER_S:
            raise ValueError("`gap:` is at most 1s")
        if self.listen_ns > 60 * NS_PER_S:
            raise ValueError("`listen:` is at most 60s")
        return self

    @property
    def network(self) -> Tcp | None:
        return self.tcp or self.tls or self.udp or self.rtu_over_tcp

    @property
    def is_rtu_framed(self) -> bool:
        """Whether frames carry no transaction id, so that answers can be mistaken."""
        return self.rtu is not None or self.rtu_over_tcp is not None


class Heartbeat(Settings):
    """A register that counts 1..65535, or a coil that toggles, for the device's watchdog."""

    register_: Literal[Area.HOLDING, Area.COIL] = Field(Area.HOLDING, alias="register")
    address: int | str
    period_ns: Duration = Field(NS_PER_S, alias="period")

    @field_validator("period_ns")
    @classmethod
    def _bounded(cls, value: int) -> int:
        if not 50 * NS_PER_MS <= value <= 3600 * NS_PER_S:
            raise ValueError("`period:` is between 50ms and 1h")
        return value


class ModbusDevice(DeviceSettings):
    """A unit on a line. `limits`, `quirks` and `defaults` override the profile key by key."""

    line: str | ModbusLine
    unit_id: int = Field(1, ge=0, le=255)
    timeout_ns: Duration = Field(NS_PER_S, alias="timeout")
    retries: int = Field(1, ge=0, le=5, description="of reads; a write is never repeated")
    max_connections: int = Field(1, ge=1, le=16, description="one is used")
    defaults: Defaults | None = None
    limits: Limits | None = None
    quirks: Quirks | None = None
    sunspec: SunSpec | None = None
    heartbeat: Heartbeat | None = None

    @field_validator("timeout_ns")
    @classmethod
    def _bounded(cls, value: int) -> int:
        if not TIMEOUT_MIN_NS <= value <= TIMEOUT_MAX_NS:
            raise ValueError("`timeout:` is between 10ms and 60s")
        return value


@dataclass(frozen=True, slots=True)
class Effective:
    """What holds for a device: its own words over its profile's over the defaults."""

    defaults: Defaults
    limits: Limits
    quirks: Quirks
    sunspec: SunSpec


_M = TypeVar("_M", bound=Settings)


def _over(base: _M, override: _M | None) -> _M:
    if override is None:
        return base
    said: dict[str, Any] = {name: getattr(override, name) for name in override.model_fields_set}
    return base.model_copy(update=said)


def effective(device: DeviceSpec) -> Effective:
    """Defaults, limits and quirks of a device, overrides applied key by key."""
    own: ModbusDevice = device.settings
    profile: Profile | None = device.profile
    return Effective(
        _over(profile.defaults if profile else Defaults(), own.defaults),
        _over(profile.limits if profile else Limits(), own.limits),
        _over(profile.quirks if profile else Quirks(), own.quirks),
        _over((profile.sunspec if profile else None) or SunSpec(), own.sunspec),
    )
