"""How well this server serves: ServiceLevel and Mode, by one table that both nodes share.

OPC 10000-4 section 6.6.2.4.2 has the ranges: 0 maintenance, 1 no data, 2 to 199 degraded, 200 to
255 healthy, and asks that all servers of a set use the same algorithm. `BANDS` is total over what
is known; within a band the share of devices that answer decides.

A Main is always above a Standby, which serves no values. A lone Main says 200 and more, so that
clients that take less for unhealthy keep it; OPC 10000-5 section 6.3.15 wants it degraded where
the other server is a warm backup, which `service_level_alone: degraded` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from itertools import product
from typing import Final, NamedTuple

from gateway.pair.words import Role

HEALTHY: Final = 200


class Duty(StrEnum):
    """What is under way with this server."""

    SERVING = "serving"
    LEAVING = "leaving"
    CLOSING = "closing"
    OUT_OF_SERVICE = "out of service"


class Backup(StrEnum):
    """Who would take over from a Main; of a Standby, whether it itself would."""

    NO_PAIR = "no pair"
    READY = "ready"
    ABSENT = "absent"
    ABSENT_DEGRADED = "absent, and that is degraded"


class Health(StrEnum):
    """How many of the devices that shall be polled answer."""

    ALL = "all"
    MOST = "at least half"
    FEW = "less than half"
    NONE = "none"


class Mode(IntEnum):
    """RedundantServerMode (OPC 10000-5 section 12.44)."""

    PRIMARY_WITH_BACKUP = 0
    PRIMARY_ONLY = 1
    BACKUP_READY = 2
    BACKUP_NOT_READY = 3


class Band(NamedTuple):
    """The levels of one situation, both included."""

    low: int
    high: int


class Row(NamedTuple):
    """Every situation in the product of its sets; the first row that fits holds."""

    duty: tuple[Duty, ...]
    role: tuple[Role, ...]
    backup: tuple[Backup, ...]
    health: tuple[Health, ...]
    band: Band


_ANY_ROLE: Final = tuple(Role)
_ANY_BACKUP: Final = tuple(Backup)
_ANY_HEALTH: Final = tuple(Health)
_COVERED: Final = (Backup.NO_PAIR, Backup.READY)
_LONE: Final = (Backup.ABSENT,)
_LONE_DEGRADED: Final = (Backup.ABSENT_DEGRADED,)
_SERVING: Final = (Duty.SERVING,)
_MAIN: Final = (Role.MAIN,)

ROWS: Final[tuple[Row, ...]] = (
    Row((Duty.OUT_OF_SERVICE,), _ANY_ROLE, _ANY_BACKUP, _ANY_HEALTH, Band(0, 0)),
    Row((Duty.CLOSING,), _ANY_ROLE, _ANY_BACKUP, _ANY_HEALTH, Band(1, 1)),
    Row(tuple(Duty), (Role.STARTING,), _ANY_BACKUP, _ANY_HEALTH, Band(1, 1)),
    # It still has values, and whoever has somewhere to go goes.
    Row((Duty.LEAVING,), _ANY_ROLE, _ANY_BACKUP, _ANY_HEALTH, Band(2, 2)),
    Row(_SERVING, (Role.SYNCED,), (Backup.READY,), _ANY_HEALTH, Band(90, 90)),
    Row(_SERVING, (Role.SYNCING, Role.SYNCED), _ANY_BACKUP, _ANY_HEALTH, Band(50, 50)),
    Row(_SERVING, _MAIN, _COVERED, (Health.ALL,), Band(255, 255)),
    Row(_SERVING, _MAIN, _COVERED, (Health.MOST,), Band(228, 254)),
    Row(_SERVING, _MAIN, _LONE, (Health.ALL,), Band(227, 227)),
    Row(_SERVING, _MAIN, _LONE, (Health.MOST,), Band(200, 226)),
    Row(_SERVING, _MAIN, _LONE_DEGRADED, (Health.ALL,), Band(199, 199)),
    Row(_SERVING, _MAIN, _LONE_DEGRADED, (Health.MOST,), Band(172, 198)),
    Row(_SERVING, _MAIN, _ANY_BACKUP, (Health.FEW,), Band(101, 171)),
    Row(_SERVING, _MAIN, _ANY_BACKUP, (Health.NONE,), Band(100, 100)),
)


def rows_of(duty: Duty, role: Role, backup: Backup, health: Health) -> list[Row]:
    """The rows that fit; the first of them holds."""
    cell = (duty, role, backup, health)
    return [row for row in ROWS if all(x in among for x, among in zip(cell, row[:4], strict=True))]


BANDS: Final[dict[tuple[Duty, Role, Backup, Health], Band]] = {
    cell: rows_of(*cell)[0].band for cell in product(Duty, Role, Backup, Health)
}


@dataclass(frozen=True, slots=True)
class Situation:
    """What a level rests on.

    `answering` of `devices` answer, those under maintenance left out; before its first answer or
    failure a device counts as answering.
    """

    role: Role
    duty: Duty = Duty.SERVING
    backup: Backup = Backup.NO_PAIR
    answering: int = 0
    devices: int = 0

    @property
    def health(self) -> Health:
        """The share of devices, as the table has it."""
        if self.answering >= self.devices:
            return Health.ALL
        if self.answering <= 0:
            return Health.NONE
        return Health.MOST if 2 * self.answering >= self.devices else Health.FEW

    @property
    def level(self) -> int:
        """ServiceLevel, 0 to 255."""
        low, high = BANDS[self.duty, self.role, self.backup, self.health]
        if low == high:
            return low
        # Between nobody and everybody, in the half that the band stands for.
        share = self.answering / self.devices
        part = 2 * share - 1 if self.health is Health.MOST else 2 * share
        return low + int((high - low) * part)

    @property
    def mode(self) -> Mode:
        """Mode of a pair whose other server is a warm backup."""
        if self.role is Role.MAIN:
            ready = self.backup in (Backup.READY, Backup.NO_PAIR)
            return Mode.PRIMARY_WITH_BACKUP if ready else Mode.PRIMARY_ONLY
        ready = self.role is Role.SYNCED and self.backup is Backup.READY
        in_service = self.duty is Duty.SERVING
        return Mode.BACKUP_READY if ready and in_service else Mode.BACKUP_NOT_READY
