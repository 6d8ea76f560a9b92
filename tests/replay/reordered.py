"""The case's workflow with two phases swapped: what a careless change looks like to a running case."""

from __future__ import annotations

from temporalio import workflow

from leaver.domain.case import CaseInput, CaseResult
from workflows.leaver import LeaverWorkflow


@workflow.defn(name="LeaverWorkflow")
class ReorderedWorkflow(LeaverWorkflow):
    """Leaves groups before it removes sign-in methods."""

    @workflow.init
    def __init__(self, given: CaseInput) -> None:
        super().__init__(given)

    @workflow.run
    async def run(self, given: CaseInput) -> CaseResult:
        return await super().run(given)

    async def _credentials(self) -> None:
        await super()._entitlements()

    async def _entitlements(self) -> None:
        await super()._credentials()
