"""What a publisher believes before it signs: not the database alone, not what others put into a store."""

from __future__ import annotations

import asyncio
import base64
import shutil
import sqlite3
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from leaver.domain.words import RecordType
from leaver.evidence.anchors.book import Wanted, seal_status
from leaver.evidence.anchors.dates import note_dates
from leaver.evidence.anchors.publisher import Publisher
from leaver.evidence.anchors.sinks import FolderSink
from leaver.evidence.bundle import BundleKind, BundleStore, Material, Sealing
from leaver.evidence.errors import EvidenceError, LedgerDamagedError, RolledBackError
from leaver.evidence.formats.model import exceptions_of
from leaver.evidence.keys.files import FileLogSigner, FileSigner
from leaver.evidence.keys.rotation import KeyHolder, RotationCause, cross_signed
from leaver.evidence.ledger.model import AnchorKind, DamageKind
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.log.checkpoint import Checkpoint, parse_checkpoint
from leaver.evidence.log.notes import note_bytes
from leaver.evidence.records import LOG, Chain
from tests.support.anchors import ORIGIN, SealedLog, older_copy, put_back
from tests.support.ledgers import chain_of, draft

CASE = "c-abcdefghijklmnopqrstuvwxyz"


def _turn(publisher: Publisher, ledger: Ledger) -> None:
    """The database was replaced under a running sealer: its connections lead to the other one now."""
    for part in (publisher, publisher._book, publisher._jobs):
        part._ledger = ledger


async def test_an_older_copy_under_a_running_sealer_is_not_signed(
    sealed_log: SealedLog, tmp_path: Path
) -> None:
    """The stores are asked before each signature, not once: the file beside the key may be put back too."""
    publisher = sealed_log.publisher(kept=True, sinks=(FolderSink(tmp_path / "published"),))
    sealed_log.grow(4)
    await publisher.publish()
    copy, kept = older_copy(sealed_log), (sealed_log.folder / "last-checkpoint").read_bytes()
    sealed_log.grow(4)
    _turn(publisher, sealed_log.ledger)
    await publisher.publish()
    put_back(sealed_log, copy)
    sealed_log.grow(5, "rewritten")
    _turn(publisher, sealed_log.ledger)
    with pytest.raises(RolledBackError, match="file of the last signed checkpoint"):
        await publisher.publish()
    (sealed_log.folder / "last-checkpoint").write_bytes(kept)
    with pytest.raises(RolledBackError, match="store folder"):
        await publisher.publish()
    assert [one.size for one in sealed_log.ledger.checkpoints()] == [4]


def _unguarded(log: SealedLog, *statements: tuple[str, tuple[object, ...]]) -> None:
    """What somebody can do who administers the database."""
    log.ledger.close()
    with sqlite3.connect(log.folder / "ledger.db") as raw:
        for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            raw.execute(f'DROP TRIGGER "{name}"')
        for statement, values in statements:
            raw.execute(statement, values)
    raw.close()
    log.ledger = Ledger.open(log.folder / "ledger.db")


def _rewritten(log: SealedLog, note: bytes | None = None) -> bytes:
    """Another log of the same length in place of the signed one; the table of checkpoints has its root."""
    [signed] = log.ledger.checkpoints()
    log.ledger.close()
    for file in log.folder.glob("ledger.db*"):
        file.unlink()
    log.ledger = Ledger.open(log.folder / "ledger.db")
    log.grow(signed.size, "rewritten")
    values = (signed.size, log.ledger.root(), note or signed.note, 0)
    _unguarded(log, ("INSERT INTO checkpoint VALUES (?, ?, ?, ?)", values))
    return signed.note


async def test_a_rewritten_log_and_root_are_not_believed_against_the_signed_note(
    sealed_log: SealedLog,
) -> None:
    sealed_log.grow(6)
    await sealed_log.publisher().publish()
    note = _rewritten(sealed_log)
    assert [(damage.kind, damage.place) for damage in sealed_log.ledger.check()] == [
        (DamageKind.CHECKPOINT, "checkpoint 6")
    ]
    sealed_log.grow(2)
    publisher = sealed_log.publisher()
    with pytest.raises(LedgerDamagedError, match="signed note of the checkpoint of 6 records says another"):
        await publisher.publish()
    with pytest.raises(LedgerDamagedError, match="table of checkpoints was changed"):
        sealed_log.ledger.latest_checkpoint()
    assert parse_checkpoint(note, sealed_log.verifier).size == 6


async def test_a_note_that_somebody_else_signed_is_not_believed(
    sealed_log: SealedLog, tmp_path: Path
) -> None:
    forger = FileLogSigner(tmp_path / "forger.pem", ORIGIN)
    keys = [sealed_log.signer.vkey]
    sealed_log.grow(6)
    await sealed_log.publisher().publish()
    assert sealed_log.ledger.check(log_keys=keys) == ()
    other = SealedLog(tmp_path / "other", sealed_log.clock)
    other.grow(6, "rewritten")
    text = Checkpoint(ORIGIN, 6, other.ledger.root()).text()
    _rewritten(sealed_log, note_bytes(text, [forger.sign_note(text)]))
    text = Checkpoint(ORIGIN, 6, sealed_log.ledger.root()).text()
    _unguarded(
        sealed_log,
        ("UPDATE checkpoint SET note = ?", (note_bytes(text, [forger.sign_note(text)]),)),
    )
    assert sealed_log.ledger.check() == ()
    [damage] = sealed_log.ledger.check(log_keys=keys)
    assert (damage.kind, damage.place) == (DamageKind.CHECKPOINT, "checkpoint 6")
    assert "the log did not sign its note" in damage.text
    sealed_log.grow(1)
    with pytest.raises(EvidenceError, match="last checkpoint"):
        await sealed_log.publisher().publish()
    rotated = FileLogSigner(tmp_path / "rotated.pem", ORIGIN)
    holders = (KeyHolder.of_log(signer) for signer in (sealed_log.signer, rotated))
    body = cross_signed(*holders, sealed_log.clock(), RotationCause.SCHEDULED).model_dump(mode="json")
    sealed_log.ledger.note(Chain.LOG, LOG, RecordType.KEY_ROTATED, sealed_log.clock(), body, key="key")
    sealed_log.signer = rotated
    with pytest.raises(LedgerDamagedError, match="last checkpoint, of 6 records, was not signed by the log"):
        await sealed_log.publisher().publish()
    assert len(sealed_log.ledger.checkpoints()) == 1


# What others put into a store, and stores that do not answer.


def _put(folder: Path, size: int, content: bytes) -> None:
    (folder / "checkpoints" / str(size)).mkdir(parents=True)
    (folder / "checkpoints" / str(size) / "checkpoint").write_bytes(content)


async def test_what_somebody_else_put_into_a_store_stops_nothing(
    sealed_log: SealedLog, tmp_path: Path
) -> None:
    out, forger = tmp_path / "published", FileLogSigner(tmp_path / "forger.pem", ORIGIN)
    text = Checkpoint(ORIGIN, 999, bytes(32)).text()
    _put(out, 9_999, b"junk")
    _put(out, 999, note_bytes(text, [forger.sign_note(text)]))
    _put(out, 99, f"{ORIGIN}\n99\n{base64.b64encode(bytes(32)).decode()}\n\n\u2014 x AAAAAAAA\n".encode())
    (out / "checkpoints" / "12345678901234567890123").mkdir()
    publisher = sealed_log.publisher(sinks=(FolderSink(out),))
    sealed_log.grow(3)
    first = await publisher.publish()
    assert first is not None
    [trouble] = first.troubles
    assert "store folder: what lies there as checkpoint 9999 is none" in trouble
    assert (out / "checkpoints" / "3" / "checkpoint").is_file()
    for status in (publisher.status(), seal_status(sealed_log.ledger, [Wanted(AnchorKind.SINK, "folder")])):
        assert status.troubles == (trouble,)
    for size in (9_999, 999, 99):
        shutil.rmtree(out / "checkpoints" / str(size))
    sealed_log.grow(1)
    second = await publisher.publish()
    assert second is not None
    assert (second.troubles, publisher.status().troubles) == ((), ())


async def test_junk_in_a_store_does_not_hide_what_the_log_signed(
    sealed_log: SealedLog, tmp_path: Path
) -> None:
    out = tmp_path / "published"
    sealed_log.grow(2)
    await sealed_log.publisher(sinks=(FolderSink(out),)).publish()
    copy = older_copy(sealed_log)
    sealed_log.grow(2)
    await sealed_log.publisher(sinks=(FolderSink(out),)).publish()
    put_back(sealed_log, copy)
    sealed_log.grow(9, "rewritten")
    _put(out, 9_999, b"junk")
    with pytest.raises(RolledBackError, match="store folder"):
        await sealed_log.publisher(sinks=(FolderSink(out),)).publish()


class _Mute(FolderSink):
    """A share that hangs: no call comes back."""

    def __init__(self, folder: Path, free: threading.Event) -> None:
        super().__init__(folder, name="mute")
        self.free, self.asked = free, 0

    def sizes(self) -> list[int]:
        self.asked += 1
        self.free.wait(30)
        return super().sizes()


async def test_a_store_that_does_not_answer_holds_up_no_signature(
    sealed_log: SealedLog, tmp_path: Path
) -> None:
    free = threading.Event()
    mute = _Mute(tmp_path / "mute", free)
    publisher = sealed_log.publisher(sinks=(mute,), limit=0.2)
    async with asyncio.timeout(10):
        for _ in range(3):
            sealed_log.grow(1)
            published = await publisher.publish()
            assert published is not None
            assert "what it holds was not compared: TimeoutError" in published.troubles[-1]
        assert mute.asked == 1, "one thread waits, not one more each time"
        free.set()
        await asyncio.sleep(0.2)
        sealed_log.grow(1)
        published = await publisher.publish()
    assert published is not None
    assert (published.troubles, mute.asked) == ((), 2)


# What records say of their own time.


async def test_a_record_that_came_late_is_told_with_both_times(sealed_log: SealedLog) -> None:
    ledger, publisher = sealed_log.ledger, sealed_log.publisher()
    ledger.append([draft(CASE, 0)])
    sealed_log.clock.pass_(hours=3)
    await publisher.publish()
    before = sealed_log.clock()
    sealed_log.clock.pass_(hours=5)
    ledger.append([draft(CASE, 1), draft(CASE, 2)])
    ledger.append([draft(CASE, 3).model_copy(update={"at": before - timedelta(minutes=14)})])
    published = await publisher.publish()
    assert published is not None
    [told] = ledger.records(CASE, Chain.SEALER)
    assert (told.type, told.at, told.seq) == (RecordType.EXCEPTION_RAISED, sealed_log.clock(), 4)
    assert published.size == 5, "it is in the checkpoint that covers the records"
    body = told.body
    assert (body["cause"], body["chain"], body["count"]) == ("dated_back", "case", 2)
    assert (body["first_seq"], body["last_seq"]) == (1, 2)
    assert body["detail"] == (
        "recorded late: 2 record(s) of the chain case, places 1 to 2 of the log, are dated "
        "2026-11-20T17:00:01Z to 2026-11-20T17:00:02Z and came into the log between 2026-11-20T20:00:00Z and "
        "2026-11-21T01:00:00Z, as the checkpoints show"
    )
    assert (body["after"], body["before"]) == ("2026-11-20T20:00:00Z", "2026-11-21T01:00:00Z")
    assert note_dates(ledger, ledger.checkpoint(1), sealed_log.clock()) == 1
    assert len(ledger.records(CASE, Chain.SEALER)) == 1, "the same records are told about once"
    sealed_log.grow(1)
    await publisher.publish()
    assert len(ledger.records(CASE, Chain.SEALER)) == 1


async def test_a_record_from_the_future_is_told(sealed_log: SealedLog) -> None:
    ledger, ahead = sealed_log.ledger, sealed_log.clock() + timedelta(minutes=16)
    ledger.append([draft(CASE, 0).model_copy(update={"at": sealed_log.clock() + timedelta(minutes=14)})])
    ledger.append([draft(CASE, 1).model_copy(update={"at": ahead})])
    await sealed_log.publisher().publish()
    [told] = ledger.records(CASE, Chain.SEALER)
    assert (told.body["cause"], told.body["first_seq"], told.body["after"]) == ("dated_ahead", 1, None)
    assert "ahead of the sealer's clock" in str(told.body["detail"])
    assert exceptions_of([told])[0].cause == "dated_ahead"


async def test_records_that_come_as_they_are_dated_are_not_told_about(sealed_log: SealedLog) -> None:
    publisher = sealed_log.publisher()
    for number in range(4):
        at = sealed_log.clock() - timedelta(minutes=number * 5)
        sealed_log.ledger.append([draft(CASE, number).model_copy(update={"at": at})])
        await publisher.publish()
        sealed_log.clock.pass_(minutes=1)
    assert sealed_log.ledger.records(CASE, Chain.SEALER) == ()
    assert sealed_log.ledger.size() == 4


async def test_a_case_that_was_recorded_late_is_counted_with_what_is_noted_about_it(
    sealed_log: SealedLog, tmp_path: Path
) -> None:
    """The bundle's counts are the sealer's last word about the case: signing must add nothing after them."""
    ledger, publisher = sealed_log.ledger, sealed_log.publisher()
    sealed_log.grow(1)
    sealed_log.clock.pass_(hours=3)
    await publisher.publish()
    ledger.append(chain_of(CASE, 3))
    signer = FileSigner(tmp_path / "signer.pem")
    bundles = Sealing(
        ledger,
        BundleStore(tmp_path / "bundles", signer, [sealed_log.signer.vkey]),
        publisher.publish,
        Material((sealed_log.signer.vkey,)),
        clock=sealed_log.clock,
    )
    counted = bundles._note(CASE, BundleKind.CASE)
    assert await publisher.publish() is not None
    noted = ledger.records(CASE, Chain.SEALER)
    assert [record.type for record in noted] == [RecordType.EXCEPTION_RAISED, RecordType.BUNDLE_SEALING]
    assert (noted[-1].seq, noted[0].body["cause"]) == (counted.seq, "dated_back")
