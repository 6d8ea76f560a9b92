"""``leaver evidence completeness``, ``exclude``, ``erase`` and ``population pull``.

The table is read from the ledger directly, read-only. What writes goes to the sealer as a request: the ledger
has one writer, and the order should outlive this command.
"""

from __future__ import annotations

import functools
import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from rich.table import Column, Table

from leaver.cli.case import (
    KEY_VARIABLE,
    PERSON_VARIABLE,
    ByOption,
    CaseArgument,
    KeyOption,
    ReasonOption,
    signed,
)
from leaver.cli.output import (
    BAD_INPUT,
    NO,
    ConfigOption,
    JsonOption,
    command,
    console,
    fail,
    print_json,
    with_client,
)
from leaver.client.errands import Errands
from leaver.config import load
from leaver.domain.delivery import EraseResult, ExcludeResult, PullResult
from leaver.domain.ids import CASE_ID
from leaver.domain.statement import Statement
from leaver.domain.words import Verb
from leaver.evidence.population.bundled import bundled_cases
from leaver.evidence.population.model import Completeness, Line, Period
from leaver.evidence.population.observed import load_seen
from leaver.evidence.population.reconcile import reconcile
from leaver.evidence.population.wording import as_json as table_json
from leaver.evidence.population.wording import claim, equation

DayOption = Annotated[
    datetime | None, typer.Option("--day", formats=["%Y-%m-%d"], help="Only leavers of this day.")
]
FromOption = Annotated[
    datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day of the period.")
]
ToOption = Annotated[
    datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day of the period, included.")
]

population_app = typer.Typer(no_args_is_help=True, help="HR's own list, as the sealer pulls it.")


@command
def completeness(
    day: DayOption = None,
    first: FromOption = None,
    last: ToOption = None,
    config: ConfigOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Whether every leaver of HR's list has a case or an explanation. Exit code 1 when something is missing.

    Days are counted in [evidence] time_zone; without a period all leavers are counted.
    """
    from leaver.evidence.ledger.store import Ledger  # noqa: PLC0415 - the extra "evidence"

    loaded = load(config)
    period = _period(day, first, last, loaded.zone())
    section = loaded.settings.evidence
    with Ledger.open(loaded.ledger(), read_only=True) as ledger:
        seen = load_seen(ledger)
    result = reconcile(
        period, seen, now=datetime.now(UTC), bundles=bundled_cases(loaded.path(section.bundles))
    )
    if as_json:
        print_json(table_json(result))
    else:
        _print(result)
    if not result.complete:
        raise typer.Exit(NO)


@command
def exclude(  # noqa: PLR0913 - the options of a command
    case: CaseArgument,
    by: ByOption = None,
    key: KeyOption = None,
    reason: ReasonOption = "",
    config: ConfigOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Explain why a leaver of HR's list needs no case: signed by you, with a reason that names nobody."""
    statement = _statement(case, Verb.EXCLUDE, by, key, reason)

    async def work(errands: Errands) -> ExcludeResult:
        return await errands.exclude(statement)

    answer = with_client(config, lambda client, _: work(Errands(client)))
    if as_json:
        print_json(answer)
    if answer.refusal:
        fail(answer.refusal, NO)
    if not as_json:
        console.print(f"{case}: noted at place {answer.seq} of the log")


@command
def erase(  # noqa: PLR0913 - the options of a command
    case: CaseArgument,
    by: ByOption = None,
    key: KeyOption = None,
    reason: ReasonOption = "",
    config: ConfigOption = None,
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Although the case is open or a legal hold is not ruled out.")
    ] = False,
    whole_person: Annotated[
        bool, typer.Option("--whole-person", help="Every case of the same person, not only this one.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Erase what names the person behind a case. It cannot be undone; records and proofs stay valid."""
    statement = _statement(case, Verb.ERASE, by, key, reason)

    async def work(errands: Errands) -> EraseResult:
        return await errands.erase(statement, force=force, whole_person=whole_person)

    answer = with_client(config, lambda client, _: work(Errands(client)))
    if as_json:
        print_json(answer)
    if answer.refusal:
        fail(answer.refusal, NO)
    if not as_json:
        console.print(
            f"erased {answer.openings} opening(s) and {answer.keys} key(s) of {', '.join(answer.cases)};"
            " the log stays as it is and still verifies"
        )


@population_app.command("pull")
@command
def pull(config: ConfigOption = None, *, as_json: JsonOption = False) -> None:
    """Have the sealer read HR's list now and compare. Exit code 1 when it cannot be read, or with gaps."""

    async def work(errands: Errands) -> PullResult:
        return await errands.pull()

    answer = with_client(config, lambda client, _: work(Errands(client)))
    if as_json:
        print_json(answer)
    if answer.problem:
        fail(answer.problem, NO)
    if not as_json:
        console.print(
            f"{answer.source}: {answer.rows} rows, {answer.leavers} leavers, {answer.unreadable} unreadable;"
            f" {answer.gaps} gap(s), see 'leaver evidence completeness'"
        )
    if answer.gaps:
        raise typer.Exit(NO)


def _statement(case: str, verb: Verb, by: str | None, key: Path | None, reason: str) -> Statement:
    if not CASE_ID.match(case):
        fail(f"{case!r} is not a case id; it looks like c-…", BAD_INPUT)
    if not reason.strip():
        fail("--reason: say why; it becomes evidence and may not name the person", BAD_INPUT)
    person = by or os.environ.get(PERSON_VARIABLE)
    key_file = str(key) if key else os.environ.get(KEY_VARIABLE)
    if not person:
        fail(f"who says it? use --as or ${PERSON_VARIABLE}", BAD_INPUT)
    if not key_file:
        fail(f"sign with --key or ${KEY_VARIABLE}", BAD_INPUT)
    return signed(case, verb, person, Path(key_file), reason=reason)


def _period(day: datetime | None, first: datetime | None, last: datetime | None, tz: ZoneInfo) -> Period:
    if day is not None and (first or last):
        fail("--day stands alone; --from and --to name a period", BAD_INPUT)
    if day is not None:
        return Period.days(day.date(), day.date(), tz)
    start = Period.days(first.date(), first.date(), tz).start if first else None
    end = Period.days(last.date(), last.date(), tz).end if last else None
    if start and end and end <= start:
        fail("--to is before --from", BAD_INPUT)
    return Period(start, end)


def _print(result: Completeness) -> None:
    say = functools.partial(console.print, highlight=False, markup=False, soft_wrap=True)
    table = Table("", Column("leavers", justify="right"), box=None)
    for label, count in equation(result):
        table.add_row(label, "not asked" if count is None else str(count))
    console.print(table)
    for line in result.lines:
        if line.standing in {"missing", "unlisted", "excluded"}:
            say(_line(line))
    for found in result.findings:
        mark, what = "gap" if found.alarm else "note", found.case or found.subject
        say(f"{mark}: {found.kind.value} {what} since {_text(found.since)}: {found.detail}")
    say(claim(result))


def _line(line: Line) -> str:
    by = line.approver or "nobody"
    why = f" ({line.excluded.value}: {line.why}; answered for by {by})" if line.excluded else ""
    return f"{line.standing}: {line.case} {line.person_ref}, effective {_text(line.effective_at)}{why}"


def _text(moment: date) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
