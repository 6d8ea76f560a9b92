"""Users and sign-in methods in the simulated Graph, held to the vendor's contract."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

from leaver.simulators.company import person
from leaver.simulators.m365 import M365Simulator
from leaver.simulators.m365.graph_methods import DELETABLE
from leaver.simulators.m365.state import AuthMethod, MethodKind
from tests.support.graph_contract import ContractViolation
from tests.support.m365_clients import Apis

MIRA = person("E1001").object_id
TOMAS = person("E1002").object_id
INGRID = person("E1006").object_id
HELENA = person("E2001").object_id
PASSWORD = {"passwordProfile": {"password": "Correct-Horse-7", "forceChangePasswordNextSignIn": True}}


def error(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


async def test_properties_beyond_the_default_come_only_when_selected(apis: Apis) -> None:
    plain = (await apis.graph.get(f"/users/{MIRA}")).json()
    assert "accountEnabled" not in plain
    assert "employeeId" not in plain
    wanted = "id,accountEnabled,employeeId,signInSessionsValidFromDateTime,licenseAssignmentStates"
    chosen = (await apis.graph.get(f"/users/{MIRA}", params={"$select": wanted})).json()
    assert set(wanted.split(",")) == {key for key in chosen if not key.startswith("@")}
    assert chosen["accountEnabled"] is True
    assert error(await apis.graph.get(f"/users/{MIRA}?$select=acountEnabled")) == (400, "BadRequest")


@pytest.mark.parametrize(
    "clause",
    [
        "employeeId eq 'E1001'",
        "userPrincipalName eq 'mira.lindqvist@northwind.example'",
        "mail eq 'MIRA.LINDQVIST@northwind.example'",
        "proxyAddresses/any(x:x eq 'SMTP:mira.lindqvist@northwind.example')",
        "employeeId eq 'nobody' or employeeId eq 'E1001'",
        "accountEnabled eq true and employeeId eq 'E1001'",
    ],
)
async def test_a_filter_finds_the_person(apis: Apis, clause: str) -> None:
    params = {"$filter": clause, "$select": "id", "$count": "true"}
    response = await apis.graph.get("/users", params=params, headers={"ConsistencyLevel": "eventual"})
    assert [user["id"] for user in response.json()["value"]] == [MIRA]


async def test_a_filter_that_the_vendor_does_not_know_is_refused(apis: Apis) -> None:
    unsupported = await apis.graph.get("/users", params={"$filter": "givenName eq 'Mira'"})
    assert error(unsupported) == (400, "Request_UnsupportedQuery")
    malformed = await apis.graph.get("/users", params={"$filter": "employeeId = 'E1001'"})
    assert error(malformed) == (400, "BadRequest")


async def test_one_patch_disables_and_sets_the_password(apis: Apis, sim: M365Simulator) -> None:
    before = sim.tenant.user("E1001")
    response = await apis.graph.patch(f"/users/{MIRA}", json={"accountEnabled": False, **PASSWORD})
    assert response.status_code == 204
    after = sim.tenant.user("E1001")
    assert (after.enabled, after.password_changes) == (False, before.password_changes + 1)
    assert after.sessions_valid_from == before.sessions_valid_from, "a patch revokes nothing"
    [write] = sim.log.mutations()
    assert write.objects == [MIRA]
    assert write.summary == {"accountEnabled": False, "passwordProfile": True}


async def test_a_weak_password_fails_the_whole_patch(apis: Apis, sim: M365Simulator) -> None:
    body = {"accountEnabled": False, "passwordProfile": {"password": "short"}}
    assert error(await apis.graph.patch(f"/users/{MIRA}", json=body)) == (400, "Request_BadRequest")
    assert sim.tenant.user("E1001").enabled is True


async def test_synced_people_have_their_password_on_premises(apis: Apis, sim: M365Simulator) -> None:
    response = await apis.graph.patch(f"/users/{TOMAS}", json={"accountEnabled": False, **PASSWORD})
    assert error(response) == (400, "Request_BadRequest")
    assert "on-premises mastered Directory Sync objects" in response.json()["error"]["message"]
    assert sim.tenant.user("E1002").enabled is True
    assert (await apis.graph.patch(f"/users/{TOMAS}", json={"accountEnabled": False})).status_code == 204
    assert sim.tenant.user("E1002").enabled is False


async def test_directory_sync_overwrites_what_was_done_in_the_cloud(apis: Apis, sim: M365Simulator) -> None:
    await apis.graph.patch(f"/users/{TOMAS}", json={"accountEnabled": False})
    key = person("E1002").immutable_id
    assert key is not None
    assert sim.tenant.apply_directory_sync(key, enabled=True, in_scope=True)
    assert sim.tenant.user("E1002").enabled is True


async def test_leaving_the_synced_ous_deletes_user_and_mailbox_and_coming_back_restores(
    apis: Apis, sim: M365Simulator
) -> None:
    key = person("E1002").immutable_id
    assert key is not None
    sim.tenant.apply_directory_sync(key, enabled=False, in_scope=False)
    assert error(await apis.graph.get(f"/users/{TOMAS}")) == (404, "Request_ResourceNotFound")
    bin_ = (await apis.graph.get("/directory/deletedItems/microsoft.graph.user")).json()["value"]
    assert [item["id"] for item in bin_] == [TOMAS]
    assert sim.tenant.mailbox("E1002").soft_deleted is not None
    sim.tenant.apply_directory_sync(key, enabled=False, in_scope=True)
    restored = await apis.graph.get(f"/users/{TOMAS}?$select=id,accountEnabled")
    assert restored.json()["accountEnabled"] is False
    assert sim.tenant.mailbox("E1002").soft_deleted is None


async def test_administrators_need_an_administrator(apis: Apis, sim: M365Simulator) -> None:
    response = await apis.graph.patch(f"/users/{INGRID}", json={"accountEnabled": False})
    assert error(response) == (403, "Authorization_RequestDenied")
    with sim.tenant.apps.change(sim.tenant.app.id) as app:
        app.directory_roles.append("Privileged Authentication Administrator")
    assert (await apis.graph.patch(f"/users/{INGRID}", json={"accountEnabled": False})).status_code == 204


@pytest.mark.parametrize(
    ("missing", "body"),
    [
        ("User.EnableDisableAccount.All", {"accountEnabled": False}),
        ("User-PasswordProfile.ReadWrite.All", PASSWORD),
    ],
)
async def test_each_property_wants_its_permission(
    apis: Apis, sim: M365Simulator, missing: str, body: dict[str, Any]
) -> None:
    with sim.tenant.apps.change(sim.tenant.app.id) as app:
        app.permissions.remove(missing)
    assert error(await apis.graph.patch(f"/users/{MIRA}", json=body)) == (403, "Authorization_RequestDenied")


async def test_revoking_moves_the_moment_from_which_sessions_count(apis: Apis) -> None:
    response = await apis.graph.post(f"/users/{MIRA}/revokeSignInSessions")
    assert (response.status_code, response.json()["value"]) == (200, True)
    user = (await apis.graph.get(f"/users/{MIRA}?$select=signInSessionsValidFromDateTime")).json()
    moved = datetime.fromisoformat(user["signInSessionsValidFromDateTime"])
    assert moved >= parsedate_to_datetime(response.headers["Date"])
    assert moved.microsecond == 0
    assert moved <= datetime.now(UTC)


async def test_revoking_does_nothing_to_guests(apis: Apis, sim: M365Simulator) -> None:
    with sim.tenant.users.change(MIRA) as user:
        user.user_type = "Guest"
    before = sim.tenant.user("E1001").sessions_valid_from
    assert (await apis.graph.post(f"/users/{MIRA}/revokeSignInSessions")).status_code == 200
    assert sim.tenant.user("E1001").sessions_valid_from == before


async def test_a_read_after_a_write_shows_the_old_state_for_a_while(apis: Apis, sim: M365Simulator) -> None:
    sim.tenant.delays.consistency = 0.25
    await apis.graph.patch(f"/users/{MIRA}", json={"accountEnabled": False})
    url = f"/users/{MIRA}?$select=accountEnabled"
    assert (await apis.graph.get(url)).json()["accountEnabled"] is True
    await asyncio.sleep(0.3)
    assert (await apis.graph.get(url)).json()["accountEnabled"] is False


async def test_the_default_method_goes_last_and_each_kind_has_its_endpoint(
    apis: Apis, sim: M365Simulator
) -> None:
    base = f"/users/{MIRA}/authentication"
    listed = (await apis.graph.get(f"{base}/methods")).json()["value"]
    kinds = {item["@odata.type"].rpartition(".")[2]: item["id"] for item in listed}
    assert set(kinds) == {
        "passwordAuthenticationMethod",
        "phoneAuthenticationMethod",
        "microsoftAuthenticatorAuthenticationMethod",
        "fido2AuthenticationMethod",
    }
    phone = f"{base}/phoneMethods/{kinds['phoneAuthenticationMethod']}"
    app = f"{base}/microsoftAuthenticatorMethods/{kinds['microsoftAuthenticatorAuthenticationMethod']}"
    key = f"{base}/fido2Methods/{kinds['fido2AuthenticationMethod']}"
    assert error(await apis.graph.delete(phone)) == (400, "badRequest")
    assert error(await apis.graph.delete(app.replace("microsoftAuthenticator", "softwareOath")))[0] == 404
    for url in (app, key, phone):
        assert (await apis.graph.delete(url)).status_code == 204
    assert error(await apis.graph.delete(phone)) == (404, "resourceNotFound")
    assert [method.kind for method in sim.tenant.user("E1001").methods] == [MethodKind.PASSWORD]


async def test_there_is_no_generic_delete_of_methods(apis: Apis, sim: M365Simulator) -> None:
    method = next(m for m in sim.tenant.user("E1001").methods if m.kind is MethodKind.FIDO2)
    with pytest.raises(ContractViolation, match="DELETE"):
        await apis.graph.delete(f"/users/{MIRA}/authentication/methods/{method.id}")
    assert sim.requests[-1].status == 405
    assert method in sim.tenant.user("E1001").methods


@pytest.mark.parametrize("kind", DELETABLE)
async def test_every_kind_can_be_listed_and_deleted(apis: Apis, sim: M365Simulator, kind: MethodKind) -> None:
    sim.tenant.add_method(HELENA, AuthMethod(id="extra-1", kind=kind))
    listed = (await apis.graph.get(f"/users/{HELENA}/authentication/methods")).json()["value"]
    assert "extra-1" in {item["id"] for item in listed}
    url = f"/users/{HELENA}/authentication/{kind.value}Methods"
    assert "extra-1" in {item["id"] for item in (await apis.graph.get(url)).json()["value"]}
    assert (await apis.graph.delete(f"{url}/extra-1")).status_code == 204


async def test_a_qr_code_is_listed_and_cannot_be_deleted_in_this_version(
    apis: Apis, sim: M365Simulator
) -> None:
    sim.tenant.add_method(HELENA, AuthMethod(id="extra-1", kind=MethodKind.QR_CODE_PIN))
    base = f"/users/{HELENA}/authentication"
    listed = (await apis.graph.get(f"{base}/methods")).json()["value"]
    assert "#microsoft.graph.qrCodePinAuthenticationMethod" in {item["@odata.type"] for item in listed}
    with pytest.raises(ContractViolation):
        await apis.graph.delete(f"{base}/qrCodePinMethods/extra-1")
    assert sim.requests[-1].status == 400


async def test_the_mobile_number_waits_for_the_alternate_one(apis: Apis, sim: M365Simulator) -> None:
    extra = AuthMethod(id="alternate", kind=MethodKind.PHONE, phone_type="alternateMobile")
    with sim.tenant.users.change(MIRA) as user:
        user.methods = [m.model_copy(update={"default": False}) for m in user.methods] + [extra]
    mobile = next(m.id for m in sim.tenant.user("E1001").methods if m.kind is MethodKind.PHONE)
    base = f"/users/{MIRA}/authentication/phoneMethods"
    assert error(await apis.graph.delete(f"{base}/{mobile}"))[0] == 400
    assert (await apis.graph.delete(f"{base}/alternate")).status_code == 204
    assert (await apis.graph.delete(f"{base}/{mobile}")).status_code == 204


async def test_deleting_fills_the_bin_kills_the_mailbox_and_can_be_undone(
    apis: Apis, sim: M365Simulator
) -> None:
    assert (await apis.graph.delete(f"/users/{MIRA}")).status_code == 204
    assert error(await apis.graph.delete(f"/users/{MIRA}"))[0] == 404
    assert sim.tenant.mailbox("E1001").soft_deleted is not None
    assert (await apis.graph.get(f"/directory/deletedItems/{MIRA}")).json()["id"] == MIRA
    assert (await apis.graph.post(f"/directory/deletedItems/{MIRA}/restore")).status_code == 200
    assert sim.tenant.user("E1001").enabled is True, "restored as it was, so it can sign in again"


async def test_the_manager_is_an_object_or_a_404(apis: Apis) -> None:
    assert (await apis.graph.get(f"/users/{MIRA}/manager")).json()["id"] == HELENA
    assert error(await apis.graph.get(f"/users/{HELENA}/manager"))[0] == 404


async def test_a_misspelt_property_breaks_the_contract(apis: Apis) -> None:
    with pytest.raises(ContractViolation, match="acountEnabled"):
        await apis.graph.patch(f"/users/{MIRA}", json={"acountEnabled": False})


async def test_an_invented_property_in_an_answer_breaks_the_contract(apis: Apis, graph_contract: Any) -> None:
    response = await apis.graph.get(f"/users/{MIRA}/manager")
    invented = httpx.Response(
        200,
        json={**response.json(), "isLeaving": True},
        request=response.request,
        headers={"request-id": "x"},
    )
    with pytest.raises(ContractViolation, match="isLeaving"):
        graph_contract.check(invented)
