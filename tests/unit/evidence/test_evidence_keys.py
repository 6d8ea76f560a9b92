"""Keys in files, references to keys, and changes of keys in a real ledger."""

from __future__ import annotations

import base64
import re
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from leaver.domain.records import RecordDraft
from leaver.domain.words import RecordType
from leaver.evidence import keyfiles
from leaver.evidence.anchors.publisher import Publisher
from leaver.evidence.errors import KeyFileError, MalformedNoteError, RotationError
from leaver.evidence.keys.files import FileLogSigner, FileSigner
from leaver.evidence.keys.handout import handout
from leaver.evidence.keys.in_force import require_in_force, rotate_key, rotations
from leaver.evidence.keys.kms import KmsLogSigner, KmsSigner
from leaver.evidence.keys.public import fingerprint, load_public
from leaver.evidence.keys.references import open_log_signer, open_signer
from leaver.evidence.keys.rotation import (
    KeyHolder,
    KeyUse,
    Rotation,
    RotationCause,
    cross_signed,
    key_history,
    verify_rotation,
)
from leaver.evidence.ledger.model import StoredCheckpoint
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.log.checkpoint import Checkpoint, parse_checkpoint
from leaver.evidence.log.notes import NoteVerifier, note_bytes
from leaver.evidence.records import LOG, Chain

NAME = "example.com/leaver"
CASE = f"c-{'a' * 26}"
NOW = datetime(2026, 11, 22, 14, 0, 0, 123456, tzinfo=UTC)

Keys = Callable[[str], KeyHolder]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "ledger.db") as opened:
        yield opened


@pytest.fixture(params=list(KeyUse))
def keys(request: pytest.FixtureRequest, tmp_path: Path) -> Keys:
    """Keys by name, of either use."""

    def key(name: str) -> KeyHolder:
        path = tmp_path / f"{name}.pem"
        if request.param is KeyUse.LOG:
            return KeyHolder.of_log(FileLogSigner(path, NAME))
        return KeyHolder.of_bundles(FileSigner(path), NAME)

    return key


def grow(ledger: Ledger, count: int) -> None:
    for number in range(ledger.size(), ledger.size() + count):
        ledger.note(Chain.LOG, LOG, RecordType.CONFIG_CHANGE, NOW, {"number": number}, key=f"{number}")


def publish(ledger: Ledger, signer: FileLogSigner) -> bytes:
    text = Checkpoint(NAME, ledger.size(), ledger.root()).text()
    note = note_bytes(text, (signer.sign_note(text),))
    ledger.add_checkpoint(StoredCheckpoint(ledger.size(), ledger.root(), note, NOW))
    return note


def test_the_log_key_is_made_once_and_is_the_owners(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "log.pem"
    with ThreadPoolExecutor(8) as pool:
        made = {signer.vkey for signer in pool.map(lambda _: FileLogSigner(path, NAME), range(8))}
    assert len(made) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    signer = FileLogSigner(path, NAME)
    assert signer.vkey in made
    assert NoteVerifier.from_vkey(signer.vkey) == NoteVerifier(NAME, signer.public)


def test_unusable_log_keys_are_named_with_the_reason(tmp_path: Path) -> None:
    text, other, shared = (tmp_path / name for name in ("text", "other", "shared"))
    text.write_text("not a key")
    text.chmod(0o600)
    keyfiles.write_new(other, ec.generate_private_key(ec.SECP256R1()))
    keyfiles.write_new(shared, ed25519.Ed25519PrivateKey.generate())
    shared.chmod(0o644)
    for path, why in ((text, "PEM"), (other, "Ed25519"), (shared, "chmod 600")):
        with pytest.raises(KeyFileError, match=why) as caught:
            FileLogSigner(path, NAME)
        assert str(path) in str(caught.value)
    with pytest.raises(MalformedNoteError, match="key name"):
        FileLogSigner(tmp_path / "log.pem", "a log")


def test_a_reference_is_a_path_or_a_key_in_kms(tmp_path: Path) -> None:
    assert isinstance(open_signer("secrets/bundle.pem", folder=tmp_path), FileSigner)
    assert isinstance(open_log_signer("secrets/log.pem", NAME, folder=tmp_path), FileLogSigner)
    assert isinstance(open_signer(str(tmp_path / "absolute.pem"), folder=Path("/nowhere")), FileSigner)
    assert sorted(path.name for path in tmp_path.rglob("*.pem")) == ["absolute.pem", "bundle.pem", "log.pem"]
    assert isinstance(open_signer("kms:alias/leaver-bundle"), KmsSigner)
    assert isinstance(open_log_signer("kms:alias/leaver-log", NAME), KmsLogSigner)


@pytest.mark.parametrize("reference", ["", " ", "kms:", "kms: "])
def test_a_reference_that_names_no_key(reference: str, tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="reference"):
        open_signer(reference, folder=tmp_path)
    with pytest.raises(KeyFileError, match="reference"):
        open_log_signer(reference, NAME, folder=tmp_path)


def test_a_log_in_kms_has_a_fitting_name_too() -> None:
    with pytest.raises(MalformedNoteError, match="key name"):
        open_log_signer("kms:alias/leaver-log", "a log")


def test_both_keys_sign_one_statement(keys: Keys) -> None:
    old, new = keys("old"), keys("new")
    rotation = cross_signed(old, new, NOW, RotationCause.MOVED)
    assert rotation.statement() == rfc8785.dumps(
        {
            "type": "urn:leaver:key-rotation:v1", "use": old.use.value, "name": NAME, "old": old.public,
            "new": new.public, "at": "2026-11-22T14:00:00Z", "cause": "moved",
        }
    ) + b"\n"  # fmt: skip
    for key, encoded in ((old.public, rotation.old_signature), (new.public, rotation.new_signature)):
        signature = base64.b64decode(encoded)
        if old.use is KeyUse.LOG:
            assert NoteVerifier.from_vkey(key).verifies(rotation.statement(), signature)
        else:
            public = serialization.load_pem_public_key(key.encode())
            assert isinstance(public, ec.EllipticCurvePublicKey)
            public.verify(signature, rotation.statement(), ec.ECDSA(hashes.SHA256()))
    assert verify_rotation(rotation.model_dump(mode="json")) == rotation


def test_a_change_of_keys_cannot_be_altered(keys: Keys) -> None:
    old, new, third = keys("old"), keys("new"), keys("third")
    body = cross_signed(old, new, NOW, RotationCause.SCHEDULED).model_dump(mode="json")
    other = cross_signed(old, third, NOW, RotationCause.SCHEDULED).model_dump(mode="json")
    changes: list[dict[str, Any]] = [
        {"cause": "suspected"},
        {"at": "2026-11-22T14:00:01Z"},
        {"name": "example.com/other"},
        {"new": third.public},
        {"old": third.public},
        {"new": third.public, "new_signature": other["new_signature"]},
        {"old_signature": body["new_signature"]},
        {"new_signature": body["old_signature"]},
        {"old_signature": other["old_signature"]},
        {"old_signature": ""},
        {"old_signature": "?"},
        {"old": "", "new": "?"},
        {"new": old.public},
        {"use": "log" if old.use is KeyUse.BUNDLE else "bundle"},
        {"type": "urn:leaver:key-rotation:v2"},
        {"more": 1},
        {"cause": "whim"},
    ]
    for change in changes:
        with pytest.raises(RotationError):
            verify_rotation({**body, **change})
    for field in body.keys() - {"type"}:
        with pytest.raises(RotationError):
            verify_rotation({name: value for name, value in body.items() if name != field})


def test_keys_of_different_uses_or_logs_do_not_follow_each_other(tmp_path: Path) -> None:
    log = KeyHolder.of_log(FileLogSigner(tmp_path / "log.pem", NAME))
    other = KeyHolder.of_log(FileLogSigner(tmp_path / "other.pem", "example.com/other"))
    bundles = KeyHolder.of_bundles(FileSigner(tmp_path / "bundles.pem"), NAME)
    for new in (other, bundles):
        with pytest.raises(RotationError, match="not for the same use"):
            cross_signed(log, new, NOW, RotationCause.SCHEDULED)
    with pytest.raises(RotationError, match="the same"):
        cross_signed(log, log, NOW, RotationCause.SCHEDULED)


def test_log_keys_are_written_in_one_way_and_are_of_the_log_they_name(tmp_path: Path) -> None:
    old, new = (KeyHolder.of_log(FileLogSigner(tmp_path / name, NAME)) for name in ("old.pem", "new.pem"))
    spaced = replace(new, public=f" {new.public}")
    elsewhere = [replace(key, name="example.com/other") for key in (old, new)]
    for pair in ((old, spaced), elsewhere):
        with pytest.raises(RotationError, match="not one of the log"):
            cross_signed(*pair, NOW, RotationCause.SCHEDULED)


def chain(*changes: Rotation, places: tuple[int, ...]) -> list[tuple[int, Rotation]]:
    return list(zip(places, changes, strict=True))


def test_each_key_has_its_part_of_the_log(keys: Keys) -> None:
    first, second, third = keys("first"), keys("second"), keys("third")
    one = cross_signed(first, second, NOW, RotationCause.SCHEDULED)
    two = cross_signed(second, third, NOW + timedelta(days=365), RotationCause.SCHEDULED)
    for trusted in (first, second, third):
        history = key_history(trusted.public, chain(one, two, places=(10, 500)))
        assert history.current == third.public
        assert [(span.first, span.last) for span in history.spans] == [(0, 10), (11, 500), (501, None)]
        for size, holder in (
            (0, first),
            (10, first),
            (11, second),
            (500, second),
            (501, third),
            (10**9, third),
        ):
            assert history.at(size) == holder.public, size
        with pytest.raises(RotationError, match="size -1"):
            history.at(-1)
    assert key_history(first.public, []).at(7) == first.public


def test_what_is_no_history_of_keys(keys: Keys) -> None:
    first, second, third = keys("first"), keys("second"), keys("third")
    one = cross_signed(first, second, NOW, RotationCause.SCHEDULED)
    two = cross_signed(second, third, NOW, RotationCause.SCHEDULED)
    back = cross_signed(second, first, NOW, RotationCause.SCHEDULED)
    beside = cross_signed(first, third, NOW, RotationCause.SCHEDULED)
    with pytest.raises(RotationError, match="trusted key is none"):
        key_history(keys("stranger").public, chain(one, two, places=(1, 2)))
    with pytest.raises(RotationError, match="record 2 changes another key"):
        key_history(first.public, chain(one, beside, places=(1, 2)))
    with pytest.raises(RotationError, match="record 1 changes another key"):
        key_history(first.public, chain(one, two, places=(2, 1)))
    with pytest.raises(RotationError, match="brings back"):
        key_history(first.public, chain(one, back, places=(1, 2)))


def test_a_change_of_keys_in_a_ledger(ledger: Ledger, keys: Keys) -> None:
    grow(ledger, 3)
    old, new = keys("old"), keys("new")
    require_in_force(ledger, old)

    done = rotate_key(ledger, old, new, at=NOW, cause=RotationCause.SCHEDULED)

    record = ledger.get(done.seq)
    assert (record.chain, record.case, record.type) == (Chain.LOG, LOG, RecordType.KEY_ROTATED)
    assert verify_rotation(record.body) == done.rotation
    assert rotations(ledger, old.use) == (done,)
    assert rotations(ledger, next(use for use in KeyUse if use is not old.use)) == ()
    require_in_force(ledger, new)
    with pytest.raises(RotationError, match=f"replaced by record {done.seq}"):
        require_in_force(ledger, old)


def test_the_same_change_again_changes_nothing(ledger: Ledger, keys: Keys) -> None:
    old, new = keys("old"), keys("new")
    done = rotate_key(ledger, old, new, at=NOW, cause=RotationCause.SCHEDULED)
    later = NOW + timedelta(hours=1)
    assert rotate_key(ledger, old, new, at=later, cause=RotationCause.MOVED) == done
    assert ledger.size() == 1


def test_a_key_hands_over_once_and_never_comes_back(ledger: Ledger, keys: Keys) -> None:
    first, second, third = keys("first"), keys("second"), keys("third")
    rotate_key(ledger, first, second, at=NOW, cause=RotationCause.SCHEDULED)
    with pytest.raises(RotationError, match="replaced"):
        rotate_key(ledger, first, third, at=NOW, cause=RotationCause.SCHEDULED)
    with pytest.raises(RotationError, match="in force before"):
        rotate_key(ledger, second, first, at=NOW, cause=RotationCause.SCHEDULED)
    rotate_key(ledger, second, third, at=NOW, cause=RotationCause.SUSPECTED)
    assert [done.seq for done in rotations(ledger, first.use)] == [0, 1]


def test_of_two_changes_at_once_the_log_takes_one(ledger: Ledger, keys: Keys) -> None:
    old, candidates = keys("old"), [keys(f"new-{number}") for number in range(6)]

    def change(new: KeyHolder) -> str:
        try:
            return rotate_key(ledger, old, new, at=NOW, cause=RotationCause.SCHEDULED).rotation.new
        except RotationError:
            return "refused"

    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(change, candidates))
    assert results.count("refused") == 5
    (done,) = rotations(ledger, old.use)
    assert done.rotation.new in results
    require_in_force(ledger, next(key for key in candidates if key.public == done.rotation.new))


def test_a_case_cannot_change_the_keys(ledger: Ledger, keys: Keys) -> None:
    """A compromised worker may draft any record in a case's own chain."""
    old, new = keys("old"), keys("new")
    body = cross_signed(old, new, NOW, RotationCause.SCHEDULED).model_dump(mode="json")
    draft = RecordDraft(case=CASE, case_seq=0, type=RecordType.KEY_ROTATED, at=NOW, body=body)
    ledger.append([draft])
    assert rotations(ledger, old.use) == ()
    require_in_force(ledger, old)


def test_a_forged_change_in_the_logs_own_chain_is_noticed(ledger: Ledger, keys: Keys) -> None:
    body = cross_signed(keys("old"), keys("new"), NOW, RotationCause.SCHEDULED).model_dump(mode="json")
    forged = {**body, "new": keys("mine").public}
    ledger.note(Chain.LOG, LOG, RecordType.KEY_ROTATED, NOW, forged, key="mine")
    with pytest.raises(RotationError):
        require_in_force(ledger, keys("old"))


def test_the_log_key_is_not_swapped_in_silence(ledger: Ledger, tmp_path: Path) -> None:
    """Another key file in the same place signs nothing: the last checkpoint tells which key it was."""
    grow(ledger, 2)
    old, new = (FileLogSigner(tmp_path / name, NAME) for name in ("old.pem", "new.pem"))
    publish(ledger, old)
    require_in_force(ledger, KeyHolder.of_log(old))
    with pytest.raises(RotationError, match="rotate-key"):
        require_in_force(ledger, KeyHolder.of_log(new))
    with pytest.raises(RotationError, match="rotate-key"):
        rotate_key(ledger, KeyHolder.of_log(new), KeyHolder.of_log(old), at=NOW, cause=RotationCause.MOVED)


def test_checkpoints_before_and_after_a_change_verify_with_the_key_of_their_part(
    ledger: Ledger, tmp_path: Path
) -> None:
    grow(ledger, 2)
    old, new = (FileLogSigner(tmp_path / name, NAME) for name in ("old.pem", "new.pem"))
    before = publish(ledger, old)
    rotate_key(ledger, KeyHolder.of_log(old), KeyHolder.of_log(new), at=NOW, cause=RotationCause.SCHEDULED)
    require_in_force(ledger, KeyHolder.of_log(new))
    after = publish(ledger, new)

    changes = [(done.seq, done.rotation) for done in rotations(ledger, KeyUse.LOG)]
    for trusted in (old.vkey, new.vkey):
        history = key_history(trusted, changes)
        for raw, size in ((before, 2), (after, 3)):
            assert parse_checkpoint(raw, NoteVerifier.from_vkey(history.at(size))).size == size


def test_auditors_are_handed_all_keys_that_the_log_ever_had(ledger: Ledger, tmp_path: Path) -> None:
    logs = [FileLogSigner(tmp_path / f"log-{number}.pem", NAME) for number in range(3)]
    signers = [FileSigner(tmp_path / f"bundles-{number}.pem") for number in range(2)]
    assert handout(ledger, logs[0], signers[0]).files() == {
        "log.vkey": f"{logs[0].vkey}\n".encode(),
        "signer.pem": signers[0].public_pem,
    }
    for old, new in pairwise(logs):
        change = KeyHolder.of_log(old), KeyHolder.of_log(new)
        rotate_key(ledger, *change, at=NOW, cause=RotationCause.SCHEDULED)
    first, second = (KeyHolder.of_bundles(signer, NAME) for signer in signers)
    rotate_key(ledger, first, second, at=NOW, cause=RotationCause.SCHEDULED)

    given = handout(ledger, logs[2], signers[1])
    assert given.log == tuple(signer.vkey for signer in logs)
    assert given.bundles == tuple(signer.public_pem.decode() for signer in signers)
    assert given.fingerprints == tuple(fingerprint(load_public(signer.public_pem)) for signer in signers)
    assert given.files()["log.vkey"].decode().splitlines() == [
        logs[2].vkey,
        f"{logs[1].vkey} 1",
        f"{logs[0].vkey} 0",
    ]
    assert given.files()["signer.pem"] == signers[0].public_pem + signers[1].public_pem
    stranger = FileLogSigner(tmp_path / "stranger.pem", NAME)
    with pytest.raises(RotationError, match="none of the keys"):
        handout(ledger, stranger, signers[1])


def test_the_shell_lines_of_the_documentation_check_a_checkpoint(ledger: Ledger, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    page = (Path(__file__).parents[3] / "docs" / "evidence" / "keys.md").read_text("utf-8")
    (lines,) = re.findall(r"^```sh\n(.*?pkeyutl.*?)^```", page, re.MULTILINE | re.DOTALL)[-1:]
    lines = lines.rpartition("```sh\n")[2]
    grow(ledger, 2)
    signer = FileLogSigner(tmp_path / "private.pem", NAME)
    (tmp_path / "checkpoint").write_bytes(publish(ledger, signer))
    (tmp_path / "log.vkey").write_text(f"{signer.vkey}\n")
    check = ["/bin/sh", "-ec", lines]

    good = subprocess.run(check, cwd=tmp_path, check=True, capture_output=True, text=True)  # noqa: S603
    assert "Signature Verified Successfully" in good.stdout
    (tmp_path / "checkpoint").write_bytes((tmp_path / "checkpoint").read_bytes().replace(b"\n2\n", b"\n3\n"))
    assert subprocess.run(check, cwd=tmp_path, check=False, capture_output=True).returncode == 1  # noqa: S603


async def test_a_publisher_signs_with_the_key_in_force_only(ledger: Ledger, tmp_path: Path) -> None:
    old, new = (FileLogSigner(tmp_path / name, NAME) for name in ("old.pem", "new.pem"))
    kept = tmp_path / "last-checkpoint"
    grow(ledger, 2)
    assert await Publisher(ledger, old, kept=kept, clock=lambda: NOW).publish() is not None
    grow(ledger, 1)
    with pytest.raises(RotationError, match="rotate-key"):
        await Publisher(ledger, new, kept=kept, clock=lambda: NOW).publish()
    rotate_key(ledger, KeyHolder.of_log(old), KeyHolder.of_log(new), at=NOW, cause=RotationCause.SUSPECTED)
    with pytest.raises(RotationError, match="replaced by record 3"):
        await Publisher(ledger, old, kept=kept, clock=lambda: NOW).publish()
    published = await Publisher(ledger, new, kept=kept, clock=lambda: NOW).publish()
    assert published is not None
    assert published.size == 4
    last = ledger.latest_checkpoint()
    assert last is not None
    assert parse_checkpoint(last.note, NoteVerifier.from_vkey(new.vkey)).size == 4
