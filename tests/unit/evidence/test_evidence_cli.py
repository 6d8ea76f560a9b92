"""``leaver evidence verify`` and ``consistency``: exit codes, what is said, what machines read."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result
from rich.table import Table
from typer.testing import CliRunner

from leaver.cli.evidence import app
from leaver.cli.output import SafeConsole
from leaver.domain.words import RecordType
from leaver.evidence.bundle import STANDALONE, bundle_files
from leaver.evidence.ledger.model import Note, StoredCheckpoint
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.log.checkpoint import Checkpoint
from leaver.evidence.log.notes import note_bytes
from leaver.evidence.records import Chain
from tests.support.bundle_world import START, World, signed_note, write_trust

CONFIG = """
case_id_key = "file:id.key"
[encryption]
current = "k1"
keys = { k1 = "file:payload.key" }
[hr]
tenant = "northwind"
[evidence]
ledger = "ledger.db"
"""


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def trust(sealed_world: World, tmp_path: Path) -> Path:
    return write_trust(
        tmp_path / "trust", sealed_world.keys, signed_note(sealed_world.log, sealed_world.keys, 40)
    )


def test_a_good_bundle(sealed: Path, trust: Path) -> None:
    done = run("verify", sealed, "--trust", trust)
    assert done.exit_code == 0
    assert "33 records, 300 history events" in done.stdout
    assert "tamper-evident since checkpoint 99 (stamped " in done.stdout
    assert "Consistent with the checkpoint you kept (size 40)." in done.stdout
    assert "inside the bundle" not in done.stdout
    without = run("verify", sealed)
    assert without.exit_code == 0
    assert "inside the bundle" in without.stdout


def test_what_machines_read(sealed: Path, trust: Path) -> None:
    told = json.loads(run("verify", sealed, "--trust", trust, "--json").stdout)
    assert (told["ok"], told["findings"], told["caveats"]) == (True, [], [])
    assert (told["kind"], told["subject"], told["size"]) == ("case", sealed.name, 99)
    assert [(each["kind"], each["own"], each["outside"]) for each in told["anchors"]] == [
        ("timestamp", True, True),
        ("witness", True, True),
    ]
    assert told["own"] == ["checkpoint", "log", "signer", "tsa", "witnesses"]


def test_a_bad_bundle_says_what_and_where(sealed: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(sealed, copy)
    (copy / "report.html").write_text("all is well")
    done = run("verify", copy)
    assert done.exit_code == 1
    assert "report.html: changed" in done.stdout
    told = json.loads(run("verify", copy, "--json").stdout)
    assert told["findings"] == [
        {"file": "report.html", "reason": "changed: its SHA-256 is not the signed one", "kind": "changed"}
    ]
    assert (told["ok"], told["claim"]) == (False, "")


HOSTILE = "\x1b[2J\x1b[HOK: 32 records\nOK: bundle: all good\x9b1m\u202e"


def test_names_in_a_bundle_do_not_reach_the_terminal_as_commands(sealed: Path, tmp_path: Path) -> None:
    copy = tmp_path / f"copy{HOSTILE}"
    shutil.copytree(sealed, copy)
    (copy / HOSTILE).write_text("x")
    with contextlib.suppress(OSError):  # where the file system takes such names
        Path(os.fsdecode(os.fsencode(copy) + b"/\xff\x1b[2Jx")).write_text("x")
    done = run("verify", copy)
    assert done.exit_code == 1
    assert (
        "\\x1b[2J\\x1b[HOK: 32 records\\nOK: bundle: all good\\x9b1m\\u202e: not in the signed" in done.stdout
    )
    for each in (done, run("verify", tmp_path / f"no{HOSTILE}"), run("export", "c-x", "-o", copy)):
        assert not set("\x1b\x9b\u202e") & set(each.output)
    told = run("verify", copy, "--json").stdout
    assert not set("\x1b\x9b\u202e") & set(told)
    assert HOSTILE in [each["file"] for each in json.loads(told)["findings"]]
    alone = subprocess.run(  # noqa: S603
        [sys.executable, "-I", STANDALONE, copy / "no"], capture_output=True, text=True, check=False
    )
    assert alone.returncode == 2
    assert "\x1b" not in alone.stderr


def test_everything_that_is_printed_is_without_commands_to_the_terminal() -> None:
    out = SafeConsole(file=io.StringIO(), force_terminal=True, color_system=None)
    table = Table("a\x1b[2J", title="t\x07")
    table.add_row("[b]x\x9b[/b]\x7f")
    out.print(table, "y\x1b]0;z\x07", "two\nlines")
    text = out.file.getvalue()  # type: ignore[attr-defined]
    assert not set("\x1b\x07\x9b\x7f") & set(text)
    assert "two\nlines" in text


def test_no_outside_anchor_is_said_aloud(sealed_world: World, tmp_path: Path) -> None:
    given = sealed_world.make(anchored=False)
    for name, content in bundle_files(given, sealed_world.keys.signer).items():
        (tmp_path / "b" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "b" / name).write_bytes(content)
    done = run("verify", tmp_path / "b")
    assert done.exit_code == 0
    assert "NO OUTSIDE ANCHOR: whoever holds the log key could have made another log." in done.stdout
    assert "(no outside anchor)" in done.stdout


@pytest.mark.parametrize(
    ("file", "content", "why"),
    [
        ("signer.pem", b"no key", "not a public key"),
        ("log.vkey", b"no key", "log.vkey: line 1"),
        ("witnesses.vkeys", b"\n\nno key", "witnesses.vkeys: line 3"),
        ("checkpoint", b"no note", "the kept checkpoint"),
    ],
)
def test_trust_material_that_cannot_be_used_is_bad_input(
    sealed: Path, trust: Path, file: str, content: bytes, why: str
) -> None:
    (trust / file).write_bytes(content)
    done = run("verify", sealed, "--trust", trust)
    assert done.exit_code == 2
    assert why in done.stderr


def test_bad_input(sealed: Path, trust: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "proof").write_text("{}")
    for words, why in (
        (("verify", tmp_path / "no"), "no such folder"),
        (("verify", sealed, "--trust", tmp_path / "no"), "no such folder"),
        (("verify", sealed, "--trust", tmp_path / "empty"), "holds none of"),
        (("verify", sealed, "--key", tmp_path / "no"), "cannot be read"),
        (("verify", sealed, "--trust", trust, "--consistency", tmp_path / "no"), "cannot be read"),
        (("verify", sealed, "--trust", trust, "--consistency", tmp_path / "proof"), "consistency proof"),
    ):
        done = run(*words)
        assert done.exit_code == 2, (words, done.output)
        assert why in done.stderr


def test_the_proof_that_the_operator_makes_joins_both(sealed_world: World, tmp_path: Path) -> None:
    (tmp_path / "leaver.toml").write_text(CONFIG)
    (tmp_path / "id.key").write_text("k" * 32)
    (tmp_path / "payload.key").write_text("base64:" + base64.b64encode(bytes(32)).decode())
    log = sealed_world.keys.log
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        for number in range(9):
            body = {"change": number}
            ledger.notes([Note(Chain.LOG, RecordType.CONFIG_CHANGE, START, body, f"c{number}")])
        text = Checkpoint(log.name, 9, ledger.root()).text()
        ledger.add_checkpoint(
            StoredCheckpoint(9, ledger.root(), note_bytes(text, [log.sign_note(text)]), START)
        )
        path = ledger.consistency(4, 9)
    words = ("--config", tmp_path / "leaver.toml", "-o", tmp_path / "proof")
    done = run("consistency", 4, 9, *words)
    assert done.exit_code == 0, done.output
    told = json.loads((tmp_path / "proof").read_bytes())
    assert (told["origin"], told["old"], told["new"]) == (log.name, 4, 9)
    assert [base64.b64decode(part) for part in told["path"]] == list(path)
    assert run("consistency", 4, 9, *words).exit_code == 2  # never over something
    for sizes in ((0, 9), (4, 10), (9, 4)):
        done = run("consistency", *sizes, *words[:2], "-o", tmp_path / "other")
        assert (done.exit_code, "from 1 to 9" in done.stderr) == (2, True)
    assert not (tmp_path / "other").exists()
