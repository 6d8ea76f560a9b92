"""Reading records: a case's, a single one, or a stream of many for reports."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Connection, Row, Select, func, select

from leaver.domain.words import RecordType
from leaver.evidence.errors import (
    CaseNotClosedError,
    LedgerDamagedError,
    NotStoredError,
    UnknownCaseError,
)
from leaver.evidence.ledger.database import Database, among, instant, micros
from leaver.evidence.ledger.model import CaseEntry, Order, RawRecord
from leaver.evidence.ledger.tables import ENTRY, LEAF, RECORD
from leaver.evidence.log.merkle import leaf_hash
from leaver.evidence.records import LOG, Chain, Record, parse_record

_AT_ONCE: Final = 2_000
_CHAINS: Final = {chain.value: chain for chain in Chain}
_TYPES: Final = {kind.value: kind for kind in RecordType}

_STORED: Final = (
    select(ENTRY.c.seq, LEAF.c.hash, RECORD.c.bytes)
    .join(LEAF, LEAF.c.seq == ENTRY.c.seq)
    .join(RECORD, RECORD.c.seq == ENTRY.c.seq)
)


class RecordReads:
    """The part of the ledger that gives records back."""

    _db: Database

    def records(self, case: str, chain: Chain = Chain.CASE) -> tuple[Record, ...]:
        """A chain's records in order; empty when there are none.

        Raises:
            LedgerDamagedError: stored bytes do not match their leaf hash.
        """
        return self._checked(_STORED.where(*_in_chain(case, chain)).order_by(ENTRY.c.case_seq))

    def closed_records(self, case: str) -> tuple[Record, ...]:
        """The records of a case that has ended.

        Raises:
            UnknownCaseError: no such case.
            CaseNotClosedError: the case goes on.
            LedgerDamagedError: as for ``records``.
        """
        records = self.records(case)
        if not records:
            raise UnknownCaseError(f"{case}: the ledger has no record of this case")
        if records[-1].type is not RecordType.CASE_CLOSED:
            raise CaseNotClosedError(f"{case}: the case is not closed yet")
        return records

    def cases(self) -> tuple[CaseEntry, ...]:
        """Every case that a workflow began, in the order of their first record."""
        first, last, any_one = ENTRY.alias("first"), ENTRY.alias("last"), ENTRY.alias("any_one")
        length = (
            select(func.max(any_one.c.case_seq))
            .where(any_one.c.case_id == first.c.case_id, any_one.c.chain == first.c.chain)
            .scalar_subquery()
        )
        at_end = (
            last.c.case_id == first.c.case_id,
            last.c.chain == first.c.chain,
            last.c.case_seq == length,
        )
        query = (
            select(first.c.case_id, last.c.case_seq, last.c.type)
            .select_from(first.join(last, _all(*at_end)))
            .where(first.c.chain == Chain.CASE.value, first.c.case_seq == 0)
            .order_by(first.c.seq)
        )
        with self._db.read() as connection:
            return tuple(
                CaseEntry(str(row.case_id), int(row.case_seq) + 1, row.type == RecordType.CASE_CLOSED.value)
                for row in connection.execute(query)
            )

    def get(self, seq: int) -> Record:
        """The record at a place in the log.

        Raises:
            NotStoredError: the log has no such place.
            LedgerDamagedError: as for ``records``.
        """
        found = self._checked(_STORED.where(ENTRY.c.seq == seq))
        if not found:
            raise NotStoredError(f"the log has no record {seq}")
        return found[0]

    def last(self, chain: Chain, case: str = LOG, type: RecordType | None = None) -> Record | None:  # noqa: A002
        """The last record of a chain, or its last one of that type; None when there is none.

        Raises:
            LedgerDamagedError: as for ``records``.
        """
        query = _STORED.where(*_in_chain(case, chain)).order_by(ENTRY.c.case_seq.desc()).limit(1)
        if type is not None:
            query = query.where(ENTRY.c.type == type.value)
        return next(iter(self._checked(query)), None)

    def by_key(self, chain: Chain, key: str, case: str = LOG) -> Record | None:
        """The sealer's own record of that key; None when there is none.

        Raises:
            LedgerDamagedError: as for ``records``.
        """
        return next(iter(self._checked(_STORED.where(*_in_chain(case, chain), ENTRY.c.key == key))), None)

    def stream(  # noqa: PLR0913 - each narrows the stream, all are named
        self,
        types: Collection[RecordType] = (),
        *,
        chains: Collection[Chain] = (),
        since_seq: int = 0,
        until_seq: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        order: Order = Order.LOG,
    ) -> Iterator[RawRecord]:
        """Stream records, for reports: the database sends them bit by bit, memory stays small.

        Args:
            types: only these kinds, found by an index; all kinds when empty.
            chains: only these chains; all when empty.
            since_seq: first place in the log.
            until_seq: the place to stop before: a checkpoint's size gives what that checkpoint covers.
            since: only records dated at or after it.
            until: only records dated before it.
            order: by place in the log, or by case, chain and number.

        Yields:
            Records whose bytes were not compared with their leaf hash, see ``check``. The connection is held
            until the iterator ends or is closed.
        """
        query = _narrowed(types, chains, since_seq, until_seq, since, until)
        if order is Order.LOG:
            query = query.order_by(ENTRY.c.seq)
        else:
            query = query.order_by(ENTRY.c.case_id, ENTRY.c.chain, ENTRY.c.case_seq)
        with self._db.read() as connection:
            entries = connection.execution_options(yield_per=_AT_ONCE).execute(query)
            for part in entries.partitions():
                # The bytes apart: a database that has to sort then sorts short rows.
                raw = _bytes(connection, [row[0] for row in part])
                for row in part:
                    yield _raw_record(row, raw[row.seq])

    def _checked(self, query: Select[int, bytes, bytes]) -> tuple[Record, ...]:
        with self._db.read() as connection:
            rows = connection.execute(query).all()
        return tuple(_record(row.seq, bytes(row.hash), bytes(row.bytes)) for row in rows)


def _narrowed(  # noqa: PLR0913, PLR0917 - the stream's own arguments
    types: Collection[RecordType],
    chains: Collection[Chain],
    since_seq: int,
    until_seq: int | None,
    since: datetime | None,
    until: datetime | None,
) -> Select[int, str, str, int, str, int]:
    query = select(
        ENTRY.c.seq,
        ENTRY.c.case_id,
        ENTRY.c.chain,
        ENTRY.c.case_seq,
        ENTRY.c.type,
        ENTRY.c.at,
    )
    if types:
        query = query.where(ENTRY.c.type.in_(sorted(kind.value for kind in types)))
    if chains:
        query = query.where(ENTRY.c.chain.in_(sorted(chain.value for chain in chains)))
    if since_seq:
        query = query.where(ENTRY.c.seq >= since_seq)
    if until_seq is not None:
        query = query.where(ENTRY.c.seq < until_seq)
    if since is not None:
        query = query.where(ENTRY.c.at >= micros(since))
    if until is not None:
        query = query.where(ENTRY.c.at < micros(until))
    return query


def _raw_record(row: Row[int, str, str, int, str, int], raw: bytes) -> RawRecord:
    seq, case, chain, number, kind, at = row
    known = _TYPES.get(kind)
    if known is None or chain not in _CHAINS:
        raise LedgerDamagedError(f"record {seq} of the ledger is of a kind that this version does not know")
    return RawRecord(seq, case, _CHAINS[chain], number, known, instant(at), raw)


def _bytes(connection: Connection, seqs: Sequence[int]) -> dict[int, bytes]:
    query = select(RECORD.c.seq, RECORD.c.bytes)
    query = query.where(among(connection, RECORD.c.seq, seqs))
    found = {int(row.seq): bytes(row.bytes) for row in connection.execute(query)}
    if len(found) < len(seqs):
        missing = next(seq for seq in seqs if seq not in found)
        raise LedgerDamagedError(f"the bytes of record {missing} of the ledger are missing")
    return found


def _in_chain(case: str, chain: Chain) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return ENTRY.c.case_id == case, ENTRY.c.chain == chain.value


def _all(first: ColumnElement[bool], *others: ColumnElement[bool]) -> ColumnElement[bool]:
    for other in others:
        first &= other
    return first


def _record(seq: int, hashed: bytes, raw: bytes) -> Record:
    if leaf_hash(raw) != hashed:
        raise LedgerDamagedError(f"record {seq} of the ledger does not have the hash it was stored with")
    return parse_record(raw)
