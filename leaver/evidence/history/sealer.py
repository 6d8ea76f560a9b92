"""The sealer of histories: what Temporal will delete goes into the ledger, and what is wrong with it is said.

A workflow cannot export its own last event, so this looks from outside: it lists open and closed runs, seals
each closed one once, notes the beginnings of open ones every day, and asks after those that are gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, TypeVar

from leaver.domain.ids import case_of_workflow
from leaver.evidence.errors import EvidenceError, LedgerUnavailableError
from leaver.evidence.history.bodies import RunException
from leaver.evidence.history.findings import Cause, ClosedRun, exception, instant, late
from leaver.evidence.history.keeper import RunKeeper, SealedRun
from leaver.evidence.history.known import CHAINS, TYPES, Known, OpenRun
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.records import LOG
from leaver.temporal.history import (
    HistoryError,
    HistoryForbiddenError,
    HistoryGapError,
    HistoryMissingError,
    HistoryUnavailableError,
    NoListError,
    NotClosedError,
    Run,
    RunSource,
    fetch_chain,
)

T = TypeVar("T")

_NOTHING_HELPS: Final = (
    HistoryUnavailableError,
    HistoryForbiddenError,
    NoListError,
    LedgerUnavailableError,
)
"""Errors that the next run would meet as well: the pass ends, and the next one tries again."""

_MANY: Final = 20


@dataclass(frozen=True, slots=True)
class HistorySettings:
    """How histories are sealed.

    Attributes:
        prefix_every: how often the beginning of an open run is compared and noted.
        late_after: a run that closed longer ago than this and is not sealed is an exception.
        overlap: how far behind the newest close a pass looks again, because lists are eventually consistent.
        look_again_every: how often a pass looks at all closed runs that the server still has.
        retention: assumed where the server does not say how long it keeps closed runs.
        parallel: how many runs are asked for at a time.
        prefixes_per_pass: at most so many open runs are compared in one pass; the next one goes on.
    """

    prefix_every: timedelta = timedelta(days=1)
    late_after: timedelta = timedelta(hours=1)
    overlap: timedelta = timedelta(hours=1)
    look_again_every: timedelta = timedelta(days=1)
    retention: timedelta = timedelta(days=7)
    parallel: int = 8
    prefixes_per_pass: int = 500


@dataclass(slots=True)
class Pass:
    """What one pass did.

    ``waiting`` closed runs are not sealed yet, ``raised`` are the exceptions since the pass before, and
    ``failures`` say what the next pass tries again.
    """

    sealed: int = 0
    compared: int = 0
    waiting: int = 0
    raised: tuple[RunException, ...] = ()
    failures: list[str] = field(default_factory=list)


class HistorySealer:
    """Seals the histories of all cases of one installation. One instance runs at a time.

    Nothing is kept but the ledger: a new instance learns from it what the last one knew.

    Args:
        ledger: open for writing.
        source: where histories are; only read.
        clock: the time now, UTC, for ``seal_case``.
        settings: intervals and limits.
    """

    def __init__(
        self,
        ledger: Ledger,
        source: RunSource,
        clock: Callable[[], datetime],
        settings: HistorySettings | None = None,
    ) -> None:
        self._ledger = ledger
        self._source = source
        self._clock = clock
        self._settings = settings or HistorySettings()
        self._keeper = RunKeeper(ledger, source, self._settings.late_after)
        self._known = Known()
        self._waiting: dict[str, ClosedRun] = {}
        self._trouble: dict[str, str] = {}
        self._foreign: set[str] = set()
        self._newest: datetime | None = None
        self._looked_at_all: datetime | None = None
        self._many_gone_since: datetime | None = None
        self._kept: timedelta | None = None
        self._began = False
        self.last_pass: datetime | None = None
        """When a pass last came to its end without an error."""

    async def tick(self, now: datetime) -> Pass:
        """One pass: seal what closed, compare what is due, report what is gone.

        Args:
            now: the time of this pass, UTC.

        Raises:
            HistoryError: the server cannot be read now; what was done stays done, the next pass goes on.
            LedgerError: the ledger cannot be used now.
        """
        done = Pass()
        self._kept = None
        earlier = await self._learn()
        try:
            unlisted = await self._look(now)
            await self._ask_after(unlisted, now, done)
            await self._seal_waiting(now, done)
            await self._compare_open(now, done)
        finally:
            # Said even while the server does not answer: that is when it happens.
            await self._report_late(now)
        done.raised = (*earlier, *await self._learn())
        done.waiting = len(self._waiting)
        self.last_pass = now
        return done

    def lag(self, now: datetime) -> float:
        """Seconds since the close of the oldest run that is known to be closed and is not sealed; else 0.

        Says nothing of runs that no pass could see: compare ``last_pass`` as well.
        """
        oldest = min((run.closed_at for run in self._waiting.values()), default=now)
        return max((now - oldest).total_seconds(), 0.0)

    async def seal_case(self, case: str, workflow_id: str, first_run_id: str) -> tuple[SealedRun, ...]:
        """Seal all runs of one chain of a workflow now, for a bundle; needs no list of workflows.

        Runs that are sealed already come from the ledger, whether or not the server still has them.

        Returns:
            The runs, by the time of their close.

        Raises:
            NotClosedError: a run goes on.
            HistoryError: the histories cannot be had whole; nothing was recorded.
            LedgerError: the ledger refused.
        """
        held = await asyncio.to_thread(self._keeper.held, case, workflow_id, first_run_id)
        files = {run_id: sealed.file for run_id, sealed in held.items()}
        chain = await fetch_chain(self._source, workflow_id, first_run_id, files)
        now, sealed = self._clock(), []
        for file in chain:
            run = held.get(file.run_id) or await self._keeper.seal_file(case, workflow_id, file, now)
            self._finished(run)
            sealed.append(run)
        return tuple(sorted(sealed, key=lambda run: (run.final.closed_at, run.final.run_id)))

    # ------------------------------------------------------------------ what there is

    async def _learn(self) -> tuple[RunException, ...]:
        """Read the ledger's new records; the exceptions about runs among them, except at the very start."""
        raised = await asyncio.to_thread(self._read_ledger)
        news = raised if self._began else ()
        self._began = True
        return news

    def _read_ledger(self) -> tuple[RunException, ...]:
        new = self._ledger.stream(TYPES, chains=CHAINS, since_seq=self._known.next_seq)
        return tuple(raised for record in new if (raised := self._known.learn(record)) is not None)

    async def _look(self, now: datetime) -> list[OpenRun]:
        """List what is open and what closed; the open runs that are in neither list.

        A run that closes in between is in one list or in both.
        """
        listed = set()
        async for run in self._source.open_runs():
            case = await self._case_of(run, now)
            if case is not None and not self._known.settled(run.run_id):
                self._known.meet(case, run.workflow_id, run.run_id, now)
                listed.add(run.run_id)
        after = self._look_after(now)
        async for run in self._source.closed_runs(after):
            case = await self._case_of(run, now)
            if case is not None:
                self._close(case, run)
        if after is None:
            self._looked_at_all = now
        found = listed | self._waiting.keys()
        return [run for run_id, run in self._known.open.items() if run_id not in found]

    def _look_after(self, now: datetime) -> datetime | None:
        """From which close on to list: by the server's clock, and never past a run that is not sealed."""
        looked = self._looked_at_all
        if self._newest is None or looked is None or now - looked >= self._settings.look_again_every:
            return None
        oldest = min((run.closed_at for run in self._waiting.values()), default=self._newest)
        return min(self._newest, oldest) - self._settings.overlap

    def _close(self, case: str, run: Run) -> None:
        if run.closed_at is None:
            return
        self._newest = max(self._newest or run.closed_at, run.closed_at)
        if not self._known.settled(run.run_id):
            self._waiting[run.run_id] = ClosedRun(case, run.workflow_id, run.run_id, run.closed_at)

    async def _case_of(self, run: Run, now: datetime) -> str | None:
        case = case_of_workflow(run.workflow_id)
        if case is None and run.run_id not in self._foreign:
            # Its workflow id is whatever somebody typed, maybe a name: it stays out of the record.
            note = exception(
                Cause.RUN_UNKNOWN,
                case=LOG,
                run_id=run.run_id,
                at=now,
                detail=f"run {run.run_id} is a workflow of this installation under an id that is no case's",
            )
            await asyncio.to_thread(self._ledger.notes, [note])
            self._foreign.add(run.run_id)
        return case

    # ------------------------------------------------------------------ what is gone

    async def _ask_after(self, unlisted: list[OpenRun], now: datetime, done: Pass) -> None:
        """Runs that were open and are in no list: closed unseen, not listed yet, or gone."""
        gone: list[OpenRun] = []

        async def ask(run: OpenRun) -> None:
            try:
                described = await self._source.describe(run.workflow_id, run.run_id)
            except HistoryMissingError:
                gone.append(run)
                return
            if described.closed_at is None:
                run.alive_at = max(run.alive_at, now)
            self._close(run.case, described)

        await self._each(unlisted, ask, done.failures)
        if self._too_many(len(gone), now):
            raise HistoryMissingError(
                f"Temporal knows none of {len(gone)} of {len(self._known.open)} runs that were open: is this "
                "the right namespace? They are recorded as deleted if this goes on for "
                f"{self._settings.late_after}"
            )
        for run in gone:
            alive = await asyncio.to_thread(self._keeper.last_sign_of_life, run.case, run.workflow_id)
            await self._lost(run, max(run.alive_at, alive or run.alive_at), now)

    def _too_many(self, gone: int, now: datetime) -> bool:
        """Whether so much is gone at once that a wrong setting is likelier than a hundred deletions."""
        if gone <= _MANY or gone * 2 <= len(self._known.open):
            self._many_gone_since = None
            return False
        self._many_gone_since = self._many_gone_since or now
        return now - self._many_gone_since < self._settings.late_after

    async def _lost(self, run: OpenRun | ClosedRun, alive_at: datetime, now: datetime) -> None:
        """A run that the server does not know: deleted by somebody, unless its retention explains it."""
        if self._known.settled(run.run_id):
            return
        if self._kept is None:
            self._kept = await self._source.retention() or self._settings.retention
        explained = now >= alive_at + self._kept
        how = "it was not sealed in time" if explained else "somebody deleted it"
        note = exception(
            Cause.SEALING_LATE if explained else Cause.RUN_DELETED,
            case=run.case,
            workflow_id=run.workflow_id,
            run_id=run.run_id,
            at=now,
            detail=f"run {run.run_id} was last known at {instant(alive_at)}; Temporal does not know it any "
            f"more and its history is not sealed. The namespace keeps closed runs for {self._kept}: {how}",
            lost=True,
            part="lost" if explained else "",
        )
        await asyncio.to_thread(self._ledger.notes, [note])
        self._known.lose(run.run_id)
        self._waiting.pop(run.run_id, None)

    # ------------------------------------------------------------------ what is sealed

    async def _seal_waiting(self, now: datetime, done: Pass) -> None:
        async def seal(run: ClosedRun) -> None:
            try:
                sealed = await self._keeper.seal(run.case, run.workflow_id, run.run_id, now)
            except HistoryMissingError:
                await self._lost(run, run.closed_at, now)
                return
            except NotClosedError:
                return  # listed as closed a moment before its last event is served
            except HistoryGapError as err:
                self._trouble[run.run_id] = str(err)
                raise
            self._finished(sealed)
            done.sealed += 1

        oldest_first = sorted(self._waiting.values(), key=lambda run: run.closed_at)
        await self._each(oldest_first, seal, done.failures)

    async def _compare_open(self, now: datetime, done: Pass) -> None:
        async def compare(run: OpenRun) -> None:
            try:
                sealed = await self._keeper.compare(run.case, run.workflow_id, run.run_id, now)
            except HistoryMissingError:
                return  # the next pass asks after it
            run.prefix_at = now
            done.compared += 1
            if sealed is not None:
                self._finished(sealed)
                done.sealed += 1

        await self._each(self._due(now), compare, done.failures)

    def _due(self, now: datetime) -> list[OpenRun]:
        """Open runs whose beginning is to be noted, those never noted first."""
        since = now - self._settings.prefix_every
        due = [
            run
            for run in self._known.open.values()
            if run.run_id not in self._waiting and (run.prefix_at is None or run.prefix_at <= since)
        ]
        due.sort(key=lambda run: (run.prefix_at is not None, run.prefix_at or run.alive_at, run.run_id))
        return due[: self._settings.prefixes_per_pass]

    def _finished(self, run: SealedRun) -> None:
        self._known.finish(run.final)
        self._waiting.pop(run.final.run_id, None)
        self._trouble.pop(run.final.run_id, None)

    async def _report_late(self, now: datetime) -> None:
        notes = [
            late(run, now, self._trouble.get(run.run_id, ""))
            for run in self._waiting.values()
            if now - run.closed_at > self._settings.late_after
        ]
        if notes:
            await asyncio.to_thread(self._ledger.notes, notes)

    async def _each(
        self, items: Iterable[T], work: Callable[[T], Awaitable[None]], failures: list[str]
    ) -> None:
        """Do the work for each item, some at a time. What fails for one item alone does not stop the rest."""
        waiting = iter(list(items))

        async def worker() -> None:
            for item in waiting:
                try:
                    await work(item)
                except _NOTHING_HELPS:
                    raise
                except (HistoryError, EvidenceError) as err:
                    failures.append(str(err))

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._settings.parallel):
                    group.create_task(worker())
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
