"""The ledger: order, idempotency, refusals, and that nothing can be changed behind its back."""

from __future__ import annotations

import sqlite3
import stat
import threading
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leaver.domain.records import RecordDraft
from leaver.domain.words import RecordType
from leaver.evidence.errors import (
    CaseNotClosedError,
    ChainClosedError,
    DraftConflictError,
    GapError,
    LedgerDamagedError,
    LedgerError,
    LedgerVersionError,
    UnfitDraftError,
    UnknownCaseError,
)
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.log.merkle import leaf_hash
from leaver.evidence.records import NO_RECORD, Chain

OTHER = "c-" + "b" * 26


def test_records_are_numbered_linked_and_given_back_as_stored(ledger: Ledger, samples: Any) -> None:
    drafts = samples.clean()
    answer = ledger.append(drafts)
    records = ledger.records(samples.case)
    assert [record.case_seq for record in records] == list(range(len(drafts)))
    assert [record.seq for record in records] == list(range(len(drafts)))
    assert records[0].prev_case == NO_RECORD
    assert all(after.prev_case == before.leaf for before, after in pairwise(records))
    assert [(r.type, r.at, r.body) for r in records] == [(d.type, d.at, d.body) for d in drafts]
    assert len({record.salt for record in records}) == len(records)
    assert (answer.count, answer.head) == (len(drafts), records[-1].leaf)
    assert ledger.leaves() == tuple(leaf_hash(record.raw) for record in records)


def test_cases_share_the_ledger_and_keep_their_own_chains(ledger: Ledger, samples: Any) -> None:
    one, two = samples.clean(), samples.clean(OTHER)
    for first, second in zip(one, two, strict=True):
        ledger.append([first])
        ledger.append([second])
    mine, theirs = ledger.records(samples.case), ledger.records(OTHER)
    assert sorted(record.seq for record in (*mine, *theirs)) == list(range(2 * len(one)))
    for chain in (mine, theirs):
        assert all(after.prev_case == before.leaf for before, after in pairwise(chain))
    assert [(entry.case, entry.count, entry.closed) for entry in ledger.cases()] == [
        (samples.case, len(one), True),
        (OTHER, len(two), True),
    ]
    assert len(ledger.leaves(10)) == 2 * len(one) - 10


@settings(max_examples=40, deadline=None)
@given(calls=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 10)), max_size=12))
def test_any_sequence_of_repeated_batches_gives_the_same_chain(
    calls: list[tuple[int, int]], samples: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    drafts = samples.clean()[:10]
    stored, heads = 0, dict[int, str]()
    with Ledger.open(tmp_path_factory.mktemp("order") / "ledger.sqlite") as ledger:
        for start, size in [*calls, (0, 10)]:
            batch = drafts[start : start + size]
            if start > stored:
                with pytest.raises(GapError):
                    ledger.append(batch)
                continue
            answer = ledger.append(batch)
            stored = max(stored, start + len(batch))
            assert answer.count == stored
            assert heads.setdefault(stored, answer.head) == answer.head
        assert [record.body for record in ledger.records(samples.case)] == [draft.body for draft in drafts]
        assert len(ledger.leaves()) == len(drafts)


def test_the_same_draft_again_returns_what_is_stored(ledger: Ledger, samples: Any) -> None:
    drafts = samples.clean()
    first = ledger.append(drafts)
    before = [record.raw for record in ledger.records(samples.case)]
    assert ledger.append(drafts) == first
    assert ledger.append(drafts[:3]) == first
    assert [record.raw for record in ledger.records(samples.case)] == before


@pytest.mark.parametrize("changed", ["body", "at", "type"])
def test_a_different_draft_under_a_taken_number_is_refused(
    ledger: Ledger, samples: Any, changed: str
) -> None:
    drafts = samples.clean()[:4]
    ledger.append(drafts)
    other = drafts[2].model_copy(
        update={
            "body": {"body": {**drafts[2].body, "detail": "x"}},
            "at": {"at": drafts[2].at + timedelta(microseconds=1)},
            "type": {"type": RecordType.READBACK},
        }[changed]
    )
    before = [record.raw for record in ledger.records(samples.case)]
    with pytest.raises(DraftConflictError, match=r"case/2"):
        ledger.append([*drafts[:2], other, drafts[3]])
    assert [record.raw for record in ledger.records(samples.case)] == before


def test_a_gap_is_refused_and_stores_nothing_of_the_batch(ledger: Ledger, samples: Any) -> None:
    drafts = samples.clean()
    with pytest.raises(GapError, match="number 0"):
        ledger.append(drafts[1:3])
    ledger.append(drafts[:2])
    with pytest.raises(GapError, match="number 3"):
        ledger.append([drafts[2], drafts[4]])
    assert len(ledger.records(samples.case)) == 2
    assert len(ledger.leaves()) == 2


def test_nothing_follows_the_closing_record(ledger: Ledger, samples: Any) -> None:
    drafts = samples.clean()
    ledger.append(drafts)
    extra = drafts[1].model_copy(update={"case_seq": len(drafts)})
    with pytest.raises(ChainClosedError, match="ended"):
        ledger.append([extra])
    with pytest.raises(ChainClosedError):
        ledger.append([*drafts, extra])
    assert ledger.append(drafts).count == len(drafts)


@pytest.mark.parametrize("count", [None, 0, 1, "2", True, 3])
def test_the_closing_record_must_count_right(ledger: Ledger, samples: Any, count: object) -> None:
    drafter = samples.drafter()
    drafter.opened()
    drafter.add(RecordType.CASE_CLOSED, {"outcome": "completed", "count": count})
    with pytest.raises(UnfitDraftError, match=r"body\.count must be 2"):
        ledger.append(drafter.drafts)
    assert ledger.records(samples.case) == ()


def test_a_batch_is_of_one_chain(ledger: Ledger, samples: Any) -> None:
    mine, theirs = samples.clean()[0], samples.clean(OTHER)[0]
    for batch in ([], [mine, theirs], [mine, mine.model_copy(update={"chain": "watch"})]):
        with pytest.raises(UnfitDraftError, match="exactly one chain"):
            ledger.append(batch)
    with pytest.raises(UnfitDraftError, match="neither 'case' nor 'watch'"):
        ledger.append([mine.model_copy(update={"chain": "other"})])


def test_the_watch_chain_begins_at_the_end_of_the_closed_case(ledger: Ledger, samples: Any) -> None:
    drafts = samples.clean()
    watch = samples.drafter(chain="watch")
    watch.add(RecordType.READBACK, {"step": "entra.block_sign_in"})
    watch.add(RecordType.READBACK, {"step": "ad.disable_account"})
    for known in (0, 5):
        if known:
            ledger.append(drafts[:known])
        with pytest.raises(CaseNotClosedError, match="after the case is closed"):
            ledger.append(watch.drafts)
    ledger.append(drafts)
    ledger.append(watch.drafts)
    last = ledger.records(samples.case)[-1]
    first, second = ledger.records(samples.case, Chain.WATCH)
    assert first.prev_case == last.leaf
    assert second.prev_case == first.leaf
    assert [entry.count for entry in ledger.cases()] == [len(drafts)]


def test_a_case_is_sealed_only_when_it_has_ended(ledger: Ledger, samples: Any) -> None:
    with pytest.raises(UnknownCaseError):
        ledger.closed_records(samples.case)
    ledger.append(samples.clean()[:4])
    with pytest.raises(CaseNotClosedError):
        ledger.closed_records(samples.case)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE leaf SET hash = zeroblob(32) WHERE seq = 1",
        "UPDATE entry SET case_seq = 99 WHERE seq = 1",
        "UPDATE record SET bytes = x'7b7d' WHERE seq = 1",
        "DELETE FROM leaf",
        "DELETE FROM entry WHERE seq = 3",
        "DELETE FROM record WHERE seq = 3",
        "INSERT OR REPLACE INTO leaf VALUES (1, zeroblob(32))",
        "INSERT OR REPLACE INTO record VALUES (1, 'x', x'7b7d')",
        "INSERT OR REPLACE INTO entry SELECT 999, case_id, chain, case_seq, type, at, key FROM entry LIMIT 1",
        "REPLACE INTO entry SELECT seq, case_id, chain, 77, type, at, key FROM entry WHERE seq = 1",
    ],
)
def test_the_database_itself_refuses_changes(tmp_path: Path, samples: Any, statement: str) -> None:
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        ledger.append(samples.clean())
        before = [record.raw for record in ledger.records(samples.case)]
    stranger = sqlite3.connect(tmp_path / "l.sqlite")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        stranger.execute(statement)
    stranger.close()
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        assert [record.raw for record in ledger.records(samples.case)] == before


def test_bytes_changed_by_an_administrator_are_noticed_on_reading(tmp_path: Path, samples: Any) -> None:
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        ledger.append(samples.clean())
    admin = sqlite3.connect(tmp_path / "l.sqlite")
    admin.execute("DROP TRIGGER record_no_update")
    admin.execute(
        "UPDATE record SET bytes = CAST(replace(CAST(bytes AS TEXT), 'verified', 'already ') AS BLOB)"
        " WHERE seq = 2"
    )
    admin.commit()
    admin.close()
    with Ledger.open(tmp_path / "l.sqlite") as ledger, pytest.raises(LedgerDamagedError, match="record 2"):
        ledger.records(samples.case)


def test_only_the_owner_can_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "l.sqlite"
    Ledger.open(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_reopening_and_reading_beside_the_writer(tmp_path: Path, samples: Any) -> None:
    drafts = samples.clean()
    with Ledger.open(tmp_path / "l.sqlite") as writer:
        writer.append(drafts[:5])
        with Ledger.open(tmp_path / "l.sqlite", read_only=True) as reader:
            assert len(reader.records(samples.case)) == 5
            writer.append(drafts[5:])
            assert len(reader.records(samples.case)) == len(drafts)
            with pytest.raises(LedgerError, match="for reading only"):
                reader.append(samples.clean(OTHER))
    with Ledger.open(tmp_path / "l.sqlite") as again:
        assert again.append(drafts).count == len(drafts)


def test_what_is_no_ledger_is_left_alone(tmp_path: Path) -> None:
    missing, text, foreign, newer = (tmp_path / name for name in ("no", "text", "foreign", "newer"))
    with pytest.raises(LedgerVersionError, match="no ledger"):
        Ledger.open(missing, read_only=True)
    assert not missing.exists()
    text.write_text("hello, this is not a database at all" * 50)
    other = sqlite3.connect(foreign)
    other.execute("CREATE TABLE theirs (x)")
    other.close()
    Ledger.open(newer).close()
    changed = sqlite3.connect(newer)
    changed.execute("PRAGMA user_version = 3")
    changed.close()
    for path in (text, foreign, newer):
        for read_only in (False, True):
            with pytest.raises(LedgerVersionError):
                Ledger.open(path, read_only=read_only)
    untouched = sqlite3.connect(foreign)
    assert [row[0] for row in untouched.execute("SELECT name FROM sqlite_master")] == ["theirs"]
    untouched.close()


def test_threads_and_two_connections_never_tear_the_ledger(tmp_path: Path, samples: Any) -> None:
    """The one writer may be called from many threads; a second process by mistake does no harm either."""
    cases = [f"c-{letter * 26}" for letter in "abcdef"]
    errors: list[Exception] = []

    def write(ledger: Ledger, case: str) -> None:
        drafts: list[RecordDraft] = samples.clean(case)
        try:
            for draft in drafts:
                ledger.append([draft])
        except Exception as err:  # noqa: BLE001 - reported below
            errors.append(err)

    with Ledger.open(tmp_path / "l.sqlite") as one, Ledger.open(tmp_path / "l.sqlite") as two:
        threads = [
            threading.Thread(target=write, args=(ledger, case)) for case in cases for ledger in (one, two)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert len(one.leaves()) == len(cases) * len(samples.clean())
        for case in cases:
            records = one.records(case)
            assert all(after.prev_case == before.leaf for before, after in pairwise(records))
