"""Reading a period from the ledger: two passes over the records that matter, nothing kept that is not told.

The first pass reads little and finds the cases of the period; the second reads those cases whole. Only
records below the checkpoint's size count, so that the same checkpoint gives the same report for ever.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from leaver.domain.words import Mode, RecordType
from leaver.evidence.errors import ReportError
from leaver.evidence.records import LOG
from leaver.evidence.reports.gather import (
    DRIFT,
    Gathered,
    StreamedRecord,
    body_of,
    enter,
    instant,
    text,
    unreadable,
)
from leaver.evidence.reports.model import (
    Change,
    CheckpointLine,
    CompletenessTable,
    ControlException,
    ControlText,
    Decision,
    Leaver,
    PeriodInput,
    Run,
)
from leaver.evidence.reports.settle import exceptions_of, settled

_CHANGES: Final = {
    RecordType.POLICY_VERSION: "policy",
    RecordType.CONFIG_CHANGE: "configuration",
    RecordType.KEY_ROTATED: "key",
    RecordType.ERASURE: "erasure",
    RecordType.REPORT_ISSUED: "report",
}
_FIRST: Final = (
    RecordType.CASE_OPENED,
    RecordType.HR_EVENT,
    RecordType.EXCEPTION_RAISED,
    RecordType.EXCEPTION_CLOSED,
    *_CHANGES,
)
_SECOND: Final = (
    RecordType.PLAN,
    RecordType.RESULT,
    RecordType.APPROVAL,
    RecordType.CHANGE,
    RecordType.CASE_CLOSED,
    RecordType.HISTORY_FINAL,
)


class LedgerReader(Protocol):
    """What reading a period needs of the ledger."""

    def stream(
        self, types: Collection[RecordType] = (), *, since_seq: int = 0, until_seq: int | None = None
    ) -> Iterable[StreamedRecord]:
        """The records of these types between those places, in the order of the log."""
        ...


@dataclass(frozen=True, slots=True)
class Frame:
    """What surrounds the records: completeness, anchors, controls, who runs the report.

    ``members`` are the cases that belong to the period; without them the cases' own cut-offs decide.
    ``uncased`` are leavers of HR's list without a case.
    """

    zone: str = "UTC"
    mode: Mode = Mode.ENFORCE
    completeness: CompletenessTable | None = None
    members: frozenset[str] | None = None
    uncased: tuple[Leaver, ...] = ()
    anchors: tuple[CheckpointLine, ...] = ()
    controls: tuple[ControlText, ...] = ()
    run: Run | None = None


@dataclass(slots=True)
class _Scan:
    """Everything that the passes find."""

    start: datetime
    end: datetime
    as_of: datetime
    cases: dict[str, Gathered] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    raised_here: set[str] = field(default_factory=set)
    records: int = 0

    def case(self, record: StreamedRecord) -> Gathered:
        return self.cases.setdefault(record.case, Gathered(record.case))

    def has(self, moment: datetime | None) -> bool:
        return moment is not None and self.start <= moment < self.end


def load_period(
    ledger: LedgerReader,
    start: datetime,
    end: datetime,
    checkpoint: CheckpointLine,
    frame: Frame | None = None,
) -> PeriodInput:
    """Read the leavers whose effective time lies in ``start <= time < end``, as of the checkpoint.

    Args:
        ledger: read only, nothing is written.
        start: aware.
        end: aware.
        checkpoint: records at or after its size are not read.
        frame: what the records do not say themselves; without a completeness table the report says that
            completeness was not tested.

    Raises:
        ReportError: the period is empty or turned round, or the time zone is unknown.
        UnreadableRecordsError: a record has another body than its type says.
    """
    frame = frame or Frame()
    _check(start, end, frame.zone)
    as_of = checkpoint.at
    if as_of is None:
        raise ReportError("the checkpoint does not say when it was signed")
    scan = _Scan(start, end, as_of)
    _find(ledger, scan, checkpoint.size)
    wanted = {case for case, found in scan.cases.items() if _is_wanted(found, scan, frame)}
    _read(ledger, scan, wanted | scan.raised_here, checkpoint.size)
    leavers, exceptions = _rows(scan, wanted)
    others = [
        found for found in scan.cases.values() if scan.has(found.cutoff) and found.mode is not frame.mode
    ]
    return PeriodInput(
        start=start,
        end=end,
        zone=frame.zone,
        as_of=as_of,
        checkpoint=checkpoint,
        leavers=tuple(sorted((*leavers, *frame.uncased), key=_by_time)),
        exceptions=tuple(exceptions),
        decisions=tuple(d for d in _decisions(scan) if d.case in wanted or scan.has(d.at)),
        changes=tuple(scan.changes),
        completeness=frame.completeness or _uncompared(scan, wanted),
        anchors=frame.anchors or (checkpoint,),
        controls=frame.controls,
        records=scan.records,
        mode=frame.mode,
        other_mode=len(others),
        run=frame.run,
    )


def _check(start: datetime, end: datetime, zone: str) -> None:
    if start.tzinfo is None or end.tzinfo is None:
        raise ReportError("a period needs times with a zone")
    if end <= start:
        raise ReportError(f"the period ends ({end:%Y-%m-%d %H:%M}) before it begins ({start:%Y-%m-%d %H:%M})")
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise ReportError(f"{zone}: no such time zone; use a name such as Europe/Berlin") from None


def _by_time(leaver: Leaver) -> tuple[datetime, str]:
    return leaver.cutoff, leaver.case


def _find(ledger: LedgerReader, scan: _Scan, size: int) -> None:
    """First pass: every case's dates, every exception, every change of what decides."""
    drifted: dict[str, int] = {}
    for record in ledger.stream(_FIRST, until_seq=size):
        scan.records += 1
        if record.type in _CHANGES:
            _change(scan, record)
            continue
        found = scan.case(record)
        enter(found, record, scan.as_of)
        if record.type == RecordType.EXCEPTION_RAISED:
            if scan.has(found.raised[-1].at):
                scan.raised_here.add(record.case)
            if any(raised.cause == DRIFT for raised in found.raised):
                drifted.setdefault(record.case, record.seq)
    if drifted:
        _read_again(ledger, scan, drifted, size)


def _read_again(ledger: LedgerReader, scan: _Scan, drifted: dict[str, int], size: int) -> None:
    """The read-backs of cases that had drifted: one that proves the state again ends the exception."""
    since = min(drifted.values())
    for record in ledger.stream((RecordType.READBACK,), since_seq=since, until_seq=size):
        if record.case in drifted:
            scan.records += 1
            enter(scan.case(record), record, scan.as_of)


def _change(scan: _Scan, record: StreamedRecord) -> None:
    body, at = body_of(record)
    if not scan.has(at):
        return
    kind = _CHANGES[RecordType(record.type)]
    told = [f"{name.replace('_', ' ')}: {value}" for name, value in sorted(body.items()) if _is_plain(value)]
    what = next((text(body, key) for key in ("what", "change", "name", "report") if text(body, key)), kind)
    about = "" if record.case == LOG else f"{record.case}; "
    scan.changes.append(Change(kind, at, what, about + "; ".join(told), record.seq))


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int) and value != ""


def _is_wanted(found: Gathered, scan: _Scan, frame: Frame) -> bool:
    if not found.opened or found.mode is not frame.mode:
        return False
    return scan.has(found.cutoff) if frame.members is None else found.case in frame.members


def _read(ledger: LedgerReader, scan: _Scan, cases: set[str], size: int) -> None:
    """Second pass: the chosen cases whole."""
    for record in ledger.stream(_SECOND, until_seq=size):
        if record.case not in cases and record.type != RecordType.APPROVAL:
            continue
        scan.records += 1
        found = scan.case(record)
        if record.type == RecordType.APPROVAL:
            scan.decisions.append(_decision(record, found))
        else:
            enter(found, record, scan.as_of)


def _decision(record: StreamedRecord, found: Gathered) -> Decision:
    body, at = body_of(record)
    by_ref = text(body, "by_ref")
    try:
        return Decision(
            case=record.case,
            person_ref=found.person_ref,
            verb=str(body["verb"]),
            by_ref=by_ref,
            at=instant(body, "at") or at,
            accepted=body["accepted"] is True,
            refusal=text(body, "refusal"),
            seq=record.seq,
            about_self=bool(by_ref) and by_ref == found.person_ref,
            by_leaver=False,
        )
    except (KeyError, ValueError):
        raise unreadable(record) from None


def _decisions(scan: _Scan) -> Iterator[Decision]:
    """Every statement, with whether the person who made it had left by then."""
    left: dict[str, datetime] = {}
    for found in scan.cases.values():
        if found.person_ref and found.cutoff is not None and found.mode is Mode.ENFORCE:
            left[found.person_ref] = min(found.cutoff, left.get(found.person_ref, found.cutoff))
    for decision in scan.decisions:
        gone = left.get(decision.by_ref)
        yield replace(decision, by_leaver=gone is not None and gone <= decision.at)


def _rows(scan: _Scan, wanted: set[str]) -> tuple[list[Leaver], list[ControlException]]:
    leavers: list[Leaver] = []
    exceptions: list[ControlException] = []
    for case, found in scan.cases.items():
        if case in wanted:
            leaver, own = settled(found, scan.as_of)
            leavers.append(leaver)
            exceptions += own
        elif case in scan.raised_here:
            exceptions += [told for told in _of_elsewhere(found, scan.as_of) if scan.has(told.raised_at)]
    exceptions.sort(
        key=lambda told: (not told.standing, told.raised_at or scan.as_of, told.case, told.step or "")
    )
    return leavers, exceptions


def _of_elsewhere(found: Gathered, as_of: datetime) -> tuple[ControlException, ...]:
    """Exceptions raised in the period about the log itself, or about cases of another period."""
    if not found.opened:
        return exceptions_of(found, (), as_of)
    return tuple(told for told in settled(found, as_of)[1] if told.recorded)


def _uncompared(scan: _Scan, wanted: set[str]) -> CompletenessTable:
    """What the ledger alone can say: cases, closed, sealed. HR was not asked."""
    cases = [scan.cases[case] for case in wanted]
    return CompletenessTable(
        hr_leavers=None,
        cases=len(cases),
        closed=sum(found.outcome is not None for found in cases),
        sealed=sum(found.outcome is not None and found.sealed for found in cases),
    )
