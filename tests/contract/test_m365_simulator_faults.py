"""Faults on the wire, the request log, the control listener and the life of the process."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from leaver.simulators.company import person
from leaver.simulators.faults import FaultKind
from leaver.simulators.m365 import M365Simulator, sample_tenant
from leaver.simulators.m365.store import Clock
from leaver.simulators.tls import LoopbackTls
from tests.support.graph_contract import GraphContract
from tests.support.m365_clients import Apis, clients, no_delays

MIRA = person("E1001").object_id
OFF = {"accountEnabled": False}


async def test_throttling_in_seconds_and_as_a_date(apis: Apis, sim: M365Simulator) -> None:
    sim.faults.add(FaultKind.THROTTLE, system="entra", method="PATCH", retry_after=2, times=2)
    sim.faults.add(FaultKind.THROTTLE, system="entra", method="PATCH", retry_after=30, http_date=True)
    url = f"/users/{MIRA}"
    first, second, third = [await apis.graph.patch(url, json=OFF) for _ in range(3)]
    assert (first.status_code, first.headers["Retry-After"], second.status_code) == (429, "2", 429)
    wait = parsedate_to_datetime(third.headers["Retry-After"]) - datetime.now(UTC)
    assert 25 < wait.total_seconds() <= 30
    assert sim.tenant.user("E1001").enabled is True
    assert (await apis.graph.patch(url, json=OFF)).status_code == 204
    assert [r.status for r in sim.log.mutations()] == [429, 429, 429, 204]


async def test_a_reply_lost_after_the_write(apis: Apis, sim: M365Simulator) -> None:
    sim.faults.add(FaultKind.DROP_AFTER_COMMIT, system="entra", method="PATCH")
    with pytest.raises(httpx.RemoteProtocolError):
        await apis.graph.patch(f"/users/{MIRA}", json=OFF)
    assert sim.tenant.user("E1001").enabled is False
    [write] = sim.log.mutations()
    assert (write.status, write.fault) == (204, "drop_after_commit")


async def test_a_connection_lost_before_the_write(apis: Apis, sim: M365Simulator) -> None:
    sim.faults.add(FaultKind.DROP_BEFORE_COMMIT, system="entra", method="PATCH")
    with pytest.raises(httpx.RemoteProtocolError):
        await apis.graph.patch(f"/users/{MIRA}", json=OFF)
    assert sim.tenant.user("E1001").enabled is True
    assert [(r.status, r.fault) for r in sim.log.mutations()] == [(0, "drop_before_commit")]
    assert (await apis.graph.patch(f"/users/{MIRA}", json=OFF)).status_code == 204


async def test_reads_of_a_replica_that_is_behind(apis: Apis, sim: M365Simulator) -> None:
    await apis.graph.patch(f"/users/{MIRA}", json=OFF)
    sim.faults.add(FaultKind.STALE_READS, system="entra", times=2)
    url = f"/users/{MIRA}?$select=accountEnabled"
    seen = [(await apis.graph.get(url)).json()["accountEnabled"] for _ in range(3)]
    assert seen == [True, True, False]


async def test_reads_that_are_old_by_seconds(apis: Apis, sim: M365Simulator) -> None:
    await apis.graph.post(f"/users/{MIRA}/revokeSignInSessions")
    await apis.graph.patch(f"/users/{MIRA}", json=OFF)
    sim.faults.add(FaultKind.STALE_READS, system="entra", seconds=60, times=2)
    old = sample_tenant().user("E1001")
    url = f"/users/{MIRA}?$select=accountEnabled,signInSessionsValidFromDateTime"
    shown = (await apis.graph.get(url)).json()
    assert shown["accountEnabled"] is True
    assert (
        datetime.fromisoformat(shown["signInSessionsValidFromDateTime"]).timestamp()
        == old.sessions_valid_from
    )
    sim.tenant.clock.advance(61)
    assert (await apis.graph.get(url)).json()["accountEnabled"] is False


async def test_an_object_that_is_not_there_once(apis: Apis, sim: M365Simulator) -> None:
    sim.faults.add(FaultKind.NOT_FOUND_ONCE, system="entra", path=MIRA)
    missing = await apis.graph.get(f"/users/{MIRA}")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "Request_ResourceNotFound")
    assert (await apis.graph.get(f"/users/{MIRA}")).status_code == 200


async def test_a_claims_challenge_asks_for_a_new_token(apis: Apis, sim: M365Simulator) -> None:
    sim.faults.add(FaultKind.CLAIMS_CHALLENGE, system="entra")
    response = await apis.graph.get(f"/users/{MIRA}")
    assert response.status_code == 401
    assert 'error="insufficient_claims", claims="' in response.headers["WWW-Authenticate"]


async def test_slow_and_unavailable(apis: Apis, sim: M365Simulator) -> None:
    sim.faults.add(FaultKind.SLOW, system="entra", seconds=0.2)
    begin = time.monotonic()
    assert (await apis.graph.get(f"/users/{MIRA}")).status_code == 200
    assert time.monotonic() - begin >= 0.2
    sim.faults.add(FaultKind.UNAVAILABLE)
    gone = await apis.exchange.post("/adminapi/beta/x/InvokeCommand", json={})
    assert (gone.status_code, "Retry-After" in gone.headers) == (503, False)


def _lines(folder: Path) -> dict[str, list[dict[str, Any]]]:
    return {
        path.name: [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        for path in folder.iterdir()
    }


async def test_every_request_has_a_line_and_no_line_a_secret(
    loopback_tls: LoopbackTls, graph_contract: GraphContract, tmp_path: Path
) -> None:
    simulator = M365Simulator(sample_tenant(delays=no_delays()), loopback_tls, log_dir=tmp_path)
    async with simulator, clients(simulator, graph_contract) as apis:
        password = "Never-In-A-Log-1"
        body = {**OFF, "passwordProfile": {"password": password}}
        answer = await apis.graph.patch(f"/users/{MIRA}", json=body)
        await apis.cmdlet("Set-Mailbox", Identity=person("E1001").user_name, Type="Shared")
        await apis.sharepoint.get(f"{apis.site('E1001')}/siteusers")
    lines = _lines(tmp_path)
    assert sorted(lines) == ["requests-entra.jsonl", "requests-exchange.jsonl", "requests-onedrive.jsonl"]
    assert password not in json.dumps(lines)
    [entra] = lines["requests-entra.jsonl"]
    assert {key: entra[key] for key in ("method", "path", "status", "mutating", "object", "operation")} == {
        "method": "PATCH",
        "path": f"/v1.0/users/{MIRA}",
        "status": 204,
        "mutating": True,
        "object": [MIRA],
        "operation": "/users/{user}",
    }
    assert entra["request_id"] == answer.headers["request-id"]
    assert datetime.fromisoformat(entra["time"]).tzinfo is not None
    [exchange] = lines["requests-exchange.jsonl"]
    assert (exchange["object"], exchange["mutating"]) == ([MIRA], True), "a name is logged as its object"
    assert person("E1001").user_name not in json.dumps(exchange)


async def test_the_control_listener(sim: M365Simulator, apis: Apis) -> None:
    async with httpx.AsyncClient(base_url=sim.endpoints.control_url) as control:
        assert (await control.get("/health")).json() == {"ok": True}
        order = {"kind": "throttle", "system": "entra", "retry_after": 1}
        assert [item["kind"] for item in (await control.post("/faults", json=order)).json()] == ["throttle"]
        assert (await apis.graph.get(f"/users/{MIRA}")).status_code == 429
        assert (await control.get("/faults")).json() == []
        bad = await control.post("/faults", json={"kind": "trottle"})
        assert (bad.status_code, bad.json()["error"][0]["field"]) == (422, [0, "kind"])
        state = (await control.get("/state", params={"user": "E1001"})).json()
        assert (state["user"]["id"], state["mailbox"]["type"]) == (MIRA, "UserMailbox")
        assert "team-finance" in state["groups"]
        assert (await control.get("/state?user=nobody")).status_code == 404
        before = Clock().now()
        assert (await control.post("/advance", json={"seconds": 3600})).json()["now"] >= before + 3600
        sync = {"immutable_id": person("E1002").immutable_id, "enabled": False, "in_scope": True}
        assert (await control.post("/directory-sync", json=sync)).json() == {"known": True}
        assert sim.tenant.user("E1002").enabled is False
        assert [r["status"] for r in (await control.get("/requests?system=entra")).json()] == [429]


async def test_a_simulator_that_was_killed_goes_on(
    loopback_tls: LoopbackTls, graph_contract: GraphContract, tmp_path: Path
) -> None:
    state = tmp_path / "state.jsonl"
    first = sample_tenant(delays=no_delays())
    assert first.keep_in(state) is False
    simulator = M365Simulator(first, loopback_tls)
    async with simulator, clients(simulator, graph_contract) as apis:
        first.delays.conversion = 60
        await apis.graph.patch(f"/users/{MIRA}", json=OFF)
        await apis.cmdlet("Set-Mailbox", Identity=MIRA, Type="Shared")
        header = apis.graph.headers["Authorization"]
        ports = simulator.ports
    first.close()
    # A kill leaves half a line behind.
    with state.open("a", encoding="utf-8") as journal:
        journal.write('{"table": "user", "id": "ha')
    second = sample_tenant(delays=no_delays())
    assert second.keep_in(state) is True
    successor = M365Simulator(second, loopback_tls, ports=ports)
    async with successor, clients(successor, graph_contract) as apis:
        assert successor.endpoints == simulator.endpoints
        apis.graph.headers["Authorization"] = header
        shown = await apis.graph.get(f"/users/{MIRA}?$select=accountEnabled")
        assert shown.json()["accountEnabled"] is False, "old tokens are good and the write is there"
        assert [job.subject for job in second.jobs.all()] == [MIRA]
        second.clock.advance(61)
        await apis.graph.get("/organization", headers={"Authorization": header})
        assert second.mailbox("E1001").type == "SharedMailbox"
    second.close()
