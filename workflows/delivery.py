"""Short errands to the sealer: note a delivery, note a decision, erase, pull HR's list, issue a report.

They are workflows so that the request outlives whoever made it, and so that nobody but the sealer needs the
ledger. None of them holds up a case.
"""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import Priority

from activities.contracts import PopulationContract, ReportContract
from leaver.domain.delivery import (
    EraseInput,
    EraseResult,
    ExcludeInput,
    ExcludeResult,
    ExpectInput,
    ExpectResult,
    PullInput,
    PullResult,
)
from leaver.domain.report import ReportInput, ReportResult
from workflows.policies import evidence_config


@workflow.defn(name="DeliveryWorkflow")
class DeliveryWorkflow:
    """One part of a delivery of HR's, noted before its cases start. Its id comes from the content."""

    @workflow.run
    async def run(self, given: ExpectInput) -> ExpectResult:
        """Have the sealer note who is expected and who is left out; without limit, nothing may be lost."""
        config = evidence_config(f"note {len(given.rows)} leavers of {given.delivery}")
        if any(row.immediate for row in given.rows):
            config["priority"] = Priority(priority_key=1)
        return await workflow.execute_activity_method(PopulationContract.expect, given, **config)


@workflow.defn(name="ExclusionWorkflow")
class ExclusionWorkflow:
    """A signed decision that a leaver needs no case."""

    @workflow.run
    async def run(self, given: ExcludeInput) -> ExcludeResult:
        """Have the sealer check and note it."""
        config = evidence_config("note why there is no case")
        return await workflow.execute_activity_method(PopulationContract.exclude, given, **config)


@workflow.defn(name="ErasureWorkflow")
class ErasureWorkflow:
    """A signed order to erase what names a person."""

    @workflow.run
    async def run(self, given: EraseInput) -> EraseResult:
        """Have the sealer check it, erase, and record the erasure."""
        config = evidence_config("erase openings")
        config["start_to_close_timeout"] = timedelta(minutes=30)  # rewriting a large database takes a while
        return await workflow.execute_activity_method(PopulationContract.erase, given, **config)


@workflow.defn(name="PopulationWorkflow")
class PopulationWorkflow:
    """One look at HR's own list, out of turn."""

    @workflow.run
    async def run(self, given: PullInput) -> PullResult:
        """Have the sealer pull, record and compare."""
        config = evidence_config("pull HR's list")
        config["start_to_close_timeout"] = timedelta(minutes=10)
        return await workflow.execute_activity_method(PopulationContract.pull_population, given, **config)


@workflow.defn(name="ReportWorkflow")
class ReportWorkflow:
    """A period report that the sealer makes, notes in the log and seals."""

    @workflow.run
    async def run(self, given: ReportInput) -> ReportResult:
        """Fix the checkpoint first: begun again after a crash, the work is the same report."""
        config = evidence_config("choose the report's checkpoint")
        size = await workflow.execute_activity_method(ReportContract.choose_checkpoint, given, **config)
        config = evidence_config("issue a report")
        config["start_to_close_timeout"] = timedelta(minutes=30)  # several large ones take turns
        wanted = given.model_copy(update={"checkpoint": size})
        return await workflow.execute_activity_method(ReportContract.issue_report, wanted, **config)
