"""Signatures: DSSE as others read it, deterministic, checkable by openssl; key files."""

from __future__ import annotations

import base64
import json
import shutil
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

from leaver.evidence import keyfiles
from leaver.evidence.errors import KeyFileError
from leaver.evidence.keys.files import FileSigner
from leaver.evidence.keys.public import fingerprint, load_public
from leaver.evidence.signing import envelope, pre_authentication_encoding, signature_holds, statement

OPENSSL = shutil.which("openssl") or ""


def test_the_encoding_cannot_be_split_differently() -> None:
    assert pre_authentication_encoding("a b", b"c") != pre_authentication_encoding("a", b"b c")
    assert pre_authentication_encoding("ä", b"") == b"DSSEv1 2 \xc3\xa4 0 "


def test_the_same_content_gives_the_same_signed_bytes(signer: FileSigner) -> None:
    payload = statement({"b": b"1", "a": b"2"}, {"case": "c"})
    assert envelope(payload, signer) == envelope(payload, signer)
    parsed = json.loads(payload)
    assert [subject["name"] for subject in parsed["subject"]] == ["a", "b"]
    assert parsed["_type"] == "https://in-toto.io/Statement/v1"


def test_an_independent_implementation_accepts_our_envelope(signer: FileSigner) -> None:
    raw = envelope(statement({"a": b"1"}, {"case": "c"}), signer)
    key = SSlibKey(
        fingerprint(load_public(signer.public_pem)), "ecdsa", "ecdsa-sha2-nistp256",
        {"public": signer.public_pem.decode()},
    )  # fmt: skip
    theirs = Envelope.from_dict(json.loads(raw))
    assert theirs.pae() == pre_authentication_encoding(theirs.payload_type, theirs.payload)
    assert list(theirs.verify([key], threshold=1)) == [key.keyid]
    theirs.payload += b" "
    with pytest.raises(VerificationError):
        theirs.verify([key], threshold=1)


def test_we_accept_an_envelope_of_an_independent_implementation() -> None:
    theirs = CryptoSigner(ec.generate_private_key(ec.SECP256R1()))
    made = Envelope(b"content", "text/plain", {})
    made.sign(theirs)
    (signature,) = made.to_dict()["signatures"]
    public = load_public(theirs.public_key.keyval["public"].encode())
    assert signature_holds(public, "text/plain", b"content", base64.b64decode(signature["sig"]))
    assert not signature_holds(public, "text/html", b"content", base64.b64decode(signature["sig"]))


@pytest.mark.skipif(not OPENSSL, reason="needs the system package openssl")
def test_openssl_agrees(signer: FileSigner, tmp_path: Path) -> None:
    message = b"what is signed"
    (tmp_path / "key").write_bytes(signer.public_pem)
    (tmp_path / "sig").write_bytes(signer.sign(message))
    (tmp_path / "message").write_bytes(message)
    command = [OPENSSL, "dgst", "-sha256", "-verify", "key", "-signature", "sig", "message"]
    assert subprocess.run(command, cwd=tmp_path, check=False, capture_output=True).returncode == 0  # noqa: S603
    (tmp_path / "message").write_bytes(message + b".")
    assert subprocess.run(command, cwd=tmp_path, check=False, capture_output=True).returncode == 1  # noqa: S603
    der = [OPENSSL, "pkey", "-pubin", "-in", "key", "-outform", "DER", "-out", "der"]
    subprocess.run(der, cwd=tmp_path, check=True)  # noqa: S603
    shown = subprocess.run(  # noqa: S603
        [OPENSSL, "dgst", "-sha256", "-r", "der"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert shown.stdout.split()[0] == fingerprint(load_public(signer.public_pem))


def test_the_key_is_made_once_and_is_the_owners(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "evidence.pem"
    with ThreadPoolExecutor(8) as pool:
        made = {signer.public_pem for signer in pool.map(FileSigner, [path] * 8)}
    assert len(made) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["evidence.pem"]
    assert FileSigner(path).public_pem in made


def test_unusable_key_files_are_named_with_the_reason(tmp_path: Path) -> None:
    text, other, curve, shared = (tmp_path / name for name in ("text", "other", "curve", "shared"))
    text.write_text("not a key")
    keyfiles.write_new(other, ed25519.Ed25519PrivateKey.generate())
    keyfiles.write_new(curve, ec.generate_private_key(ec.SECP384R1()))
    keyfiles.write_new(shared, ec.generate_private_key(ec.SECP256R1()))
    text.chmod(0o600)
    shared.chmod(0o644)
    for path, why in ((text, "PEM"), (other, "P-256"), (curve, "P-256"), (shared, "chmod 600")):
        with pytest.raises(KeyFileError, match=why) as caught:
            FileSigner(path)
        assert str(path) in str(caught.value)
    blocked = tmp_path / "text" / "below"
    with pytest.raises(KeyFileError, match="cannot be written"):
        FileSigner(blocked)


def test_only_p256_public_keys_are_taken() -> None:
    wrong = ec.generate_private_key(ec.SECP384R1()).public_key()
    pem = wrong.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for content in (b"", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", pem):
        with pytest.raises(KeyFileError):
            load_public(content)
