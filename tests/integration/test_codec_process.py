from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest
from google.protobuf.json_format import MessageToDict
from temporalio.api.common.v1 import Payload, Payloads

from leaver.embedded.processes import ChildProcess, ready_line
from leaver.temporal.codec import PayloadCodec
from leaver.temporal.keyring import Keyring
from workers import codec

KEYRING = Keyring.generate("k1")


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    (tmp_path / "payload.key").write_text("hex:" + KEYRING.keys["k1"].get_secret_value().hex())
    (tmp_path / "token").write_text("sesame")
    file = tmp_path / "leaver.toml"
    file.write_text(
        'case_id_key = "env:UNUSED"\n[temporal]\nnamespace = "leaver"\n'
        '[encryption]\ncurrent = "k1"\nkeys = { k1 = "file:payload.key" }\n'
    )
    return file


async def test_it_serves_as_a_process_of_its_own_until_sigterm(config_file: Path, tmp_path: Path) -> None:
    arguments = ["--config", str(config_file), "--port", "0"]
    child = ChildProcess.python(
        "workers.codec", arguments, name="the codec server", log_file=tmp_path / "codec.log"
    )
    said = await child.wait_for(ready_line, timeout=20)
    plain = Payload(metadata={"encoding": b"json/plain"}, data=b'"canary"')
    sealed = Payloads(payloads=await PayloadCodec(KEYRING, scope="leaver").encode([plain]))
    async with httpx.AsyncClient(base_url=said["url"], headers={"X-Namespace": "leaver"}) as http:
        answer = await http.post("/decode", json=MessageToDict(sealed))
    assert answer.json() == MessageToDict(Payloads(payloads=[plain]))
    assert await child.stop() == 0
    log = (tmp_path / "codec.log").read_text()
    assert json.loads(log.splitlines()[1])["event"] == "codec.decoded"
    assert "canary" not in log


async def test_others_may_reach_it_only_with_a_token(
    config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--config", str(config_file), "--host", "0.0.0.0", "--port", "0"]  # noqa: S104
    assert await asyncio.to_thread(codec.main, arguments) == 2
    assert "needs --token" in capsys.readouterr().err


def test_a_missing_configuration_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert codec.main(["--config", str(tmp_path / "none.toml")]) == 2
    assert "none.toml: no such file" in capsys.readouterr().err
