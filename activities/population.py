"""The sealer's activities about the population: expected cases, exclusions, HR's list, erasure.

They run in the evidence worker beside ``activities/evidence.py`` and on the same ledger. Everything may be
called twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import ParamSpec, TypeVar

from temporalio import activity

from activities.beating import beating
from activities.contracts import PopulationContract
from activities.errors import later, refused
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
from leaver.domain.statement import Statement, Verdict, VerifyStatementInput
from leaver.domain.words import ErrorType, Verb
from leaver.evidence.errors import (
    ErasureRefusedError,
    EvidenceError,
    LedgerUnavailableError,
    UnknownCaseError,
)
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.population.erasure import Order, erase_all
from leaver.evidence.population.exclusion import note_decision
from leaver.evidence.population.expect import note_delivery
from leaver.evidence.population.keeper import PopulationKeeper

P = ParamSpec("P")
R = TypeVar("R")
Verify = Callable[[VerifyStatementInput], Awaitable[Verdict]]


def _now() -> datetime:
    return datetime.now(UTC)


class PopulationActivities(PopulationContract):
    """The evidence worker's other half.

    Args:
        ledger: open for writing; this must be the only process that writes it.
        keeper: pulls HR's list and compares.
        verify: checks a statement's signature and role: ``EvidenceActivities.verify_statement``.
        clock: the present, aware.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        keeper: PopulationKeeper,
        verify: Verify,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._ledger = ledger
        self._keeper = keeper
        self._verify = verify
        self._clock = clock

    @activity.defn(name="evidence.expect")
    async def expect(self, arg: ExpectInput) -> ExpectResult:
        """Note a part of a delivery of HR's: expected cases and exclusions; idempotent by content.

        Raises:
            ApplicationError: ``rejected`` when a row cannot become a record; ``unavailable``, to be tried
                again, when the ledger cannot be written now.
        """
        async with beating():
            return await _in_thread(note_delivery, self._ledger, arg, self._clock())

    @activity.defn(name="evidence.exclude")
    async def exclude(self, arg: ExcludeInput) -> ExcludeResult:
        """Note a person's signed decision that a leaver needs no case. A refusal is an answer, not an error.

        Raises:
            ApplicationError: ``misconfigured`` or ``unavailable``, to be tried again.
        """
        verdict, refusal = await self._heard(arg.statement, Verb.EXCLUDE)
        if refusal:
            return ExcludeResult(refusal=refusal)
        body = arg.statement.body
        try:
            async with beating():
                record = await _in_thread(
                    note_decision, self._ledger, body.case, _order(arg.statement, verdict), self._clock()
                )
        except (ErasureRefusedError, UnknownCaseError) as err:
            return ExcludeResult(refusal=str(err))
        return ExcludeResult(seq=record.seq)

    @activity.defn(name="evidence.erase")
    async def erase(self, arg: EraseInput) -> EraseResult:
        """Erase openings and keys on a signed order; idempotent by its nonce. A refusal is an answer.

        Raises:
            ApplicationError: ``misconfigured`` or ``unavailable``, to be tried again.
        """
        verdict, refusal = await self._heard(arg.statement, Verb.ERASE)
        if refusal:
            return EraseResult(refusal=refusal)
        order = _order(arg.statement, verdict, force=arg.force)
        case = arg.statement.body.case
        try:
            async with beating():
                erased = await _in_thread(
                    erase_all, self._ledger, case, order, self._clock(), whole_person=arg.whole_person
                )
        except (ErasureRefusedError, UnknownCaseError) as err:
            return EraseResult(refusal=str(err))
        return EraseResult(
            cases=tuple(each.case for each in erased),
            openings=sum(each.openings for each in erased),
            keys=sum(each.key for each in erased),
            seqs=tuple(each.seq for each in erased),
        )

    @activity.defn(name="evidence.pull_population")
    async def pull_population(self, arg: PullInput) -> PullResult:  # noqa: ARG002 - the contract's shape
        """Read HR's own list now, record the snapshot and compare it with the cases.

        Raises:
            ApplicationError: ``unavailable``, to be tried again, when the ledger cannot be used now.
        """
        async with beating():
            try:
                done = await self._keeper.pull(self._clock())
            except EvidenceError as err:
                raise _told(err) from err
        pull, gaps = done.pull, len(done.completeness.gaps)
        if pull is None:
            return PullResult(problem=done.problem, gaps=gaps)
        return PullResult(
            snapshot=done.snapshot,
            source=pull.source,
            rows=pull.rows,
            leavers=sum(row.leaving for row in pull.leavers),
            unreadable=len(pull.unreadable),
            gaps=gaps,
        )

    async def _heard(self, statement: Statement, verb: Verb) -> tuple[Verdict, str]:
        """The verdict about a statement, and why it does not count, if so."""
        body = statement.body
        if body.verb is not verb:
            return Verdict(valid=False), f"the statement says '{body.verb.value}', not '{verb.value}'"
        verdict = await self._verify(VerifyStatementInput(case=body.case, statement=statement))
        return verdict, "" if verdict.valid else verdict.refusal


def _order(statement: Statement, verdict: Verdict, *, force: bool = False) -> Order:
    return Order(
        reason=statement.body.reason.strip(),
        by_ref=verdict.by_ref,
        nonce=statement.body.nonce,
        statement_sha256=verdict.sha256,
        force=force,
    )


async def _in_thread(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Do database work beside the event loop; our errors become Temporal's, refusals stay ours."""
    try:
        return await asyncio.to_thread(work, *args, **kwargs)
    except (ErasureRefusedError, UnknownCaseError):
        raise
    except EvidenceError as err:
        raise _told(err) from err


def _told(err: EvidenceError) -> Exception:
    if isinstance(err, LedgerUnavailableError):
        return later(ErrorType.UNAVAILABLE, str(err))
    return refused(ErrorType.REJECTED, str(err))
