"""Checks across the rows of one delivery: repetitions, contradictions, other employments of the same person.

Whoever is named in a way that could be meant differently is not offboarded but named: nobody leaves on
contradicting rows, and nobody is offboarded while another employment of the same person goes on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from leaver.domain.delivery import Exclusion
from leaver.domain.event import EventType, LeaverEvent
from leaver.hr.model import IngestResult, RejectedRow, SetAside, Staying


class Standing(StrEnum):
    """What a row says about an employment."""

    LEAVING = "leaving"
    RESCINDED = "rescinded"
    ACTIVE = "active"
    FORMER = "former"
    """Left so long ago that it is history."""
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One row after reading.

    ``worker`` is empty where not even that could be read. ``handles`` are user name and mail addresses,
    case-folded. ``order`` is (revision, when it changed): a newer row replaces an older one.
    """

    line: int
    standing: Standing
    source: str
    worker: str
    order: tuple[int, datetime]
    spell: str = ""
    handles: frozenset[str] = frozenset()
    event: LeaverEvent | None = None

    @classmethod
    def of(cls, line: int, event: LeaverEvent) -> Candidate:
        """The candidate of an event that was read from this line."""
        return cls(
            line=line,
            standing=Standing.RESCINDED if event.type is EventType.RESCINDED else Standing.LEAVING,
            source=event.source,
            worker=event.subject,
            order=event.revision,
            spell=event.data.employment.source_id,
            handles=handles(event.data.person.user_name, *event.data.person.emails),
            event=event,
        )

    @property
    def content(self) -> str:
        """Equal for rows that say the same."""
        return self.event.id if self.event is not None else self.standing.value


@dataclass(frozen=True, slots=True)
class FieldNames:
    """What the source calls the fields that these checks complain about."""

    worker: str
    spell: str
    date: str
    status: str
    handle: str


class _Fate(StrEnum):
    KEPT = "kept"
    REJECTED = "rejected"
    REPEATED = "repeated"


@dataclass(frozen=True, slots=True)
class _Verdict:
    row: Candidate
    fate: _Fate = _Fate.KEPT
    field: str = ""
    reason: str = ""
    why: Exclusion | None = None

    def named(self, file: str) -> RejectedRow:
        return RejectedRow(file, self.row.line, self.field, self.reason)


def handles(*values: str | None) -> frozenset[str]:
    """User names and addresses in the form in which they are compared."""
    return frozenset(value.casefold() for value in values if value)


def settle(
    candidates: Iterable[Candidate],
    *,
    file: str,
    names: FieldNames,
    rejected: Iterable[RejectedRow] = (),
    warnings: Iterable[RejectedRow] = (),
) -> IngestResult:
    """Decide about every row of a delivery.

    Args:
        candidates: all rows, each with its own line; an unreadable one is already named in ``rejected``.
        file: named in rejected rows.
        names: the source's field names.
        rejected: what the reader rejected.
        warnings: what the reader left unused.
    """
    rows, rejected = sorted(candidates, key=lambda row: row.line), tuple(rejected)
    people: dict[tuple[str, str], list[Candidate]] = defaultdict(list)
    for row in rows:
        people[_person(row)].append(row)
    verdicts = [verdict for group in people.values() for verdict in _one_person(group, names)]
    verdicts = sorted(_one_account(verdicts, rows, names), key=lambda verdict: verdict.row.line)
    kept = [verdict.row for verdict in verdicts if verdict.fate is _Fate.KEPT]
    refused = [verdict.named(file) for verdict in verdicts if verdict.fate is _Fate.REJECTED]
    unreadable = sum(row.standing is Standing.UNREADABLE for row in rows)
    return IngestResult(
        events=tuple(row.event for row in kept if row.event is not None),
        rejected=tuple(sorted((*rejected, *refused), key=lambda row: row.line)),
        duplicates=tuple(verdict.named(file) for verdict in verdicts if verdict.fate is _Fate.REPEATED),
        staying=tuple(
            Staying(row.source, row.worker, row.spell, row.line)
            for row in kept
            if row.standing is Standing.ACTIVE
        ),
        warnings=tuple(warnings),
        read=len(rows),
        refused=len(refused) + unreadable,
        former=sum(row.standing is Standing.FORMER for row in kept),
        set_aside=(*_set_aside(verdicts), *_unreadable(rows, rejected)),
    )


def _set_aside(verdicts: Iterable[_Verdict]) -> Iterator[SetAside]:
    """Employments that end and give no event. A mere repetition of a row is none."""
    for verdict in verdicts:
        row = verdict.row
        if verdict.why is not None and row.standing is Standing.LEAVING:
            yield SetAside(row.source, row.worker, row.line, verdict.why, verdict.reason, row.event)


def _unreadable(rows: Iterable[Candidate], rejected: Iterable[RejectedRow]) -> Iterator[SetAside]:
    faults: dict[int, list[str]] = defaultdict(list)
    for each in rejected:
        faults[each.line].append(f"{each.field}: {each.reason}")
    for row in rows:
        if row.standing is Standing.UNREADABLE:
            reason = "; ".join(faults[row.line]) or "cannot be read"
            yield SetAside(row.source, row.worker, row.line, Exclusion.UNREADABLE, reason)


def _person(row: Candidate) -> tuple[str, str]:
    return (row.source, row.worker.casefold()) if row.worker else ("", str(row.line))


def _one_person(group: list[Candidate], names: FieldNames) -> list[_Verdict]:
    readable = [row for row in group if row.standing is not Standing.UNREADABLE]
    if bad := next((row for row in group if row.standing is Standing.UNREADABLE), None):
        reason = f"line {bad.line} is about the same person and cannot be read; correct it first"
        return [_Verdict(row, _Fate.REJECTED, names.worker, reason, Exclusion.UNREADABLE) for row in readable]
    spells: dict[str, list[Candidate]] = defaultdict(list)
    for row in readable:
        spells[row.spell.casefold()].append(row)
    standing: list[Candidate] = []
    repeats: list[_Verdict] = []
    for rows in spells.values():
        newest = [row for row in rows if row.order == max(other.order for other in rows)]
        if len({row.content for row in newest}) > 1:
            return _contradiction(newest, readable, names)
        stands = newest[0]
        standing.append(stands)
        repeats += [_repeat(row, stands, names) for row in rows if row is not stands]
    return [*repeats, *_last_spell(standing, names)]


def _contradiction(newest: list[Candidate], group: list[Candidate], names: FieldNames) -> list[_Verdict]:
    dates = {row.event.data.separation.last_working_day for row in newest if row.event is not None}
    if len({row.standing for row in newest}) > 1:
        field, what = names.status, "another status"
    elif len(dates) > 1:
        field, what = names.date, "another date"
    else:
        field, what = names.worker, "other values"
    lines = ", ".join(str(row.line) for row in newest)
    reason = f"the same employment is named with {what} (lines {lines}); deliver one row"
    return [_Verdict(row, _Fate.REJECTED, field, reason, Exclusion.CONTRADICTION) for row in group]


def _repeat(row: Candidate, stands: Candidate, names: FieldNames) -> _Verdict:
    what = "says the same as" if row.content == stands.content else "is an older revision of"
    return _Verdict(row, _Fate.REPEATED, names.worker, f"{what} line {stands.line}")


def _last_spell(standing: list[Candidate], names: FieldNames) -> list[_Verdict]:
    """Of several employments of one person, only the end of the last one ends access."""
    leaving = [(row, row.event) for row in standing if row.event and row.standing is Standing.LEAVING]
    goes_on = next((row for row in standing if row.standing is not Standing.LEAVING), None)
    verdicts = [_Verdict(row) for row in standing if row.standing is not Standing.LEAVING]
    if not leaving:
        return verdicts
    last, last_event = max(leaving, key=lambda pair: pair[1].data.separation.effective_at)
    for row, event in leaving:
        if goes_on is not None:
            reason = (
                f"another employment of this person goes on (line {goes_on.line}); review it as a move:"
                " nobody is offboarded while employed"
            )
            verdicts.append(_Verdict(row, _Fate.REJECTED, names.spell, reason, Exclusion.OTHER_EMPLOYMENT))
        elif row is last:
            verdicts.append(_Verdict(row))
        elif event.data.separation.effective_at == last_event.data.separation.effective_at:
            reason = f"ends together with line {last.line}; one case serves both"
            verdicts.append(_Verdict(row, _Fate.REPEATED, names.spell, reason, Exclusion.SAME_END))
        else:
            reason = f"another employment of this person ends later (line {last.line}); that one counts"
            verdicts.append(_Verdict(row, _Fate.REJECTED, names.spell, reason, Exclusion.LATER_EMPLOYMENT))
    return verdicts


def _one_account(verdicts: list[_Verdict], rows: list[Candidate], names: FieldNames) -> list[_Verdict]:
    """Two workers with one user name or address: the account could be the other one's (trap T8)."""
    owners: dict[str, dict[tuple[str, str], int]] = defaultdict(dict)
    for row in rows:
        for handle in row.handles:
            owners[handle].setdefault(_person(row), row.line)
    return [_shared(verdict, owners, names) for verdict in verdicts]


def _shared(verdict: _Verdict, owners: dict[str, dict[tuple[str, str], int]], names: FieldNames) -> _Verdict:
    row = verdict.row
    if verdict.fate is not _Fate.KEPT or row.standing is not Standing.LEAVING:
        return verdict
    others = [line for handle in row.handles for who, line in owners[handle].items() if who != _person(row)]
    if not others:
        return verdict
    reason = f"line {min(others)} names another worker with the same user name or address; say whose it is"
    return _Verdict(row, _Fate.REJECTED, names.handle, reason, Exclusion.SHARED_ACCOUNT)
