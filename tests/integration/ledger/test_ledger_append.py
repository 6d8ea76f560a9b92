"""Appending on both databases: many batches at once, the sealer's own records, other writers."""

from __future__ import annotations

import threading
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leaver.domain.records import AppendResult
from leaver.domain.words import RecordType
from leaver.evidence.errors import (
    CaseNotClosedError,
    DraftConflictError,
    GapError,
    LedgerError,
    NotStoredError,
    UnfitDraftError,
)
from leaver.evidence.ledger.model import Note
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.log.merkle import consistent, included, leaf_hash, root_of
from leaver.evidence.records import NO_RECORD, Chain
from tests.support.ledgers import START, Place, case_id, chain_of, draft

ODD = "a \\ \"quoted\" {brace}, NULL, 'n' ü \N{GRINNING FACE} 100%s :x"


def check_tree(ledger: Ledger) -> None:
    """The stored tree is the one over the leaves, and the leaves are those of the bytes."""
    leaves = ledger.leaves()
    assert ledger.root() == root_of(leaves)
    assert [leaf_hash(record.raw) for record in ledger.stream()] == list(leaves)
    assert ledger.head() == ledger.check_grown()
    assert ledger.check() == ()


def test_every_proof_of_every_size_holds(ledger: Ledger) -> None:
    for number in range(18):
        ledger.append_many([[draft(case_id(case), number)] for case in range(1 + number % 3)])
    leaves = ledger.leaves()
    for size in range(1, len(leaves) + 1):
        root = ledger.root(size)
        assert root == root_of(leaves[:size])
        paths = ledger.inclusions(range(size), size)
        assert all(included(leaves[seq], seq, size, path, root) for seq, path in enumerate(paths))
        for old in range(1, size + 1):
            assert consistent(old, size, ledger.consistency(old, size), ledger.root(old), root)
    assert ledger.inclusion(3, len(leaves)) == ledger.inclusions([3], len(leaves))[0]


def test_what_the_log_does_not_have_is_said(ledger: Ledger) -> None:
    ledger.append([draft(case_id(1), 0)])
    for attempt in (
        lambda: ledger.root(2),
        lambda: ledger.root(-1),
        lambda: ledger.inclusion(1, 1),
        lambda: ledger.inclusion(0, 2),
        lambda: ledger.consistency(2, 1),
        lambda: ledger.consistency(1, 2),
        lambda: ledger.get(1),
    ):
        with pytest.raises(NotStoredError):
            attempt()
    assert ledger.consistency(1, 1) == ()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_sequence_of_appends_gives_the_tree_over_its_leaves(place: Place, data: st.DataObject) -> None:
    """Random chains, batch sizes, groups, repetitions and gaps, through two open ledgers in turns."""
    ledgers = shared(place)
    rounds = data.draw(st.lists(st.lists(BATCH, min_size=1, max_size=5), min_size=1, max_size=5))
    fresh = ledgers[0].size() * 100  # cases that no example before has used
    counts: dict[str, int] = {}
    for number, group in enumerate(rounds):
        batches, wanted = [], []
        for case_number, back, size in group:
            case = case_id(fresh + case_number)
            count = counts.get(case, 0)
            start = count - back
            batches.append([draft(case, place) for place in range(max(start, 0), max(start, 0) + size)])
            gap = start > count
            wanted.append(GapError if gap else max(count, max(start, 0) + size))
            counts[case] = count if gap else max(count, max(start, 0) + size)
        answers = ledgers[number % 2].append_many(batches)
        for answer, want in zip(answers, wanted, strict=True):
            if isinstance(want, int):
                assert isinstance(answer, AppendResult)
                assert answer.count == want
            else:
                assert isinstance(answer, want)
    for case, count in counts.items():
        records = ledgers[0].records(case)
        assert [record.case_seq for record in records] == list(range(count))
        assert all(after.prev_case == before.leaf for before, after in pairwise(records))
    size = ledgers[1].size()
    assert ledgers[1].root() == root_of(ledgers[0].leaves())
    assert ledgers[1].check_grown().size == size


BATCH = st.tuples(st.integers(0, 3), st.integers(-1, 4), st.integers(1, 6))
"""Case, how far back from the chain's end the batch begins (below 0: a gap), how many drafts."""

_SHARED: dict[str, tuple[Ledger, Ledger]] = {}


def shared(place: Place) -> tuple[Ledger, Ledger]:
    """Two ledgers on one database, the same for every example."""
    if place.name not in _SHARED:
        where = place.new()
        _SHARED[place.name] = (Ledger.open(where), Ledger.open(where))
    return _SHARED[place.name]


@pytest.fixture(scope="module", autouse=True)
def _close_shared() -> object:
    yield
    for ledgers in _SHARED.values():
        for ledger in ledgers:
            ledger.close()
    _SHARED.clear()


def test_a_refused_batch_does_not_spoil_the_others(ledger: Ledger) -> None:
    one, two, three, four = (case_id(number) for number in range(1, 5))
    ledger.append([draft(three, 0)])
    other = draft(three, 0).model_copy(update={"body": {"number": 99}})
    float_body = draft(four, 1).model_copy(update={"body": {"number": 1.5}})
    answers = ledger.append_many(
        [
            [draft(one, number) for number in range(5)],
            [draft(two, 0), draft(two, 2)],
            [other],
            [draft(four, 0), float_body],
            [],
            [draft(one, 5)],
        ]
    )
    assert [type(answer) for answer in answers] == [
        AppendResult,
        GapError,
        DraftConflictError,
        UnfitDraftError,
        UnfitDraftError,
        AppendResult,
    ]
    assert isinstance(answers[5], AppendResult)
    assert answers[5].count == 6
    assert ledger.size() == 7
    assert ledger.records(two) == ledger.records(four) == ()
    check_tree(ledger)


def test_only_refused_batches_store_nothing(ledger: Ledger) -> None:
    answers = ledger.append_many([[draft(case_id(1), 1)], []])
    assert [type(answer) for answer in answers] == [GapError, UnfitDraftError]
    assert ledger.append_many([]) == []
    assert (ledger.size(), ledger.root()) == (0, root_of([]))
    assert ledger.check_grown().size == 0


def test_one_group_may_repeat_and_continue_a_chain_and_begin_what_follows_it(ledger: Ledger) -> None:
    case = case_id(7)
    drafts = chain_of(case, 6)
    watch = [draft(case, number, chain="watch") for number in range(2)]
    answers = ledger.append_many([watch, drafts[:4], drafts[:4], drafts[2:], watch, [drafts[0]]])
    assert isinstance(answers[0], CaseNotClosedError)
    assert [answer.count for answer in answers[1:] if isinstance(answer, AppendResult)] == [4, 4, 6, 2, 6]
    assert ledger.records(case, Chain.WATCH)[0].prev_case == ledger.closed_records(case)[-1].leaf
    check_tree(ledger)


def test_the_sealers_records_are_numbered_here_and_stored_once(ledger: Ledger) -> None:
    case = case_id(1)
    ledger.append([draft(case, 0)])
    first = ledger.note(Chain.SEALER, case, RecordType.CASE_EXPECTED, START, {"a": 1}, key="expected")
    second = ledger.note(Chain.SEALER, case, RecordType.HISTORY_FINAL, START, {"run": "r"}, key="final")
    again = ledger.note(
        Chain.SEALER, case, RecordType.CASE_EXPECTED, START + timedelta(days=1), {"a": 2}, key="expected"
    )
    log = ledger.note(Chain.LOG, "log", RecordType.CONFIG_CHANGE, START, {"b": ODD}, key=ODD)
    assert again.raw == first.raw
    assert (first.case_seq, first.prev_case) == (0, NO_RECORD)
    assert (second.case_seq, second.prev_case) == (1, first.leaf)
    assert (log.case, log.case_seq, log.prev_case, log.body) == ("log", 0, NO_RECORD, {"b": ODD})
    assert ledger.by_key(Chain.LOG, ODD) == log
    assert ledger.by_key(Chain.SEALER, "final", case) == second
    assert ledger.by_key(Chain.LOG, "final") is None
    assert ledger.last(Chain.SEALER, case) == second
    assert ledger.last(Chain.SEALER, case, RecordType.CASE_EXPECTED) == first
    assert ledger.last(Chain.LOG, type=RecordType.KEY_ROTATED) is None
    assert ledger.get(log.seq) == log
    assert ledger.size() == 4
    check_tree(ledger)


def test_notes_are_stored_all_or_none(ledger: Ledger) -> None:
    good = Note(Chain.LOG, RecordType.CONFIG_CHANGE, START, {"n": 1}, "one")
    for bad in (
        Note(Chain.CASE, RecordType.CHANGE, START, {}, "k", case_id(1)),
        Note(Chain.LOG, RecordType.CONFIG_CHANGE, START, {"n": 0.5}, "k"),
        Note(Chain.LOG, RecordType.CONFIG_CHANGE, START, {}, ""),
        Note(Chain.LOG, RecordType.CONFIG_CHANGE, START, {}, "two\nlines"),
        Note(Chain.LOG, RecordType.CONFIG_CHANGE, START, {}, "k", case_id(1)),
        Note(Chain.SEALER, RecordType.CASE_EXPECTED, START, {}, "k"),
        Note(Chain.SEALER, RecordType.CASE_CLOSED, START, {"count": 1}, "k", case_id(1)),
        Note(Chain.LOG, RecordType.CONFIG_CHANGE, START, {"person_commit": "x"}, "k", opening={"a": "b"}),
    ):
        with pytest.raises(UnfitDraftError):
            ledger.notes([good, bad])
    assert ledger.size() == 0
    both = ledger.notes([good, good, Note(Chain.LOG, RecordType.CONFIG_CHANGE, START, {"n": 2}, "two")])
    assert [record.case_seq for record in both] == [0, 0, 1]
    check_tree(ledger)


def test_workflows_cannot_write_the_sealers_chains(ledger: Ledger) -> None:
    for case, chain in ((case_id(1), "sealer"), ("log", "log")):
        with pytest.raises(UnfitDraftError, match="neither 'case' nor 'watch'"):
            ledger.append([draft(case, 0, chain=chain)])


def test_writers_in_threads_and_other_processes_share_one_sequence(place: Place, where: str) -> None:
    errors: list[BaseException] = []

    def write(ledger: Ledger, cases: range) -> None:
        try:
            for number in range(12):
                ledger.append_many([[draft(case_id(case), number)] for case in cases])
                ledger.note(
                    Chain.LOG, "log", RecordType.CONFIG_CHANGE, START, {"n": number}, key=f"{cases}-{number}"
                )
        except LedgerError as err:
            errors.append(err)

    with Ledger.open(where) as one, Ledger.open(where) as two:
        threads = [
            threading.Thread(target=write, args=(ledger, range(start, start + 4)))
            for start in (0, 10)
            for ledger in (one, two)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert one.size() == two.size() == 12 * 8 + 12 * 2
        check_tree(one)
        check_tree(two)
