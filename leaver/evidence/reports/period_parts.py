"""The longer lists of the period report, and how it was made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from leaver.evidence.reports.figures import removals, worst
from leaver.evidence.reports.model import Change, ControlException, Decision, Leaver, Verdict
from leaver.evidence.reports.page import (
    Align,
    Block,
    Cell,
    Column,
    Fact,
    Facts,
    Row,
    Section,
    Span,
    Style,
    Table,
    Text,
    Tone,
    cell,
)
from leaver.evidence.reports.period import ControlResult, PeriodReport, ipe
from leaver.evidence.reports.show import NOTHING, count, lag, number, percent, utc, words
from leaver.evidence.reports.tables import system_of

POPULATION_SHOWN: Final = 100
EXCEPTIONS_SHOWN: Final = 100
CHANGES_SHOWN: Final = 100

_EXCEPTIONS: Final = (
    Column("Case", width=7),
    Column("System and step", width=5),
    Column("Cause", width=3),
    Column("Detail", width=6),
    Column("Raised (UTC)", Align.NOWRAP),
    Column("Owner", width=2),
    Column("Closure", width=4),
    Column("Record", Align.NUMBER),
)


def exceptions_section(report: PeriodReport) -> Section:
    """Every control exception with cause and closure, open ones first; how often each cause."""
    rows = report.given.exceptions
    shown = rows[:EXCEPTIONS_SHOWN]
    blocks: list[Block] = []
    if rows:
        causes = Counter(words(row.cause) for row in rows)
        told = ", ".join(f"{cause} {number(times)}" for cause, times in sorted(causes.items(), key=_most))
        blocks.append(Text(f"By cause: {told}."))
    note = f"The other {number(len(rows) - len(shown))} are in exceptions.csv and in the workbook."
    blocks.append(
        Table(
            _EXCEPTIONS,
            tuple(_exception(row) for row in shown),
            empty="None: no control exception was raised and no result shows one.",
            note=note if len(shown) < len(rows) else "",
        )
    )
    hint = f"{number(len(report.standing))} open, {number(len(rows) - len(report.standing))} closed"
    return Section("Exceptions", tuple(blocks), hint=hint if rows else "")


def _most(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


def _exception(row: ControlException) -> Row:
    system = system_of(row.step)
    step: Cell = (
        ((Span(system),), (Span(row.step or "", Style.MONO),))
        if system
        else cell(row.step or "the whole case")
    )
    times = f"{row.times} times" if row.times > 1 else "" if row.recorded else "shown by the result only"
    if row.standing:
        closure = cell("open", Style.BAD)
    else:
        closure = cell(row.closure, sub=f"{utc(row.closed_at)}, record {row.closed_by}")
    return Row(
        (
            cell(row.case, Style.MONO),
            step,
            cell(words(row.cause), Style.STRONG, sub=times),
            cell(row.detail),
            cell(utc(row.raised_at)),
            cell(row.owner or "none named"),
            closure,
            _record(row.seq),
        ),
    )


_POPULATION: Final = (
    Column("Case", width=6),
    Column("Effective (UTC)", Align.NOWRAP),
    Column("Contained (UTC)", Align.NOWRAP),
    Column("Lag", Align.NUMBER),
    Column("After notice", Align.NUMBER),
    Column("Worst system", width=5),
    Column("Verdict", width=4),
    Column("Record", Align.NUMBER),
)


def population_section(report: PeriodReport) -> Section:
    """The first rows of the population, unfiltered, in the order of the effective time."""
    rows = report.given.leavers
    shown = rows[:POPULATION_SHOWN]
    cut = f"The first {number(len(shown))} of {number(len(rows))} leavers. "
    note = (
        f"{cut if len(rows) > len(shown) else ''}All of them, with every time and reason: population.csv and "
        "the sheet Population; one row per system: results.csv; one row per action: actions.csv."
    )
    made = tuple(_leaver(row) for row in shown)
    table = Table(_POPULATION, made, empty="Nobody.", note=note if rows else "")
    return Section("Population", (table,), hint="every leaver of the period, unfiltered")


def _leaver(row: Leaver) -> Row:
    slowest = worst(removals(row))
    verdict = row.judged.verdict
    style = {Verdict.WITHIN: Style.GOOD, Verdict.EXCEPTION: Style.BAD}.get(verdict, Style.OPEN)
    return Row(
        (
            cell(row.case, Style.MONO),
            cell(utc(row.cutoff)),
            cell(utc(row.contained_at)),
            cell(lag(row.lag_effective)),
            cell(lag(row.lag_notice)),
            cell(f"{slowest.system.label}, {lag(slowest.lag)}") if slowest else cell(NOTHING),
            cell(verdict.value, style, sub=row.judged.why),
            _record(row.first_seq),
        )
    )


_DECISIONS: Final = (
    Column("Statement", width=3),
    Column("Counted", Align.NUMBER),
    Column("Refused", Align.NUMBER),
    Column("People", Align.NUMBER),
    Column("By the leaver", Align.NUMBER),
    Column("By somebody who had left", Align.NUMBER),
    Column("Not proven whose", Align.NUMBER),
)
_CONFLICTS: Final = (
    Column("Case", width=4),
    Column("Statement", width=2),
    Column("By", width=4),
    Column("When (UTC)", Align.NOWRAP),
    Column("Why", width=4),
    Column("Record", Align.NUMBER),
)


def decisions_section(report: PeriodReport) -> Section:
    """What people decided, and whether duties were kept apart: tested on every statement."""
    rows = report.given.decisions
    verbs = sorted({row.verb for row in rows})
    blocks: list[Block] = [
        Table(
            _DECISIONS,
            tuple(_verb(verb, [row for row in rows if row.verb == verb]) for verb in verbs),
            empty="Nobody decided anything in this period.",
            note="The middle columns count statements that were accepted. The full list is in approvals.csv."
            if rows
            else "",
        )
    ]
    conflicts = [row for row in rows if row.conflict]
    if conflicts:
        blocks.append(Text(f"{count(len(conflicts), 'statement')} counted that must not have.", Tone.BAD))
        blocks.append(Table(_CONFLICTS, tuple(_conflict(row) for row in conflicts[:EXCEPTIONS_SHOWN])))
    elif rows:
        blocks.append(Text("No accepted statement is by the leaver, by somebody who had left, or unproven."))
    return Section(
        "Approvals and segregation of duties", tuple(blocks), tone=Tone.BAD if conflicts else Tone.PLAIN
    )


def _verb(verb: str, rows: Sequence[Decision]) -> Row:
    counted = [row for row in rows if row.accepted]
    tests = (
        sum(row.about_self for row in counted),
        sum(row.by_leaver for row in counted),
        sum(not row.by_ref for row in counted),
    )
    return Row(
        (
            cell(verb, Style.STRONG),
            cell(number(len(counted))),
            cell(number(len(rows) - len(counted))),
            cell(number(len({row.by_ref for row in counted if row.by_ref}))),
            *(cell(number(found), Style.BAD if found else Style.GOOD) for found in tests),
        )
    )


def _conflict(row: Decision) -> Row:
    why = (
        "by the leaver"
        if row.about_self
        else "by somebody who had left"
        if row.by_leaver
        else "not proven whose"
    )
    by = cell(row.by_ref or NOTHING, Style.MONO)
    return Row(
        (cell(row.case, Style.MONO), cell(row.verb), by, cell(utc(row.at)), cell(why), _record(row.seq))
    )


_CHANGES: Final = (
    Column("When (UTC)", Align.NOWRAP),
    Column("Kind", width=2),
    Column("What", width=3),
    Column("Detail", width=8),
    Column("Record", Align.NUMBER),
)


def changes_section(changes: Sequence[Change]) -> Section:
    """What changed in the period of what decides."""
    shown = changes[:CHANGES_SHOWN]
    left = len(changes) - len(shown)
    table = Table(
        _CHANGES,
        tuple(
            Row((cell(utc(row.at)), cell(row.kind), cell(row.what), cell(row.detail), _record(row.seq)))
            for row in shown
        ),
        empty="None recorded in this period.",
        note=f"{number(left)} more are in policy.csv and in the workbook." if left else "",
    )
    return Section("Changes of policy, configuration and keys", (table,))


_CONTROLS: Final = (
    Column("Control", width=3),
    Column("In our words", width=5),
    Column("Test performed by management", width=6),
    Column("Result", width=4),
    Column("Auditor's result", width=2),
)


def controls_section(report: PeriodReport) -> Section:
    """The controls in the shape of a SOC 2 Type II report; the auditor's column stays empty."""
    rows = tuple(_control(each) for each in report.controls)
    note = (
        "Management's own test over the whole population, no sample. The last column is the auditor's."
        if rows
        else ""
    )
    return Section("Controls", (Table(_CONTROLS, rows, empty="No action serves a control.", note=note),))


def _control(each: ControlResult) -> Row:
    text = each.text
    name = cell(
        text.number, Style.STRONG, sub=", ".join(part for part in (text.framework, text.coverage) if part)
    )
    return Row((name, cell(text.control), _test(each), _result(each), ()))


def _test(each: ControlResult) -> Cell:
    """What was done, and apart from it what somebody else may do to see for himself."""
    done = (
        "Every action that serves it: read back, and compared with its limit" if each.actions else "None here"
    )
    again = each.text.test
    return cell(done, sub=f"To check: {again}" if again else "")


def _result(each: ControlResult) -> Cell:
    limits = each.text.limits
    beyond: Cell = ((Span(f"Beyond it: {limits}", Style.SMALL),),) if limits else ()
    if not each.actions:
        return (*cell("not testable", Style.OPEN), *beyond)
    bad, share = each.actions - each.within, percent(each.within, each.actions)
    found = (
        f"{number(each.within)} of {number(each.actions)} actions ({share}), {count(each.leavers, 'leaver')}"
    )
    verdict = (
        cell(count(bad, "exception"), Style.BAD, sub=found)
        if bad
        else cell("no exception", Style.GOOD, sub=found)
    )
    return (*verdict, *beyond)


def not_tested_section() -> Section:
    """What an auditor might look for and will not find."""
    return Section(
        "Not tested here",
        (
            Text(
                "Sign-ins after the effective time (look-back): not testable; sign-in logs are not read. "
                "Accounts without an owner (ghost scan): not testable; accounts are read per leaver only. "
                "Return of equipment and change of shared secrets: not testable; no such system is connected."
            ),
        ),
    )


def entity_section(report: PeriodReport) -> Section:
    """Information produced by the entity."""
    shown = tuple(Fact(name, cell(text, _IPE_STYLES.get(name, Style.PLAIN))) for name, text in ipe(report))
    return Section("Information produced by the entity", (Facts(shown),))


_IPE_STYLES: Final = {
    "Control hash": Style.MONO,
    "Checkpoint root": Style.MONO,
    "To perform again": Style.MONO,
    "Report id": Style.MONO,
}


def _record(seq: int | None) -> Cell:
    return cell(NOTHING if seq is None else str(seq))
