"""The units of work on Active Directory, run as Temporal runs them, against the stand-in and Samba."""

from __future__ import annotations

import socket
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from temporalio.exceptions import ApplicationError

from activities.ad import AdActivities
from activities.ad_steps import DISABLE, GROUPS, MOVE, PASSWORD
from activities.unit import ReadBack
from leaver.domain.account import Account, LinkRule, ResolveInput, ResolveResult
from leaver.domain.event import Person
from leaver.domain.words import ErrorType, Mode, Outcome, Reason, System
from leaver.simulators.ad.client import bound
from leaver.simulators.faults import FaultKind
from tests.support.ad_world import LEAVERS, STAFF, Employee, World, perform, unit_input

NOBODY = "9b2c5c1e-0000-4000-8000-00000000dead"
OU = {"leavers_ou": LEAVERS}


def person(number: str, *, user_name: str | None = None, emails: tuple[str, ...] = ()) -> Person:
    return Person(external_id=number, user_name=user_name, emails=emails)


async def resolve(world: World, who: Person, *, linked: str | None = None) -> ResolveResult:
    accounts: tuple[Account, ...] = ()
    if linked:
        entra = Account(system=System.ENTRA, id="x", rule=LinkRule.EMPLOYEE_ID, synced=True, linked_id=linked)
        accounts = (entra,)
    arg = ResolveInput(case="c-test", person=who, mode=Mode.ENFORCE, linked=accounts)
    result: ResolveResult = await world.activities().resolve(arg)
    return result


def written(world: World, operation: str) -> int:
    """How many writes of a kind were sent."""
    return len([record for record in world.writes if record.operation == operation])


def committed(world: World, operation: str) -> int:
    """How many of them took effect."""
    records = [record for record in world.writes if record.operation == operation]
    return len([r for r in records if r.status == 0 and r.fault != FaultKind.DROP_BEFORE_COMMIT])


# -- resolve ---------------------------------------------------------------------------------------------


async def test_resolves_by_employee_number_with_the_state_before(world: World) -> None:
    group = world.group()
    someone = world.employee(groups=(group,))
    result = await resolve(world, person(someone.number))
    assert result.reason is None
    assert result.account is not None
    assert result.account.id == someone.guid
    assert result.account.rule is LinkRule.EMPLOYEE_ID
    before = result.account.before
    assert before["account_enabled"] is True
    assert before["groups"] == [world.guid(group)]
    assert before["container"] == world.guid(STAFF)
    assert before["privileged"] is False
    assert isinstance(before["password_version"], int)
    text = result.model_dump_json()
    assert someone.user_name not in text
    assert "Person" not in text


async def test_the_linked_object_comes_first(world: World) -> None:
    someone = world.employee()
    result = await resolve(world, person(someone.number), linked=someone.guid)
    assert result.account is not None
    assert result.account.rule is LinkRule.LINKED_ACCOUNT
    assert result.account.id == someone.guid


async def test_a_linked_object_without_number_is_taken(world: World) -> None:
    someone = world.employee(employeeID="")
    result = await resolve(world, person("T-unknown"), linked=someone.guid)
    assert result.account is not None
    assert result.account.id == someone.guid


async def test_link_and_number_that_disagree_stop_everything(world: World) -> None:
    linked, numbered, blank = world.employee(), world.employee(), world.employee(employeeID="")
    for guid in (linked.guid, blank.guid):
        result = await resolve(world, person(numbered.number), linked=guid)
        assert (result.account, result.reason) == (None, Reason.WRONG_PERSON)


async def test_a_second_account_with_the_number_is_told_of(world: World) -> None:
    someone = world.employee()
    world.employee(employeeID=someone.number)
    result = await resolve(world, person(someone.number), linked=someone.guid)
    assert result.account is not None
    assert result.account.id == someone.guid
    assert result.detail.startswith("2 accounts")
    result = await resolve(world, person(someone.number))
    assert (result.account, result.reason) == (None, Reason.AMBIGUOUS_ACCOUNT)


@pytest.mark.parametrize("by", ["user_name", "mail"])
async def test_resolves_by_name_where_the_object_has_no_number(world: World, by: str) -> None:
    someone = world.employee(employeeID="")
    who = (
        person("T-1", user_name=someone.user_name)
        if by == "user_name"
        else person("T-1", user_name="nobody@northwind.example", emails=("x@y.example", someone.user_name))
    )
    result = await resolve(world, who)
    assert result.account is not None
    assert result.account.id == someone.guid
    assert result.account.rule is LinkRule(by)


@pytest.mark.parametrize("by", ["user_name", "emails"])
async def test_a_recycled_address_is_another_person(world: World, by: str) -> None:
    new_owner = world.employee()
    value: Any = new_owner.user_name if by == "user_name" else (new_owner.user_name,)
    result = await resolve(world, person("T-gone", **{by: value}))
    assert (result.account, result.reason) == (None, Reason.WRONG_PERSON)
    assert new_owner.user_name not in result.detail
    assert new_owner.number not in result.detail


async def test_name_and_mail_of_two_accounts_are_ambiguous(world: World) -> None:
    first, second = world.employee(employeeID=""), world.employee(employeeID="")
    result = await resolve(world, person("T-2", user_name=first.user_name, emails=(second.user_name,)))
    assert (result.account, result.reason) == (None, Reason.AMBIGUOUS_ACCOUNT)


async def test_nobody_is_nobody_and_not_a_reason(world: World) -> None:
    result = await resolve(world, person("T-*", user_name="*", emails=("*)(objectClass=*",)))
    assert (result.account, result.reason) == (None, None)


async def test_a_synced_account_whose_object_is_not_here_is_no_all_clear(world: World) -> None:
    result = await resolve(world, person("T-3"), linked=NOBODY)
    assert (result.account, result.reason) == (None, Reason.MISCONFIGURED)
    someone = world.employee(employeeID="")
    result = await resolve(world, person("T-3", user_name=someone.user_name), linked=NOBODY)
    assert (result.account, result.reason) == (None, Reason.WRONG_PERSON)


async def test_resolving_writes_nothing_and_survives_a_busy_server(world: World) -> None:
    someone = world.employee()
    world.ad.faults.add(FaultKind.THROTTLE, method="search", times=1, skip=1)
    arg = ResolveInput(case="c-test", person=person(someone.number), mode=Mode.ENFORCE)
    run = await perform(world.activities().resolve, arg)
    assert [err.type for err in run.errors] == [ErrorType.THROTTLED]
    assert run.result.account.id == someone.guid
    assert world.writes == []


# -- contain ---------------------------------------------------------------------------------------------


async def test_contains_and_proves_it(world: World) -> None:
    someone = world.employee()
    run = await perform(world.activities().contain, unit_input(someone.guid, DISABLE, PASSWORD))
    assert run.errors == []
    disabled, reset = run.effect(DISABLE), run.effect(PASSWORD)
    assert disabled.outcome is Outcome.VERIFIED
    assert (disabled.before, disabled.after) == ({"account_enabled": True}, {"account_enabled": False})
    assert reset.outcome is Outcome.VERIFIED
    before, after = reset.before, reset.after
    assert after["password_version"] == before["password_version"] + 2  # type: ignore[operator]
    assert str(after["password_set_at"]) > str(before["password_set_at"])
    assert [(record.operation, record.objects) for record in world.writes] == [
        ("modify userAccountControl", [someone.guid]),
        ("modify unicodePwd", [someone.guid]),
        ("modify unicodePwd", [someone.guid]),
    ]
    receipts = [receipt for effect in run.result.effects for receipt in effect.receipts]
    assert [r.status for r in receipts if r.mutating] == [0, 0, 0]
    assert {receipt.path for receipt in receipts} == {f"<GUID={someone.guid}>", "rootDSE"}
    text = run.result.model_dump_json()
    assert someone.number not in text
    assert "Person" not in text


async def test_what_is_disabled_already_is_not_written_but_the_password_is(world: World) -> None:
    someone = world.employee()
    world.ask("modify", someone.dn, {"userAccountControl": [("MODIFY_REPLACE", ["514"])]})
    run = await perform(world.activities().contain, unit_input(someone.guid, DISABLE, PASSWORD))
    assert run.effect(DISABLE).outcome is Outcome.ALREADY
    assert run.effect(PASSWORD).outcome is Outcome.VERIFIED
    assert written(world, "modify userAccountControl") == 0
    assert written(world, "modify unicodePwd") == 2


async def test_notification_only_reads_and_plans(world: World) -> None:
    group = world.group()
    someone = world.employee(groups=(group,))
    given: dict[str, Any] = {"mode": Mode.NOTIFICATION_ONLY, "parameters": OU}
    contain = await perform(world.activities().contain, unit_input(someone.guid, DISABLE, PASSWORD, **given))
    leave = await perform(world.activities().entitlements, unit_input(someone.guid, GROUPS, MOVE, **given))
    effects = (*contain.result.effects, *leave.result.effects)
    assert [effect.outcome for effect in effects] == [Outcome.PLANNED] * 4
    assert effects[0].before == {"account_enabled": True}
    assert effects[2].before["groups"]
    assert world.writes == []


@pytest.mark.parametrize("kind", [FaultKind.THROTTLE, FaultKind.UNAVAILABLE])
async def test_a_busy_server_is_asked_again(world: World, kind: FaultKind) -> None:
    someone = world.employee()
    world.ad.faults.add(kind, method="modify", times=1)
    run = await perform(world.activities().contain, unit_input(someone.guid, DISABLE, PASSWORD))
    expected = ErrorType.THROTTLED if kind is FaultKind.THROTTLE else ErrorType.UNAVAILABLE
    assert [err.type for err in run.errors] == [expected]
    assert [effect.outcome for effect in run.result.effects] == [Outcome.VERIFIED] * 2
    assert run.effect(DISABLE).writes == 1
    assert committed(world, "modify userAccountControl") == 1
    assert committed(world, "modify unicodePwd") == 2
    assert [attempt.error for attempt in run.result.attempts] == [expected, None]


async def test_a_reply_lost_after_commit_is_verified_with_one_write(world: World) -> None:
    someone = world.employee()
    world.ad.faults.add(FaultKind.DROP_AFTER_COMMIT, operation="userAccountControl")
    run = await perform(world.activities().contain, unit_input(someone.guid, DISABLE))
    assert run.errors == []
    assert run.effect(DISABLE).outcome is Outcome.VERIFIED
    assert run.effect(DISABLE).writes == 1
    assert written(world, "modify userAccountControl") == 1


async def test_a_request_lost_before_commit_is_not_called_done(world: World) -> None:
    someone = world.employee()
    world.ad.faults.add(FaultKind.DROP_BEFORE_COMMIT, operation="userAccountControl")
    impatient = ReadBack(
        agree=2,
        interval=timedelta(milliseconds=10),
        deadline=timedelta(seconds=0.3),
        rewrite_after=timedelta(),
    )
    activities = AdActivities(world.client(), impatient)
    run = await perform(activities.contain, unit_input(someone.guid, DISABLE))
    assert [err.type for err in run.errors] == [ErrorType.NOT_YET_EFFECTIVE]
    assert run.effect(DISABLE).outcome is Outcome.VERIFIED
    assert run.effect(DISABLE).writes == 2
    assert committed(world, "modify userAccountControl") == 1


@pytest.mark.parametrize("skip", [0, 1])
async def test_a_lost_reply_to_either_reset_leads_to_two_resets(world: World, skip: int) -> None:
    someone = world.employee()
    world.ad.faults.add(FaultKind.DROP_AFTER_COMMIT, operation="unicodePwd", skip=skip)
    run = await perform(world.activities().contain, unit_input(someone.guid, PASSWORD))
    assert run.errors == []
    effect = run.effect(PASSWORD)
    assert effect.outcome is Outcome.VERIFIED
    assert effect.after["password_version"] == effect.before["password_version"] + 2  # type: ignore[operator]
    assert written(world, "modify unicodePwd") == 2


@pytest.mark.parametrize("skip", [0, 1])
async def test_a_reset_that_never_arrived_is_done_again_at_once(world: World, skip: int) -> None:
    someone = world.employee()
    world.ad.faults.add(FaultKind.DROP_BEFORE_COMMIT, operation="unicodePwd", skip=skip)
    run = await perform(world.activities().contain, unit_input(someone.guid, PASSWORD))
    assert run.errors == []
    effect = run.effect(PASSWORD)
    assert effect.after["password_version"] == effect.before["password_version"] + 2  # type: ignore[operator]
    assert committed(world, "modify unicodePwd") == 2


async def test_a_refused_second_reset_keeps_the_state_before(world: World) -> None:
    someone = world.employee()
    was = world.client().get(someone.guid)
    assert was is not None
    world.ad.faults.add(FaultKind.THROTTLE, operation="unicodePwd", skip=1)
    run = await perform(world.activities().contain, unit_input(someone.guid, PASSWORD))
    assert [err.type for err in run.errors] == [ErrorType.THROTTLED]
    effect = run.effect(PASSWORD)
    assert effect.outcome is Outcome.VERIFIED
    assert effect.before["password_version"] == was.password_version
    assert committed(world, "modify unicodePwd") == 3


async def test_a_stale_read_after_the_write_is_read_again(world: World) -> None:
    someone = world.employee()
    world.ad.faults.add(FaultKind.STALE_READS, method="search", times=2, skip=2)
    run = await perform(world.activities().contain, unit_input(someone.guid, DISABLE))
    assert run.errors == []
    assert run.effect(DISABLE).outcome is Outcome.VERIFIED
    assert written(world, "modify userAccountControl") == 1
    stale = [record for record in world.ad.log.records if record.fault == "stale_reads"]
    assert len(stale) == 2


async def test_a_lost_attempt_is_not_repeated_when_the_reset_is_ours(world: World) -> None:
    someone = world.employee()
    intake = (await resolve(world, person(someone.number))).account
    assert intake is not None
    not_before = datetime.now(UTC) - timedelta(seconds=1)
    arg = unit_input(someone.guid, DISABLE, PASSWORD, before=dict(intake.before), not_before=not_before)
    # The worker wrote everything and was killed before its notes went out.
    await perform(world.activities().contain, arg)
    assert written(world, "modify unicodePwd") == 2
    world.ad.faults.add(FaultKind.THROTTLE, method="search", times=1)
    run = await perform(world.activities().contain, arg, lose_heartbeats=True)
    assert run.result.attempts[0].lost
    assert [effect.outcome for effect in run.result.effects] == [Outcome.VERIFIED] * 2
    assert run.effect(DISABLE).before == {"account_enabled": True}
    assert run.effect(PASSWORD).before["password_version"] == intake.before["password_version"]
    assert written(world, "modify unicodePwd") == 2
    assert written(world, "modify userAccountControl") == 1


async def test_a_password_the_person_set_before_is_not_taken_for_ours(world: World) -> None:
    someone = world.employee()
    intake = (await resolve(world, person(someone.number))).account
    assert intake is not None
    world.set_password(someone.dn, "First-0wn-Choice!")
    world.set_password(someone.dn, "Second-0wn-Choice!")
    later = datetime.now(UTC) + timedelta(seconds=1)
    arg = unit_input(someone.guid, PASSWORD, before=dict(intake.before), not_before=later, run=2)
    run = await perform(world.activities().contain, arg)
    assert run.effect(PASSWORD).outcome is Outcome.VERIFIED
    assert committed(world, "modify unicodePwd") == 2


async def test_a_protected_account_is_open_and_says_what_is_missing(world: World) -> None:
    someone = world.employee()
    world.protect(someone.dn)
    run = await perform(world.activities().contain, unit_input(someone.guid, DISABLE, PASSWORD))
    assert [effect.outcome for effect in run.result.effects] == [Outcome.OPEN] * 2
    assert {effect.reason for effect in run.result.effects} == {Reason.ACCESS_DENIED}
    assert "Reset Password" in run.effect(PASSWORD).detail
    assert run.effect(DISABLE).writes == 0


async def test_a_deleted_account_is_absent_only_when_it_stays_away(world: World) -> None:
    someone = world.employee()
    world.ad.faults.add(FaultKind.NOT_FOUND_ONCE, method="search", path=someone.guid)
    run = await perform(world.activities().contain, unit_input(someone.guid, DISABLE))
    assert [err.type for err in run.errors] == [ErrorType.UNAVAILABLE]
    assert run.effect(DISABLE).outcome is Outcome.VERIFIED
    world.ask("delete", someone.dn)
    arg = unit_input(someone.guid, DISABLE, PASSWORD)
    run = await perform(world.activities().contain, arg)
    assert [effect.outcome for effect in run.result.effects] == [Outcome.ABSENT] * 2
    assert run.effect(DISABLE).after == {"exists": False}


async def test_a_wrong_credential_and_an_unreachable_server_are_visible(world: World) -> None:
    activities = world.activities(password=SecretStr("Wrong-Passw0rd"))
    run = await perform(activities.contain, unit_input(NOBODY, DISABLE))
    effect = run.effect(DISABLE)
    assert (effect.outcome, effect.reason) == (Outcome.OPEN, Reason.INVALID_CREDENTIALS)
    assert "refused the service account" in effect.detail
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        activities = world.activities(servers=(f"ldaps://127.0.0.1:{closed.getsockname()[1]}",))
        with pytest.raises(ApplicationError) as caught:
            await perform(activities.contain, unit_input(NOBODY, DISABLE), attempts=1)
    assert caught.value.type == ErrorType.UNAVAILABLE


async def test_the_old_password_is_dead(world: World) -> None:
    someone = world.employee()
    await perform(world.activities().contain, unit_input(someone.guid, PASSWORD))
    connection = bound(world.ad.url, world.ad.ca_file)
    assert not connection.rebind(user=someone.user_name, password=someone.password, authentication="SIMPLE")
    assert "data 52e" in connection.result["message"]
    connection.unbind()


# -- entitlements ----------------------------------------------------------------------------------------


async def test_leaves_every_direct_group_and_moves(world: World) -> None:
    groups = [world.group(), world.group()]
    outer = world.group()
    world.ask("modify", outer, {"member": [("MODIFY_ADD", [groups[0]])]})
    someone, other = world.employee(groups=tuple(groups)), world.employee(groups=tuple(groups))
    guids = sorted(world.guid(group) for group in groups)
    staff, leavers = world.guid(STAFF), world.guid(LEAVERS)
    arg = unit_input(someone.guid, GROUPS, MOVE, parameters=OU)
    run = await perform(world.activities().entitlements, arg)
    left, moved = run.effect(GROUPS), run.effect(MOVE)
    assert left.outcome is Outcome.VERIFIED
    assert (left.before, left.after) == ({"groups": guids}, {"groups": []})
    assert moved.outcome is Outcome.VERIFIED
    assert moved.before == {"container": staff, "in_leavers_ou": False}
    assert moved.after == {"container": leavers, "in_leavers_ou": True}
    assert all(record.objects == [someone.guid] for record in world.writes)
    assert world.client().groups(other.guid) == tuple(guids)
    text = run.result.model_dump_json()
    assert "OU=" not in text.replace(LEAVERS, "")
    again = await perform(world.activities().entitlements, arg)
    assert [effect.outcome for effect in again.result.effects] == [Outcome.ALREADY] * 2


async def test_a_group_that_cannot_be_left_is_open_and_the_others_are_left(world: World) -> None:
    locked, free = world.group(), world.group()
    someone = world.employee(groups=(locked, free))
    world.protect(locked)
    locked_guid = world.guid(locked)
    arg = unit_input(someone.guid, GROUPS, MOVE, parameters=OU)
    run = await perform(world.activities().entitlements, arg)
    effect = run.effect(GROUPS)
    assert (effect.outcome, effect.reason) == (Outcome.OPEN, Reason.LEFT_BEHIND)
    assert effect.after == {"groups": [locked_guid], "left": [locked_guid]}
    assert len(effect.before["groups"]) == 2  # type: ignore[arg-type]
    assert run.effect(MOVE).outcome is Outcome.VERIFIED


@pytest.mark.parametrize("kind", [FaultKind.DROP_AFTER_COMMIT, FaultKind.DROP_BEFORE_COMMIT])
async def test_a_lost_reply_while_leaving_groups(world: World, kind: FaultKind) -> None:
    groups = tuple(world.group() for _ in range(3))
    someone = world.employee(groups=groups)
    guids = sorted(world.guid(group) for group in groups)
    world.ad.faults.add(kind, operation="member", skip=1)
    run = await perform(world.activities().entitlements, unit_input(someone.guid, GROUPS))
    assert run.errors == []
    assert run.effect(GROUPS).outcome is Outcome.VERIFIED
    assert run.effect(GROUPS).before == {"groups": guids}
    assert committed(world, "modify member") == 3


async def test_a_busy_server_in_the_middle_keeps_the_list_from_before(world: World) -> None:
    groups = tuple(world.group() for _ in range(3))
    someone = world.employee(groups=groups)
    guids = sorted(world.guid(group) for group in groups)
    world.ad.faults.add(FaultKind.THROTTLE, operation="member", skip=1)
    run = await perform(world.activities().entitlements, unit_input(someone.guid, GROUPS))
    assert [err.type for err in run.errors] == [ErrorType.THROTTLED]
    assert run.effect(GROUPS).before == {"groups": guids}
    assert run.effect(GROUPS).after == {"groups": []}
    assert committed(world, "modify member") == 3


async def test_a_lost_reply_to_the_move_is_verified_with_one_write(world: World) -> None:
    someone = world.employee()
    world.ad.faults.add(FaultKind.DROP_AFTER_COMMIT, method="modifyDN")
    run = await perform(world.activities().entitlements, unit_input(someone.guid, MOVE, parameters=OU))
    assert run.errors == []
    assert run.effect(MOVE).outcome is Outcome.VERIFIED
    assert written(world, "modifyDN") == 1


async def test_a_lost_attempt_of_the_move_tells_where_it_was(world: World) -> None:
    someone = world.employee()
    intake = (await resolve(world, person(someone.number))).account
    assert intake is not None
    arg = unit_input(someone.guid, MOVE, parameters=OU, before=dict(intake.before))
    await perform(world.activities().entitlements, arg)
    world.ad.faults.add(FaultKind.UNAVAILABLE, method="search", times=1)
    run = await perform(world.activities().entitlements, arg, lose_heartbeats=True)
    assert run.effect(MOVE).outcome is Outcome.VERIFIED
    assert run.effect(MOVE).before == {"container": intake.before["container"], "in_leavers_ou": False}
    assert written(world, "modifyDN") == 1


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({}, Reason.MISCONFIGURED),
        ({"leavers_ou": "OU=Nowhere,DC=corp,DC=northwind,DC=example"}, Reason.REJECTED_BY_SYSTEM),
    ],
)
async def test_a_missing_leavers_ou_is_for_a_person(
    world: World, parameters: dict[str, str], reason: Reason
) -> None:
    someone = world.employee()
    arg = unit_input(someone.guid, MOVE, parameters=dict(parameters))
    run = await perform(world.activities().entitlements, arg)
    assert (run.effect(MOVE).outcome, run.effect(MOVE).reason) == (Outcome.OPEN, reason)
    assert world.writes == []


async def test_a_taken_name_in_the_leavers_ou_is_for_a_person(world: World) -> None:
    name = f"Two People {uuid.uuid4().hex[:6]}"
    world.employee(name=name, ou=LEAVERS)
    someone = world.employee(name=name)
    run = await perform(world.activities().entitlements, unit_input(someone.guid, MOVE, parameters=OU))
    effect = run.effect(MOVE)
    assert (effect.outcome, effect.reason) == (Outcome.OPEN, Reason.REJECTED_BY_SYSTEM)
    assert name not in run.result.model_dump_json()


# -- verify ----------------------------------------------------------------------------------------------


async def contained(world: World) -> tuple[Employee, dict[str, Any], dict[str, Any]]:
    """A contained employee, what intake read and what containment proved."""
    someone = world.employee()
    intake = (await resolve(world, person(someone.number))).account
    assert intake is not None
    arg = unit_input(someone.guid, DISABLE, PASSWORD, before=dict(intake.before))
    run = await perform(world.activities().contain, arg)
    proven = {effect.step: effect.after for effect in run.result.effects}
    world.ad.log.records.clear()
    return someone, dict(intake.before), proven


@pytest.mark.parametrize("told", [True, False])
async def test_what_holds_is_verified_again(world: World, told: bool) -> None:
    someone, before, proven = await contained(world)
    arg = unit_input(someone.guid, DISABLE, PASSWORD, before=before, parameters=proven if told else {})
    run = await perform(world.activities().verify, arg)
    assert [effect.outcome for effect in run.result.effects] == [Outcome.VERIFIED] * 2
    assert world.writes == []


async def test_a_re_enabled_account_is_found(world: World) -> None:
    someone, before, _ = await contained(world)
    world.ask("modify", someone.dn, {"userAccountControl": [("MODIFY_REPLACE", ["512"])]})
    run = await perform(world.activities().verify, unit_input(someone.guid, DISABLE, PASSWORD, before=before))
    effect = run.effect(DISABLE)
    assert (effect.outcome, effect.reason) == (Outcome.OPEN, Reason.LEFT_BEHIND)
    assert effect.after == {"account_enabled": True}
    assert run.effect(PASSWORD).outcome is Outcome.VERIFIED
    assert world.writes == []


@pytest.mark.parametrize("told", [True, False])
async def test_a_password_set_since_is_found(world: World, told: bool) -> None:
    someone, before, proven = await contained(world)
    world.set_password(someone.dn, "Back-1n-again!")
    long_ago = datetime.now(UTC) - timedelta(minutes=10)
    arg = unit_input(
        someone.guid, PASSWORD, before=before, parameters=proven if told else {}, not_before=long_ago
    )
    run = await perform(world.activities().verify, arg)
    effect = run.effect(PASSWORD)
    assert (effect.outcome, effect.reason) == (Outcome.OPEN, Reason.LEFT_BEHIND)
    assert "set again" in effect.detail


async def test_a_password_that_was_never_reset_is_found(world: World) -> None:
    someone = world.employee()
    intake = (await resolve(world, person(someone.number))).account
    assert intake is not None
    arg = unit_input(someone.guid, DISABLE, PASSWORD, before=dict(intake.before))
    run = await perform(world.activities().verify, arg)
    assert [effect.reason for effect in run.result.effects] == [Reason.LEFT_BEHIND] * 2
    assert world.writes == []


async def test_an_account_that_was_gone_is_still_gone_or_back(world: World) -> None:
    someone = world.employee()
    proven: dict[str, Any] = {step: {"exists": False} for step in (DISABLE, PASSWORD)}
    arg = unit_input(someone.guid, DISABLE, PASSWORD, parameters=proven)
    run = await perform(world.activities().verify, arg)
    assert [(e.outcome, e.reason) for e in run.result.effects] == [(Outcome.OPEN, Reason.LEFT_BEHIND)] * 2
    world.ask("delete", someone.dn)
    run = await perform(world.activities().verify, arg)
    assert [effect.outcome for effect in run.result.effects] == [Outcome.VERIFIED] * 2
    unexpected = await perform(world.activities().verify, unit_input(someone.guid, DISABLE))
    assert unexpected.effect(DISABLE).outcome is Outcome.ABSENT
    assert unexpected.effect(DISABLE).detail
