"""``leaver report period --seal``: asked of the sealer, copied from its store, checked before it is shown."""

from __future__ import annotations

import functools
from datetime import timedelta
from pathlib import Path

from leaver.cli.evidence import print_verified
from leaver.cli.output import BAD_INPUT, NO, console, fail, with_client
from leaver.client.errands import Errands
from leaver.config import Config
from leaver.domain.base import Facts
from leaver.domain.report import ReportInput, ReportResult
from leaver.evidence.bundle import export_bundle
from leaver.evidence.verify import verify_bundle


def sealed_period(
    config_file: Path | None, wanted: ReportInput, target: Path, *, wait: float, as_json: bool
) -> Facts:
    """Have the report made and sealed, copy its bundle and check the copy.

    Args:
        config_file: as given on the command line.
        wanted: the period.
        target: the folder to write; empty, or not there yet.
        wait: how many seconds to wait for the sealer.
        as_json: say nothing here.

    Returns:
        The report in figures, with the bundle and what its check found.
    """

    async def work(errands: Errands, loaded: Config) -> tuple[ReportResult, Path]:
        return await errands.report(wanted), loaded.path(loaded.settings.evidence.bundles)

    patience = timedelta(seconds=wait)
    answer, store = with_client(
        config_file, lambda client, loaded: work(Errands(client, patience=patience), loaded)
    )
    if answer.problem:
        fail(answer.problem, BAD_INPUT)
    bundle = store / answer.bundle
    if not bundle.is_dir():
        fail(f"{bundle}: is not here; the sealer has sealed it in its own [evidence] bundles folder", NO)
    if target.exists():
        target.rmdir()
    export_bundle(bundle, target)
    report = verify_bundle(target)
    if not as_json:
        print_verified(target, report)
    sealed: Facts = {
        "bundle": answer.bundle,
        "record": answer.seq,
        "sealed_at_size": answer.size,
        "verification": report.plain(),
    }
    return {**answer.figures, **sealed, "ok": bool(answer.figures.get("ok")) and report.ok}


def say_figures(answer: Facts, target: Path) -> None:
    """The report in a few lines."""
    say = functools.partial(console.print, highlight=False, markup=False, soft_wrap=True)
    verdicts = answer["verdicts"]
    within = verdicts["within"] if isinstance(verdicts, dict) else 0
    say(f"{answer['leavers']} leavers, {answer['tested']} tested, {within} within their limits")
    say(f"{answer['exceptions_open']} exceptions open of {answer['exceptions']}")
    say(str(answer["claim"]))
    say(f"{target}/report.html, report.pdf, report.xlsx and the CSV files")
