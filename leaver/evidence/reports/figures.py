"""What the rows come to: verdicts, percentiles, the histogram, the weeks."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Final
from zoneinfo import ZoneInfo

from leaver.domain.words import CaseOutcome, Mode, Outcome, Phase, System
from leaver.evidence.reports.model import Action, Judged, Leaver, Verdict, seconds

WITHIN: Final = Judged(Verdict.WITHIN)
_PENDING: Final = Judged(Verdict.NOT_TESTABLE, "not yet due")
_PLANNED: Final = Judged(Verdict.NOT_TESTABLE, "notification only: nothing was written")
_LATE: Final = Judged(Verdict.EXCEPTION, "after its limit")
_NOT_RUN: Final = Judged(Verdict.EXCEPTION, "not run")
_RESCINDED: Final = Judged(Verdict.NOT_APPLICABLE, "rescinded before the effective time")
_NO_ACCOUNT: Final = Judged(Verdict.NOT_APPLICABLE, "no account there")
_ORDER: Final = {system: place for place, system in enumerate(System)}

STEPS_PER_DECADE: Final = 4
"""Bars of the histogram between one power of ten and the next."""


@dataclass(frozen=True, slots=True)
class Removal:
    """A leaver in one system: when access went, measured on what, and whether all of it was in time.

    ``contained`` says what the time is taken from: the containment actions where the system has them, all
    actions where its access hangs on another system's sign-in. ``limit`` is the latest limit of those.
    """

    leaver: Leaver
    system: System
    account: str | None
    contained: bool
    removed_at: datetime | None
    limit: datetime | None
    actions: int
    proven: int
    seq: int | None
    judged: Judged

    @property
    def lag(self) -> float | None:
        """Seconds from the effective time of leaving."""
        return seconds(self.leaver.cutoff, self.removed_at)

    @property
    def lag_notice(self) -> float | None:
        """Seconds from when we could act."""
        return seconds(self.leaver.clock_starts, self.removed_at)

    @property
    def in_time_from_effective(self) -> bool:
        """Whether the same tolerance, counted from the effective time, would have been kept."""
        if self.removed_at is None or self.limit is None:
            return self.removed_at is not None
        return self.removed_at - self.leaver.cutoff <= self.limit - self.leaver.clock_starts


@dataclass(frozen=True, slots=True)
class SystemFigures:
    """One system over the period. ``tested`` leaves out what is not applicable or not testable."""

    system: System
    leavers: int
    tested: int
    within: int
    within_effective: int
    median: float | None
    p95: float | None
    longest: float | None
    contained: bool


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of the histogram: from (seconds, inclusive) to (exclusive). The first has no lower end."""

    start: float
    end: float
    count: int


@dataclass(frozen=True, slots=True)
class Week:
    """A calendar week (from Monday, in the report's zone) of effective times.

    ``oldest_open`` is the age in seconds of its oldest open case at the checkpoint.
    """

    monday: date
    leavers: int
    tested: int
    within: int
    open: int
    oldest_open: float | None


def judge_action(outcome: Outcome, *, late: bool, due: datetime | None, as_of: datetime) -> Judged:
    """The verdict of one action. Only what was read back in time is within."""
    if outcome.proven:
        return _LATE if late else WITHIN
    if outcome is Outcome.PLANNED:
        return _PLANNED
    if outcome is Outcome.PENDING:
        return _NOT_RUN if due is not None and due < as_of else _PENDING
    return Judged(Verdict.EXCEPTION, outcome.value)


def judge_case(  # noqa: PLR0913 - the facts of a case, all named
    *,
    outcome: CaseOutcome,
    mode: Mode,
    cutoff: datetime,
    as_of: datetime,
    actions: Sequence[Action],
    standing: int,
) -> Judged:
    """The verdict of one leaver: the first that holds. A case with an exception is never within."""
    still_open = outcome in (CaseOutcome.RUNNING, CaseOutcome.HELD)
    verdicts = (
        (outcome is CaseOutcome.RESCINDED, _RESCINDED),
        (mode is Mode.NOTIFICATION_ONLY, _PLANNED),
        (standing > 0, Judged(Verdict.EXCEPTION)),
        (cutoff > as_of, Judged(Verdict.NOT_TESTABLE, "the effective time has not come")),
        (still_open, Judged(Verdict.NOT_TESTABLE, "still open, no limit passed")),
        (not actions, Judged(Verdict.NOT_TESTABLE, "no action is recorded")),
    )
    return next((judged for holds, judged in verdicts if holds), WITHIN)


def removals(leaver: Leaver) -> tuple[Removal, ...]:
    """The leaver in every system with an account, in the order of ``System``."""
    rows = []
    ordered = sorted(leaver.actions, key=lambda action: _ORDER[action.system])
    for system, members in groupby(ordered, key=attrgetter("system")):
        own = tuple(action for action in members if action.phase is not Phase.INTAKE)
        if own:
            rows.append(_removal(leaver, system, own))
    return tuple(rows)


def _removal(leaver: Leaver, system: System, own: tuple[Action, ...]) -> Removal:
    contain = tuple(action for action in own if action.phase is Phase.CONTAIN)
    measured = contain or own
    times = [a.finished_at for a in measured if a.finished_at is not None and a.outcome.proven]
    last = max(measured, key=lambda a: (a.finished_at is not None, a.finished_at or leaver.cutoff))
    dues = [action.due for action in measured if action.due is not None]
    return Removal(
        leaver=leaver,
        system=system,
        account=next((action.account for action in reversed(own) if action.account), None),
        contained=bool(contain),
        removed_at=max(times) if len(times) == len(measured) else None,
        limit=max(dues, default=None),
        actions=len(own),
        proven=sum(action.judged.verdict is Verdict.WITHIN for action in own),
        seq=last.seq,
        judged=_judge_system(leaver, own),
    )


def _judge_system(leaver: Leaver, own: tuple[Action, ...]) -> Judged:
    if leaver.judged.verdict is Verdict.NOT_APPLICABLE:
        return leaver.judged
    if all(action.outcome is Outcome.ABSENT for action in own):
        return _NO_ACCOUNT
    for verdict in (Verdict.EXCEPTION, Verdict.NOT_TESTABLE):
        found = next((action.judged for action in own if action.judged.verdict is verdict), None)
        if found is not None:
            return Judged(verdict, found.why)
    return WITHIN


def worst(rows: Iterable[Removal]) -> Removal | None:
    """The system that stands worst: an exception before all, then the longest lag."""
    bad = Verdict.EXCEPTION
    return max(
        rows,
        key=lambda row: (
            row.judged.verdict is bad,
            row.removed_at is None,
            -math.inf if row.lag is None else row.lag,
        ),
        default=None,
    )


def system_figures(rows: Iterable[Removal]) -> tuple[SystemFigures, ...]:
    """The figures per system, in the order of ``System``."""
    found: dict[System, list[Removal]] = defaultdict(list)
    for row in rows:
        found[row.system].append(row)
    return tuple(_of_system(system, found[system]) for system in System if system in found)


def _of_system(system: System, rows: list[Removal]) -> SystemFigures:
    tested = [row for row in rows if row.judged.verdict in (Verdict.WITHIN, Verdict.EXCEPTION)]
    within = [row for row in tested if row.judged.verdict is Verdict.WITHIN]
    lags = sorted(row.lag for row in tested if row.lag is not None)
    return SystemFigures(
        system=system,
        leavers=len(rows),
        tested=len(tested),
        within=len(within),
        within_effective=sum(row.in_time_from_effective for row in within),
        median=percentile(lags, 0.5),
        p95=percentile(lags, 0.95),
        longest=lags[-1] if lags else None,
        contained=any(row.contained for row in rows),
    )


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """Linear between the two nearest, as PERCENTILE (inclusive) of every spreadsheet; None of nothing."""
    if not ordered:
        return None
    place = (len(ordered) - 1) * share
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return round(ordered[low] + (ordered[high] - ordered[low]) * (place - low), 3)


def histogram(lags: Sequence[float]) -> tuple[Bar, ...]:
    """Counts on a logarithmic axis, without gaps; lags below one second stand in the first bar."""
    if not lags:
        return ()
    top = max(*lags, 10.0)
    last = math.floor(math.log10(top) * STEPS_PER_DECADE) + 1
    edges = [10 ** (place / STEPS_PER_DECADE) for place in range(last + 1)]
    counts = Counter(bisect_right(edges, lag) for lag in lags)
    bars = [Bar(0.0, edges[0], counts[0])]
    bars += [Bar(edges[n - 1], edges[n], counts[n]) for n in range(1, len(edges))]
    if counts[len(edges)]:
        bars.append(Bar(edges[-1], edges[-1] * 10 ** (1 / STEPS_PER_DECADE), counts[len(edges)]))
    return tuple(bars)


def weeks(leavers: Iterable[Leaver], zone: str, as_of: datetime) -> tuple[Week, ...]:
    """The leavers by week of their effective time, in the zone's calendar, without gaps."""
    place = ZoneInfo(zone)
    found: dict[date, list[Leaver]] = defaultdict(list)
    for leaver in leavers:
        day = leaver.cutoff.astimezone(place).date()
        found[day - timedelta(days=day.weekday())].append(leaver)
    if not found:
        return ()
    monday, last, rows = min(found), max(found), []
    while monday <= last:
        rows.append(_week(monday, found.get(monday, []), as_of))
        monday += timedelta(days=7)
    return tuple(rows)


def _week(monday: date, members: Sequence[Leaver], as_of: datetime) -> Week:
    verdicts = Counter(leaver.judged.verdict for leaver in members)
    ages = [
        (as_of - leaver.cutoff).total_seconds()
        for leaver in members
        if leaver.closed_at is None and leaver.cutoff <= as_of
    ]
    return Week(
        monday=monday,
        leavers=len(members),
        tested=verdicts[Verdict.WITHIN] + verdicts[Verdict.EXCEPTION],
        within=verdicts[Verdict.WITHIN],
        open=len(ages),
        oldest_open=max(ages, default=None),
    )
