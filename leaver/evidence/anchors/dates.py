"""What records say of their own time, compared with when they came into the log.

A record's date is the word of whoever drafted it. What the log itself knows is between which two checkpoints
the record came. A record may honestly come late: while the sealer is away, cases go on and their records
wait. So this states both times and judges nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from leaver.domain.base import Instant
from leaver.domain.words import RecordType
from leaver.evidence.bodies import Raised
from leaver.evidence.ledger.model import Note, RawRecord, StoredCheckpoint
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.records import LOG, Chain

TOLERANCE: Final = timedelta(minutes=15)
"""Clocks differ, and a record may wait for a retry: less than this is not worth a word."""


class Dated(StrEnum):
    """The cause of the exception."""

    BACK = "dated_back"
    """Recorded late: the date lies before the checkpoint that was signed without the record."""
    AHEAD = "dated_ahead"
    """The date lies ahead of the clock of the sealer, which had the record already."""


class DatedRecords(Raised):
    """``exception.raised`` about records of one chain, by their places in the log."""

    chain: Chain
    count: int
    first_seq: int
    last_seq: int
    earliest: Instant
    latest: Instant
    after: Instant | None
    """When the checkpoint before these records was signed; None: none was."""
    before: Instant
    """When the sealer looked, right before it signed the next one."""


@dataclass(slots=True)
class _Group:
    first: int
    last: int
    count: int
    earliest: datetime
    latest: datetime

    def add(self, record: RawRecord) -> None:
        self.last, self.count = record.seq, self.count + 1
        self.earliest, self.latest = min(self.earliest, record.at), max(self.latest, record.at)


def note_dates(
    ledger: Ledger, last: StoredCheckpoint | None, now: datetime, tolerance: timedelta = TOLERANCE
) -> int:
    """Note where records that came since the last checkpoint carry dates that do not fit.

    One ``exception.raised`` per chain and cause, in the sealer's chain of the case, or the log's own. Asked
    again before the next checkpoint is signed, it notes nothing twice.

    Args:
        ledger: open for writing.
        last: the checkpoint signed last; None before the first.
        now: the sealer's clock.
        tolerance: what is not worth a word.

    Returns:
        How many were noted.

    Raises:
        LedgerError: the ledger cannot be read or written.
    """
    notes = [*_notes(ledger, last, now, tolerance)]
    if notes:
        ledger.notes(notes)
    return len(notes)


def _notes(
    ledger: Ledger, last: StoredCheckpoint | None, now: datetime, tolerance: timedelta
) -> Iterator[Note]:
    groups: dict[tuple[str, Chain, Dated], _Group] = {}
    for record in ledger.stream(since_seq=last.size if last else 0):
        cause = _cause(record.at, last, now, tolerance)
        if cause is None:
            continue
        group = groups.setdefault(
            (record.case, record.chain, cause), _Group(record.seq, record.seq, 0, record.at, record.at)
        )
        group.add(record)
    for (case, chain, cause), group in groups.items():
        yield _note(case, chain, cause, group, last.at if last else None, now)


def _cause(at: datetime, last: StoredCheckpoint | None, now: datetime, tolerance: timedelta) -> Dated | None:
    if at > now + tolerance:
        return Dated.AHEAD
    return Dated.BACK if last is not None and at < last.at - tolerance else None


def _note(  # noqa: PLR0913, PLR0917 - where, what, and the two times
    case: str, chain: Chain, cause: Dated, group: _Group, after: datetime | None, now: datetime
) -> Note:
    came = (
        f"came into the log between {_told(after)} and {_told(now)}" if after else f"came before {_told(now)}"
    )
    span = _told(group.earliest)
    if _told(group.latest) != span:
        span += f" to {_told(group.latest)}"
    how = "recorded late" if cause is Dated.BACK else "dated ahead of the sealer's clock"
    body = DatedRecords(
        cause=cause.value,
        detail=f"{how}: {group.count} record(s) of the chain {chain.value}, places {group.first} to "
        f"{group.last} of the log, are dated {span} and {came}, as the checkpoints show",
        chain=chain,
        count=group.count,
        first_seq=group.first,
        last_seq=group.last,
        earliest=group.earliest,
        latest=group.latest,
        after=after,
        before=now,
    )
    return Note(
        chain=Chain.LOG if case == LOG else Chain.SEALER,
        type=RecordType.EXCEPTION_RAISED,
        at=now,
        body=body.model_dump(mode="json"),
        key=f"{cause.value}:{chain.value}:{group.first}-{group.last}",
        case=case,
    )


def _told(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
