"""Verify a bundle: the library's own implementation, written apart from the stand-alone one.

Two implementations that must agree keep each other honest: this one uses pydantic, rfc8785 and cryptography;
``standalone/verify.py`` uses the standard library and openssl. A test runs both over every attack we know.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated, Final, Literal, NoReturn, TypeVar

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, ValidationError

from leaver.evidence.errors import BundleError, EvidenceError, KeyFileError
from leaver.evidence.records import NO_RECORD, leaf_hash
from leaver.evidence.signing import (
    PAYLOAD_TYPE,
    PREDICATE_TYPE,
    STATEMENT_TYPE,
    fingerprint,
    load_public,
    signature_holds,
)
from leaver.evidence.wire import event_numbers

MANIFEST: Final = "manifest.dsse.json"
KEY: Final = "keys/signer.pem"

Shape = TypeVar("Shape", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: in which file of the bundle, and what."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What a verification found. ``ok`` only when there is nothing.

    ``own_key`` tells whether the auditor's own copy of the key was used. Without it a good result means no
    more than that the bundle is consistent with itself.
    """

    findings: tuple[Finding, ...]
    fingerprint: str
    own_key: bool
    case: str
    records: int
    events: int
    files: int

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    @property
    def caveats(self) -> tuple[str, ...]:
        """What a good result does not say; to be shown with it."""
        anchors = "Outside anchors: none. Whoever holds the signing key could have made another bundle."
        if self.own_key:
            return (anchors,)
        key = "The key came from inside the bundle, which proves only that the bundle fits together."
        compare = "Compare the fingerprint with the one you received by another path, or use your own copy."
        return (f"{key} {compare}", anchors)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Signature(_Part):
    keyid: str
    sig: str


class _Envelope(_Part):
    payload: str
    payloadType: Literal["application/vnd.in-toto+json"]  # noqa: N815 - DSSE's name
    signatures: Annotated[list[_Signature], Field(min_length=1, max_length=1)]


class _Digest(_Part):
    sha256: str


class _Subject(_Part):
    name: str
    digest: _Digest


class _Run(_Part):
    run_id: str
    events: int


class Claims(_Part):
    """The manifest's predicate: what the signer says the bundle holds."""

    case: str
    records: int
    head: str
    histories: list[_Run]


class _Statement(_Part):
    type: str = Field(alias="_type")
    subject: list[_Subject]
    predicateType: str  # noqa: N815 - in-toto's name
    predicate: Claims


class _Record(_Part):
    """A record of version 1, of whatever type: a later version may know more types than this one."""

    v: Annotated[int, Field(ge=1, le=1)]  # a Literal would take ``true`` for 1
    salt: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    seq: int
    case: str
    chain: Literal["case"]
    case_seq: int
    type: str
    at: str
    body: dict[str, JsonValue]
    prev_case: str


class _WrongError(EvidenceError):
    """A file's content is not what it must be."""


@dataclass(slots=True)
class _Bundle:
    """What lies in the folder, and what was found wrong so far."""

    files: dict[str, bytes] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)
    fingerprint: str = ""

    def wrong(self, file: str, reason: str) -> None:
        self.findings.append(Finding(file, reason))


def verify_bundle(folder: Path, *, key: bytes | None = None) -> VerifyReport:
    """Check a bundle. Reads only, needs no network.

    Args:
        folder: the bundle.
        key: the auditor's own copy of the signer's public key (PEM); None takes the one in the bundle.

    Raises:
        BundleError: there is no such folder, or it cannot be read.
        KeyFileError: ``key`` is not a P-256 public key.
    """
    if key is not None:
        load_public(key)
    if not folder.is_dir():
        raise BundleError(f"{folder} is not a folder")
    try:
        bundle = _read(folder)
    except OSError as err:
        raise BundleError(f"the bundle cannot be read: {err}") from err
    statement = _manifest(bundle, key)
    if statement is not None:
        _check_content(bundle, statement)
    claims = statement.predicate if statement else None
    return VerifyReport(
        findings=tuple(bundle.findings),
        fingerprint=bundle.fingerprint,
        own_key=key is not None,
        case=claims.case if claims else "",
        records=claims.records if claims else 0,
        events=sum(run.events for run in claims.histories) if claims else 0,
        files=len(statement.subject) if statement else 0,
    )


def _read(folder: Path) -> _Bundle:
    bundle = _Bundle()
    for here, folders, files in os.walk(folder, onerror=_raise, followlinks=False):
        for name in (*folders, *files):
            path = Path(here, name)
            relative = path.relative_to(folder).as_posix()
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                bundle.wrong(relative, "neither a regular file nor a folder; links are not allowed")
            elif path.is_dir():
                bundle.folders.add(relative)
            else:
                bundle.files[relative] = path.read_bytes()
    return bundle


def _raise(err: OSError) -> NoReturn:
    raise err


def _manifest(bundle: _Bundle, key: bytes | None) -> _Statement | None:
    raw = bundle.files.get(MANIFEST)
    if raw is None:
        bundle.wrong(MANIFEST, "missing")
        return None
    try:
        envelope = _parse(_Envelope, raw)
        payload = _base64(envelope.payload)
        _check_signature(bundle, key, envelope, payload)
        return _statement(payload)
    except _WrongError as err:
        bundle.wrong(MANIFEST, f"it cannot be read: {err}")
        return None


def _statement(payload: bytes) -> _Statement:
    statement = _parse(_Statement, payload)
    names = [subject.name for subject in statement.subject]
    if (statement.type, statement.predicateType) != (STATEMENT_TYPE, PREDICATE_TYPE):
        raise _WrongError("not an in-toto statement about an evidence bundle")
    if names != sorted(set(names)) or MANIFEST in names:
        raise _WrongError("the list of files is not in order")
    return statement


def _check_signature(bundle: _Bundle, key: bytes | None, envelope: _Envelope, payload: bytes) -> None:
    signature = envelope.signatures[0]
    try:
        public = load_public(bundle.files.get(KEY, b"") if key is None else key)
    except KeyFileError:
        bundle.wrong(MANIFEST, "the key to check it with is missing or not a public key on P-256")
        return
    bundle.fingerprint = fingerprint(public)
    if signature.keyid != bundle.fingerprint:
        bundle.wrong(MANIFEST, "it is signed with another key than the one it is checked with")
    elif not signature_holds(public, PAYLOAD_TYPE, payload, _base64(signature.sig)):
        bundle.wrong(MANIFEST, "the signature does not fit the content")


def _check_content(bundle: _Bundle, statement: _Statement) -> None:
    signed = {subject.name: subject.digest.sha256 for subject in statement.subject}
    _check_files(bundle, signed)
    claims = statement.predicate
    _check_records(bundle, [name for name in signed if name.startswith("records/")], claims)
    _check_histories(bundle, [name for name in signed if name.startswith("history/")], claims)


def _check_files(bundle: _Bundle, signed: Mapping[str, str]) -> None:
    for name in bundle.files.keys() - signed.keys() - {MANIFEST}:
        bundle.wrong(name, "not in the signed manifest: it was added")
    needed = {parent.as_posix() for name in signed for parent in PurePosixPath(name).parents}
    for name in bundle.folders - needed:
        bundle.wrong(name, "a folder that no signed file lies in")
    for name, sha256 in signed.items():
        content = bundle.files.get(name)
        if content is None:
            bundle.wrong(name, "in the signed manifest but missing")
        elif hashlib.sha256(content).hexdigest() != sha256:
            bundle.wrong(name, "changed: its SHA-256 is not the signed one")


def _check_records(bundle: _Bundle, names: list[str], claims: Claims) -> None:
    before: str | None = NO_RECORD
    last_seq = -1
    closing: _Record | None = None
    for number, name in enumerate(names):
        raw = bundle.files.get(name)
        closing = None
        if raw is not None:
            try:
                record = closing = _record(raw, name, number, claims.case)
                _check_link(record, before, last_seq, last=number == len(names) - 1)
                last_seq = record.seq
            except _WrongError as err:
                bundle.wrong(name, str(err))
                closing = None
        # Where a record is missing, which is told already, the next one's link cannot be checked.
        before = leaf_hash(raw).hex() if raw is not None else None
    count = closing.body.get("count") if closing else None
    if not names or type(count) is not int or count != len(names):
        bundle.wrong("records", "no closing record that counts as many records as there are")
    if claims.records != len(names) or before not in (None, claims.head):
        bundle.wrong(MANIFEST, "number or head of the records is not the signed one")


def _record(raw: bytes, name: str, number: int, case: str) -> _Record:
    if name != f"records/{number:05d}.json":
        raise _WrongError("a record is missing, or the name is wrong")
    record = _parse(_Record, raw)
    if record.case != case:
        raise _WrongError("it belongs to another case")
    if record.case_seq != number:
        raise _WrongError("its case_seq is not its place in the case")
    return record


def _check_link(record: _Record, before: str | None, last_seq: int, *, last: bool) -> None:
    if record.seq <= last_seq:
        raise _WrongError("its place in the ledger is not after the record before")
    if before is not None and record.prev_case != before:
        raise _WrongError("its hash link does not fit the record before")
    if (record.type == "case.closed") is not last:
        raise _WrongError("case.closed is not the last")


def _check_histories(bundle: _Bundle, names: list[str], claims: Claims) -> None:
    told = {f"history/{run.run_id}.{form}": run.events for run in claims.histories for form in ("json", "pb")}
    if not told or names != sorted(told):
        bundle.wrong("history", "the files are not those of the signed list of runs")
    for name, events in told.items():
        raw = bundle.files.get(name)
        if raw is None or name not in names:
            continue
        try:
            found = event_numbers(raw, is_json=name.endswith(".json"))
        except ValueError as err:
            bundle.wrong(name, str(err))
            continue
        if any(number != place for place, number in enumerate(found, 1)):
            bundle.wrong(name, "event numbers have gaps")
        elif not found or len(found) != events:
            bundle.wrong(name, "not the signed number of events")


def _parse(shape: type[Shape], raw: bytes) -> Shape:
    """Canonical JSON of a given shape."""
    try:
        value = json.loads(raw.decode(), parse_float=_no_float, parse_constant=_no_float)
        if rfc8785.dumps(value) != raw:
            raise _WrongError("not in canonical form (RFC 8785)")
        return shape.model_validate_json(raw)
    except ValidationError as err:
        problem = err.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise _WrongError(f"{where or 'content'}: {problem['msg']}") from None
    except (ValueError, RecursionError, rfc8785.CanonicalizationError) as err:
        raise _WrongError(f"not canonical JSON: {err}") from None


def _no_float(_number: str) -> NoReturn:
    raise _WrongError("a floating-point number, which nothing here may hold")


def _base64(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _WrongError("not base64") from None
    if base64.b64encode(raw).decode() != text:
        raise _WrongError("base64 in a non-standard spelling")
    return raw
