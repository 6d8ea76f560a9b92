"""Signed notes, checkpoints, cosignatures and proof files: their form, their signatures, broken input."""

from __future__ import annotations

import base64
import contextlib
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from sigstore._internal.rekor.checkpoint import SignedCheckpoint as RekorCheckpoint

from leaver.evidence.errors import MalformedNoteError, NoteError, UntrustedNoteError
from leaver.evidence.keys.files import FileLogSigner
from leaver.evidence.log.checkpoint import (
    Checkpoint,
    Proof,
    cosignature_message,
    cosigned_at,
    parse_checkpoint,
    parse_proof,
    parse_unverified,
    proof_text,
)
from leaver.evidence.log.merkle import EMPTY_ROOT
from leaver.evidence.log.notes import (
    MAX_NOTE,
    KeyKind,
    Note,
    NoteSignature,
    NoteVerifier,
    check_name,
    cosignature_bytes,
    note_bytes,
    parse_note,
)

LOG = "example.com/leaver"
WITNESS = "audit.example.com/witness"
ROOT = bytes(range(32))
SEEN = datetime(2026, 11, 22, 14, 0, tzinfo=UTC)

KEY = Ed25519PrivateKey.from_private_bytes(b"l" * 32)
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
WITNESS_KEY = Ed25519PrivateKey.from_private_bytes(b"w" * 32)
VERIFIER = NoteVerifier(LOG, KEY.public_key().public_bytes_raw())
WITNESS_VERIFIER = NoteVerifier(WITNESS, WITNESS_KEY.public_key().public_bytes_raw(), KeyKind.COSIGNATURE)


def signed(text: bytes, key: Ed25519PrivateKey = KEY, name: str = LOG) -> NoteSignature:
    verifier = NoteVerifier(name, key.public_key().public_bytes_raw())
    return NoteSignature(name, verifier.key_id, key.sign(text))


def cosigned(text: bytes, seconds: int) -> NoteSignature:
    sig = cosignature_bytes(seconds, WITNESS_KEY.sign(cosignature_message(seconds, text)))
    return NoteSignature(WITNESS, WITNESS_VERIFIER.key_id, sig)


TEXT = Checkpoint(LOG, 48211, ROOT).text()
NOTE = note_bytes(TEXT, (signed(TEXT), cosigned(TEXT, int(SEEN.timestamp()))))
PROOF = proof_text(7, (bytes(32), ROOT), NOTE)


def test_a_checkpoint_has_the_form_of_the_specification() -> None:
    encoded = base64.b64encode(VERIFIER.key_id + KEY.sign(TEXT)).decode()
    assert TEXT.decode() == f"{LOG}\n48211\n{base64.b64encode(ROOT).decode()}\n"
    assert NOTE.decode().startswith(f"{TEXT.decode()}\n\N{EM DASH} {LOG} {encoded}\n\N{EM DASH} {WITNESS} ")


def test_a_checkpoint_is_read_back() -> None:
    found = parse_checkpoint(NOTE, VERIFIER)
    assert found.checkpoint == Checkpoint(LOG, 48211, ROOT)
    assert (found.size, found.root, found.raw, found.note.text) == (48211, ROOT, NOTE, TEXT)
    assert parse_unverified(NOTE) == found


def test_extension_lines_are_kept_and_signed() -> None:
    text = Checkpoint(LOG, 1, ROOT, ("leaver 1", "more")).text()
    raw = note_bytes(text, (signed(text),))
    assert parse_checkpoint(raw, VERIFIER).checkpoint.extension == ("leaver 1", "more")
    with pytest.raises(UntrustedNoteError):
        parse_checkpoint(raw.replace(b"more", b"less"), VERIFIER)


def test_rekors_reader_agrees() -> None:
    theirs, ours = RekorCheckpoint.from_text(NOTE.decode()), parse_unverified(NOTE)
    assert theirs.checkpoint.origin == ours.checkpoint.origin
    assert theirs.checkpoint.log_size == ours.size
    assert theirs.checkpoint.log_hash == ours.root.hex()
    assert theirs.signed_note.note.encode() == ours.note.text
    assert [
        (each.name, each.sig_hash, base64.b64decode(each.signature)) for each in theirs.signed_note.signatures
    ] == [(each.name, each.key_id, each.sig) for each in ours.note.signatures]


def test_openssl_checks_a_checkpoint(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    FileLogSigner(tmp_path / "log.pem", LOG)
    signature = FileLogSigner(tmp_path / "log.pem", LOG).sign_note(TEXT)
    (tmp_path / "text").write_bytes(TEXT)
    (tmp_path / "sig").write_bytes(signature.sig)
    public = [openssl, "pkey", "-in", "log.pem", "-pubout", "-out", "public.pem"]
    subprocess.run(public, cwd=tmp_path, check=True)  # noqa: S603
    verify = [
        openssl,
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        "public.pem",
        "-rawin",
        "-in",
        "text",
        "-sigfile",
        "sig",
    ]
    assert subprocess.run(verify, cwd=tmp_path, check=False, capture_output=True).returncode == 0  # noqa: S603
    (tmp_path / "text").write_bytes(TEXT.replace(b"48211", b"48212"))
    assert subprocess.run(verify, cwd=tmp_path, check=False, capture_output=True).returncode == 1  # noqa: S603


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw.replace(b"48211", b"48212"),
        lambda raw: raw.replace(b"example.com", b"example.org", 1),
        lambda raw: raw.replace(base64.b64encode(ROOT), base64.b64encode(bytes(32))),
    ],
)
def test_a_changed_checkpoint_is_not_trusted(change: Callable[[bytes], bytes]) -> None:
    with pytest.raises(UntrustedNoteError):
        parse_checkpoint(change(NOTE), VERIFIER)


def test_another_keys_checkpoint_is_not_trusted() -> None:
    forged = note_bytes(TEXT, (signed(TEXT, OTHER_KEY),))
    with pytest.raises(UntrustedNoteError, match="not signed with the key"):
        parse_checkpoint(forged, VERIFIER)


def test_the_same_key_under_another_name_is_another_key() -> None:
    renamed = note_bytes(TEXT, (signed(TEXT, KEY, "example.com/other"),))
    with pytest.raises(UntrustedNoteError, match="not signed with the key"):
        parse_checkpoint(renamed, VERIFIER)


def test_a_line_with_the_known_keys_id_under_another_name_is_passed_over() -> None:
    other = NoteSignature("example.com/other", VERIFIER.key_id, KEY.sign(TEXT))
    with pytest.raises(UntrustedNoteError, match="not signed with the key"):
        parse_checkpoint(note_bytes(TEXT, (other,)), VERIFIER)
    assert parse_checkpoint(note_bytes(TEXT, (other, signed(TEXT))), VERIFIER).size == 48211


def test_a_wrong_line_of_the_known_key_spoils_the_note_though_another_is_right() -> None:
    wrong = NoteSignature(LOG, VERIFIER.key_id, bytes(64))
    for lines in ((wrong, signed(TEXT)), (signed(TEXT), wrong)):
        with pytest.raises(UntrustedNoteError, match="does not fit"):
            parse_checkpoint(note_bytes(TEXT, lines), VERIFIER)


def test_lines_of_unknown_keys_are_passed_over() -> None:
    lines = (signed(TEXT, OTHER_KEY), NoteSignature("else.example", b"\1\2\3\4", b"?"), signed(TEXT))
    assert parse_checkpoint(note_bytes(TEXT, lines), VERIFIER).size == 48211


def test_a_checkpoint_of_another_log_signed_with_this_key_is_not_trusted() -> None:
    text = Checkpoint("example.com/other", 1, ROOT).text()
    raw = note_bytes(text, (signed(text),))
    with pytest.raises(UntrustedNoteError, match="another log"):
        parse_checkpoint(raw, VERIFIER)
    assert parse_checkpoint(raw, VERIFIER, origin="example.com/other").size == 1


def test_a_witness_key_does_not_stand_in_for_the_log_key() -> None:
    text = Checkpoint(WITNESS, 1, ROOT).text()
    with pytest.raises(UntrustedNoteError, match="the key is a witness's"):
        parse_checkpoint(note_bytes(text, (cosigned(text, 1),)), WITNESS_VERIFIER)


@pytest.mark.parametrize(
    ("origin", "size", "root", "extension"),
    [
        ("", 1, ROOT, ()),
        ("a\nb", 1, ROOT, ()),
        ("a\tb", 1, ROOT, ()),
        (LOG, -1, ROOT, ()),
        (LOG, 2**63, ROOT, ()),
        (LOG, 1, ROOT[:-1], ()),
        (LOG, 0, ROOT, ()),
        (LOG, 1, ROOT, ("",)),
        (LOG, 1, ROOT, ("a\n\N{EM DASH} b",)),
    ],
)
def test_what_no_checkpoint_can_say(origin: str, size: int, root: bytes, extension: tuple[str, ...]) -> None:
    with pytest.raises(MalformedNoteError):
        Checkpoint(origin, size, root, extension)


def test_the_checkpoint_of_an_empty_log() -> None:
    text = Checkpoint(LOG, 0, EMPTY_ROOT).text()
    assert parse_checkpoint(note_bytes(text, (signed(text),)), VERIFIER).size == 0


@pytest.mark.parametrize(
    "text",
    [
        b"log\n1\n",
        b"log\n01\nAAAA\n",
        b"log\n+1\n%b\n" % base64.b64encode(ROOT),
        "log\n\N{ARABIC-INDIC DIGIT ONE}\n".encode() + base64.b64encode(ROOT) + b"\n",
        b"log\n1 \n%b\n" % base64.b64encode(ROOT),
        b"log\n9223372036854775808\n%b\n" % base64.b64encode(ROOT),
        b"log\n%b\n%b\n" % (b"9" * 5000, base64.b64encode(ROOT)),
        b"log\n1\n%b\n" % base64.b64encode(ROOT).rstrip(b"="),
        b"log\n1\n%b\n" % base64.b64encode(ROOT).replace(b"8=", b"9="),
        b"log\n1\n%b\n" % base64.b64encode(ROOT[:31]),
        b"\nlog\n1\n%b\n" % base64.b64encode(ROOT),
        b"log\n1\n%b\n\nmore\n" % base64.b64encode(ROOT),
    ],
)
def test_what_is_no_checkpoint(text: bytes) -> None:
    with pytest.raises(MalformedNoteError):
        parse_unverified(note_bytes(text, (signed(text),)))


GOOD_LINE = signed(b"text\n").line().encode()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\n",
        b"text\n",
        b"text\n\n",
        b"text\n\n" + GOOD_LINE[:-1],
        b"text\n" + GOOD_LINE,
        b"text\n\n" + GOOD_LINE + b"\n",
        b"text\n\nmore\n" + GOOD_LINE,
        b"te\rxt\n\n" + GOOD_LINE,
        b"te\txt\n\n" + GOOD_LINE,
        b"te\0xt\n\n" + GOOD_LINE,
        b"te\xffxt\n\n" + GOOD_LINE,
        b"text\n\n" + GOOD_LINE.replace("\N{EM DASH}".encode(), b"-"),
        b"text\n\n" + GOOD_LINE.replace("\N{EM DASH}".encode(), "\N{EN DASH}".encode()),
        b"text\n\n" + GOOD_LINE.replace("\N{EM DASH} ".encode(), "\N{EM DASH}".encode()),
        b"text\n\n" + GOOD_LINE.replace(b" example", b"  example"),
        b"text\n\n" + GOOD_LINE.replace(b"leaver", b"lea+ver"),
        b"text\n\n" + GOOD_LINE.replace(b"leaver", "lea\N{NO-BREAK SPACE}ver".encode()),
        b"text\n\n" + GOOD_LINE.replace(b"=\n", b"\n"),
        b"text\n\n" + GOOD_LINE.replace(b"\n", b" \n"),
        "text\n\n\N{EM DASH} name AAAAAA==\n".encode(),
        "text\n\n\N{EM DASH} name AAAA\n".encode(),
        "text\n\n\N{EM DASH} name \n".encode(),
        "text\n\n\N{EM DASH} \n".encode(),
        b"text\n\n" + GOOD_LINE * 101,
        b"t" * MAX_NOTE + b"\n\n" + GOOD_LINE,
    ],
)
def test_what_is_no_note(raw: bytes) -> None:
    with pytest.raises(MalformedNoteError):
        parse_note(raw)


def test_what_a_note_may_be() -> None:
    """Empty lines in the text, text that looks like a signature, the 16 signatures that everybody accepts."""
    text = b"one\n\n" + GOOD_LINE + b"\nlast\n"
    note = parse_note(note_bytes(text, (signed(text),) * 100))
    assert (note.text, len(note.signatures)) == (text, 100)
    assert note.signatures_of(VERIFIER) == note.signatures


@pytest.mark.parametrize("text", [b"", b"no newline", b"text\n\nmore"])
def test_a_text_that_makes_no_note(text: bytes) -> None:
    with pytest.raises(MalformedNoteError):
        note_bytes(text, (signed(text),))


def test_a_note_without_signatures_is_none() -> None:
    with pytest.raises(MalformedNoteError):
        note_bytes(b"text\n", ())


def test_verifier_keys_are_read_back() -> None:
    for verifier in (VERIFIER, WITNESS_VERIFIER):
        assert NoteVerifier.from_vkey(f" {verifier.vkey}\n") == verifier
    assert VERIFIER.vkey.startswith(f"{LOG}+{VERIFIER.key_id.hex()}+A")
    assert WITNESS_VERIFIER.vkey.startswith(f"{WITNESS}+{WITNESS_VERIFIER.key_id.hex()}+B")


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "name",
        "name+00000000",
        "name+00000000+",
        VERIFIER.vkey.replace("example", "exemple"),
        VERIFIER.vkey.replace("+", " +", 1),
        VERIFIER.vkey[:-4],
        VERIFIER.vkey[:-1],
        VERIFIER.vkey + "=",
        VERIFIER.vkey.replace(VERIFIER.key_id.hex(), VERIFIER.key_id.hex().upper()),
        VERIFIER.vkey.replace(VERIFIER.key_id.hex(), "00000000"),
        "a+00000000+" + base64.b64encode(b"\x06" + bytes(1312)).decode(),
        "a+00000000+" + base64.b64encode(b"\x01" + bytes(31)).decode(),
        "a+00000000+\N{SNOWMAN}",
        "\ud800+00000000+AAAA",
    ],
)
def test_what_is_no_verifier_key(vkey: str) -> None:
    with pytest.raises(MalformedNoteError):
        NoteVerifier.from_vkey(vkey)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\tb", "a\nb", "a\N{IDEOGRAPHIC SPACE}b", "\ud800"])
def test_names_that_no_key_may_have(name: str) -> None:
    with pytest.raises(MalformedNoteError):
        check_name(name)


def test_a_cosignature_tells_its_time() -> None:
    assert cosigned_at(parse_note(NOTE), WITNESS_VERIFIER) == SEEN
    assert cosignature_message(1679315147, b"x\n") == b"cosignature/v1\ntime 1679315147\nx\n"


def test_the_last_of_several_cosignatures_counts() -> None:
    later = int(SEEN.timestamp()) + 60
    raw = note_bytes(TEXT, (cosigned(TEXT, later), cosigned(TEXT, later - 30)))
    found = cosigned_at(parse_note(raw), WITNESS_VERIFIER)
    assert found is not None
    assert found.timestamp() == later


def test_a_witness_that_did_not_sign() -> None:
    assert cosigned_at(parse_note(note_bytes(TEXT, (signed(TEXT),))), WITNESS_VERIFIER) is None


@pytest.mark.parametrize(
    "sig",
    [
        bytes(72),
        b"",
        cosigned(TEXT, 5).sig[:-1],
        cosigned(TEXT, 5).sig + b"\0",
        (6).to_bytes(8, "big") + cosigned(TEXT, 5).sig[8:],
        WITNESS_KEY.sign(TEXT),
        b"\xff" * 8 + cosigned(TEXT, 5).sig[8:],
        cosigned(TEXT.replace(b"48211", b"48212"), 5).sig,
    ],
)
def test_a_cosignature_that_does_not_hold(sig: bytes) -> None:
    note = Note(TEXT, (NoteSignature(WITNESS, WITNESS_VERIFIER.key_id, sig),))
    with pytest.raises(UntrustedNoteError):
        cosigned_at(note, WITNESS_VERIFIER)


def test_a_log_key_does_not_cosign() -> None:
    with pytest.raises(UntrustedNoteError, match="not a witness's"):
        cosigned_at(parse_note(NOTE), VERIFIER)


def test_a_time_that_no_calendar_has() -> None:
    far = note_bytes(TEXT, (cosigned(TEXT, 2**62),))
    with pytest.raises(UntrustedNoteError, match="calendar"):
        cosigned_at(parse_note(far), WITNESS_VERIFIER)


def test_a_time_beyond_the_specification_is_not_verified() -> None:
    time = 2**63
    sig = time.to_bytes(8, "big") + WITNESS_KEY.sign(cosignature_message(time, TEXT))
    assert not WITNESS_VERIFIER.verifies(TEXT, sig)


@pytest.mark.parametrize(("time", "sig"), [(-1, bytes(64)), (2**63, bytes(64)), (0, bytes(63))])
def test_what_is_no_cosignature(time: int, sig: bytes) -> None:
    with pytest.raises(MalformedNoteError):
        cosignature_bytes(time, sig)


def test_a_proof_file_has_the_form_of_the_specification() -> None:
    lines = PROOF.decode().split("\n")
    assert lines[:5] == [
        "c2sp.org/tlog-proof@v1", "index 7", base64.b64encode(bytes(32)).decode(),
        base64.b64encode(ROOT).decode(), "",
    ]  # fmt: skip
    assert PROOF.endswith(NOTE)
    assert parse_proof(PROOF) == Proof(7, (bytes(32), ROOT), NOTE)


def test_extra_data_of_a_proof_file() -> None:
    raw = proof_text(0, (), NOTE, b"extra data")
    assert b"@v1\nextra ZXh0cmEgZGF0YQ==\nindex 0\n\n" in raw
    assert parse_proof(raw) == Proof(0, (), NOTE, b"extra data")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"@v1", b"@v2"),
        (b"index 7\n", b""),
        (b"index 7", b"index 07"),
        (b"index 7", b"index -7"),
        (b"index 7", b"index 9223372036854775808"),
        (b"index 7", b"extra AAAA"),
        (b"index 7", b"extra A\nindex 7"),
        (b"AAAA=\n", b"AAAA\n"),
        (b"index 7\n", b"index 7\nAAAA\n"),
        (b"index 7\n", b"index 7\n" + (base64.b64encode(ROOT) + b"\n") * 63),
        (b"index 7", "index 7\N{EM DASH}".encode()),
        (b"\n\nexample", b"\n\n\nexample"),
        (b"48211", b"a lot"),
        (NOTE, b""),
        (b"\n\n", b"\n"),
    ],
)
def test_what_is_no_proof_file(old: bytes, new: bytes) -> None:
    changed = PROOF.replace(old, new, 1)
    assert changed != PROOF
    with pytest.raises(MalformedNoteError):
        parse_proof(changed)


noted = st.text(st.sampled_from("ab+=/ \n\N{EM DASH}01\r\0\N{NO-BREAK SPACE}"), max_size=80)


@given(st.one_of(st.binary(max_size=200), noted.map(str.encode)))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    for read in (parse_note, parse_unverified, parse_proof):
        try:
            read(raw)
        except MalformedNoteError:
            continue
        assert read is parse_note
        note = parse_note(raw)
        assert note_bytes(note.text, note.signatures) == raw


@given(st.sampled_from([NOTE, PROOF]), st.data())
def test_a_note_or_proof_with_any_change_is_read_or_refused(good: bytes, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(start, min(len(good), start + 8)))
    changed = good[:start] + data.draw(st.binary(max_size=4)) + good[end:]
    for read in (parse_note, parse_proof, lambda raw: parse_checkpoint(raw, VERIFIER)):
        try:
            read(changed)
        except NoteError:
            continue
    if changed != good and good == NOTE:
        with contextlib.suppress(NoteError):
            assert parse_checkpoint(changed, VERIFIER).note.text == TEXT


@given(st.one_of(st.text(max_size=120), st.text(max_size=60).map(lambda more: VERIFIER.vkey + more)))
def test_any_text_is_a_verifier_key_or_refused(vkey: str) -> None:
    with contextlib.suppress(MalformedNoteError):
        assert NoteVerifier.from_vkey(vkey).vkey == vkey.strip()


names = st.text(min_size=1, max_size=20).filter(
    lambda name: name.isprintable() and not any(sign.isspace() or sign == "+" for sign in name)
)
texts = st.lists(
    st.text(st.characters(min_codepoint=32, codec="utf-8"), max_size=20), min_size=1, max_size=5
).map(lambda lines: "".join(f"{line}\n" for line in lines).encode())


@given(
    texts, st.lists(st.tuples(names, st.binary(min_size=4, max_size=4), st.binary(min_size=1)), min_size=1)
)
def test_every_note_survives_the_round_trip(text: bytes, lines: list[tuple[str, bytes, bytes]]) -> None:
    signatures = tuple(NoteSignature(*line) for line in lines)
    assert parse_note(note_bytes(text, signatures)) == Note(text, signatures)


@given(
    st.integers(0, 2**63 - 1),
    st.lists(st.binary(min_size=32, max_size=32), max_size=63),
    st.binary(max_size=40),
)
def test_every_proof_file_survives_the_round_trip(index: int, path: list[bytes], extra: bytes) -> None:
    assert parse_proof(proof_text(index, path, NOTE, extra)) == Proof(index, tuple(path), NOTE, extra)
