"""Writing a pull of HR's list into the log: who left it open, who changed, and one root over all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from leaver.domain.population import PopulationRow, Pull
from leaver.domain.words import RecordType
from leaver.evidence.ledger.model import Note
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.log.merkle import leaf_hash, root_of
from leaver.evidence.population.bodies import RowBody, SnapshotBody
from leaver.evidence.population.expect import is_erased
from leaver.evidence.population.model import Listed
from leaver.evidence.population.observed import Observed
from leaver.evidence.records import LOG, Chain

IDS_PER_PART: Final = 500
_ROWS_AT_ONCE: Final = 250
_UNREADABLE_PER_PART: Final = 100


def record_pull(ledger: Ledger, observed: Observed, pull: Pull, at: datetime) -> str:
    """Write what is new in a pull, then the snapshot itself. ``observed`` is brought up to date.

    A leaver gets an ``hr.population.row`` in the case's own chain when HR's list says something new about
    them, with an opening that tells a person with the right to it who is meant. The snapshot lists the ids of
    all leavers and the root over their commitments, so nobody can be added to or taken from it later.

    Args:
        ledger: open for writing.
        observed: what the ledger says so far.
        pull: what HR's list says.
        at: the sealer's clock, which dates the records.

    Returns:
        The snapshot's id.

    Raises:
        LedgerError: the ledger cannot take it. A pull that was written in part does not count.
    """
    observed.take(ledger)
    snapshot = _id(pull)
    fresh = [*_changed(observed, pull), *_taken_back(observed, pull)]
    for start in range(0, len(fresh), _ROWS_AT_ONCE):
        some = fresh[start : start + _ROWS_AT_ONCE]
        ledger.notes([_row_note(ledger, pull, row, snapshot, at) for row in some])
    observed.take(ledger)
    listed = observed.seen.listed
    cases = sorted(row.case for row in pull.leavers if row.leaving)
    commits = [listed[case].commit for case in cases if case in listed and listed[case].commit]
    ledger.notes([*_parts(pull, snapshot, cases, commits, at)])
    observed.take(ledger)
    return snapshot


def population_root(commits: Sequence[str]) -> str:
    """The root (hex, RFC 6962) over commitments in the order of their case ids."""
    return root_of([leaf_hash(bytes.fromhex(commit)) for commit in commits]).hex()


def _id(pull: Pull) -> str:
    content = f"{pull.source}|{pull.pulled_at.isoformat()}|{pull.raw_sha256}|{pull.mode.value}"
    return "s-" + hashlib.sha256(content.encode()).hexdigest()[:32]


def _changed(observed: Observed, pull: Pull) -> Iterator[PopulationRow]:
    for row in pull.leavers:
        known = observed.seen.listed.get(row.case)
        if known is None or _news(known) != (row.event_id, row.leaving, row.set_aside):
            yield row


def _news(known: Listed) -> tuple[object, ...]:
    # Not the time of effect: that of an immediate leaver is the hour of the pull, each day another.
    return (known.event_id, known.leaving, known.set_aside)


def _taken_back(observed: Observed, pull: Pull) -> Iterator[PopulationRow]:
    """Somebody who was listed as leaving and whose employment now goes on."""
    still = {row.case for row in pull.leavers}
    for case in sorted(pull.staying - still):
        known = observed.seen.listed.get(case)
        if known is not None and known.leaving:
            yield PopulationRow(
                case=case,
                person_ref=known.person_ref,
                source=known.source,
                event_id="",
                effective_at=known.effective_at,
                leaving=False,
            )


def _row_note(ledger: Ledger, pull: Pull, row: PopulationRow, snapshot: str, at: datetime) -> Note:
    body = RowBody(
        **row.model_dump(exclude={"about"}), mode=pull.mode, snapshot=snapshot, pulled_at=pull.pulled_at
    )
    return Note(
        chain=Chain.SEALER,
        case=row.case,
        type=RecordType.POPULATION_ROW,
        at=at,
        body=body.facts(),
        key=f"row:{snapshot}",
        opening=None if not row.about or is_erased(ledger, row.case) else row.about,
    )


def _parts(
    pull: Pull, snapshot: str, cases: Sequence[str], commits: Sequence[str], at: datetime
) -> Iterator[Note]:
    wanted = max(len(cases) / IDS_PER_PART, len(pull.unreadable) / _UNREADABLE_PER_PART)
    parts = max(1, -int(-wanted // 1))
    root = population_root(commits)
    for part in range(parts):
        body = SnapshotBody(
            snapshot=snapshot,
            source=pull.source,
            query=pull.query,
            mode=pull.mode,
            pulled_at=pull.pulled_at,
            raw_sha256=pull.raw_sha256,
            rows=pull.rows,
            leavers=len(cases),
            committed=len(commits),
            root=root,
            part=part + 1,
            parts=parts,
            cases=tuple(cases[part * IDS_PER_PART : (part + 1) * IDS_PER_PART]),
            unreadable=len(pull.unreadable),
            unreadable_rows=pull.unreadable[part * _UNREADABLE_PER_PART : (part + 1) * _UNREADABLE_PER_PART],
            problems=pull.problems,
        )
        yield Note(
            chain=Chain.LOG,
            case=LOG,
            type=RecordType.POPULATION,
            at=at,
            body=body.facts(),
            key=f"{snapshot}/{part + 1}",
            opening={"files": list(pull.files)} if pull.files and part == 0 else None,
        )
