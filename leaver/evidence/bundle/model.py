"""What a bundle is made from: explicit and frozen, so that it can be made without a database or a clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from leaver.evidence.log.notes import NoteSignature
from leaver.evidence.records import Record
from leaver.evidence.verify.layout import BundleKind
from leaver.temporal.history import HistoryFile


@dataclass(frozen=True, slots=True)
class ProvenRecord:
    """A record and the inclusion path from its leaf to the root of the bundle's checkpoint."""

    record: Record
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier checkpoint of the same log and the consistency path from it to the bundle's."""

    size: int
    root: bytes
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Stamp:
    """A timestamp authority's reply (DER) over the checkpoint.

    ``outside`` is false for an authority that the operator runs: it proves nothing against the operator, and
    every verification says so.
    """

    name: str
    tsr: bytes
    outside: bool = True


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness's cosignature of the checkpoint, with its verifier key; ``outside`` as for ``Stamp``."""

    vkey: str
    signature: NoteSignature
    outside: bool = True


@dataclass(frozen=True, slots=True)
class TrustKeys:
    """Public keys that travel in the bundle as a convenience.

    Attributes:
        log: the lines of ``log.vkey``: the key in force first; behind a former one stands the size of the
            last checkpoint that it signs.
        tsa_ca: the certificates (PEM) of the authorities whose replies are in the bundle.
    """

    log: tuple[str, ...]
    tsa_ca: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleInput:
    """Everything in a bundle but the signature.

    Attributes:
        kind: what it is about.
        subject: the case id; of a period, its name.
        records: in the order of the log.
        checkpoint: the signed note, with the log's signature line alone.
        stamps: timestamp replies over it.
        witnesses: cosignatures of it.
        earlier: earlier checkpoints, from old to new.
        histories: the workflow's runs.
        keys: public keys.
        pages: further files, path to content: ``report.html``, ``report.pdf`` …; the same input has to give
            the same bytes.
    """

    kind: BundleKind
    subject: str
    records: tuple[ProvenRecord, ...]
    checkpoint: bytes
    keys: TrustKeys
    stamps: tuple[Stamp, ...] = ()
    witnesses: tuple[Witness, ...] = ()
    earlier: tuple[Earlier, ...] = ()
    histories: tuple[HistoryFile, ...] = ()
    pages: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def anchored(self) -> bool:
        """Whether anybody outside has seen the checkpoint, as the operator says."""
        return any(each.outside for each in self.stamps) or any(each.outside for each in self.witnesses)
