"""Exchange's admin API as the simulator speaks it: envelopes, errors and the traps of mailboxes."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import httpx
import pytest

from leaver.simulators.company import GROUPS, person
from leaver.simulators.faults import FaultKind
from leaver.simulators.m365 import M365Simulator
from leaver.simulators.m365.exchange_mailboxes import size_text
from leaver.simulators.m365.tokens import Audience
from tests.support.m365_clients import Apis, minted

MIRA = person("E1001").object_id
TOMAS = person("E1002").object_id
PRIYA = person("E1003").object_id
HELENA = person("E2001").object_id
IDS = {group.key: group.object_id for group in GROUPS}


def value(response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    return response.json()["value"]


def type_name(response: httpx.Response) -> str:
    """The exception's name, dug out as a client must."""
    details = response.json()["error"]["details"]
    nested = next(item["message"] for item in details if item["code"] == "Client")
    name: str = json.loads(nested)["TypeName"]
    return name.rpartition(".")[2]


async def test_a_mailbox_by_object_id_name_or_address(apis: Apis) -> None:
    for identity in (MIRA, person("E1001").user_name, "Mira Lindqvist"):
        [mailbox] = value(await apis.cmdlet("Get-Mailbox", Identity=identity))
        assert mailbox["ExternalDirectoryObjectId"] == MIRA
        assert mailbox["RecipientTypeDetails"] == "UserMailbox"
        assert (mailbox["LitigationHoldEnabled"], mailbox["InPlaceHolds"]) == (False, [])


async def test_selected_properties_only(apis: Apis) -> None:
    path = f"/adminapi/beta/{apis.sim.tenant.id}/InvokeCommand?$select=RecipientTypeDetails"
    body = {"CmdletInput": {"CmdletName": "Get-Mailbox", "Parameters": {"Identity": MIRA}}}
    assert value(await apis.exchange.post(path, json=body)) == [{"RecipientTypeDetails": "UserMailbox"}]


@pytest.mark.parametrize(
    ("cmdlet", "parameters", "status", "error"),
    [
        ("Get-Mailbox", {"Identity": "nobody"}, 404, "ManagementObjectNotFoundException"),
        ("Set-Mailbox", {"Identity": MIRA, "Typo": "Shared"}, 400, "ParameterBindingException"),
        ("Set-Mailbox", {"Type": "Shared"}, 400, "ParameterBindingException"),
        (
            "Set-Mailbox",
            {"Identity": MIRA, "Type": "Sharde"},
            400,
            "ParameterBindingArgumentTransformationException",
        ),
        ("Destroy-Mailbox", {"Identity": MIRA}, 400, "CommandNotFoundException"),
        ("Get-Recipient", {"Filter": "Members -like 'x'"}, 400, "ParameterBindingException"),
    ],
)
async def test_errors_are_json_in_a_string(
    apis: Apis, cmdlet: str, parameters: dict[str, Any], status: int, error: str
) -> None:
    response = await apis.cmdlet(cmdlet, **parameters)
    assert (response.status_code, type_name(response)) == (status, error)
    assert response.json()["error"]["message"] == "Error executing cmdlet"


async def test_a_name_that_two_people_bear_is_refused(apis: Apis, sim: M365Simulator) -> None:
    with sim.tenant.users.change(PRIYA) as user:
        user.display_name = "Mira Lindqvist"
    response = await apis.cmdlet("Set-Mailbox", Identity="Mira Lindqvist", Type="Shared")
    assert type_name(response) == "ManagementObjectAmbiguousException"


@pytest.mark.parametrize("authorization", ["", "Bearer nonsense", "graph"])
async def test_a_bad_token_gets_an_empty_401(apis: Apis, sim: M365Simulator, authorization: str) -> None:
    header = minted(sim, Audience.GRAPH) if authorization == "graph" else authorization
    apis.exchange.headers["Authorization"] = header
    response = await apis.cmdlet("Get-Mailbox", Identity=MIRA)
    assert (response.status_code, response.content) == (401, b"")


async def test_a_missing_role_is_told_apart(apis: Apis, sim: M365Simulator) -> None:
    with sim.tenant.apps.change(sim.tenant.app.id) as app:
        app.directory_roles.clear()
    response = await apis.cmdlet("Get-Mailbox", Identity=MIRA)
    assert response.status_code == 403
    assert "isn't supported in this scenario" in response.text


async def test_conversion_lands_in_exchange_first_and_in_graph_later(apis: Apis, sim: M365Simulator) -> None:
    sim.tenant.delays.conversion, sim.tenant.delays.purpose = 60, 120
    assert value(await apis.cmdlet("Set-Mailbox", Identity=MIRA, Type="Shared", Confirm=False)) == []
    seen = []
    for pause in (0, 61, 121):
        sim.tenant.clock.advance(pause)
        [mailbox] = value(await apis.cmdlet("Get-Mailbox", Identity=MIRA))
        apis.graph.headers["Authorization"] = minted(sim, Audience.GRAPH)
        settings = (await apis.graph.get(f"/users/{MIRA}/mailboxSettings")).json()
        seen.append((mailbox["RecipientTypeDetails"], settings["userPurpose"]))
    assert seen == [("UserMailbox", "user"), ("SharedMailbox", "user"), ("SharedMailbox", "shared")]


async def test_converting_twice_is_a_warning(apis: Apis) -> None:
    await apis.cmdlet("Set-Mailbox", Identity=MIRA, Type="Shared")
    again = await apis.cmdlet("Set-Mailbox", Identity=MIRA, Type="Shared")
    assert value(again) == []
    assert len(again.json()["@adminapi.warnings"]) == 1


async def test_conversion_needs_the_licence(apis: Apis, sim: M365Simulator) -> None:
    with sim.tenant.users.change(MIRA) as user:
        user.licences = []
    assert (
        type_name(await apis.cmdlet("Set-Mailbox", Identity=MIRA, Type="Shared")) == "RecipientTaskException"
    )


async def test_sizes_are_text(apis: Apis) -> None:
    [row] = value(await apis.cmdlet("Get-MailboxStatistics", Identity=MIRA))
    assert re.fullmatch(r"[\d.]+ GB \([\d,]+ bytes\)", row["TotalItemSize"])


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B (0 bytes)"),
        (1023, "1023 B (1,023 bytes)"),
        (1024, "1 KB (1,024 bytes)"),
        (13_204_112_345, "12.3 GB (13,204,112,345 bytes)"),
        (53_687_091_200, "50 GB (53,687,091,200 bytes)"),
    ],
)
def test_size_text(size: int, text: str) -> None:
    assert size_text(size) == text


async def test_full_access_is_granted_once_and_read_back(apis: Apis, sim: M365Simulator) -> None:
    wanted = {"Identity": MIRA, "User": HELENA, "AccessRights": ["FullAccess"], "InheritanceType": "All"}
    first = await apis.cmdlet("Add-MailboxPermission", **wanted, AutoMapping=True)
    assert value(first)[0]["AccessRights"] == ["FullAccess"]
    again = await apis.cmdlet("Add-MailboxPermission", **wanted)
    assert "already present" in again.json()["@adminapi.warnings"][0]
    rows = value(await apis.cmdlet("Get-MailboxPermission", Identity=MIRA))
    assert [row["User"] for row in rows] == ["NT AUTHORITY\\SELF", person("E2001").user_name]
    assert (rows[1]["Deny"], rows[1]["IsInherited"], rows[1]["InheritanceType"]) == (False, False, "All")
    removal = {key: value for key, value in wanted.items() if key != "InheritanceType"}
    assert "@adminapi.warnings" not in (await apis.cmdlet("Remove-MailboxPermission", **removal)).json()
    assert "doesn't exist" in (await apis.cmdlet("Remove-MailboxPermission", **removal)).text
    writes = sim.log.mutations("exchange")
    assert {tuple(write.objects) for write in writes} == {(MIRA, HELENA)}
    assert writes[0].summary["AccessRights"] == ["FullAccess"]


async def test_send_as(apis: Apis) -> None:
    wanted = {"Identity": MIRA, "Trustee": HELENA, "AccessRights": ["SendAs"], "Confirm": False}
    await apis.cmdlet("Add-RecipientPermission", **wanted)
    assert "already present" in (await apis.cmdlet("Add-RecipientPermission", **wanted)).text
    rows = value(await apis.cmdlet("Get-RecipientPermission", Identity=MIRA, Trustee=HELENA))
    assert [row["AccessRights"] for row in rows] == [["SendAs"]]


async def test_automatic_replies_come_back_as_a_page_here_and_in_graph(
    apis: Apis, sim: M365Simulator
) -> None:
    parameters = {
        "AutoReplyState": "Enabled",
        "InternalMessage": "Gone.",
        "ExternalMessage": "Gone.",
        "ExternalAudience": "All",
    }
    await apis.cmdlet("Set-MailboxAutoReplyConfiguration", Identity=MIRA, **parameters)
    [reply] = value(await apis.cmdlet("Get-MailboxAutoReplyConfiguration", Identity=MIRA))
    assert reply["AutoReplyState"] == "Enabled"
    assert reply["InternalMessage"] == "<html>\r\n<body>\r\nGone.\r\n</body>\r\n</html>\r\n"
    shown = (await apis.graph.get(f"/users/{MIRA}/mailboxSettings")).json()["automaticRepliesSetting"]
    assert (shown["status"], shown["externalAudience"]) == ("alwaysEnabled", "all")
    assert "Gone." not in sim.log.mutations()[0].as_line()


async def test_automatic_replies_by_graph(apis: Apis) -> None:
    setting = {"status": "alwaysEnabled", "externalAudience": "none", "internalReplyMessage": "Gone."}
    body = {"automaticRepliesSetting": setting}
    assert (await apis.graph.patch(f"/users/{MIRA}/mailboxSettings", json=body)).status_code == 200
    [reply] = value(await apis.cmdlet("Get-MailboxAutoReplyConfiguration", Identity=MIRA))
    assert (reply["AutoReplyState"], reply["ExternalAudience"]) == ("Enabled", "None")


async def test_forwarding_holds_and_hiding(apis: Apis, sim: M365Simulator) -> None:
    with sim.tenant.mailboxes.change(MIRA) as mailbox:
        mailbox.forwarding_smtp = "smtp:rival@example.org"
    await apis.cmdlet(
        "Set-Mailbox", Identity=MIRA, ForwardingAddress=HELENA, ForwardingSmtpAddress=None,
        DeliverToMailboxAndForward=True, HiddenFromAddressListsEnabled=True,
    )  # fmt: skip
    [shown] = value(await apis.cmdlet("Get-Mailbox", Identity=MIRA))
    assert (shown["ForwardingAddress"], shown["ForwardingSmtpAddress"]) == (HELENA, None)
    assert (shown["DeliverToMailboxAndForward"], shown["HiddenFromAddressListsEnabled"]) == (True, True)
    refused = await apis.cmdlet("Set-Mailbox", Identity=TOMAS, HiddenFromAddressListsEnabled=True)
    assert "on-premises organization" in refused.text


async def test_lists_of_a_person_are_found_by_distinguished_name(apis: Apis) -> None:
    [me] = value(await apis.cmdlet("Get-Recipient", Identity=MIRA))
    clause = "Members -eq '{}'".format(me["DistinguishedName"].replace("'", "''"))
    kinds = ["MailUniversalDistributionGroup", "MailUniversalSecurityGroup"]
    groups = value(await apis.cmdlet("Get-Recipient", Filter=clause, RecipientTypeDetails=kinds))
    assert [group["ExternalDirectoryObjectId"] for group in groups] == [IDS["dl-announcements"]]
    every = value(await apis.cmdlet("Get-Recipient", Filter=clause))
    assert {group["RecipientTypeDetails"] for group in every} == {
        "MailUniversalDistributionGroup",
        "GroupMailbox",
    }


async def test_leaving_a_list(apis: Apis, sim: M365Simulator) -> None:
    wanted = {"Identity": IDS["dl-announcements"], "Member": MIRA}
    managers = await apis.cmdlet("Remove-DistributionGroupMember", **wanted)
    assert type_name(managers) == "OperationRequiresGroupManagerException"
    assert MIRA in sim.tenant.group("dl-announcements").members
    wanted["BypassSecurityGroupManagerCheck"] = True
    assert value(await apis.cmdlet("Remove-DistributionGroupMember", **wanted)) == []
    again = await apis.cmdlet("Remove-DistributionGroupMember", **wanted)
    assert (again.status_code, type_name(again)) == (404, "MemberNotFoundException")
    members = value(await apis.cmdlet("Get-DistributionGroupMember", Identity=IDS["dl-announcements"]))
    assert MIRA not in {member["ExternalDirectoryObjectId"] for member in members}
    write = sim.log.mutations()[-1]
    assert (write.operation, write.objects) == ("Remove-DistributionGroupMember", [MIRA])
    assert write.related == [IDS["dl-announcements"]]


async def test_unified_groups_are_no_lists(apis: Apis) -> None:
    response = await apis.cmdlet("Get-DistributionGroupMember", Identity=IDS["team-finance"])
    assert type_name(response) == "ManagementObjectNotFoundException"


async def test_reads_are_no_mutations_though_everything_is_a_post(apis: Apis, sim: M365Simulator) -> None:
    await apis.cmdlet("Get-Mailbox", Identity=MIRA)
    await apis.cmdlet("Get-MailboxPermission", Identity=MIRA)
    assert sim.log.mutations() == []
    assert {record.method for record in sim.requests} == {"POST"}


async def test_reads_lag_behind_writes(apis: Apis, sim: M365Simulator) -> None:
    sim.tenant.delays.consistency = 0.25
    await apis.cmdlet("Add-MailboxPermission", Identity=MIRA, User=HELENA, AccessRights=["FullAccess"])
    assert len(value(await apis.cmdlet("Get-MailboxPermission", Identity=MIRA))) == 1
    await asyncio.sleep(0.3)
    assert len(value(await apis.cmdlet("Get-MailboxPermission", Identity=MIRA))) == 2


async def test_a_busy_server_says_400(apis: Apis, sim: M365Simulator) -> None:
    sim.faults.add(FaultKind.TRANSIENT_400, system="exchange", operation="^Set-Mailbox$")
    assert (await apis.cmdlet("Get-Mailbox", Identity=MIRA)).status_code == 200
    busy = await apis.cmdlet("Set-Mailbox", Identity=MIRA, Type="Shared")
    assert (busy.status_code, type_name(busy)) == (400, "ServerBusyException")
    assert (await apis.cmdlet("Set-Mailbox", Identity=MIRA, Type="Shared")).status_code == 200
    assert [record.fault for record in sim.log.mutations()] == ["transient_400", None]


async def test_an_error_can_sit_in_a_200(apis: Apis, sim: M365Simulator) -> None:
    sim.faults.add(FaultKind.ERROR_IN_200, system="exchange")
    response = await apis.cmdlet("Set-Mailbox", Identity=MIRA, Type="Shared")
    assert (response.status_code, response.json()["value"]) == (200, [])
    assert len(response.json()["@adminapi.errors"]) == 1
    assert sim.tenant.jobs.all() == []
