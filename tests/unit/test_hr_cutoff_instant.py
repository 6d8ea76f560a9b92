"""The cut-off instant over zones, daylight-saving changes and the edges of the calendar (trap T1)."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leaver.domain.cutoff import CutoffError, cutoff_instant, zone
from leaver.domain.event import Moment

ZONES = (
    "UTC",
    "Europe/Stockholm",
    "Europe/Dublin",
    "America/St_Johns",
    "America/Havana",
    "America/Sao_Paulo",
    "Africa/Casablanca",
    "Asia/Kolkata",
    "Asia/Beirut",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
    "Pacific/Pago_Pago",
    "Antarctica/Troll",
)
zones = st.sampled_from(ZONES)
days = st.dates(min_value=date(1970, 1, 2), max_value=date(2199, 12, 30))
clocks = st.times().map(lambda at: at.replace(microsecond=0, fold=0))


def utc(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("day", "moment", "tz", "at", "expected"),
    [
        (date(2026, 11, 20), Moment.END_OF_DAY, "Europe/Stockholm", None, utc(2026, 11, 20, 23)),
        (date(2026, 11, 20), Moment.START_OF_DAY, "Europe/Stockholm", None, utc(2026, 11, 19, 23)),
        (date(2026, 11, 20), Moment.AT, "Asia/Kolkata", time(17, 30), utc(2026, 11, 20, 12)),
        # The ends of the earth: 25 hours lie between the two ends of one working day.
        (date(2026, 11, 20), Moment.END_OF_DAY, "Pacific/Kiritimati", None, utc(2026, 11, 20, 10)),
        (date(2026, 11, 20), Moment.END_OF_DAY, "Pacific/Pago_Pago", None, utc(2026, 11, 21, 11)),
        # 02:30 does not exist on 29 March 2026 in Stockholm: access ends at the first instant after the gap.
        (date(2026, 3, 29), Moment.AT, "Europe/Stockholm", time(2, 30), utc(2026, 3, 29, 1)),
        # 02:30 occurs twice on 25 October: the first one, because access ends early rather than late.
        (date(2026, 10, 25), Moment.AT, "Europe/Stockholm", time(2, 30), utc(2026, 10, 25, 0, 30)),
        # Midnight itself is skipped (Beirut, March) and repeated (Havana, November).
        (date(2026, 3, 29), Moment.START_OF_DAY, "Asia/Beirut", None, utc(2026, 3, 28, 22)),
        (date(2026, 3, 28), Moment.END_OF_DAY, "Asia/Beirut", None, utc(2026, 3, 28, 22)),
        (date(2026, 10, 31), Moment.END_OF_DAY, "America/Havana", None, utc(2026, 11, 1, 4)),
        # Half an hour of daylight saving, and a whole day that never was.
        (date(2026, 10, 4), Moment.AT, "Australia/Lord_Howe", time(2, 15), utc(2026, 10, 3, 15, 30)),
        (date(2011, 12, 29), Moment.END_OF_DAY, "Pacific/Apia", None, utc(2011, 12, 30, 10)),
        (date(2011, 12, 30), Moment.AT, "Pacific/Apia", time(12), utc(2011, 12, 30, 10)),
    ],
)
def test_known_instants(day: date, moment: Moment, tz: str, at: time | None, expected: datetime) -> None:
    assert cutoff_instant(day, moment, tz, at=at) == expected


@given(days, zones, st.sampled_from((Moment.END_OF_DAY, Moment.START_OF_DAY)))
@settings(deadline=None)
def test_the_local_day_is_exactly_between_its_two_ends(day: date, tz: str, moment: Moment) -> None:
    instant = cutoff_instant(day, moment, tz)
    here = ZoneInfo(tz)
    just_before = (instant - timedelta(seconds=1)).astimezone(here)
    on = instant.astimezone(here)
    wanted = day + timedelta(days=1) if moment is Moment.END_OF_DAY else day
    assert instant.tzinfo is UTC
    # Nothing of the local day is left at the instant, and the day before it had not begun; Samoa's lost
    # day of 2011 is why this is an inequality.
    assert on.date() >= wanted
    assert just_before.date() < wanted


@given(days, zones, clocks)
@settings(deadline=None, max_examples=300)
def test_a_time_of_day_is_that_time_or_the_end_of_its_gap(day: date, tz: str, at: time) -> None:
    instant = cutoff_instant(day, Moment.AT, tz, at=at)
    local = instant.astimezone(ZoneInfo(tz))
    wall = local.replace(tzinfo=None)
    wanted = datetime.combine(day, at)
    assert wall >= wanted
    if wall != wanted:
        # The wall clock jumped over the wanted time exactly here.
        before = (instant - timedelta(seconds=1)).astimezone(ZoneInfo(tz)).replace(tzinfo=None)
        assert before < wanted
    else:
        assert local.fold == 0


@given(days, zones)
@settings(deadline=None)
def test_one_day_ends_where_the_next_begins(day: date, tz: str) -> None:
    assert cutoff_instant(day, Moment.END_OF_DAY, tz) == cutoff_instant(
        day + timedelta(days=1), Moment.START_OF_DAY, tz
    )


@given(days, days, zones)
@settings(deadline=None)
def test_a_later_day_never_ends_earlier(one: date, other: date, tz: str) -> None:
    first, second = sorted((one, other))
    assert cutoff_instant(first, Moment.END_OF_DAY, tz) <= cutoff_instant(second, Moment.END_OF_DAY, tz)


@pytest.mark.parametrize(
    ("day", "moment", "tz"),
    [
        (date.max, Moment.END_OF_DAY, "UTC"),
        (date.max, Moment.END_OF_DAY, "Pacific/Kiritimati"),
        (date.min, Moment.START_OF_DAY, "Pacific/Pago_Pago"),
    ],
)
def test_a_date_outside_the_calendar_is_named(day: date, moment: Moment, tz: str) -> None:
    # At the other edge local mean time lies west of UTC in Samoa's table, so the first day is out of reach.
    with pytest.raises(CutoffError) as caught:
        cutoff_instant(day, moment, tz)
    assert caught.value.field == "last_working_day"


def test_at_needs_a_time() -> None:
    with pytest.raises(CutoffError, match="needs a time of day"):
        cutoff_instant(date(2026, 11, 20), Moment.AT, "UTC")


@pytest.mark.parametrize(
    "name",
    ["", "Nowhere", "Europe", "../UTC", "/etc/passwd", "a\0b", "x" * 5000, "CEST", "W. Europe Standard Time"],
)
def test_unknown_zones_are_refused(name: str) -> None:
    with pytest.raises(CutoffError) as caught:
        zone(name)
    assert caught.value.field == "timezone"


@pytest.mark.parametrize(
    "name", ["localtime", "posixrules", "Factory", "right/Europe/Stockholm", "posix/UTC"]
)
def test_zones_that_depend_on_the_machine_are_refused(name: str) -> None:
    with pytest.raises(CutoffError, match="not the time zone of a place"):
        zone(name)


@given(st.text(max_size=40))
@settings(deadline=None)
def test_any_text_is_a_zone_or_a_named_error(name: str) -> None:
    try:
        found = zone(name)
    except CutoffError:
        return
    assert found.key == name
