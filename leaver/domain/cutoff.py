"""The cut-off instant: from HR's date, the policy's moment and the person's time zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from leaver.domain.event import Moment

_NO_PLACE: Final = frozenset({"localtime", "posixrules", "Factory"})


class CutoffError(ValueError):
    """The instant cannot be computed; ``field`` names the input at fault."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


def zone(name: str) -> ZoneInfo:
    """The IANA zone of that name.

    Names that mean another thing on every machine (``localtime``), none (``Factory``) or time with leap
    seconds (``right/…``) are refused: the same event must give the same instant everywhere.

    Raises:
        CutoffError: there is no such zone.
    """
    if name in _NO_PLACE or name.startswith(("posix/", "right/")):
        raise CutoffError("timezone", f"{name!r} is not the time zone of a place")
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as err:
        raise CutoffError("timezone", f"no IANA time zone is called {name!r}") from err


def cutoff_instant(last_working_day: date, moment: Moment, tz: str, *, at: time | None = None) -> datetime:
    """When access ends, in UTC (trap T1: a termination date is not an instant).

    ``END_OF_DAY`` is midnight at the end of the last working day, local time; ``START_OF_DAY`` its first
    moment; ``AT`` the wall-clock time ``at`` on it. A wall-clock time that a daylight-saving change skips
    moves on to the first instant after the gap; one that occurs twice means its first occurrence, because
    access ends early rather than late.

    Raises:
        CutoffError: unknown zone, ``AT`` without a time, or a date outside the calendar.
    """
    here = zone(tz)
    try:
        if moment is Moment.END_OF_DAY:
            local = datetime.combine(last_working_day + timedelta(days=1), time(), here)
        elif moment is Moment.START_OF_DAY:
            local = datetime.combine(last_working_day, time(), here)
        elif at is not None:
            local = datetime.combine(last_working_day, at.replace(tzinfo=None), here)
        else:
            raise CutoffError("moment", "'at' needs a time of day")
        return _after_gap(local).astimezone(UTC)
    except OverflowError as err:
        raise CutoffError("last_working_day", "is outside the calendar") from err


def _after_gap(local: datetime) -> datetime:
    """Move a wall-clock time that does not exist to the end of the gap."""
    round_trip = local.astimezone(UTC).astimezone(local.tzinfo)
    if round_trip.replace(tzinfo=None) == local.replace(tzinfo=None):
        return local
    # In a gap, fold=0 reads with the offset before the change and so lands one gap length late;
    # the transition itself lies at the wall-clock time read with the offset after the change.
    before = local.replace(fold=0).utcoffset() or timedelta()
    after = local.replace(fold=1).utcoffset() or timedelta()
    start, end = local - abs(after - before), local + abs(after - before)
    low, high = start.astimezone(UTC), end.astimezone(UTC)
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        if middle.astimezone(local.tzinfo).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high.replace(microsecond=0).astimezone(local.tzinfo)
