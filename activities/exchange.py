"""Exchange Online: the activities of the ``leaver-exchange`` queue."""

from __future__ import annotations

from collections.abc import Mapping

from temporalio import activity

from activities.beating import beating
from activities.contracts import ExchangeContract
from activities.errors import application_error
from activities.exchange_steps import MailboxSteps, MailGroupSteps
from activities.presence import is_absent, resolved, unless_gone
from activities.unit import ReadBack, StepRunner, UnitRun
from leaver.connectors.errors import ConnectorError
from leaver.connectors.exchange.protocol import MailSystem
from leaver.connectors.receipts import recording
from leaver.domain.account import Account, LinkRule, ResolveInput, ResolveResult
from leaver.domain.base import Facts
from leaver.domain.effect import MailboxFacts, UnitInput, UnitResult
from leaver.domain.words import System


class ExchangeActivities(ExchangeContract):
    """Runs the units against a mail system. ``read_back`` says how effects are proven."""

    def __init__(self, mail: MailSystem, read_back: ReadBack | None = None) -> None:
        self._mail = mail
        self._read_back = read_back or ReadBack()

    @activity.defn(name="exchange.resolve")
    async def resolve(self, arg: ResolveInput) -> ResolveResult:
        """Find the mailbox of the linked Entra user. Reads only."""
        return await resolved(System.EXCHANGE, lambda: self._find(arg))

    @activity.defn(name="exchange.preserve")
    async def preserve(self, arg: UnitInput) -> UnitResult:
        """Automatic reply, successor's access, conversion to a shared mailbox proven twice."""
        steps = MailboxSteps(self._mail)
        return await self._run(
            arg,
            {
                "exchange.set_auto_reply": steps.set_auto_reply,
                "exchange.delegate_to_successor": steps.delegate_to_successor,
                "exchange.convert_to_shared_mailbox": steps.convert_to_shared,
            },
        )

    @activity.defn(name="exchange.entitlements")
    async def entitlements(self, arg: UnitInput) -> UnitResult:
        """Leave distribution lists and mail-enabled security groups."""
        steps = MailGroupSteps(self._mail)
        unit = UnitRun(arg, self._read_back)
        runners = {"exchange.remove_distribution_groups": steps.remove_distribution_groups}
        return await unit.run(runners, [arg.account.id])

    @activity.defn(name="exchange.mailbox_facts")
    async def mailbox_facts(self, arg: UnitInput) -> MailboxFacts:
        """Read what the licence gate needs. Reads only.

        Raises:
            ApplicationError: what could not be read leaves the gate closed.
        """
        try:
            async with beating():
                with recording() as receipts:
                    found = await self._facts(arg.account.id)
        except ConnectorError as err:
            raise application_error(err) from err
        return found.model_copy(update={"receipts": tuple(receipts)})

    async def _facts(self, user: str) -> MailboxFacts:
        if await is_absent(lambda: self._has_mailbox(user), self._read_back):
            return MailboxFacts(exists=False, user_purpose=await self._mail.purpose(user))
        mailbox = await self._mail.mailbox(user)
        if mailbox is None:
            return MailboxFacts(exists=False)
        return MailboxFacts(
            exists=True,
            recipient_type=mailbox.recipient_type,
            user_purpose=await self._mail.purpose(user),
            size_bytes=await self._mail.size(user),
            archive=mailbox.archive,
            litigation_hold=mailbox.litigation_hold,
            in_place_holds=mailbox.in_place_holds,
            forwarding=mailbox.forwarding,
        )

    async def _find(self, arg: ResolveInput) -> ResolveResult:
        entra = next((account for account in arg.linked if account.system is System.ENTRA), None)
        if entra is None:
            return ResolveResult(system=System.EXCHANGE, detail="no Entra account, so no mailbox")
        if await is_absent(lambda: self._has_mailbox(entra.id), self._read_back):
            return ResolveResult(system=System.EXCHANGE)
        mailbox = await self._mail.mailbox(entra.id)
        before: Facts = {"recipient_type": mailbox.recipient_type if mailbox else None}
        account = Account(
            system=System.EXCHANGE,
            id=entra.id,
            rule=LinkRule.LINKED_ACCOUNT,
            synced=entra.synced,
            linked_id=entra.linked_id,
            before=before,
        )
        return ResolveResult(system=System.EXCHANGE, account=account)

    async def _has_mailbox(self, user: str) -> bool:
        return await self._mail.mailbox(user) is not None

    async def _run(self, arg: UnitInput, runners: Mapping[str, StepRunner]) -> UnitResult:
        async def gone_facts() -> Facts:
            return {"mailbox": None}

        unit = UnitRun(arg, self._read_back)
        guarded = {
            name: unless_gone(runner, lambda: self._has_mailbox(arg.account.id), self._read_back, gone_facts)
            for name, runner in runners.items()
        }
        people = [arg.account.id] + ([arg.successor.id] if arg.successor else [])
        return await unit.run(guarded, people)
