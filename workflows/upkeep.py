"""What goes on beside the phases: healing, reruns, the alarm. An error here is never silent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Final

from temporalio import workflow
from temporalio.common import SearchAttributeKey

from leaver.domain.catalogue import CATALOGUE, IDENTITY_SYSTEMS
from leaver.domain.search import RISK
from leaver.domain.words import Phase, Reason, System
from workflows.case import Case
from workflows.engine import Engine
from workflows.handover import Handover
from workflows.policies import CONTAIN_PAUSES

_RISK: Final = SearchAttributeKey.for_keyword(RISK)

_FOR_PEOPLE = (Reason.NO_ACCOUNT_ANYWHERE, Reason.MASTERED_ELSEWHERE, Reason.BLOCKED_BY_STEP)
"""Looking again by itself does not cure these."""


class Upkeep:
    """Keeps a case moving beside its phases.

    Args:
        case: what is known.
        engine: runs steps.
        handover: asks for approvals.
        show: tells the Temporal UI how the case stands.
    """

    def __init__(self, case: Case, engine: Engine, handover: Handover, show: Callable[[], None]) -> None:
        self._case = case
        self._engine = engine
        self._handover = handover
        self._show = show
        self._ran: list[Phase] = []
        self._beside: list[asyncio.Task[None]] = []
        self._catching_up: asyncio.Task[None] | None = None
        self._broken: BaseException | None = None

    def watch_the_clock(self) -> None:
        """Raise the alarm when containment misses its limit."""
        self._beside.append(self.beside(self._alarm()))

    def start(self) -> None:
        """From now on heal containment and run later steps again."""
        self._beside.append(self.beside(self._heal()))
        self._beside.append(self.beside(self._tend()))

    async def run(self, phase: Phase) -> None:
        """Run a phase for the first time; steps that come later are caught up with."""
        self._ran.append(phase)
        await self._engine.run_phase(phase)
        if self._case.board.pending(phase):
            self._start_catching_up()

    def nothing_left(self) -> bool:
        """Whether no step waits for anybody or anything.

        Raises:
            Exception: what went wrong beside the phases; it fails the workflow task, visibly.
        """
        if self._broken is not None:
            raise self._broken
        board = self._case.board
        idle = self._catching_up is None or self._catching_up.done()
        return idle and not board.needing_person and not any(board.pending(phase) for phase in self._ran)

    def beside(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run something beside the phases. An error there does not vanish, see ``nothing_left``."""

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and task.exception() is not None:
                self._broken = task.exception()

        task = asyncio.create_task(work)
        task.add_done_callback(ended)
        return task

    async def end(self, *others: asyncio.Task[None]) -> None:
        """Let nothing go on beside the end: what is recorded after the case's last record is lost."""
        going = [
            task
            for task in (*others, *self._beside, self._catching_up)
            if task is not None and not task.done()
        ]
        for task in going:
            task.cancel()
        await asyncio.gather(*going, return_exceptions=True)

    async def _heal(self) -> None:
        """Try open containment again, for ever; nothing that other phases wait for holds this up."""
        case, pauses = self._case, list(CONTAIN_PAUSES)
        while True:
            # What opens only now has a first pause to wait for as well, so it must be noticed.
            await workflow.wait_condition(
                lambda: bool(self._due_again(urgent=True) or self._missing_containment())
            )
            try:
                await workflow.wait_condition(lambda: bool(self._due_again(urgent=True)), timeout=pauses[0])
            except TimeoutError:
                if len(pauses) > 1:
                    pauses.pop(0)
            if case.stopped:
                return
            again = {*self._due_again(urgent=True), *self._missing_containment()}
            case.asked_again = [step for step in case.asked_again if step not in again]
            with case.log.gathering():
                await self._engine.rerun([step for step in CATALOGUE if step in again])
            case.replan()
            self._show()
            await self._engine.run_phase(Phase.CONTAIN)
            self._start_catching_up()
            self._show()

    async def _tend(self) -> None:
        """Run later steps again, when asked for or when what they waited for has come."""
        case = self._case
        while True:
            await workflow.wait_condition(lambda: bool(self._due_again(urgent=False)))
            if case.stopped:
                return
            again = self._due_again(urgent=False)
            case.asked_again = [step for step in case.asked_again if step not in again]
            await self._engine.rerun(self._approved(await self._with_successor(again)))
            self._show()

    def _due_again(self, *, urgent: bool) -> list[str]:
        """Steps to run again now, in catalogue order: containment and its look-ups, or all the others."""
        board = self._case.board
        wanted = {*self._case.asked_again, *board.unblocked, *board.stale}
        return [
            step
            for step, row in CATALOGUE.items()
            if step in wanted and (row.phase in (Phase.INTAKE, Phase.CONTAIN)) is urgent
        ]

    async def _with_successor(self, steps: list[str]) -> list[str]:
        """Look again for a successor where steps lack one. A new one changes the plan: approved anew."""
        case = self._case
        nobody = [each.step for each in case.board.steps if each.reason is Reason.NO_SUCCESSOR]
        if not set(nobody) & set(steps):
            return steps
        await self._engine.resolve(System.ENTRA)
        if case.successor is None:
            return steps
        case.board.reopen(nobody)
        case.replan()
        self._start_catching_up()
        return [step for step in steps if step not in nobody]

    def _approved(self, steps: list[str]) -> list[str]:
        """Put off what a changed plan has no approval for yet: it is asked for, then it runs."""
        if not self._case.unapproved:
            return steps
        waiting = [step for step in steps if CATALOGUE[step].phase is Phase.PRESERVE]
        if waiting:
            self._case.board.reopen(waiting)
            self._start_catching_up()
        return [step for step in steps if step not in waiting]

    def _start_catching_up(self) -> None:
        if self._catching_up is None or self._catching_up.done():
            self._catching_up = self.beside(self._catch_up())

    async def _catch_up(self) -> None:
        """An account found late brings steps to phases that are over: run them, in order."""
        board = self._case.board
        while not self._case.stopped and (late := [phase for phase in self._ran if board.pending(phase)]):
            if late[0] is Phase.PRESERVE:
                await self._handover.approval()
            await self._engine.run_phase(late[0])

    def _missing_containment(self) -> list[str]:
        """Containment that is open and may heal by itself: never given up."""
        if self._case.notification_only:
            return []
        return [
            status.step
            for status in self._case.board.needing_person
            if status.phase is Phase.CONTAIN
            or (status.phase is Phase.INTAKE and status.reason not in _FOR_PEOPLE)
        ]

    async def _alarm(self) -> None:
        """Say so when containment misses its limit."""
        case = self._case
        # A directory that does not answer has no containment steps yet; its people are not contained either.
        urgent = [
            status
            for status in case.board.steps
            if status.phase is Phase.CONTAIN
            or (status.phase is Phase.INTAKE and status.system in IDENTITY_SYSTEMS)
        ]
        dues = [status.due for status in urgent if status.due]
        if not dues or case.notification_only:
            return
        try:
            await workflow.wait_condition(
                lambda: case.board.contained or case.stopped, timeout=max(dues) - workflow.now()
            )
        except TimeoutError:
            case.raise_exception(None, "containment_late", "containment missed its time limit")
            workflow.upsert_search_attributes([_RISK.value_set("containment_late")])
