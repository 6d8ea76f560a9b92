"""Erasing what names a person: openings and case keys go, records and leaf hashes stay and still verify.

A record holds pseudonyms and a commitment, SHA-256 over a random salt and the personal data. Without the
opening (salt and data) the commitment says nothing, and nothing in the Merkle tree changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pydantic import JsonValue

from leaver.domain.base import Facts
from leaver.domain.event import Knowledge
from leaver.domain.words import RecordType
from leaver.evidence.errors import ErasureRefusedError, UnknownCaseError
from leaver.evidence.ledger.model import Opening
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.population.bodies import ErasureBody
from leaver.evidence.records import LOG, Chain, Record

_ADDRESS: Final = re.compile(r"\S@\S")
_WORD: Final = re.compile(r"\w+")
_SHORTEST_NAME: Final = 3
MAX_REASON: Final = 500


@dataclass(frozen=True, slots=True)
class Order:
    """Who orders the erasure and why. ``nonce`` makes a repeated order the same one."""

    reason: str
    by_ref: str
    nonce: str
    statement_sha256: str = ""
    force: bool = False


@dataclass(frozen=True, slots=True)
class Erasure:
    """What was erased for one case; ``seq`` is the place of the ``erasure`` record in the log."""

    case: str
    person_ref: str
    openings: int
    key: bool
    seq: int


@dataclass(frozen=True, slots=True)
class _Standing:
    """What decides whether a case's openings may go."""

    person_ref: str
    open: bool
    hold: Knowledge


def erase(ledger: Ledger, case: str, order: Order, at: datetime) -> Erasure:
    """Erase the openings and the key of a case, and record that; ``erase_all`` also scrubs the files.

    The record is written first: an erasure that was interrupted is known and finished by the same order.

    Args:
        ledger: open for writing.
        case: whose openings.
        order: who, why, and whether to insist.
        at: the sealer's clock.

    Raises:
        UnknownCaseError: the ledger knows nothing of this case.
        ErasureRefusedError: the case is open, a legal hold is not ruled out, or the reason names the person.
        LedgerError: the ledger cannot be written.
    """
    standing = _standing(ledger, case)
    openings = ledger.opening(case)
    files = _files_named_after(ledger, openings)
    _refuse_unless_allowed(case, standing, order)
    check_reason(order.reason, openings)
    body = ErasureBody(
        case=case,
        person_ref=standing.person_ref,
        reason=order.reason,
        by_ref=order.by_ref,
        statement_sha256=order.statement_sha256,
        forced=order.force,
        openings=tuple(sorted((*files, *(opening.seq for opening in openings)))),
        key=ledger.case_key(case) is not None,
        open=standing.open,
        legal_hold=standing.hold,
    )
    record = ledger.note(
        Chain.SEALER, case, RecordType.ERASURE, at, body.facts(), key=f"erasure:{order.nonce}"
    )
    # First what is found by the names that go next: an interrupted erasure finds it again.
    count = ledger.erase_openings(LOG, seqs=files) if files else 0
    count += ledger.erase_openings(case)
    key = ledger.drop_case_key(case)
    return Erasure(case, standing.person_ref, count, key, record.seq)


def erase_all(
    ledger: Ledger, case: str, order: Order, at: datetime, *, whole_person: bool = False
) -> tuple[Erasure, ...]:
    """Erase one case, or every case of the same person, and see to it that the files keep no trace.

    Nothing is erased unless all may be. Repeating the same order finishes what was interrupted.

    Raises:
        UnknownCaseError, ErasureRefusedError, LedgerError: as for ``erase``.
    """
    cases = cases_of(ledger, case) if whole_person else (case,)
    for each in cases:
        check(ledger, each, order)
    erased = tuple(erase(ledger, each, order, at) for each in cases)
    ledger.scrub()
    return erased


def cases_of(ledger: Ledger, case: str) -> tuple[str, ...]:
    """Every case of the person that a case is about, that one first.

    Raises:
        UnknownCaseError: the ledger knows nothing of this case.
    """
    person = _standing(ledger, case).person_ref
    others = {opening.case for opening in ledger.opening()} - {case}
    return (case, *sorted(other for other in others if _person(ledger, other) == person))


def check(ledger: Ledger, case: str, order: Order) -> None:
    """Whether ``erase`` would do it.

    Raises:
        UnknownCaseError, ErasureRefusedError: it would not.
    """
    _refuse_unless_allowed(case, _standing(ledger, case), order)
    check_reason(order.reason, ledger.opening(case))


def _standing(ledger: Ledger, case: str) -> _Standing:
    opened = ledger.last(Chain.CASE, case, RecordType.CASE_OPENED)
    closed = ledger.last(Chain.CASE, case, RecordType.CASE_CLOSED)
    noted = [
        found
        for kind in (RecordType.CASE_EXPECTED, RecordType.CASE_EXCLUDED, RecordType.POPULATION_ROW)
        if (found := ledger.last(Chain.SEALER, case, kind)) is not None
    ]
    if opened is None and not noted:
        raise UnknownCaseError(f"{case}: the ledger has no record of this case")
    return _Standing(
        person_ref=_first_text((opened, *noted), "person_ref"),
        open=closed is None,
        hold=_hold([*noted, *([opened] if opened else [])]),
    )


def _hold(records: Iterable[Record]) -> Knowledge:
    """What HR last said about a legal hold; unknown is never read as no."""
    said = [record for record in records if "legal_hold" in record.body]
    if not said:
        return Knowledge.UNKNOWN
    newest = max(said, key=lambda record: record.seq).body["legal_hold"]
    if isinstance(newest, bool):
        return Knowledge.YES if newest else Knowledge.NO
    return Knowledge(str(newest))


def _refuse_unless_allowed(case: str, standing: _Standing, order: Order) -> None:
    if order.force:
        return
    if standing.open:
        raise ErasureRefusedError(
            f"{case}: the case is not closed; erase when it is, or insist (--force) with a reason"
        )
    if standing.hold is not Knowledge.NO:
        known = standing.hold is Knowledge.YES
        state = "HR says there is a legal hold" if known else "HR did not rule out a legal hold"
        raise ErasureRefusedError(
            f"{case}: {state}; ask legal, then insist (--force) with a reason that says who released it"
        )


def check_reason(reason: str, openings: Iterable[Opening]) -> None:
    """Refuse a reason that would put into the log for ever what openings exist to keep out of it.

    Raises:
        ErasureRefusedError: empty, too long, an address, or a word of the person's name or number.
    """
    if not reason.strip():
        raise ErasureRefusedError("a reason is needed; it becomes part of the log for ever")
    if len(reason) > MAX_REASON:
        raise ErasureRefusedError(f"the reason is longer than {MAX_REASON} characters")
    if _ADDRESS.search(reason):
        raise ErasureRefusedError("the reason holds an address; it becomes part of the log for ever")
    said = {word.casefold() for word in _WORD.findall(reason)}
    if any(said & set(_names(opening.content)) for opening in openings):
        raise ErasureRefusedError(
            "the reason repeats a name or number of the person; it becomes part of the log for ever"
        )


def _files_named_after(ledger: Ledger, openings: Iterable[Opening]) -> tuple[int, ...]:
    """The pulls of HR's list whose files' names hold a word that names the person: better one too many."""
    names = {name for opening in openings for name in _names(opening.content)}
    return tuple(
        pull.seq
        for pull in (ledger.opening(LOG) if names else ())
        if any(
            name in text.casefold()
            for value in pull.content.values()
            for text in _texts(value)
            for name in names
        )
    )


def _names(content: Facts) -> Iterator[str]:
    """The words that name the person, in the form in which they are compared. A domain names nobody."""
    for value in content.values():
        for text in _texts(value):
            words = _WORD.findall(text.split("@", 1)[0])
            yield from (word.casefold() for word in words if len(word) >= _SHORTEST_NAME)


def _texts(value: JsonValue) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _person(ledger: Ledger, case: str) -> str:
    try:
        return _standing(ledger, case).person_ref
    except UnknownCaseError:
        return ""


def _first_text(records: Iterable[Record | None], name: str) -> str:
    for record in records:
        value = record.body.get(name) if record is not None else None
        if isinstance(value, str) and value:
            return value
    return ""
