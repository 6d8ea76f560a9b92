"""Two small drawings as SVG text: the histogram of lags on a logarithmic axis, and the weeks.

SVG by hand, because these go into files that must be the same bytes every time, without scripts, in light and
in dark. The colours are CSS variables on a screen and fixed ones on paper.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from leaver.evidence.reports.figures import STEPS_PER_DECADE, Bar, Week
from leaver.evidence.reports.page import Chart
from leaver.evidence.reports.show import count, lag, percent, span

WIDTH: Final = 560
HEIGHT: Final = 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 12, 22, 34
_BASE: Final = HEIGHT - _BOTTOM
_ROOM: Final = WIDTH - _LEFT - _RIGHT
_TALL: Final = _BASE - _TOP
_ROOM_FOR_SHARE: Final = 40

_TICKS: Final = (
    (1, "1 s"),
    (10, "10 s"),
    (60, "1 min"),
    (600, "10 min"),
    (3600, "1 h"),
    (14_400, "4 h"),
    (86_400, "1 d"),
    (604_800, "7 d"),
    (2_592_000, "30 d"),
    (31_536_000, "1 y"),
)


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours and the typeface of a drawing."""

    ink: str
    soft: str
    line: str
    bar: str
    bad: str
    font: str
    size: int


SCREEN: Final = Palette(
    "var(--ink)", "var(--soft)", "var(--line)", "var(--accent)", "var(--bad)", "system-ui, sans-serif", 12
)
PAPER: Final = Palette("#000000", "#444444", "#bbbbbb", "#2456b8", "#8b1a10", "Libertinus Serif", 15)


def lag_chart(bars: Sequence[Bar], limits: Sequence[float] = ()) -> Chart:
    """How many leavers lost their access how long after the effective time; ``limits`` in seconds."""
    total = sum(bar.count for bar in bars)
    most = max(bars, key=lambda bar: bar.count)
    between = f"between {lag(most.start)} and {lag(most.end)}"
    words = f"{count(total, 'leaver')}; most of them, {most.count}, {between}."
    return Chart(
        "Leavers by lag from the effective time to the last containment action (logarithmic axis)",
        _lag_svg(bars, limits, SCREEN),
        _lag_svg(bars, limits, PAPER),
        words,
    )


def week_chart(weeks: Sequence[Week]) -> Chart:
    """The leavers by week of the effective time, the share within, and where cases are still open."""
    lowest = min(weeks, key=lambda week: week.within / week.tested if week.tested else 1.0)
    open_cases = sum(week.open for week in weeks)
    words = f"Lowest share: {percent(lowest.within, lowest.tested)}, week of {lowest.monday}."
    if open_cases:
        oldest = max(week.oldest_open or 0.0 for week in weeks)
        words += f" {count(open_cases, 'case')} still open, the oldest for {lag(oldest)}."
    return Chart(
        "Leavers by week of the effective time (Monday): within, exception, not testable; share within",
        _week_svg(weeks, SCREEN),
        _week_svg(weeks, PAPER),
        words,
    )


def _lag_svg(bars: Sequence[Bar], limits: Sequence[float], palette: Palette) -> str:
    decades = max(math.log10(max(bars[-1].end, *limits) if limits else bars[-1].end), 1.0)
    step = 1 / STEPS_PER_DECADE
    scale = _ROOM / (decades + step)

    def x(value: float) -> float:
        return _LEFT + (math.log10(value) + step) * scale

    highest = max(bar.count for bar in bars)
    parts = list(_grid([(0, "0"), (highest, f"{highest:,}")], highest, palette))
    for bar in bars:
        left = x(bar.start) if bar.start else float(_LEFT)
        parts.append(_bar(left + 0.5, x(bar.end) - left - 1, bar.count / highest, palette.bar, bar.count))
    ticks = [(x(seconds), name) for seconds, name in _TICKS if 0 <= math.log10(seconds) <= decades]
    parts += _ticks(_apart(ticks), palette)
    for limit in limits:
        parts.append(_limit(x(limit), span(limit), palette))
    return _svg(parts, palette)


def _limit(at: float, name: str, palette: Palette) -> str:
    """A limit, named on the side that has room."""
    side, move = ("end", -4) if at > WIDTH - 90 else ("start", 4)
    return (
        f'<path d="M{at:.1f} {_TOP - 12}V{_BASE}" stroke="{palette.bad}" stroke-dasharray="3 3"/>'
        + _label(at + move, _TOP - 4, f"limit {name}", palette.bad, side)
    )


def _week_svg(weeks: Sequence[Week], palette: Palette) -> str:
    highest = max(1, *(week.leavers for week in weeks))
    slot = _ROOM / len(weeks)
    wide = min(slot * 0.7, 36.0)
    parts = list(_grid([(0, "0"), (highest, f"{highest:,}")], highest, palette))
    labels = []
    for place, week in enumerate(weeks):
        middle = _LEFT + slot * (place + 0.5)
        labels.append((middle, f"{week.monday:%d %b}"))
        parts += _stack(week, middle - wide / 2, wide, highest, palette)
        share = percent(week.within, week.tested) if week.tested else ""
        if share and slot >= _ROOM_FOR_SHARE:
            colour = palette.soft if week.within == week.tested else palette.bad
            top = _BASE - week.leavers / highest * _TALL
            parts.append(_label(middle, top - 5, share, colour))
    parts += _ticks(_apart(labels, room=48), palette)
    return _svg(parts, palette)


def _stack(week: Week, left: float, wide: float, highest: int, palette: Palette) -> Iterable[str]:
    """A week's leavers: within below, exceptions above, what is not testable last."""
    bad = week.tested - week.within
    rest = week.leavers - week.tested
    floor = 0.0
    for value, colour in ((week.within, palette.bar), (bad, palette.bad), (rest, palette.line)):
        if value:
            height = max(value / highest * _TALL, 2.0)
            yield (
                f'<rect x="{left:.1f}" y="{_BASE - floor - height:.1f}" width="{wide:.1f}" '
                f'height="{height:.1f}" fill="{colour}"/>'
            )
            floor += height


def _grid(marks: Iterable[tuple[int, str]], highest: int, palette: Palette) -> Iterable[str]:
    for value, name in marks:
        y = _BASE - value / highest * _TALL if highest else _BASE
        yield f'<path d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}" stroke="{palette.line}"/>'
        yield _label(_LEFT - 6, y + 4, name, palette.soft, "end")


def _bar(left: float, width: float, share: float, colour: str, value: int) -> str:
    if not value:
        return ""
    height = max(share * _TALL, 1.5)
    return (
        f'<rect x="{left:.1f}" y="{_BASE - height:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'fill="{colour}"/>'
    )


def _apart(labels: Sequence[tuple[float, str]], room: float = 44) -> list[tuple[float, str]]:
    """As many labels as fit without touching."""
    kept: list[tuple[float, str]] = []
    for at, name in labels:
        if not kept or at - kept[-1][0] >= room:
            kept.append((at, name))
    return kept


def _ticks(labels: Iterable[tuple[float, str]], palette: Palette) -> list[str]:
    parts = []
    for at, name in labels:
        parts.append(f'<path d="M{at:.1f} {_BASE}v4" stroke="{palette.soft}"/>')
        parts.append(_label(at, _BASE + 17, name, palette.soft))
    return parts


def _label(x: float, y: float, text: str, colour: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}">{text}</text>'


def _svg(parts: Iterable[str], palette: Palette) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="{palette.font}" font-size="{palette.size}">{"".join(parts)}</svg>'
    )
