"""``leaver hr``: what HR sends in, cases out."""

from __future__ import annotations

import functools
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from pydantic import SecretStr
from rich.table import Column, Table

from leaver.cli.output import (
    BAD_INPUT,
    NO,
    ConfigOption,
    JsonOption,
    command,
    console,
    fail,
    print_json,
    with_cases,
)
from leaver.client.cases import Cases, event_case
from leaver.client.deliveries import Announced
from leaver.client.intake import Intake, Place, preview, take_in
from leaver.config import Config, ConfigError, load
from leaver.domain.policy import Policy
from leaver.hr.bamboohr_webhook import SeenDeliveries, read_headers
from leaver.hr.ingest import read, read_webhook
from leaver.hr.model import IngestResult, SourceKind
from leaver.hr.seen import SeenFile

app = typer.Typer(no_args_is_help=True, help="Take in what HR says.")

_ANNOUNCED: Final = {
    Announced.PENDING: "the sealer has not noted this delivery yet; it will, and the cases go on meanwhile",
    Announced.NOT_ACCEPTED: "this delivery could not be noted before its cases started; deliver it once more",
}


@app.command("ingest")
@command
def ingest(  # noqa: PLR0913 - the options of a command
    file: Annotated[Path, typer.Argument(help="What HR delivered.")],
    source: Annotated[SourceKind, typer.Option("--source", help="What kind of document it is.")],
    config: ConfigOption = None,
    *,
    headers: Annotated[
        Path | None, typer.Option("--headers", help="bamboohr-webhook: the request's headers, as JSON.")
    ] = None,
    employees: Annotated[
        Path | None, typer.Option("--employees", help="bamboohr-webhook: the table answer fetched for it.")
    ] = None,
    received_at: Annotated[
        datetime | None,
        typer.Option(
            "--received-at",
            formats=["%Y-%m-%dT%H:%M:%SZ"],
            help="When the document reached us (UTC), if not now: a saved webhook is judged by it.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and check; start nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Start a case for everybody who leaves. Bad rows are named and the others go on.

    Exit codes: 0 every row was taken in; 1 rows were rejected or held; 2 the file cannot be read at all.
    """
    loaded = load(config)
    policy = loaded.policy()
    received = received_at.replace(tzinfo=UTC) if received_at else datetime.now(UTC)
    seen = _SeenWhenDone(SeenFile(loaded.path(loaded.settings.hr.seen_webhooks)))
    result = _read(
        loaded, policy, file, source, headers=headers, employees=employees, received=received, seen=seen
    )
    if dry_run:
        intake = _dry(loaded, policy, result, file, received)
    else:
        intake = _take(config, policy, result, file, received)
        seen.done()
    _print(intake, as_json=as_json)
    if intake.rejected or intake.held:
        raise typer.Exit(NO)


class _SeenWhenDone:
    """Keeps a delivery as seen only after its cases are started: until then it may be delivered again."""

    def __init__(self, kept: SeenFile) -> None:
        self._kept = kept
        self._read: list[tuple[str, datetime]] = []

    def seen(self, digest: str) -> bool:
        """Whether this delivery was acted on before."""
        return self._kept.seen(digest)

    def remember(self, digest: str, at: datetime) -> None:
        """The delivery was read."""
        self._read.append((digest, at))

    def done(self) -> None:
        """The delivery was acted on."""
        for digest, at in self._read:
            self._kept.remember(digest, at)


def _read(  # noqa: PLR0913
    config: Config,
    policy: Policy,
    file: Path,
    source: SourceKind,
    *,
    headers: Path | None,
    employees: Path | None,
    received: datetime,
    seen: SeenDeliveries,
) -> IngestResult:
    if source is not SourceKind.BAMBOOHR_WEBHOOK:
        return read(_bytes(file), source, config.hr_context(policy, file=file.name, at=received))
    if headers is None or employees is None:
        fail(
            "a webhook needs --headers and --employees: it is a hint, the table answer is the truth",
            BAD_INPUT,
        )
    return _webhook(config, policy, file, headers, employees, received, seen)


def _take(
    config: Path | None, policy: Policy, result: IngestResult, file: Path, received: datetime
) -> Intake:
    async def work(cases: Cases, loaded: Config) -> Intake:
        ad = loaded.settings.ad
        place = Place(site=ad.site if ad else "", on_prem=ad is not None)
        return await take_in(cases, policy, result, file=file.name, received=received, place=place)

    return with_cases(config, work)


def _dry(config: Config, policy: Policy, result: IngestResult, file: Path, received: datetime) -> Intake:
    """Needs no Temporal: the ids come from the key alone."""
    return preview(
        functools.partial(event_case, config.case_id_key(), policy.mode),
        policy,
        result,
        file=file.name,
        received=received,
    )


def _webhook(  # noqa: PLR0913, PLR0917
    config: Config,
    policy: Policy,
    file: Path,
    headers: Path,
    employees: Path,
    received: datetime,
    seen: SeenDeliveries,
) -> IngestResult:
    reference = config.settings.hr.webhook_key
    if reference is None:
        raise ConfigError(["hr.webhook_key: needed to check the webhook's signature"])
    key: SecretStr = config.secret("hr.webhook_key", reference)
    return read_webhook(
        _bytes(file),
        read_headers(_bytes(headers)),
        _bytes(employees),
        config.hr_context(policy, file=employees.name, at=received),
        key=key,
        seen=seen,
    )


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as err:
        fail(f"{file}: cannot be read ({err.strerror})", BAD_INPUT)


def _print(intake: Intake, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(intake))
        return
    table = Table("person", Column("case", no_wrap=True), "done", Column("cut-off", no_wrap=True), box=None)
    for row in (*intake.cases, *intake.held):
        table.add_row(row.person, row.case, row.done, row.cutoff)
    console.print(table)
    if said := _ANNOUNCED.get(intake.announced):
        console.print(f"[yellow]evidence[/yellow] {said}", highlight=False)
    for row in intake.held:
        console.print(f"[yellow]held[/yellow] {row.person}: {row.why}")
    for label, rows in (
        ("rejected", intake.rejected),
        ("duplicate", intake.duplicates),
        ("warning", intake.warnings),
    ):
        for bad in rows:
            console.print(
                f"[yellow]{label}[/yellow] {bad.source}, line {bad.line}, {bad.field}: {bad.reason}"
            )
