"""A unit of work over its attempts: what is remembered, what is written again, and what is not."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities import beating as beating_module
from activities import unit as unit_module
from activities.beating import beating
from activities.unit import Progress, ReadBack, StepRun, UnitRun
from leaver.connectors.errors import (
    AccessDenied,
    Ambiguous,
    ConnectorError,
    InvalidCredentials,
    ProtocolError,
    Rejected,
    Throttled,
    Unavailable,
    UnknownOutcomeError,
    WriteRefused,
)
from leaver.connectors.guard import WriteGuard
from leaver.connectors.receipts import record
from leaver.domain.account import Account, LinkRule
from leaver.domain.effect import Attempt, Effect, Receipt, UnitInput, UnitResult
from leaver.domain.words import ErrorType, Mode, Outcome, Reason, System

BLOCK, PASSWORD, REVOKE = "entra.block_sign_in", "entra.reset_password", "entra.revoke_sessions"
METHODS, AGAIN = "entra.remove_auth_methods", "entra.revoke_sessions_after_credentials"
SUBJECT = "0e1f0f5e-0000-4000-8000-000000000001"

QUICK = ReadBack(
    agree=2,
    interval=timedelta(milliseconds=2),
    deadline=timedelta(milliseconds=30),
    rewrite_after=timedelta(minutes=2),
)


@dataclass
class Door:
    """A small system with a lag: open or closed, some reads still show the old state, some calls fail."""

    open: bool = True
    stale_reads: int = 0
    """How many reads after a write show what was before."""
    before_write: list[ConnectorError | None] = field(default_factory=list)
    after_write: list[ConnectorError | None] = field(default_factory=list)
    on_read: list[ConnectorError | None] = field(default_factory=list)
    writes: int = 0
    reads: int = 0
    guard: WriteGuard = field(default_factory=lambda: WriteGuard(Mode.ENFORCE))
    _lag: int = 0

    async def read(self) -> bool:
        self.reads += 1
        self._raise(self.on_read)
        self._receipt("GET", mutating=False)
        if self._lag:
            self._lag -= 1
            return not self.open
        return self.open

    async def close(self, _: bool) -> None:
        self.guard.check("PATCH /doors/{id}", [SUBJECT])
        self._raise(self.before_write)
        self.writes += 1
        if self.open:
            self.open, self._lag = False, self.stale_reads
        self._receipt("PATCH", mutating=True)
        self._raise(self.after_write)

    async def step(self, run: StepRun) -> Effect:
        return await run.converge(
            read=self.read,
            so=lambda is_open: not is_open,
            facts=lambda is_open: {"open": is_open},
            write=self.close,
        )

    @staticmethod
    def _raise(errors: list[ConnectorError | None]) -> None:
        if errors and (error := errors.pop(0)):
            raise error

    @staticmethod
    def _receipt(method: str, *, mutating: bool) -> None:
        now = datetime.now(UTC)
        record(Receipt(method=method, path="/doors/{id}", status=200, mutating=mutating, at=now))


@dataclass
class Run:
    """What came of it, attempt by attempt."""

    result: UnitResult | None = None
    errors: list[ApplicationError] = field(default_factory=list)
    beats: list[dict[str, Any]] = field(default_factory=list)

    def effect(self, step: str = BLOCK) -> Effect:
        assert self.result is not None
        return next(effect for effect in self.result.effects if effect.step == step)

    @property
    def attempts(self) -> list[tuple[int, ErrorType | None, bool]]:
        assert self.result is not None
        return [(one.number, one.error, one.lost) for one in self.result.attempts]


def unit_input(*steps: str, mode: Mode = Mode.ENFORCE, run: int = 1, **before: Any) -> UnitInput:
    return UnitInput(
        case="c-test",
        unit="entra.contain",
        mode=mode,
        account=Account(system=System.ENTRA, id=SUBJECT, rule=LinkRule.EMPLOYEE_ID, before=before),
        steps=steps or (BLOCK,),
        not_before=datetime.now(UTC),
        run=run,
    )


async def perform(
    runners: dict[str, Callable[[StepRun], Awaitable[Effect]]],
    arg: UnitInput | None = None,
    *,
    read_back: ReadBack = QUICK,
    attempts: int = 4,
    first: int = 1,
    lose: tuple[int, ...] = (),
) -> Run:
    """Run as Temporal does: again after an error, with the last heartbeat that arrived.

    Attempts before ``first`` were lost; heartbeats of the attempts in ``lose`` never arrived.
    """
    run, kept = Run(), []
    given = arg or unit_input(*runners)

    async def activity(told: UnitInput) -> UnitResult:
        return await UnitRun(told, read_back).run(runners, [told.account.id])

    for number in range(first, first + attempts):
        env = ActivityEnvironment()
        env.info = dataclasses.replace(env.info, attempt=number, heartbeat_details=kept[-1:])

        def beat(*said: Any, number: int = number) -> None:
            assert isinstance(said[0], Progress)
            # As Temporal hands it back: plain JSON.
            details = said[0].model_dump(mode="json")
            run.beats.append(details)
            if number not in lose:
                kept.append(details)

        env.on_heartbeat = beat
        try:
            run.result = await env.run(activity, given)
        except ApplicationError as err:
            run.errors.append(err)
            if err.non_retryable or number == first + attempts - 1:
                raise
        else:
            return run
    raise AssertionError("unreachable")


async def test_it_is_done_and_read_back_twice() -> None:
    door = Door()
    run = await perform({BLOCK: door.step})
    effect = run.effect()
    assert (effect.outcome, effect.writes, effect.attempts) == (Outcome.VERIFIED, 1, 1)
    assert (effect.before, effect.after) == ({"open": True}, {"open": False})
    assert (door.writes, door.reads) == (1, 3)
    assert [receipt.method for receipt in effect.receipts] == ["GET", "PATCH", "GET", "GET"]
    assert run.attempts == [(1, None, False)]
    assert effect.started_at <= effect.finished_at


async def test_what_is_so_already_is_said_so_and_not_written() -> None:
    door = Door(open=False)
    run = await perform({BLOCK: door.step})
    assert run.effect().outcome is Outcome.ALREADY
    assert run.effect().before == run.effect().after == {"open": False}
    assert (door.writes, run.effect().writes) == (0, 0)


async def test_one_stale_read_does_not_make_it_so_already() -> None:
    door = Door(open=True, _lag=1)  # the first read still shows a door that was closed before
    run = await perform({BLOCK: door.step})
    assert run.effect().outcome is Outcome.VERIFIED
    assert (door.writes, door.open) == (1, False)
    assert run.effect().before == {"open": True}


async def test_stale_reads_are_waited_for() -> None:
    door = Door(stale_reads=3)
    run = await perform({BLOCK: door.step})
    assert run.effect().outcome is Outcome.VERIFIED
    assert door.writes == 1
    assert len(run.errors) == 0


async def test_one_agreeing_read_among_stale_ones_proves_nothing() -> None:
    shown = iter([True, False, True, False, False])
    door = Door()

    async def read() -> bool:
        return next(shown)

    async def step(run: StepRun) -> Effect:
        return await run.converge(
            read=read,
            so=lambda is_open: not is_open,
            facts=lambda is_open: {"open": is_open},
            write=door.close,
        )

    run = await perform({BLOCK: step}, read_back=dataclasses.replace(QUICK, deadline=timedelta(seconds=5)))
    assert run.effect().outcome is Outcome.VERIFIED
    assert next(shown, "all were read") == "all were read"


async def test_an_accepted_write_is_not_repeated_before_its_time() -> None:
    door = Door(stale_reads=60)
    run = await perform({BLOCK: door.step}, attempts=20)
    assert run.effect().outcome is Outcome.VERIFIED
    assert door.writes == 1
    assert {error.type for error in run.errors} == {"not_yet_effective"}
    assert run.errors
    assert run.effect().before == {"open": True}
    assert len(run.attempts) == len(run.errors) + 1


async def test_an_accepted_write_without_effect_is_repeated_in_the_end() -> None:
    patient = dataclasses.replace(QUICK, rewrite_after=timedelta(milliseconds=60))
    door = Door()

    async def swallowed(_: bool) -> None:
        door.writes += 1
        if door.writes > 1:
            door.open = False

    async def step(run: StepRun) -> Effect:
        return await run.converge(
            read=door.read,
            so=lambda is_open: not is_open,
            facts=lambda is_open: {"open": is_open},
            write=swallowed,
        )

    run = await perform({BLOCK: step}, read_back=patient, attempts=10)
    assert (run.effect().outcome, run.effect().writes, door.writes) == (Outcome.VERIFIED, 2, 2)
    assert len(run.errors) >= 2  # the second write waited longer than one read-back


async def test_a_lost_reply_after_the_commit_is_one_write() -> None:
    door = Door(after_write=[UnknownOutcomeError("no answer came")])
    run = await perform({BLOCK: door.step})
    assert (run.effect().outcome, run.effect().writes, door.writes) == (Outcome.VERIFIED, 1, 1)
    assert run.errors == []


async def test_a_lost_request_is_written_again_once_its_deadline_has_passed() -> None:
    door = Door(before_write=[UnknownOutcomeError("no answer came")])
    run = await perform({BLOCK: door.step}, attempts=4)
    assert run.effect().outcome is Outcome.VERIFIED
    assert door.writes == 1
    assert run.effect().writes == 2  # what was sent, as far as we know
    assert [error.type for error in run.errors] == ["not_yet_effective"]


async def test_a_refused_write_did_not_happen() -> None:
    door = Door(before_write=[Throttled("slow down", retry_after=2), Unavailable("503"), None])
    run = await perform({BLOCK: door.step})
    assert (run.effect().outcome, run.effect().writes, door.writes) == (Outcome.VERIFIED, 1, 1)
    assert run.attempts == [
        (1, ErrorType.THROTTLED, False),
        (2, ErrorType.UNAVAILABLE, False),
        (3, None, False),
    ]
    assert run.errors[0].next_retry_delay == timedelta(seconds=2)
    assert run.errors[1].next_retry_delay is None


async def test_done_steps_survive_a_retry_and_are_not_run_again() -> None:
    first, second = Door(), Door(on_read=[Throttled("slow down"), None])
    run = await perform({BLOCK: first.step, REVOKE: second.step})
    assert first.reads == 3
    assert run.effect(BLOCK).attempts == 1
    assert run.effect(REVOKE).attempts == 2
    assert run.effect(BLOCK).receipts
    (error,) = run.errors
    (so_far,) = error.details
    assert isinstance(so_far, UnitResult)
    assert [effect.step for effect in so_far.effects] == [BLOCK]
    assert [one.number for one in so_far.attempts] == [1]


async def test_the_last_failure_tells_all_attempts() -> None:
    door = Door(on_read=[Throttled("a"), Unavailable("b"), Throttled("c")])
    with pytest.raises(ApplicationError) as caught:
        await perform({BLOCK: door.step}, attempts=3)
    so_far = caught.value.details[0]
    assert [(one.number, one.error) for one in so_far.attempts] == [
        (1, ErrorType.THROTTLED),
        (2, ErrorType.UNAVAILABLE),
        (3, ErrorType.THROTTLED),
    ]


async def test_attempts_that_nobody_reported_are_lost_ones() -> None:
    """The worker was killed twice: what it did is known from reading alone."""
    door = Door(open=False)
    run = await perform({BLOCK: door.step}, unit_input(open=True), first=3)
    assert run.attempts == [(1, None, True), (2, None, True), (3, None, False)]
    effect = run.effect()
    # It may have been us, so it is not "already"; the state before is what intake read.
    assert (effect.outcome, effect.before, effect.after) == (
        Outcome.VERIFIED,
        {"open": True},
        {"open": False},
    )
    assert door.writes == 0


async def test_what_intake_did_not_read_is_not_invented_after_a_lost_attempt() -> None:
    run = await perform({BLOCK: Door(open=False).step}, first=2)
    assert run.effect().before == {"open": "unknown"}


async def test_an_attempt_whose_notes_were_lost_writes_at_once_where_it_is_needed() -> None:
    door = Door(before_write=[Throttled("slow down"), None])
    run = await perform({BLOCK: door.step}, unit_input(open=True), lose=(1,))
    assert run.attempts == [(1, None, True), (2, None, False)]
    assert (run.effect().outcome, door.writes) == (Outcome.VERIFIED, 1)


async def test_a_rerun_may_find_its_own_earlier_effect() -> None:
    run = await perform({BLOCK: Door(open=False).step}, unit_input(run=2, open=True))
    assert (run.effect().outcome, run.effect().before) == (Outcome.VERIFIED, {"open": True})


async def test_notification_only_reads_and_writes_nothing() -> None:
    door, shut = Door(), Door(open=False)
    arg = unit_input(BLOCK, REVOKE, mode=Mode.NOTIFICATION_ONLY)
    run = await perform({BLOCK: door.step, REVOKE: shut.step}, arg)
    assert run.effect(BLOCK).outcome is Outcome.PLANNED
    assert run.effect(BLOCK).before == run.effect(BLOCK).after == {"open": True}
    assert run.effect(REVOKE).outcome is Outcome.ALREADY
    assert (door.writes, shut.writes) == (0, 0)


async def test_a_forgotten_check_cannot_write_in_notification_only_mode() -> None:
    door = Door()

    async def careless(run: StepRun) -> Effect:
        await door.close(True)
        return run.effect(Outcome.VERIFIED, {}, {})

    run = await perform({BLOCK: careless}, unit_input(BLOCK, mode=Mode.NOTIFICATION_ONLY))
    assert (run.effect().outcome, run.effect().reason) == (Outcome.OPEN, Reason.WRITE_REFUSED)
    assert door.writes == 0


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (AccessDenied("no right", needs="User.ReadWrite.All"), Reason.ACCESS_DENIED),
        (InvalidCredentials("expired"), Reason.INVALID_CREDENTIALS),
        (Rejected("no", code="Bad", status=400), Reason.REJECTED_BY_SYSTEM),
        (Ambiguous("two", count=2), Reason.AMBIGUOUS_ACCOUNT),
        (WriteRefused("off"), Reason.WRITE_REFUSED),
    ],
)
async def test_what_only_a_person_can_cure_is_open_and_the_others_go_on(
    error: ConnectorError, reason: Reason
) -> None:
    run = await perform({BLOCK: Door(on_read=[error]).step, REVOKE: Door().step})
    assert (run.effect(BLOCK).outcome, run.effect(BLOCK).reason) == (Outcome.OPEN, reason)
    assert run.effect(BLOCK).detail == str(error)
    # Containment never waits for another step.
    assert run.effect(REVOKE).outcome is Outcome.VERIFIED
    assert run.errors == []


async def test_after_containment_a_step_waits_for_its_forerunner() -> None:
    later = Door()
    denied = AccessDenied("no right", needs="UserAuthenticationMethod.ReadWrite.All")
    run = await perform({METHODS: Door(on_read=[denied]).step, AGAIN: later.step})
    assert (run.effect(AGAIN).outcome, run.effect(AGAIN).reason) == (Outcome.OPEN, Reason.BLOCKED_BY_STEP)
    assert METHODS in run.effect(AGAIN).detail
    assert later.reads == 0


async def test_a_protocol_error_is_tried_again() -> None:
    run = await perform({BLOCK: Door(on_read=[ProtocolError("a gateway's page"), None]).step})
    assert run.effect().outcome is Outcome.VERIFIED
    assert [error.type for error in run.errors] == ["protocol"]


async def test_half_a_write_is_continued_at_once() -> None:
    sent: list[str] = []

    async def step(run: StepRun) -> Effect:
        async def read() -> int:
            return len(sent)

        async def write(_: int) -> None:
            for part in ("one", "two")[len(sent) :]:
                if part == "two" and run.touched is not None and run.touched.writes == 1:
                    raise Throttled("slow down")
                sent.append(part)
                run.wrote_part()

        return await run.converge(
            read=read, so=lambda done: done == 2, facts=lambda done: {"done": done}, write=write
        )

    run = await perform({BLOCK: step})
    assert sent == ["one", "two"]
    effect = run.effect()
    assert (effect.outcome, effect.before, effect.writes) == (Outcome.VERIFIED, {"done": 0}, 2)


async def test_the_write_is_told_before_it_is_sent() -> None:
    """An attempt that dies on its request must not look like one that never wrote."""
    door = Door()
    seen: list[bool] = []

    async def step(run: StepRun) -> Effect:
        async def write(is_open: bool) -> None:
            seen.append(run.touched is not None)
            await door.close(is_open)

        return await run.converge(
            read=door.read, so=lambda is_open: not is_open, facts=lambda is_open: {}, write=write
        )

    run = await perform({BLOCK: step})
    assert seen == [True]
    told = [beat["touched"].get(BLOCK) for beat in run.beats]
    accepted = [note["accepted"] for note in told if note]
    assert accepted[0] is False
    assert set(accepted[1:]) == {True}


async def test_a_slow_step_keeps_sending_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unit_module, "HEARTBEAT_EVERY", 0.01)

    async def slow(run: StepRun) -> Effect:
        await asyncio.sleep(0.1)
        return run.effect(Outcome.VERIFIED, {}, {})

    run = await perform({BLOCK: slow})
    assert len(run.beats) >= 5


async def test_a_slow_look_up_sends_heartbeats_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beating_module, "BEAT_EVERY", 0.01)
    beats: list[object] = []
    env = ActivityEnvironment()
    env.on_heartbeat = lambda *said: beats.append(said)

    async def look() -> None:
        async with beating():
            await asyncio.sleep(0.1)

    await env.run(look)
    after = len(beats)
    await asyncio.sleep(0.03)
    assert after >= 5
    assert len(beats) == after


def test_progress_of_an_older_worker_is_understood() -> None:
    told = {"attempts": [{"number": 1, "unheard_of": True}], "effects": [], "more": 1}
    assert Progress.model_validate(told).attempts == (Attempt(number=1),)
