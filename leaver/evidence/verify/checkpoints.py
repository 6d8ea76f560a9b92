"""The bundle's checkpoint: the log's key signed it, and it goes on from earlier ones."""

from __future__ import annotations

from collections.abc import Sequence

from leaver.evidence.anchors.layout import parse_continuation
from leaver.evidence.errors import AnchorError, MalformedNoteError, NoteError, TrustError, UntrustedNoteError
from leaver.evidence.log.checkpoint import SignedCheckpoint, parse_checkpoint, parse_unverified
from leaver.evidence.log.merkle import consistent
from leaver.evidence.verify.contents import Contents, Part, WrongError, parse, unbase64
from leaver.evidence.verify.keyring import Keyring, LogKey
from leaver.evidence.verify.layout import CONSISTENCY, checkpoint_name
from leaver.evidence.verify.manifest import Manifest
from leaver.evidence.verify.report import FindingKind
from leaver.evidence.verify.trust import Trust


class EarlierCheckpoint(Part):
    """An earlier state of the log, and the consistency path from it to the bundle's; hashes in base64."""

    size: int
    root: str
    path: list[str]


class Consistency(Part):
    """``consistency.json``."""

    checkpoints: list[EarlierCheckpoint]


def check_checkpoint(contents: Contents, manifest: Manifest, keys: Keyring) -> SignedCheckpoint | None:
    """Read the checkpoint that the manifest names; None when nothing can be proven against it."""
    claimed = manifest.claims.checkpoint
    name = checkpoint_name(claimed.size)
    raw = contents.files.get(name)
    if name not in manifest.signed or raw is None:
        contents.wrong(name, "the checkpoint that the manifest names is missing", FindingKind.CHECKPOINT)
        return None
    try:
        signed, key = signed_by(raw, sorted(keys.log, key=lambda each: not each.counts_at(claimed.size)))
    except NoteError as err:
        contents.wrong(name, str(err), FindingKind.CHECKPOINT)
        return None
    if not key.counts_at(signed.size):
        reason = "it is signed with a former key of the log, which does not count at this size"
        contents.wrong(name, reason, FindingKind.CHECKPOINT)
        return None
    told = (signed.checkpoint.origin, signed.size, signed.root.hex())
    if told != (claimed.origin, claimed.size, claimed.root):
        reason = "it is not the checkpoint that the manifest tells of"
        contents.wrong(name, reason, FindingKind.CHECKPOINT)
        return None
    return signed


def signed_by(raw: bytes, keys: Sequence[LogKey]) -> tuple[SignedCheckpoint, LogKey]:
    """Read a checkpoint that one of these keys of the log signed, and which one.

    Raises:
        NoteError: it is none, or none of them did.
    """
    trouble: NoteError = UntrustedNoteError("there is no key of the log to check it with")
    for key in keys:
        try:
            return parse_checkpoint(raw, key.verifier), key
        except NoteError as err:
            trouble = err
    raise trouble


Paths = dict[tuple[int, int], Sequence[bytes]]
"""Consistency paths by the sizes that they join, the smaller first."""


def check_earlier(contents: Contents, signed: SignedCheckpoint) -> Paths:
    """Check that the log goes on from the listed earlier states; gives what joins them to the present one."""
    paths: Paths = {}
    if CONSISTENCY not in contents.files:
        return paths
    try:
        for each in parse(Consistency, contents.files[CONSISTENCY]).checkpoints:
            path = [unbase64(part) for part in each.path]
            if not consistent(each.size, signed.size, path, unbase64(each.root), signed.root):
                reason = f"the log is not shown to go on from size {each.size}"
                contents.wrong(CONSISTENCY, reason, FindingKind.CONSISTENCY)
            paths[each.size, signed.size] = path
    except WrongError as err:
        contents.wrong(CONSISTENCY, str(err), FindingKind.CONSISTENCY)
    return paths


def read_proof(proof: bytes | None) -> Paths:
    """What a given consistency proof joins.

    Raises:
        TrustError: it is none.
    """
    if proof is None:
        return {}
    try:
        read = parse_continuation(proof)
    except AnchorError as err:
        raise TrustError(f"the consistency proof: {err}") from None
    return {(read.old, read.new): read.path}


def check_kept(
    contents: Contents, signed: SignedCheckpoint, keys: Keyring, trust: Trust, paths: Paths
) -> str:
    """Compare with the checkpoint that the auditor kept.

    Returns:
        What was shown, for the report; empty when nothing was.

    Raises:
        TrustError: what was kept is not a checkpoint.
    """
    if trust.checkpoint is None:
        return ""
    name = checkpoint_name(signed.size)
    try:
        kept = parse_unverified(trust.checkpoint)
    except MalformedNoteError as err:
        raise TrustError(f"the kept checkpoint: {err}") from None
    try:
        signed_by(trust.checkpoint, [LogKey(verifier) for verifier in keys.logs])
    except UntrustedNoteError:
        reason = "FORK: the checkpoint you kept is of another log: this log's key did not sign it"
        contents.wrong(name, reason, FindingKind.FORK)
        return ""
    old, new = sorted((kept, signed), key=lambda each: each.size)
    path = () if old.size == new.size else paths.get((old.size, new.size))
    if path is None:
        reason = (
            f"nothing joins it to the checkpoint you kept (size {kept.size}): ask for the consistency proof"
            f" from {old.size} to {new.size} and give it with --consistency"
        )
        contents.wrong(name, reason, FindingKind.CONSISTENCY)
        return ""
    if not consistent(old.size, new.size, path, old.root, new.root):
        reason = (
            f"FORK: this is not the log of the checkpoint you kept (size {kept.size}):"
            " what was in the log then is not what is in it here"
        )
        contents.wrong(name, reason, FindingKind.FORK)
        return ""
    return f"Consistent with the checkpoint you kept (size {kept.size})."
