"""What the ledger says about the population, kept up to date record by record."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Protocol, TypeVar

from pydantic_core import from_json

from leaver.domain.base import Message
from leaver.domain.delivery import Exclusion
from leaver.domain.ids import workflow_id
from leaver.domain.words import Mode, RecordType
from leaver.evidence.bodies import Closed as ClosedBody
from leaver.evidence.bodies import HrEvent
from leaver.evidence.bodies import Opened as OpenedBody
from leaver.evidence.errors import UnreadableRecordsError
from leaver.evidence.ledger.model import RawRecord
from leaver.evidence.population.bodies import (
    ExpectedBody,
    FindingBody,
    FoundClosedBody,
    RowBody,
    SnapshotBody,
)
from leaver.evidence.population.model import (
    Ended,
    Excluded,
    Expected,
    GapKind,
    Listed,
    Opened,
    Seen,
    Snapshot,
    Unread,
)

B = TypeVar("B", bound=Message)


class Reader(Protocol):
    """What is needed of the ledger."""

    def stream(
        self,
        types: Collection[RecordType] = (),
        *,
        since_seq: int = 0,
        until_seq: int | None = None,
    ) -> Iterable[RawRecord]:
        """Records of these types in the order of the log."""


@dataclass(frozen=True, slots=True)
class OpenFinding:
    """A finding that was written and not closed."""

    kind: str
    about: str
    number: int
    detail: str
    since: datetime
    case: str


@dataclass(slots=True)
class Observed:
    """Everything read so far. ``take`` reads what is new; the first time that is the whole ledger."""

    seen: Seen = field(default_factory=Seen)
    open_findings: dict[str, OpenFinding] = field(default_factory=dict)
    times_found: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    last_run: datetime | None = None
    next_seq: int = 0
    parts: dict[str, dict[int, SnapshotBody]] = field(default_factory=dict)
    """Of pulls that are not recorded whole yet."""
    runs: dict[str, dict[str, bool]] = field(default_factory=dict)
    """Per case its workflow's runs, and whether each is sealed whole."""

    def take(self, ledger: Reader, *, until_seq: int | None = None) -> None:
        """Read what was added since the last time, up to (not including) ``until_seq``.

        Raises:
            UnreadableRecordsError: a record's body has another shape than its type says.
        """
        for record in ledger.stream(tuple(_ENTRIES), since_seq=self.next_seq, until_seq=until_seq):
            _ENTRIES[record.type](self, record)
            self.next_seq = record.seq + 1
        self.seen.pull_trouble = {
            each.about: (each.since, each.detail)
            for each in self.open_findings.values()
            if each.kind == GapKind.PULL_FAILED
        }


def load_seen(ledger: Reader, *, until_seq: int | None = None) -> Seen:
    """What the first ``until_seq`` records of the log say; the same checkpoint gives the same answer.

    Raises:
        UnreadableRecordsError: a record's body has another shape than its type says.
    """
    observed = Observed()
    observed.take(ledger, until_seq=until_seq)
    return observed.seen


def _body(record: RawRecord, model: type[B]) -> B:
    try:
        return model.model_validate(from_json(record.raw)["body"])
    except (ValueError, KeyError, TypeError) as err:
        raise UnreadableRecordsError(
            f"record {record.seq} ({record.type.value}) cannot be read by this version"
        ) from err


def _expected(observed: Observed, record: RawRecord) -> None:
    body, known = _body(record, ExpectedBody), observed.seen.expected.get(record.case)
    observed.seen.expected[record.case] = Expected(
        case=record.case,
        person_ref=body.person_ref,
        source=body.source,
        mode=body.mode,
        cutoff=body.cutoff,
        at=known.at if known else record.at,
        seq=known.seq if known else record.seq,
        last_seq=record.seq,
    )


class _AnyExcluded(Message):
    """What the shapes of ``case.excluded`` share."""

    person_ref: str = ""
    mode: Mode
    reason: Exclusion
    why: str
    approver: str


def _excluded(observed: Observed, record: RawRecord) -> None:
    body, before = _body(record, _AnyExcluded), observed.seen.exclusions.get(record.case)
    expected = observed.seen.expected.get(record.case)
    if before is not None and expected is not None and expected.last_seq > before.seq:
        before = None
    observed.seen.exclusions[record.case] = Excluded(
        case=record.case,
        person_ref=body.person_ref,
        mode=body.mode,
        reason=body.reason,
        why=body.why,
        approver=body.approver,
        at=record.at,
        seq=record.seq,
        first_at=before.first_at if before else record.at,
        first_seq=before.first_seq if before else record.seq,
    )


def _row(observed: Observed, record: RawRecord) -> None:
    body, known = _body(record, RowBody), observed.seen.listed.get(record.case)
    commit = from_json(record.raw)["body"].get("person_commit")
    observed.seen.listed[record.case] = Listed(
        case=record.case,
        person_ref=body.person_ref,
        source=body.source,
        mode=body.mode,
        effective_at=body.effective_at,
        first_listed_at=known.first_listed_at if known else body.pulled_at,
        entered_at=body.entered_at,
        leaving=body.leaving,
        set_aside=body.set_aside,
        event_id=body.event_id,
        commit=commit if isinstance(commit, str) else known.commit if known else "",
    )


def _snapshot(observed: Observed, record: RawRecord) -> None:
    """A pull counts once all of its parts are there."""
    body = _body(record, SnapshotBody)
    parts = observed.parts.setdefault(body.snapshot, {})
    parts[body.part] = body
    if len(parts) < body.parts:
        return
    del observed.parts[body.snapshot]
    observed.seen.snapshots.append(
        Snapshot(
            id=body.snapshot,
            source=body.source,
            query=body.query,
            mode=body.mode,
            pulled_at=body.pulled_at,
            raw_sha256=body.raw_sha256,
            rows=body.rows,
            leavers=body.leavers,
            unreadable=body.unreadable,
            root=body.root,
            seq=record.seq,
            cases=frozenset(case for part in parts.values() for case in part.cases),
        )
    )
    observed.seen.unread = [
        *(row for row in observed.seen.unread if row.source != body.source),
        *(
            Unread(body.source, row.person_ref, row.line, row.why, body.pulled_at)
            for part in parts.values()
            for row in part.unreadable_rows
        ),
    ]


def _opened(observed: Observed, record: RawRecord) -> None:
    body = _body(record, OpenedBody)
    opened = Opened(
        case=record.case,
        person_ref=body.person_ref,
        source=body.source,
        mode=body.mode,
        cutoff=body.cutoff,
        at=record.at,
        seq=record.seq,
    )
    observed.seen.opened.setdefault(record.case, opened)


def _hr_event(observed: Observed, record: RawRecord) -> None:
    """HR moved the date of an open case."""
    body, opened = _body(record, HrEvent), observed.seen.opened.get(record.case)
    if body.applied and opened is not None:
        observed.seen.opened[record.case] = replace(opened, cutoff=body.cutoff)


def _closed(observed: Observed, record: RawRecord) -> None:
    observed.seen.closed[record.case] = Ended(record.at, _body(record, ClosedBody).outcome)


class _RunBody(Message):
    """What ``history.prefix`` and ``history.final`` share."""

    workflow_id: str
    run_id: str


def _run_seen(observed: Observed, record: RawRecord) -> None:
    """A run of the case itself is open, or closed and sealed; the watch after the case is not counted.

    A reset or continue-as-new opens another run: the case is sealed once none is open.
    """
    body = _body(record, _RunBody)
    if body.workflow_id != workflow_id(record.case):
        return
    runs = observed.runs.setdefault(record.case, {})
    final = record.type is RecordType.HISTORY_FINAL
    runs[body.run_id] = runs.get(body.run_id, False) or final
    if not all(runs.values()):
        observed.seen.sealed.pop(record.case, None)
    elif final:
        observed.seen.sealed[record.case] = record.at


def _finding(observed: Observed, record: RawRecord) -> None:
    body = _body(record, FindingBody)
    observed.times_found[body.finding] = max(observed.times_found[body.finding], body.number)
    observed.open_findings[body.finding] = OpenFinding(
        kind=body.kind,
        about=body.about,
        number=body.number,
        detail=body.detail,
        since=body.since,
        case=record.case,
    )


def _found_closed(observed: Observed, record: RawRecord) -> None:
    """Other exceptions are closed by records of this type as well; those name no finding."""
    if "finding" in from_json(record.raw)["body"]:
        observed.open_findings.pop(_body(record, FoundClosedBody).finding, None)


def _run(observed: Observed, record: RawRecord) -> None:
    observed.last_run = record.at


_ENTRIES: Final[dict[RecordType, Callable[[Observed, RawRecord], None]]] = {
    RecordType.CASE_EXPECTED: _expected,
    RecordType.CASE_EXCLUDED: _excluded,
    RecordType.POPULATION_ROW: _row,
    RecordType.POPULATION: _snapshot,
    RecordType.CASE_OPENED: _opened,
    RecordType.HR_EVENT: _hr_event,
    RecordType.CASE_CLOSED: _closed,
    RecordType.HISTORY_PREFIX: _run_seen,
    RecordType.HISTORY_FINAL: _run_seen,
    RecordType.RECONCILIATION_FINDING: _finding,
    RecordType.EXCEPTION_CLOSED: _found_closed,
    RecordType.RECONCILIATION: _run,
}
