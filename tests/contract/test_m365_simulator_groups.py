"""Groups, licences and batches in the simulated Graph, held to the vendor's contract."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from leaver.simulators.company import GROUPS, SKUS, person, stable_id
from leaver.simulators.faults import FaultKind
from leaver.simulators.m365 import M365Simulator
from leaver.simulators.m365.state import Licence
from tests.support.graph_contract import ContractViolation
from tests.support.m365_clients import Apis

MIRA = person("E1001").object_id
TOMAS = person("E1002").object_id
PRIYA = person("E1003").object_id
INGRID = person("E1006").object_id
IDS = {group.key: group.object_id for group in GROUPS}


def error(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


async def test_memberships_come_in_pages(apis: Apis, sim: M365Simulator) -> None:
    sim.tenant.page_size = 2
    url: str | None = f"/users/{MIRA}/memberOf"
    found: list[str] = []
    pages = 0
    while url is not None:
        body = (await apis.graph.get(url)).json()
        assert all(item["@odata.type"] == "#microsoft.graph.group" for item in body["value"])
        found += [item["id"] for item in body["value"]]
        url, pages = body.get("@odata.nextLink"), pages + 1
    assert pages == 3
    assert sorted(found) == sorted(IDS[key] for key in person("E1001").groups)


async def test_page_size_can_be_asked_for(apis: Apis) -> None:
    body = (await apis.graph.get(f"/users/{MIRA}/memberOf/graph.group?$top=3&$select=id")).json()
    assert [set(item) for item in body["value"]] == [{"id"}] * 3
    assert error(await apis.graph.get(f"/users/{MIRA}/memberOf?$top=0"))[0] == 400


async def test_nested_groups_show_only_in_the_transitive_list(apis: Apis, sim: M365Simulator) -> None:
    with sim.tenant.groups.change(IDS["role-helpdesk"]) as outer:
        outer.members.append(IDS["sec-vpn"])
    direct = (await apis.graph.get(f"/users/{MIRA}/memberOf")).json()["value"]
    every = (await apis.graph.get(f"/users/{MIRA}/transitiveMemberOf/graph.group")).json()["value"]
    assert {item["id"] for item in every} - {item["id"] for item in direct} == {IDS["role-helpdesk"]}


async def test_without_the_permission_objects_are_there_and_say_nothing(
    apis: Apis, sim: M365Simulator
) -> None:
    with sim.tenant.apps.change(sim.tenant.app.id) as app:
        app.permissions.remove("Directory.Read.All")
    items = (await apis.graph.get(f"/users/{MIRA}/memberOf")).json()["value"]
    assert {item["id"] for item in items} == {IDS[key] for key in person("E1001").groups}
    assert {item["displayName"] for item in items} == {None}


async def test_leaving_a_security_group(apis: Apis, sim: M365Simulator) -> None:
    url = f"/groups/{IDS['sec-vpn']}/members/{MIRA}/$ref"
    assert (await apis.graph.delete(url)).status_code == 204
    assert MIRA not in sim.tenant.group("sec-vpn").members
    assert error(await apis.graph.delete(url)) == (404, "Request_ResourceNotFound")
    [first, second] = sim.log.mutations()
    assert (first.objects, first.related) == ([MIRA], [IDS["sec-vpn"]])
    assert (first.status, second.status) == (204, 404)


@pytest.mark.parametrize(
    ("group", "member", "answer", "text"),
    [
        ("all-staff", MIRA, (403, "Authorization_RequestDenied"), "Insufficient privileges"),
        ("ad-file-share", TOMAS, (400, "Request_BadRequest"), "on-premises mastered"),
        ("dl-announcements", MIRA, (400, "Request_BadRequest"), "Cannot Update a mail-enabled"),
        ("mail-sec-finance", PRIYA, (400, "Request_BadRequest"), "Cannot Update a mail-enabled"),
        ("role-helpdesk", INGRID, (403, "Authorization_RequestDenied"), "Insufficient privileges"),
    ],
)
async def test_the_wrong_route_is_refused_by_class(
    apis: Apis, sim: M365Simulator, group: str, member: str, answer: tuple[int, str], text: str
) -> None:
    response = await apis.graph.delete(f"/groups/{IDS[group]}/members/{member}/$ref")
    assert error(response) == answer
    assert text in response.json()["error"]["message"]
    assert member in sim.tenant.group(group).members


async def test_role_assignable_groups_open_with_the_permission(apis: Apis, sim: M365Simulator) -> None:
    with sim.tenant.apps.change(sim.tenant.app.id) as app:
        app.permissions.append("RoleManagement.ReadWrite.Directory")
    url = f"/groups/{IDS['role-helpdesk']}/members/{INGRID}/$ref"
    assert (await apis.graph.delete(url)).status_code == 204


async def test_without_ref_the_user_is_deleted_and_the_contract_says_no(
    apis: Apis, sim: M365Simulator
) -> None:
    with pytest.raises(ContractViolation):
        await apis.graph.delete(f"/groups/{IDS['sec-vpn']}/members/{MIRA}")
    assert sim.requests[-1].status == 204
    assert sim.tenant.user("E1001").deleted is not None


async def test_the_class_of_a_group_can_be_read(apis: Apis) -> None:
    names = "id,groupTypes,mailEnabled,onPremisesSyncEnabled,isAssignableToRole,assignedLicenses"
    read = {
        key: (await apis.graph.get(f"/groups/{IDS[key]}?$select={names}")).json()
        for key in (
            "all-staff",
            "team-finance",
            "ad-file-share",
            "role-helpdesk",
            "m365-licences",
            "dl-announcements",
        )
    }
    assert read["all-staff"]["groupTypes"] == ["DynamicMembership"]
    assert (read["team-finance"]["groupTypes"], read["team-finance"]["mailEnabled"]) == (["Unified"], True)
    assert read["ad-file-share"]["onPremisesSyncEnabled"] is True
    assert read["role-helpdesk"]["isAssignableToRole"] is True
    assert [row["skuId"] for row in read["m365-licences"]["assignedLicenses"]] == [SKUS["EMSPREMIUM"]]
    assert (read["dl-announcements"]["groupTypes"], read["dl-announcements"]["mailEnabled"]) == ([], True)


async def test_members_can_be_added_once(apis: Apis, sim: M365Simulator) -> None:
    url = f"/groups/{IDS['team-finance']}/members/$ref"
    body = {"@odata.id": f"https://graph.microsoft.com/v1.0/directoryObjects/{TOMAS}"}
    assert (await apis.graph.post(url, json=body)).status_code == 204
    assert "already exist" in (await apis.graph.post(url, json=body)).json()["error"]["message"]
    listed = (await apis.graph.get(f"/groups/{IDS['team-finance']}/members")).json()["value"]
    assert TOMAS in {item["id"] for item in listed}
    assert sim.log.mutations()[0].objects == [TOMAS]


# -- licences -----------------------------------------------------------------------------------------------


async def remove(apis: Apis, user: str, *skus: str) -> httpx.Response:
    body = {"addLicenses": [], "removeLicenses": list(skus)}
    response: httpx.Response = await apis.graph.post(f"/users/{user}/assignLicense", json=body)
    return response


async def test_direct_licences_go_and_inherited_ones_stay(apis: Apis) -> None:
    assert (await remove(apis, MIRA, SKUS["POWER_BI_PRO"])).status_code == 200
    states = (await apis.graph.get(f"/users/{MIRA}?$select=licenseAssignmentStates")).json()
    rows = {row["skuId"]: row["assignedByGroup"] for row in states["licenseAssignmentStates"]}
    assert rows == {SKUS["SPE_E3"]: None, SKUS["EMSPREMIUM"]: IDS["m365-licences"]}
    details = (await apis.graph.get(f"/users/{MIRA}/licenseDetails")).json()["value"]
    assert {item["skuPartNumber"] for item in details} == {"SPE_E3", "EMSPREMIUM"}


@pytest.mark.parametrize(
    ("skus", "text"),
    [
        ((SKUS["EMSPREMIUM"],), "inherited from a group membership"),
        ((SKUS["VISIOCLIENT"],), "does not have a corresponding license"),
        ((SKUS["POWER_BI_PRO"], SKUS["EMSPREMIUM"]), "inherited from a group membership"),
        ((stable_id("sku", "unknown"),), "does not correspond to a valid company License"),
    ],
)
async def test_one_bad_sku_fails_the_whole_call(
    apis: Apis, sim: M365Simulator, skus: tuple[str, ...], text: str
) -> None:
    before = sim.tenant.user("E1001").licences
    response = await remove(apis, MIRA, *skus)
    assert error(response) == (400, "Request_BadRequest")
    assert text in response.json()["error"]["message"]
    assert sim.tenant.user("E1001").licences == before


async def test_both_lists_are_required(apis: Apis, sim: M365Simulator) -> None:
    with pytest.raises(ContractViolation, match="removeLicenses"):
        await apis.graph.post(f"/users/{MIRA}/assignLicense", json={"addLicenses": []})
    assert sim.requests[-1].status == 400


async def test_the_same_sku_directly_and_by_group_loses_the_direct_row(
    apis: Apis, sim: M365Simulator
) -> None:
    sim.tenant.set_direct_licences(MIRA, add=[SKUS["EMSPREMIUM"]], remove=[])
    assert (await remove(apis, MIRA, SKUS["EMSPREMIUM"])).status_code == 200
    rows = [row for row in sim.tenant.user("E1001").licences if row.sku == SKUS["EMSPREMIUM"]]
    assert [row.by_group for row in rows] == [IDS["m365-licences"]]


async def test_group_licences_follow_later(apis: Apis, sim: M365Simulator) -> None:
    sim.tenant.delays.group_licences = 60
    await apis.graph.delete(f"/groups/{IDS['m365-licences']}/members/{MIRA}/$ref")
    inherited = Licence(sku=SKUS["EMSPREMIUM"], by_group=IDS["m365-licences"], updated=1577836800.0)
    await apis.graph.get(f"/users/{MIRA}")
    assert inherited in sim.tenant.user("E1001").licences
    sim.tenant.clock.advance(61)
    await apis.graph.get(f"/users/{MIRA}")
    assert inherited not in sim.tenant.user("E1001").licences


async def test_a_mailbox_dies_with_its_licence_unless_it_was_converted(
    apis: Apis, sim: M365Simulator
) -> None:
    await remove(apis, MIRA, SKUS["SPE_E3"])
    assert sim.tenant.mailbox("E1001").soft_deleted is not None
    assert error(await apis.graph.get(f"/users/{MIRA}/mailboxSettings")) == (
        404,
        "MailboxNotEnabledForRESTAPI",
    )
    await apis.cmdlet("Set-Mailbox", Identity=PRIYA, Type="Shared")
    await apis.graph.get(f"/users/{PRIYA}")
    await remove(apis, PRIYA, SKUS["SPE_E3"])
    assert sim.tenant.mailbox("E1003").soft_deleted is None


async def test_a_licence_taken_while_the_conversion_is_under_way_kills_the_mailbox(
    apis: Apis, sim: M365Simulator
) -> None:
    sim.tenant.delays.conversion = 60
    assert (await apis.cmdlet("Set-Mailbox", Identity=MIRA, Type="Shared")).status_code == 200
    await remove(apis, MIRA, SKUS["SPE_E3"])
    sim.tenant.clock.advance(61)
    assert (await apis.cmdlet("Get-Mailbox", Identity=MIRA)).status_code == 404
    assert sim.tenant.mailbox("E1001").type == "UserMailbox"


async def test_products_count_their_users(apis: Apis) -> None:
    items = (await apis.graph.get("/subscribedSkus")).json()["value"]
    used = {item["skuPartNumber"]: item["consumedUnits"] for item in items}
    assert used["POWER_BI_PRO"] == 1
    await remove(apis, MIRA, SKUS["POWER_BI_PRO"])
    items = (await apis.graph.get("/subscribedSkus")).json()["value"]
    assert {item["skuPartNumber"]: item["consumedUnits"] for item in items}["POWER_BI_PRO"] == 0


# -- batches ------------------------------------------------------------------------------------------------


def patch(key: str, user: str, **more: Any) -> dict[str, Any]:
    body = {"accountEnabled": False}
    headers = {"Content-Type": "application/json"}
    return {"id": key, "method": "PATCH", "url": f"/users/{user}", "headers": headers, "body": body, **more}


async def batch(apis: Apis, *members: dict[str, Any]) -> dict[str, dict[str, Any]]:
    response = await apis.graph.post("/$batch", json={"requests": list(members)})
    assert response.status_code == 200
    return {answer["id"]: answer for answer in response.json()["responses"]}


async def test_members_of_a_batch_have_their_own_status_and_log_line(apis: Apis, sim: M365Simulator) -> None:
    missing = stable_id("user", "missing")
    answers = await batch(apis, patch("a", MIRA), {"id": "b", "method": "GET", "url": f"/users/{missing}"})
    assert (answers["a"]["status"], answers["b"]["status"]) == (204, 404)
    assert answers["b"]["body"]["error"]["code"] == "Request_ResourceNotFound"
    [write] = sim.log.mutations()
    assert (write.batch, write.objects, write.method) == (True, [MIRA], "PATCH")


async def test_one_member_is_throttled_alone(apis: Apis, sim: M365Simulator) -> None:
    sim.faults.add(FaultKind.BATCH_THROTTLE, path=TOMAS, retry_after=7)
    answers = await batch(apis, patch("a", MIRA), patch("b", TOMAS))
    assert answers["a"]["status"] == 204
    assert (answers["b"]["status"], answers["b"]["headers"]["Retry-After"]) == (429, "7")
    assert (sim.tenant.user("E1001").enabled, sim.tenant.user("E1002").enabled) == (False, True)


async def test_dependants_of_a_failed_member_fail(apis: Apis, sim: M365Simulator) -> None:
    answers = await batch(apis, patch("a", INGRID), patch("b", MIRA, dependsOn=["a"]))
    assert (answers["a"]["status"], answers["b"]["status"]) == (403, 424)
    assert sim.tenant.user("E1001").enabled is True


async def test_ids_of_members_are_unique(apis: Apis, sim: M365Simulator) -> None:
    members = [patch("same", MIRA), patch("same", TOMAS)]
    assert error(await apis.graph.post("/$batch", json={"requests": members})) == (400, "BadRequest")
    assert sim.tenant.user("E1001").enabled is True


async def test_a_body_without_content_type_refuses_the_whole_batch(apis: Apis, sim: M365Simulator) -> None:
    bare = {"id": "b", "method": "PATCH", "url": f"/users/{TOMAS}", "body": {"accountEnabled": False}}
    with pytest.raises(ContractViolation, match="'headers' is a required property"):
        await apis.graph.post("/$batch", json={"requests": [patch("a", MIRA), bare]})
    assert sim.requests[-1].status == 400
    assert sim.tenant.user("E1001").enabled is True


async def test_a_batch_of_twenty_one_breaks_the_contract(apis: Apis, sim: M365Simulator) -> None:
    members = [patch(str(number), MIRA) for number in range(21)]
    with pytest.raises(ContractViolation):
        await apis.graph.post("/$batch", json={"requests": members})
    assert sim.requests[-1].status == 400
