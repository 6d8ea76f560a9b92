"""The sealer's activities about reports: it makes them itself, since only it has ledger and keys."""

from __future__ import annotations

import asyncio

from temporalio import activity

from activities.beating import beating
from activities.contracts import ReportContract
from activities.evidence import told
from leaver.domain.report import ReportInput, ReportResult
from leaver.evidence.bundle.issuing import Issuing
from leaver.evidence.errors import ReportError


class ReportActivities(ReportContract):
    """The part of the evidence worker that issues reports.

    Args:
        issuing: makes, notes and seals them.
    """

    def __init__(self, issuing: Issuing) -> None:
        self._issuing = issuing

    @activity.defn(name="evidence.choose_checkpoint")
    async def choose_checkpoint(self, arg: ReportInput) -> int:
        """The checkpoint to report as of: the one asked for, else the last one published; 0 before the first.

        Raises:
            ApplicationError: ``unavailable``, to be tried again, when the ledger cannot be used now.
        """
        if arg.checkpoint is not None:
            return arg.checkpoint
        async with beating():
            with told():
                return await asyncio.to_thread(self._issuing.newest)

    @activity.defn(name="evidence.issue_report")
    async def issue_report(self, arg: ReportInput) -> ReportResult:
        """Make the report, note ``report.issued``, publish a checkpoint, seal the bundle; idempotent.

        A period that cannot be reported on is an answer, not an error.

        Raises:
            ApplicationError: ``unavailable``, to be tried again, when ledger, keys or disk cannot be used
                now; ``rejected`` when another bundle lies there, or the log must not be signed.
        """
        async with beating():
            with told():
                try:
                    done = await self._issuing.issue(arg)
                except ReportError as err:
                    return ReportResult(problem=str(err))
        return ReportResult(
            bundle=done.bundle.name,
            seq=done.record.seq,
            size=done.bundle.size,
            manifest_sha256=done.bundle.manifest_sha256,
            figures=done.figures,
        )
