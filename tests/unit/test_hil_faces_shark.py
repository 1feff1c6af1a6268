"""A session of the Shark 200, from the manual's worked example and block definitions."""

from __future__ import annotations

from typing import Any

from log_world import T0, Logged, S

from hil.settings import LogSettings

M = 60 * S
VALUES = {"volts_an": 125.33361053466797, "volts_bn": 125.33807373046875, "volts_cn": 125.33135986}
RECORD = [0x42FA, 0xAACF, 0x42FA, 0xAD18, 0x42FA, 0xA9A8]
STATUS, WINDOW, CONTROL, SESSION = 0xC757, 0xC351, 0xC350, 0xC34F


def shark(capacity: int = 256, **log: Any) -> Logged:
    said = {"id": "historical1", "columns": list(VALUES), "resolution": "1m", **log}
    return Logged(
        {"zone": "utc", "logs": [said, {"id": "historical2", "resolution": "15m"}]},
        {},
        VALUES,
        "electro-industries/shark-200",
        LogSettings(capacity=capacity),
    )


def engaged(meter: Logged, now: int, per_window: int = 13, index: int = 0) -> Logged:
    assert meter.ask("06c34f0280", now) == "06c34f0280"
    assert meter.write(CONTROL, per_window << 8 | 1, index >> 16, index & 0xFFFF, at_ns=now) == 0
    return meter


def test_status_before_and_after_engaging() -> None:
    meter, now = shark(), T0 + 3 * M  # records at 00:01, 00:02, 00:03, and the filler
    free = [0, 0x0100, 0, 4, 0x12, 0, 0x1A01, 0x0100, 0x0100, 0x1A01, 0x0100, 0x0300, 0, 0, 0, 0]
    assert meter.words(STATUS, 16, now) == free
    engaged(meter, now)
    assert meter.words(STATUS, 16, now) == [*free[:5], 3, *free[6:]]
    assert meter.words(0x1193, 1, now) == [3], "the port that asks"
    assert meter.words(STATUS + 16 + 5, 1, now) == [0], "one log at a time"
    assert meter.words(SESSION, 2, now) == [0x0280, 0x0D01]
    assert meter.ask("06c34f0200", now) == "06c34f0200"
    assert meter.words(STATUS, 16, now) == free
    assert meter.words(SESSION, 1, now) == [0x0200]


def test_a_window_with_its_filler() -> None:
    meter = engaged(shark(), T0 + 3 * M)
    window = meter.words(WINDOW, 125, T0 + 3 * M)
    assert window[:2] == [0, 0]
    assert window[2:11] == [0x1A01, 0x0100, 0x0100, *[0xFFFF] * 6]
    assert window[11:20] == [0x1A01, 0x0100, 0x0100, *RECORD]
    assert window[29:38] == [0x1A01, 0x0100, 0x0300, *RECORD]
    assert set(window[38:]) == {0xFFFF}


def test_a_log_that_was_full_has_no_filler() -> None:
    meter, now = shark(capacity=3), T0 + 9 * M
    engaged(meter, now)
    assert meter.words(STATUS, 4, now) == [0, 3, 0, 3]
    assert meter.words(WINDOW, 125, now)[2:11] == [0x1A01, 0x0100, 0x0700, *RECORD]


def test_reading_the_last_register_moves_the_window_on() -> None:
    meter, now = shark(), T0 + 30 * M
    engaged(meter, now, per_window=13)
    assert meter.words(WINDOW, 124, now)[:2] == [0, 0]
    assert meter.words(WINDOW, 125, now)[:2] == [0, 0]
    second = meter.words(WINDOW, 125, now)
    assert second[:5] == [0, 13, 0x1A01, 0x0100, 0x0D00]
    # The manual's step 7: write the index that was expected, two registers.
    assert meter.write(WINDOW, 0, 13, at_ns=now) == 0
    assert meter.words(WINDOW, 125, now) == second
    assert meter.write(WINDOW, 13, at_ns=now) == 3
    assert meter.write(CONTROL, 0x0D00, 0, 1, at_ns=now) == 0
    assert meter.words(WINDOW, 125, now)[:2] == [0, 1]
    assert meter.words(WINDOW, 125, now)[:2] == [0, 1], "repeat 0: it stays"


def test_index_0_stays_the_oldest_while_the_log_goes_on() -> None:
    meter, now = shark(capacity=5), T0 + 9 * M  # 00:05 to 00:09
    engaged(meter, now, per_window=2)
    assert meter.words(WINDOW, 5, now)[4] == 0x0500
    later = now + 2 * M  # two of them are overwritten
    assert meter.words(WINDOW, 11, later)[2:] == [0xFFFF] * 9
    meter.write(WINDOW, 0, 2, at_ns=later)
    assert meter.words(WINDOW, 5, later)[4] == 0x0700


def test_not_ready_wrong_index_and_exception_6() -> None:
    meter, now = shark(), T0 + 30 * M
    engaged(meter, now)
    meter.logs.disturb("not_ready", {"times": 2}, now)
    for _ in range(2):
        assert meter.words(WINDOW, 125, now)[:3] == [0xFF00, 0, 0xFFFF]
    meter.logs.disturb("wrong_index", {}, now)
    assert meter.words(WINDOW, 125, now)[:2] == [0, 13]
    meter.logs.disturb("refuse", {"code": 6}, now)
    assert meter.ask("03c351007d", now) == "8306"
    assert meter.ask("0303e70002", now) == "030442faaacf"


def test_a_lock_ends_after_five_minutes_without_activity() -> None:
    meter, now = shark(), T0 + 30 * M
    engaged(meter, now)
    meter.words(WINDOW, 125, now + 4 * M)
    assert meter.words(STATUS + 5, 1, now + 9 * M - 1) == [3]
    assert meter.words(STATUS + 5, 1, now + 9 * M) == [0]
    assert meter.words(WINDOW, 125, now + 9 * M)[0] == 0xFF00
    engaged(meter, now + 10 * M)
    meter.logs.power(False, now + 11 * M)
    meter.logs.power(True, now + 12 * M)
    assert meter.words(STATUS + 5, 1, now + 12 * M) == [0]


def test_another_port_has_the_lock() -> None:
    meter, now = shark(), T0 + 30 * M
    meter.logs.disturb("hold", {"port": 1}, now)
    engaged(meter, now)
    assert meter.words(STATUS + 5, 1, now) == [1]
    assert meter.words(WINDOW, 125, now)[0] == 0xFF00
    meter.logs.disturb("free", {}, now)
    assert meter.words(STATUS + 5, 1, now) == [0]
    engaged(meter, now)
    assert meter.words(STATUS + 5, 1, now) == [3]
    assert meter.ask("06c34f0300", now) == "06c34f0300", "disengaging another log changes nothing"
    assert meter.words(STATUS + 5, 1, now) == [3]
    assert meter.ask("06c34f0980", now) == "8603"
    assert meter.ask("06c34f0281", now) == "8603"


def test_settings_say_what_is_logged() -> None:
    meter = shark()
    first = meter.words(0x7917, 119, T0)
    assert first[:8] == [0x0601, 0x0001, 0x03E7, 0x03E8, 0x03E9, 0x03EA, 0x03EB, 0x03EC]
    assert set(first[8:]) == {0}
    second = meter.words(0x79D7, 119, T0)
    assert second[:3] == [28 << 8 | 1, 0x0010, 0x03E7], "no columns named: all fourteen values"
    assert second[29] == 0x0402


def test_an_empty_log_has_its_filler_without_a_time() -> None:
    meter = shark()
    assert meter.words(STATUS, 12, T0)[2:12] == [0, 1, 0x12, 0, 0, 0, 0, 0, 0, 0]


def test_summer_time_is_a_flag_of_the_hour() -> None:
    meter = Logged(
        {"zone": "Europe/Prague", "logs": [{"id": "historical1", "resolution": "1m"}]},
        {},
        VALUES,
        "electro-industries/shark-200",
    )
    meter.logs.set_clock({"dst": True}, T0)
    assert meter.words(STATUS + 6, 3, T0 + M) == [0x1A01, 0x0142, 0x0100]


def test_settings_in_plain_words() -> None:
    settings = {"address": 500, "words": 9, "identifiers_at": 1}
    windback = {
        "method": "window_session",
        "session": {"address": 0xC34F},
        "engage": 0x80,
        "disengage": 0,
        "window": {"address": 0xC351},
        "control": {"address": 0xC350},
        "settings": settings,
        "record": {"time": {"at": 0, "format": "bytes_ymdhms"}, "columns_at": 3},
        "logs": [{"id": "log", "select": 2, "columns": [{"point": "v", "type": "int16"}]}],
    }
    meter = Logged(windback, {"v": {"address": 7, "type": "int16"}}, {"v": -2})
    assert meter.words(500, 3, T0) == [1, 7, 0]
    engaged(meter, T0)
    assert meter.words(WINDOW, 6, T0)[2:] == [0x1A01, 0x0100, 0x000A, 0xFFFE]
    assert meter.words(WINDOW, 6, T0 + 600 * S)[0] == 0, "nothing says that a lock ends by itself"
