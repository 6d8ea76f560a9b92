from __future__ import annotations

import ast
import base64
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import History
from temporalio.client import WorkflowHistory

from leaver.domain.ids import watch_workflow_id, workflow_id
from leaver.domain.records import RecordDraft
from leaver.domain.words import RecordType
from leaver.evidence.history.bodies import HistoryFinal, HistoryPrefix, RunException
from leaver.evidence.history.chain import history_head, prefix_heads
from leaver.evidence.history.keeper import RunKeeper
from leaver.evidence.history.sealer import HistorySealer, HistorySettings
from leaver.evidence.history.wire import event_numbers
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.records import LOG, Chain, Record
from leaver.temporal import history as history_module
from leaver.temporal import runs as runs_module
from leaver.temporal.history import (
    HistoryMissingError,
    HistoryUnavailableError,
    NoListError,
    NotClosedError,
    Run,
)
from tests.support.histories import START, MemoryServer, Recorded

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)


def case_name(number: int) -> str:
    return "c-" + base64.b32encode(number.to_bytes(16, "big")).decode().rstrip("=").lower()


CASE = case_name(1)
WORKFLOW = workflow_id(CASE)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "ledger.db") as opened:
        yield opened


@pytest.fixture
def server() -> MemoryServer:
    return MemoryServer()


@pytest.fixture
def make(ledger: Ledger, server: MemoryServer) -> Callable[..., HistorySealer]:
    """A sealer as after a start; again for a restart."""

    def made(settings: HistorySettings | None = None) -> HistorySealer:
        return HistorySealer(ledger, server, lambda: START + HOUR, settings)

    return made


def of(ledger: Ledger, kind: RecordType, case: str = CASE, chain: Chain = Chain.SEALER) -> list[Record]:
    return [record for record in ledger.records(case, chain) if record.type is kind]


def finals(ledger: Ledger, case: str = CASE) -> list[HistoryFinal]:
    return [HistoryFinal.model_validate(r.body) for r in of(ledger, RecordType.HISTORY_FINAL, case)]


def prefixes(ledger: Ledger, case: str = CASE) -> list[HistoryPrefix]:
    return [HistoryPrefix.model_validate(r.body) for r in of(ledger, RecordType.HISTORY_PREFIX, case)]


def causes(ledger: Ledger, case: str = CASE) -> list[str]:
    return [str(record.body["cause"]) for record in of(ledger, RecordType.EXCEPTION_RAISED, case)]


def raised(ledger: Ledger, case: str = CASE) -> list[RunException]:
    return [RunException.model_validate(r.body) for r in of(ledger, RecordType.EXCEPTION_RAISED, case)]


def opened(ledger: Ledger, run: Recorded, at: datetime = START) -> None:
    body = {"workflow_id": run.workflow_id, "run_id": run.run_id}
    ledger.append([RecordDraft(case=CASE, case_seq=0, type=RecordType.CASE_OPENED, at=at, body=body)])


async def test_prefixes_then_the_whole(
    ledger: Ledger, server: MemoryServer, make: Callable[..., HistorySealer]
) -> None:
    sealer, run = make(), server.start(WORKFLOW)
    opened(ledger, run)
    await sealer.tick(START + MINUTE)
    run.signalled(START + HOUR, 5)
    await sealer.tick(START + 2 * HOUR)  # not due
    assert [prefix.events for prefix in prefixes(ledger)] == [1]
    await sealer.tick(START + DAY + MINUTE)
    await sealer.tick(START + 2 * DAY + HOUR)  # nothing happened since: nothing new to record
    assert [prefix.events for prefix in prefixes(ledger)] == [1, 6]
    run.signalled(START + 2 * DAY, 2)
    run.close(START + 3 * DAY)
    done = await sealer.tick(START + 3 * DAY + MINUTE)
    assert (done.sealed, done.waiting, done.failures, done.raised) == (1, 0, [], ())
    (final,) = finals(ledger)
    raw = ledger.content(final.sha256)
    assert raw == server.serve(run)
    assert history_head(raw) == (final.events, final.head) == (9, final.head)
    assert final.close_status == "completed"
    assert final.closed_at == START + 3 * DAY
    for prefix in prefixes(ledger):
        assert raw.startswith(ledger.content(prefix.sha256))
    assert causes(ledger) == []
    size = ledger.size()
    for _ in range(3):
        await make().tick(START + 3 * DAY + HOUR)
    assert ledger.size() == size


@pytest.mark.parametrize("how", ["terminated", "cancelled", "failed", "timed_out"])
async def test_a_run_that_did_not_end_by_itself_is_an_exception_once(
    how: str, ledger: Ledger, server: MemoryServer, make: Callable[..., HistorySealer]
) -> None:
    sealer, run = make(), server.start(WORKFLOW)
    run.close(START + MINUTE, how)
    done = await sealer.tick(START + 2 * MINUTE)
    assert [exception.cause for exception in done.raised] == [f"run_{how}"]
    again = await sealer.tick(START + 3 * MINUTE)
    assert again.raised == ()
    assert (await make().tick(START + 4 * MINUTE)).raised == ()
    assert causes(ledger) == [f"run_{how}"]
    assert [final.close_status for final in finals(ledger)] == [how]
    (record,) = of(ledger, RecordType.EXCEPTION_RAISED)
    assert record.body["step"] is None
    assert record.body["due"] is None
    assert record.body["run_id"] == run.run_id


@pytest.mark.parametrize("restart", [False, True])
async def test_a_changed_history_is_noticed_at_the_next_comparison_and_sealed_all_the_same(
    restart: bool, ledger: Ledger, server: MemoryServer, make: Callable[..., HistorySealer]
) -> None:
    sealer, run = make(), server.start(WORKFLOW)
    run.signalled(START, 4)
    await sealer.tick(START + MINUTE)
    run.events[2].event_time.seconds += 3600
    if restart:
        sealer = make()
    await sealer.tick(START + DAY + HOUR)
    assert causes(ledger) == ["history_changed"]
    assert "event 3 is another one" in raised(ledger)[0].detail
    run.signalled(START + DAY, 1)
    run.close(START + DAY + HOUR)
    await sealer.tick(START + DAY + HOUR + MINUTE)
    assert causes(ledger) == ["history_changed"]  # the same prefix, said once
    assert len(finals(ledger)) == 1


async def test_events_taken_out_are_noticed_at_the_close(
    ledger: Ledger, server: MemoryServer, make: Callable[..., HistorySealer]
) -> None:
    sealer, run = make(), server.start(WORKFLOW)
    run.signalled(START, 4)
    await sealer.tick(START + MINUTE)
    del run.events[2:]
    run.close(START + HOUR)
    await sealer.tick(START + HOUR + MINUTE)
    assert causes(ledger) == ["history_changed"]


def use_library(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    for module in ("findings", "keeper"):
        monkeypatch.setattr(f"leaver.evidence.history.{module}.LIBRARY", f"temporalio {version}")


async def test_a_newer_library_that_reads_more_fields_is_no_change(
    ledger: Ledger,
    server: MemoryServer,
    make: Callable[..., HistorySealer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sealer, run = make(), server.start(WORKFLOW)
    for day, version in enumerate(("98.0", "99.0", "99.1")):
        use_library(monkeypatch, version)
        run.events[-1].worker_may_ignore = day > 0  # stands for a field that the one before dropped
        run.signalled(START + day * DAY, 3)
        await sealer.tick(START + day * DAY + HOUR)
    run.close(START + 3 * DAY)
    await sealer.tick(START + 3 * DAY + MINUTE)
    assert causes(ledger) == []
    (final,) = finals(ledger)
    sealed = ledger.content(final.sha256)
    assert sealed != server.serve(run)
    heads = prefix_heads(sealed)
    assert [heads[each.events] == each.head for each in prefixes(ledger)] == [True] * 3
    assert event_numbers(sealed, is_json=False) == event_numbers(
        ledger.content(final.json_sha256), is_json=True
    )
    assert await make().seal_case(CASE, WORKFLOW, run.run_id)
    assert causes(ledger) == []


async def test_a_newer_library_hides_no_change(
    ledger: Ledger,
    server: MemoryServer,
    make: Callable[..., HistorySealer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sealer, run = make(), server.start(WORKFLOW)
    run.signalled(START, 3)
    await sealer.tick(START + MINUTE)
    run.events[1].event_time.seconds += 1
    use_library(monkeypatch, "99.0")
    await sealer.tick(START + DAY + HOUR)
    assert causes(ledger) == ["history_changed"]


async def test_a_history_that_is_another_one_after_it_was_sealed(
    ledger: Ledger, server: MemoryServer, make: Callable[..., HistorySealer]
) -> None:
    run = server.start(WORKFLOW)
    run.signalled(START, 2)
    run.close(START + MINUTE)
    keeper = RunKeeper(ledger, server, HOUR)
    before = await keeper.seal(CASE, WORKFLOW, run.run_id, START + MINUTE)
    run.events[1].task_id += 1
    for _ in range(2):
        assert await keeper.seal(CASE, WORKFLOW, run.run_id, START + MINUTE) == before
    assert causes(ledger) == ["history_changed"]
    assert "Temporal now serves another" in raised(ledger)[0].detail


async def test_a_reset_is_said_once_whichever_run_is_seen_first(
    ledger: Ledger, server: MemoryServer, make: Callable[..., HistorySealer]
) -> None:
    sealer, base = make(), server.start(WORKFLOW)
    opened(ledger, base)
    await sealer.tick(START + MINUTE)
    fork = server.reset(base, START + HOUR)
    ending = base.close(START + HOUR, "terminated")
    ending.workflow_execution_terminated_event_attributes.identity = "history-resetter"
    await sealer.tick(START + HOUR + MINUTE)
    assert [(found.cause, found.run_id) for found in raised(ledger)] == [("run_reset", fork.run_id)]
    fork.close(START + 2 * HOUR)
    await make().tick(START + 2 * HOUR + MINUTE)
    assert causes(ledger) == ["run_reset"]
    assert [(final.run_id, final.reset_of) for final in finals(ledger)] == [
        (base.run_id, None),
        (fork.run_id, base.run_id),
    ]


async def test_who_calls_himself_the_resetter_is_not_believed(
    ledger: Ledger, server: MemoryServer, make: Callable[..., HistorySealer]
) -> None:
    run = server.start(WORKFLOW)
    ending = run.close(START + MINUTE, "terminated")
    ending.workflow_execution_terminated_event_attributes.identity = "history-resetter"
    await make().tick(START + 2 * MINUTE)
    assert causes(ledger) == ["run_terminated"]


async def test_a_second_start_under_the_same_id_is_said(
    ledger: Ledger, server: MemoryServer, make: Callable[..., HistorySealer]
) -> None:
    sealer, run = make(), server.start(WORKFLOW)
    opened(ledger, run)
    run.close(START + MINUTE)
    await sealer.tick(START + 2 * MINUTE)
    second = server.start(WORKFLOW, START + HOUR)
    await sealer.tick(START + HOUR + MINUTE)
    second.close(START + 2 * HOUR)
    await make().tick(START + 2 * HOUR + MINUTE)
    assert [(found.cause, found.run_id) for found in raised(ledger)] == [("run_reset", second.run_id)]


@pytest.mark.parametrize("seen", ["opened", "prefix", "both"])
async def test_a_deleted_run_is_said_once(
    seen: str, ledger: Ledger, server: MemoryServer, make: Callable[..., HistorySealer]
) -> None:
    sealer, run = make(), server.start(WORKFLOW)
    if seen != "prefix":
        opened(ledger, run)
    if seen != "opened":
        await sealer.tick(START + MINUTE)
    server.delete(run)
    done = await sealer.tick(START + 2 * MINUTE)
    assert [exception.cause for exception in done.raised] == ["run_deleted"]
    asked = server.calls["describe"]
    for again in (sealer, make()):
        await again.tick(START + HOUR)
    assert causes(ledger) == ["run_deleted"]
    assert server.calls["describe"] == asked  # and nobody asks after it any more


async def test_a_run_that_retention_took_is_late_and_not_called_deleted(
    ledger: Ledger, server: MemoryServer, make: Callable[..., HistorySealer]
) -> None:
    server.keeps = 7 * DAY
    run = server.start(WORKFLOW)
    await make().tick(START + MINUTE)
    server.delete(run)
    await make().tick(START + 8 * DAY)
    (found,) = raised(ledger)
    assert (found.cause, found.lost) == ("sealing_late", True)
    assert "not sealed in time" in found.detail


async def test_what_the_workflow_recorded_itself_proves_that_it_lived(
    ledger: Ledger, server: MemoryServer, make: Callable[..., HistorySealer]
) -> None:
    server.keeps = 7 * DAY
    run = server.start(WORKFLOW)
    opened(ledger, run, START + 5 * DAY)
    server.delete(run)
    await make().tick(START + 8 * DAY)
    assert causes(ledger) == ["run_deleted"]


async def test_a_closed_run_that_is_deleted_before_it_is_sealed(
    ledger: Ledger, server: MemoryServer, make: Callable[..., HistorySealer]
) -> None:
    run = server.start(WORKFLOW)
    run.close(START + MINUTE)

    class Gone(MemoryServer):
        async def history(self, workflow_id: str, run_id: str) -> bytes:
            raise HistoryMissingError("deleted in between")

    sealer = HistorySealer(ledger, Gone(runs=server.runs), lambda: START)
    done = await sealer.tick(START + 2 * MINUTE)
    assert [exception.cause for exception in done.raised] == ["run_deleted"]
    assert (done.waiting, sealer.lag(START + HOUR)) == (0, 0.0)


async def test_lists_that_lag_behind_lose_nothing(
    ledger: Ledger, server: MemoryServer, make: Callable[..., HistorySealer]
) -> None:
    sealer = make()
    hidden, open_run, other = (
        server.start(WORKFLOW),
        server.start(workflow_id(case_name(2))),
        server.start(workflow_id(case_name(3))),
    )
    opened(ledger, hidden)
    hidden.listed = open_run.listed = False
    await sealer.tick(START + MINUTE)
    assert causes(ledger) == []
    hidden.close(START + 2 * MINUTE)
    await sealer.tick(START + 3 * MINUTE)
    assert [final.run_id for final in finals(ledger)] == [hidden.run_id]  # asked after, by its id
    # Another one closes and is listed long before the one that closed first and was never seen.
    open_run.close(START + 5 * MINUTE)
    other.close(START + 60 * MINUTE)
    await sealer.tick(START + 61 * MINUTE)
    open_run.listed = True
    await sealer.tick(START + 62 * MINUTE)
    assert server.after == START  # the newest close less an hour
    assert [final.run_id for final in finals(ledger, case_name(2))] == [open_run.run_id]


async def test_what_shows_after_the_overlap_is_found_a_day_later(
    ledger: Ledger, server: MemoryServer, make: Callable[..., HistorySealer]
) -> None:
    sealer, hidden, other = make(), server.start(WORKFLOW), server.start(workflow_id(case_name(2)))
    hidden.listed = False
    hidden.close(START + MINUTE)
    other.close(START + 3 * HOUR)
    await sealer.tick(START + 3 * HOUR + MINUTE)
    hidden.listed = True
    await sealer.tick(START + 3 * HOUR + 2 * MINUTE)
    assert finals(ledger) == []
    await sealer.tick(START + DAY + 4 * HOUR)
    assert len(finals(ledger)) == 1
    assert causes(ledger) == ["sealing_late"]


async def test_a_sealer_that_was_down_for_days_seals_everything_and_says_that_it_is_late(
    ledger: Ledger, server: MemoryServer, make: Callable[..., HistorySealer]
) -> None:
    runs = [server.start(workflow_id(case_name(number))) for number in range(2, 32)]
    await make().tick(START + MINUTE)
    for number, run in enumerate(runs):
        run.close(START + number * HOUR)
    late = make()
    done = await late.tick(START + 5 * DAY)
    assert (done.sealed, done.waiting, late.lag(START + 5 * DAY)) == (30, 0, 0.0)
    for number in range(2, 32):
        assert causes(ledger, case_name(number)) == ["sealing_late"]
        assert len(finals(ledger, case_name(number))) == 1


async def test_while_a_run_cannot_be_sealed_it_lags_and_is_late_after_an_hour(
    ledger: Ledger, server: MemoryServer, make: Callable[..., HistorySealer]
) -> None:
    sealer, broken, fine = make(), server.start(WORKFLOW), server.start(workflow_id(case_name(2)))
    broken.signalled(START, 2)
    broken.close(START + MINUTE)
    missing = broken.events.pop(1)
    fine.close(START + 2 * MINUTE)
    for minute in (3, 30, 61):
        done = await sealer.tick(START + minute * MINUTE)
        assert done.waiting == 1
        assert "not numbered 1 to 3" in done.failures[0]
        assert sealer.lag(START + minute * MINUTE) == (minute - 1) * 60
    assert len(finals(ledger, case_name(2))) == 1
    assert causes(ledger) == []
    await sealer.tick(START + 3 * HOUR)
    await sealer.tick(START + 4 * HOUR)
    # The newest close is later; the run that waits is looked for all the same.
    assert server.after == START + MINUTE - HOUR
    broken.events.insert(1, missing)
    await sealer.tick(START + 5 * HOUR)
    assert causes(ledger) == ["sealing_late"]
    assert "not numbered 1 to 3" in raised(ledger)[0].detail
    assert len(finals(ledger)) == 1


async def test_a_server_that_is_down_stops_the_pass_and_nothing_else(
    ledger: Ledger, server: MemoryServer, make: Callable[..., HistorySealer]
) -> None:
    sealer, run = make(), server.start(WORKFLOW)
    await sealer.tick(START + MINUTE)
    assert sealer.last_pass == START + MINUTE

    run.close(START + 2 * MINUTE)
    broken = run.events.pop(0)
    await sealer.tick(START + 3 * MINUTE)
    server.down = True
    with pytest.raises(HistoryUnavailableError):
        await sealer.tick(START + 2 * HOUR)
    assert causes(ledger) == ["sealing_late"]  # known to be closed, so it is said even now
    assert sealer.last_pass == START + 3 * MINUTE
    assert sealer.lag(START + 2 * HOUR) == 118 * 60
    server.down = False
    run.events.insert(0, broken)
    await sealer.tick(START + 3 * HOUR)
    assert len(finals(ledger)) == 1
    assert causes(ledger) == ["sealing_late"]


async def test_a_wrong_namespace_does_not_call_every_case_deleted(
    ledger: Ledger, server: MemoryServer, make: Callable[..., HistorySealer]
) -> None:
    for number in range(30):
        server.start(workflow_id(case_name(number)))
    await make().tick(START + MINUTE)
    there, server.runs = server.runs, {}
    sealer = make()
    with pytest.raises(HistoryMissingError, match="right namespace"):
        await sealer.tick(START + 2 * MINUTE)
    server.runs = there
    await sealer.tick(START + 3 * MINUTE)
    assert [causes(ledger, case_name(number)) for number in range(30)] == [[]] * 30
    server.runs = {}
    with pytest.raises(HistoryMissingError):
        await sealer.tick(START + 4 * MINUTE)
    done = await sealer.tick(START + 65 * MINUTE)
    assert [exception.cause for exception in done.raised] == ["run_deleted"] * 30


async def test_a_run_under_a_foreign_id_is_said_without_its_id(
    ledger: Ledger, server: MemoryServer, make: Callable[..., HistorySealer]
) -> None:
    run = server.start("leaver-erika.mustermann")
    sealer = make()
    await sealer.tick(START + MINUTE)
    run.close(START + HOUR)
    await sealer.tick(START + HOUR + MINUTE)
    await make().tick(START + HOUR + MINUTE)
    (record,) = of(ledger, RecordType.EXCEPTION_RAISED, LOG, Chain.LOG)
    assert record.body["cause"] == "run_unknown"
    assert run.run_id in str(record.body["detail"])
    assert b"erika" not in record.raw


async def test_a_history_that_closes_while_it_is_compared_is_sealed_at_once(
    ledger: Ledger, server: MemoryServer, make: Callable[..., HistorySealer]
) -> None:
    run = server.start(WORKFLOW)

    class Racing(MemoryServer):
        async def history(self, workflow_id: str, run_id: str) -> bytes:
            if run.closed_at is None:
                run.close(START + MINUTE)
            return await super().history(workflow_id, run_id)

    sealer = HistorySealer(ledger, Racing(runs=server.runs), lambda: START)
    done = await sealer.tick(START + MINUTE)
    assert done.sealed == 1
    await sealer.tick(START + 2 * MINUTE)
    assert len(finals(ledger)) == 1
    assert prefixes(ledger) == []


async def test_a_run_listed_as_closed_before_its_last_event_is_served_waits(
    ledger: Ledger, server: MemoryServer, make: Callable[..., HistorySealer]
) -> None:
    sealer, run = make(), server.start(WORKFLOW)
    run.signalled(START)
    run.close(START + MINUTE)
    last = run.events.pop()
    done = await sealer.tick(START + 2 * MINUTE)
    assert (done.waiting, done.failures, finals(ledger)) == (1, [], [])
    run.events.append(last)
    done = await sealer.tick(START + 3 * MINUTE)
    assert (done.waiting, len(finals(ledger))) == (0, 1)


async def test_children_are_known_by_their_parents_history_alone(
    ledger: Ledger, server: MemoryServer, make: Callable[..., HistorySealer]
) -> None:
    parent = server.start(WORKFLOW)
    child, stranger = server.start(watch_workflow_id(CASE)), server.start("of-erika")
    child.listed = stranger.listed = False
    for each in (child, stranger):
        started = parent.add(EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED, START)
        execution = started.child_workflow_execution_started_event_attributes.workflow_execution
        execution.workflow_id, execution.run_id = each.workflow_id, each.run_id
    parent.close(START + MINUTE)
    sealer = make()
    await sealer.tick(START + 2 * MINUTE)
    (final,) = finals(ledger)
    assert [entry.run_id for entry in final.children] == [child.run_id]
    await make().tick(START + 3 * MINUTE)
    assert [prefix.workflow_id for prefix in prefixes(ledger)] == [watch_workflow_id(CASE)]
    server.delete(child)
    await make().tick(START + 4 * MINUTE)
    assert causes(ledger) == ["run_deleted"]


async def test_a_chain_is_sealed_for_its_bundle_and_given_again_from_the_ledger(
    ledger: Ledger, server: MemoryServer, make: Callable[..., HistorySealer]
) -> None:
    first = server.start(WORKFLOW)
    second = server.start(WORKFLOW, START + MINUTE, first_run_id=first.run_id)
    ending = first.close(START + MINUTE, "continued_as_new")
    ending.workflow_execution_continued_as_new_event_attributes.new_execution_run_id = second.run_id
    with pytest.raises(NotClosedError):
        await make().seal_case(CASE, WORKFLOW, first.run_id)
    assert ledger.size() == 0
    second.close(START + 2 * MINUTE)
    sealer = make()
    sealed = await sealer.seal_case(CASE, WORKFLOW, first.run_id)
    assert [run.file.run_id for run in sealed] == [first.run_id, second.run_id]
    assert [run.file.proto for run in sealed] == [server.serve(first), server.serve(second)]
    assert History.FromString(sealed[0].file.proto).events == first.events
    assert b'"eventId"' in sealed[0].file.json
    asked, size = server.calls["history"], ledger.size()
    assert await make().seal_case(CASE, WORKFLOW, first.run_id) == sealed
    for run in (second, first):
        server.delete(run)
        assert await make().seal_case(CASE, WORKFLOW, first.run_id) == sealed
    assert (server.calls["history"], ledger.size()) == (asked, size)
    await sealer.tick(START + HOUR)
    assert causes(ledger) == []
    with pytest.raises(HistoryMissingError):
        await make().seal_case(case_name(9), workflow_id(case_name(9)), "never-started")


async def test_a_sealed_case_that_is_reset_later_is_not_given_from_the_ledger(
    ledger: Ledger, server: MemoryServer, make: Callable[..., HistorySealer]
) -> None:
    base = server.start(WORKFLOW)
    base.close(START + MINUTE)
    await make().seal_case(CASE, WORKFLOW, base.run_id)
    fork = server.reset(base, START + HOUR)
    with pytest.raises(NotClosedError):
        await make().seal_case(CASE, WORKFLOW, base.run_id)
    fork.close(START + HOUR)
    both = await make().seal_case(CASE, WORKFLOW, base.run_id)
    assert [run.final.reset_of for run in both] == [None, base.run_id]
    assert causes(ledger) == ["run_reset"]


async def test_a_server_without_lists_seals_by_case_only(ledger: Ledger, server: MemoryServer) -> None:
    class Bare(MemoryServer):
        async def open_runs(self) -> AsyncIterator[Run]:
            raise NoListError("no list here")
            yield

        async def runs_of(self, workflow_id: str) -> tuple[Run, ...]:
            return ()

    bare = Bare()
    run = bare.start(WORKFLOW)
    run.close(START + MINUTE)
    sealer = HistorySealer(ledger, bare, lambda: START)
    with pytest.raises(NoListError):
        await sealer.tick(START)
    assert len(await sealer.seal_case(CASE, WORKFLOW, run.run_id)) == 1


async def test_ten_thousand_open_cases_cost_two_lists_a_minute(
    ledger: Ledger, server: MemoryServer, make: Callable[..., HistorySealer]
) -> None:
    settings = HistorySettings(prefixes_per_pass=100, parallel=4)
    for number in range(10_000):
        server.start(workflow_id(case_name(number)))
    sealer = make(settings)
    done = await sealer.tick(START + MINUTE)
    assert done.compared == server.calls["history"] == 100
    assert server.busiest == 4
    sealer_idle = make(HistorySettings(prefixes_per_pass=0))
    server.calls.clear()
    for minute in range(2, 5):
        await sealer_idle.tick(START + minute * MINUTE)
    assert server.calls == {"open": 3, "closed": 3}


def test_temporal_is_only_read() -> None:
    # What docs/evidence/histories.md asks the operator to grant.
    granted = {
        "describe_namespace",
        "describe_workflow_execution",
        "list_workflow_executions",
    }
    used = set()
    for module in (runs_module, history_module):
        tree = ast.parse(Path(str(module.__file__)).read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute):
                used |= {node.attr} if node.value.attr.endswith("_service") else set()
        calls = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert calls.isdisjoint(
            {"start_workflow", "terminate", "cancel", "signal", "execute_update", "query"}
        )
    assert used == granted


SAVED = sorted(Path(__file__).parents[2].joinpath("replay/histories").glob("*.json"))


async def test_histories_of_real_cases_give_no_cause_for_exceptions(
    ledger: Ledger, server: MemoryServer, make: Callable[..., HistorySealer]
) -> None:
    for number, path in enumerate(SAVED):
        events = list(WorkflowHistory.from_json("any", path.read_text()).events)
        started = events[0].workflow_execution_started_event_attributes
        run_id = started.original_execution_run_id or str(number)
        server.runs[run_id] = Recorded(
            workflow_id(case_name(number)), run_id, run_id, events, closed_at=START
        )
    done = await make().tick(START + MINUTE)
    assert (done.sealed, done.raised, done.failures) == (len(SAVED), (), [])
    sealed = [final for number in range(len(SAVED)) for final in finals(ledger, case_name(number))]
    assert {final.close_status for final in sealed} == {"completed"}
