"""Reading single values that people and spreadsheets wrote: strictly, and every fault is kept.

Reasons repeat a value only where its shape shows that it cannot be a name or an address: a shifted column
puts a mail address where a date should be, and reasons reach logs.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import date, datetime, time
from enum import StrEnum
from typing import Final, TypeVar

from leaver.domain.cutoff import CutoffError, zone
from leaver.domain.event import Knowledge, Moment
from leaver.hr.model import MAX_REVISION

Choice = TypeVar("Choice", bound=StrEnum)

MAX_TEXT: Final = 320
MAX_NUMBER: Final = 64
YEARS: Final = range(1970, 2200)
"""Dates outside are typing errors (0026, 20226, 9999), not plans."""

YES: Final = frozenset({"yes", "true", "1"})
NO: Final = frozenset({"no", "false", "0"})

_ISO_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_CLOCK: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)", re.ASCII)
_REVISION: Final = re.compile(r"[0-9]{1,16}", re.ASCII)
_DATE_LIKE: Final = re.compile(r"[0-9][0-9./ -]{0,18}", re.ASCII)
_ZONE_LIKE: Final = re.compile(r"[A-Za-z]{1,20}(/[A-Za-z0-9_+-]{1,30}){1,2}", re.ASCII)
_SCIENTIFIC: Final = re.compile(r"\d+([.,]\d+)?E\+\d+", re.ASCII | re.IGNORECASE)
_MAIL: Final = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")
_BIDI: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def text_fault(value: str, *, identifier: bool = False, longest: int = MAX_TEXT) -> str | None:
    """What is wrong with a text that is not empty, or None.

    An identifier may hold neither spaces nor invisible characters.
    """
    if len(value) > longest:
        return f"is longer than {longest} characters"
    if value[0] in "=+-@":
        return "begins like a spreadsheet formula (= + - @); correct the cell"
    for char in value:
        kind = unicodedata.category(char)
        if kind in ("Cc", "Cs", "Zl", "Zp") or char in _BIDI:
            return "holds a control character or line break"
        if identifier and (kind == "Cf" or char.isspace()):
            return "holds a space or an invisible character"
    return None


class Values:
    """The values of one row by our field names. ``problems``: (the source's field name, reason)."""

    def __init__(self, values: Mapping[str, str], names: Mapping[str, str]) -> None:
        self._values = {key: value.strip() for key, value in values.items()}
        self._names = names
        self.problems: list[tuple[str, str]] = []

    def has(self, field: str) -> bool:
        """Whether the row has a value there."""
        return bool(self._values.get(field))

    def fault(self, field: str, reason: str) -> None:
        """Note what is wrong with a field."""
        self.problems.append((self._names.get(field, field), reason))

    def text(
        self, field: str, *, required: bool = False, identifier: bool = False, longest: int = MAX_TEXT
    ) -> str | None:
        """A text, or None where empty or faulty."""
        value = self._values.get(field, "")
        if not value:
            if required:
                self.fault(field, "is empty")
            return None
        if reason := text_fault(value, identifier=identifier, longest=longest):
            self.fault(field, reason)
            return None
        return value

    def number(self, field: str, *, required: bool = False) -> str | None:
        """An employee number as text, leading zeros kept."""
        value = self.text(field, required=required, identifier=True, longest=MAX_NUMBER)
        if value is not None and _SCIENTIFIC.fullmatch(value):
            self.fault(
                field, "was turned into scientific notation by a spreadsheet; export the column as text"
            )
            return None
        return value

    def mail(self, field: str) -> str | None:
        """A mail address or user name."""
        value = self.text(field, identifier=True)
        if value is not None and not _MAIL.fullmatch(value):
            self.fault(field, "is not a mail address")
            return None
        return value

    def day(self, field: str, *, required: bool = False, form: str | None = None) -> date | None:
        """A calendar date: ISO 8601 ``YYYY-MM-DD``, or the mapping's format."""
        value = self._values.get(field, "")
        if not value:
            if required:
                self.fault(field, "is empty")
            return None
        try:
            return parse_day(value, form)
        except ValueError as err:
            self.fault(field, str(err))
            return None

    def timezone(self, field: str) -> str | None:
        """The name of an IANA zone."""
        value = self._values.get(field, "")
        if not value:
            return None
        try:
            zone(value)
        except CutoffError:
            shown = f"{value} " if _ZONE_LIKE.fullmatch(value) else ""
            self.fault(field, f"{shown}is not an IANA time zone, e.g. Europe/Stockholm")
            return None
        return value

    def moment(self, field: str, default: Moment) -> tuple[Moment, time | None]:
        """``end_of_day``, ``start_of_day`` or a time of day ``HH:MM``."""
        value = self._values.get(field, "").casefold()
        if not value:
            return default, None
        if clock := _CLOCK.fullmatch(value):
            return Moment.AT, time(int(clock[1]), int(clock[2]))
        if value in (Moment.END_OF_DAY, Moment.START_OF_DAY):
            return Moment(value), None
        self.fault(field, "must be end_of_day, start_of_day or a time of day HH:MM")
        return default, None

    def choice(self, field: str, choices: type[Choice], default: Choice) -> Choice:
        """One word of a closed set."""
        value = self._values.get(field, "").casefold()
        if not value:
            return default
        try:
            return choices(value)
        except ValueError:
            self.fault(field, f"must be one of {', '.join(choices)}")
            return default

    def flag(self, field: str) -> bool | None:
        """Yes or no; None where empty."""
        value = self._values.get(field, "").casefold()
        if value and value not in YES | NO:
            self.fault(field, "must be yes or no")
        return value in YES if value in YES | NO else None

    def knowledge(self, field: str) -> Knowledge:
        """Yes, no or unknown; unknown where empty."""
        if self._values.get(field, "").casefold() == Knowledge.UNKNOWN:
            return Knowledge.UNKNOWN
        answer = self.flag(field)
        if answer is None:
            return Knowledge.UNKNOWN
        return Knowledge.YES if answer else Knowledge.NO

    def revision(self, field: str) -> int:
        """A revision number; 0 where empty."""
        value = self._values.get(field, "")
        if not value:
            return 0
        if not _REVISION.fullmatch(value) or int(value) > MAX_REVISION:
            self.fault(field, "must be a whole number from 0 to 2^53-1")
            return 0
        return int(value)

    def instant(self, field: str) -> datetime | None:
        """A point in time with its offset."""
        value = self._values.get(field, "")
        if not value:
            return None
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            moment = None
        if moment is None or moment.utcoffset() is None or moment.year not in YEARS:
            self.fault(field, "must be an ISO 8601 time with its offset, e.g. 2026-11-20T17:02:11Z")
            return None
        return moment


def parse_day(value: str, form: str | None = None) -> date:
    """A calendar date.

    Raises:
        ValueError: with a reason that can be shown to people.
    """
    shown = f"{value} " if _DATE_LIKE.fullmatch(value) else ""
    if form is None and not _ISO_DATE.fullmatch(value):
        raise ValueError(f"{shown}is not written as YYYY-MM-DD")
    try:
        # A date has no zone; the zone comes in with the cut-off.
        day = datetime.strptime(value, form or "%Y-%m-%d").date()  # noqa: DTZ007
    except ValueError as err:
        what = f"a date of the form {form}" if form else "a date of the calendar"
        raise ValueError(f"{shown}is not {what}") from err
    if day.year not in YEARS:
        raise ValueError(f"{shown}is not a plausible date ({YEARS.start} to {YEARS.stop - 1})")
    return day
