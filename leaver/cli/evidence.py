"""``leaver evidence``: bundles out, verification by anybody."""

from __future__ import annotations

import functools
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

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
from leaver.client.cases import Cases
from leaver.config import Config
from leaver.evidence.bundle import export_bundle
from leaver.evidence.verify import VerifyReport, verify_bundle

app = typer.Typer(no_args_is_help=True, help="Export and verify evidence.")


@app.command("export")
@command
def export(
    case: Annotated[str, typer.Argument(help="The case id, c-….")],
    target: Annotated[Path, typer.Option("-o", "--output", help="The folder to write; must not exist yet.")],
    config: ConfigOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Copy a closed case's sealed bundle. Exit code 1 while the case is not sealed."""

    async def work(cases: Cases, loaded: Config) -> tuple[str, Path]:
        return await cases.bundle(case), loaded.path(loaded.settings.evidence.bundles)

    if target.exists():
        fail(f"{target}: exists already; name a new folder", BAD_INPUT)
    name, store = with_cases(config, work)
    if not name:
        fail(f"{case}: not sealed yet; 'leaver case show {case}' says what it waits for", NO)
    export_bundle(store / name, target)
    if as_json:
        print_json({"case": case, "bundle": str(target)})
    else:
        console.print(f"{case}: {target}   (verify it with: python3 {target}/verify.py {target})")


@app.command("verify")
@command
def verify(
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.")],
    key: Annotated[
        Path | None,
        typer.Option("--key", help="The sealer's public key (PEM) as you got it by another way."),
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Check a bundle offline. Exit code 1 when anything was changed, dropped or added."""
    if not bundle.is_dir():
        fail(f"{bundle}: no such folder", BAD_INPUT)
    if key is not None and not key.is_file():
        fail(f"{key}: no such file", BAD_INPUT)
    report = verify_bundle(bundle, key=key.read_bytes() if key else None)
    if as_json:
        print_json({**asdict(report), "ok": report.ok, "caveats": list(report.caveats)})
    else:
        _print(bundle, report)
    if not report.ok:
        raise typer.Exit(NO)


def _print(bundle: Path, report: VerifyReport) -> None:
    say = functools.partial(console.print, highlight=False, markup=False, soft_wrap=True)
    if report.ok:
        say(f"OK: {bundle}: {report.records} records, {report.events} history events, {report.files} files")
    else:
        say(f"FAILED: {bundle}")
    for finding in report.findings:
        say(f"  {finding.file}: {finding.reason}")
    say(f"key {report.fingerprint}")
    for caveat in report.caveats:
        say(caveat)
