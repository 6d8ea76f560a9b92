"""The mailbox: found, answered for, handed over, converted and proven; distribution lists left."""

from __future__ import annotations

from datetime import timedelta

import pytest
from temporalio.exceptions import ApplicationError

from activities.exchange import ExchangeActivities
from leaver.domain.account import Account, ResolveInput, ResolveResult
from leaver.domain.effect import MailboxFacts
from leaver.domain.event import Person
from leaver.domain.words import ErrorType, Mode, Outcome, Reason, System
from leaver.simulators.company import GROUPS, person
from leaver.simulators.faults import FaultKind
from leaver.simulators.m365.simulator import M365Simulator
from leaver.simulators.m365.state import MailboxType
from tests.support.m365_runs import account, perform, unit, writes

REPLY, DELEGATE = "exchange.set_auto_reply", "exchange.delegate_to_successor"
CONVERT, LISTS = "exchange.convert_to_shared_mailbox", "exchange.remove_distribution_groups"
PRESERVE = (REPLY, DELEGATE, CONVERT)
TEXT = "I have left; write to R&D <team> instead."
GROUP = {group.key: group.object_id for group in GROUPS}
LEAVER, SUCCESSOR = person("E1001").object_id, person("E2001").object_id


def preserve(*steps: str, **more: object):
    return unit("exchange.preserve", *steps, **({"parameters": {"auto_reply": TEXT}} | more))


async def resolve(exchange: ExchangeActivities, *linked: Account) -> ResolveResult:
    who = Person.model_validate({"externalId": "E1001"})
    arg = ResolveInput(case="c-test", person=who, mode=Mode.ENFORCE, linked=linked)
    result = (await perform(exchange.resolve, arg)).result
    assert isinstance(result, ResolveResult)
    return result


class TestResolve:
    async def test_the_mailbox_of_the_entra_user(self, exchange: ExchangeActivities) -> None:
        found = await resolve(exchange, account("E1001"))

        assert found.account is not None
        assert (found.account.system, found.account.id) == (System.EXCHANGE, LEAVER)
        assert found.account.before == {"recipient_type": "UserMailbox"}
        assert "@" not in found.model_dump_json()

    async def test_no_mailbox_is_absence(self, exchange: ExchangeActivities, sim: M365Simulator) -> None:
        sim.tenant.mailboxes.remove(LEAVER)
        sim.tenant.clock.advance(5)
        found = await resolve(exchange, account("E1001"))

        assert (found.account, found.reason) == (None, None)
        assert len([record for record in sim.requests if record.operation == "Get-Mailbox"]) == 2

    async def test_one_lagging_answer_is_not_absence(
        self, exchange: ExchangeActivities, sim: M365Simulator
    ) -> None:
        sim.faults.add(FaultKind.NOT_FOUND_ONCE, operation="Get-Mailbox")
        found = await resolve(exchange, account("E1001"))

        assert found.account is not None

    async def test_without_an_entra_user_there_is_none(
        self, exchange: ExchangeActivities, sim: M365Simulator
    ) -> None:
        found = await resolve(exchange)

        assert found.account is None
        assert sim.requests == []

    async def test_a_missing_role_is_a_reason(self, exchange: ExchangeActivities, sim: M365Simulator) -> None:
        with sim.tenant.apps.change(sim.tenant.app.id) as app:
            app.directory_roles = []
        found = await resolve(exchange, account("E1001"))

        assert found.reason is Reason.ACCESS_DENIED
        assert "Exchange Recipient Administrator" in found.detail

    async def test_an_empty_401_names_what_to_check(
        self, exchange: ExchangeActivities, sim: M365Simulator
    ) -> None:
        with sim.tenant.apps.change(sim.tenant.app.id) as app:
            app.permissions = [name for name in app.permissions if name != "Exchange.ManageAsApp"]
        found = await resolve(exchange, account("E1001"))

        assert found.reason is Reason.INVALID_CREDENTIALS
        assert "Exchange.ManageAsApp" in found.detail


class TestPreserve:
    async def test_answered_handed_over_converted(
        self, exchange: ExchangeActivities, sim: M365Simulator
    ) -> None:
        run = await perform(exchange.preserve, preserve(*PRESERVE))

        assert [effect.outcome for effect in run.result.effects] == [Outcome.VERIFIED] * 3
        assert [record.operation for record in writes(sim)] == [
            "Set-MailboxAutoReplyConfiguration",
            "Add-MailboxPermission",
            "Set-Mailbox",
        ]
        assert run.effect(REPLY).after == {"auto_reply": "Enabled", "policy_text": True}
        assert run.effect(DELEGATE).after == {"successor": SUCCESSOR, "full_access": True}
        assert run.effect(CONVERT).before == {"recipient_type": "UserMailbox", "user_purpose": "user"}
        assert run.effect(CONVERT).after == {"recipient_type": "SharedMailbox", "user_purpose": "shared"}
        mailbox = sim.tenant.mailbox("E1001")
        assert mailbox.type is MailboxType.SHARED
        assert [right.trustee for right in mailbox.rights if right.rights == ["FullAccess"]] == [SUCCESSOR]
        assert "R&amp;D &lt;team&gt;" in mailbox.auto_reply.external
        text = run.result.model_dump_json()
        assert "@" not in text.replace("/siteusers(@v)", "")
        assert "write to" not in text

    async def test_a_second_run_finds_it_so(self, exchange: ExchangeActivities, sim: M365Simulator) -> None:
        await perform(exchange.preserve, preserve(*PRESERVE))
        count = len(writes(sim))
        run = await perform(exchange.preserve, preserve(*PRESERVE))

        assert [effect.outcome for effect in run.result.effects] == [Outcome.ALREADY] * 3
        assert len(writes(sim)) == count

    async def test_the_leavers_own_reply_is_replaced_and_not_kept(
        self, exchange: ExchangeActivities, sim: M365Simulator
    ) -> None:
        with sim.tenant.mailboxes.change(LEAVER, at=0) as mailbox:
            mailbox.auto_reply.state = "Enabled"
            mailbox.auto_reply.external = "<html>Call me at my new firm</html>"
        run = await perform(exchange.preserve, preserve(REPLY))

        assert run.effect(REPLY).before == {"auto_reply": "Enabled", "policy_text": False}
        assert run.effect(REPLY).outcome is Outcome.VERIFIED
        assert "new firm" not in run.result.model_dump_json()

    async def test_one_proof_is_not_enough(self, exchange: ExchangeActivities, sim: M365Simulator) -> None:
        sim.tenant.delays.purpose = 3600
        with pytest.raises(ApplicationError) as caught:
            await perform(exchange.preserve, preserve(CONVERT), attempts=1)

        assert caught.value.type == ErrorType.NOT_YET_EFFECTIVE
        sim.tenant.delays.purpose = 0

    async def test_a_conversion_whose_reply_was_lost(
        self, exchange: ExchangeActivities, sim: M365Simulator
    ) -> None:
        sim.faults.add(FaultKind.DROP_AFTER_COMMIT, operation="Set-Mailbox$")
        run = await perform(exchange.preserve, preserve(CONVERT))

        assert run.effect(CONVERT).outcome is Outcome.VERIFIED
        assert len(writes(sim, "Set-Mailbox")) == 1

    @pytest.mark.parametrize("kind", [FaultKind.TRANSIENT_400, FaultKind.ERROR_IN_200, FaultKind.UNAVAILABLE])
    async def test_transient_errors_of_every_shape(
        self, exchange: ExchangeActivities, sim: M365Simulator, kind: FaultKind
    ) -> None:
        sim.faults.add(kind, operation="Set-Mailbox$")
        run = await perform(exchange.preserve, preserve(CONVERT))

        assert [error.type for error in run.errors] == [ErrorType.UNAVAILABLE]
        assert run.effect(CONVERT).outcome is Outcome.VERIFIED

    async def test_throttling(self, exchange: ExchangeActivities, sim: M365Simulator) -> None:
        sim.faults.add(FaultKind.THROTTLE, retry_after=2, operation="Add-MailboxPermission")
        run = await perform(exchange.preserve, preserve(DELEGATE))

        assert run.errors[0].next_retry_delay == timedelta(seconds=2)
        assert run.effect(DELEGATE).outcome is Outcome.VERIFIED
        assert len(sim.tenant.mailbox("E1001").rights) == 2

    async def test_a_claims_challenge(self, exchange: ExchangeActivities, sim: M365Simulator) -> None:
        sim.faults.add(FaultKind.CLAIMS_CHALLENGE, operation="Get-Mailbox")
        run = await perform(exchange.preserve, preserve(CONVERT))

        assert run.errors == []
        assert run.effect(CONVERT).outcome is Outcome.VERIFIED

    async def test_without_a_licence_the_conversion_is_refused_and_open(
        self, exchange: ExchangeActivities, sim: M365Simulator
    ) -> None:
        with sim.tenant.users.change(LEAVER, at=0) as user:
            user.licences = []
        run = await perform(exchange.preserve, preserve(CONVERT))

        effect = run.effect(CONVERT)
        assert (effect.outcome, effect.reason) == (Outcome.OPEN, Reason.REJECTED_BY_SYSTEM)
        assert "RecipientTaskException" in effect.detail

    @pytest.mark.parametrize("successor", [None, account("E1001")])
    async def test_nobody_to_hand_over_to(
        self, exchange: ExchangeActivities, sim: M365Simulator, successor: Account | None
    ) -> None:
        run = await perform(exchange.preserve, preserve(DELEGATE, successor=successor))

        effect = run.effect(DELEGATE)
        assert (effect.outcome, effect.reason) == (Outcome.OPEN, Reason.NO_SUCCESSOR)
        assert writes(sim) == []

    async def test_a_successor_exchange_does_not_know(
        self, exchange: ExchangeActivities, sim: M365Simulator
    ) -> None:
        ghost = account("E2001").model_copy(update={"id": "11111111-2222-3333-4444-555555555555"})
        run = await perform(exchange.preserve, preserve(DELEGATE, successor=ghost))

        assert run.effect(DELEGATE).reason is Reason.REJECTED_BY_SYSTEM
        assert writes(sim) == []

    async def test_a_mailbox_gone_meanwhile_is_absent(
        self, exchange: ExchangeActivities, sim: M365Simulator
    ) -> None:
        sim.tenant.mailboxes.remove(LEAVER)
        sim.tenant.clock.advance(5)
        run = await perform(exchange.preserve, preserve(*PRESERVE))

        assert {effect.outcome for effect in run.result.effects} == {Outcome.ABSENT}

    async def test_notification_only(self, exchange: ExchangeActivities, sim: M365Simulator) -> None:
        run = await perform(exchange.preserve, preserve(*PRESERVE, mode=Mode.NOTIFICATION_ONLY))

        assert [effect.outcome for effect in run.result.effects] == [Outcome.PLANNED] * 3
        assert run.effect(CONVERT).before["recipient_type"] == "UserMailbox"
        assert writes(sim) == []


class TestDistributionGroups:
    async def test_lists_are_left_by_id(self, exchange: ExchangeActivities, sim: M365Simulator) -> None:
        run = await perform(exchange.entitlements, unit("exchange.entitlements", LISTS))

        effect = run.effect(LISTS)
        assert effect.outcome is Outcome.VERIFIED
        assert (effect.before["groups"], effect.after["groups"]) == ([GROUP["dl-announcements"]], [])
        assert LEAVER not in sim.tenant.group("dl-announcements").members
        assert writes(sim)[0].summary["Identity"] == GROUP["dl-announcements"]
        assert writes(sim)[0].summary["Member"] == LEAVER
        assert "@" not in run.result.model_dump_json()

    async def test_mail_enabled_security_groups_too(
        self, exchange: ExchangeActivities, sim: M365Simulator
    ) -> None:
        run = await perform(exchange.entitlements, unit("exchange.entitlements", LISTS, number="E1003"))

        assert run.effect(LISTS).outcome is Outcome.VERIFIED
        assert person("E1003").object_id not in sim.tenant.group("mail-sec-finance").members

    async def test_synced_and_licensed_lists_are_left_to_others(
        self, exchange: ExchangeActivities, sim: M365Simulator
    ) -> None:
        with sim.tenant.groups.change(GROUP["dl-announcements"], at=0) as group:
            group.synced = True
        run = await perform(exchange.entitlements, unit("exchange.entitlements", LISTS))

        effect = run.effect(LISTS)
        assert effect.outcome is Outcome.ALREADY
        assert effect.after["left"] == [
            {"class": "synced", "groups": [GROUP["dl-announcements"]], "handled_by": "ad.remove_groups"}
        ]
        assert writes(sim) == []

    async def test_gone_meanwhile(self, exchange: ExchangeActivities, sim: M365Simulator) -> None:
        sim.faults.add(FaultKind.STALE_READS, operation="memberOf")
        sim.faults.add(FaultKind.STALE_READS, operation="Get-DistributionGroupMember")
        sim.tenant.leave_group(GROUP["dl-announcements"], LEAVER)
        run = await perform(exchange.entitlements, unit("exchange.entitlements", LISTS))

        assert run.effect(LISTS).outcome is Outcome.VERIFIED

    async def test_a_lost_reply(self, exchange: ExchangeActivities, sim: M365Simulator) -> None:
        sim.faults.add(FaultKind.DROP_AFTER_COMMIT, operation="Remove-DistributionGroupMember")
        run = await perform(exchange.entitlements, unit("exchange.entitlements", LISTS))

        assert run.effect(LISTS).outcome is Outcome.VERIFIED
        assert len(writes(sim)) == 1


class TestMailboxFacts:
    async def test_everything_the_gate_asks(self, exchange: ExchangeActivities, sim: M365Simulator) -> None:
        with sim.tenant.mailboxes.change(LEAVER, at=0) as mailbox:
            mailbox.type = MailboxType.SHARED
            mailbox.size_bytes = 13_204_112_345
            mailbox.archive = True
            mailbox.litigation_hold = True
            mailbox.in_place_holds = ["mbx0", "mbx1"]
            mailbox.forwarding_smtp = "smtp:new@firm.example"
        facts = (await perform(exchange.mailbox_facts, unit("exchange.mailbox_facts"))).result

        assert isinstance(facts, MailboxFacts)
        assert facts.proven_shared
        assert facts.size_bytes == 13_204_112_345
        assert (facts.archive, facts.litigation_hold, facts.in_place_holds) == (True, True, 2)
        assert facts.forwarding
        assert facts.receipts
        assert not any(receipt.mutating for receipt in facts.receipts)
        assert "@" not in facts.model_dump_json()

    async def test_an_ordinary_mailbox(self, exchange: ExchangeActivities) -> None:
        facts = (await perform(exchange.mailbox_facts, unit("exchange.mailbox_facts"))).result

        assert facts.exists
        assert not facts.proven_shared
        assert (facts.archive, facts.litigation_hold, facts.in_place_holds) == (False, False, 0)
        assert not facts.forwarding

    async def test_none(self, exchange: ExchangeActivities, sim: M365Simulator) -> None:
        sim.tenant.mailboxes.remove(LEAVER)
        sim.tenant.clock.advance(5)
        facts = (await perform(exchange.mailbox_facts, unit("exchange.mailbox_facts"))).result

        assert (facts.exists, facts.user_purpose) == (False, None)

    async def test_what_cannot_be_read_is_an_error(
        self, exchange: ExchangeActivities, sim: M365Simulator
    ) -> None:
        with sim.tenant.apps.change(sim.tenant.app.id) as app:
            app.permissions = [name for name in app.permissions if "MailboxSettings" not in name]
        with pytest.raises(ApplicationError) as caught:
            await perform(exchange.mailbox_facts, unit("exchange.mailbox_facts"))
        assert caught.value.type == ErrorType.ACCESS_DENIED
        assert caught.value.non_retryable
