"""What a site says to a driver: settings as files have them, and specs as the program uses them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import Field, model_validator

from gateway.model import Access, DataType, Duration, Settings, Value


class Range(Settings):
    """Linear scaling between raw and engineering units; without `raw` it only declares the span."""

    raw: tuple[float, float] | None = None
    eu: tuple[float, float]

    @model_validator(mode="after")
    def _spans(self) -> Range:
        if self.raw is not None and self.raw[0] == self.raw[1]:
            raise ValueError("range.raw needs two different ends")
        if self.eu[0] == self.eu[1]:
            raise ValueError("range.eu needs two different ends")
        return self


class PointSettings(Settings):
    """What a point may say whatever its protocol; a driver's own model adds the address."""

    description: str = ""
    unit: str = Field("", description="engineering unit, such as m3/h")
    access: Access = Access.READ
    scan: str | None = Field(None, description="scan class; the device's when absent")
    range: Range | None = None
    deadband: float | str | None = Field(
        None, description="smallest change worth keeping: engineering units, or '1%' of range.eu"
    )
    max_interval_ns: Duration | None = Field(
        None, alias="max_interval", description="keep a sample this often though nothing changed"
    )
    min: float | None = Field(None, description="smallest value a client may write")
    max: float | None = Field(None, description="largest value a client may write")
    enum: dict[int, str] | None = None
    publish_as: DataType | None = Field(None, description="published type; must hold every value")
    renamed_from: str | None = Field(None, description="the name whose history goes on here")
    pulse_ns: Duration | None = Field(
        None, alias="pulse", description="a written true returns to false after this long"
    )


class DeviceSettings(Settings):
    """What a device may say whatever its protocol."""

    driver: str
    description: str = ""
    area: str = Field(
        "", description="folder path in the OPC UA address space, such as plant/intake"
    )
    enabled: bool = True
    scan: str = "normal"
    profile: str | None = None
    include: tuple[str, ...] = Field(
        (), max_length=1000, description="points of the profile to take, `*` allowed; all if absent"
    )
    windback: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class PointSpec:
    """A point as the program uses it: all defaults applied, `number` valid in one revision.

    `deadband` is absolute in engineering units. `settings` is the driver's own point model.
    """

    number: int
    device: str
    name: str
    data_type: DataType
    scan_class: str
    access: Access
    settings: Any
    unit: str = ""
    description: str = ""
    eu_range: tuple[float, float] | None = None
    enum: Mapping[int, str] | None = None
    deadband: float = 0.0
    max_interval_ns: int | None = None
    minimum: float | None = None
    maximum: float | None = None
    pulse_ns: int | None = None

    @property
    def id(self) -> str:
        return f"{self.device}/{self.name}"


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """A device as the program uses it; `scan_classes` maps each class it uses to its period in ns.

    A subscribed device has the one class `subscription`; its period is the publishing interval.
    """

    name: str
    driver: str
    line: str
    settings: Any
    points: tuple[PointSpec, ...]
    scan_classes: Mapping[str, int]
    profile: Any = None
    subscribed: bool = False


@dataclass(frozen=True, slots=True)
class LineSpec:
    """A line with the devices on it; `port` is where this node's serial port is, if it has one."""

    name: str
    driver: str
    settings: Any
    devices: tuple[DeviceSpec, ...]
    port: str | None = None


SUBSCRIPTION_CLASS = "subscription"


class Observation(NamedTuple):
    """One value as the device gave it: `point` is the PointSpec's number, time in ns UTC."""

    point: int
    time_ns: int
    value: Value
    status: int
