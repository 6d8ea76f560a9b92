"""Reading a period from a real ledger: what reading each case whole says, and what only the ledger knows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from leaver.domain.base import Facts
from leaver.domain.records import RecordDraft
from leaver.domain.words import Mode, Outcome, RecordType
from leaver.evidence.case_view import case_view
from leaver.evidence.errors import ReportError, UnreadableRecordsError
from leaver.evidence.ledger.model import AnchorKind, StoredCheckpoint
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.records import LOG, Chain
from leaver.evidence.reports.load import Frame, load_period
from leaver.evidence.reports.model import CheckpointLine, PeriodInput, Verdict
from leaver.evidence.reports.period import claim, count_period
from leaver.evidence.reports.settle import leaver_of
from leaver.evidence.reports.sources import checkpoint_lines, covering
from tests.support.ledgers import note_of

START = datetime(2026, 11, 1, tzinfo=UTC)
END = datetime(2026, 12, 1, tzinfo=UTC)
AS_OF = datetime(2026, 12, 1, 2, tzinfo=UTC)


def case(letter: str) -> str:
    return "c-" + letter * 26


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "ledger.db") as opened:
        yield opened


def read(ledger: Ledger, *, as_of: datetime = AS_OF, size: int | None = None, **frame: Any) -> PeriodInput:
    head = ledger.head()
    line = CheckpointLine(head.size if size is None else size, head.root.hex(), as_of)
    return load_period(ledger, START, END, line, Frame(**frame))


def moved(drafts: list[RecordDraft], **changes: Facts) -> list[RecordDraft]:
    """The drafts with other facts in the body of ``case.opened``."""
    first = drafts[0].model_copy(update={"body": {**drafts[0].body, **changes}})
    return [first, *drafts[1:]]


def test_a_row_says_what_reading_the_whole_case_says(ledger: Ledger, samples: Any) -> None:
    ledger.append(samples.clean(case("a")))
    ledger.append(samples.with_exceptions(case("b")))
    ledger.append(samples.clean(case("d"))[:14])
    given = read(ledger, as_of=samples.cutoff + timedelta(minutes=1))
    assert {one.case for one in given.leavers} == {case("a"), case("b"), case("d")}
    for row in given.leavers:
        records = ledger.records(row.case)
        view = case_view(records)
        assert (row.person_ref, row.outcome, row.mode) == (view.person_ref, view.outcome, view.mode)
        assert (row.cutoff, row.received_at, row.clock_starts) == (
            view.cutoff,
            view.received_at,
            view.clock_starts,
        )
        assert (row.contained_at, row.closed_at) == (view.contained_at, view.closed_at)
        assert (row.lag_effective, row.lag_notice) == (view.lag_effective_seconds, view.lag_notice_seconds)
        assert row.standing == len(view.open_exceptions)
        assert [(a.step, a.outcome, a.late, a.finished_at, a.due) for a in row.actions] == [
            (s.step, s.outcome, s.late, s.finished_at, s.due) for s in view.steps
        ]
        places = [None if s.record is None else view.places[s.record] for s in view.steps]
        assert [a.seq for a in row.actions] == places
        own = {(e.step, e.cause, e.times, e.standing) for e in given.exceptions if e.case == row.case}
        assert own == {(e.step, e.cause, e.times, e.resolved is None) for e in view.exceptions}
        assert leaver_of(records, given.as_of)[0] == row
    verdicts = {one.case: one.judged.verdict for one in given.leavers}
    assert verdicts == {
        case("a"): Verdict.WITHIN,
        case("b"): Verdict.EXCEPTION,
        case("d"): Verdict.NOT_TESTABLE,
    }


def test_an_open_case_whose_limit_has_passed_is_an_exception(ledger: Ledger, samples: Any) -> None:
    ledger.append(samples.clean(case("d"))[:14])
    (row,) = read(ledger).leavers
    assert row.judged.verdict is Verdict.EXCEPTION
    assert row.standing == sum(action.outcome is Outcome.PENDING for action in row.actions) > 0


def test_the_period_has_its_first_instant_and_not_its_last(ledger: Ledger, samples: Any) -> None:
    times = {
        "a": "2026-10-31T23:59:59.999Z",
        "b": "2026-11-01T00:00:00Z",
        "d": "2026-11-30T23:59:59Z",
        "e": "2026-12-01T00:00:00Z",
    }
    for letter, cutoff in times.items():
        whole = samples.clean(case(letter))
        assert whole[1].type is RecordType.HR_EVENT
        event = whole[1].model_copy(update={"body": {**whole[1].body, "cutoff": cutoff}})
        ledger.append([whole[0], event])
    assert [one.case for one in read(ledger).leavers] == [case("b"), case("d")]
    assert [one.case for one in read(ledger, members=frozenset({case("e")})).leavers] == [case("e")]


def test_nothing_after_the_checkpoint_is_read(ledger: Ledger, samples: Any) -> None:
    ledger.append(samples.clean(case("a")))
    size = ledger.size()
    before = read(ledger, size=size)
    ledger.append(samples.with_exceptions(case("b")))
    note(ledger, RecordType.EXCEPTION_RAISED, {"cause": "run_terminated", "detail": "x"}, case("a"))
    again = read(ledger, size=size)
    assert (again.leavers, again.exceptions, again.records) == (
        before.leavers,
        before.exceptions,
        before.records,
    )
    assert len(read(ledger).leavers) == 2


def test_rehearsals_are_counted_apart(ledger: Ledger, samples: Any) -> None:
    ledger.append(samples.clean(case("a")))
    ledger.append(samples.planned_only(case("b")))
    real, rehearsed = read(ledger), read(ledger, mode=Mode.NOTIFICATION_ONLY)
    assert ([one.case for one in real.leavers], real.other_mode) == ([case("a")], 1)
    assert ([one.case for one in rehearsed.leavers], rehearsed.other_mode) == ([case("b")], 1)
    assert rehearsed.leavers[0].judged.verdict is Verdict.NOT_TESTABLE


# ------------------------------------------------------------- what the sealer and the watch say


def note(ledger: Ledger, kind: RecordType, body: Facts, about: str, at: datetime = AS_OF) -> int:
    chain = Chain.LOG if about == LOG else Chain.SEALER
    name = f"{kind}-{ledger.size()}"
    record = ledger.note(chain, about, kind, at - timedelta(hours=3), body, key=name)
    return record.seq


@pytest.mark.parametrize(
    "cause", ["run_terminated", "run_reset", "run_deleted", "history_changed", "sealing_late"]
)
def test_what_the_sealer_raised_stands_against_the_leaver(ledger: Ledger, samples: Any, cause: str) -> None:
    ledger.append(samples.clean(case("a")))
    body: Facts = {"cause": cause, "detail": "run 1", "run_id": "r1"}
    seq = note(ledger, RecordType.EXCEPTION_RAISED, body, case("a"))
    given = read(ledger)
    assert [(e.cause, e.seq, e.standing) for e in given.exceptions] == [(cause, seq, True)]
    assert given.leavers[0].judged.verdict is Verdict.EXCEPTION
    closing = note(
        ledger, RecordType.EXCEPTION_CLOSED, {"cause": cause, "step": None, "why": "looked into"}, case("a")
    )
    (closed,) = read(ledger).exceptions
    assert (closed.closed_by, closed.closure, closed.standing) == (closing, "looked into", False)


def test_two_runs_with_the_same_trouble_are_two_exceptions(ledger: Ledger, samples: Any) -> None:
    ledger.append(samples.clean(case("a")))
    for run in ("r1", "r2"):
        note(ledger, RecordType.EXCEPTION_RAISED, {"cause": "run_reset", "run_id": run}, case("a"))
    assert len(read(ledger).exceptions) == 2


def test_a_drift_ends_when_a_later_reading_proves_the_state_again(ledger: Ledger, samples: Any) -> None:
    ledger.append(samples.clean(case("a")))
    step = "entra.block_sign_in"
    watch = samples.drafter(case("a"), chain="watch", start=datetime(2026, 11, 21, tzinfo=UTC))
    watch.add(RecordType.READBACK, {"step": step, "outcome": "verified"})
    watch.add(RecordType.READBACK, {"step": step, "outcome": "open"})
    watch.add(RecordType.EXCEPTION_RAISED, {"step": step, "cause": "drift", "due": None, "detail": "enabled"})
    ledger.append(watch.drafts)
    assert [(e.cause, e.standing) for e in read(ledger).exceptions] == [("drift", True)]
    watch.add(RecordType.READBACK, {"step": step, "outcome": "verified"})
    ledger.append(watch.drafts)
    (told,) = read(ledger).exceptions
    assert (told.standing, told.closed_by) == (False, ledger.size() - 1)


def test_exceptions_of_other_periods_and_of_the_log_are_told_when_raised_here(
    ledger: Ledger, samples: Any
) -> None:
    ledger.append(moved(samples.clean(case("a"))[:1], cutoff="2026-09-01T00:00:00Z"))
    at = datetime(2026, 11, 5, 3, tzinfo=UTC)
    note(ledger, RecordType.EXCEPTION_RAISED, {"cause": "sealing_late"}, case("a"), at)
    note(ledger, RecordType.EXCEPTION_RAISED, {"cause": "run_unknown"}, LOG, at)
    note(ledger, RecordType.EXCEPTION_RAISED, {"cause": "run_unknown"}, case("e"), START - timedelta(days=9))
    given = read(ledger)
    assert given.leavers == ()
    assert {(e.case, e.cause) for e in given.exceptions} == {
        (case("a"), "sealing_late"),
        (LOG, "run_unknown"),
    }


def test_changes_of_policy_keys_and_configuration_in_the_period(ledger: Ledger) -> None:
    inside, before = datetime(2026, 11, 5, tzinfo=UTC), START
    for kind in (RecordType.POLICY_VERSION, RecordType.CONFIG_CHANGE, RecordType.KEY_ROTATED):
        note(ledger, kind, {"name": f"{kind}-now", "digest": "sha256:cd"}, LOG, inside)
        note(ledger, kind, {"name": f"{kind}-then"}, LOG, before)
    found = read(ledger).changes
    assert [change.kind for change in found] == ["policy", "configuration", "key"]
    assert all(change.what.endswith("-now") and "digest: sha256:cd" in change.detail for change in found)


def test_decisions_and_who_made_them(ledger: Ledger, samples: Any) -> None:
    ledger.append(moved(samples.clean(case("a")), person_ref="p-" + "a" * 26))
    other = samples.drafter(case("b"))
    other.opened()
    for by in ("p-" + "a" * 26, "p-qwertyuiopasdfghjklzxcvbnm", "", "p-" + "x" * 26):
        body: Facts = {"verb": "approve", "by_ref": by, "at": "2026-11-25T00:00:00Z", "accepted": True}
        other.add(RecordType.APPROVAL, body)
    ledger.append(other.drafts)
    found = [d for d in read(ledger).decisions if d.case == case("b")]
    assert [(d.by_leaver, d.about_self, d.conflict) for d in found] == [
        (True, False, True),
        (True, True, True),
        (False, False, True),
        (False, False, False),
    ]
    refused = [d for d in read(ledger).decisions if d.case == case("a")]
    assert [(d.accepted, d.conflict) for d in refused] == [(False, False), (True, False)]


def test_records_that_cannot_be_read_are_named(ledger: Ledger, samples: Any) -> None:
    bad = samples.drafter(case("a"))
    bad.opened()
    bad.add(RecordType.RESULT, {"step": "entra.block_sign_in", "outcome": "splendid"})
    ledger.append(bad.drafts)
    with pytest.raises(UnreadableRecordsError, match=r"record 1 \(action\.result\)"):
        read(ledger)


@pytest.mark.parametrize(
    ("start", "end", "zone", "text"),
    [
        (END, START, "UTC", "before it begins"),
        (START, START, "UTC", "before it begins"),
        (START.replace(tzinfo=None), END.replace(tzinfo=None), "UTC", "with a zone"),
        (START, END, "Mars/Olympus", "no such time zone"),
    ],
)
def test_a_period_that_makes_no_sense_is_refused(
    ledger: Ledger, start: datetime, end: datetime, zone: str, text: str
) -> None:
    with pytest.raises(ReportError, match=text):
        load_period(ledger, start, end, CheckpointLine(0, "", AS_OF), Frame(zone=zone))


def test_without_a_pull_of_hr_completeness_is_not_claimed(ledger: Ledger, samples: Any) -> None:
    ledger.append(samples.clean(case("a")))
    report = count_period(read(ledger))
    assert report.given.completeness.difference is None
    assert "completeness against HR not tested" in claim(report)
    assert "no outside anchor" in claim(report)


# ----------------------------------------------------------------------------------- checkpoints


def test_checkpoints_with_what_anchors_them(ledger: Ledger, samples: Any) -> None:
    with pytest.raises(ReportError, match="no checkpoint is published"):
        checkpoint_lines(ledger)
    for letter in "ab":
        ledger.append(samples.clean(case(letter)))
        head = ledger.head()
        note = note_of(head.size, head.root)
        ledger.add_checkpoint(StoredCheckpoint(head.size, head.root, note, AS_OF))
    first, second = (stored.size for stored in ledger.checkpoints())
    ledger.add_anchor(first, AnchorKind.SINK, "folder", b"v1", AS_OF)
    ledger.add_anchor(first, AnchorKind.WITNESS, "audit", b"no line", AS_OF)
    ledger.note_trouble(second, AnchorKind.WITNESS, "audit", "no answer", AS_OF)
    lines = checkpoint_lines(ledger, {(AnchorKind.WITNESS, "audit")})
    assert [(line.size, len(line.anchors), line.troubles) for line in lines] == [
        (first, 2, ()),
        (second, 0, ("audit: no answer",)),
    ]
    assert [anchor.name for anchor in lines[0].outside] == ["audit"]
    assert checkpoint_lines(ledger)[0].outside == ()
    assert [line.size for line in checkpoint_lines(ledger, up_to=first)] == [first]
    with pytest.raises(ReportError, match="no checkpoint of size 7"):
        checkpoint_lines(ledger, up_to=7)
    assert covering(lines, first - 1) == (lines[0],)
    assert covering(lines, first) == (lines[1],)
    ledger.add_anchor(second, AnchorKind.WITNESS, "audit", b"x", AS_OF)
    assert checkpoint_lines(ledger)[1].troubles == ()
