"""``leaver report``: the period report and the leaver one-pager, made from the ledger, which is only read."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from leaver.cli.output import BAD_INPUT, NO, ConfigOption, JsonOption, command, console, fail, print_json
from leaver.cli.sealed_report import say_figures, sealed_period
from leaver.config import Config, load
from leaver.config_anchors import outsiders
from leaver.domain.base import Facts
from leaver.domain.ids import CASE_ID
from leaver.domain.report import ReportInput
from leaver.domain.words import Mode
from leaver.evidence.bundle.period import compare, count, days_of, written
from leaver.evidence.case_view import case_view
from leaver.evidence.errors import ReportError
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.reports.model import Run
from leaver.evidence.reports.onepager import leaver_html, leaver_pdf
from leaver.evidence.reports.sources import checkpoint_lines, covering

app = typer.Typer(no_args_is_help=True, help="Reports for auditors, made from the ledger.")

_DAY: Final = "%Y-%m-%d"


@app.command("period")
@command
def period(  # noqa: PLR0913, PLR0917 - the options of a command
    first: Annotated[datetime, typer.Option("--from", formats=[_DAY], help="First day of the period.")],
    last: Annotated[datetime, typer.Option("--to", formats=[_DAY], help="Last day, included.")],
    target: Annotated[Path, typer.Option("-o", "--output", help="The folder to write; new or empty.")],
    time_zone: Annotated[
        str | None, typer.Option("--time-zone", help="Whose days; default: [evidence] time_zone.")
    ] = None,
    mode: Annotated[
        Mode | None, typer.Option("--mode", help="Real cases or rehearsals; default: as HR's newest list.")
    ] = None,
    checkpoint: Annotated[
        int | None,
        typer.Option("--checkpoint", help="Size of the checkpoint to report as of; default: the last."),
    ] = None,
    run_by: Annotated[
        str | None,
        typer.Option("--run-by", help="Who runs it, to be printed; the files then carry the time."),
    ] = None,
    config: ConfigOption = None,
    *,
    seal: Annotated[
        bool,
        typer.Option("--seal", help="Have the sealer make it, note it in the log and seal it as a bundle."),
    ] = False,
    wait: Annotated[
        float, typer.Option("--wait", min=1, help="With --seal: how many seconds to wait for the sealer.")
    ] = 120,
    as_json: JsonOption = False,
) -> None:
    """Write the period report: HTML, PDF, XLSX, CSV. Exit code 1 when it shows a gap or an open exception.

    The same checkpoint gives the same files, byte for byte; issued.json beside them says who ran it and when.
    With --seal the folder is a bundle that anybody can verify offline.
    """
    loaded = load(config)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        fail(f"{target}: is not an empty folder; name a new one", BAD_INPUT)
    zone = time_zone or loaded.settings.evidence.time_zone
    wanted = ReportInput(first=first.date(), last=last.date(), zone=zone, mode=mode, checkpoint=checkpoint)
    try:
        days_of(wanted)
        if seal:
            if run_by:
                fail("--run-by: a sealed report names nobody, the sealer runs it", BAD_INPUT)
            answer = sealed_period(config, wanted, target, wait=wait, as_json=as_json)
        else:
            answer = _write(loaded, wanted, target, run_by)
    except ReportError as err:
        fail(str(err), BAD_INPUT)
    if as_json:
        print_json({**answer, "folder": str(target)})
    else:
        say_figures(answer, target)
    if not answer["ok"]:
        raise typer.Exit(NO)


def _write(config: Config, wanted: ReportInput, target: Path, run_by: str | None) -> Facts:
    """Make the files and write them. Gives the report in figures."""
    now = datetime.now(UTC)
    bundles = config.path(config.settings.evidence.bundles)
    with Ledger.open(config.ledger(), read_only=True) as ledger:
        compared = compare(ledger, wanted, outsiders=outsiders(config), bundles=bundles)
        report = count(ledger, compared, Run(run_by, now) if run_by else None)
    files, figures = written(report, run_by=run_by or getpass.getuser(), run_at=now)
    target.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (target / name).write_bytes(content)
    return figures


@app.command("leaver")
@command
def leaver(
    case: Annotated[str, typer.Argument(help="The case id, c-….")],
    target: Annotated[Path, typer.Option("-o", "--output", help="The file to write: .html or .pdf.")],
    label: Annotated[
        str | None, typer.Option("--label", help="What the person is known by; printed on this page only.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Write the one-pager of a case, open or closed, as HTML or PDF."""
    loaded = load(config)
    if not CASE_ID.match(case):
        fail(f"{case!r} is not a case id; it looks like c-…", BAD_INPUT)
    if target.suffix not in (".html", ".pdf"):
        fail(f"{target}: name a file that ends in .html or .pdf", BAD_INPUT)
    with Ledger.open(loaded.ledger(), read_only=True) as ledger:
        records = ledger.records(case)
        if not records:
            fail(f"{case}: the ledger has no record of this case", BAD_INPUT)
        lines = checkpoint_lines(ledger, outsiders(loaded)) if ledger.latest_checkpoint() else ()
    anchors = covering(lines, records[-1].seq)
    view = case_view(records)
    if target.suffix == ".pdf":
        target.write_bytes(leaver_pdf(view, anchors, label))
    else:
        target.write_text(leaver_html(view, anchors, label), encoding="utf-8")
    console.print(f"{case}: {target}", highlight=False)
