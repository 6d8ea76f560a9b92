"""OneDrive in the simulated Graph, and SharePoint's REST service of personal sites."""

from __future__ import annotations

import httpx
import pytest

from leaver.simulators.company import person
from leaver.simulators.faults import FaultKind
from leaver.simulators.m365 import M365Simulator
from leaver.simulators.m365.tokens import Audience, CredentialKind
from tests.support.m365_clients import Apis, minted

MIRA = person("E1001").object_id
HELENA = person("E2001").object_id
LOGIN = f"i:0#.f|membership|{person('E2001').user_name}"
MERGE = {"X-HTTP-Method": "MERGE", "IF-MATCH": "*", "Content-Type": "application/json;odata=nometadata"}


async def test_the_site_of_a_drive_is_where_sharepoint_answers(apis: Apis, sim: M365Simulator) -> None:
    root = (await apis.graph.get(f"/users/{MIRA}/drive/root?$select=sharepointIds,webUrl")).json()
    url = root["sharepointIds"]["siteUrl"]
    assert url.startswith(sim.endpoints.sharepoint_url)
    assert root["webUrl"] == f"{url}/Documents"
    users = (await apis.sharepoint.get(f"{url}/_api/web/siteusers")).json()["value"]
    assert [user["UserPrincipalName"] for user in users] == [person("E1001").user_name]


async def test_a_drive_that_was_never_made_is_a_404(apis: Apis, sim: M365Simulator) -> None:
    sim.tenant.drives.remove(sim.tenant.drive("E1001").id)
    response = await apis.graph.get(f"/users/{MIRA}/drive")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "ResourceNotFound")


async def test_inviting_twice_gives_the_same_grant(apis: Apis, sim: M365Simulator) -> None:
    drive = (await apis.graph.get(f"/users/{MIRA}/drive")).json()["id"]
    body = {
        "recipients": [{"objectId": HELENA}],
        "roles": ["write"],
        "requireSignIn": True,
        "sendInvitation": False,
    }
    first = (await apis.graph.post(f"/drives/{drive}/root/invite", json=body)).json()["value"]
    again = (await apis.graph.post(f"/drives/{drive}/root/invite", json=body)).json()["value"]
    assert first == again
    listed = (await apis.graph.get(f"/drives/{drive}/root/permissions")).json()["value"]
    assert [(p["grantedToV2"]["user"]["id"], p["roles"]) for p in listed] == [
        (MIRA, ["owner"]),
        (HELENA, ["write"]),
    ]
    write = sim.log.mutations()[0]
    assert (write.objects, write.related) == ([MIRA, HELENA], [drive])
    assert (await apis.graph.delete(f"/drives/{drive}/root/permissions/{first[0]['id']}")).status_code == 204
    assert (await apis.graph.delete(f"/drives/{drive}/root/permissions/{first[0]['id']}")).status_code == 404


async def test_the_successor_becomes_site_administrator(apis: Apis, sim: M365Simulator) -> None:
    site = apis.site("E1001")
    ensured = await apis.sharepoint.post(f"{site}/ensureuser", json={"logonName": LOGIN})
    assert (ensured.status_code, ensured.json()["IsSiteAdmin"]) == (200, False)
    number = ensured.json()["Id"]
    again = await apis.sharepoint.post(f"{site}/ensureuser", json={"logonName": LOGIN})
    assert again.json()["Id"] == number
    url = f"{site}/getuserbyid({number})"
    assert (await apis.sharepoint.post(url, json={"IsSiteAdmin": True}, headers=MERGE)).status_code == 204
    admins = await apis.sharepoint.get(f"{site}/siteusers", params={"$filter": "IsSiteAdmin eq true"})
    assert {user["UserPrincipalName"] for user in admins.json()["value"]} == {
        person("E1001").user_name,
        person("E2001").user_name,
    }
    by_login = await apis.sharepoint.get(f"{site}/siteusers(@v)", params={"@v": f"'{LOGIN}'"})
    assert by_login.json()["IsSiteAdmin"] is True
    merge = sim.log.mutations()[-1]
    assert (merge.system, merge.objects, merge.summary) == ("onedrive", [MIRA, HELENA], {"IsSiteAdmin": True})


async def test_a_secret_is_not_enough_for_sharepoint(apis: Apis, sim: M365Simulator) -> None:
    header = {"Authorization": minted(sim, Audience.SHAREPOINT, CredentialKind.SECRET)}
    response = await apis.sharepoint.get(f"{apis.site('E1001')}/siteusers", headers=header)
    assert (response.status_code, response.json()) == (
        401,
        {"error_description": "Unsupported app only token."},
    )


async def test_a_token_for_graph_is_refused_by_sharepoint(apis: Apis, sim: M365Simulator) -> None:
    header = {"Authorization": minted(sim, Audience.GRAPH, CredentialKind.CERTIFICATE)}
    assert (await apis.sharepoint.get(f"{apis.site('E1001')}/siteusers", headers=header)).status_code == 401


async def test_full_control_is_needed(apis: Apis, sim: M365Simulator) -> None:
    with sim.tenant.apps.change(sim.tenant.app.id) as app:
        app.permissions.remove("Sites.FullControl.All")
    response = await apis.sharepoint.get(f"{apis.site('E1001')}/siteusers")
    assert response.status_code == 403
    assert "UnauthorizedAccessException" in response.json()["odata.error"]["code"]


@pytest.mark.parametrize("headers", [{}, {"X-HTTP-Method": "MERGE"}, {"IF-MATCH": "*"}])
async def test_a_merge_needs_both_headers(apis: Apis, sim: M365Simulator, headers: dict[str, str]) -> None:
    url = f"{apis.site('E1001')}/getuserbyid(3)"
    assert (await apis.sharepoint.post(url, json={"IsSiteAdmin": False}, headers=headers)).status_code == 400
    assert sim.tenant.drive("E1001").site_users[0].is_admin is True


async def test_the_last_administrator_stays(apis: Apis) -> None:
    url = f"{apis.site('E1001')}/getuserbyid(3)"
    response = await apis.sharepoint.post(url, json={"IsSiteAdmin": False}, headers=MERGE)
    assert response.status_code == 400


async def test_people_and_sites_that_are_not_there(apis: Apis) -> None:
    site = apis.site("E1001")
    unknown = await apis.sharepoint.post(f"{site}/ensureuser", json={"logonName": "i:0#.f|membership|no@one"})
    assert (unknown.status_code, "could not be found" in unknown.text) == (404, True)
    assert (await apis.sharepoint.get(f"{site}/getuserbyid(99)")).status_code == 404
    page = await apis.sharepoint.get("/personal/nobody_northwind_example/_api/web/siteusers")
    assert (page.status_code, page.headers["content-type"]) == (404, "text/plain; charset=utf-8")


async def test_without_a_wish_for_json_the_answer_is_atom(apis: Apis) -> None:
    plain = await apis.sharepoint.get(f"{apis.site('E1001')}/siteusers", headers={"Accept": "*/*"})
    assert plain.headers["content-type"].startswith("application/atom+xml")
    verbose = {"Accept": "application/json;odata=verbose"}
    rich = await apis.sharepoint.get(f"{apis.site('E1001')}/siteusers", headers=verbose)
    assert len(rich.json()["d"]["results"]) == 1


async def test_removing_a_person_from_a_site(apis: Apis, sim: M365Simulator) -> None:
    site = apis.site("E1001")
    number = (await apis.sharepoint.post(f"{site}/ensureuser", json={"logonName": LOGIN})).json()["Id"]
    assert (await apis.sharepoint.post(f"{site}/siteusers/removebyid({number})")).status_code == 200
    assert [entry.user for entry in sim.tenant.drive("E1001").site_users] == [MIRA]


async def test_sharepoint_throttles_in_its_own_words(apis: Apis, sim: M365Simulator) -> None:
    sim.faults.add(FaultKind.THROTTLE, system="onedrive", retry_after=3)
    response: httpx.Response = await apis.sharepoint.get(f"{apis.site('E1001')}/siteusers")
    assert (response.status_code, response.headers["Retry-After"]) == (429, "3")
    assert response.headers["RateLimit-Remaining"] == "0"
