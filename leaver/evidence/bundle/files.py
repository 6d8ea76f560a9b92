"""Every file of a bundle, from its input alone."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

import rfc8785
from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import JsonValue

from leaver.domain.base import Facts
from leaver.evidence.bundle.model import BundleInput
from leaver.evidence.case_view import case_view
from leaver.evidence.errors import BundleError, NoteError
from leaver.evidence.keys.model import Signer
from leaver.evidence.keys.public import fingerprint, load_public
from leaver.evidence.log.checkpoint import SignedCheckpoint, parse_unverified, proof_text
from leaver.evidence.log.notes import NoteVerifier, note_bytes
from leaver.evidence.records import Chain
from leaver.evidence.signing import envelope, statement
from leaver.evidence.verify.layout import (
    CONSISTENCY,
    HISTORY,
    KEY,
    LOG_KEYS,
    MANIFEST,
    OPENINGS,
    RECORDS,
    STAMPS,
    TSA_CA,
    WITNESS_KEYS,
    BundleKind,
    checkpoint_name,
    history_names,
    proof_name,
    record_name,
    stamp_name,
)

STANDALONE: Final = Path(__file__).parents[1] / "standalone" / "verify.py"
"""The verifier that goes into every bundle; an auditor's own copy is this file."""

_RUN_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_PAGE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_RESERVED: Final = {MANIFEST, CONSISTENCY, "VERIFY.md", "verify.py", "case.json"}
_OURS: Final = (RECORDS, HISTORY, STAMPS, OPENINGS, "keys/", "checkpoint.")


def bundle_files(given: BundleInput, signer: Signer) -> dict[str, bytes]:
    """Every file of the bundle by its path, the manifest included.

    Raises:
        BundleError: the input does not make a bundle; it says what is wrong with it.
        UnreadableRecordsError: the records do not tell a case.
        KeyServiceError: the key is with a service that did not sign now.
    """
    try:
        signed = parse_unverified(given.checkpoint)
        note = note_bytes(
            signed.note.text, (*signed.note.signatures, *(each.signature for each in given.witnesses))
        )
    except NoteError as err:
        raise BundleError(f"the checkpoint: {err}") from None
    files = {
        **_records(given, note),
        checkpoint_name(signed.size): note,
        CONSISTENCY: _consistency(given),
        **_histories(given),
        **_pages(given),
        **_keys(given, signer.public_pem),
        "verify.py": STANDALONE.read_bytes(),
    }
    for number, stamp in enumerate(given.stamps, 1):
        files[stamp_name(signed.size, number)] = stamp.tsr
    files["VERIFY.md"] = _instructions(given, signed, signer.public_pem).encode()
    return {**files, MANIFEST: envelope(statement(files, _claims(given, signed)), signer)}


def _records(given: BundleInput, note: bytes) -> dict[str, bytes]:
    files = {}
    for each in given.records:
        files[record_name(each.record.seq)] = each.record.raw
        files[proof_name(each.record.seq)] = proof_text(each.record.seq, each.path, note)
    return files


def _consistency(given: BundleInput) -> bytes:
    listed: list[JsonValue] = [
        {
            "size": each.size,
            "root": base64.b64encode(each.root).decode(),
            "path": [base64.b64encode(part).decode() for part in each.path],
        }
        for each in given.earlier
    ]
    return rfc8785.dumps({"checkpoints": listed})


def _histories(given: BundleInput) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for run in given.histories:
        if not _RUN_ID.fullmatch(run.run_id):
            raise BundleError("a run id cannot be used as a file name")
        readable, exact = history_names(run.run_id)
        if exact in files:
            raise BundleError("the history of one run was given twice")
        files[readable], files[exact] = run.json, run.proto
    return files


def _pages(given: BundleInput) -> dict[str, bytes]:
    for name in given.pages:
        if not _PAGE.fullmatch(name) or name.startswith(_OURS) or name in _RESERVED:
            raise BundleError(f"a page cannot have the name {name!r}")
    if given.kind is not BundleKind.CASE:
        return dict(given.pages)
    records = [each.record for each in given.records if each.record.chain is Chain.CASE]
    view = case_view(records).model_dump(mode="json")
    return {"case.json": _readable(view), **given.pages}


def _keys(given: BundleInput, signer_pem: bytes) -> dict[str, bytes]:
    files = {KEY: signer_pem, LOG_KEYS: _lines(given.keys.log)}
    if given.witnesses:
        files[WITNESS_KEYS] = _lines([each.vkey for each in given.witnesses])
    if given.stamps:
        files[TSA_CA] = given.keys.tsa_ca
    return files


def _claims(given: BundleInput, signed: SignedCheckpoint) -> Facts:
    stamps: list[JsonValue] = [
        {"file": stamp_name(signed.size, number), "name": each.name, "outside": each.outside}
        for number, each in enumerate(given.stamps, 1)
    ]
    witnesses: list[JsonValue] = [
        {"file": checkpoint_name(signed.size), "name": each.signature.name, "outside": each.outside}
        for each in given.witnesses
    ]
    return {
        "kind": given.kind.value,
        "subject": given.subject,
        "checkpoint": {
            "origin": signed.checkpoint.origin,
            "size": signed.size,
            "root": signed.root.hex(),
        },
        "anchors": [*stamps, *witnesses],
    }


def _instructions(given: BundleInput, signed: SignedCheckpoint, signer_pem: bytes) -> str:
    try:
        log = NoteVerifier.from_vkey(given.keys.log[0])
    except (NoteError, IndexError):
        raise BundleError("the keys hold no vkey of the log") from None
    return (
        _environment()
        .get_template("VERIFY.md.j2")
        .render(
            kind=given.kind.value,
            subject=given.subject,
            records=len(given.records),
            runs=len(given.histories),
            events=sum(run.event_count for run in given.histories),
            first=given.records[0].record.seq if given.records else 0,
            fingerprint=fingerprint(load_public(signer_pem)),
            log=log,
            size=signed.size,
            stamps=[(stamp_name(signed.size, n), each) for n, each in enumerate(given.stamps, 1)],
            witnesses=given.witnesses,
            anchored=given.anchored,
        )
    )


def _lines(texts: Sequence[str]) -> bytes:
    return "".join(f"{text}\n" for text in texts).encode()


def _readable(value: object) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("leaver.evidence"),
        autoescape=False,  # noqa: S701 - plain text
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
