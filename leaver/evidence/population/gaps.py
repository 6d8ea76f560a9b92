"""What does not add up, one finding per gap. Texts name cases and pseudonyms only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from leaver.domain.delivery import Exclusion
from leaver.domain.words import CaseOutcome
from leaver.evidence.population.comparison import Comparison
from leaver.evidence.population.model import Excluded, Finding, GapKind, Line

_RESCINDED: Final = (CaseOutcome.RESCINDED, CaseOutcome.RESCINDED_AFTER_CUTOFF)


def findings(work: Comparison, lines: Iterable[Line]) -> Iterator[Finding]:
    """Every gap among these leavers and cases, and in the pulls they were compared with."""
    for line in lines:
        if line.opened_at is None:
            yield from _without_case(work, line)
        else:
            yield from _origin(work, line, line.opened_at)
            yield from _ending(work, line)
    yield from _expected_only(work)
    yield from _strays(work)
    yield from _pulls(work)


def _finding(kind: GapKind, line: Line, detail: str, since: datetime, *, alarm: bool) -> Finding:
    return Finding(kind=kind, case=line.case, detail=detail, since=since, alarm=alarm)


def _without_case(work: Comparison, line: Line) -> Iterator[Finding]:
    """HR's leavers: each has a case, or an exclusion that somebody answers for."""
    held = work.exclusion(line.case)
    if held is not None:
        yield from _excluded(work, line, held)
        return
    if line.expected_at is not None:
        return  # told by _expected_only, whether HR lists them or not
    listed, told = line.listed_at or work.now, work.told(line.case)
    over = "the cut-off has passed" if line.effective_at <= work.now else "the cut-off is ahead"
    what = "no case was expected, opened or excluded"
    if told is not None:
        by = "HR's list contradicts it" if told.reason is not Exclusion.DECIDED else "nobody signed that"
        what = f"no case was opened; an exclusion was told ({told.reason.value}) and {by}"
    # However late HR is: its list may be read a moment before its message starts the case.
    alarm = told is not None or work.now - listed >= work.rules.grace
    detail = f"HR lists this leaver; {what}; {over}"
    yield _finding(GapKind.LEAVER_WITHOUT_CASE, line, detail, listed, alarm=alarm)


def _excluded(work: Comparison, line: Line, held: Excluded) -> Iterator[Finding]:
    """An exclusion is settled by a person, or by a rule that the sealer finds in HR's list as well."""
    grace = work.rules.grace
    if not held.reason.settled:
        detail = f"no case was started ({held.reason.value}) and nobody has decided yet"
        alarm = work.now - held.at >= grace
        yield _finding(GapKind.EXCLUSION_UNDECIDED, line, detail, held.at, alarm=alarm)
    elif not work.confirmed(held):
        row = work.seen.listed[line.case]
        says = f"says another reason ({row.set_aside.value})" if row.set_aside else "says none"
        compared = work.compared(held)
        when = "" if compared else ", as last pulled before that"
        detail = f"no case was started ({held.reason.value}), and HR's list{when}, {says}"
        alarm = compared or work.now - held.first_at >= grace
        yield _finding(GapKind.EXCLUSION_NOT_CONFIRMED, line, detail, held.first_at, alarm=alarm)


def _origin(work: Comparison, line: Line, opened_at: datetime) -> Iterator[Finding]:
    """Cases: each was expected before it opened, and HR lists its leaver."""
    expected, opened = work.seen.expected.get(line.case), work.seen.opened[line.case]
    if expected is None:
        alarm = work.now - opened_at >= work.rules.grace
        yield _finding(
            GapKind.CASE_NOT_EXPECTED,
            line,
            "the case opened and no delivery of HR's announced it to the sealer",
            opened_at,
            alarm=alarm,
        )
    elif expected.seq > opened.seq:
        detail = f"noted at place {expected.seq} of the log, after the case opened at place {opened.seq}"
        yield _finding(GapKind.EXPECTED_LATE, line, detail, opened_at, alarm=False)
    if line.standing == "unlisted":
        detail = "HR's list was pulled after the case opened and does not name this leaver"
        yield _finding(GapKind.CASE_WITHOUT_HR_ROW, line, detail, opened_at, alarm=True)
    yield from _rescinded(work, line, opened_at)


def _rescinded(work: Comparison, line: Line, opened_at: datetime) -> Iterator[Finding]:
    """HR and the case agree whether the person stays."""
    if work.withdrawn(line.case) and line.outcome not in _RESCINDED:
        state = "goes on" if line.closed_at is None else "ended without being rescinded"
        detail = f"HR's list takes this separation back, and the case {state}"
        yield _finding(GapKind.WITHDRAWN_BY_HR, line, detail, opened_at, alarm=True)
    closed = line.closed_at if line.outcome in _RESCINDED else None
    if closed is not None and work.listed_since(line.case, closed) and work.exclusion(line.case) is None:
        detail = "the case ended as rescinded, and HR's list, pulled later, names this leaver"
        yield _finding(GapKind.RESCINDED_BUT_LISTED, line, detail, closed, alarm=True)


def _ending(work: Comparison, line: Line) -> Iterator[Finding]:
    """Cases closed = histories sealed = bundles."""
    now, rules = work.now, work.rules
    if line.closed_at is None:
        # A leaver whom HR enters long after the fact is not late with us yet.
        due = max(line.effective_at, line.opened_at or line.effective_at)
        if now - due >= rules.open_limit:
            detail = f"{(now - due).days} days after it was due the case is still open"
            yield _finding(GapKind.OPEN_TOO_LONG, line, detail, due, alarm=True)
        if line.sealed_at is not None:
            detail = "the workflow's history ended and the case's last record is missing"
            alarm = now - line.sealed_at >= rules.sealing
            yield _finding(GapKind.SEALED_NOT_CLOSED, line, detail, line.sealed_at, alarm=alarm)
        return
    late = now - line.closed_at >= rules.sealing
    if line.sealed_at is None:
        detail = "the case closed and its history is not sealed"
        yield _finding(GapKind.CLOSED_NOT_SEALED, line, detail, line.closed_at, alarm=late)
    if line.bundled is False:
        detail = "the case closed and has no bundle"
        yield _finding(GapKind.CLOSED_WITHOUT_BUNDLE, line, detail, line.closed_at, alarm=late)


def _expected_only(work: Comparison) -> Iterator[Finding]:
    """Ingest announced a case, and none opened."""
    seen, rules = work.seen, work.rules
    for case, expected in seen.expected.items():
        if case in seen.opened or work.exclusion(case) or not work.period.has(work.effective(case)):
            continue
        overdue = expected.cutoff <= work.now
        when = "the cut-off has passed" if overdue else "the cut-off is ahead"
        detail = f"a case was expected and none opened; {when}"
        alarm = work.now - expected.at >= rules.grace
        yield Finding(GapKind.EXPECTED_WITHOUT_CASE, case, detail, expected.at, alarm=alarm)


def _strays(work: Comparison) -> Iterator[Finding]:
    """Bundles of no case, and rows that nobody can read."""
    for case in sorted(work.bundles or ()):
        if case not in work.seen.closed:
            detail = "there is a bundle and no closed case"
            yield Finding(GapKind.BUNDLE_WITHOUT_CASE, case, detail, work.now, alarm=True)
    for row in work.seen.unread:
        detail = f"line {row.line} of HR's list cannot be read, a leaver may be behind it: {row.why}"
        subject = f"{row.source}:{row.person_ref or row.line}"
        yield Finding(GapKind.ROW_UNREADABLE, "", detail, row.at, subject=subject)


def _pulls(work: Comparison) -> Iterator[Finding]:
    """HR's list itself: asked often enough, readable, and not suddenly shorter."""
    for source, (since, why) in work.seen.pull_trouble.items():
        yield Finding(GapKind.PULL_FAILED, "", f"HR's list cannot be pulled: {why}", since, subject=source)
    yield from _silence(work)
    for source, newest in work.newest.items():
        before = work.before(newest)
        least = before.rows * (100 - work.rules.shrink_percent) if before else 1
        if newest.rows * 100 < least or newest.rows == 0:
            detail = f"HR's list has {newest.rows} rows, the pull before had {before.rows if before else 0}"
            yield Finding(GapKind.PULL_SHRANK, "", detail, newest.pulled_at, subject=source)


def _silence(work: Comparison) -> Iterator[Finding]:
    """No pull for longer than agreed, or none at all that covers the period."""
    end = work.period.end
    wanted = min(work.now, end) if end else work.now
    last = work.last_pull
    if last is None:
        times = [expected.at for expected in work.seen.expected.values()]
        times += [opened.at for opened in work.seen.opened.values()]
        since = min(times, default=work.now)
        yield Finding(GapKind.PULL_MISSING, "", "HR's list was never pulled", since, subject="any")
    elif wanted - last.pulled_at > work.rules.pull_every * 1.5:
        detail = f"HR's list was last pulled at {last.pulled_at:%Y-%m-%d %H:%M} UTC"
        yield Finding(GapKind.PULL_MISSING, "", detail, last.pulled_at, subject="any")
