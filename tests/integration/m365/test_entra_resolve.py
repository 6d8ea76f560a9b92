"""Who the leaver is: by employee number first, never by guess."""

from __future__ import annotations

import base64
import uuid

import pytest
from temporalio.exceptions import ApplicationError

from activities.entra import EntraActivities
from leaver.domain.account import LinkRule, ResolveInput, ResolveResult
from leaver.domain.event import Person
from leaver.domain.words import ErrorType, Mode, Reason
from leaver.simulators.company import person
from leaver.simulators.faults import FaultKind
from leaver.simulators.m365.simulator import M365Simulator
from tests.support.m365_runs import READ_BACK, Clients, perform, writes

SAMPLE = person("E1001")


def asked(number: str = "E1001", **more: object) -> ResolveInput:
    fields: dict[str, object] = {"externalId": number, "userName": None, "emails": ()}
    successor = more.pop("successor_email", None)
    return ResolveInput.model_validate(
        {
            "case": "c-test",
            "person": Person.model_validate(fields | more),
            "mode": Mode.ENFORCE,
            "successor_email": successor,
        }
    )


async def resolve(entra: EntraActivities, arg: ResolveInput) -> ResolveResult:
    result = (await perform(entra.resolve, arg)).result
    assert isinstance(result, ResolveResult)
    assert "@" not in result.model_dump_json()
    return result


async def test_by_employee_number(entra: EntraActivities, sim: M365Simulator) -> None:
    # The name belongs to somebody else by now; the number decides.
    found = await resolve(entra, asked(userName=person("E1004").user_name))

    assert found.account is not None
    assert found.account.id == SAMPLE.object_id
    assert found.account.rule is LinkRule.EMPLOYEE_ID
    assert found.account.before["account_enabled"] is True
    assert found.account.before["password_changed_at"] is not None
    assert not found.account.synced
    assert writes(sim) == []


async def test_by_user_name_then_by_mail(entra: EntraActivities, sim: M365Simulator) -> None:
    with sim.tenant.users.change(SAMPLE.object_id, at=0) as user:
        user.employee_id = None
        user.upn = "ml-0815@northwind.example"
    by_name = await resolve(entra, asked(userName="ml-0815@northwind.example"))
    by_mail = await resolve(entra, asked(emails=(SAMPLE.user_name,)))

    assert by_name.account is not None
    assert by_name.account.rule is LinkRule.USER_NAME
    assert by_mail.account is not None
    assert (by_mail.account.id, by_mail.account.rule) == (SAMPLE.object_id, LinkRule.MAIL)


async def test_a_synced_user_leads_to_its_ad_object(entra: EntraActivities, sim: M365Simulator) -> None:
    guid = uuid.uuid4()
    with sim.tenant.users.change(person("E1002").object_id, at=0) as user:
        user.immutable_id = base64.b64encode(guid.bytes_le).decode()
    found = await resolve(entra, asked("E1002"))

    assert found.account is not None
    assert found.account.synced
    assert found.account.linked_id == str(guid)


async def test_two_users_with_the_number_are_ambiguous(entra: EntraActivities, sim: M365Simulator) -> None:
    with sim.tenant.users.change(person("E1004").object_id, at=0) as user:
        user.employee_id = "E1001"
    found = await resolve(entra, asked())

    assert (found.account, found.reason) == (None, Reason.AMBIGUOUS_ACCOUNT)


async def test_an_address_of_two_people_is_ambiguous(entra: EntraActivities, sim: M365Simulator) -> None:
    with sim.tenant.users.change(person("E1004").object_id, at=0) as user:
        user.mail = SAMPLE.user_name
    found = await resolve(entra, asked("E9999", emails=(SAMPLE.user_name,)))

    assert (found.account, found.reason) == (None, Reason.AMBIGUOUS_ACCOUNT)


@pytest.mark.parametrize("field", ["userName", "emails"])
async def test_a_recycled_address_is_the_wrong_person(entra: EntraActivities, field: str) -> None:
    value = SAMPLE.user_name if field == "userName" else (SAMPLE.user_name,)
    found = await resolve(entra, asked("E9999", **{field: value}))

    assert (found.account, found.reason) == (None, Reason.WRONG_PERSON)


async def test_nobody_is_an_answer_that_was_read_twice(entra: EntraActivities, sim: M365Simulator) -> None:
    found = await resolve(entra, asked("E9999", userName="nobody@northwind.example"))

    assert (found.account, found.reason, found.detail) == (None, None, "")
    searches = [r for r in sim.requests if r.operation == "/users" and r.method == "GET"]
    assert len(searches) == 2 * 3


async def test_a_lagging_search_is_not_absence(entra: EntraActivities, sim: M365Simulator) -> None:
    with sim.tenant.users.change(SAMPLE.object_id) as user:
        user.employee_id = "E7777"
    sim.tenant.clock.advance(2)
    sim.faults.add(FaultKind.STALE_READS, operation="^/users$", times=1)
    run = await perform(entra.resolve, asked("E7777"))

    assert [error.type for error in run.errors] == [ErrorType.UNAVAILABLE]
    assert run.result.account.id == SAMPLE.object_id


async def test_a_deleted_user_is_noted(entra: EntraActivities, sim: M365Simulator) -> None:
    sim.tenant.delete_user(SAMPLE.object_id)
    sim.tenant.clock.advance(5)
    found = await resolve(entra, asked())

    assert (found.account, found.reason) == (None, None)
    assert "restorable" in found.detail


async def test_quotes_in_a_number_stay_inside_the_filter(entra: EntraActivities) -> None:
    found = await resolve(entra, asked("E1' or employeeId eq 'E1001"))

    assert found.account is None


async def test_the_successor_is_found_and_must_be_able(entra: EntraActivities, sim: M365Simulator) -> None:
    manager = person("E2001")
    found = await resolve(entra, asked(successor_email=manager.user_name))
    assert found.successor is not None
    assert found.successor.id == manager.object_id

    own = await resolve(entra, asked(successor_email=SAMPLE.user_name))
    assert (own.successor, own.detail) == (None, "successor: is the leaver")

    nobody = await resolve(entra, asked(successor_email="nobody@northwind.example"))
    assert (nobody.successor, nobody.detail) == (None, "successor: 0 users have this address")

    with sim.tenant.users.change(manager.object_id, at=0) as user:
        user.enabled = False
    disabled = await resolve(entra, asked(successor_email=manager.user_name))
    assert (disabled.successor, disabled.detail) == (None, "successor: is disabled")
    assert disabled.account is not None


async def test_hidden_properties_are_a_missing_right(entra: EntraActivities, sim: M365Simulator) -> None:
    with sim.tenant.apps.change(sim.tenant.app.id) as app:
        app.permissions = ["GroupMember.ReadWrite.All"]
    found = await resolve(entra, asked())

    assert found.reason is Reason.ACCESS_DENIED
    assert "User.Read.All" in found.detail


async def test_throttled_search_tells_temporal_when(entra: EntraActivities, sim: M365Simulator) -> None:
    sim.faults.add(FaultKind.THROTTLE, retry_after=7, operation="^/users$")
    run = await perform(entra.resolve, asked())

    assert run.errors[0].next_retry_delay is not None
    assert run.errors[0].next_retry_delay.total_seconds() == 7
    assert run.result.account is not None


async def test_a_wrong_secret_is_a_reason(clients: Clients) -> None:
    entra = EntraActivities(clients.entra(secret="wrong"), READ_BACK)
    found = await resolve(entra, asked())

    assert found.reason is Reason.INVALID_CREDENTIALS


async def test_an_unreachable_tenant_is_retried(clients: Clients) -> None:
    entra = EntraActivities(clients.entra(url="https://127.0.0.1:9/v1.0"), READ_BACK)
    with pytest.raises(ApplicationError) as caught:
        await perform(entra.resolve, asked(), attempts=1)
    assert caught.value.type == ErrorType.UNAVAILABLE
