"""OneDrive: the successor becomes owner, or at least gets in; nobody else ever does."""

from __future__ import annotations

import pytest

from activities.onedrive import OneDriveActivities
from leaver.domain.account import Account, ResolveInput, ResolveResult
from leaver.domain.event import Person
from leaver.domain.words import ErrorType, Mode, Outcome, Reason, System
from leaver.simulators.company import person
from leaver.simulators.faults import FaultKind
from leaver.simulators.m365.simulator import M365Simulator
from tests.support.m365_runs import READ_BACK, Clients, account, perform, unit, writes

GRANT = "onedrive.grant_successor"
LEAVER, SUCCESSOR = person("E1001").object_id, person("E2001").object_id


def handover(**more: object):
    return unit("onedrive.handover", GRANT, **more)


def admins(sim: M365Simulator) -> set[str]:
    return {entry.user for entry in sim.tenant.drive("E1001").site_users if entry.is_admin}


async def resolve(onedrive: OneDriveActivities, *linked: Account) -> ResolveResult:
    who = Person.model_validate({"externalId": "E1001"})
    arg = ResolveInput(case="c-test", person=who, mode=Mode.ENFORCE, linked=linked)
    result = (await perform(onedrive.resolve, arg)).result
    assert isinstance(result, ResolveResult)
    return result


async def test_the_drive_of_the_entra_user(onedrive: OneDriveActivities) -> None:
    found = await resolve(onedrive, account("E1001"))

    assert found.account is not None
    assert (found.account.system, found.account.id) == (System.ONEDRIVE, LEAVER)
    assert "/personal/" in str(found.account.locator)


async def test_a_drive_never_made_is_absent(onedrive: OneDriveActivities, sim: M365Simulator) -> None:
    sim.tenant.drives.remove(sim.tenant.drive("E1001").id)
    sim.tenant.clock.advance(5)
    found = await resolve(onedrive, account("E1001"))

    assert (found.account, found.reason) == (None, None)


async def test_site_admin_read_back(onedrive: OneDriveActivities, sim: M365Simulator) -> None:
    run = await perform(onedrive.handover, handover())

    effect = run.effect(GRANT)
    assert effect.outcome is Outcome.VERIFIED
    assert effect.before == {"successor": SUCCESSOR, "method": "site_admin", "granted": False}
    assert effect.after == {"successor": SUCCESSOR, "method": "site_admin", "granted": True}
    assert admins(sim) == {LEAVER, SUCCESSOR}
    assert {record.system for record in writes(sim)} == {"onedrive"}
    assert all(set(record.objects) <= {LEAVER, SUCCESSOR} for record in writes(sim))
    paths = [receipt.path for receipt in effect.receipts]
    assert any("/personal/{owner}/_api/web/ensureuser" in path for path in paths)
    name = person("E1001").user_name.split("@")[0].replace(".", "_")
    assert name not in run.result.model_dump_json()


async def test_already_admin(onedrive: OneDriveActivities, sim: M365Simulator) -> None:
    await perform(onedrive.handover, handover())
    count = len(writes(sim))
    run = await perform(onedrive.handover, handover())

    assert run.effect(GRANT).outcome is Outcome.ALREADY
    assert len(writes(sim)) == count


@pytest.mark.parametrize("why", ["secret", "permission"])
async def test_root_invite_where_sharepoint_refuses(clients: Clients, sim: M365Simulator, why: str) -> None:
    if why == "permission":
        with sim.tenant.apps.change(sim.tenant.app.id) as app:
            app.permissions = [name for name in app.permissions if "Sites" not in name]
    onedrive = OneDriveActivities(clients.onedrive(certificate=why != "secret"), READ_BACK)
    run = await perform(onedrive.handover, handover())

    effect = run.effect(GRANT)
    assert effect.outcome is Outcome.VERIFIED
    assert effect.after == {"successor": SUCCESSOR, "method": "root_invite", "granted": True}
    assert "Sites.FullControl.All" in effect.detail
    assert [grant.user for grant in sim.tenant.drive("E1001").grants] == [SUCCESSOR]
    assert [record.operation for record in writes(sim)] == ["/drives/{drive}/root/invite"]
    assert admins(sim) == {LEAVER}


async def test_when_neither_is_allowed_both_grants_are_named(clients: Clients, sim: M365Simulator) -> None:
    with sim.tenant.apps.change(sim.tenant.app.id) as app:
        app.permissions = [
            "Files.Read.All" if name == "Files.ReadWrite.All" else name
            for name in app.permissions
            if "Sites" not in name
        ]
    onedrive = OneDriveActivities(clients.onedrive(), READ_BACK)
    run = await perform(onedrive.handover, handover())

    effect = run.effect(GRANT)
    assert (effect.outcome, effect.reason) == (Outcome.OPEN, Reason.ACCESS_DENIED)
    assert "Files.ReadWrite.All" in effect.detail
    assert "Sites.FullControl.All" in effect.detail


@pytest.mark.parametrize("operation", ["ensureuser", "getuserbyid"])
async def test_a_lost_reply(onedrive: OneDriveActivities, sim: M365Simulator, operation: str) -> None:
    sim.faults.add(FaultKind.DROP_AFTER_COMMIT, method="POST", operation=operation)
    run = await perform(onedrive.handover, handover())

    assert run.effect(GRANT).outcome is Outcome.VERIFIED
    assert len(writes(sim, "getuserbyid")) == 1
    assert admins(sim) == {LEAVER, SUCCESSOR}


async def test_throttling_and_a_claims_challenge(onedrive: OneDriveActivities, sim: M365Simulator) -> None:
    sim.faults.add(FaultKind.THROTTLE, system="onedrive", retry_after=2, method="POST")
    sim.faults.add(FaultKind.CLAIMS_CHALLENGE, system="onedrive", method="GET")
    run = await perform(onedrive.handover, handover())

    assert [error.type for error in run.errors] == [ErrorType.THROTTLED]
    assert run.errors[0].next_retry_delay is not None
    assert run.effect(GRANT).after["method"] == "site_admin"


@pytest.mark.parametrize("successor", [None, account("E1001")])
async def test_nobody_to_hand_over_to(
    onedrive: OneDriveActivities, sim: M365Simulator, successor: Account | None
) -> None:
    run = await perform(onedrive.handover, handover(successor=successor))

    effect = run.effect(GRANT)
    assert (effect.outcome, effect.reason) == (Outcome.OPEN, Reason.NO_SUCCESSOR)
    assert writes(sim) == []


async def test_a_successor_who_is_gone(onedrive: OneDriveActivities, sim: M365Simulator) -> None:
    sim.tenant.delete_user(SUCCESSOR)
    sim.tenant.clock.advance(5)
    run = await perform(onedrive.handover, handover())

    assert run.effect(GRANT).reason is Reason.REJECTED_BY_SYSTEM
    assert writes(sim) == []


async def test_a_drive_gone_meanwhile_is_absent(onedrive: OneDriveActivities, sim: M365Simulator) -> None:
    sim.tenant.drives.remove(sim.tenant.drive("E1001").id)
    sim.tenant.clock.advance(5)
    run = await perform(onedrive.handover, handover())

    assert run.effect(GRANT).outcome is Outcome.ABSENT


async def test_a_renamed_successor_is_still_the_right_one(
    onedrive: OneDriveActivities, sim: M365Simulator
) -> None:
    # Their old name belongs to somebody else by now: the name is read by id at the time of the call.
    old = sim.tenant.user(SUCCESSOR).upn
    with sim.tenant.users.change(SUCCESSOR, at=0) as user:
        user.upn = "h.marsh-jones@northwind.example"
    with sim.tenant.users.change(person("E1004").object_id, at=0) as other:
        other.upn = old
    run = await perform(onedrive.handover, handover())

    assert run.effect(GRANT).outcome is Outcome.VERIFIED
    assert admins(sim) == {LEAVER, SUCCESSOR}


@pytest.mark.parametrize("certificate", [True, False])
async def test_notification_only(clients: Clients, sim: M365Simulator, certificate: bool) -> None:
    onedrive = OneDriveActivities(clients.onedrive(certificate=certificate), READ_BACK)
    run = await perform(onedrive.handover, handover(mode=Mode.NOTIFICATION_ONLY))

    assert run.effect(GRANT).outcome is Outcome.PLANNED
    assert writes(sim) == []
