"""ServiceLevel: total, within the ranges of OPC 10000-4 section 6.6.2.4.2, and ordered."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.pair.words import Role
from gateway.server.service_level import (
    BANDS,
    HEALTHY,
    ROWS,
    Backup,
    Duty,
    Health,
    Mode,
    Situation,
    rows_of,
)

COUNTS = st.integers(0, 2_000).flatmap(
    lambda devices: st.tuples(st.integers(0, devices), st.just(devices))
)


@st.composite
def situations(
    draw: st.DrawFn, roles: tuple[Role, ...] = tuple(Role), duties: tuple[Duty, ...] = tuple(Duty)
) -> Situation:
    answering, devices = draw(COUNTS)
    return Situation(
        draw(st.sampled_from(roles)),
        draw(st.sampled_from(duties)),
        draw(st.sampled_from(Backup)),
        answering,
        devices,
    )


def test_the_table_is_total_and_every_row_is_used() -> None:
    assert set(BANDS) == set(product(Duty, Role, Backup, Health))
    used = {rows_of(*cell)[0] for cell in BANDS}
    assert used == set(ROWS)


@given(situations())
def test_a_level_is_a_byte_of_its_band(situation: Situation) -> None:
    low, high = BANDS[situation.duty, situation.role, situation.backup, situation.health]
    assert 0 <= low <= situation.level <= high <= 255


@given(situations(roles=(Role.STARTING, Role.SYNCING, Role.SYNCED)))
def test_a_standby_is_never_healthy(situation: Situation) -> None:
    assert situation.level < HEALTHY


@given(
    situations(roles=(Role.MAIN,), duties=(Duty.SERVING,)),
    situations(roles=(Role.STARTING, Role.SYNCING, Role.SYNCED)),
)
def test_a_serving_main_is_above_every_standby(main: Situation, standby: Situation) -> None:
    assert main.level > standby.level, "clients would move to where there are no values"


@given(situations(roles=(Role.MAIN,), duties=(Duty.SERVING,)))
def test_a_main_that_reaches_half_of_the_field_is_healthy_unless_told_otherwise(
    main: Situation,
) -> None:
    most = main.health in (Health.ALL, Health.MOST)
    assert (main.level >= HEALTHY) is (most and main.backup is not Backup.ABSENT_DEGRADED)


@given(situations(), st.integers(0, 2_000))
def test_a_device_that_answers_never_lowers_the_level(situation: Situation, more: int) -> None:
    answering = min(situation.devices, situation.answering + more)
    better = Situation(
        situation.role, situation.duty, situation.backup, answering, situation.devices
    )
    assert better.level >= situation.level


@given(situations(duties=(Duty.LEAVING, Duty.CLOSING, Duty.OUT_OF_SERVICE)))
def test_whoever_goes_drops_below_a_ready_standby(situation: Situation) -> None:
    assert situation.level < Situation(Role.SYNCED, backup=Backup.READY).level
    assert (situation.level == 0) is (situation.duty is Duty.OUT_OF_SERVICE)


@pytest.mark.parametrize(
    ("situation", "level", "mode"),
    [
        (Situation(Role.MAIN), 255, Mode.PRIMARY_WITH_BACKUP),
        (Situation(Role.MAIN, backup=Backup.READY), 255, Mode.PRIMARY_WITH_BACKUP),
        (Situation(Role.MAIN, backup=Backup.ABSENT), 227, Mode.PRIMARY_ONLY),
        (Situation(Role.MAIN, backup=Backup.ABSENT_DEGRADED), 199, Mode.PRIMARY_ONLY),
        (Situation(Role.MAIN, backup=Backup.READY, answering=3, devices=4), 241, Mode(0)),
        (Situation(Role.MAIN, backup=Backup.READY, answering=1, devices=4), 136, Mode(0)),
        (Situation(Role.MAIN, backup=Backup.ABSENT, answering=0, devices=4), 100, Mode(1)),
        (Situation(Role.SYNCED, backup=Backup.READY), 90, Mode.BACKUP_READY),
        (Situation(Role.SYNCED, Duty.OUT_OF_SERVICE, Backup.READY), 0, Mode.BACKUP_NOT_READY),
        (Situation(Role.SYNCED, backup=Backup.ABSENT), 50, Mode.BACKUP_NOT_READY),
        (Situation(Role.SYNCING, backup=Backup.ABSENT), 50, Mode.BACKUP_NOT_READY),
        (Situation(Role.STARTING), 1, Mode.BACKUP_NOT_READY),
        (Situation(Role.MAIN, Duty.LEAVING, Backup.READY), 2, Mode.PRIMARY_WITH_BACKUP),
        (Situation(Role.MAIN, Duty.CLOSING, Backup.READY), 1, Mode.PRIMARY_WITH_BACKUP),
    ],
)
def test_what_the_table_says(situation: Situation, level: int, mode: Mode) -> None:
    assert (situation.level, situation.mode) == (level, mode)
