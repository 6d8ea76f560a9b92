"""``leaver case``: what operators and approvers ask and say."""

from __future__ import annotations

import os
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from pydantic import TypeAdapter
from rich.table import Column, Table

from leaver.cli.output import (
    BAD_INPUT,
    ConfigOption,
    JsonOption,
    command,
    console,
    fail,
    print_json,
    with_cases,
)
from leaver.client.cases import CaseRow, Cases
from leaver.config import Config
from leaver.domain.case import CaseStatus, UpdateAnswer
from leaver.domain.statement import Statement, StatementBody
from leaver.domain.words import Outcome, Verb

app = typer.Typer(no_args_is_help=True, help="Look at cases, decide, unstick.")

KEY_VARIABLE: Final = "LEAVER_KEY_FILE"
PERSON_VARIABLE: Final = "LEAVER_PERSON"

CaseArgument = Annotated[str, typer.Argument(help="The case id, c-….")]
ByOption = Annotated[
    str | None, typer.Option("--as", help=f"Your HR worker id (default: ${PERSON_VARIABLE}).")
]
KeyOption = Annotated[
    Path | None, typer.Option("--key", help=f"Your private key file (default: ${KEY_VARIABLE}).")
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it becomes evidence.")]

_COLOURS: Final = {
    Outcome.VERIFIED: "green",
    Outcome.ALREADY: "green",
    Outcome.ABSENT: "dim",
    Outcome.OPEN: "bold red",
    Outcome.FAILED: "bold red",
    Outcome.PENDING: "dim",
}


@app.command("list")
@command
def list_cases(config: ConfigOption = None, *, as_json: JsonOption = False) -> None:
    """Every case that Temporal knows, newest first. Names are in the HR system, not here."""

    async def work(cases: Cases, _: Config) -> list[CaseRow]:
        return [row async for row in cases.all()]

    rows = with_cases(config, work)
    if as_json:
        print_json(TypeAdapter(list[CaseRow]).dump_python(rows, mode="json"))
        return
    table = Table(Column("case", no_wrap=True), "phase", "outcome", "risk", "cut-off", "started", box=None)
    for row in rows:
        table.add_row(row.case, row.phase, row.outcome, row.risk, _text(row.due), _text(row.started))
    console.print(table if rows else "There are no cases yet; 'leaver hr ingest' starts them.")


@app.command("show")
@command
def show(case: CaseArgument, config: ConfigOption = None, *, as_json: JsonOption = False) -> None:
    """Where a case stands, step by step. Exit code 1 while a step needs a person."""
    status = with_cases(config, lambda cases, _: cases.status(case))
    if as_json:
        print_json(status)
    else:
        print_status(status)
    if any(step.outcome.needs_person for step in status.steps):
        raise typer.Exit(1)


def print_status(status: CaseStatus) -> None:
    """A case for people."""
    console.print(
        f"[bold]{status.case}[/bold]  {status.phase.value} · {status.outcome.value} · {status.mode}"
    )
    console.print(f"cut-off {_text(status.cutoff)}   contained {_text(status.contained_at) or 'not yet'}")
    if status.held_because:
        console.print(f"[yellow]held:[/yellow] {status.held_because}")
    if status.waiting_for:
        console.print(f"[yellow]waits for:[/yellow] {status.waiting_for}")
    if status.approvers:
        console.print(f"may decide: {', '.join(status.approvers)}   plan {status.plan_digest}")
    table = Table("phase", "step", "outcome", "done", "tries", "why", box=None)
    for step in status.steps:
        colour = _COLOURS.get(step.outcome, "yellow")
        why = f"{step.reason.value}: {step.detail}" if step.reason else ""
        outcome = f"[{colour}]{step.outcome.value}[/{colour}]" + (" late" if step.late else "")
        table.add_row(step.phase.value, step.title, outcome, _text(step.finished_at), str(step.attempts), why)
    console.print(table)
    for omission in status.omitted:
        console.print(f"[dim]not planned: {omission.step} ({omission.reason.value}): {omission.detail}[/dim]")


@app.command("approve")
@command
def approve(  # noqa: PLR0913 - the options of a command
    case: CaseArgument,
    by: ByOption = None,
    key: KeyOption = None,
    reason: ReasonOption = "",
    config: ConfigOption = None,
    *,
    print_signal: Annotated[
        bool,
        typer.Option(
            "--print-signal",
            help="Print the signed statement, to be sent as the signal manager_decision; send nothing.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Approve the hand-over of mailbox and files, as planned right now."""
    _say(case, Verb.APPROVE, by, key, reason, config, as_json=as_json, print_signal=print_signal)


@app.command("retry")
@command
def retry(  # noqa: PLR0913, PLR0917
    case: CaseArgument,
    step: Annotated[str, typer.Argument(help="The open step, e.g. entra.remove_groups.")],
    by: ByOption = None,
    key: KeyOption = None,
    reason: ReasonOption = "",
    config: ConfigOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Run an open step again, after its cause is gone."""
    _say(case, Verb.RETRY, by, key, reason, config, as_json=as_json, step=step)


def _plain(verb: Verb, text: str) -> None:
    """Add the command of a verb that needs nothing but the case."""

    @app.command(verb.value, help=text)
    @command
    def say(  # noqa: PLR0913
        case: CaseArgument,
        by: ByOption = None,
        key: KeyOption = None,
        reason: ReasonOption = "",
        config: ConfigOption = None,
        *,
        as_json: JsonOption = False,
    ) -> None:
        _say(case, verb, by, key, reason, config, as_json=as_json)


_plain(Verb.REJECT, "Refuse the hand-over; the files stay where they are and the licence is kept.")
_plain(Verb.HOLD, "Stop everything but containment, e.g. because of a legal hold.")
_plain(Verb.RELEASE, "End a hold, or let a protected person's case go on (security only).")
_plain(Verb.RESCIND, "The person stays: no further step begins.")


def _say(  # noqa: PLR0913, PLR0917
    case: str,
    verb: Verb,
    by: str | None,
    key: Path | None,
    reason: str,
    config: Path | None,
    *,
    as_json: bool,
    step: str | None = None,
    print_signal: bool = False,
) -> None:
    person = (
        by
        or os.environ.get(PERSON_VARIABLE)
        or fail(f"who says it? use --as or ${PERSON_VARIABLE}", BAD_INPUT)
    )
    key_file = key or Path(
        os.environ.get(KEY_VARIABLE) or fail(f"sign with --key or ${KEY_VARIABLE}", BAD_INPUT)
    )

    async def work(cases: Cases, _: Config) -> UpdateAnswer | Statement:
        digest = (await cases.status(case)).plan_digest if verb in (Verb.APPROVE, Verb.REJECT) else None
        statement = signed(case, verb, person, key_file, plan_digest=digest, step=step, reason=reason)
        return statement if print_signal else await cases.say(statement)

    answer = with_cases(config, work)
    if as_json or isinstance(answer, Statement):
        print_json(answer)
    else:
        console.print(f"{case}: {answer.message}")


def signed(  # noqa: PLR0913
    case: str,
    verb: Verb,
    by: str,
    key_file: Path,
    *,
    plan_digest: str | None = None,
    step: str | None = None,
    reason: str = "",
) -> Statement:
    """A statement about a case, signed now with this person's key."""
    from leaver.evidence.statements import sign_statement  # noqa: PLC0415

    body = StatementBody(
        case=case,
        verb=verb,
        by=by,
        at=datetime.now(UTC),
        nonce=secrets.token_hex(16),
        plan_digest=plan_digest,
        step=step,
        reason=reason,
    )
    return sign_statement(body, key_file)


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    return "" if value is None else str(value)
