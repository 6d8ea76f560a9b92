"""The command without a running stack: wrong input is named once, exit code 2, and nothing is written."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from pathlib import Path

import pytest

import leaver as package
from leaver.evidence.statements import new_person_key
from tests.support.command import leaver
from tests.support.stack import HR_FILE, POLICY

CASE = "c-" + "a" * 26
CONFIG = """
mode = "enforce"
case_id_key = "file:case-id.key"

[temporal]
address = "127.0.0.1:9"
connect_timeout_seconds = 0.5

[encryption]
current = "k1"
keys = { k1 = "file:payload.key" }

[hr]
tenant = "northwind"
webhook_key = "file:webhook.key"
locations = { Stockholm = "Europe/Stockholm", Berlin = "Europe/Berlin", Bengaluru = "Asia/Kolkata" }
"""
"""Port 9 of loopback is nobody's: connections are refused."""


@pytest.fixture
def installation(tmp_path: Path) -> Path:
    """A sound configuration whose Temporal does not answer."""
    folder = tmp_path / "installation"
    folder.mkdir()
    (folder / "leaver.toml").write_text(CONFIG)
    (folder / "policy.toml").write_text(POLICY.read_text("utf-8"))
    (folder / "case-id.key").write_text("k" * 32)
    (folder / "payload.key").write_text("base64:" + base64.b64encode(bytes(32)).decode())
    (folder / "webhook.key").write_text("northwind-webhook-test-key")
    new_person_key(folder / "E3001.pem")
    return folder


def content(folder: Path) -> Mapping[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


async def test_version_and_help() -> None:
    version, page, verbs, nothing = await asyncio.gather(
        leaver("--version"), leaver("--help"), leaver("case", "--help"), leaver("no-such-command")
    )
    assert (version.code, version.out, version.err) == (0, f"leaver {package.__version__}\n", "")
    assert page.code == 0
    for word in ("demo", "dev", "hr", "case", "evidence", "config", "key", "Exit codes"):
        assert word in page.out
    for word in ("list", "show", "approve", "reject", "hold", "release", "rescind", "retry"):
        assert word in verbs.out
    assert nothing.code == 2
    assert "no-such-command" in nothing.err


async def test_no_configuration(tmp_path: Path) -> None:
    (await leaver("case", "list", cwd=tmp_path)).check_refusal("leaver.toml: no such file", "LEAVER_CONFIG")
    assert content(tmp_path) == {}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("mode =", "mode", ["leaver.toml: is not valid TOML"]),
        ("mode =", "modus =", ["modus", "Extra inputs are not permitted"]),
        ("[hr]", "[hr]\ntenannt = 1", ["hr.tenannt"]),
        ('"file:case-id.key"', '"file:gone.key"', ["case_id_key", "gone.key", "No such file"]),
        ('"file:case-id.key"', '"env:NOT_SET_ANYWHERE"', ["case_id_key", "NOT_SET_ANYWHERE is not set"]),
        ('"file:case-id.key"', '"plain text secret"', ["case_id_key"]),
        ('current = "k1"', 'current = "k2"', ["encryption"]),
    ],
)
async def test_a_wrong_configuration(installation: Path, old: str, new: str, words: list[str]) -> None:
    file = installation / "leaver.toml"
    file.write_text(CONFIG.replace(old, new, 1))
    before = content(installation)
    said = await leaver("hr", "ingest", HR_FILE, "--source", "csv", "--config", file)
    said.check_refusal(*words)
    assert "plain text secret" not in said.err
    assert content(installation) == before


async def test_every_problem_is_named_at_once(installation: Path) -> None:
    file = installation / "leaver.toml"
    file.write_text(CONFIG.replace("mode", "modus", 1).replace("tenant", "tenannt", 1))
    said = await leaver("case", "list", "--config", file)
    said.check_refusal("modus", "hr.tenannt")


async def test_temporal_does_not_answer(installation: Path) -> None:
    before = content(installation)
    config = ("--config", installation / "leaver.toml")
    key = ("--as", "E3001", "--key", installation / "E3001.pem", "--reason", "a test")
    for said in await asyncio.gather(
        leaver("case", "list", *config),
        leaver("case", "show", CASE, *config),
        leaver("case", "hold", CASE, *key, *config),
        leaver("hr", "ingest", HR_FILE, "--source", "csv", *config),
    ):
        said.check_refusal("Temporal at 127.0.0.1:9 gave no usable answer")
    assert content(installation) == before


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", ["is empty"]),
        (HR_FILE.read_bytes().replace(b"Lindqvist", b"Lindkv\xefst"), ["is not UTF-8"]),
        (b"first,second\n1,2\n", ["employee_number"]),
        (b'employee_number,last_working_day\n"E1001,2026-11-20\n', ["line"]),
    ],
    ids=["empty", "another encoding", "other columns", "an open quote"],
)
async def test_a_malformed_file(installation: Path, tmp_path: Path, data: bytes, words: list[str]) -> None:
    file = tmp_path / "leavers.csv"
    file.write_bytes(data)
    before = content(installation)
    said = await leaver(
        "hr", "ingest", file, "--source", "csv", "--dry-run", "--config", installation / "leaver.toml"
    )
    said.check_refusal("leavers.csv", *words)
    assert content(installation) == before


async def test_a_missing_file(installation: Path, tmp_path: Path) -> None:
    config = ("--config", installation / "leaver.toml")
    gone = tmp_path / "gone.csv"
    ingest, verify, key = await asyncio.gather(
        leaver("hr", "ingest", gone, "--source", "csv", *config),
        leaver("evidence", "verify", gone),
        leaver("case", "hold", CASE, "--as", "E3001", "--key", gone, "--reason", "a test", *config),
    )
    ingest.check_refusal("gone.csv", "No such file")
    verify.check_refusal("gone.csv", "no such folder")
    assert key.code == 2


async def test_a_dry_run_needs_no_temporal_and_names_every_row(installation: Path) -> None:
    before = content(installation)
    config = ("--config", installation / "leaver.toml")
    said = await leaver("hr", "ingest", HR_FILE, "--source", "csv", "--dry-run", "--json", *config)
    assert (said.code, said.err) == (1, "")
    told = said.json
    assert [(row["person"], row["done"]) for row in told["cases"]] == [
        (number, "would_start") for number in ("E1001", "E1002", "E1003", "E1004")
    ]
    assert [(row["person"], row["done"]) for row in told["held"]] == [("E1006", "would_hold")]
    assert [(row["line"], row["field"]) for row in told["rejected"]] == [(6, "last_working_day")]
    assert all(row["case"].startswith("c-") for row in told["cases"])
    assert "Lindqvist" not in said.out
    assert content(installation) == before


async def test_a_webhook_is_judged_by_when_it_came_and_stays_deliverable_until_it_was_acted_on(
    installation: Path,
) -> None:
    samples = HR_FILE.parent
    words = (
        "hr", "ingest", samples / "bamboohr-webhook.json", "--source", "bamboohr-webhook",
        "--headers", samples / "bamboohr-webhook-headers.json",
        "--employees", samples / "bamboohr-employment-status.json",
        "--config", installation / "leaver.toml", "--json",
    )  # fmt: skip
    at = ("--received-at", "2026-11-20T23:00:10Z")
    before = content(installation)
    late, planned, unreachable, again = await asyncio.gather(
        leaver(*words, "--received-at", "2026-11-20T23:30:00Z"),
        leaver(*words, *at, "--dry-run"),
        leaver(*words, *at),
        leaver(*words, *at, "--dry-run", LEAVER_HR__WEBHOOK_KEY="file:case-id.key"),
    )
    late.check_refusal("timestamp")
    again.check_refusal("signature")
    assert planned.code == 0, planned
    assert [(row["person"], row["done"]) for row in planned.json["cases"]] == [("E1001", "would_start")]
    unreachable.check_refusal("Temporal at 127.0.0.1:9")
    assert content(installation) == before, "nothing was started, so nothing may count as delivered"
