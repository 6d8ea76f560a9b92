"""The period report as a page: completeness first, then what was tested, then what surrounds it."""

from __future__ import annotations

from typing import Final

from leaver.evidence.reports import period_parts as parts
from leaver.evidence.reports.charts import lag_chart, week_chart
from leaver.evidence.reports.completeness_part import completeness_section
from leaver.evidence.reports.figures import SystemFigures
from leaver.evidence.reports.model import Verdict
from leaver.evidence.reports.page import (
    Align,
    Banner,
    Block,
    Column,
    Page,
    Row,
    Section,
    Style,
    Table,
    Tile,
    Tiles,
    Tone,
    cell,
)
from leaver.evidence.reports.period import PeriodReport, claim, period_name, report_id
from leaver.evidence.reports.show import NOTHING, count, iso, lag, number, percent
from leaver.evidence.reports.trust import anchor_rows, trust_section


def period_page(report: PeriodReport) -> Page:
    """The page. The same report gives the same page."""
    given = report.given
    sections = (
        completeness_section(given.completeness),
        _summary(report),
        trust_section(given.anchors),
        _systems(report),
        _distribution(report),
        parts.exceptions_section(report),
        parts.population_section(report),
        parts.decisions_section(report),
        parts.changes_section(given.changes),
        parts.controls_section(report),
        parts.not_tested_section(),
        Section("Checkpoints", (anchor_rows(given.anchors),)),
        parts.entity_section(report),
    )
    return Page(
        title=f"Leavers {period_name(given)}",
        name="Removal of leavers' access: period report",
        reference=f"{period_name(given)} ({given.zone}), {report_id(given)}",
        banner=banner(report),
        claim=claim(report),
        sections=sections,
        date=iso(given.as_of),
    )


def banner(report: PeriodReport) -> Banner:
    """What the period comes to. A gap in the population or a standing exception is never good."""
    given, verdicts = report.given, report.verdicts
    figures = (
        f"{count(len(given.leavers), 'leaver')}, {number(report.tested)} tested",
        f"{percent(verdicts[Verdict.WITHIN], report.tested)} within their limits" if report.tested else "",
        f"{count(len(report.standing), 'exception')} open" if report.standing else "no open exception",
    )
    tone, headline = _headline(report)
    return Banner(tone, headline, tuple(figure for figure in figures if figure))


def _headline(report: PeriodReport) -> tuple[Tone, str]:
    """The first that holds."""
    counted, bad = report.given.completeness, report.verdicts[Verdict.EXCEPTION]
    gaps, standing = len(counted.alarms), len(report.standing)
    uncompared = "All tested leavers within their limits; HR's list was not compared"
    headlines = (
        (counted.difference, Tone.BAD, f"The population does not add up: difference {counted.difference}"),
        (bad, Tone.BAD, f"{count(bad, 'leaver')} of {number(report.tested)} with an exception"),
        (standing, Tone.BAD, f"{count(standing, 'control exception')} open"),
        (gaps, Tone.BAD, f"{count(gaps, 'gap')} in the evidence"),
        (not report.given.leavers, Tone.OPEN, "No leaver in this period"),
        (not report.tested, Tone.OPEN, "Nothing to test yet"),
        (counted.difference is None, Tone.OPEN, uncompared),
    )
    good = (Tone.GOOD, "All tested leavers' access was removed within its limits")
    return next(((tone, text) for holds, tone, text in headlines if holds), good)


def _summary(report: PeriodReport) -> Section:
    verdicts = report.verdicts
    bad = verdicts[Verdict.EXCEPTION]
    open_cases = sum(one.closed_at is None and one.outcome is not None for one in report.given.leavers)
    tiles = (
        Tile("Leavers", number(len(report.given.leavers)), f"{number(report.tested)} tested, no sample"),
        Tile(
            "Within the limits",
            percent(verdicts[Verdict.WITHIN], report.tested),
            f"{number(verdicts[Verdict.WITHIN])} of {number(report.tested)}",
            Tone.BAD if bad else Tone.GOOD if report.tested else Tone.PLAIN,
        ),
        Tile("Median lag", lag(report.median), "from the effective time"),
        Tile("95th percentile", lag(report.p95), f"longest {lag(report.longest)}"),
        Tile(
            "Exceptions open",
            number(len(report.standing)),
            f"{number(len(report.given.exceptions))} in all",
            Tone.BAD if report.standing else Tone.GOOD,
        ),
        Tile("HR told us late", number(report.late_notice), "after the effective time"),
    )
    rest = Table(
        (Column("Verdict", width=2), Column("Leavers", Align.NUMBER), Column("What it means", width=7)),
        tuple(
            Row(
                (
                    cell(verdict.value, _STYLES[verdict]),
                    cell(number(verdicts[verdict])),
                    cell(_MEANING[verdict]),
                )
            )
            for verdict in Verdict
        ),
        note=f"{count(open_cases, 'case')} not closed yet." if open_cases else "",
    )
    return Section("Result of management's test", (Tiles(tiles), rest))


_STYLES: Final = {
    Verdict.WITHIN: Style.GOOD,
    Verdict.EXCEPTION: Style.BAD,
    Verdict.NOT_APPLICABLE: Style.SOFT,
    Verdict.NOT_TESTABLE: Style.SOFT,
}
_MEANING: Final = {
    Verdict.WITHIN: "every required action was read back from its system before its limit",
    Verdict.EXCEPTION: "an action is late, not proven or missing, or a control exception stands",
    Verdict.NOT_APPLICABLE: "no removal was due, for the reason in the list",
    Verdict.NOT_TESTABLE: "no answer yet or none possible, for the reason in the list",
}

_SYSTEMS: Final = (
    Column("System", width=3),
    Column("Leavers", Align.NUMBER),
    Column("Tested", Align.NUMBER),
    Column("Within limit", Align.NUMBER),
    Column("%", Align.NUMBER),
    Column("Median", Align.NUMBER),
    Column("95th pct.", Align.NUMBER),
    Column("Longest", Align.NUMBER),
    Column("From effective", Align.NUMBER),
)


def _systems(report: PeriodReport) -> Section:
    note = (
        "Lag: from the effective time to the last containment action read back; in a system whose access "
        "hangs on another one's sign-in, to its last action. Limits count from when we could act (the "
        "effective time, or HR's message if that came later); the last column counts the same limits from "
        "the effective time."
    )
    rows = tuple(_system(one) for one in report.systems)
    return Section(
        "Per system", (Table(_SYSTEMS, rows, empty="No action was due.", note=note if rows else ""),)
    )


def _system(one: SystemFigures) -> Row:
    short = one.within < one.tested
    return Row(
        (
            cell(one.system.label, Style.STRONG, sub="" if one.contained else "measured on its last action"),
            cell(number(one.leavers)),
            cell(number(one.tested)),
            cell(number(one.within)),
            cell(percent(one.within, one.tested), Style.BAD if short else Style.PLAIN),
            cell(lag(one.median)),
            cell(lag(one.p95)),
            cell(lag(one.longest)),
            cell(number(one.within_effective) if one.tested else NOTHING),
        )
    )


def _distribution(report: PeriodReport) -> Section:
    blocks: list[Block] = []
    if report.bars:
        blocks.append(lag_chart(report.bars, report.limits))
    if report.weeks and report.tested:
        blocks.append(week_chart(report.weeks))
    table = Table((Column("", width=1),), (), empty="Nothing to draw.")
    return Section("How long it took, and when", tuple(blocks) or (table,))
