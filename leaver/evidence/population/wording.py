"""The completeness table in words and as plain JSON. Claims say what was compared, and nothing more."""

from __future__ import annotations

from datetime import datetime

from leaver.domain.base import Facts
from leaver.evidence.population.model import Completeness, Finding, GapKind, Line, Snapshot


def claim(result: Completeness) -> str:
    """One sentence that may be quoted."""
    if result.last_pull is None:
        told = " Exclusions are counted as ingest told them, not independently." if result.told else ""
        return f"Completeness was not tested: HR's list was never pulled.{told}"
    pull = result.last_pull
    day = f"{pull.pulled_at:%Y-%m-%d %H:%M} UTC"
    against = f"against the HR pull of {day} ({pull.source}, {pull.rows} rows)"
    if result.complete:
        waiting = (
            f" {result.unconfirmed} case(s) opened since are not compared yet." if result.unconfirmed else ""
        )
        young = sum(found.kind is GapKind.EXCLUSION_NOT_CONFIRMED for found in result.gaps)
        if young:
            waiting += f" {young} exclusion(s) told since are not compared yet."
        return f"Complete {against}.{waiting} People whom HR's list does not hold are not covered."
    alarms = sum(found.alarm for found in result.gaps)
    return f"Not complete {against}: difference {result.difference}, {alarms} finding(s)."


def equation(result: Completeness) -> tuple[tuple[str, int | None], ...]:
    """The table's lines: HR's leavers against cases, and cases against what was sealed."""
    return (
        ("HR's list: leavers", result.hr_leavers),
        ("with a case", result.with_case),
        ("excluded, with a reason", result.excluded),
        ("missing: neither", result.missing),
        ("cases that HR's list does not know", result.unlisted),
        ("difference", result.difference),
        ("cases", result.cases),
        ("  opened since the last pull", result.unconfirmed),
        ("  taken back by HR", result.withdrawn),
        ("closed", result.closed),
        ("  history sealed", result.sealed),
        ("  with a bundle", result.bundles),
    )


def as_json(result: Completeness) -> Facts:
    """Everything, as a machine reads it. Times are ISO 8601 in UTC; no names, only pseudonyms."""
    return {
        "complete": result.complete,
        "claim": claim(result),
        "period": {"start": _time(result.period.start), "end": _time(result.period.end)},
        "as_of": _time(result.as_of),
        "mode": result.mode.value,
        "pulls": result.pulls,
        "last_pull": _pull(result.last_pull),
        "hr_leavers": result.hr_leavers,
        "with_case": result.with_case,
        "excluded": result.excluded,
        "missing": result.missing,
        "difference": result.difference,
        "cases": result.cases,
        "unlisted": result.unlisted,
        "unconfirmed": result.unconfirmed,
        "withdrawn": result.withdrawn,
        "closed": result.closed,
        "sealed": result.sealed,
        "bundles": result.bundles,
        "other_mode": result.other_mode,
        "exclusions": {reason.value: count for reason, count in sorted(result.exclusions.items())},
        "lines": [_line(line) for line in result.lines],
        "findings": [_finding(found, result.as_of) for found in result.findings],
    }


def _pull(pull: Snapshot | None) -> Facts | None:
    if pull is None:
        return None
    return {
        "snapshot": pull.id,
        "source": pull.source,
        "query": pull.query,
        "pulled_at": _time(pull.pulled_at),
        "raw_sha256": pull.raw_sha256,
        "rows": pull.rows,
        "leavers": pull.leavers,
        "unreadable": pull.unreadable,
        "root": pull.root,
        "seq": pull.seq,
    }


def _line(line: Line) -> Facts:
    return {
        "case": line.case,
        "person_ref": line.person_ref,
        "standing": line.standing,
        "effective_at": _time(line.effective_at),
        "entered_at": _time(line.entered_at),
        "listed_at": _time(line.listed_at),
        "expected_at": _time(line.expected_at),
        "excluded": line.excluded.value if line.excluded else None,
        "why": line.why,
        "approver": line.approver,
        "opened_at": _time(line.opened_at),
        "closed_at": _time(line.closed_at),
        "outcome": line.outcome.value if line.outcome else None,
        "sealed_at": _time(line.sealed_at),
        "bundled": line.bundled,
    }


def _finding(found: Finding, now: datetime) -> Facts:
    return {
        "kind": found.kind.value,
        "case": found.case,
        "subject": found.subject,
        "detail": found.detail,
        "since": _time(found.since),
        "age_minutes": max(0, int(found.age(now).total_seconds() // 60)),
        "alarm": found.alarm,
    }


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat().replace("+00:00", "Z") if moment else None
