"""How figures, times and facts are written for people."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from pydantic import JsonValue

from leaver.domain.base import Facts
from leaver.evidence.reports.page import Line, Span, Style

NOTHING: Final = "\N{EN DASH}"
_MINUS: Final = "\N{MINUS SIGN}"
_INSTANT: Final = re.compile(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?(?:Z|\+00:00)$")
"""Facts in UTC; the page says the zone once."""
_ID: Final = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")
_NAME: Final = re.compile(r"^[a-z_]+$")
_READING: Final = {"read_at"}
"""When a state was read: different every time, and never the point."""
_LONGEST: Final = 150
_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86_400


def lag(seconds: float | None) -> str:
    """A duration for people: ``4.2 s``, ``2 min 05 s``, ``3 h 07 min``, ``2 d 4 h``; a minus means before."""
    if seconds is None:
        return NOTHING
    size, sign = abs(seconds), _MINUS if seconds < 0 else ""
    if size < 10:  # noqa: PLR2004 - below ten seconds the tenth matters
        return f"{sign}{size:.1f} s"
    whole = round(size)
    if whole < 2 * _MINUTE:
        return f"{sign}{whole} s"
    if whole < 2 * _HOUR:
        return f"{sign}{whole // _MINUTE} min {whole % _MINUTE:02d} s"
    if whole < 2 * _DAY:
        return f"{sign}{whole // _HOUR} h {whole % _HOUR // _MINUTE:02d} min"
    return f"{sign}{whole // _DAY} d {whole % _DAY // _HOUR} h"


def span(seconds: float) -> str:
    """A time limit for people, in the largest unit that it is a whole number of: ``1 h``, ``90 min``."""
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= unit and seconds % unit == 0:
            return f"{seconds / unit:.0f} {name}"
    return lag(seconds)


def utc(instant: datetime | None) -> str:
    """An instant to the second, UTC; the page says the zone once."""
    return f"{instant:%Y-%m-%d %H:%M:%S}" if instant else NOTHING


def iso(instant: datetime | None) -> str:
    """An instant as ISO 8601 with ``Z``, as exact as it is known."""
    return instant.isoformat().replace("+00:00", "Z") if instant else ""


def words(name: str) -> str:
    """A name of ours as words."""
    return name.replace("_", " ")


def number(value: int | None) -> str:
    """A whole number with its thousands apart."""
    return NOTHING if value is None else f"{value:,}"


def percent(part: int, whole: int) -> str:
    """A share, never rounded up to all: 1,999 of 2,000 is 99.9 %, not 100 %."""
    if not whole:
        return NOTHING
    if part == whole:
        return "100 %"
    return f"{part * 1000 // whole / 10:.1f} %"


def count(value: int, one: str, many: str = "") -> str:
    """``1 step``, ``2 steps``."""
    return f"{value:,} {one if value == 1 else many or one + 's'}"


def state_lines(facts: Facts, other: Facts) -> tuple[Line, ...]:
    """A state as lines of text in name order, strong where it differs from the other state.

    Where something changed, only that is shown; when it was read is another column; long lists are
    shortened. The records hold everything.
    """
    own = {name: value for name, value in facts.items() if name not in _READING}
    changed = {name for name in own if other and other.get(name) != own[name]}
    return tuple(
        (
            Span(words(name), Style.SOFT),
            Span(_short(_text(own[name])), Style.STRONG if name in changed else Style.PLAIN),
        )
        for name in sorted(changed or own)
    )


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1].rstrip(" ,;") + "\N{HORIZONTAL ELLIPSIS}"


def _text(value: JsonValue) -> str:
    match value:
        case None | []:
            return "none"
        case bool():
            return "yes" if value else "no"
        case list():
            return _listed(value)
        case dict():
            return ", ".join(f"{words(name)} {_text(value[name])}" for name in sorted(value))
        case _:
            return _INSTANT.sub(r"\1 \2", str(value))


def _listed(items: list[JsonValue]) -> str:
    """A list for people: what its items are called; where they have ids only, how many there are."""
    told = [_told(item) for item in items]
    if not all(told):
        return f"{len(items)} by id"
    return "; ".join(told)


def _told(item: JsonValue) -> str:
    if isinstance(item, dict):
        names = (item[name] for name in sorted(item))
        told = (name for name in names if isinstance(name, str) and not _ID.match(name))
        return ", ".join(words(name) if _NAME.match(name) else name for name in told)
    return "" if isinstance(item, str) and _ID.match(item) else _text(item)
