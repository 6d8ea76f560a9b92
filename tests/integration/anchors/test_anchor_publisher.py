"""Publishing: signed, stored, anchored, sent; and what happens when a part of the outside is missing."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from leaver.domain.words import RecordType
from leaver.evidence.anchors.book import Wanted, seal_status, sink_of
from leaver.evidence.anchors.layout import cosignature_file, parse_continuation
from leaver.evidence.anchors.publisher import Outside
from leaver.evidence.anchors.sealed import open_sealed, seal_bytes
from leaver.evidence.anchors.sinks import FolderSink
from leaver.evidence.anchors.timestamp import TimestampAuthority, timestamped_bytes, verify_timestamp
from leaver.evidence.anchors.witness import Witness
from leaver.evidence.anchors.witness_client import WitnessClient, add_cosignature
from leaver.evidence.anchors.witness_folder import sign_folder
from leaver.evidence.errors import (
    AnchorError,
    LedgerDamagedError,
    RolledBackError,
    SinkError,
)
from leaver.evidence.ledger.model import AnchorKind
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.log.checkpoint import cosigned_at, parse_checkpoint
from leaver.evidence.log.merkle import consistent
from leaver.evidence.log.notes import parse_note
from leaver.evidence.population.erasure import Order, erase
from leaver.evidence.records import Chain
from leaver.simulators.tsa import TsaAddress, TsaFault
from tests.support.anchors import ORIGIN, SealedLog, older_copy, put_back
from tests.support.ledgers import chain_of

CASE = "c-abcdefghijklmnopqrstuvwxyz"
ROOT = Path(__file__).resolve().parents[3]
WITNESS_FILE = cosignature_file("audit.example/w1")


def _authority(tsa: TsaAddress, *, name: str = "tsa", timeout: float = 5.0) -> TimestampAuthority:
    return TimestampAuthority(tsa.url, tsa.ca_file.read_bytes(), name=name, timeout=timeout)


def _files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def _of(published: Path, size: int) -> set[str]:
    return {file.name for file in (published / "checkpoints" / str(size)).iterdir()}


async def test_a_checkpoint_goes_everywhere(
    sealed_log: SealedLog, tsa: TsaAddress, outsider: Witness, witness_url: str, tmp_path: Path
) -> None:
    outsider.state.follow(sealed_log.verifier)
    out = tmp_path / "published"
    publisher = sealed_log.publisher(
        timestamps=(_authority(tsa),),
        witnesses=(WitnessClient(witness_url, outsider.verifier.vkey, independent=True),),
        sinks=(FolderSink(out),),
    )
    sealed_log.grow(3)
    first = await publisher.publish()
    assert first is not None
    assert (first.size, first.root, first.troubles) == (3, sealed_log.ledger.root(), ())
    assert await publisher.publish() is None
    sealed_log.grow(4)
    second = await publisher.tick()
    assert second is not None
    assert await publisher.retry() == ()

    whole = {"checkpoint", "consistency.json", "timestamp.tsr", WITNESS_FILE}
    assert (_of(out, 3), _of(out, 7)) == (whole, whole)
    there = out / "checkpoints" / "7"
    note = (there / "checkpoint").read_bytes()
    signed = parse_checkpoint(note, sealed_log.verifier)
    assert (signed.size, signed.root) == (7, second.root)
    verify_timestamp(
        (there / "timestamp.tsr").read_bytes(), timestamped_bytes(note), tsa.ca_file.read_bytes()
    )
    cosigned = parse_note(note + (there / WITNESS_FILE).read_bytes())
    assert cosigned_at(cosigned, outsider.verifier) is not None
    proof = parse_continuation((there / "consistency.json").read_bytes())
    assert (proof.origin, proof.old, proof.new) == (ORIGIN, 3, 7)
    assert consistent(3, 7, proof.path, first.root, second.root)

    status = publisher.status()
    assert (status.size, status.root, status.at, status.unsealed) == (7, second.root, second.at, 0)
    assert [(one.kind, one.name, one.anchored_up_to, one.pending, one.trouble) for one in status.anchors] == [
        (AnchorKind.TIMESTAMP, "tsa", 7, 0, ""),
        (AnchorKind.WITNESS, "audit.example/w1", 7, 0, ""),
        (AnchorKind.SINK, "folder", 7, 0, ""),
    ]
    assert (status.anchored_up_to, status.independent_up_to, status.independent) == (7, 7, True)


async def test_without_anybody_outside_the_log_is_still_signed(sealed_log: SealedLog) -> None:
    publisher = sealed_log.publisher()
    assert publisher.status().size == 0
    assert await publisher.publish() is None
    sealed_log.grow(2)
    assert publisher.status().unsealed == 2
    assert (await publisher.publish()) is not None
    status = publisher.status()
    assert (status.size, status.anchors, status.independent, status.anchored_up_to) == (2, (), False, 0)


async def test_an_authority_of_ones_own_makes_nothing_independent(
    sealed_log: SealedLog, tsa: TsaAddress
) -> None:
    publisher = sealed_log.publisher(timestamps=(_authority(tsa),))
    sealed_log.grow()
    await publisher.publish()
    status = publisher.status()
    assert (status.anchored_up_to, status.independent, status.independent_up_to) == (1, False, 0)
    wanted = [Wanted(AnchorKind.TIMESTAMP, "tsa", independent=True)]
    assert seal_status(sealed_log.ledger, wanted).independent_up_to == 1


async def test_a_missing_authority_is_marked_and_asked_again(
    sealed_log: SealedLog, tsa: TsaAddress, tmp_path: Path
) -> None:
    out = tmp_path / "published"
    publisher = sealed_log.publisher(timestamps=(_authority(tsa),), sinks=(FolderSink(out),))
    tsa.fault = TsaFault.DOWN
    for _ in range(2):
        sealed_log.grow(2)
        published = await publisher.tick()
        assert published is not None
        assert "the timestamp authority tsa: no answer" in published.troubles[0]
    assert _of(out, 2) == _of(out, 4) == {"checkpoint", "consistency.json"}
    before = _files(out)
    (first, second) = sealed_log.ledger.troubles()
    assert [(one.size, one.kind, one.name) for one in (first, second)] == [
        (2, AnchorKind.TIMESTAMP, "tsa"),
        (4, AnchorKind.TIMESTAMP, "tsa"),
    ]
    status = publisher.status()
    assert (status.size, status.anchored_up_to, status.pending, len(status.troubles)) == (4, 0, 2, 1)

    tsa.fault = None
    assert await publisher.retry() == ()
    assert _of(out, 2) == _of(out, 4) == {"checkpoint", "consistency.json", "timestamp.tsr"}
    assert {name: raw for name, raw in _files(out).items() if name in before} == before
    status = publisher.status()
    assert (status.anchored_up_to, status.pending, status.troubles) == (4, 0, ())
    assert len(sealed_log.ledger.troubles()) == 2
    assert tsa.stamped == 2
    assert await publisher.retry() == ()
    assert tsa.stamped == 2


async def test_one_slow_anchor_holds_nobody_up(
    sealed_log: SealedLog, tsa: TsaAddress, outsider: Witness, witness_url: str, tmp_path: Path
) -> None:
    outsider.state.follow(sealed_log.verifier)
    tsa.fault, tsa.delay = TsaFault.SLOW, 30.0
    publisher = sealed_log.publisher(
        timestamps=(_authority(tsa, timeout=30.0),),
        witnesses=(WitnessClient(witness_url, outsider.verifier.vkey),),
        sinks=(FolderSink(tmp_path / "published"),),
        limit=0.4,
    )
    sealed_log.grow()
    async with asyncio.timeout(5):
        published = await publisher.publish()
    assert published is not None
    assert published.troubles == ("timestamp tsa: not done within 0.4 s",)
    assert _of(tmp_path / "published", 1) == {"checkpoint", "consistency.json", WITNESS_FILE}


async def test_a_witness_that_was_away_cosigns_the_newest(
    sealed_log: SealedLog, outsider: Witness, witness_url: str, tmp_path: Path
) -> None:
    client = WitnessClient(witness_url, outsider.verifier.vkey)
    publisher = sealed_log.publisher(witnesses=(client,), sinks=(FolderSink(tmp_path / "out"),))
    for _ in range(3):
        sealed_log.grow(2)
        published = await publisher.publish()
        assert published is not None
        assert "HTTP 404" in published.troubles[0]
    outsider.state.follow(sealed_log.verifier)
    assert await publisher.retry() == ()
    assert [
        (one.size, one.kind) for one in sealed_log.ledger.anchors() if one.kind is AnchorKind.WITNESS
    ] == [(6, AnchorKind.WITNESS)]
    status = publisher.status()
    assert (status.anchored_up_to, status.pending, status.troubles) == (6, 0, ())
    assert WITNESS_FILE in _of(tmp_path / "out", 6)
    sealed_log.grow()
    published = await publisher.publish()
    assert published is not None
    assert published.troubles == ()


async def test_a_store_that_was_away_gets_everything(
    sealed_log: SealedLog, tsa: TsaAddress, tmp_path: Path
) -> None:
    out = tmp_path / "published"
    out.write_text("a file stands where the folder should be")
    sinks = (FolderSink(out, name="share"), FolderSink(tmp_path / "other", name="other"))
    publisher = sealed_log.publisher(timestamps=(_authority(tsa),), sinks=sinks)
    for _ in range(3):
        sealed_log.grow()
        published = await publisher.tick()
        assert published is not None
        assert "cannot be" in published.troubles[0]
    assert [one.name for one in publisher.status().anchors if one.trouble] == ["share"]
    assert {sink_of(one.name) for one in sealed_log.ledger.anchors() if one.kind is AnchorKind.SINK} == {
        "other"
    }
    out.unlink()
    assert await publisher.retry() == ()
    assert _files(out) == _files(tmp_path / "other")
    assert len(_files(out)) == 9
    assert publisher.status().troubles == ()


async def test_a_further_store_gets_the_past(sealed_log: SealedLog, tmp_path: Path) -> None:
    publisher = sealed_log.publisher()
    for _ in range(60):
        sealed_log.grow()
        await publisher.publish()
    publisher = sealed_log.publisher(sinks=(FolderSink(tmp_path / "late"),))
    await publisher.retry()
    there = sorted(int(path.name) for path in (tmp_path / "late" / "checkpoints").iterdir())
    assert there == list(range(11, 61))
    await publisher.retry()
    assert len(_files(tmp_path / "late")) == 120


async def test_a_store_with_other_content_is_not_overwritten(sealed_log: SealedLog, tmp_path: Path) -> None:
    out = tmp_path / "published"
    (out / "checkpoints" / "1").mkdir(parents=True)
    (out / "checkpoints" / "1" / "consistency.json").write_text("something else")
    publisher = sealed_log.publisher(sinks=(FolderSink(out),))
    sealed_log.grow()
    published = await publisher.publish()
    assert published is not None
    assert "other content lies there already" in published.troubles[0]
    assert (out / "checkpoints" / "1" / "consistency.json").read_text() == "something else"


_KILLED = """
import asyncio, os, sys
from pathlib import Path
from leaver.evidence.anchors.jobs import Jobs
from tests.support.anchors import SealedLog
from leaver.evidence.anchors.sinks import FolderSink

class Dead(FolderSink):
    def put(self, name, content):
        os._exit(9)

log = SealedLog(Path(sys.argv[1]))
log.grow(3, "late")
asyncio.run(log.publisher(kept=True, sinks=(Dead(Path(sys.argv[2])),)).publish())
"""


async def test_killed_between_storing_and_sending(
    sealed_log: SealedLog, tsa: TsaAddress, tmp_path: Path
) -> None:
    """The process dies when the first byte should leave: what it signed is there, and is sent later."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", _KILLED, str(tmp_path / "sealer"), str(tmp_path / "out")],
        cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == 9
    stored = sealed_log.ledger.latest_checkpoint()
    assert stored is not None
    assert stored.size == 3
    assert not (tmp_path / "out" / "checkpoints").exists()
    publisher = sealed_log.publisher(
        kept=True, timestamps=(_authority(tsa),), sinks=(FolderSink(tmp_path / "out"),)
    )
    assert await publisher.tick() is None
    assert _of(tmp_path / "out", 3) == {"checkpoint", "consistency.json", "timestamp.tsr"}
    assert (tmp_path / "out" / "checkpoints" / "3" / "checkpoint").read_bytes() == stored.note


@pytest.mark.parametrize("memory", ["kept", "store"])
async def test_an_older_copy_of_the_ledger_is_not_signed(
    sealed_log: SealedLog, memory: str, tmp_path: Path
) -> None:
    sinks = (FolderSink(tmp_path / "published"),) if memory == "store" else ()
    words = {"kept": memory == "kept", "sinks": sinks}
    sealed_log.grow(3)
    await sealed_log.publisher(**words).publish()
    copy = older_copy(sealed_log)
    sealed_log.grow(3)
    await sealed_log.publisher(**words).publish()
    put_back(sealed_log, copy)
    where = "file of the last signed" if memory == "kept" else "store folder"
    with pytest.raises(RolledBackError, match=f"over 6 was signed before .*{where}.*older copy"):
        await sealed_log.publisher(**words).publish()
    sealed_log.grow(4, "rewritten")  # now it is long enough, but holds other records
    publisher = sealed_log.publisher(**words)
    for _again in range(2):
        with pytest.raises(RolledBackError, match=f"{where}.*history was changed; nothing was signed"):
            await publisher.publish()
    assert [one.size for one in sealed_log.ledger.checkpoints()] == [3]


async def test_a_witness_notices_the_older_copy_as_well(
    sealed_log: SealedLog, outsider: Witness, witness_url: str
) -> None:
    outsider.state.follow(sealed_log.verifier)
    client = WitnessClient(witness_url, outsider.verifier.vkey)
    sealed_log.grow(3)
    await sealed_log.publisher(witnesses=(client,)).publish()
    copy = older_copy(sealed_log)
    sealed_log.grow(3)
    await sealed_log.publisher(witnesses=(client,)).publish()
    put_back(sealed_log, copy)
    sealed_log.grow(1, "rewritten")
    published = await sealed_log.publisher(witnesses=(client,)).publish()
    assert published is not None
    assert "has cosigned size 6 of this log, beyond our 4" in published.troubles[0]
    sealed_log.grow(4, "rewritten")
    published = await sealed_log.publisher(witnesses=(client,)).publish()
    assert published is not None
    assert "history may be rewritten" in published.troubles[0]


async def test_a_damaged_log_is_not_signed(sealed_log: SealedLog) -> None:
    publisher = sealed_log.publisher()
    sealed_log.grow(5)
    await publisher.publish()
    sealed_log.grow(1)
    sealed_log.ledger.close()
    with sqlite3.connect(sealed_log.folder / "ledger.db") as raw:
        for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            raw.execute(f'DROP TRIGGER "{name}"')
        raw.execute("UPDATE node SET hash = zeroblob(32) WHERE level = 1 AND idx = 0")
        raw.execute("UPDATE node SET hash = zeroblob(32) WHERE level = 2 AND idx = 0")
    raw.close()
    sealed_log.ledger = Ledger.open(sealed_log.folder / "ledger.db")
    with pytest.raises(LedgerDamagedError):
        await sealed_log.publisher().publish()
    assert len(sealed_log.ledger.checkpoints()) == 1


async def test_many_callers_sign_once(sealed_log: SealedLog) -> None:
    publisher = sealed_log.publisher()
    sealed_log.grow(3)
    said = await asyncio.gather(*(publisher.publish() for _ in range(8)))
    assert sum(one is not None for one in said) == 1
    assert len(sealed_log.ledger.checkpoints()) == 1


async def test_a_witness_whose_word_comes_by_hand(
    sealed_log: SealedLog, outsider: Witness, tmp_path: Path
) -> None:
    client = WitnessClient(None, outsider.verifier.vkey, independent=True)
    sinks = (FolderSink(tmp_path / "out"),)
    publisher = sealed_log.publisher(witnesses=(client,), sinks=sinks)
    sealed_log.grow(2)
    published = await publisher.tick()
    assert published is not None
    assert (published.troubles, publisher.status().independent) == ((), False)
    assert publisher.status().anchors[0].pending == 1
    outsider.state.follow(sealed_log.verifier)
    line = sign_folder(outsider, tmp_path / "out").line
    add_cosignature(sealed_log.ledger, 2, line, [client.vkey], sealed_log.clock())
    assert await publisher.tick() is None
    assert (tmp_path / "out" / "checkpoints" / "2" / WITNESS_FILE).read_text() == line
    assert (publisher.status().independent_up_to, publisher.status().pending) == (2, 0)


async def test_two_authorities_and_two_names(sealed_log: SealedLog, tsa: TsaAddress, tmp_path: Path) -> None:
    authorities = (_authority(tsa), _authority(tsa, name="second"))
    publisher = sealed_log.publisher(timestamps=authorities, sinks=(FolderSink(tmp_path / "out"),))
    sealed_log.grow()
    tsa.fault = TsaFault.DOWN
    await publisher.publish()
    tsa.fault = None
    await publisher.retry()
    stored = sealed_log.ledger.checkpoint(1)
    assert stored is not None
    for anchor in sealed_log.ledger.anchors(1):
        if anchor.kind is AnchorKind.TIMESTAMP:
            verify_timestamp(anchor.content, timestamped_bytes(stored.note), tsa.ca_file.read_bytes())
    files = _files(tmp_path / "out" / "checkpoints" / "1")
    assert files["timestamp.tsr"] != files["timestamp.2.tsr"]
    assert _of(tmp_path / "out", 1) == {"checkpoint", "consistency.json", "timestamp.tsr", "timestamp.2.tsr"}
    with pytest.raises(AnchorError, match="two anchors have the same name: timestamp tsa"):
        Outside(timestamps=(authorities[0], authorities[0]))


# Bundles.


async def test_a_bundle_is_stored_encrypted_once(sealed_log: SealedLog, tmp_path: Path) -> None:
    sinks = (FolderSink(tmp_path / "one", name="one"), FolderSink(tmp_path / "two", name="two"))
    publisher = sealed_log.publisher(sinks=sinks)
    versions = await publisher.store_bundle(CASE, b"who left and when")
    assert await publisher.store_bundle(CASE, b"who left and when") == versions
    await publisher.store_bundle(CASE, b"still gone", "watch")
    stored = _files(tmp_path / "one")
    assert set(stored) == {f"bundles/{CASE}.enc", f"bundles/{CASE}.watch.enc"}
    assert stored == _files(tmp_path / "two")
    assert b"who left" not in stored[f"bundles/{CASE}.enc"]
    key = sealed_log.ledger.case_key(CASE)
    assert key is not None
    assert open_sealed(key, stored[f"bundles/{CASE}.enc"], f"bundles/{CASE}.enc") == b"who left and when"
    with pytest.raises(SinkError, match=r"one.*other content.*two.*other content"):
        await publisher.store_bundle(CASE, b"another story")


async def test_an_erased_case_gets_no_key_again(sealed_log: SealedLog, tmp_path: Path) -> None:
    publisher = sealed_log.publisher(sinks=(FolderSink(tmp_path / "one"),))
    sealed_log.ledger.append(chain_of(CASE, 3))
    opened = sealed_log.ledger.note(
        Chain.SEALER, CASE, RecordType.POPULATION_ROW, sealed_log.clock(), {"mode": "enforce"}, key="row"
    )
    assert opened.case == CASE
    await publisher.store_bundle(CASE, b"who left and when")
    erase(sealed_log.ledger, CASE, Order("asked for it", "p-sec", "n-1", force=True), sealed_log.clock())
    for content, kind in ((b"who left and when", "case"), (b"with what was watched", "watch")):
        with pytest.raises(SinkError, match="its bundle was erased"):
            await publisher.store_bundle(CASE, content, kind)
    assert sealed_log.ledger.case_key(CASE) is None
    assert sealed_log.ledger.case_key(CASE, create=True) is None
    assert set(_files(tmp_path / "one")) == {f"bundles/{CASE}.enc"}


def test_a_sealed_file_opens_with_its_key_and_name_only() -> None:
    key, other = bytes(range(32)), bytes(32)
    sealed = seal_bytes(key, b"content", "bundles/a.enc")
    assert open_sealed(key, sealed, "bundles/a.enc") == b"content"
    assert seal_bytes(key, b"content", "bundles/a.enc") == sealed
    assert seal_bytes(key, b"contenu", "bundles/a.enc")[17:29] != sealed[17:29]
    assert seal_bytes(key, b"content", "bundles/b.enc")[17:29] != sealed[17:29]
    changed = sealed[:-1] + bytes([sealed[-1] ^ 1])
    for bad_key, raw, name in (
        (other, sealed, "bundles/a.enc"),
        (key, sealed, "bundles/b.enc"),
        (key, changed, "bundles/a.enc"),
        (key, sealed[:30], "bundles/a.enc"),
        (key, b"", "bundles/a.enc"),
        (key[:16], sealed, "bundles/a.enc"),
    ):
        with pytest.raises(AnchorError):
            open_sealed(bad_key, raw, name)
    with pytest.raises(AnchorError, match="32 bytes"):
        seal_bytes(b"short", b"", "x")


def test_the_continuation_file_is_plain_json(sealed_log: SealedLog, tmp_path: Path) -> None:
    sealed_log.grow(1)
    asyncio.run(sealed_log.publisher(sinks=(FolderSink(tmp_path / "out"),)).publish())
    raw = (tmp_path / "out" / "checkpoints" / "1" / "consistency.json").read_bytes()
    assert json.loads(raw) == {"v": 1, "origin": ORIGIN, "old": 0, "new": 1, "path": []}
    for bad in (b"", b"{}", raw.replace(b"[]", b'["!"]'), raw.replace(b'"v":1', b'"v":2')):
        with pytest.raises(AnchorError, match="not a proof"):
            parse_continuation(bad)
