"""How far the evidence can be trusted, in the same words on every page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from leaver.evidence.reports.model import AnchorLine, CheckpointLine
from leaver.evidence.reports.page import (
    Align,
    Cell,
    Column,
    Row,
    Section,
    Span,
    Style,
    Table,
    Text,
    Tone,
    cell,
)
from leaver.evidence.reports.show import NOTHING, utc

_LIMITS: Final = (
    "It does not prove that a target system told the truth, nor that HR told us of every leaver. "
    "“Proven” means read from the system that holds the access, after the change."
)
_UNANCHORED: Final = (
    "Anchors: none. The log is signed by its operator's key and by nobody else. Whoever lacks that key "
    "cannot change, drop or add a record without verify.py finding it; whoever holds it could rebuild a "
    "clean log, and nothing here would show it."
)
_ANCHORED: Final = (
    "Any change to sealed records after an anchored checkpoint is detectable by anyone holding that "
    "checkpoint, offline, with public-standard tools."
)
_SHOWN: Final = 6


def trust_section(anchors: Sequence[CheckpointLine]) -> Section:
    """What may be believed: with an outside anchor, and without one in red."""
    anchored = next((line for line in reversed(anchors) if line.outside), None)
    if anchored is None:
        inside = [anchor.name for line in anchors[-1:] for anchor in line.anchors]
        own = (
            f" The operator's own anchors ({', '.join(inside)}) prove nothing against the operator."
            if inside
            else ""
        )
        return Section(
            "How far this can be trusted",
            (Text(_UNANCHORED + own, Tone.BAD), Text(_LIMITS)),
            tone=Tone.BAD,
        )
    by = ", ".join(_voucher(anchor) for anchor in anchored.outside)
    lines = [Text(f"Tamper-evident since checkpoint {anchored.size}, anchored outside by {by}. {_ANCHORED}")]
    later = [line for line in anchors if line.size > anchored.size]
    if later:
        lines.append(
            Text(f"Records {anchored.size} and later are not anchored outside yet.", Tone.BAD),
        )
    return Section(
        "How far this can be trusted", (*lines, Text(_LIMITS)), tone=Tone.BAD if later else Tone.GOOD
    )


def _voucher(anchor: AnchorLine) -> str:
    return f"{anchor.name} on {utc(anchor.at)} UTC" if anchor.at else anchor.name


ANCHOR_COLUMNS: Final = (
    Column("Size", Align.NUMBER),
    Column("Root", width=4),
    Column("Signed (UTC)", Align.NOWRAP),
    Column("Anchored by", width=5),
)


def anchor_rows(lines: Sequence[CheckpointLine]) -> Table:
    """The last checkpoints and all that lack an anchor, newest last."""
    lacking = [line for line in lines if line.troubles or not line.anchors]
    chosen = {line.size: line for line in (*lacking[-_SHOWN:], *lines[-_SHOWN:])}
    rows = tuple(_row(chosen[size]) for size in sorted(chosen))
    left = len(lines) - len(rows)
    note = f"{left} more checkpoints are in anchors.csv and in the workbook." if left else ""
    return Table(ANCHOR_COLUMNS, rows, empty="No checkpoint is published yet.", note=note)


def _row(line: CheckpointLine) -> Row:
    said: list[tuple[Span, ...]] = [
        (
            Span(f"{anchor.kind.value} {anchor.name}"),
            Span(utc(anchor.at) if anchor.at else NOTHING, Style.SOFT),
            Span("outside", Style.GOOD) if anchor.independent else Span("our own", Style.OPEN),
        )
        for anchor in line.anchors
    ]
    said += [(Span(trouble, Style.BAD),) for trouble in line.troubles]
    anchored: Cell = tuple(said) or cell("none", Style.BAD)
    return Row((cell(str(line.size)), cell(line.root, Style.MONO), cell(utc(line.at)), anchored))
