"""The whole check of one bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from leaver.evidence.errors import KeyFileError
from leaver.evidence.keys.public import load_public
from leaver.evidence.log.checkpoint import SignedCheckpoint
from leaver.evidence.verify.anchors import check_anchors
from leaver.evidence.verify.checkpoints import Paths, check_checkpoint, check_earlier, check_kept, read_proof
from leaver.evidence.verify.contents import Contents, read_folder
from leaver.evidence.verify.histories import check_histories
from leaver.evidence.verify.keyring import keyring
from leaver.evidence.verify.manifest import Manifest, check_files, check_manifest, pem_keys
from leaver.evidence.verify.openings import check_issued, check_openings
from leaver.evidence.verify.readable import check_case_file
from leaver.evidence.verify.records import check_proofs, check_records
from leaver.evidence.verify.report import Anchor, VerifyReport
from leaver.evidence.verify.trust import Trust


def verify_bundle(
    folder: Path, trust: Trust | None = None, *, consistency: bytes | None = None
) -> VerifyReport:
    """Check a bundle. Reads only, needs no network.

    Args:
        folder: the bundle.
        trust: the auditor's own keys and kept checkpoint; without it the keys in the bundle have to serve.
        consistency: a consistency proof between the bundle's checkpoint and the kept one, where the bundle
            itself holds none.

    Returns:
        What was found; read ``ok``, and show ``caveats`` with it.

    Raises:
        BundleError: there is no such folder, or it cannot be read.
        KeyFileError: ``trust.signer`` holds no public key on P-256.
        TrustError: other trust material is malformed.
    """
    trust = trust or Trust()
    if trust.signer is not None:
        _check_keys(trust.signer)
    joined = read_proof(consistency)
    contents = read_folder(folder)
    manifest, fingerprint = check_manifest(contents, trust.signer)
    checked = _Checked() if manifest is None else _check(contents, manifest, trust, joined)
    checkpoint = checked.signed.checkpoint if checked.signed else None
    return VerifyReport(
        findings=tuple(contents.findings),
        kind=manifest.claims.bundle_kind if manifest else None,
        subject=manifest.claims.subject if manifest else "",
        fingerprint=fingerprint,
        records=checked.records,
        events=checked.events,
        files=len(manifest.signed) if manifest else 0,
        openings=checked.openings,
        origin=checkpoint.origin if checkpoint else "",
        size=checkpoint.size if checkpoint else 0,
        root=checkpoint.root.hex() if checkpoint else "",
        anchors=checked.anchors,
        own=trust.own,
        notes=tuple(note for note in (checked.kept,) if note),
        remarks=tuple(contents.remarks),
    )


@dataclass(slots=True)
class _Checked:
    """What the content gave."""

    signed: SignedCheckpoint | None = None
    anchors: tuple[Anchor, ...] = ()
    records: int = 0
    events: int = 0
    openings: int = 0
    kept: str = ""


def _check(contents: Contents, manifest: Manifest, trust: Trust, joined: Paths) -> _Checked:
    check_files(contents, manifest.signed)
    placed = check_records(contents, manifest)
    checked = _Checked(
        records=len(placed),
        events=check_histories(contents, manifest, placed),
        openings=check_openings(contents, placed),
    )
    check_issued(contents, manifest, placed)
    keys = keyring(contents, trust)
    signed = checked.signed = check_checkpoint(contents, manifest, keys)
    if signed is not None:
        check_proofs(contents, placed, signed)
        checked.anchors = check_anchors(contents, manifest, signed, keys, trust)
        paths = {**check_earlier(contents, signed), **joined}
        checked.kept = check_kept(contents, signed, keys, trust, paths)
    check_case_file(contents, manifest, placed)
    return checked


def _check_keys(pem: bytes) -> None:
    keys = pem_keys(pem)
    if not keys:
        raise KeyFileError("this is not a public key in PEM")
    for key in keys:
        load_public(key)
