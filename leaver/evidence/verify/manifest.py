"""The manifest: a DSSE envelope round an in-toto statement about every other file."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import Field

from leaver.evidence.errors import KeyFileError
from leaver.evidence.keys.public import fingerprint, load_public
from leaver.evidence.signing import PAYLOAD_TYPE, PREDICATE_TYPE, STATEMENT_TYPE, signature_holds
from leaver.evidence.verify.contents import Contents, Part, WrongError, parse, unbase64
from leaver.evidence.verify.layout import KEY, MANIFEST, OPENINGS, BundleKind
from leaver.evidence.verify.report import FindingKind

_PEM: Final = re.compile(rb"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)


class _Signature(Part):
    keyid: str
    sig: str


class _Envelope(Part):
    payload: str
    payloadType: Literal["application/vnd.in-toto+json"]  # noqa: N815 - DSSE's name
    signatures: Annotated[list[_Signature], Field(min_length=1, max_length=1)]


class _Digest(Part):
    sha256: str


class _Subject(Part):
    name: str
    digest: _Digest


class ClaimedCheckpoint(Part):
    """The state of the log that the records are proven against; ``root`` is hex."""

    origin: str
    size: int
    root: str


class ClaimedAnchor(Part):
    """An anchor as the signer names it. ``outside``: run by somebody else than the log's operator."""

    file: str
    name: str
    outside: bool


class Claims(Part):
    """The manifest's predicate: what the signer says the bundle is."""

    kind: Literal["case", "watch", "period"]
    subject: str
    checkpoint: ClaimedCheckpoint
    anchors: list[ClaimedAnchor]

    @property
    def bundle_kind(self) -> BundleKind:
        """The kind as a word of the closed set."""
        return BundleKind(self.kind)


class _Statement(Part):
    type: str = Field(alias="_type")
    subject: list[_Subject]
    predicateType: str  # noqa: N815 - in-toto's name
    predicate: Claims


@dataclass(frozen=True, slots=True)
class Manifest:
    """The signed list (path to SHA-256, hex) and the signed claims."""

    signed: Mapping[str, str]
    claims: Claims

    def below(self, folder: str) -> list[str]:
        """The signed files below a folder, in the order of their names."""
        return [name for name in self.signed if name.startswith(folder)]


def check_manifest(contents: Contents, keys: bytes | None) -> tuple[Manifest | None, str]:
    """Check signature and form.

    Args:
        contents: the bundle.
        keys: the auditor's own public keys (PEM, one after another), else the bundle's is taken.

    Returns:
        The manifest, None when it cannot be read; and the fingerprint of the key it was checked with.
    """
    raw = contents.files.get(MANIFEST)
    if raw is None:
        contents.wrong(MANIFEST, "missing", FindingKind.MISSING)
        return None, ""
    used = ""
    try:
        envelope = parse(_Envelope, raw)
        payload = unbase64(envelope.payload)
        used = _check_signature(contents, keys, envelope, payload)
        statement = _statement(payload)
    except WrongError as err:
        contents.wrong(MANIFEST, f"it cannot be read: {err}", FindingKind.SIGNATURE)
        return None, used
    signed = {subject.name: subject.digest.sha256 for subject in statement.subject}
    return Manifest(signed, statement.predicate), used


def check_files(contents: Contents, signed: Mapping[str, str]) -> None:
    """Compare what is there with what was signed. Openings are not signed; see ``openings.py``."""
    for name in sorted(contents.files.keys() - signed.keys() - {MANIFEST}):
        if not name.startswith(OPENINGS):
            contents.wrong(name, "not in the signed manifest: it was added", FindingKind.ADDED)
    for name, sha256 in signed.items():
        content = contents.files.get(name)
        if content is None:
            contents.wrong(name, "in the signed manifest but missing", FindingKind.MISSING)
        elif hashlib.sha256(content).hexdigest() != sha256:
            contents.wrong(name, "changed: its SHA-256 is not the signed one", FindingKind.CHANGED)


def pem_keys(pem: bytes) -> list[bytes]:
    """The public keys of a PEM file, one by one."""
    return [found.group() + b"\n" for found in _PEM.finditer(pem)]


def _check_signature(contents: Contents, keys: bytes | None, envelope: _Envelope, payload: bytes) -> str:
    signature = envelope.signatures[0]
    pems = pem_keys(contents.files.get(KEY, b"") if keys is None else keys)
    try:
        publics = [load_public(pem) for pem in pems]
    except KeyFileError:
        publics = []
    if not publics:
        reason = "the key to check it with is missing or not a public key on P-256"
        contents.wrong(MANIFEST, reason, FindingKind.SIGNATURE)
        return ""
    chosen = next((key for key in publics if fingerprint(key) == signature.keyid), publics[0])
    if signature.keyid != fingerprint(chosen):
        reason = "it is signed with another key than the one it is checked with"
        contents.wrong(MANIFEST, reason, FindingKind.SIGNATURE)
    elif not signature_holds(chosen, PAYLOAD_TYPE, payload, unbase64(signature.sig)):
        contents.wrong(MANIFEST, "the signature does not fit the content", FindingKind.SIGNATURE)
    return fingerprint(chosen)


def _statement(payload: bytes) -> _Statement:
    statement = parse(_Statement, payload)
    names = [subject.name for subject in statement.subject]
    if (statement.type, statement.predicateType) != (STATEMENT_TYPE, PREDICATE_TYPE):
        raise WrongError("not an in-toto statement about an evidence bundle v2")
    if names != sorted(set(names)) or MANIFEST in names:
        raise WrongError("the list of files is not in order")
    if any(name.startswith(OPENINGS) for name in names):
        raise WrongError("openings cannot be signed: they may have to be erased")
    return statement
