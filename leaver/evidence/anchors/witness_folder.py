"""The witness without a network: it cosigns from a published folder that it was handed."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from leaver.evidence.anchors.layout import (
    CHECKPOINT,
    CHECKPOINTS,
    CONSISTENCY,
    Continuation,
    parse_continuation,
)
from leaver.evidence.anchors.witness import Cosigned, Refusal, RefusedError, Witness
from leaver.evidence.anchors.witness_state import KnownLog
from leaver.evidence.anchors.witness_wire import Submission
from leaver.evidence.errors import NoteError, WitnessError
from leaver.evidence.log.checkpoint import SignedCheckpoint, parse_unverified
from leaver.evidence.log.merkle import HASH

_MAX_FILE: Final = 256 * 1024


def sign_folder(witness: Witness, folder: Path) -> Cosigned:
    """Cosign the newest checkpoint of a published folder, following its proofs from the one cosigned last.

    The folder is only read. A witness that has cosigned nothing of this log yet takes the newest checkpoint
    as its start.

    Raises:
        RefusedError: as the witness says (``ForkRefusedError`` for another history), or the folder ends
            before what was cosigned.
        WitnessError: the folder cannot be read, or lacks a proof.
    """
    sizes = _sizes(folder)
    newest = _checkpoint(folder, sizes[-1])
    known = witness.state.load(newest.checkpoint.origin)
    if known is None:
        raise RefusedError(
            f"this witness does not follow the log {newest.checkpoint.origin}; name its verifier key with "
            "'witness init FOLDER --log VKEY', the key as you got it by another way",
            Refusal.UNKNOWN_LOG,
        )
    if known.size > newest.size:
        raise RefusedError(
            f"the folder ends at size {newest.size}, but size {known.size} was cosigned already: "
            "it is an older copy, or the log was rolled back",
            Refusal.CONFLICT,
            known.size,
        )
    _check_kept(witness, known, folder, sizes)
    if known.size in {0, newest.size}:
        return witness.add(Submission(known.size, (), newest))
    return witness.advance([_step(folder, found) for found in _chain(folder, known.size, sizes)])


def _check_kept(witness: Witness, known: KnownLog, folder: Path, sizes: list[int]) -> None:
    """The plainest sign of a fork: another root at the very size that was cosigned."""
    if known.size in sizes and known.size != sizes[-1]:
        there = _checkpoint(folder, known.size)
        last = known.checkpoint
        if last is not None and there.root != last.root:
            witness.add(Submission(known.size, (), there))  # refuses, and keeps both as proof


def _chain(folder: Path, start: int, sizes: list[int]) -> list[Continuation]:
    """The proofs that lead from ``start`` to the newest checkpoint, in order."""
    found = {}
    for size in sizes:
        if size > start:
            proof = parse_continuation(_read(folder / CHECKPOINTS / str(size) / CONSISTENCY))
            found[proof.old] = proof
    chain: list[Continuation] = []
    at = start
    while at != sizes[-1]:
        step = found.get(at)
        if step is None or step.new <= at:
            raise WitnessError(f"{folder}: no proof leads on from size {at}; ask for the whole folder")
        chain.append(step)
        at = step.new
    return chain


def _step(folder: Path, proof: Continuation) -> Submission:
    if any(len(part) != HASH for part in proof.path):
        raise WitnessError(f"{folder}: a hash of the proof to size {proof.new} has not 32 bytes")
    signed = _checkpoint(folder, proof.new)
    return Submission(proof.old, proof.path, signed)


def _checkpoint(folder: Path, size: int) -> SignedCheckpoint:
    file = folder / CHECKPOINTS / str(size) / CHECKPOINT
    try:
        signed = parse_unverified(_read(file))
    except NoteError as err:
        raise WitnessError(f"{file}: {err}") from None
    if signed.size != size:
        raise WitnessError(f"{file}: it says size {signed.size}")
    return signed


def _sizes(folder: Path) -> list[int]:
    try:
        names = [entry.name for entry in (folder / CHECKPOINTS).iterdir()]
    except OSError as err:
        raise WitnessError(f"{folder / CHECKPOINTS}: cannot be read: {err.strerror}") from None
    sizes = sorted(int(name) for name in names if name.isdecimal() and name.isascii())
    if not sizes:
        raise WitnessError(f"{folder / CHECKPOINTS}: no checkpoint was published there")
    return sizes


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            raw = opened.read(_MAX_FILE + 1)
    except OSError as err:
        raise WitnessError(f"{file}: cannot be read: {err.strerror}") from None
    if len(raw) > _MAX_FILE:
        raise WitnessError(f"{file}: too large for what it should be")
    return raw
