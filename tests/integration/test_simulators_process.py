"""The simulators in a process of their own: killed and started again, they are the same."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from leaver.simulators.company import person
from leaver.simulators.m365 import Delays
from leaver.simulators.running import CompanySettings, running_company

ROOT = Path(__file__).resolve().parents[2]
MIRA = person("E1001").object_id


@asynccontextmanager
async def simulators(folder: Path, end: signal.Signals) -> AsyncIterator[dict[str, Any]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "leaver.simulators", "--dir", str(folder), "--ad", "standin",
        stdout=asyncio.subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            yield json.loads(await process.stdout.readline())
        process.send_signal(end)
        async with asyncio.timeout(10):
            code = await process.wait()
        assert code == (0 if end is signal.SIGTERM else -end)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def token(there: dict[str, Any], client: httpx.AsyncClient) -> str:
    form = {
        "grant_type": "client_credentials",
        "client_id": there["client_id"],
        "client_secret": there["client_secret"],
        "scope": "https://graph.microsoft.com/.default",
    }
    answer = await client.post(f"{there['login_url']}/{there['tenant_id']}/oauth2/v2.0/token", data=form)
    return "Bearer " + str(answer.json()["access_token"])


async def test_killed_and_started_again_it_is_the_same(tmp_path: Path) -> None:
    async with simulators(tmp_path, signal.SIGKILL) as first:
        there = first["m365"]
        trust = ssl.create_default_context(cafile=there["ca_file"])
        async with httpx.AsyncClient(verify=trust) as client:
            headers = {"Authorization": await token(there, client)}
            url = f"{there['graph_url']}/users/{MIRA}"
            assert (
                await client.patch(url, json={"accountEnabled": False}, headers=headers)
            ).status_code == 204
    async with simulators(tmp_path, signal.SIGTERM) as second:
        assert second["m365"] == first["m365"]
        assert second["ad"]["url"] == first["ad"]["url"]
        async with httpx.AsyncClient(verify=trust) as client:
            shown = await client.get(f"{url}?$select=accountEnabled", headers=headers)
            assert shown.json()["accountEnabled"] is False
            sync = await client.get(f"{there['control_url']}/state", params={"user": "E1002"})
            assert sync.json()["user"]["immutable_id"] is not None
    lines = await asyncio.to_thread((tmp_path / "requests-entra.jsonl").read_text, "utf-8")
    assert [json.loads(line)["mutating"] for line in lines.splitlines()].count(True) == 1


async def test_directory_sync_brings_the_cloud_into_line(tmp_path: Path) -> None:
    settings = CompanySettings(ad="standin", delays=Delays(consistency=0), sync_interval=600)
    async with running_company(tmp_path, settings) as company:
        assert company.sync is not None
        async with asyncio.timeout(10):
            while not company.sync.rounds:  # noqa: ASYNC110 - it tells by its counter
                await asyncio.sleep(0.02)
        tenant = company.m365.tenant
        with tenant.users.change(tenant.user("E1002").id) as user:
            user.enabled = False
        await company.sync.once()
        assert tenant.user("E1002").enabled is True
        assert tenant.user("E1001").last_sync is None


async def test_without_active_directory(tmp_path: Path) -> None:
    async with running_company(tmp_path, CompanySettings(ad="none")) as company:
        assert company.as_dict()["ad"] is None


async def test_a_port_that_somebody_took_is_said(tmp_path: Path) -> None:
    async with running_company(tmp_path, CompanySettings(ad="none")) as company:
        port = company.m365.ports["graph"]
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        with pytest.raises(OSError, match="in use"):
            async with running_company(tmp_path, CompanySettings(ad="none")):
                pass
