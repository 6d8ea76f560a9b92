"""A log in memory with its keys, a witness and a timestamp authority, and bundles of it.

Whoever attacks a bundle with the operator's keys has to rebuild the log: this one can be rebuilt from its
records after any change.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import rfc8785
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from leaver.domain.base import Facts
from leaver.domain.records import RecordDraft
from leaver.domain.words import RecordType
from leaver.evidence.bundle import BundleInput, BundleKind, Earlier, ProvenRecord, Stamp, TrustKeys, Witness
from leaver.evidence.history.chain import prefix_heads
from leaver.evidence.keys.files import FileLogSigner, FileSigner
from leaver.evidence.log.checkpoint import Checkpoint
from leaver.evidence.log.merkle import consistency_path, inclusion_path, leaf_hash, root_of
from leaver.evidence.log.notes import (
    KeyKind,
    NoteSignature,
    NoteVerifier,
    cosignature_bytes,
    cosignature_message,
    note_bytes,
)
from leaver.evidence.records import NO_RECORD, parse_record, record_bytes
from leaver.temporal.history import HistoryFile

OPENSSL = shutil.which("openssl")
ORIGIN = "log.example.com/leaver"
WITNESS = "audit.example.org/w1"
START = datetime(2026, 11, 20, 17, 0, tzinfo=UTC)

_CONFIG = """
[tsa]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ess_cert_id_alg = sha256
"""


def _certificate(
    key: ec.EllipticCurvePrivateKey,
    name: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    issuer: str,
    expires: datetime,
) -> x509.Certificate:
    subject, by = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in (name, issuer))
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(minutes=5))
        .not_valid_after(expires)
    )
    if key is issuer_key:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    else:
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
        builder = builder.add_extension(usage, critical=True)
    return builder.sign(issuer_key, hashes.SHA256())


class Authority:
    """A timestamp authority: ``openssl ts`` with a root of its own."""

    def __init__(self, folder: Path, name: str, lifetime: timedelta = timedelta(days=30)) -> None:
        self.folder, self.name = folder, name
        folder.mkdir(parents=True)
        (folder / "cnf").write_text(_CONFIG.format(folder=folder))
        (folder / "serial").write_text("01\n")
        keys = {who: ec.generate_private_key(ec.SECP256R1()) for who in ("ca", "tsa")}
        begin = datetime.now(UTC).replace(microsecond=0)
        self.expires = begin + lifetime
        root = _certificate(
            keys["ca"], f"{name} root", keys["ca"], f"{name} root", begin + timedelta(days=60)
        )
        own = _certificate(keys["tsa"], name, keys["ca"], f"{name} root", self.expires)
        self.ca_pem = root.public_bytes(serialization.Encoding.PEM)
        (folder / "tsa.pem").write_bytes(own.public_bytes(serialization.Encoding.PEM))
        (folder / "tsa.key").write_bytes(
            keys["tsa"].private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )

    def stamp(self, data: bytes) -> bytes:
        (self.folder / "data").write_bytes(data)
        self._run("ts", "-query", "-data", "data", "-sha256", "-cert", "-out", "query")
        self._run("ts", "-reply", "-queryfile", "query", "-config", "cnf", "-section", "tsa", "-out", "reply")
        return (self.folder / "reply").read_bytes()

    def _run(self, *words: str) -> None:
        assert OPENSSL
        subprocess.run([OPENSSL, *words], cwd=self.folder, check=True, capture_output=True)  # noqa: S603


@dataclass
class Keys:
    """What the operator, the witness and the authority hold."""

    signer: FileSigner
    log: FileLogSigner
    authority: Authority
    witness: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @property
    def witness_vkey(self) -> NoteVerifier:
        return NoteVerifier(WITNESS, self.witness.public_key().public_bytes_raw(), KeyKind.COSIGNATURE)

    def cosign(self, text: bytes, at: datetime = START) -> NoteSignature:
        seconds = int(at.timestamp())
        sig = cosignature_bytes(seconds, self.witness.sign(cosignature_message(seconds, text)))
        return NoteSignature(WITNESS, self.witness_vkey.key_id, sig)


def make_keys(folder: Path, authority: Authority) -> Keys:
    return Keys(FileSigner(folder / "signer.pem"), FileLogSigner(folder / "log.pem", ORIGIN), authority)


class MemoryLog:
    """Records in their order; ``raws`` may be changed."""

    def __init__(self, raws: Sequence[bytes] = ()) -> None:
        self.raws = list(raws)
        self._salt = 0

    @property
    def size(self) -> int:
        return len(self.raws)

    def add(self, case: str, chain: str, kind: RecordType, body: Facts, at: datetime | None = None) -> int:
        mine = [each for raw in self.raws if (each := parse_record(raw)).case == case and each.chain == chain]
        prev = mine[-1].leaf if mine else NO_RECORD
        if chain == "watch" and not mine:
            prev = next(
                each.leaf
                for raw in self.raws
                if (each := parse_record(raw)).case == case and each.type is RecordType.CASE_CLOSED
            )
        draft = RecordDraft(case=case, chain=chain, case_seq=len(mine), type=kind, at=at or START, body=body)
        self._salt += 1
        self.raws.append(record_bytes(draft, seq=self.size, salt=f"{self._salt:032x}", prev_case=prev))
        return self.size - 1

    def seal(self, case: str, kind: BundleKind = BundleKind.CASE) -> int:
        """The sealer's last record about a case in a bundle of this kind."""
        counts = {f"{chain}_records": len(self.places(case, chain)) for chain in ("case", "watch", "sealer")}
        counts["sealer_records"] += 1
        return self.add(case, "sealer", RecordType.BUNDLE_SEALING, {"kind": kind.value, **counts})

    def add_case(self, drafts: Sequence[RecordDraft]) -> None:
        """A whole chain at once, without looking for its end each time."""
        prev = NO_RECORD
        for draft in drafts:
            self._salt += 1
            raw = record_bytes(draft, seq=self.size, salt=f"{self._salt:032x}", prev_case=prev)
            self.raws.append(raw)
            prev = leaf_hash(raw).hex()

    def nodes(self, size: int) -> Callable[[int, int], bytes]:
        leaves = [leaf_hash(raw) for raw in self.raws[:size]]

        @cache
        def node(level: int, index: int) -> bytes:
            return root_of(leaves[index << level : (index + 1) << level])

        return node

    def root(self, size: int) -> bytes:
        return root_of([leaf_hash(raw) for raw in self.raws[:size]])

    def text(self, size: int) -> bytes:
        return Checkpoint(ORIGIN, size, self.root(size)).text()

    def places(self, case: str, *chains: str) -> list[int]:
        records = [parse_record(raw) for raw in self.raws]
        return [each.seq for each in records if each.case == case and each.chain in chains]


def bundle_input(
    log: MemoryLog,
    keys: Keys,
    places: Sequence[int],
    *,
    subject: str,
    kind: BundleKind = BundleKind.CASE,
    histories: Sequence[HistoryFile] = (),
    earlier: Sequence[int] = (),
    anchored: bool = True,
    pages: dict[str, bytes] | None = None,
) -> BundleInput:
    """A bundle of these records at the log's present size."""
    size, nodes, text = log.size, log.nodes(log.size), log.text(log.size)
    note = note_bytes(text, [keys.log.sign_note(text)])
    return BundleInput(
        kind=kind,
        subject=subject,
        records=tuple(
            ProvenRecord(parse_record(log.raws[seq]), inclusion_path(nodes, seq, size)) for seq in places
        ),
        checkpoint=note,
        keys=TrustKeys(log=(keys.log.vkey,), tsa_ca=keys.authority.ca_pem),
        stamps=(Stamp(keys.authority.name, keys.authority.stamp(note)),) if anchored else (),
        witnesses=(Witness(keys.witness_vkey.vkey, keys.cosign(text)),) if anchored else (),
        earlier=tuple(Earlier(old, log.root(old), consistency_path(nodes, old, size)) for old in earlier),
        histories=tuple(histories),
        pages=pages or {},
    )


def final_body(run: HistoryFile, workflow_id: str = "leaver-c-abcdefghijklmnopqrstuvwxyz") -> Facts:
    """What the sealer records about a closed run."""
    return {
        "workflow_id": workflow_id,
        "run_id": run.run_id,
        "events": run.event_count,
        "head": prefix_heads(run.proto)[run.event_count],
        "sha256": hashlib.sha256(run.proto).hexdigest(),
        "json_sha256": hashlib.sha256(run.json).hexdigest(),
        "close_status": "COMPLETED",
    }


def prefix_body(run: HistoryFile, events: int) -> Facts:
    return {"run_id": run.run_id, "events": events, "head": prefix_heads(run.proto)[events]}


def write_trust(folder: Path, keys: Keys, checkpoint: bytes | None = None) -> Path:
    """The folder that an auditor keeps."""
    folder.mkdir(parents=True)
    (folder / "signer.pem").write_bytes(keys.signer.public_pem)
    (folder / "log.vkey").write_text(keys.log.vkey + "\n")
    (folder / "tsa-ca.pem").write_bytes(keys.authority.ca_pem)
    (folder / "witnesses.vkeys").write_text(keys.witness_vkey.vkey + "\n")
    if checkpoint is not None:
        (folder / "checkpoint").write_bytes(checkpoint)
    return folder


def signed_note(log: MemoryLog, keys: Keys, size: int) -> bytes:
    text = log.text(size)
    return note_bytes(text, [keys.log.sign_note(text)])


PERSON: Facts = {"name": "Ada Example", "worker": "4711"}
PERSON_SALT = bytes(range(16))


def commit(salt: bytes = PERSON_SALT, content: Facts = PERSON) -> str:
    return hashlib.sha256(salt + rfc8785.dumps(content)).hexdigest()


@dataclass
class World:
    """An ordinary case in the midst of a log, sealed by these keys."""

    log: MemoryLog
    keys: Keys
    case: str
    run: HistoryFile

    @property
    def input(self) -> BundleInput:
        return self.make()

    def make(self, log: MemoryLog | None = None, **changes: Any) -> BundleInput:
        log = log or self.log
        given: dict[str, Any] = {
            "subject": self.case,
            "histories": [self.run],
            "earlier": [20, 40],
            "pages": {"report.html": b"<p>verified</p>\n", "report.pdf": b"%PDF-1.7 verified\n"},
            **changes,
        }
        return bundle_input(log, self.keys, log.places(self.case, "case", "sealer"), **given)


def sample_world(keys: Keys, drafts: Sequence[RecordDraft], run: HistoryFile) -> World:
    case, log = drafts[0].case, MemoryLog()
    for number in range(37):
        log.add("log", "log", RecordType.CONFIG_CHANGE, {"change": number})
    log.add(case, "sealer", RecordType.CASE_EXPECTED, {"person_commit": commit()})
    log.add_case(drafts)
    log.add(case, "sealer", RecordType.HISTORY_PREFIX, prefix_body(run, 100))
    log.add(case, "sealer", RecordType.HISTORY_FINAL, final_body(run))
    log.seal(case)
    for number in range(29):
        log.add("log", "log", RecordType.CONFIG_CHANGE, {"change": number})
    return World(log, keys, case, run)


# ----------------------------------------------------------------- what an attacker does to a folder


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    value = json.loads(path.read_bytes())
    change(value)
    path.write_bytes(rfc8785.dumps(value))


def payload_of(folder: Path) -> dict[str, Any]:
    envelope = json.loads((folder / "manifest.dsse.json").read_bytes())
    payload: dict[str, Any] = json.loads(base64.b64decode(envelope["payload"]))
    return payload
