"""A whole leaver's Graph traffic against Microsoft's own contract, strictly, from both sides."""

from __future__ import annotations

import pytest

from activities.entra import EntraActivities
from activities.exchange import ExchangeActivities
from activities.onedrive import OneDriveActivities
from leaver.domain.account import ResolveInput
from leaver.domain.event import Person
from leaver.domain.words import Mode, Outcome
from leaver.simulators.company import person
from leaver.simulators.m365.simulator import M365Simulator
from tests.support.graph_contract import GraphContract
from tests.support.m365_runs import READ_BACK, Clients, account, perform, unit, writes

LEAVER = person("E1001").object_id


async def test_a_whole_leaver(graph_contract: GraphContract, clients: Clients, sim: M365Simulator) -> None:
    before = graph_contract.checked
    entra = EntraActivities(clients.entra(), READ_BACK)
    exchange = ExchangeActivities(clients.exchange(), READ_BACK)
    onedrive = OneDriveActivities(clients.onedrive(certificate=False), READ_BACK)
    who = Person.model_validate({"externalId": "E1001", "userName": "x@northwind.example"})
    asked = ResolveInput(case="c-test", person=who, mode=Mode.ENFORCE, linked=(account("E1001"),))
    for resolve in (entra.resolve, exchange.resolve, onedrive.resolve):
        assert (await perform(resolve, asked)).result.account.id == LEAVER

    reply = {"auto_reply": "I have left."}
    units = (
        (entra.contain, "entra.contain", "block_sign_in reset_password revoke_sessions"),
        (entra.credentials, "entra.credentials", "remove_auth_methods revoke_sessions_after_credentials"),
        (
            exchange.preserve,
            "exchange.preserve",
            "set_auto_reply delegate_to_successor convert_to_shared_mailbox",
        ),
        (onedrive.handover, "onedrive.handover", "grant_successor"),
        (entra.entitlements, "entra.entitlements", "remove_groups revoke_sessions_after_groups"),
        (exchange.entitlements, "exchange.entitlements", "remove_distribution_groups"),
        (entra.licences, "entra.licences", "remove_direct_licences remove_licence_groups"),
    )
    for activity, name, steps in units:
        system = name.split(".")[0]
        arg = unit(name, *(f"{system}.{step}" for step in steps.split()), parameters=reply)
        run = await perform(activity, arg)
        assert {effect.outcome for effect in run.result.effects} == {Outcome.VERIFIED}, run.result
        assert "@" not in run.result.model_dump_json()

    assert graph_contract.checked - before > 60
    operations = [record.operation.rpartition("/")[2] for record in writes(sim)]
    assert operations.index("Set-Mailbox") < operations.index("assignLicense")
    assert sim.tenant.mailbox("E1001").soft_deleted is None
    people = {item for record in writes(sim) for item in record.objects}
    assert people == {LEAVER, person("E2001").object_id}


async def test_a_violation_would_be_seen(graph_contract: GraphContract, clients: Clients) -> None:
    """The control: the same hook refuses a request that the contract does not know."""
    client = clients.exchange()
    with pytest.raises(AssertionError, match="shoeSize"):
        await client._graph.get(f"/users/{LEAVER}/shoeSize", needs="nothing")
