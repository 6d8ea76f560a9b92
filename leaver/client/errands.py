"""Requests to the sealer: a decision that somebody needs no case, an erasure, HR's list, a report.

They go through Temporal because only the sealer has the ledger, and a request must outlive its caller.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, Final, TypeVar

from temporalio.client import Client, WorkflowFailureError
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import FailureError
from temporalio.service import RPCError

from leaver.client.cases import CaseError
from leaver.domain.delivery import (
    EraseInput,
    EraseResult,
    ExcludeInput,
    ExcludeResult,
    PullInput,
    PullResult,
)
from leaver.domain.ids import WORKFLOW_QUEUE, report_workflow_id
from leaver.domain.report import ReportInput, ReportResult
from leaver.domain.statement import Statement
from workflows.delivery import ErasureWorkflow, ExclusionWorkflow, PopulationWorkflow, ReportWorkflow

PATIENCE: Final = timedelta(minutes=2)

T = TypeVar("T")


class SealerBusyError(CaseError):
    """The sealer has not answered yet; the request stays and is done once it is back."""


class Errands:
    """Requests to one installation's sealer.

    Args:
        client: connected, with payload encryption.
        patience: how long to wait for an answer.
    """

    def __init__(self, client: Client, *, patience: timedelta = PATIENCE) -> None:
        self._client = client
        self._patience = patience

    async def exclude(self, statement: Statement) -> ExcludeResult:
        """Have a signed decision noted. The same statement twice is the same decision.

        Raises:
            SealerBusyError: no answer yet.
            CaseError: Temporal did not take it, or the sealer failed for good.
        """
        return await self._answer(
            self._client.execute_workflow(
                ExclusionWorkflow.run,
                ExcludeInput(statement=statement),
                id=f"leaver-exclusion-{statement.body.nonce}",
                task_queue=WORKFLOW_QUEUE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            )
        )

    async def erase(
        self, statement: Statement, *, force: bool = False, whole_person: bool = False
    ) -> EraseResult:
        """Have what names a person erased, on a signed order.

        Raises:
            SealerBusyError: no answer yet.
            CaseError: Temporal did not take it, or the sealer failed for good.
        """
        return await self._answer(
            self._client.execute_workflow(
                ErasureWorkflow.run,
                EraseInput(statement=statement, force=force, whole_person=whole_person),
                id=f"leaver-erasure-{statement.body.nonce}",
                task_queue=WORKFLOW_QUEUE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            )
        )

    async def pull(self) -> PullResult:
        """Have the sealer read HR's list now. Asked for while one runs, that one answers.

        Raises:
            SealerBusyError: no answer yet.
            CaseError: Temporal did not take it, or the sealer failed for good.
        """
        return await self._answer(
            self._client.execute_workflow(
                PopulationWorkflow.run,
                PullInput(),
                id="leaver-population-pull",
                task_queue=WORKFLOW_QUEUE,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            )
        )

    async def report(self, wanted: ReportInput) -> ReportResult:
        """Have a period report made, noted and sealed. Asked for while that is done, that one answers.

        Raises:
            SealerBusyError: no answer yet.
            CaseError: Temporal did not take it, or the sealer failed for good.
        """
        return await self._answer(
            self._client.execute_workflow(
                ReportWorkflow.run,
                wanted,
                id=report_workflow_id(wanted.request),
                task_queue=WORKFLOW_QUEUE,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            )
        )

    async def _answer(self, asked: Coroutine[Any, Any, T]) -> T:
        try:
            async with asyncio.timeout(self._patience.total_seconds()):
                return await asked
        except TimeoutError:
            raise SealerBusyError(
                f"no answer from the sealer within {self._patience.total_seconds():.0f} seconds; the request"
                " stays and is done once the evidence worker is back"
            ) from None
        except WorkflowFailureError as err:
            why = err.cause.cause if isinstance(err.cause, FailureError) else None
            raise CaseError(f"the sealer cannot do this: {why or err.cause}") from err
        except RPCError as err:
            raise CaseError(f"Temporal did not answer ({err.status.name.lower()}): {err.message}") from err
