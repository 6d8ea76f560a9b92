"""The sealer's activities about the population, run as Temporal runs them: retries and refusals."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.population import PopulationActivities
from leaver.domain.delivery import EraseInput, ExpectInput, PullInput
from leaver.domain.statement import Statement, StatementBody, Verdict, VerifyStatementInput
from leaver.domain.words import ErrorType, Verb
from tests.support.population import Company, row


def activities(company: Company, verdict: Verdict | None = None) -> PopulationActivities:
    async def verify(_: VerifyStatementInput) -> Verdict:
        return verdict or Verdict(valid=True, by_ref="p-sec", sha256="1" * 64)

    return PopulationActivities(
        ledger=company.ledger, keeper=company.keeper(), verify=verify, clock=lambda: company.now
    )


def erasure(case: str) -> EraseInput:
    body = StatementBody(
        case=case, verb=Verb.ERASE, by="sec-1", at=datetime(2026, 1, 1, tzinfo=UTC), nonce="n", reason="t 1"
    )
    return EraseInput(statement=Statement(body=body, key_id="k", signature="c2ln"))


async def test_a_ledger_that_is_away_is_tried_again(company: Company) -> None:
    company.write(row("E1"))
    [case] = company.deliver()
    company.finish(case)
    [part] = company.parts()
    does = activities(company)
    company.ledger.close()
    run = ActivityEnvironment().run
    for work, arg in (
        (does.expect, part),
        (does.pull_population, PullInput()),
        (does.erase, erasure(case)),
    ):
        with pytest.raises(ApplicationError) as caught:
            await run(work, arg)
        assert caught.value.type == ErrorType.UNAVAILABLE.value
        assert not caught.value.non_retryable


async def test_what_can_never_become_a_record_is_refused_for_good(company: Company) -> None:
    company.write(row("E1"))
    [part] = company.parts()
    bad = part.rows[0].model_copy(update={"case": "no case"})
    unfit = ExpectInput(**{**dict(part), "rows": (bad,)})
    with pytest.raises(ApplicationError) as caught:
        await ActivityEnvironment().run(activities(company).expect, unfit)
    assert (caught.value.type, caught.value.non_retryable) == (ErrorType.REJECTED.value, True)
    assert company.ledger.size() == 0, "all or nothing"


async def test_a_statement_that_does_not_count_erases_nothing(company: Company) -> None:
    company.write(row("E1"))
    [case] = company.deliver()
    company.finish(case)
    does = activities(company, Verdict(valid=False, refusal="the signature is not valid"))
    answer = await ActivityEnvironment().run(does.erase, erasure(case))
    assert answer.refusal == "the signature is not valid"
    assert len(company.ledger.opening(case)) == 1
