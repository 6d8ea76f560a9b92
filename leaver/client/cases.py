"""Cases from the outside: start, ask, tell. Everything is validated before Temporal sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from leaver.client.deliveries import Announced, Namer, announce, delivery_parts
from leaver.domain.case import CaseInput, CaseResult, CaseStatus, UpdateAnswer
from leaver.domain.event import EventType, LeaverEvent
from leaver.domain.ids import CASE_ID, WORKFLOW_QUEUE, person_ref, watch_workflow_id, workflow_id
from leaver.domain.policy import Policy
from leaver.domain.statement import Statement
from leaver.domain.words import Mode, Verb
from leaver.hr.model import IngestResult
from leaver.hr.screening import Screening
from leaver.temporal.search_attributes import DUE_KEY, OUTCOME_KEY, PHASE_KEY, RISK_KEY, SITE_KEY
from workflows.leaver import LeaverWorkflow
from workflows.watch import WatchWorkflow

_UPDATES: Final = {
    Verb.APPROVE: LeaverWorkflow.decide,
    Verb.REJECT: LeaverWorkflow.decide,
    Verb.RETRY: LeaverWorkflow.retry_step,
    Verb.HOLD: LeaverWorkflow.hold,
    Verb.RELEASE: LeaverWorkflow.release,
    Verb.RESCIND: LeaverWorkflow.rescind,
}


class CaseError(Exception):
    """The request cannot be served; the text says why and what to do."""


class NotACaseIdError(CaseError):
    """What was given cannot be a case id; nobody was asked."""


class CaseNotFoundError(CaseError):
    """There is no such case here."""


class RefusedError(CaseError):
    """The case heard the statement and refused it; that is recorded in its evidence."""


class Delivery(StrEnum):
    """What became of a leaver event."""

    STARTED = "started"
    TOLD = "told"
    """The case was there already and has been told; the same news twice changes nothing."""
    CLOSED = "closed"
    """The case of this separation is over; a rehire is a new employment spell."""
    NOTHING_TO_RESCIND = "nothing_to_rescind"
    """HR takes back a separation that no case knows: the person stays, nothing is started."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """One event's way: its case and what became of it."""

    case: str
    delivery: Delivery


@dataclass(frozen=True, slots=True)
class CaseRow:
    """A line of the list of cases, from Temporal's visibility (eventually consistent)."""

    case: str
    status: str
    phase: str
    outcome: str
    risk: str
    site: str
    due: datetime | None
    started: datetime
    closed: datetime | None


def event_case(id_key: bytes, mode: Mode, event: LeaverEvent) -> str:
    """The id of the case that an event belongs to under a policy of this mode."""
    return Namer(id_key, mode).case(event)


class Cases:
    """The cases of one installation."""

    def __init__(self, client: Client, id_key: bytes) -> None:
        self._client = client
        self._id_key = id_key

    async def announce(
        self, mode: Mode, result: IngestResult, screening: Screening, received_at: datetime
    ) -> Announced:
        """Have the sealer note whom a delivery names before the cases start. Waits a few seconds only."""
        parts = delivery_parts(Namer(self._id_key, mode), result, screening, received_at)
        return await announce(self._client, parts)

    async def deliver(
        self,
        event: LeaverEvent,
        policy: Policy,
        *,
        received_at: datetime,
        site: str = "",
        on_prem: bool = True,
    ) -> Delivered:
        """Start the event's case, or tell the running one: one call, so that nothing falls between.

        A case id exists once for ever within Temporal's retention (trap T4); a closed one is not reopened.
        """
        case = event_case(self._id_key, policy.mode, event)
        existing = await self._execution_status(case)
        if existing not in (None, WorkflowExecutionStatus.RUNNING):
            return Delivered(case, Delivery.CLOSED)
        if existing is None and event.type is EventType.RESCINDED:
            return Delivered(case, Delivery.NOTHING_TO_RESCIND)
        given = CaseInput(
            case=case,
            person_ref=person_ref(self._id_key, source=event.source, worker=event.subject),
            event=event,
            policy=policy,
            received_at=received_at,
            site=site,
            on_prem=on_prem,
        )
        try:
            await self._client.start_workflow(
                LeaverWorkflow.run,
                given,
                id=workflow_id(case),
                task_queue=WORKFLOW_QUEUE,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                start_signal="hr_changed",
                start_signal_args=[event],
                static_summary=_summary(event),
                static_details=_details(event),
            )
        except WorkflowAlreadyStartedError:
            return Delivered(case, Delivery.CLOSED)
        return Delivered(case, Delivery.TOLD if existing else Delivery.STARTED)

    async def status(self, case: str) -> CaseStatus:
        """Where a case stands.

        Raises:
            CaseNotFoundError: no such case.
            CaseError: no workflow worker answers.
        """
        try:
            return await self._handle(case).query(LeaverWorkflow.status)
        except RPCError as err:
            raise self._told(case, err) from err
        except WorkflowQueryFailedError as err:
            raise CaseError(f"{case}: the case cannot say where it stands: {err}") from err

    async def result(self, case: str) -> CaseResult:
        """Wait for a case to end.

        Raises:
            CaseNotFoundError: no such case.
            CaseError: the workflow failed or was terminated.
        """
        try:
            return await self._handle(case).result()
        except RPCError as err:
            raise self._told(case, err) from err
        except WorkflowFailureError as err:
            raise CaseError(f"{case}: the workflow did not end by itself: {err.cause}") from err

    async def say(self, statement: Statement) -> UpdateAnswer:
        """Tell a case a signed statement and wait for its answer.

        Saying the same statement twice is saying it once: its nonce is the update's id.

        Raises:
            CaseNotFoundError: no such case, or it is over.
            RefusedError: the case refused it.
        """
        case = statement.body.case
        try:
            return await self._handle(case).execute_update(
                _UPDATES[statement.body.verb], statement, id=statement.body.nonce
            )
        except WorkflowUpdateFailedError as err:
            reason = err.cause.message if isinstance(err.cause, ApplicationError) else str(err.cause)
            raise RefusedError(f"{case}: refused: {reason}") from err
        except RPCError as err:
            raise self._told(case, err) from err

    async def signal_decision(self, statement: Statement) -> None:
        """Send a manager's decision as a signal, as the Temporal UI and CLI do.

        A signal has no answer: whether it was accepted stands in the case's status and evidence.

        Raises:
            CaseNotFoundError: no such case, or it is over.
        """
        try:
            await self._handle(statement.body.case).signal(LeaverWorkflow.manager_decision, statement)
        except RPCError as err:
            raise self._told(statement.body.case, err) from err

    async def bundle(self, case: str) -> str:
        """The name of the case's sealed bundle; empty while it is not sealed yet."""
        handle = self._client.get_workflow_handle_for(WatchWorkflow.run, watch_workflow_id(case))
        try:
            return await handle.query(WatchWorkflow.bundle)
        except RPCError as err:
            if err.status is RPCStatusCode.NOT_FOUND:
                return ""
            raise self._told(case, err) from err

    async def all(self) -> AsyncIterator[CaseRow]:
        """Every case that Temporal still knows, newest first."""
        async for found in self._client.list_workflows("WorkflowType = 'LeaverWorkflow'"):
            attributes = found.typed_search_attributes
            yield CaseRow(
                case=found.id.removeprefix("leaver-"),
                status=found.status.name.lower() if found.status else "unknown",
                phase=attributes.get(PHASE_KEY, ""),
                outcome=attributes.get(OUTCOME_KEY, ""),
                risk=attributes.get(RISK_KEY, ""),
                site=attributes.get(SITE_KEY, ""),
                due=attributes.get(DUE_KEY, None),
                started=found.start_time,
                closed=found.close_time,
            )

    def _handle(self, case: str) -> WorkflowHandle[LeaverWorkflow, CaseResult]:
        if not CASE_ID.match(case):
            raise NotACaseIdError(
                f"{case!r} is not a case id; it looks like c-… ('leaver case list' shows them)"
            )
        return self._client.get_workflow_handle_for(LeaverWorkflow.run, workflow_id(case))

    async def _execution_status(self, case: str) -> WorkflowExecutionStatus | None:
        try:
            return (await self._handle(case).describe()).status
        except RPCError as err:
            if err.status is RPCStatusCode.NOT_FOUND:
                return None
            raise self._told(case, err) from err

    @staticmethod
    def _told(case: str, err: RPCError) -> CaseError:
        if err.status is RPCStatusCode.NOT_FOUND:
            return CaseNotFoundError(f"{case}: there is no such case, or it is over")
        return CaseError(f"{case}: Temporal did not answer ({err.status.name.lower()}): {err.message}")


def _summary(event: LeaverEvent) -> str:
    """What the Temporal UI shows as the case's title; encrypted at rest, like every payload."""
    person = event.data.person
    return f"{person.display_name or 'leaver'} ({person.external_id})"[:200]


def _details(event: LeaverEvent) -> str:
    person, separation = event.data.person, event.data.separation
    manager = person.manager.value if person.manager else "unknown"
    return (
        f"Last working day {separation.last_working_day} ({separation.tz}), cut-off"
        f" {separation.effective_at.isoformat()}  \nDepartment {person.department or 'unknown'},"
        f" manager {manager}"
    )
