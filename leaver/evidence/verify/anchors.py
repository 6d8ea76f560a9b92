"""Who outside saw the checkpoint: timestamp authorities and witnesses."""

from __future__ import annotations

from collections.abc import Iterator

from leaver.evidence.anchors.timestamp import timestamped_bytes, verify_timestamp
from leaver.evidence.errors import AnchorError, NoteError
from leaver.evidence.log.checkpoint import SignedCheckpoint, cosigned_at
from leaver.evidence.log.notes import NoteVerifier
from leaver.evidence.verify.contents import Contents
from leaver.evidence.verify.keyring import Keyring
from leaver.evidence.verify.layout import STAMPS, checkpoint_name
from leaver.evidence.verify.manifest import Manifest
from leaver.evidence.verify.report import Anchor, FindingKind
from leaver.evidence.verify.trust import Trust


def check_anchors(
    contents: Contents, manifest: Manifest, signed: SignedCheckpoint, keys: Keyring, trust: Trust
) -> tuple[Anchor, ...]:
    """Check every timestamp and cosignature; an anchor that is claimed or trusted and absent is a finding."""
    stamps = _stamps(contents, manifest, signed, keys, own=trust.tsa_ca is not None)
    witnesses = _witnesses(contents, manifest, signed, keys, own=trust.witnesses is not None)
    return (*stamps, *witnesses)


def _stamps(
    contents: Contents, manifest: Manifest, signed: SignedCheckpoint, keys: Keyring, *, own: bool
) -> Iterator[Anchor]:
    claimed = {each.file: each for each in manifest.claims.anchors if each.file.startswith(STAMPS)}
    files = manifest.below(STAMPS)
    if sorted(claimed) != files:
        reason = "the replies are not those that the manifest tells of"
        contents.wrong(STAMPS[:-1], reason, FindingKind.TIMESTAMP)
    if own and not files:
        reason = "no timestamp of an authority you trust: it was stripped, or never made"
        contents.wrong(STAMPS[:-1], reason, FindingKind.TIMESTAMP)
    for file in files:
        if file not in contents.files or file not in claimed:
            continue
        if keys.tsa_ca is None:
            reason = "there is no certificate of the authority to check it with"
            contents.wrong(file, reason, FindingKind.TIMESTAMP)
            continue
        try:
            at = verify_timestamp(contents.files[file], timestamped_bytes(signed.raw), keys.tsa_ca)
        except AnchorError as err:
            reason = f"the timestamp does not hold for this checkpoint: {err}"
            contents.wrong(file, reason, FindingKind.TIMESTAMP)
            continue
        yield Anchor("timestamp", claimed[file].name, at, own=own, outside=claimed[file].outside)


def _witnesses(
    contents: Contents, manifest: Manifest, signed: SignedCheckpoint, keys: Keyring, *, own: bool
) -> Iterator[Anchor]:
    """By name: a witness may have changed its key, and one of its keys is enough."""
    name = checkpoint_name(manifest.claims.checkpoint.size)
    claimed = {each.name: each.outside for each in manifest.claims.anchors if each.file == name}
    known: dict[str, list[NoteVerifier]] = {} if own else {each: [] for each in claimed}
    for verifier in keys.witnesses:
        known.setdefault(verifier.name, []).append(verifier)
    for witness, verifiers in known.items():
        try:
            times = [at for each in verifiers if (at := cosigned_at(signed.note, each)) is not None]
        except NoteError:
            reason = f"the cosignature of the witness {witness} does not hold"
            contents.wrong(name, reason, FindingKind.WITNESS)
            continue
        if times:
            yield Anchor("witness", witness, max(times), own=own, outside=claimed.get(witness, True))
        else:
            reason = f"no cosignature of the witness {witness}: it was stripped, or never given"
            contents.wrong(name, reason, FindingKind.WITNESS)
