"""What the world outside does to a running stack: HR delivers a file, managers decide, somebody watches.

Goes through the same façade as the command line; the only thing it plays is the manager.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from leaver.client.cases import CaseError, Cases
from leaver.client.intake import Intake, Place, take_in
from leaver.domain.case import CaseStatus
from leaver.domain.statement import Statement, StatementBody
from leaver.domain.words import Phase, Verb
from leaver.embedded.stack import Stack
from leaver.evidence.statements import sign_statement
from leaver.hr.ingest import read
from leaver.hr.model import IngestContext, SourceKind
from leaver.temporal.connect import connect

POLL: Final = 0.3


@dataclass(kw_only=True, slots=True)
class Progress:
    """What is known so far; somebody may be watching it."""

    intake: Intake | None = None
    people: dict[str, str] = field(default_factory=dict)
    """Case id to employee number."""
    statuses: dict[str, CaseStatus] = field(default_factory=dict)
    bundles: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Something the audience should know."""
        self.notes.append(text)


@dataclass(frozen=True, slots=True)
class Driver:
    """Drives one running stack; what comes of it is in ``progress``. ``poll`` is in seconds."""

    stack: Stack
    cases: Cases
    progress: Progress
    poll: float = POLL

    async def deliver(self, hr_file: Path) -> Intake:
        """Take in a CSV of the sample company, as ``leaver hr ingest`` does. Starts cases."""
        config, progress = self.stack.config, self.progress
        policy = config.policy()
        received = datetime.now(UTC)
        context = IngestContext(
            tenant=config.settings.hr.tenant,
            file=hr_file.name,
            observed_at=received,
            default_timezone=policy.cutoff.default_timezone,
            moment=policy.cutoff.moment,
        )
        result = read(await asyncio.to_thread(hr_file.read_bytes), SourceKind.CSV, context)
        intake = await take_in(
            self.cases, policy, result, file=hr_file.name, received=received, place=Place()
        )
        progress.intake = intake
        progress.people.update({row.case: row.person for row in intake.cases})
        for row in intake.held:
            progress.note(f"{row.person} is held: {row.why}")
        for bad in intake.rejected:
            progress.note(f"line {bad.line} rejected, {bad.field}: {bad.reason}")
        return intake

    async def follow(self) -> None:
        """Ask every case where it stands, decide for the managers, until those that are due are sealed.

        Goes on asking while Temporal or the workers do not answer; the caller limits the time.
        """
        progress = self.progress
        approved: set[str] = set()
        while True:
            for case in progress.people:
                if case in progress.bundles:
                    continue
                try:
                    await self._look(case, approved)
                except CaseError:
                    continue  # started a moment ago, or somebody restarts a part of the stack
            if all(self._over(case) for case in progress.people):
                return
            await asyncio.sleep(self.poll)

    async def _look(self, case: str, approved: set[str]) -> None:
        progress = self.progress
        status = progress.statuses[case] = await self.cases.status(case)
        if status.approvers and status.plan_digest and case not in approved:
            await self.approve(status)
            approved.add(case)
        if status.closed_at and (bundle := await self.cases.bundle(case)):
            progress.bundles[case] = bundle

    def _over(self, case: str) -> bool:
        status = self.progress.statuses.get(case)
        return case in self.progress.bundles or (status is not None and not_due(status))

    async def approve(self, status: CaseStatus) -> Statement:
        """Play the manager: a statement signed with the manager's own key, sent as a signal."""
        manager = status.approvers[0]
        body = StatementBody(
            case=status.case,
            verb=Verb.APPROVE,
            by=manager,
            at=datetime.now(UTC),
            nonce=secrets.token_hex(16),
            plan_digest=status.plan_digest,
        )
        statement = sign_statement(body, self.stack.person_key_file(manager))
        await self.cases.signal_decision(statement)
        person = self.progress.people[status.case]
        self.progress.note(f"{person}: the manager {manager} approves the hand-over by signal")
        return statement


async def drive(stack: Stack, progress: Progress, *, identity: str, poll: float = POLL) -> Driver:
    """Connect to a running stack.

    Raises:
        TemporalUnreachableError: its Temporal does not answer.
    """
    client = await connect(stack.config.temporal(identity=identity), stack.config.keyring())
    return Driver(stack, Cases(client, stack.config.case_id_key()), progress, poll)


def not_due(status: CaseStatus) -> bool:
    """Whether the case still sleeps until its cut-off."""
    return status.phase is Phase.SCHEDULED and status.cutoff > datetime.now(UTC)
