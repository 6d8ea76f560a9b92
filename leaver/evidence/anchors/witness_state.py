"""What a witness must never forget: the last checkpoint it cosigned, for each log.

One small file per log, replaced as a whole (written, flushed to the disk, renamed), under a lock that holds
between processes. A log is known to the witness by that file alone: where the file is lost, the witness no
longer knows the log and cosigns nothing, instead of believing whatever it is shown first.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from leaver.evidence.anchors.files import replace_file
from leaver.evidence.errors import NoteError, WitnessError
from leaver.evidence.log.checkpoint import Checkpoint, parse_unverified
from leaver.evidence.log.notes import KeyKind, NoteVerifier

_LOCK_WAIT: Final = 10.0
_LOCK_POLL: Final = 0.01
_MAX_REFUSED: Final = 100


class _Stored(BaseModel):
    """A log's file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    origin: str
    vkeys: tuple[str, ...]
    last: str
    """The last checkpoint's note as it was signed; empty before the first."""


@dataclass(frozen=True)
class KnownLog:
    """A log that the witness follows. ``last`` is the note it cosigned last; empty before the first."""

    origin: str
    verifiers: tuple[NoteVerifier, ...]
    last: bytes = b""

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The last checkpoint that was cosigned."""
        return parse_unverified(self.last).checkpoint if self.last else None

    @property
    def size(self) -> int:
        """Its size; 0 before the first."""
        return self.checkpoint.size if self.checkpoint else 0


class WitnessState:
    """The witness's folder. Every method reads the disk anew, so several processes may use it in turns."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._logs = folder / "logs"
        self._refused = folder / "refused"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other thread and process out between reading and writing.

        Raises:
            WitnessError: another one has held the lock for ten seconds.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "lock").open("ab") as file:
            deadline = time.monotonic() + _LOCK_WAIT
            while not _taken(file.fileno()):
                if time.monotonic() > deadline:
                    raise WitnessError(f"{self._folder}: another witness process holds the lock")
                time.sleep(_LOCK_POLL)
            yield

    def load(self, origin: str) -> KnownLog | None:
        """What is known about a log; None when it is not followed.

        Raises:
            WitnessError: its file is damaged. Do not delete it: with it goes the witness's memory.
        """
        file = self._file(origin)
        try:
            stored = _Stored.model_validate_json(file.read_bytes())
            verifiers = tuple(NoteVerifier.from_vkey(vkey) for vkey in stored.vkeys)
            known = KnownLog(stored.origin, verifiers, stored.last.encode())
            if known.origin != origin or (known.checkpoint and known.checkpoint.origin != origin):
                raise WitnessError(f"{file}: it is about another log than its name says")
        except FileNotFoundError:
            return None
        except (ValidationError, NoteError):
            raise WitnessError(f"{file}: damaged; restore it from a backup, or retire this witness") from None
        return known

    def logs(self) -> tuple[KnownLog, ...]:
        """Every log that is followed, by origin."""
        origins = [
            _Stored.model_validate_json(file.read_bytes()).origin for file in self._logs.glob("*.json")
        ]
        found = (self.load(origin) for origin in sorted(origins))
        return tuple(known for known in found if known is not None)

    def follow(self, verifier: NoteVerifier) -> KnownLog:
        """Follow the log of this key; a log that is followed already gets the key as a further one.

        Raises:
            WitnessError: it is a witness's key, not a log's.
        """
        if verifier.kind is not KeyKind.ED25519:
            raise WitnessError("that is a witness's key; a log's verifier key is needed")
        with self.locked():
            known = self.load(verifier.name) or KnownLog(verifier.name, ())
            if verifier not in known.verifiers:
                known = replace(known, verifiers=(*known.verifiers, verifier))
                self.save(known)
        return known

    def save(self, known: KnownLog) -> None:
        """Replace what is known about a log; on the disk when this returns. Hold the lock.

        Raises:
            WitnessError: it could not be written; what was known still is.
        """
        stored = _Stored(
            origin=known.origin, vkeys=tuple(key.vkey for key in known.verifiers), last=known.last.decode()
        )
        text = json.dumps(stored.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"
        try:
            self._logs.mkdir(parents=True, exist_ok=True)
            replace_file(self._file(known.origin), text.encode())
        except OSError as err:
            raise WitnessError(f"{self._logs}: cannot be written: {err.strerror}") from err

    def keep_refused(self, note: bytes) -> Path | None:
        """Keep a checkpoint that the log signed and that contradicts what was cosigned: it proves the fork.

        Returns:
            Where it lies; None when a hundred are kept already.
        """
        file = self._refused / f"{hashlib.sha256(note).hexdigest()[:32]}.checkpoint"
        if not file.exists():
            self._refused.mkdir(parents=True, exist_ok=True)
            if len(list(self._refused.glob("*.checkpoint"))) >= _MAX_REFUSED:
                return None
            replace_file(file, note)
        return file

    def refused(self) -> tuple[Path, ...]:
        """The contradicting checkpoints that were kept."""
        return tuple(sorted(self._refused.glob("*.checkpoint")))

    def _file(self, origin: str) -> Path:
        return self._logs / f"{hashlib.sha256(origin.encode()).hexdigest()}.json"


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
