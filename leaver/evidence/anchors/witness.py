"""The witness: an outsider's key that cosigns a log's checkpoints, each only if it continues the last one.

It holds no evidence and learns nothing but sizes and hashes. Its cosignature says: of this log, which I have
followed since I first saw it, this is the one history I was shown (c2sp.org/tlog-witness, Ed25519
cosignature/v1). An operator who rewrites the log cannot get a second history cosigned.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import Final, NoReturn

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from leaver.evidence import keyfiles
from leaver.evidence.anchors.witness_state import KnownLog, WitnessState
from leaver.evidence.anchors.witness_wire import Submission
from leaver.evidence.errors import ForkError, KeyFileError, NoteError, UntrustedNoteError, WitnessError
from leaver.evidence.log.checkpoint import Checkpoint, SignedCheckpoint
from leaver.evidence.log.merkle import consistent
from leaver.evidence.log.notes import (
    KeyKind,
    NoteSignature,
    NoteVerifier,
    check_name,
    cosignature_bytes,
    cosignature_message,
)

KEY: Final = "witness.pem"
VKEY: Final = "witness.vkey"

_CONTRADICTS: Final = "shows two histories of one size"
_UNPROVEN: Final = "does not prove that it continues what was cosigned before; its history may be rewritten"


class Refusal(IntEnum):
    """Why a witness does not cosign, by the HTTP status that says so."""

    MALFORMED = 400
    NOT_SIGNED = 403
    UNKNOWN_LOG = 404
    CONFLICT = 409
    NO_PROOF = 422


class RefusedError(WitnessError):
    """The witness does not cosign this checkpoint. Nothing was remembered but, perhaps, the refusal.

    Attributes:
        refusal: why.
        size: with ``CONFLICT``: the size it cosigned last, from which the proof has to start.
    """

    def __init__(self, text: str, refusal: Refusal, size: int | None = None) -> None:
        super().__init__(text)
        self.refusal = refusal
        self.size = size


class ForkRefusedError(RefusedError, ForkError):
    """The checkpoint contradicts one that was cosigned; both are kept."""


@dataclass(frozen=True)
class Cosigned:
    """A checkpoint with the witness's signature line (newline included)."""

    checkpoint: Checkpoint
    line: str


class Witness:
    """A witness that lives in a folder: its key, and what it remembers of each log.

    Args:
        folder: as ``create`` made it.
        clock: the time that cosignatures tell.

    Raises:
        KeyFileError: there is no witness in that folder, or its key cannot be used.
    """

    def __init__(self, folder: Path, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        key = _read_key(folder / KEY)
        try:
            told = NoteVerifier.from_vkey((folder / VKEY).read_text("utf-8"))
        except (OSError, UnicodeDecodeError, NoteError) as err:
            raise KeyFileError(f"{folder / VKEY}: not the verifier key of a witness: {err}") from err
        if told != _verifier(key, told.name):
            raise KeyFileError(f"{folder / VKEY}: it does not belong to the key beside it")
        self._key = key
        self._clock = clock
        self.verifier = told
        self.state = WitnessState(folder)

    @classmethod
    def create(cls, folder: Path, name: str) -> Witness:
        """Make a witness, or find again the one that is there.

        Args:
            folder: made when missing; the key in it is readable by its owner only.
            name: how cosignatures call it, such as ``example.com/audit-witness``.

        Raises:
            MalformedNoteError: the name is not one a key may have.
            WitnessError: a witness of another name lives in that folder.
            KeyFileError: the folder cannot be written, or its key cannot be used.
        """
        check_name(name)  # before a file is written
        keyfiles.write_new(folder / KEY, Ed25519PrivateKey.generate())
        verifier = _verifier(_read_key(folder / KEY), name)
        with contextlib.suppress(FileExistsError), (folder / VKEY).open("x", encoding="utf-8") as file:
            file.write(f"{verifier.vkey}\n")
        witness = cls(folder)
        if witness.verifier.name != name:
            raise WitnessError(f"{folder}: the witness in this folder is called {witness.verifier.name}")
        return witness

    def add(self, submission: Submission) -> Cosigned:
        """Check a checkpoint against the last one, remember it, cosign it.

        Raises:
            RefusedError: it is not cosigned.
            ForkRefusedError: the log shows another history than the one cosigned before.
            WitnessError: the witness's own files cannot be read or written.
        """
        return self.advance([submission])

    def advance(self, steps: Sequence[Submission]) -> Cosigned:
        """The same over several checkpoints, each proven from the one before; only the last is cosigned.

        Raises:
            ValueError: no step.
            RefusedError, ForkRefusedError, WitnessError: as ``add``; then nothing was remembered.
        """
        if not steps:
            raise ValueError("there is nothing to cosign")
        signed = steps[-1].signed
        with self.state.locked():
            before = known = self._known(steps[0].signed.checkpoint.origin)
            for step in steps:
                known = self._checked(known, step)
            if known != before:
                self.state.save(known)
        return Cosigned(signed.checkpoint, self._cosign(signed.note.text))

    def _known(self, origin: str) -> KnownLog:
        known = self.state.load(origin)
        if known is None:
            raise RefusedError("this witness does not follow that log", Refusal.UNKNOWN_LOG)
        return known

    def _checked(self, known: KnownLog, step: Submission) -> KnownLog:
        checkpoint, last = step.signed.checkpoint, known.checkpoint
        _check_signature(known, step.signed)
        if step.old > checkpoint.size:
            raise RefusedError("the old size is above the checkpoint's", Refusal.MALFORMED)
        if step.old != known.size:
            raise RefusedError(
                f"the size cosigned last is {known.size}, not {step.old}", Refusal.CONFLICT, known.size
            )
        if last is None or last.size == 0:
            # A log's first checkpoint is taken as it is: there is nothing yet that it could contradict.
            if step.path:
                raise RefusedError("a proof from size 0 is empty", Refusal.NO_PROOF)
        elif not consistent(last.size, checkpoint.size, step.path, last.root, checkpoint.root):
            self._refuse_fork(known, last, step)
        return replace(known, last=step.signed.raw)

    def _refuse_fork(self, known: KnownLog, last: Checkpoint, step: Submission) -> NoReturn:
        checkpoint = step.signed.checkpoint
        self.state.keep_refused(step.signed.raw)
        self.state.keep_refused(known.last)
        same_size = last.size == checkpoint.size
        raise ForkRefusedError(
            f"the log {known.origin} {_CONTRADICTS if same_size else _UNPROVEN}: "
            f"cosigned was size {last.size} with root {last.root.hex()}; "
            f"now it shows size {checkpoint.size} with root {checkpoint.root.hex()}. "
            "Both signed checkpoints are kept in the witness's folder 'refused'",
            Refusal.CONFLICT if same_size else Refusal.NO_PROOF,
        )

    def _cosign(self, text: bytes) -> str:
        seconds = int(self._clock().timestamp())
        sig = cosignature_bytes(seconds, self._key.sign(cosignature_message(seconds, text)))
        return NoteSignature(self.verifier.name, self.verifier.key_id, sig).line()


def _check_signature(known: KnownLog, signed: SignedCheckpoint) -> None:
    """At least one trusted key signed, and no line of a trusted key is wrong."""
    lines = {(line.name, line.key_id) for line in signed.note.signatures}
    there = [key for key in known.verifiers if (key.name, key.key_id) in lines]
    try:
        for key in there:
            signed.note.signatures_of(key)
    except UntrustedNoteError as err:
        raise RefusedError(str(err), Refusal.NOT_SIGNED) from None
    if not there:
        raise RefusedError("no key of that log that is trusted here signed it", Refusal.NOT_SIGNED)


def _read_key(path: Path) -> Ed25519PrivateKey:
    key = keyfiles.read(path)
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path}: the witness's key must be an Ed25519 key")
    return key


def _verifier(key: Ed25519PrivateKey, name: str) -> NoteVerifier:
    return NoteVerifier(name, key.public_key().public_bytes_raw(), KeyKind.COSIGNATURE)
