"""``leaver evidence witness``: what an outsider does at a terminal, with a folder that was handed over."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from leaver.cli.witness import app
from leaver.evidence.anchors.layout import continuation_bytes
from leaver.evidence.anchors.sinks import FolderSink
from leaver.evidence.anchors.witness import ForkRefusedError, RefusedError, Witness
from leaver.evidence.anchors.witness_client import add_cosignature
from leaver.evidence.anchors.witness_folder import sign_folder
from leaver.evidence.errors import AnchorError, WitnessError
from leaver.evidence.keys.files import FileLogSigner
from leaver.evidence.log.checkpoint import cosigned_at
from leaver.evidence.log.notes import NoteVerifier, parse_note
from tests.support.anchors import ORIGIN, PlainLog, SealedLog


def _run(*words: str | Path) -> Result:
    return CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, [str(word) for word in words])


async def _publish(log: SealedLog, folder: Path, *sizes: int) -> Path:
    publisher = log.publisher(sinks=(FolderSink(folder),))
    for size in sizes:
        log.grow(size - log.ledger.size())
        assert await publisher.publish() is not None
    return folder


def _publish_plain(log: PlainLog, folder: Path, *sizes: int) -> Path:
    """The same layout for a log that can be forked."""

    before = 0
    for size in sizes:
        there = folder / "checkpoints" / str(size)
        there.mkdir(parents=True)
        (there / "checkpoint").write_bytes(log.note(size))
        (there / "consistency.json").write_bytes(
            continuation_bytes(ORIGIN, before, size, log.path(before, size))
        )
        before = size
    return folder


async def test_three_commands(sealed_log: SealedLog, tmp_path: Path) -> None:
    published = await _publish(sealed_log, tmp_path / "published", 3, 5)
    home, line = tmp_path / "witness", tmp_path / "cosignature.txt"
    key = tmp_path / "log.vkey"
    key.write_text(sealed_log.signer.vkey + "\n")

    done = _run("init", home, "--name", "audit.example/w1", "--log", key)
    assert done.exit_code == 0, done.output
    vkey = Witness(home).verifier.vkey
    assert vkey in done.stdout
    assert "nothing cosigned yet" in done.stdout
    done = _run("sign", home, published, "-o", line)
    assert done.exit_code == 0, done.output
    assert f"{ORIGIN}: size 5, root {sealed_log.ledger.root().hex()}" in done.stdout
    assert line.read_text() in done.stdout

    stored = sealed_log.ledger.checkpoint(5)
    assert stored is not None
    assert cosigned_at(parse_note(stored.note + line.read_bytes()), Witness(home).verifier) is not None
    add_cosignature(sealed_log.ledger, 5, line.read_text(), [vkey], sealed_log.clock())
    await sealed_log.publisher(sinks=(FolderSink(published),)).retry()
    assert any(file.name.startswith("cosignature.") for file in (published / "checkpoints" / "5").iterdir())

    # The next visit starts from what it saw, over the checkpoints between.
    await _publish(sealed_log, published, 6, 11, 12)
    done = _run("sign", home, published, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["size"] == 12
    done = _run("show", home, "--json")
    (log,) = json.loads(done.stdout)["logs"]
    assert (log["origin"], log["size"], log["root"]) == (ORIGIN, 12, sealed_log.ledger.root().hex())


def test_a_fork_is_refused_with_both_roots(outsider: Witness, plain_log: PlainLog, tmp_path: Path) -> None:
    home = tmp_path / "witness"
    plain_log.grow(9)
    assert _run("init", home, "--log", plain_log.vkey).exit_code == 0
    assert _run("sign", home, _publish_plain(plain_log, tmp_path / "first", 4, 6)).exit_code == 0
    other = plain_log.fork(5).grow(4, "other")
    for name, sizes in (("same", (4, 6)), ("longer", (4, 6, 9)), ("apart", (9,))):
        published = _publish_plain(other, tmp_path / name, *sizes)
        done = _run("sign", home, published)
        assert (done.exit_code, done.stdout) == (1, ""), done.output
        if name == "apart":
            assert "no proof leads on from size 6" in done.stderr
            continue
        assert done.stderr.startswith(
            "error: the log northwind.example/leaver shows two histories of one size"
        )
        for log in (plain_log, other):
            root = log.submission(6, 6).signed.root.hex()
            assert root in done.stderr.replace("\n", "")
    # A proof that starts at the right size, of a log whose earlier part was rewritten.
    lone = tmp_path / "lone"
    shutil.copytree(tmp_path / "longer" / "checkpoints" / "9", lone / "checkpoints" / "9")
    done = _run("sign", home, lone)
    assert done.exit_code == 1
    assert "does not prove that it continues what was cosigned before" in done.stderr.replace("\n", " ")
    shown = json.loads(_run("show", home, "--json").stdout)
    assert shown["logs"][0]["size"] == 6
    assert len(shown["refused"]) == 3
    assert _run("sign", home, _publish_plain(plain_log, tmp_path / "honest", 4, 6, 9)).exit_code == 0


def test_an_older_folder_is_refused(outsider: Witness, plain_log: PlainLog, tmp_path: Path) -> None:
    home = tmp_path / "witness"
    plain_log.grow(9)
    _run("init", home, "--log", plain_log.vkey)
    sign_folder(outsider, _publish_plain(plain_log, tmp_path / "new", 9))
    with pytest.raises(RefusedError, match="ends at size 4, but size 9 was cosigned already"):
        sign_folder(outsider, _publish_plain(plain_log, tmp_path / "old", 4))


def test_a_step_between_must_hold_as_well(outsider: Witness, plain_log: PlainLog, tmp_path: Path) -> None:
    """A forked checkpoint in the middle is noticed although the ends fit."""
    home = tmp_path / "witness"
    plain_log.grow(9)
    _run("init", home, "--log", plain_log.vkey)
    sign_folder(outsider, _publish_plain(plain_log, tmp_path / "first", 3))
    published = _publish_plain(plain_log, tmp_path / "out", 3, 6, 9)
    other = plain_log.fork(4).grow(5, "other")
    (published / "checkpoints" / "6" / "checkpoint").write_bytes(other.note(6))
    with pytest.raises(ForkRefusedError):
        sign_folder(outsider, published)
    known = outsider.state.load(ORIGIN)
    assert known is not None
    assert known.size == 3


def test_what_is_no_published_folder(outsider: Witness, plain_log: PlainLog, tmp_path: Path) -> None:
    outsider.state.follow(NoteVerifier.from_vkey(plain_log.vkey))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(WitnessError, match="cannot be read"):
        sign_folder(outsider, empty)
    (empty / "checkpoints").mkdir()
    with pytest.raises(WitnessError, match="no checkpoint was published there"):
        sign_folder(outsider, empty)
    published = _publish_plain(plain_log.grow(9), tmp_path / "out", 3, 6)
    sign_folder(outsider, published)
    _publish_plain(plain_log, published, 9)
    proof = published / "checkpoints" / "9" / "consistency.json"
    for bad in (b"", b"{}", b"x" * 300_000):
        proof.write_bytes(bad)
        with pytest.raises(AnchorError):
            sign_folder(outsider, published)
    (published / "checkpoints" / "9" / "checkpoint").write_bytes(plain_log.note(8))
    with pytest.raises(WitnessError, match="it says size 8"):
        sign_folder(outsider, published)


def test_bad_input_changes_nothing(plain_log: PlainLog, tmp_path: Path) -> None:
    home = tmp_path / "witness"
    for words, said in (
        (("show", home), "no witness there"),
        (("sign", home, tmp_path), "no witness there"),
        (("serve", home), "no witness there"),
        (("init", home, "--name", "a name"), "key name"),
        (("init", home, "--name", "audit.example/w1", "--log", "nonsense"), "neither a verifier key"),
        (("init", home, "--name", "audit.example/w1", "--log", plain_log.vkey + "x"), "base64"),
    ):
        done = _run(*words)
        assert done.exit_code == 2, (words, done.output)
        assert said in done.stderr, (words, done.output)
        assert not home.exists()
    Witness.create(home, "audit.example/w1")
    assert _run("sign", home, tmp_path / "absent").exit_code == 2
    there = tmp_path / "there"
    there.write_text("")
    published = _publish_plain(plain_log.grow(3), tmp_path / "out", 3)
    assert _run("sign", home, published, "-o", there).exit_code == 2
    assert _run("serve", home, "--host", "my.host").exit_code == 2
    done = _run("sign", home, published)
    assert done.exit_code == 1
    assert "does not follow the log northwind.example/leaver" in done.stderr
    (home / "witness.pem").chmod(0o644)
    assert _run("show", home).exit_code == 2


def test_a_stolen_origin_is_not_enough(outsider: Witness, plain_log: PlainLog, tmp_path: Path) -> None:
    _run("init", tmp_path / "witness", "--log", plain_log.vkey)
    thief = PlainLog(FileLogSigner(tmp_path / "thief.pem", ORIGIN)).grow(3)
    done = _run("sign", tmp_path / "witness", _publish_plain(thief, tmp_path / "out", 3))
    assert done.exit_code == 1
    assert "no key of that log that is trusted here signed it" in done.stderr
