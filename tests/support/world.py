"""A small world of scripted systems behind the activity contracts, for tests of the workflow alone."""

from __future__ import annotations

import copy
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from activities.contracts import (
    AdContract,
    EntraContract,
    EvidenceContract,
    ExchangeContract,
    OneDriveContract,
)
from leaver.domain.account import Account, LinkRule, ResolveInput, ResolveResult
from leaver.domain.case import CaseInput, CaseResult
from leaver.domain.effect import Attempt, Effect, MailboxFacts, UnitInput, UnitResult
from leaver.domain.event import LeaverEvent
from leaver.domain.ids import EVIDENCE_QUEUE, WORKFLOW_QUEUE, system_queue, workflow_id
from leaver.domain.policy import Policy
from leaver.domain.records import AppendInput, AppendResult, RecordDraft, SealInput, SealResult
from leaver.domain.statement import Statement, StatementBody, Verdict, VerifyStatementInput
from leaver.domain.words import ErrorType, Mode, Outcome, Reason, RecordType, System, Verb
from workers.sandbox import sandboxed
from workflows.leaver import LeaverWorkflow
from workflows.watch import WatchWorkflow

AGO = timedelta(days=1)
ENTRA_ID = "0e1f0f5e-0000-4000-8000-000000000001"
AD_GUID = "0e1f0f5e-0000-4000-8000-000000000002"
SUCCESSOR_ID = "0e1f0f5e-0000-4000-8000-000000000009"


def event(
    *,
    effective_at: datetime,
    kind: str = "leaver.scheduled.v1",
    revision: int = 1,
    manager: str | None = "E2001",
    department: str = "Finance",
    immediate: bool = False,
    legal_hold: str = "no",
    number: str = "E1001",
) -> LeaverEvent:
    observed = datetime(2026, 1, 1, tzinfo=UTC)
    return LeaverEvent.model_validate(
        {
            "id": f"{revision}-{kind}-{effective_at.isoformat()}",
            "source": "hris/csv/northwind",
            "type": kind,
            "subject": number,
            "time": observed,
            "data": {
                "person": {
                    "externalId": number,
                    "userName": "mira.lindqvist@northwind.example",
                    "emails": ["mira.lindqvist@northwind.example"],
                    "displayName": "Mira Lindqvist",
                    "manager": {"value": manager, "email": "helena.marsh@northwind.example"}
                    if manager
                    else None,
                    "department": department,
                },
                "employment": {"source_id": "1"},
                "separation": {
                    "last_working_day": effective_at.date().isoformat(),
                    "effective_at": effective_at,
                    "tz": "UTC",
                    "immediate": immediate,
                    "legal_hold": legal_hold,
                },
                "provenance": {
                    "received_via": "csv",
                    "source_revision": revision,
                    "observed_at": observed,
                    "raw_sha256": "0" * 64,
                },
            },
        }
    )


ScriptedEffect = tuple[Outcome, Reason | None]


@dataclass
class World:
    """What the scripted systems hold, do wrong, and were asked, in order."""

    accounts: dict[System, Account | None] = field(default_factory=dict)
    found_when_linked: dict[System, Account | None] = field(default_factory=dict)
    """Found only by who knows the linked account."""
    reasons: dict[System, Reason] = field(default_factory=dict)
    errors: dict[str, list[Exception]] = field(default_factory=dict)
    """Per unit: raised once each, in order, before it works."""
    broken: dict[str, Exception] = field(default_factory=dict)
    """Per unit: raised always, until removed."""
    effects: dict[str, list[ScriptedEffect]] = field(default_factory=dict)
    """Per step: how its next runs end; afterwards it is verified. For one unit only: ``unit:step``."""
    attempts: dict[str, list[tuple[Attempt, ...]]] = field(default_factory=dict)
    """Per unit: the attempts that its next runs tell of."""
    took: dict[str, timedelta] = field(default_factory=dict)
    """Per unit: how long after its start its effects were read back."""
    mailbox: list[MailboxFacts] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    times: list[tuple[str, datetime]] = field(default_factory=list)
    """What ran when, by the server's clock."""
    inputs: list[UnitInput] = field(default_factory=list)
    records: dict[tuple[str, int], RecordDraft] = field(default_factory=dict)
    doubled: int = 0
    sealed: list[SealInput] = field(default_factory=list)
    forged: bool = False
    roles: tuple[str, ...] = ("approver", "operator", "security")

    @classmethod
    def of(cls, *systems: System, synced: bool = False) -> World:
        world = cls()
        for system in systems:
            world.accounts[system] = Account(
                system=system,
                id=AD_GUID if system is System.AD else ENTRA_ID,
                rule=LinkRule.EMPLOYEE_ID,
                synced=synced and system is System.ENTRA,
                linked_id=AD_GUID if synced and system is System.ENTRA else None,
                before={"account_enabled": True},
            )
        return world

    def resolve(self, system: System, arg: ResolveInput) -> ResolveResult:
        self._fail(f"{system.value}.resolve")
        successor = (
            Account(system=System.ENTRA, id=SUCCESSOR_ID, rule=LinkRule.MAIL)
            if system is System.ENTRA and arg.successor_email
            else None
        )
        account = self.accounts.get(system)
        if account is None and any(linked.linked_id for linked in arg.linked):
            account = self.found_when_linked.get(system)
        return ResolveResult(
            system=system,
            account=account,
            successor=successor,
            reason=self.reasons.get(system),
        )

    def unit(self, arg: UnitInput) -> UnitResult:
        self._fail(arg.unit)
        self.inputs.append(arg)
        now = activity.info().started_time  # the server's clock, which tests move
        end = now + self.took.get(arg.unit, timedelta())
        effects = []
        for step in arg.steps:
            scripted = self.effects.get(f"{arg.unit}:{step}") or []
            if not scripted and not arg.unit.endswith(".verify"):
                scripted = self.effects.get(step) or []
            outcome, reason = scripted.pop(0) if scripted else (Outcome.VERIFIED, None)
            if arg.mode is Mode.NOTIFICATION_ONLY:
                outcome = Outcome.PLANNED
            effects.append(
                Effect(step=step, outcome=outcome, reason=reason, started_at=now, finished_at=end, writes=1)
            )
            self.calls.append(step)
        told = self.attempts.get(arg.unit) or [(Attempt(number=1),)]
        return UnitResult(system=arg.account.system, effects=tuple(effects), attempts=told.pop(0))

    def facts(self) -> MailboxFacts:
        self._fail("exchange.mailbox_facts")
        shared = MailboxFacts(
            exists=True, recipient_type="SharedMailbox", user_purpose="shared", size_bytes=1
        )
        return self.mailbox.pop(0) if self.mailbox else shared

    def append(self, arg: AppendInput) -> AppendResult:
        self._fail("evidence.append")
        for draft in arg.drafts:
            key = (draft.chain, draft.case_seq)
            if key in self.records:
                self.doubled += 1
                assert self.records[key] == draft
                continue
            self._check_place(draft)
            self.records[key] = draft
        return AppendResult(head="0" * 64, count=len(self.records))

    def _check_place(self, draft: RecordDraft) -> None:
        """As the ledger has it: no gap, nothing after the case's last record."""
        chain = [self.records[key] for key in self.records if key[0] == draft.chain]
        if draft.case_seq != len(chain) or any(one.type is RecordType.CASE_CLOSED for one in chain):
            raise ApplicationError("the chain ended", type=ErrorType.REJECTED.value, non_retryable=True)

    def _fail(self, unit: str) -> None:
        self.calls.append(unit)
        self.times.append((unit, activity.info().started_time))
        if unit in self.broken:
            raise copy.copy(self.broken[unit])
        if self.errors.get(unit):
            raise self.errors[unit].pop(0)

    def bodies(self, kind: str, chain: str = "case") -> list[dict[str, Any]]:
        ordered = sorted((key for key in self.records if key[0] == chain), key=lambda key: key[1])
        assert [seq for _, seq in ordered] == list(range(len(ordered))), "the chain has a gap"
        return [self.records[key].body for key in ordered if self.records[key].type == kind]


def activities_of(world: World) -> dict[str, list[Callable[..., Any]]]:
    """The scripted activities per task queue."""

    class Entra(EntraContract):
        @activity.defn(name="entra.resolve")
        async def resolve(self, arg: ResolveInput) -> ResolveResult:
            return world.resolve(System.ENTRA, arg)

        @activity.defn(name="entra.contain")
        async def contain(self, arg: UnitInput) -> UnitResult:
            return world.unit(arg)

        @activity.defn(name="entra.credentials")
        async def credentials(self, arg: UnitInput) -> UnitResult:
            return world.unit(arg)

        @activity.defn(name="entra.entitlements")
        async def entitlements(self, arg: UnitInput) -> UnitResult:
            return world.unit(arg)

        @activity.defn(name="entra.licences")
        async def licences(self, arg: UnitInput) -> UnitResult:
            return world.unit(arg)

        @activity.defn(name="entra.verify")
        async def verify(self, arg: UnitInput) -> UnitResult:
            return world.unit(arg)

    class Exchange(ExchangeContract):
        @activity.defn(name="exchange.resolve")
        async def resolve(self, arg: ResolveInput) -> ResolveResult:
            return world.resolve(System.EXCHANGE, arg)

        @activity.defn(name="exchange.preserve")
        async def preserve(self, arg: UnitInput) -> UnitResult:
            return world.unit(arg)

        @activity.defn(name="exchange.entitlements")
        async def entitlements(self, arg: UnitInput) -> UnitResult:
            return world.unit(arg)

        @activity.defn(name="exchange.mailbox_facts")
        async def mailbox_facts(self, arg: UnitInput) -> MailboxFacts:
            return world.facts()

    class OneDrive(OneDriveContract):
        @activity.defn(name="onedrive.resolve")
        async def resolve(self, arg: ResolveInput) -> ResolveResult:
            return world.resolve(System.ONEDRIVE, arg)

        @activity.defn(name="onedrive.handover")
        async def handover(self, arg: UnitInput) -> UnitResult:
            return world.unit(arg)

    class Ad(AdContract):
        @activity.defn(name="ad.resolve")
        async def resolve(self, arg: ResolveInput) -> ResolveResult:
            return world.resolve(System.AD, arg)

        @activity.defn(name="ad.contain")
        async def contain(self, arg: UnitInput) -> UnitResult:
            return world.unit(arg)

        @activity.defn(name="ad.entitlements")
        async def entitlements(self, arg: UnitInput) -> UnitResult:
            return world.unit(arg)

        @activity.defn(name="ad.verify")
        async def verify(self, arg: UnitInput) -> UnitResult:
            return world.unit(arg)

    class Evidence(EvidenceContract):
        @activity.defn(name="evidence.append")
        async def append(self, arg: AppendInput) -> AppendResult:
            return world.append(arg)

        @activity.defn(name="evidence.verify_statement")
        async def verify_statement(self, arg: VerifyStatementInput) -> Verdict:
            if world.forged:
                return Verdict(valid=False, refusal="the signature does not match the key")
            return Verdict(
                valid=True, roles=world.roles, by_ref=f"p-{arg.statement.body.by}", sha256="1" * 64
            )

        @activity.defn(name="evidence.seal")
        async def seal(self, arg: SealInput) -> SealResult:
            world._fail("evidence.seal")
            world.sealed.append(arg)
            return SealResult(bundle=arg.case, records=1, events=1, manifest_sha256="2" * 64)

    entra, exchange, onedrive, ad, evidence = Entra(), Exchange(), OneDrive(), Ad(), Evidence()
    return {
        system_queue(System.ENTRA): [
            entra.resolve,
            entra.contain,
            entra.credentials,
            entra.entitlements,
            entra.licences,
            entra.verify,
        ],
        system_queue(System.EXCHANGE): [
            exchange.resolve,
            exchange.preserve,
            exchange.entitlements,
            exchange.mailbox_facts,
        ],
        system_queue(System.ONEDRIVE): [onedrive.resolve, onedrive.handover],
        system_queue(System.AD): [ad.resolve, ad.contain, ad.entitlements, ad.verify],
        EVIDENCE_QUEUE: [evidence.append, evidence.verify_statement, evidence.seal],
    }


@asynccontextmanager
async def working(client: Client, world: World, *, cache: int = 1000) -> AsyncIterator[None]:
    """All workers of the world, over one client."""
    async with Worker(
        client,
        task_queue=WORKFLOW_QUEUE,
        workflows=[LeaverWorkflow, WatchWorkflow],
        workflow_runner=sandboxed(),
        max_cached_workflows=cache,
    ):
        workers = [
            Worker(client, task_queue=queue, activities=activities)
            for queue, activities in activities_of(world).items()
        ]
        async with workers[0], workers[1], workers[2], workers[3], workers[4]:
            yield


def case_input(
    leaver_event: LeaverEvent, policy: Policy, *, received_at: datetime, on_prem: bool = True
) -> CaseInput:
    case = "c-" + uuid.uuid4().hex.translate(str.maketrans("0189", "wxyz"))[:26].ljust(26, "a")
    return CaseInput(
        case=case,
        person_ref="p-test",
        event=leaver_event,
        policy=policy,
        received_at=received_at,
        on_prem=on_prem,
    )


async def start(
    client: Client, given: CaseInput, *, signals: Sequence[LeaverEvent] = ()
) -> WorkflowHandle[LeaverWorkflow, CaseResult]:
    return await client.start_workflow(
        LeaverWorkflow.run, given, id=workflow_id(given.case), task_queue=WORKFLOW_QUEUE
    )


def statement(given: CaseInput, verb: Verb, by: str, **more: str | None) -> Statement:
    body = StatementBody(
        case=given.case,
        verb=verb,
        by=by,
        at=datetime(2026, 1, 1, tzinfo=UTC),
        nonce=uuid.uuid4().hex,
        plan_digest=more.get("plan_digest"),
        step=more.get("step"),
        reason=more.get("reason") or "",
    )
    return Statement(body=body, key_id="k1", signature="c2ln")


def final(kind: ErrorType) -> ApplicationError:
    return ApplicationError("final", type=kind.value, non_retryable=True)


def passing(kind: ErrorType) -> ApplicationError:
    return ApplicationError("passing", type=kind.value)
