from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx
import pytest
from pydantic import SecretBytes, SecretStr
from temporalio import workflow
from temporalio.worker import Worker

from leaver.embedded.dev_server import DevServer, DevServerOptions
from leaver.embedded.processes import free_port
from leaver.temporal.connect import (
    TemporalSettings,
    TemporalUnreachableError,
    TlsSettings,
    connect,
)
from leaver.temporal.keyring import Keyring
from leaver.temporal.telemetry import process_runtime


@workflow.defn(name="TestBroken", sandboxed=False)
class Broken:
    @workflow.run
    async def run(self) -> None:
        raise RuntimeError("a bug, which fails the workflow task and makes the core warn")


async def test_nobody_at_the_address_is_one_clear_error_after_the_time_given() -> None:
    address = f"127.0.0.1:{free_port()}"
    begun = time.monotonic()
    with pytest.raises(TemporalUnreachableError) as caught:
        await connect(TemporalSettings(address=address, timeout=0.5), None)
    assert 0.2 < time.monotonic() - begun < 3
    assert f"Temporal at {address} gave no usable answer within 0.5 s" in str(caught.value)
    assert "leaver dev" in str(caught.value)
    assert "temporal.address" in str(caught.value)


async def test_it_waits_for_a_server_that_is_still_starting(tmp_path: Path) -> None:
    port = free_port()
    settings = TemporalSettings(address=f"127.0.0.1:{port}", timeout=20)
    connecting = asyncio.create_task(connect(settings, Keyring.generate("k1")))
    await asyncio.sleep(0.3)
    server = await DevServer.start(
        DevServerOptions(db_file=tmp_path / "t.db", log_file=tmp_path / "t.log", port=port, ui=False)
    )
    try:
        assert await (await connecting).service_client.check_health()
    finally:
        server.kill()


async def test_a_missing_namespace_says_how_to_create_it(temporal_server: DevServer) -> None:
    settings = TemporalSettings(address=temporal_server.address, namespace="nowhere", timeout=0.5)
    with pytest.raises(TemporalUnreachableError, match="no namespace 'nowhere'; create it"):
        await connect(settings, None)


async def test_tls_to_a_server_without_it_is_one_clear_error(temporal_server: DevServer) -> None:
    settings = TemporalSettings(address=temporal_server.address, tls=TlsSettings(), timeout=0.5)
    with pytest.raises(TemporalUnreachableError, match="TLS settings"):
        await connect(settings, None)


async def test_the_identity_is_ours(temporal_server: DevServer) -> None:
    settings = TemporalSettings(address=temporal_server.address, identity="leaver-entra-1")
    assert (await connect(settings, None)).identity == "leaver-entra-1"


async def test_metrics_are_served(temporal_server: DevServer) -> None:
    port = free_port()
    settings = TemporalSettings(address=temporal_server.address)
    client = await connect(settings, None, runtime=process_runtime(metrics_address=f"127.0.0.1:{port}"))
    assert await client.service_client.check_health()
    async with httpx.AsyncClient() as http:
        metrics = (await http.get(f"http://127.0.0.1:{port}/metrics")).text
    assert "temporal_request_total" in metrics


def test_secrets_are_in_no_text_form() -> None:
    tls = TlsSettings(client_key=SecretBytes(b"private"))
    settings = TemporalSettings(tls=tls, api_key=SecretStr("sesame"))
    assert "private" not in repr(settings)
    assert "sesame" not in repr(settings)


async def test_log_lines_of_the_native_core_pass_through_pythons_logging(
    temporal_server: DevServer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    runtime = process_runtime()
    client = await connect(TemporalSettings(address=temporal_server.address), None, runtime=runtime)
    with caplog.at_level("WARNING", logger="temporalio.core"):
        async with Worker(client, task_queue="core-log", workflows=[Broken]):
            handle = await client.start_workflow(Broken.run, id="core-log", task_queue="core-log")
            await until_core_has_spoken(caplog)
            await handle.terminate()
    assert "Failing workflow task" in caplog.text
    assert "Failing workflow task" not in capfd.readouterr().out


async def until_core_has_spoken(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(250):
        if any(record.name.startswith("temporalio.core") for record in caplog.records):
            return
        await asyncio.sleep(0.02)
    pytest.fail("no log line of the core arrived")
