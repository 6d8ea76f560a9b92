"""Records: their form, their chains, and that each is in the log at its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import Field, JsonValue, StringConstraints

from leaver.evidence.errors import NoteError
from leaver.evidence.log.checkpoint import SignedCheckpoint, parse_proof
from leaver.evidence.log.merkle import included, leaf_hash
from leaver.evidence.records import LOG, NO_RECORD
from leaver.evidence.verify.contents import Contents, Part, WrongError, parse
from leaver.evidence.verify.layout import RECORDS, BundleKind, checkpoint_name, proof_name, record_name
from leaver.evidence.verify.manifest import Claims, Manifest
from leaver.evidence.verify.report import FindingKind

CHAINS: Final = {
    BundleKind.CASE: {"case", "sealer"},
    BundleKind.WATCH: {"case", "watch", "sealer"},
    BundleKind.PERIOD: {"log"},
}
"""Which chains a bundle of a kind may hold. A watch bundle holds the case's last record alone, because the
chain of the watch begins behind it; a period bundle holds the one record that says it was issued."""


class SealedRecord(Part):
    """A record of version 1, of whatever type: a later version may know more types than this one."""

    v: Annotated[int, Field(ge=1, le=1)]  # a Literal would take ``true`` for 1
    salt: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    seq: Annotated[int, Field(ge=0)]
    case: str
    chain: Literal["case", "watch", "sealer", "log"]
    case_seq: Annotated[int, Field(ge=0)]
    type: str
    at: str
    body: dict[str, JsonValue]
    prev_case: str


@dataclass(frozen=True, slots=True)
class Placed:
    """A record that has its form, with the file it lies in and its leaf hash."""

    name: str
    record: SealedRecord
    leaf: bytes


def check_records(contents: Contents, manifest: Manifest) -> list[Placed]:
    """Check every record and the chains they form; returned are those that have the form of a record."""
    names = manifest.below(RECORDS)
    files = [name for name in names if name.endswith(".json")]
    pairs = {file.removesuffix(".json") + ending for file in files for ending in (".json", ".tlog-proof")}
    if set(names) != pairs:
        contents.wrong("records", "not exactly one proof for each record", FindingKind.RECORD)
    placed = []
    for name in files:
        raw = contents.files.get(name)
        record = _record(contents, name, raw, manifest.claims) if raw is not None else None
        if raw is not None and record is not None:
            placed.append(Placed(name, record, leaf_hash(raw)))
    placed.sort(key=lambda each: each.record.seq)
    kind = manifest.claims.bundle_kind
    _check_end(contents, placed, kind)
    if kind is not BundleKind.PERIOD and not _sealed(placed, kind):
        reason = "the sealer's last record does not count those of every chain: some are missing at an end"
        contents.wrong("records", reason, FindingKind.RECORD)
    for chain in CHAINS[kind]:
        _check_chain(contents, [each for each in placed if each.record.chain == chain], placed, kind)
    return placed


def check_proofs(contents: Contents, placed: Sequence[Placed], signed: SignedCheckpoint) -> None:
    """Check that every record is in the log of this checkpoint, at its own place."""
    for each in placed:
        name = proof_name(each.record.seq)
        raw = contents.files.get(name)
        reason = _unproven(each, raw, signed) if raw is not None else ""
        if reason:
            contents.wrong(name, reason, FindingKind.PROOF)


def _unproven(each: Placed, raw: bytes, signed: SignedCheckpoint) -> str:
    """Why the proof is none, or an empty string."""
    try:
        proof = parse_proof(raw)
    except NoteError as err:
        return f"not a proof: {err}"
    if proof.checkpoint != signed.raw or proof.extra:
        return f"it is a proof against another checkpoint than {checkpoint_name(signed.size)}"
    if proof.index != each.record.seq:
        return "it is the proof of another record: its index is not the record's seq"
    if not included(each.leaf, proof.index, signed.size, proof.path, signed.root):
        return "it does not prove that the record is in the log"
    return ""


def _record(contents: Contents, name: str, raw: bytes, claims: Claims) -> SealedRecord | None:
    subject = LOG if claims.bundle_kind is BundleKind.PERIOD else claims.subject
    try:
        record = parse(SealedRecord, raw)
    except WrongError as err:
        contents.wrong(name, str(err), FindingKind.RECORD)
        return None
    if name != record_name(record.seq):
        reason = "its seq is not the place that its file name tells"
    elif record.case != subject or record.chain not in CHAINS[claims.bundle_kind]:
        reason = "it belongs to another case or chain"
    else:
        return record
    contents.wrong(name, reason, FindingKind.RECORD)
    return None


def _check_end(contents: Contents, placed: Sequence[Placed], kind: BundleKind) -> None:
    """The last record of the case counts the records; a period has the one record that it was issued."""
    chain = [each.record for each in placed if each.record.chain in ("case", "log")]
    end = "report.issued" if kind is BundleKind.PERIOD else "case.closed"
    types = [record.type for record in chain]
    right = types[-1:] == [end] and end not in types[:-1] and (kind is BundleKind.CASE or len(chain) == 1)
    if right and end == "case.closed":
        count = chain[-1].body.get("count")
        right = type(count) is int and count == chain[-1].case_seq + 1
    if not right:
        contents.wrong("records", "no last record that counts the others", FindingKind.RECORD)


def _sealed(placed: Sequence[Placed], kind: BundleKind) -> bool:
    """Whether the last of all records says how many each chain has, for a bundle of this kind.

    The chains ``sealer`` and ``watch`` have no closing record of their own, and that of ``case`` stands in it
    too: nothing can be left out at the end of any.
    """
    if not placed or placed[-1].record.type != "bundle.sealing" or placed[-1].record.chain != "sealer":
        return False
    body, counts = placed[-1].record.body, dict.fromkeys(("case", "watch", "sealer"), 0)
    for each in placed:
        counts[each.record.chain] = each.record.case_seq + 1
    whole = {f"{chain}_records": count for chain, count in counts.items()}
    if kind is BundleKind.CASE:  # the watch has a bundle of its own
        whole["watch_records"] = told if type(told := body.get("watch_records")) is int else -1
    return body.get("kind") == kind.value and all(
        type(body.get(name)) is int and body[name] == count for name, count in whole.items()
    )


def _check_chain(
    contents: Contents, chain: Sequence[Placed], placed: Sequence[Placed], kind: BundleKind
) -> None:
    """Numbers without gaps, each record linked to the one before.

    The chain ``watch`` begins at ``case.closed``. What a bundle holds one record of has no beginning here.
    """
    if kind is BundleKind.PERIOD or (kind is BundleKind.WATCH and chain and chain[0].record.chain == "case"):
        return
    number, link = 0, NO_RECORD
    if chain and chain[0].record.chain == "watch":
        link = next((each.leaf.hex() for each in placed if each.record.chain == "case"), "")
    for each in chain:
        if each.record.case_seq != number:
            reason = f"a record of its chain is missing: it should be number {number}"
            contents.wrong(each.name, reason, FindingKind.RECORD)
        elif each.record.prev_case != link:
            reason = "its hash link does not fit the record before"
            contents.wrong(each.name, reason, FindingKind.RECORD)
        number, link = each.record.case_seq + 1, each.leaf.hex()
