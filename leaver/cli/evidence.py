"""``leaver evidence``: bundles out, verification by anybody."""

from __future__ import annotations

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
    visible,
    with_cases,
)
from leaver.client.cases import Cases
from leaver.config import Config, load
from leaver.evidence.bundle import BundleKind, bundle_name, consistency_proof, export_bundle
from leaver.evidence.errors import KeyFileError, TrustError
from leaver.evidence.ledger.model import Opening
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.log.checkpoint import parse_unverified
from leaver.evidence.verify import CLAIMED_ANCHOR, NO_ANCHOR, Trust, VerifyReport, load_trust, verify_bundle

app = typer.Typer(no_args_is_help=True, help="Export and verify evidence.")


@app.command("export")
@command
def export(  # noqa: PLR0913 - options of a command line
    case: Annotated[str, typer.Argument(help="The case id, c-….")],
    target: Annotated[Path, typer.Option("-o", "--output", help="The folder to write; must not exist yet.")],
    config: ConfigOption = None,
    *,
    watch: Annotated[
        bool, typer.Option("--watch", help="The bundle of the re-verification after the case.")
    ] = False,
    openings: Annotated[
        bool,
        typer.Option("--openings", help="Add the personal data that records commit to (reads the ledger)."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Copy a closed case's sealed bundle. Exit code 1 while it is not sealed."""
    if target.exists():
        fail(f"{target}: exists already; name a new folder", BAD_INPUT)

    async def work(cases: Cases, loaded: Config) -> tuple[str, Config]:
        return await cases.bundle(case), loaded

    name, loaded = with_cases(config, work)
    store = loaded.path(loaded.settings.evidence.bundles)
    if watch:
        name = bundle_name(BundleKind.WATCH, case)
    if not name or not (store / name).is_dir():
        fail(f"{case}: not sealed yet; 'leaver case show {case}' says what it waits for", NO)
    added = export_bundle(store / name, target, _openings(loaded, case) if openings else ())
    if as_json:
        print_json({"case": case, "bundle": str(target), "openings": added})
    else:
        console.print(f"{case}: {target}   (verify it with: python3 {target}/verify.py {target})")
        if openings:
            console.print(f"openings, which hold personal data: {added}")


def _openings(loaded: Config, case: str) -> tuple[Opening, ...]:
    with Ledger.open(loaded.ledger(), read_only=True) as ledger:
        return ledger.opening(case)


@app.command("consistency")
@command
def consistency(
    old: Annotated[int, typer.Argument(help="Size of the earlier checkpoint.")],
    new: Annotated[int, typer.Argument(help="Size of the later checkpoint.")],
    target: Annotated[Path, typer.Option("-o", "--output", help="The file to write; must not exist yet.")],
    config: ConfigOption = None,
) -> None:
    """Prove that the log of one checkpoint begins with that of another, for 'verify --consistency'."""
    with Ledger.open(load(config).ledger(), read_only=True) as ledger:
        signed = ledger.latest_checkpoint()
        if signed is None or not 0 < old <= new <= signed.size:
            size = signed.size if signed else 0
            fail(f"sizes: give two from 1 to {size}, the size of the newest checkpoint", BAD_INPUT)
        origin = parse_unverified(signed.note).checkpoint.origin
        proof = consistency_proof(ledger, origin, old, new)
    try:
        with target.open("xb") as file:
            file.write(proof)
    except OSError as err:
        fail(f"{target}: cannot be written: {err.strerror}", BAD_INPUT)
    console.print(f"{target}: the log of size {new} begins with that of size {old}")


@app.command("verify")
@command
def verify(
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.")],
    trust: Annotated[
        Path | None,
        typer.Option(
            "--trust",
            help="Folder of what you got by another way: signer.pem, log.vkey, tsa-ca.pem, witnesses.vkeys,"
            " and checkpoint, one that you kept.",
        ),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option("--key", help="The sealer's public key (PEM) as you got it by another way."),
    ] = None,
    joined_by: Annotated[
        Path | None,
        typer.Option("--consistency", help="The proof that joins the checkpoint you kept to the bundle's."),
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Check a bundle offline. Exit code 1 when anything was changed, dropped or added."""
    if not bundle.is_dir():
        fail(f"{bundle}: no such folder", BAD_INPUT)
    try:
        proof = _read(joined_by) if joined_by else None
        report = verify_bundle(bundle, _trust(trust, key), consistency=proof)
    except (TrustError, KeyFileError) as err:
        fail(str(err), BAD_INPUT)
    if as_json:
        print_json(report.plain())
    else:
        print_verified(bundle, report)
    if not report.ok:
        raise typer.Exit(NO)


def _trust(folder: Path | None, key: Path | None) -> Trust:
    if folder is not None:
        return load_trust(folder, key=key)
    return Trust(signer=_read(key) if key else None)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as err:
        fail(f"{path}: cannot be read: {err.strerror}", BAD_INPUT)


def print_verified(bundle: Path, report: VerifyReport) -> None:
    """Say what the check of a bundle found."""

    def say(text: str, style: str | None = None) -> None:
        # A line break in a file's name must not begin a line of its own: it could say OK.
        console.print(visible(text), style=style, highlight=False, markup=False, soft_wrap=True)

    if report.ok:
        say(f"OK: {bundle}: {report.records} records, {report.events} history events, {report.files} files")
        say(report.claim)
    else:
        say(f"FAILED: {bundle}")
    for finding in report.findings:
        say(f"  {finding.file}: {finding.reason}")
    for note in report.notes:
        say(note)
    say(f"key {report.fingerprint}")
    for caveat in report.caveats:
        say(caveat, style="bold red" if caveat in (NO_ANCHOR, CLAIMED_ANCHOR) else None)
