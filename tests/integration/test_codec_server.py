from __future__ import annotations

import asyncio
import base64
import json
import subprocess
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import httpx
import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from pydantic import SecretStr
from structlog.testing import capture_logs
from temporalio import workflow
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.client import Client
from temporalio.worker import Worker

from leaver.embedded.dev_server import DevServer, find_binary
from leaver.temporal.codec import PayloadCodec
from leaver.temporal.codec_server import MAX_BODY, CodecServerOptions, codec_app, serving
from leaver.temporal.keyring import Keyring

CANARY = "canary.person@example.test"
UI = "http://127.0.0.1:8233"
Logged = list[MutableMapping[str, Any]]


@workflow.defn(name="TestEcho", sandboxed=False)
class Echo:
    @workflow.run
    async def run(self, who: str) -> str:
        return who


@pytest.fixture
async def url(payload_keyring: Keyring) -> AsyncIterator[str]:
    options = CodecServerOptions(namespaces=frozenset({"default"}), ui_origins=(UI,))
    async with serving(codec_app(payload_keyring, options)) as address:
        yield address


async def sealed(keyring: Keyring, namespace: str = "default") -> dict[str, Any]:
    payload = Payload(metadata={"encoding": b"json/plain"}, data=json.dumps(CANARY).encode())
    encoded = await PayloadCodec(keyring, scope=namespace).encode([payload])
    found: dict[str, Any] = MessageToDict(Payloads(payloads=encoded))
    return found


async def post(url: str, path: str = "/decode", body: object = None, **headers: str) -> httpx.Response:
    named = {"X-Namespace": "default"} | {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx.AsyncClient() as http:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await http.post(f"{url}{path}", content=content, headers=named)


@pytest.mark.parametrize("path", ["/decode", "/decode?preserveStorageRefs=true"])
async def test_the_ui_gets_payloads_in_the_clear(url: str, payload_keyring: Keyring, path: str) -> None:
    with capture_logs() as logs:
        answer = await post(url, path, await sealed(payload_keyring), Origin=UI)
    assert answer.status_code == 200
    (payload,) = Payloads.FromString(parse(answer)).payloads
    assert json.loads(payload.data) == CANARY
    assert answer.headers["access-control-allow-origin"] == UI
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert answer.headers["cache-control"] == "no-store"
    assert [entry["event"] for entry in logs] == ["codec.decoded"]
    assert (logs[0]["namespace"], logs[0]["payloads"], logs[0]["keys"]) == ("default", 1, ["test-1"])
    assert CANARY not in str(logs)


async def test_the_browser_may_ask_before_it_posts(url: str) -> None:
    headers = {
        "Origin": UI,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,x-namespace,authorization",
    }
    async with httpx.AsyncClient() as http:
        allowed = await http.options(f"{url}/decode", headers=headers)
        refused = await http.options(f"{url}/decode", headers=headers | {"Origin": "http://evil.test"})
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == UI
    assert refused.status_code == 400
    assert "access-control-allow-origin" not in refused.headers


async def test_there_is_nothing_but_decode(url: str, payload_keyring: Keyring) -> None:
    assert (await post(url, "/encode", await sealed(payload_keyring))).status_code == 404
    async with httpx.AsyncClient() as http:
        assert (await http.get(f"{url}/decode")).status_code == 405


@pytest.mark.parametrize(
    ("headers", "status", "reason"),
    [
        ({"X_Namespace": "other"}, 403, "namespace"),
        ({"X_Namespace": ""}, 403, "namespace"),
        ({"Origin": "http://evil.test"}, 403, "origin"),
        ({"Host": "rebound.evil.test"}, 403, "not loopback"),
    ],
)
async def test_strangers_are_refused_and_logged(
    url: str, payload_keyring: Keyring, headers: dict[str, str], status: int, reason: str
) -> None:
    with capture_logs() as logs:
        answer = await post(url, "/decode", await sealed(payload_keyring), **headers)
    assert answer.status_code == status
    assert CANARY not in answer.text
    assert [(entry["event"], entry["reason"]) for entry in logs] == [("codec.refused", reason)]


async def test_with_a_token_only_its_holders_are_served(payload_keyring: Keyring) -> None:
    options = CodecServerOptions(namespaces=frozenset({"default"}), bearer=SecretStr("sesame"))
    assert "sesame" not in repr(options)
    body = await sealed(payload_keyring)
    async with serving(codec_app(payload_keyring, options)) as url:
        assert (await post(url, "/decode", body)).status_code == 401
        assert (await post(url, "/decode", body, Authorization="Bearer wrong")).status_code == 401
        assert (await post(url, "/decode", body, Authorization="Bearer sesame")).status_code == 200
        named = await post(url, "/decode", body, Authorization="Bearer sesame", Host="codec.corp.test")
    assert named.status_code == 200


async def test_a_payload_of_another_namespace_is_not_opened(url: str, payload_keyring: Keyring) -> None:
    with capture_logs() as logs:
        answer = await post(url, "/decode", await sealed(payload_keyring, namespace="other"))
    assert answer.status_code == 422
    assert CANARY not in answer.text
    assert [(entry["event"], entry["error"]) for entry in logs] == [("codec.failed", "TamperedPayloadError")]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"not json about " + CANARY.encode(), 400),
        (b"\xff\xfe", 400),
        (b'{"payloads": [{"surprise": "%s"}]}' % CANARY.encode(), 400),
        (b" " * (MAX_BODY + 1), 413),
    ],
)
async def test_a_malformed_request_is_refused_without_repeating_it(
    url: str, body: bytes, status: int
) -> None:
    answer = await post(url, "/decode", body)
    assert answer.status_code == status
    assert CANARY not in answer.text


async def test_the_temporal_command_line_decodes_through_it(
    url: str, temporal_server: DevServer, temporal_client: Client
) -> None:
    async with Worker(temporal_client, task_queue="echo", workflows=[Echo]):
        await temporal_client.execute_workflow(Echo.run, CANARY, id="echo-1", task_queue="echo")
    command = [find_binary(), "workflow", "show", "--workflow-id", "echo-1", "--output", "json"]
    command += ["--address", temporal_server.address, "--disable-config-file"]

    async def shown(*more: str) -> str:
        run = await asyncio.to_thread(
            subprocess.run, [*command, *more], capture_output=True, text=True, check=True, timeout=20
        )
        return str(run.stdout)

    in_the_clear = base64.b64encode(json.dumps(CANARY).encode()).decode()  # the CLI prints payloads in base64
    assert in_the_clear not in await shown()
    assert in_the_clear in await shown("--codec-endpoint", url)


def parse(answer: httpx.Response) -> bytes:
    payloads = Payloads()
    ParseDict(answer.json(), payloads)
    return payloads.SerializeToString()
