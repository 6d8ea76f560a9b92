"""Gathering a bundle's input from the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from leaver.domain.ids import workflow_id
from leaver.domain.words import RecordType
from leaver.evidence.anchors.layout import continuation_bytes
from leaver.evidence.bundle.model import BundleInput, Earlier, ProvenRecord, Stamp, TrustKeys, Witness
from leaver.evidence.errors import BundleError, MalformedNoteError
from leaver.evidence.history.bodies import HistoryFinal
from leaver.evidence.ledger.model import Anchor, AnchorKind, StoredCheckpoint
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.log.notes import NoteSignature, NoteVerifier, parse_note
from leaver.evidence.records import Chain, Record
from leaver.evidence.verify.layout import BundleKind
from leaver.temporal.history import HistoryFile

DAYS: Final = timedelta(days=400)
"""For how long back a bundle lists the last checkpoint of each day; before that, of each month."""


@dataclass(frozen=True, slots=True)
class KnownAuthority:
    """A timestamp authority of this installation. ``outside``: somebody else than the operator runs it."""

    name: str
    ca_pem: bytes
    outside: bool


@dataclass(frozen=True, slots=True)
class KnownWitness:
    """A witness of this installation; ``outside`` as for an authority."""

    vkey: str
    outside: bool


@dataclass(frozen=True, slots=True)
class Material:
    """What the sealer knows of keys.

    ``log`` are the lines of ``log.vkey``: the key in force first, then former ones, each with the size of the
    last checkpoint that it signs behind it.
    """

    log: tuple[str, ...]
    authorities: tuple[KnownAuthority, ...] = ()
    witnesses: tuple[KnownWitness, ...] = ()


def collect(  # noqa: PLR0913 - the parts of a bundle, all named
    ledger: Ledger,
    subject: str,
    kind: BundleKind,
    size: int,
    *,
    material: Material,
    histories: Sequence[HistoryFile] | None = None,
    pages: Mapping[str, bytes] | None = None,
    issued: int | None = None,
) -> BundleInput:
    """Read what a bundle needs, as of one checkpoint. Changes nothing.

    Args:
        ledger: may be open for reading only.
        subject: the case id; of a period, its name.
        kind: what the bundle is about.
        size: the checkpoint's size. Records after it are left out, the last of the case must not be.
        material: keys of log, authorities and witnesses. Anchors by others are left out.
        histories: the workflow's runs; None takes those that the ledger's records ``history.final`` tell of.
        issued: of a period, the place in the log of its record ``report.issued``.
        pages: further files. They are usually made from the rest: ``dataclasses.replace(given, pages=…)``.

    Raises:
        BundleError: there is no such checkpoint, or it is older than the records that make the bundle whole,
            or ``issued`` is no such record, or no record ``bundle.sealing`` says where the bundle ends.
        UnknownCaseError: the ledger has no record of the case.
        CaseNotClosedError: the case goes on.
        LedgerError: as the ledger's own reading.
    """
    stored = ledger.checkpoint(size)
    if stored is None:
        raise BundleError(f"there is no checkpoint of size {size}")
    records = _issued(ledger, issued) if kind is BundleKind.PERIOD else _records(ledger, subject, kind)
    if any(record.seq >= size for record in records):
        raise BundleError(f"the checkpoint of size {size} does not cover all records that belong here")
    if kind is not BundleKind.PERIOD:
        records += _up_to_sealing(ledger.records(subject, Chain.SEALER), kind, size)
        records.sort(key=lambda record: record.seq)
    paths = ledger.inclusions([record.seq for record in records], size)
    if histories is None:
        histories = sealed_histories(ledger, records, subject if kind is BundleKind.WATCH else "")
    stamps, ca_pem = _stamps(ledger.anchors(size), material.authorities)
    return BundleInput(
        kind=kind,
        subject=subject,
        records=tuple(ProvenRecord(record, path) for record, path in zip(records, paths, strict=True)),
        checkpoint=stored.note,
        keys=TrustKeys(log=material.log, tsa_ca=ca_pem),
        stamps=stamps,
        witnesses=tuple(_witnesses(ledger.anchors(size), material.witnesses)),
        earlier=tuple(
            Earlier(each.size, each.root, ledger.consistency(each.size, size))
            for each in listed(ledger.checkpoints(), stored)
        ),
        histories=tuple(sorted(histories, key=lambda run: run.run_id)),
        pages=dict(pages or {}),
    )


def sealed_histories(ledger: Ledger, records: Sequence[Record], watched: str = "") -> list[HistoryFile]:
    """The histories that these records tell of, from the ledger; without those of the case ``watched``.

    Raises:
        LedgerError: a stored file is missing or damaged.
    """
    finals = [
        HistoryFinal.model_validate(each.body)
        for each in records
        if each.type is RecordType.HISTORY_FINAL and each.chain is Chain.SEALER
    ]
    return [
        HistoryFile(
            run_id=each.run_id,
            json=ledger.content(each.json_sha256),
            proto=ledger.content(each.sha256),
            event_count=each.events,
        )
        for each in finals
        if not watched or each.workflow_id != workflow_id(watched)
    ]


def listed(checkpoints: Iterable[StoredCheckpoint], last: StoredCheckpoint) -> tuple[StoredCheckpoint, ...]:
    """Which earlier checkpoints a bundle lists, so that it stays small however old the log is.

    The last of each hour of the newest one's UTC day, of each day of the 400 before, of each month before
    that. For another one an auditor may hold there is ``consistency_proof``.
    """
    kept: dict[str, StoredCheckpoint] = {}
    for each in sorted(checkpoints, key=lambda checkpoint: checkpoint.size):
        if 0 < each.size < last.size:
            kept[_slot(each.at, last.at)] = each
    return tuple(kept.values())


def _slot(at: datetime, last: datetime) -> str:
    if at.date() == last.date():
        return f"{at:%Y-%m-%dT%H}"
    return f"{at:%Y-%m-%d}" if last - at < DAYS else f"{at:%Y-%m}"


def _records(ledger: Ledger, case: str, kind: BundleKind) -> list[Record]:
    records = list(ledger.closed_records(case))
    if kind is BundleKind.CASE:
        return records
    # The watch's chain begins at the case's last record; the rest is in the bundle of the case.
    return [records[-1], *ledger.records(case, Chain.WATCH)]


def _up_to_sealing(records: Sequence[Record], kind: BundleKind, size: int) -> list[Record]:
    """What the sealer noted about the case until it sealed this bundle, its note of that the last."""
    ends = [
        place
        for place, record in enumerate(records, 1)
        if record.seq < size
        and record.type is RecordType.BUNDLE_SEALING
        and record.body.get("kind") == kind.value
    ]
    if not ends:
        raise BundleError(f"no record bundle.sealing below {size} says what the bundle holds")
    return list(records[: ends[-1]])


def _issued(ledger: Ledger, seq: int | None) -> list[Record]:
    record = ledger.get(seq) if seq is not None else None
    if record is None or record.type is not RecordType.REPORT_ISSUED:
        raise BundleError("a bundle of a period needs the place of its record report.issued")
    return [record]


def _stamps(anchors: Iterable[Anchor], known: Sequence[KnownAuthority]) -> tuple[tuple[Stamp, ...], bytes]:
    """The replies in the order of their authorities, and the certificates to check them with."""
    by_name = {each.name: each for each in known}
    found = {
        each.name: Stamp(each.name, each.content, outside=by_name[each.name].outside)
        for each in anchors
        if each.kind is AnchorKind.TIMESTAMP and each.name in by_name
    }
    used = [each for each in known if each.name in found]
    certificates = dict.fromkeys(each.ca_pem.strip() + b"\n" for each in used)
    return tuple(found[each.name] for each in used), b"".join(certificates)


def _witnesses(anchors: Iterable[Anchor], known: Sequence[KnownWitness]) -> Iterator[Witness]:
    lines = [line for each in anchors if each.kind is AnchorKind.WITNESS for line in _lines(each.content)]
    for witness in known:
        verifier = NoteVerifier.from_vkey(witness.vkey)
        for line in lines:
            if (line.name, line.key_id) == (verifier.name, verifier.key_id):
                yield Witness(verifier.vkey, line, outside=witness.outside)
                break


def _lines(content: bytes) -> tuple[NoteSignature, ...]:
    """The signature lines that an anchor holds."""
    try:
        return parse_note(b"witnessed\n\n" + content.rstrip(b"\n") + b"\n").signatures
    except MalformedNoteError:
        return ()


def consistency_proof(ledger: Ledger, origin: str, old: int, new: int) -> bytes:
    """A file for ``--consistency``: that the log of size ``new`` begins with that of size ``old``.

    Raises:
        LedgerError: the log has no such sizes.
    """
    return continuation_bytes(origin, old, new, ledger.consistency(old, new))
