"""Keys in AWS KMS, against an emulator that really signs, and against services in trouble."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from leaver.evidence.errors import KeyRefusedError, KeyServiceError
from leaver.evidence.keys.files import FileLogSigner, FileSigner
from leaver.evidence.keys.in_force import require_in_force, rotate_key
from leaver.evidence.keys.kms import MAX_RAW, KmsLogSigner, KmsOptions, KmsSigner
from leaver.evidence.keys.model import LogSigner, Signer
from leaver.evidence.keys.public import load_public
from leaver.evidence.keys.references import open_log_signer, open_signer
from leaver.evidence.keys.rotation import KeyHolder, RotationCause
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.log.checkpoint import Checkpoint, parse_checkpoint
from leaver.evidence.log.notes import NoteVerifier, note_bytes
from leaver.evidence.signing import PAYLOAD_TYPE, envelope, pre_authentication_encoding, statement
from tests.support.ministack import REGION, MiniStack, running_ministack

if TYPE_CHECKING:
    from mypy_boto3_kms.literals import KeySpecType

NAME = "example.com/leaver"
TEXT = Checkpoint(NAME, 48211, bytes(range(32))).text()
NOW = datetime(2026, 11, 22, 14, tzinfo=UTC)

MakeKey = Callable[["KeySpecType"], str]


@pytest.fixture(scope="module")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniStack]:
    with running_ministack(tmp_path_factory.mktemp("ministack")) as running:
        yield running


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of this machine's own AWS settings."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")


@pytest.fixture
def options(ministack: MiniStack) -> KmsOptions:
    return KmsOptions(REGION, ministack.url)


@pytest.fixture
def make_key(ministack: MiniStack) -> MakeKey:
    def make(spec: KeySpecType) -> str:
        return ministack.kms().create_key(KeySpec=spec, KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]

    return make


def impatient(url: str) -> KmsOptions:
    return KmsOptions(REGION, url, connect_seconds=0.5, read_seconds=0.3, attempts=2)


def test_a_bundle_key_signs_messages_of_any_size(make_key: MakeKey, options: KmsOptions) -> None:
    signer: Signer = open_signer(f"kms:{make_key('ECC_NIST_P256')}", kms=options)
    for size in (0, 100, MAX_RAW, MAX_RAW + 1, 1_000_000):
        message = bytes(size)
        load_public(signer.public_pem).verify(signer.sign(message), message, ec.ECDSA(hashes.SHA256()))
    assert signer.sign(b"the same") != signer.sign(b"the same"), "P-256 in KMS is not deterministic"


def test_openssl_checks_an_envelope_signed_in_kms(
    make_key: MakeKey, options: KmsOptions, tmp_path: Path
) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    signer = KmsSigner(make_key("ECC_NIST_P256"), options)
    payload = statement({"records/00000.json": b"{}"}, {"case": "c"})
    made = json.loads(envelope(payload, signer))
    (tmp_path / "pem").write_bytes(signer.public_pem)
    (tmp_path / "pae").write_bytes(pre_authentication_encoding(PAYLOAD_TYPE, payload))
    decode = [openssl, "base64", "-d", "-A", "-out", "sig"]
    subprocess.run(decode, input=made["signatures"][0]["sig"].encode(), cwd=tmp_path, check=True)  # noqa: S603
    verify = [openssl, "dgst", "-sha256", "-verify", "pem", "-signature", "sig", "pae"]
    assert subprocess.run(verify, cwd=tmp_path, check=False, capture_output=True).returncode == 0  # noqa: S603


def test_a_log_key_signs_checkpoints(make_key: MakeKey, options: KmsOptions) -> None:
    key_id = make_key("ECC_NIST_EDWARDS25519")
    signer: LogSigner = open_log_signer(f"kms:{key_id}", NAME, kms=options)
    line = signer.sign_note(TEXT)

    assert NoteVerifier.from_vkey(signer.vkey) == NoteVerifier(NAME, signer.public)
    assert parse_checkpoint(note_bytes(TEXT, (line,)), NoteVerifier.from_vkey(signer.vkey)).size == 48211
    assert signer.sign_note(TEXT) == line, "Ed25519 is deterministic, in KMS too"


def test_a_note_beyond_what_kms_signs(make_key: MakeKey, options: KmsOptions) -> None:
    signer = KmsLogSigner(make_key("ECC_NIST_EDWARDS25519"), NAME, options)
    longest = b"x" * (MAX_RAW - 1) + b"\n"
    assert NoteVerifier.from_vkey(signer.vkey).verifies(longest, signer.sign_note(longest).sig)
    with pytest.raises(KeyRefusedError, match="4096 bytes"):
        signer.sign_note(b"x" + longest)


def test_one_signer_serves_many_threads(make_key: MakeKey, options: KmsOptions) -> None:
    signer = KmsLogSigner(make_key("ECC_NIST_EDWARDS25519"), NAME, options)
    made: list[bytes] = []
    threads = [threading.Thread(target=lambda: made.append(signer.sign_note(TEXT).sig)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert len(set(made)) == 1


def test_keys_move_from_files_into_kms(make_key: MakeKey, options: KmsOptions, tmp_path: Path) -> None:
    moves = (
        (
            KeyHolder.of_log(FileLogSigner(tmp_path / "log.pem", NAME)),
            KeyHolder.of_log(KmsLogSigner(make_key("ECC_NIST_EDWARDS25519"), NAME, options)),
        ),
        (
            KeyHolder.of_bundles(FileSigner(tmp_path / "bundles.pem"), NAME),
            KeyHolder.of_bundles(KmsSigner(make_key("ECC_NIST_P256"), options), NAME),
        ),
    )
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        for old, new in moves:
            done = rotate_key(ledger, old, new, at=NOW, cause=RotationCause.MOVED)
            assert rotate_key(ledger, old, new, at=NOW, cause=RotationCause.MOVED) == done
            require_in_force(ledger, new)
        assert ledger.size() == 2


def test_a_key_that_does_not_exist(options: KmsOptions) -> None:
    for key_id in ("12345678-0000-0000-0000-000000000000", "alias/nobody"):
        with pytest.raises(KeyRefusedError, match="KMS refused: NotFoundException"):
            KmsSigner(key_id, options).sign(b"message")
    with pytest.raises(KeyRefusedError, match="KMS refused: NotFoundException"):
        _ = KmsLogSigner("alias/nobody", NAME, options).vkey


def test_a_disabled_key(ministack: MiniStack, make_key: MakeKey, options: KmsOptions) -> None:
    key_id = make_key("ECC_NIST_P256")
    ministack.kms().disable_key(KeyId=key_id)
    signer = KmsSigner(key_id, options)
    with pytest.raises(KeyRefusedError, match="DisabledException"):
        signer.sign(b"message")
    ministack.kms().enable_key(KeyId=key_id)
    signer.sign(b"message")


@pytest.mark.parametrize("spec", ["ECC_NIST_EDWARDS25519", "ECC_NIST_P384", "RSA_2048"])
def test_keys_of_another_kind_sign_no_bundles(
    make_key: MakeKey, options: KmsOptions, spec: KeySpecType
) -> None:
    signer = KmsSigner(make_key(spec), options)
    with pytest.raises(KeyRefusedError, match="ECC_NIST_P256"):
        _ = signer.public_pem
    with pytest.raises(KeyRefusedError):
        signer.sign(b"message")


@pytest.mark.parametrize("spec", ["ECC_NIST_P256", "RSA_2048"])
def test_keys_of_another_kind_sign_no_checkpoints(
    make_key: MakeKey, options: KmsOptions, spec: KeySpecType
) -> None:
    signer = KmsLogSigner(make_key(spec), NAME, options)
    with pytest.raises(KeyRefusedError, match="ECC_NIST_EDWARDS25519"):
        _ = signer.vkey
    with pytest.raises(KeyRefusedError):
        signer.sign_note(TEXT)


def test_an_alias_that_was_pointed_at_another_key_signs_nothing(
    ministack: MiniStack, make_key: MakeKey, options: KmsOptions
) -> None:
    for spec, alias in (("ECC_NIST_P256", "alias/bundles"), ("ECC_NIST_EDWARDS25519", "alias/log")):
        ministack.kms().create_alias(AliasName=alias, TargetKeyId=make_key(spec))
    bundles, log = KmsSigner("alias/bundles", options), KmsLogSigner("alias/log", NAME, options)
    bundles.sign(b"message")
    log.sign_note(TEXT)
    for spec, alias in (("ECC_NIST_P256", "alias/bundles"), ("ECC_NIST_EDWARDS25519", "alias/log")):
        ministack.kms().update_alias(AliasName=alias, TargetKeyId=make_key(spec))
    with pytest.raises(KeyServiceError, match="does not verify"):
        bundles.sign(b"message")
    with pytest.raises(KeyServiceError, match="does not verify"):
        log.sign_note(TEXT)


def test_a_service_that_is_down_can_be_asked_again() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        options = impatient(f"http://127.0.0.1:{closed.getsockname()[1]}")
        signer = KmsLogSigner("alias/log", NAME, options)
        with pytest.raises(KeyServiceError, match="cannot be reached") as caught:
            signer.sign_note(TEXT)
    assert not isinstance(caught.value, KeyRefusedError)


def test_a_service_that_does_not_answer_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        options = impatient(f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(KeyServiceError, match="ReadTimeoutError") as caught:
            KmsSigner("alias/bundles", options).sign(b"message")
    assert not isinstance(caught.value, KeyRefusedError)


@contextmanager
def answering(status: int, code: str, text: str) -> Iterator[tuple[str, list[str]]]:
    """A service that gives one answer to everything, in AWS's JSON protocol; lists what was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.headers["X-Amz-Target"])
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps({"__type": code, "message": text}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "ThrottlingException"),
        (500, "KMSInternalException"),
        (503, "DependencyTimeoutException"),
        (500, "KeyUnavailableException"),
        (502, "SomethingNew"),
    ],
)
def test_passing_troubles_are_tried_again_and_told_as_such(status: int, code: str) -> None:
    with answering(status, code, "later") as (url, asked):
        with pytest.raises(KeyServiceError, match=code) as caught:
            KmsSigner("alias/bundles", impatient(url)).sign(b"message")
        assert not isinstance(caught.value, KeyRefusedError)
        assert asked == ["TrentService.Sign"] * 2


def test_a_refusal_names_no_account_and_nobody() -> None:
    text = "User: arn:aws:iam::111122223333:user/jane.doe is not authorized to perform: kms:Sign"
    with (
        answering(400, "AccessDeniedException", text) as (url, _asked),
        pytest.raises(KeyRefusedError, match="AccessDeniedException") as caught,
    ):
        KmsSigner("alias/bundles", impatient(url)).sign(b"message")
    assert "kms:Sign and kms:GetPublicKey" in str(caught.value)
    assert "jane" not in str(caught.value)
    assert "1111" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_without_credentials_or_region_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyRefusedError, match="NoRegionError"):
        KmsSigner("alias/bundles").sign(b"message")
    with pytest.raises(KeyRefusedError, match="ValueError"):
        KmsSigner("alias/bundles", KmsOptions(REGION, "no address")).sign(b"message")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with (
        answering(400, "never", "asked") as (url, asked),
        pytest.raises(KeyRefusedError, match="NoCredentialsError"),
    ):
        KmsSigner("alias/bundles", impatient(url)).sign(b"message")
    assert asked == []


def test_an_installation_without_the_aws_package_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(KeyRefusedError, match=r"leaver\[aws\]"):
        KmsSigner("alias/bundles", KmsOptions(REGION)).sign(b"message")
