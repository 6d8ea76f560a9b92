"""Never sign a log that has less, or other, than what was signed before.

The ledger's own table of checkpoints says nothing about that when the whole database was put back to an older
copy. So the sealer remembers the last checkpoint it signed in a file of its own, and compares the ledger with
that and with what the stores hold before each signature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from leaver.evidence.anchors.files import replace_file
from leaver.evidence.anchors.layout import CHECKPOINT, checkpoint_folder
from leaver.evidence.anchors.sinks import Sink
from leaver.evidence.errors import AnchorError, NoteError, RolledBackError
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.log.checkpoint import Checkpoint, parse_signed, parse_unverified
from leaver.evidence.log.notes import NoteVerifier


class KeptCheckpoint:
    """The last checkpoint that was signed, in a file beside the log key and not in the database."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def load(self) -> Checkpoint | None:
        """What was signed last; None before the first.

        Raises:
            AnchorError: the file is there and cannot be used.
        """
        try:
            return parse_unverified(self._file.read_bytes()).checkpoint
        except FileNotFoundError:
            return None
        except (OSError, NoteError) as err:
            raise AnchorError(f"{self._file}: the last signed checkpoint cannot be read: {err}") from err

    def save(self, note: bytes) -> None:
        """Remember a signed checkpoint; on the disk when this returns.

        Raises:
            AnchorError: the file cannot be written.
        """
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self._file, note)
        except OSError as err:
            raise AnchorError(f"{self._file}: cannot be written: {err.strerror}") from err


@dataclass(frozen=True, slots=True)
class Held:
    """The newest checkpoint in a store that the log's key signed, and what else lies above it."""

    checkpoint: Checkpoint | None
    trouble: str = ""


def published_in(sink: Sink, keys: Sequence[NoteVerifier], limit: float) -> Held:
    """Look for the newest checkpoint in a store, and believe only what the log's own key signed.

    Anybody who can write the store could put something there; that is told, and stops nothing.

    Args:
        sink: the store.
        keys: of the log.
        limit: seconds after which no further file is looked at.

    Raises:
        SinkError: the store does not answer.
    """
    trouble, end = "", monotonic() + limit
    for size in sink.sizes():
        if monotonic() > end:
            return Held(None, f"{trouble}; there is more than could be looked at")
        raw = sink.get(checkpoint_folder(size) + CHECKPOINT)
        if raw is None:  # a folder that was made, and the process killed before the file
            continue
        try:
            signed = parse_signed(raw, keys)
        except NoteError as err:
            trouble = trouble or f"store {sink.name}: what lies there as checkpoint {size} is none: {err}"
        else:
            return Held(signed.checkpoint, trouble)
    return Held(None, trouble)


def check_contains(ledger: Ledger, known: Checkpoint, origin: str, where: str) -> None:
    """Refuse a ledger that does not contain a checkpoint known from elsewhere.

    Args:
        ledger: the one to be signed.
        known: signed and kept, or published, before.
        origin: the log's name.
        where: where the known checkpoint was found.

    Raises:
        RolledBackError: it has fewer records, or other ones.
    """
    if known.origin != origin:
        raise RolledBackError(
            f"{where} holds checkpoints of the log {known.origin}, not of {origin}; nothing was signed"
        )
    size = ledger.size()
    if size < known.size:
        raise RolledBackError(
            f"the ledger has {size} records, but a checkpoint over {known.size} was signed before "
            f"(found in {where}): this is an older copy; nothing was signed. Restore the newest copy"
        )
    root = ledger.root(known.size)
    if root != known.root:
        raise RolledBackError(
            f"the ledger's first {known.size} records have the root {root.hex()}, but {known.root.hex()} "
            f"was signed before (found in {where}): its history was changed; nothing was signed"
        )
