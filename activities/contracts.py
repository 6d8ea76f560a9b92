"""The activities as the workflow sees them: wire names and types, no code.

Each class is the contract of one worker role. The implementations override these methods; calling a
contract itself is a programming error.
"""

from __future__ import annotations

from temporalio import activity

from leaver.domain.account import ResolveInput, ResolveResult
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
from leaver.domain.effect import MailboxFacts, UnitInput, UnitResult
from leaver.domain.records import AppendInput, AppendResult, SealInput, SealResult
from leaver.domain.report import ReportInput, ReportResult
from leaver.domain.statement import Verdict, VerifyStatementInput


class EntraContract:
    """Entra ID (queue ``leaver-entra``)."""

    @activity.defn(name="entra.resolve")
    async def resolve(self, arg: ResolveInput) -> ResolveResult:
        """Find the leaver's user object, and the successor's. Reads only."""
        raise NotImplementedError

    @activity.defn(name="entra.contain")
    async def contain(self, arg: UnitInput) -> UnitResult:
        """Block sign-in and set a random password in one write, then invalidate sessions."""
        raise NotImplementedError

    @activity.defn(name="entra.credentials")
    async def credentials(self, arg: UnitInput) -> UnitResult:
        """Remove the sign-in methods, the default one last; invalidate sessions again."""
        raise NotImplementedError

    @activity.defn(name="entra.entitlements")
    async def entitlements(self, arg: UnitInput) -> UnitResult:
        """Leave the cloud groups, except those that carry licences; invalidate sessions again."""
        raise NotImplementedError

    @activity.defn(name="entra.licences")
    async def licences(self, arg: UnitInput) -> UnitResult:
        """Remove direct licences and leave licence-bearing groups. Only behind the mailbox gate."""
        raise NotImplementedError

    @activity.defn(name="entra.verify")
    async def verify(self, arg: UnitInput) -> UnitResult:
        """Read the containment steps again. Writes nothing."""
        raise NotImplementedError


class ExchangeContract:
    """Exchange Online (queue ``leaver-exchange``)."""

    @activity.defn(name="exchange.resolve")
    async def resolve(self, arg: ResolveInput) -> ResolveResult:
        """Find the mailbox of the linked Entra user. Reads only."""
        raise NotImplementedError

    @activity.defn(name="exchange.preserve")
    async def preserve(self, arg: UnitInput) -> UnitResult:
        """Automatic reply, successor's access, conversion to a shared mailbox proven twice."""
        raise NotImplementedError

    @activity.defn(name="exchange.entitlements")
    async def entitlements(self, arg: UnitInput) -> UnitResult:
        """Leave distribution lists and mail-enabled security groups."""
        raise NotImplementedError

    @activity.defn(name="exchange.mailbox_facts")
    async def mailbox_facts(self, arg: UnitInput) -> MailboxFacts:
        """Read what the licence gate needs. Reads only."""
        raise NotImplementedError


class OneDriveContract:
    """OneDrive and SharePoint (queue ``leaver-onedrive``)."""

    @activity.defn(name="onedrive.resolve")
    async def resolve(self, arg: ResolveInput) -> ResolveResult:
        """Find the drive of the linked Entra user. Reads only."""
        raise NotImplementedError

    @activity.defn(name="onedrive.handover")
    async def handover(self, arg: UnitInput) -> UnitResult:
        """Make the successor site-collection administrator, or share the root as a fallback."""
        raise NotImplementedError


class AdContract:
    """On-premises Active Directory (queue ``leaver-ad-<site>``, polled from the customer's network)."""

    @activity.defn(name="ad.resolve")
    async def resolve(self, arg: ResolveInput) -> ResolveResult:
        """Find the account by objectGUID or employee id. Reads only."""
        raise NotImplementedError

    @activity.defn(name="ad.contain")
    async def contain(self, arg: UnitInput) -> UnitResult:
        """Disable the account and set two random passwords."""
        raise NotImplementedError

    @activity.defn(name="ad.entitlements")
    async def entitlements(self, arg: UnitInput) -> UnitResult:
        """Leave groups, move to the leavers' OU."""
        raise NotImplementedError

    @activity.defn(name="ad.verify")
    async def verify(self, arg: UnitInput) -> UnitResult:
        """Read the containment steps again. Writes nothing."""
        raise NotImplementedError


class EvidenceContract:
    """The sealer (queue ``leaver-evidence``): the only holder of the evidence key."""

    @activity.defn(name="evidence.append")
    async def append(self, arg: AppendInput) -> AppendResult:
        """Append drafts to a case's chain; idempotent by case, chain and case_seq."""
        raise NotImplementedError

    @activity.defn(name="evidence.verify_statement")
    async def verify_statement(self, arg: VerifyStatementInput) -> Verdict:
        """Check a statement's signature against the key registry."""
        raise NotImplementedError

    @activity.defn(name="evidence.seal")
    async def seal(self, arg: SealInput) -> SealResult:
        """Export the closed case's history and records as a signed bundle."""
        raise NotImplementedError


class PopulationContract:
    """The sealer as well (queue ``leaver-evidence``): who should have a case, and what names them."""

    @activity.defn(name="evidence.expect")
    async def expect(self, arg: ExpectInput) -> ExpectResult:
        """Note a part of a delivery of HR's: expected cases and exclusions; idempotent by content."""
        raise NotImplementedError

    @activity.defn(name="evidence.exclude")
    async def exclude(self, arg: ExcludeInput) -> ExcludeResult:
        """Note a person's signed decision that a leaver needs no case."""
        raise NotImplementedError

    @activity.defn(name="evidence.erase")
    async def erase(self, arg: EraseInput) -> EraseResult:
        """Erase the openings and keys behind a case, on a signed order; idempotent by its nonce."""
        raise NotImplementedError

    @activity.defn(name="evidence.pull_population")
    async def pull_population(self, arg: PullInput) -> PullResult:
        """Read HR's own list now, record the snapshot and compare it with the cases."""
        raise NotImplementedError


class ReportContract:
    """The sealer as well (queue ``leaver-evidence``): reports that are noted in the log and sealed."""

    @activity.defn(name="evidence.choose_checkpoint")
    async def choose_checkpoint(self, arg: ReportInput) -> int:
        """The size of the checkpoint to report as of; 0 before the first."""
        raise NotImplementedError

    @activity.defn(name="evidence.issue_report")
    async def issue_report(self, arg: ReportInput) -> ReportResult:
        """Make a period report, note and seal it; idempotent by period and checkpoint."""
        raise NotImplementedError
