"""How every unit of work runs: read, write, read back, remember.

A unit is one activity call with a few steps on one account. What is already done survives a retry in the
heartbeat details, so that a later attempt neither repeats a write nor forgets that an earlier one made it.
Attempts whose details were lost (the worker was killed) are counted as such.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from pydantic import Field
from temporalio import activity

from activities.errors import NotYetEffectiveError, application_error, error_type, open_reason
from leaver.connectors.errors import ConnectorError, UnknownOutcomeError
from leaver.connectors.guard import write_scope
from leaver.connectors.receipts import recording
from leaver.domain.base import Facts, Instant, Message
from leaver.domain.catalogue import CATALOGUE
from leaver.domain.effect import Attempt, Effect, Receipt, UnitInput, UnitResult
from leaver.domain.words import Mode, Outcome, Phase, Reason

State = TypeVar("State")

UNKNOWN: Final = "unknown"
"""In a before-state: nobody read it in time."""

HEARTBEAT_EVERY: Final = 2.0


@dataclass(frozen=True, slots=True)
class ReadBack:
    """How an effect is proven. Directories are eventually consistent, so one agreeing read is not enough.

    ``agree`` reads in a row, ``interval`` apart, must show it, within ``deadline``; after that the attempt
    fails and a later one reads again. A write that the system accepted is repeated only when
    ``rewrite_after`` has passed without effect; one whose answer never came already after ``deadline``.
    """

    agree: int = 2
    interval: timedelta = timedelta(seconds=1)
    deadline: timedelta = timedelta(seconds=20)
    rewrite_after: timedelta = timedelta(minutes=2)


class Touched(Message):
    """What an earlier attempt did to a step before it ended."""

    before: Facts
    writes: int
    last_write: Instant
    accepted: bool = False
    """The system answered that it took the write."""
    partial: bool = False
    """It ended before all was sent: the rest may follow at once."""


class Progress(Message):
    """The heartbeat details of a unit."""

    attempts: tuple[Attempt, ...] = ()
    effects: tuple[Effect, ...] = ()
    touched: dict[str, Touched] = Field(default_factory=dict)


class StepRun:
    """One step's run inside a unit: what it knows, and the one way to make an effect."""

    def __init__(self, unit: UnitRun, step: str) -> None:
        self.arg: Final = unit.arg
        self.step: Final = step
        self.started_at: Final = datetime.now(UTC)
        self._unit = unit
        self._wrote_part = False

    def wrote_part(self) -> None:
        """Tell that one of several requests of a write is done: a later failure must not forget it."""
        self._wrote_part = True

    @property
    def touched(self) -> Touched | None:
        """What an earlier attempt, or this one, wrote."""
        return self._unit.progress.touched.get(self.step)

    @property
    def may_have_written(self) -> bool:
        """Whether an earlier try may have made the effect that a read finds now."""
        return self.touched is not None or self._unit.lost_attempt or self.arg.run > 1

    def effect(
        self, outcome: Outcome, before: Facts, after: Facts, reason: Reason | None = None, detail: str = ""
    ) -> Effect:
        """The step's effect, finished now."""
        return Effect(
            step=self.step,
            outcome=outcome,
            before=before,
            after=after,
            reason=reason,
            detail=detail,
            started_at=self.started_at,
            finished_at=datetime.now(UTC),
            writes=self.touched.writes if self.touched else 0,
            attempts=self._unit.attempt,
        )

    async def converge(
        self,
        *,
        read: Callable[[], Awaitable[State]],
        so: Callable[[State], bool],
        facts: Callable[[State], Facts],
        write: Callable[[State], Awaitable[None]],
    ) -> Effect:
        """Bring one thing into the wanted state and prove it.

        ``read`` asks the system, ``so`` says whether the state is the wanted one, ``facts`` puts it into
        evidence, ``write`` changes it (given what was read). Returns ``already``, ``verified`` or, in
        notification-only mode, ``planned``.

        Raises:
            ConnectorError: from the connector.
            NotYetEffectiveError: accepted, but the read-back did not show it in time.
        """
        state = await read()
        before = self._before(facts(state), found_so=so(state))
        if so(state) and not self.may_have_written:
            state = await self._still_so(state, read, so)
            if so(state):
                return self.effect(Outcome.ALREADY, before, facts(state))
            before = facts(state)
        if self.arg.mode is Mode.NOTIFICATION_ONLY:
            return self.effect(Outcome.PLANNED, before, before)
        if not so(state) and self._may_write_now():
            await self._write(before, lambda: write(state))
        state = await self._read_back(read, so)
        return self.effect(Outcome.VERIFIED, before, facts(state))

    async def _still_so(
        self, state: State, read: Callable[[], Awaitable[State]], so: Callable[[State], bool]
    ) -> State:
        """Read until enough reads agree, or one does not: a stale replica must not say that all is done."""
        for _ in range(self._unit.read_back.agree - 1):
            if not so(state):
                break
            await asyncio.sleep(self._unit.read_back.interval.total_seconds())
            state = await read()
        return state

    def _before(self, now: Facts, *, found_so: bool) -> Facts:
        if self.touched is not None:
            return self.touched.before
        if self.may_have_written:
            # An attempt was lost: what intake read is the state before anything of ours. What intake did not
            # read, and may be of our own making, is not known.
            known = self.arg.account.before
            return {key: known.get(key, UNKNOWN if found_so else value) for key, value in now.items()}
        return now

    def _may_write_now(self) -> bool:
        if self.touched is None or self.touched.partial:
            return True
        how = self._unit.read_back
        patience = how.rewrite_after if self.touched.accepted else how.deadline
        return datetime.now(UTC) - self.touched.last_write >= patience

    async def _write(self, before: Facts, write: Callable[[], Awaitable[None]]) -> None:
        writes = (self.touched.writes if self.touched else 0) + 1
        # Told before the request leaves: an attempt that dies on it must not look like one that never wrote.
        sent = Touched(before=before, writes=writes, last_write=datetime.now(UTC))
        self._unit.touch(self.step, sent)
        try:
            await write()
            self._unit.touch(self.step, sent.model_copy(update={"accepted": True}))
        except UnknownOutcomeError:
            # The reply may be lost after the system committed: the read-back decides, not a second write.
            return
        except ConnectorError:
            if self._wrote_part:
                done = Touched(before=before, writes=writes, last_write=datetime.now(UTC), partial=True)
                self._unit.touch(self.step, done)
            else:
                self._unit.untouch(self.step, writes - 1)
            raise

    async def _read_back(self, read: Callable[[], Awaitable[State]], so: Callable[[State], bool]) -> State:
        how = self._unit.read_back
        until = datetime.now(UTC) + how.deadline
        agreeing = 0
        while True:
            state = await read()
            agreeing = agreeing + 1 if so(state) else 0
            if agreeing >= how.agree:
                return state
            if datetime.now(UTC) >= until:
                raise NotYetEffectiveError(f"{self.step}: accepted, but reading it back does not show it yet")
            await asyncio.sleep(how.interval.total_seconds())


StepRunner = Callable[[StepRun], Awaitable[Effect]]


class UnitRun:
    """The run of one activity call."""

    def __init__(self, arg: UnitInput, read_back: ReadBack) -> None:
        info = activity.info()
        self.arg: Final = arg
        self.read_back: Final = read_back
        self.attempt: Final = info.attempt
        self.progress = Progress()
        if info.heartbeat_details:
            self.progress = Progress.model_validate(info.heartbeat_details[0])
        self.lost_attempt = self._count_lost()
        self._started = datetime.now(UTC)

    async def run(self, runners: Mapping[str, StepRunner], subjects: Iterable[str]) -> UnitResult:
        """Run the steps that are not done yet, in order.

        A step that only a person can help becomes an ``open`` effect and the others go on; an error worth
        trying again ends the attempt.

        Raises:
            ApplicationError: to be retried by Temporal, with the vendor's ``Retry-After`` where it gave one.
        """
        async with self._heartbeats():
            with write_scope(self.arg.mode, subjects):
                for step in self.arg.steps:
                    if all(effect.step != step for effect in self.progress.effects):
                        await self._run_step(step, runners[step])
        return self._result((*self.progress.attempts, self._this_attempt()))

    def touch(self, step: str, touched: Touched) -> None:
        """Remember that a write is about to be sent."""
        self._keep(touched={**self.progress.touched, step: touched})

    def untouch(self, step: str, writes: int) -> None:
        """The system refused the write, so it did not happen."""
        touched = dict(self.progress.touched)
        if writes:
            touched[step] = touched[step].model_copy(update={"writes": writes, "partial": True})
        else:
            touched.pop(step)
        self._keep(touched=touched)

    async def _run_step(self, name: str, runner: StepRunner) -> None:
        step = StepRun(self, name)
        with recording() as receipts:
            try:
                effect = self._blocked(step) or await runner(step)
            except ConnectorError as err:
                effect = self._open_effect(step, err)
        self._done(effect, receipts)

    def _open_effect(self, step: StepRun, err: ConnectorError) -> Effect:
        reason = open_reason(err)
        if reason is None:
            self._keep(attempts=(*self.progress.attempts, self._this_attempt(err)))
            raise application_error(err, self._result(self.progress.attempts)) from err
        return step.effect(Outcome.OPEN, {}, {}, reason, str(err))

    def _result(self, attempts: tuple[Attempt, ...]) -> UnitResult:
        return UnitResult(system=self.arg.account.system, effects=self.progress.effects, attempts=attempts)

    def _blocked(self, step: StepRun) -> Effect | None:
        """A step whose forerunner in this unit needs a person waits with it; containment never waits."""
        definition = CATALOGUE[step.step]
        if definition.phase is Phase.CONTAIN:
            return None
        stuck = [
            done.step
            for done in self.progress.effects
            if done.step in definition.after and not done.outcome.effective
        ]
        if not stuck:
            return None
        return step.effect(Outcome.OPEN, {}, {}, Reason.BLOCKED_BY_STEP, f"waits for {', '.join(stuck)}")

    def _done(self, effect: Effect, receipts: list[Receipt]) -> None:
        self._keep(effects=(*self.progress.effects, effect.model_copy(update={"receipts": tuple(receipts)})))

    def _keep(self, **changed: object) -> None:
        self.progress = self.progress.model_copy(update=changed)
        activity.heartbeat(self.progress)

    def _this_attempt(self, err: ConnectorError | None = None) -> Attempt:
        return Attempt(
            number=self.attempt,
            started_at=self._started,
            ended_at=datetime.now(UTC),
            error=error_type(err) if err else None,
            detail=str(err)[:300] if err else "",
        )

    def _count_lost(self) -> bool:
        """Fill the gaps in the attempt list: what Temporal counted and nobody reported."""
        known = {attempt.number for attempt in self.progress.attempts}
        lost = [Attempt(number=number, lost=True) for number in range(1, self.attempt) if number not in known]
        if lost:
            attempts = sorted((*self.progress.attempts, *lost), key=lambda attempt: attempt.number)
            self.progress = self.progress.model_copy(update={"attempts": tuple(attempts)})
        return any(attempt.lost for attempt in self.progress.attempts)

    @contextlib.asynccontextmanager
    async def _heartbeats(self) -> AsyncIterator[None]:
        async def beat() -> None:
            while True:
                activity.heartbeat(self.progress)
                await asyncio.sleep(HEARTBEAT_EVERY)

        task = asyncio.create_task(beat())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
