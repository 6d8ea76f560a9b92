"""From the ledger's checkpoints and the reconciliation to what a report shows of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from typing import Protocol

from leaver.domain.words import Mode
from leaver.evidence.anchors.book import sink_of
from leaver.evidence.anchors.timestamp import stamp_time
from leaver.evidence.errors import MalformedNoteError, ReportError, TimestampError
from leaver.evidence.ledger.model import Anchor, AnchorKind, StoredCheckpoint, Trouble
from leaver.evidence.log.checkpoint import parse_unverified
from leaver.evidence.log.notes import NoteSignature, cosignature_time, parse_note
from leaver.evidence.population.model import NOTES, Completeness, Line
from leaver.evidence.reports.model import (
    AnchorLine,
    CheckpointLine,
    CompletenessTable,
    Finding,
    Judged,
    Leaver,
    Verdict,
)

Outsiders = Collection[tuple[AnchorKind, str]]
"""Anchors, by kind and name, that the operator of leaver does not run. The configuration knows."""


class CheckpointReader(Protocol):
    """What reading the anchors needs of the ledger."""

    def checkpoints(self, since: int = 0) -> tuple[StoredCheckpoint, ...]:
        """The published checkpoints, oldest first."""
        ...

    def anchors(self, size: int | None = None) -> tuple[Anchor, ...]:
        """What holds them from outside."""
        ...

    def troubles(self, size: int | None = None) -> tuple[Trouble, ...]:
        """What could not be had."""
        ...


def checkpoint_lines(
    ledger: CheckpointReader, outsiders: Outsiders = (), *, up_to: int | None = None
) -> tuple[CheckpointLine, ...]:
    """Every published checkpoint with its anchors, up to and with the one of that size; oldest first.

    Raises:
        ReportError: nothing is published yet, or no checkpoint has that size.
    """
    stored = ledger.checkpoints()
    if not stored:
        raise ReportError("no checkpoint is published yet; the sealer publishes one every few minutes")
    if up_to is not None and up_to not in {each.size for each in stored}:
        raise ReportError(f"no checkpoint of size {up_to} was published; the last one has {stored[-1].size}")
    anchors: dict[int, list[Anchor]] = defaultdict(list)
    for anchor in ledger.anchors():
        anchors[anchor.size].append(anchor)
    troubles: dict[int, list[Trouble]] = defaultdict(list)
    for trouble in ledger.troubles():
        troubles[trouble.size].append(trouble)
    return tuple(
        _line(each, anchors[each.size], troubles[each.size], outsiders)
        for each in stored
        if up_to is None or each.size <= up_to
    )


def _line(
    stored: StoredCheckpoint, anchors: Sequence[Anchor], troubles: Sequence[Trouble], outsiders: Outsiders
) -> CheckpointLine:
    had = {(anchor.kind, anchor.name) for anchor in anchors}
    told = dict.fromkeys(f"{t.name}: {t.text}" for t in troubles if (t.kind, t.name) not in had)
    # A store has a line for each of its files; here it counts once, from when it was complete.
    lines = {(line.kind, line.name): line for line in (_anchor(anchor, outsiders) for anchor in anchors)}
    return CheckpointLine(
        size=stored.size,
        root=stored.root.hex(),
        at=stored.at,
        anchors=tuple(sorted(lines.values(), key=lambda line: (line.kind, line.name))),
        troubles=tuple(told),
    )


def since(lines: Sequence[CheckpointLine], start: datetime) -> tuple[CheckpointLine, ...]:
    """The checkpoints signed from ``start`` on, with the newest one and the newest anchored outside."""
    anchored = next((line for line in reversed(lines) if line.outside), None)
    kept = (lines[-1], anchored)
    return tuple(line for line in lines if line in kept or (line.at is not None and line.at >= start))


def covering(lines: Sequence[CheckpointLine], seq: int) -> tuple[CheckpointLine, ...]:
    """For a page about records up to that place: the first checkpoint over them, and with an outsider."""
    over = [line for line in lines if line.size > seq]
    outside = next((line for line in over if line.outside), None)
    chosen = dict.fromkeys((*over[:1], *([outside] if outside else [])))
    return tuple(chosen)


def noted_line(
    note: bytes, stamps: Sequence[tuple[str, bytes, bool]], witnesses: Sequence[tuple[NoteSignature, bool]]
) -> CheckpointLine:
    """A checkpoint as a bundle has it: the signed note, timestamp replies and witnesses' lines.

    Args:
        note: the signed note.
        stamps: per timestamp authority its name, its reply (DER), and whether an outsider runs it.
        witnesses: per witness its line, and whether it is an outsider.

    Raises:
        MalformedNoteError: it is not a checkpoint.
    """
    signed = parse_unverified(note)
    anchors = [
        AnchorLine(AnchorKind.TIMESTAMP, name, _stamped(tsr), independent=outside)
        for name, tsr, outside in stamps
    ]
    anchors += [
        AnchorLine(AnchorKind.WITNESS, line.name, _cosignature([line]), independent=outside)
        for line, outside in witnesses
    ]
    return CheckpointLine(signed.size, signed.root.hex(), None, tuple(anchors))


def _anchor(anchor: Anchor, outsiders: Outsiders) -> AnchorLine:
    name = sink_of(anchor.name) if anchor.kind is AnchorKind.SINK else anchor.name
    return AnchorLine(anchor.kind, name, _time(anchor), independent=(anchor.kind, name) in outsiders)


def _time(anchor: Anchor) -> datetime | None:
    """The outsider's own time; ours only where the anchor carries none. It was checked when it came."""
    if anchor.kind is AnchorKind.TIMESTAMP:
        return _stamped(anchor.content)
    if anchor.kind is AnchorKind.WITNESS:
        return _cosigned(anchor.content)
    return anchor.at


def _stamped(tsr: bytes) -> datetime | None:
    try:
        return stamp_time(tsr)
    except TimestampError:
        return None


def _cosigned(content: bytes) -> datetime | None:
    try:
        return _cosignature(parse_note(b"witnessed\n\n" + content.rstrip(b"\n") + b"\n").signatures)
    except MalformedNoteError:
        return None


def _cosignature(lines: Sequence[NoteSignature]) -> datetime | None:
    times = [time for line in lines if (time := cosignature_time(line.sig)) is not None]
    return datetime.fromtimestamp(max(times), UTC) if times else None


def completeness_table(found: Completeness) -> CompletenessTable:
    """The reconciliation as the report's first table; HR was not asked where no pull covers the period."""
    pull = found.last_pull if found.covered else None
    return CompletenessTable(
        hr_leavers=found.hr_leavers if pull else None,
        cases=found.cases,
        with_case=found.with_case,
        exclusions=tuple(
            (reason.value, number) for reason, number in sorted(found.exclusions.items()) if number
        ),
        missing=found.missing,
        withdrawn=found.withdrawn,
        unlisted=found.unlisted,
        unconfirmed=found.unconfirmed,
        closed=found.closed,
        sealed=found.sealed,
        bundles=found.bundles,
        findings=tuple(
            Finding(
                each.kind.value,
                each.case,
                each.detail,
                each.since,
                alarm=each.alarm and each.kind not in NOTES,
            )
            for each in found.findings
        ),
        pulled_at=pull.pulled_at if pull else None,
        pull_seq=pull.seq if pull else None,
        pull_sha256=pull.raw_sha256 if pull else "",
        pulls=found.pulls,
        source=pull.source if pull else "",
        query=pull.query if pull else "",
        source_rows=pull.rows if pull else None,
    )


def members(found: Completeness) -> frozenset[str]:
    """The cases that belong to the period, by HR's list where it has them."""
    return frozenset(line.case for line in found.lines if line.opened_at is not None)


def uncased(found: Completeness) -> Iterator[Leaver]:
    """The leavers of HR's list that have no case: with a reason, or missing."""
    for line in found.lines:
        if line.opened_at is None:
            yield _uncased(line, found.mode)


def _uncased(line: Line, mode: Mode) -> Leaver:
    if line.excluded is None:
        judged = Judged(Verdict.EXCEPTION, "no case and no reason")
    elif line.excluded.settled:
        judged = Judged(Verdict.NOT_APPLICABLE, _reason(line))
    else:
        judged = Judged(Verdict.EXCEPTION, f"nobody has decided: {_reason(line)}")
    received = line.expected_at or line.listed_at
    return Leaver(
        case=line.case,
        person_ref=line.person_ref,
        source="",
        event_type="",
        immediate=False,
        mode=mode,
        policy="",
        hr_time=line.entered_at,
        received_at=received,
        cutoff=line.effective_at,
        clock_starts=max(line.effective_at, received) if received else line.effective_at,
        contained_at=None,
        closed_at=None,
        outcome=None,
        actions=(),
        standing=int(judged.verdict is Verdict.EXCEPTION),
        first_seq=None,
        judged=judged,
    )


def _reason(line: Line) -> str:
    reason = line.excluded.value.replace("_", " ") if line.excluded else ""
    return f"{reason}: {line.why}" if line.why else reason
