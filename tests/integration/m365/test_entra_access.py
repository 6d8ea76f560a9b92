"""Sign-in methods, groups and licences: what goes, what stays, what waits."""

from __future__ import annotations

from activities.entra import EntraActivities
from leaver.domain.words import ErrorType, Mode, Outcome, Reason
from leaver.simulators.company import GROUPS, SKUS, person
from leaver.simulators.faults import FaultKind
from leaver.simulators.m365.simulator import M365Simulator
from leaver.simulators.m365.state import AuthMethod, MailboxType, MethodKind
from tests.support.m365_runs import perform, unit, writes

METHODS, AGAIN = "entra.remove_auth_methods", "entra.revoke_sessions_after_credentials"
LEAVE, AFTER = "entra.remove_groups", "entra.revoke_sessions_after_groups"
DIRECT, BY_GROUP = "entra.remove_direct_licences", "entra.remove_licence_groups"
GROUP = {group.key: group.object_id for group in GROUPS}


def share_mailbox(sim: M365Simulator, number: str) -> None:
    with sim.tenant.mailboxes.change(person(number).object_id, at=0) as mailbox:
        mailbox.type = MailboxType.SHARED


class TestCredentials:
    async def test_every_method_goes_default_last(self, entra: EntraActivities, sim: M365Simulator) -> None:
        run = await perform(entra.credentials, unit("entra.credentials", METHODS, AGAIN))

        assert [effect.outcome for effect in run.result.effects] == [Outcome.VERIFIED] * 2
        assert [method.kind for method in sim.tenant.user("E1001").methods] == [MethodKind.PASSWORD]
        removed = [record for record in writes(sim, "authentication") if record.status == 204]
        assert len(removed) == 3
        assert "phoneMethods" in removed[-1].path  # the sample's default method
        assert writes(sim)[-1].operation.endswith("revokeSignInSessions")
        rows = run.effect(METHODS).before["methods"]
        assert isinstance(rows, list)
        assert len(rows) == 3

    async def test_the_main_number_goes_after_the_alternate_one(
        self, entra: EntraActivities, sim: M365Simulator
    ) -> None:
        with sim.tenant.users.change(person("E1004").object_id, at=0) as user:
            password = user.methods[0]
            main = AuthMethod(id="main", kind=MethodKind.PHONE, phone_type="mobile")
            other = AuthMethod(id="alternate", kind=MethodKind.PHONE, phone_type="alternateMobile")
            user.methods = [password, main, other]
        run = await perform(entra.credentials, unit("entra.credentials", METHODS, number="E1004"))

        assert run.effect(METHODS).outcome is Outcome.VERIFIED
        assert [record.status for record in writes(sim)] == [204, 204]

    async def test_none_is_already_so(self, entra: EntraActivities, sim: M365Simulator) -> None:
        with sim.tenant.users.change(person("E1001").object_id, at=0) as user:
            user.methods = user.methods[:1]
        run = await perform(entra.credentials, unit("entra.credentials", METHODS))

        assert run.effect(METHODS).outcome is Outcome.ALREADY
        assert writes(sim) == []

    async def test_what_was_removed_before_a_429_is_not_forgotten(
        self, entra: EntraActivities, sim: M365Simulator
    ) -> None:
        sim.faults.add(FaultKind.THROTTLE, retry_after=2, method="DELETE", skip=2)
        run = await perform(entra.credentials, unit("entra.credentials", METHODS))

        assert [error.type for error in run.errors] == [ErrorType.THROTTLED]
        effect = run.effect(METHODS)
        assert effect.outcome is Outcome.VERIFIED
        assert len(effect.before["methods"]) == 3  # type: ignore[arg-type]
        assert effect.after["methods"] == []

    async def test_a_deletion_whose_reply_was_lost_is_not_repeated(
        self, entra: EntraActivities, sim: M365Simulator
    ) -> None:
        sim.faults.add(FaultKind.DROP_AFTER_COMMIT, method="DELETE", skip=1)
        run = await perform(entra.credentials, unit("entra.credentials", METHODS))

        assert run.effect(METHODS).outcome is Outcome.VERIFIED
        gone = [record.path for record in writes(sim) if record.status == 204]
        assert len(gone) == len(set(gone)) == 3

    async def test_a_kind_without_an_interface_is_named(
        self, entra: EntraActivities, sim: M365Simulator
    ) -> None:
        with sim.tenant.users.change(person("E1004").object_id, at=0) as user:
            user.methods = [
                *user.methods[:1],
                AuthMethod(id="pin", kind=MethodKind.QR_CODE_PIN),
                user.methods[1],
            ]
            user.methods[-1].default = False
        run = await perform(entra.credentials, unit("entra.credentials", METHODS, number="E1004"))

        effect = run.effect(METHODS)
        assert (effect.outcome, effect.reason) == (Outcome.OPEN, Reason.NOT_SUPPORTED)
        assert "qrCodePinAuthenticationMethod" in effect.detail
        assert [record.path.split("/")[-2] for record in writes(sim)] == ["phoneMethods"]


class TestEntitlements:
    async def test_plain_groups_go_the_rest_is_listed_with_who_handles_it(
        self, entra: EntraActivities, sim: M365Simulator
    ) -> None:
        run = await perform(entra.entitlements, unit("entra.entitlements", LEAVE, AFTER))

        effect = run.effect(LEAVE)
        assert effect.outcome is Outcome.VERIFIED
        assert effect.before["groups"] == sorted([GROUP["sec-vpn"], GROUP["team-finance"]])
        assert effect.after["groups"] == []
        left = {row["class"]: row["groups"] for row in effect.after["left"]}  # type: ignore[index, union-attr]
        assert left == {
            "dynamic": [GROUP["all-staff"]],
            "licence_bearing": [GROUP["m365-licences"]],
            "mail_enabled": [GROUP["dl-announcements"]],
        }
        assert run.effect(AFTER).outcome is Outcome.VERIFIED

    async def test_members_are_removed_by_reference_never_as_users(
        self, entra: EntraActivities, sim: M365Simulator
    ) -> None:
        await perform(entra.entitlements, unit("entra.entitlements", LEAVE))

        deletions = [record for record in writes(sim) if record.method == "DELETE"]
        assert len(deletions) == 2
        assert all(record.path.endswith(f"/members/{person('E1001').object_id}/$ref") for record in deletions)
        assert sim.tenant.user("E1001").deleted is None

    async def test_a_role_assignable_group_names_the_missing_grant(
        self, entra: EntraActivities, sim: M365Simulator
    ) -> None:
        run = await perform(entra.entitlements, unit("entra.entitlements", LEAVE, number="E1006"))

        effect = run.effect(LEAVE)
        assert (effect.outcome, effect.reason) == (Outcome.OPEN, Reason.ACCESS_DENIED)
        assert "RoleManagement.ReadWrite.Directory" in effect.detail
        assert effect.after["groups"] == [GROUP["role-helpdesk"]]

    async def test_a_role_assignable_group_goes_with_the_grant(
        self, entra: EntraActivities, sim: M365Simulator
    ) -> None:
        with sim.tenant.apps.change(sim.tenant.app.id) as app:
            app.permissions = [*app.permissions, "RoleManagement.ReadWrite.Directory"]
        run = await perform(entra.entitlements, unit("entra.entitlements", LEAVE, number="E1006"))

        assert run.effect(LEAVE).outcome is Outcome.VERIFIED

    async def test_unreadable_groups_are_a_missing_right(
        self, entra: EntraActivities, sim: M365Simulator
    ) -> None:
        with sim.tenant.apps.change(sim.tenant.app.id) as app:
            app.permissions = [
                name for name in app.permissions if "Group" not in name and "Directory" not in name
            ]
        run = await perform(entra.entitlements, unit("entra.entitlements", LEAVE))

        assert run.effect(LEAVE).reason is Reason.ACCESS_DENIED
        assert writes(sim) == []

    async def test_pages_are_followed(self, entra: EntraActivities, sim: M365Simulator) -> None:
        for group in GROUPS:
            if person("E1001").object_id not in sim.tenant.group(group.key).members:
                with sim.tenant.groups.change(group.object_id, at=0) as joined:
                    joined.members.append(person("E1001").object_id)
        run = await perform(
            entra.entitlements, unit("entra.entitlements", LEAVE, mode=Mode.NOTIFICATION_ONLY)
        )

        effect = run.effect(LEAVE)
        assert effect.outcome is Outcome.PLANNED
        assert len(effect.before["groups"]) == 3  # type: ignore[arg-type]
        assert writes(sim) == []

    async def test_a_membership_gone_meanwhile(self, entra: EntraActivities, sim: M365Simulator) -> None:
        sim.faults.add(FaultKind.STALE_READS, operation="memberOf", times=1)
        sim.tenant.leave_group(GROUP["sec-vpn"], person("E1001").object_id)
        run = await perform(entra.entitlements, unit("entra.entitlements", LEAVE))

        assert run.effect(LEAVE).outcome is Outcome.VERIFIED


class TestLicences:
    async def test_nothing_goes_before_the_mailbox_is_shared(
        self, entra: EntraActivities, sim: M365Simulator
    ) -> None:
        run = await perform(entra.licences, unit("entra.licences", DIRECT, BY_GROUP))

        assert {effect.reason for effect in run.result.effects} == {Reason.GATE_CLOSED}
        assert run.effect(DIRECT).before == {"user_purpose": "user"}
        assert writes(sim) == []

    async def test_direct_licences_then_groups_once_it_is(
        self, entra: EntraActivities, sim: M365Simulator
    ) -> None:
        share_mailbox(sim, "E1001")
        run = await perform(entra.licences, unit("entra.licences", DIRECT, BY_GROUP))

        assert [effect.outcome for effect in run.result.effects] == [Outcome.VERIFIED] * 2
        assert [record.operation.rpartition("/")[2] for record in writes(sim)] == ["assignLicense", "$ref"]
        assert sim.tenant.user("E1001").licences == []
        before = run.effect(DIRECT).before["licences"]
        assert {row["sku"] for row in before if row["group"] is None} == {  # type: ignore[index, union-attr]
            SKUS["SPE_E3"],
            SKUS["POWER_BI_PRO"],
        }

    async def test_only_direct_ones_are_named_in_the_request(
        self, entra: EntraActivities, sim: M365Simulator
    ) -> None:
        share_mailbox(sim, "E1004")
        # The same product by a group and directly: naming an inherited one would fail the whole call.
        await perform(entra.licences, unit("entra.licences", DIRECT, number="E1004"))

        assert [row.by_group for row in sim.tenant.user("E1004").licences] == [GROUP["m365-licences"]]

    async def test_no_mailbox_opens_the_gate(self, entra: EntraActivities, sim: M365Simulator) -> None:
        sim.tenant.mailboxes.remove(person("E1001").object_id)
        sim.tenant.clock.advance(5)
        run = await perform(entra.licences, unit("entra.licences", DIRECT))

        assert run.effect(DIRECT).outcome is Outcome.VERIFIED

    async def test_nothing_to_give_back(self, entra: EntraActivities, sim: M365Simulator) -> None:
        with sim.tenant.users.change(person("E1001").object_id, at=0) as user:
            user.licences = []
        run = await perform(entra.licences, unit("entra.licences", DIRECT))

        assert run.effect(DIRECT).outcome is Outcome.ALREADY

    async def test_a_licence_by_a_dynamic_group_is_left_behind(
        self, entra: EntraActivities, sim: M365Simulator
    ) -> None:
        share_mailbox(sim, "E1004")
        with sim.tenant.groups.change(GROUP["all-staff"], at=0) as group:
            group.licences = [SKUS["VISIOCLIENT"]]
        run = await perform(entra.licences, unit("entra.licences", BY_GROUP, number="E1004"))

        effect = run.effect(BY_GROUP)
        assert (effect.outcome, effect.reason) == (Outcome.OPEN, Reason.LEFT_BEHIND)
        assert "dynamic" in effect.detail
        assert effect.after["groups"] == []

    async def test_notification_only_shows_what_would_go(
        self, entra: EntraActivities, sim: M365Simulator
    ) -> None:
        run = await perform(
            entra.licences, unit("entra.licences", DIRECT, BY_GROUP, mode=Mode.NOTIFICATION_ONLY)
        )

        assert [effect.outcome for effect in run.result.effects] == [Outcome.PLANNED] * 2
        assert run.effect(BY_GROUP).before["groups"] == [GROUP["m365-licences"]]
        assert writes(sim) == []
