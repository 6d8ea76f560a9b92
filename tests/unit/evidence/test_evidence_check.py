"""``leaver evidence check``: what is recomputed, and whose signatures count."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from leaver.cli.main import app
from leaver.domain.words import RecordType
from leaver.evidence.anchors.publisher import Publisher
from leaver.evidence.keys.files import FileLogSigner
from leaver.evidence.ledger.model import Note
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.log.checkpoint import Checkpoint
from leaver.evidence.log.notes import note_bytes
from leaver.evidence.records import Chain

NAME = "leaver/northwind"
CONFIG = """
case_id_key = "file:id.key"
[encryption]
current = "k1"
keys = { k1 = "file:payload.key" }
[hr]
tenant = "northwind"
[evidence]
ledger = "ledger.db"
log_key = "log.pem"
"""


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    (tmp_path / "leaver.toml").write_text(CONFIG)
    (tmp_path / "id.key").write_text("k" * 32)
    (tmp_path / "payload.key").write_text("base64:" + "A" * 43 + "=")
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        ledger.notes([Note(Chain.LOG, RecordType.CONFIG_CHANGE, datetime.now(UTC), {}, "one")])
        log = FileLogSigner(tmp_path / "log.pem", NAME)
        await Publisher(ledger, log, kept=tmp_path / "last-checkpoint").publish()
    return tmp_path


def check(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["evidence", "check", "--config", str(folder / "leaver.toml"), *words])


def test_a_log_that_its_key_signed(folder: Path) -> None:
    done = check(folder)
    assert (done.exit_code, done.stdout) == (0, "OK: 1 records\n")


def test_without_the_key_it_is_said_that_signatures_were_not_checked(folder: Path) -> None:
    (folder / "log.pem").unlink()
    done = check(folder)
    assert done.exit_code == 0
    assert "the signatures of the checkpoints were not checked" in done.stdout
    assert json.loads(check(folder, "--json").stdout)["signatures"] is False
    assert not (folder / "log.pem").exists(), "a check makes no key"


def test_a_checkpoint_that_somebody_else_signed_is_found(folder: Path) -> None:
    forger = FileLogSigner(folder / "forger.pem", NAME)
    with Ledger.open(folder / "ledger.db") as ledger:
        text = Checkpoint(NAME, 1, ledger.root()).text()
    with sqlite3.connect(folder / "ledger.db") as raw:
        for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            raw.execute(f'DROP TRIGGER "{name}"')
        raw.execute("UPDATE checkpoint SET note = ?", (note_bytes(text, [forger.sign_note(text)]),))
    raw.close()
    done = check(folder)
    assert done.exit_code == 1
    assert "checkpoint 1: the log did not sign its note" in done.stdout
    [found] = json.loads(check(folder, "--json").stdout)["findings"]
    assert (found["kind"], found["place"]) == ("checkpoint", "checkpoint 1")
