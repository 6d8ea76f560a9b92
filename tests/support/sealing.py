"""The sealer's second half as workers over one client, and an ingest whose cases are mere first records."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from temporalio.client import Client
from temporalio.worker import Worker

from activities.population import PopulationActivities
from leaver.client.cases import Cases, Delivered, Delivery
from leaver.client.deliveries import Namer
from leaver.domain.event import LeaverEvent
from leaver.domain.ids import EVIDENCE_QUEUE, WORKFLOW_QUEUE, person_ref
from leaver.domain.policy import Policy
from leaver.domain.statement import Verdict, VerifyStatementInput
from leaver.evidence.people import load_people
from leaver.evidence.statements import statement_holds
from tests.support.population import ID_KEY, Company
from workers.sandbox import sandboxed
from workflows.delivery import (
    DeliveryWorkflow,
    ErasureWorkflow,
    ExclusionWorkflow,
    PopulationWorkflow,
    ReportWorkflow,
)

ERRANDS = [DeliveryWorkflow, ExclusionWorkflow, ErasureWorkflow, PopulationWorkflow, ReportWorkflow]


@asynccontextmanager
async def errands(client: Client, cache: int = 1000) -> AsyncIterator[None]:
    async with Worker(
        client,
        task_queue=WORKFLOW_QUEUE,
        workflows=ERRANDS,
        workflow_runner=sandboxed(),
        max_cached_workflows=cache,
    ):
        yield


@asynccontextmanager
async def sealing(client: Client, company: Company) -> AsyncIterator[None]:
    async with Worker(client, task_queue=EVIDENCE_QUEUE, activities=sealers(company)):
        yield


def sealers(company: Company) -> list[Callable[..., Any]]:
    async def verify(arg: VerifyStatementInput) -> Verdict:
        """As the evidence worker's own check answers, for the two outcomes that matter here."""
        entry = load_people(company.folder / "people.json").by_key(arg.statement.key_id)
        if entry is None or not statement_holds(arg.statement, entry.key_bytes):
            return Verdict(valid=False, refusal="no person is registered with this key")
        who = person_ref(ID_KEY, source="hris/csv/northwind", worker=entry.subject)
        return Verdict(valid=entry.may(arg.statement.body.verb), by_ref=who, sha256="1" * 64)

    does = PopulationActivities(
        ledger=company.ledger, keeper=company.keeper(), verify=verify, clock=lambda: company.now
    )
    return [does.expect, does.exclude, does.erase, does.pull_population]


class OpeningCases(Cases):
    """Starts no workflow: a case's first record is written as its workflow would, unless it is lost."""

    def __init__(self, client: Client, company: Company, *, lose: str = "") -> None:
        super().__init__(client, ID_KEY)
        self.company, self.lose = company, lose

    async def deliver(
        self,
        event: LeaverEvent,
        policy: Policy,
        *,
        received_at: datetime,
        site: str = "",
        on_prem: bool = True,
    ) -> Delivered:
        case = Namer(ID_KEY, policy.mode).case(event)
        if event.data.person.external_id != self.lose:
            self.company.open(event)
        return Delivered(case, Delivery.STARTED)
