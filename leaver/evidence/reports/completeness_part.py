"""The first table of the period report: who left by HR's list, and what became of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from leaver.evidence.reports.model import CompletenessTable, Finding
from leaver.evidence.reports.page import (
    Align,
    Block,
    Column,
    Row,
    Section,
    Style,
    Table,
    Text,
    Tone,
    cell,
)
from leaver.evidence.reports.show import NOTHING, number, utc, words

_FINDINGS_SHOWN: Final = 50

COUNTS: Final = (Column("Count", width=3), Column("Leavers", Align.NUMBER), Column("What it is", width=7))
FINDINGS: Final = (
    Column("What", width=3),
    Column("Case", width=4),
    Column("Detail", width=6),
    Column("Since (UTC)", Align.NOWRAP),
    Column("Standing", width=2),
)


def completeness_section(counted: CompletenessTable) -> Section:
    """The count, the difference, and every finding. Without a pull of HR's list it says so in red."""
    blocks: list[Block] = []
    if counted.difference is None:
        blocks.append(
            Text("Not tested: no pull of HR's list by the sealer itself covers this period.", Tone.BAD)
        )
    blocks.append(Table(COUNTS, tuple(_rows(counted))))
    if counted.findings:
        shown = counted.findings[:_FINDINGS_SHOWN]
        left = len(counted.findings) - len(shown)
        note = f"{left} more are in findings.csv and in the workbook." if left else ""
        blocks.append(Table(FINDINGS, tuple(_finding(each) for each in shown), note=note))
    tone = Tone.GOOD if counted.complete else Tone.BAD
    return Section(
        "Completeness", tuple(blocks), tone=tone, hint="HR's leavers = cases + explained exclusions"
    )


def _rows(counted: CompletenessTable) -> Iterator[Row]:
    for name, value, meaning, tone in count_lines(counted):
        style = {Tone.BAD: Style.BAD, Tone.GOOD: Style.GOOD}.get(tone, Style.PLAIN)
        main = name[:1].isupper()
        title = cell(name, Style.STRONG) if main else cell("\N{EM SPACE}" + name)
        shown = Row(
            (title, cell(number(value), style), cell(meaning)), tone if tone is Tone.BAD else Tone.PLAIN
        )
        yield shown


def count_lines(counted: CompletenessTable) -> Iterator[tuple[str, int | None, str, Tone]]:
    """The lines of the table: name, number, meaning, tone."""
    pull = (
        f"pulled by the sealer on {utc(counted.pulled_at)} UTC, record {counted.pull_seq}"
        if counted.pulled_at
        else ""
    )
    yield "Leavers in HR's list", counted.hr_leavers, pull or "no pull covers the period", Tone.PLAIN
    if counted.hr_leavers is not None:
        yield "with a case", counted.with_case, "a workflow was started for the leaver", Tone.PLAIN
        for reason, excluded in counted.exclusions:
            yield f"excluded: {words(reason)}", excluded, "no case, for this recorded reason", Tone.PLAIN
        missing = Tone.BAD if counted.missing else Tone.GOOD
        yield "missing", counted.missing, "in HR's list, without a case and without a reason", missing
    yield "Cases", counted.cases, "with and without a row in HR's list", Tone.PLAIN
    if counted.hr_leavers is not None:
        unlisted = Tone.BAD if counted.unlisted else Tone.GOOD
        yield (
            "not in HR's list",
            counted.unlisted,
            "cases that HR's list, pulled later, does not know",
            unlisted,
        )
        if counted.withdrawn:
            yield "taken back by HR", counted.withdrawn, "cases whose separation HR took back", Tone.PLAIN
        if counted.unconfirmed:
            yield "opened since the pull", counted.unconfirmed, "not compared with HR's list yet", Tone.PLAIN
    yield "Closed", counted.closed, "cases with their last record", Tone.PLAIN
    lacking = Tone.BAD if counted.sealed < counted.closed else Tone.PLAIN
    yield "Sealed", counted.sealed, "closed cases with their full workflow history in the ledger", lacking
    if counted.bundles is not None:
        lacking = Tone.BAD if counted.bundles < counted.closed else Tone.PLAIN
        yield "Bundles", counted.bundles, "closed cases with a signed bundle", lacking
    difference = counted.difference
    tone = Tone.BAD if difference != 0 else Tone.GOOD
    yield "Difference", difference, "missing leavers and cases that HR does not know; must be 0", tone


def _finding(found: Finding) -> Row:
    standing = cell("gap", Style.BAD) if found.alarm else cell("may still close", Style.OPEN)
    case = cell(found.case, Style.MONO) if found.case else cell(NOTHING)
    return Row((cell(words(found.kind)), case, cell(found.detail), cell(utc(found.since)), standing))
