"""``leaver evidence``: the log, its keys and who holds it from outside."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from leaver.cli.output import BAD_INPUT, NO, ConfigOption, JsonOption, command, console, fail, print_json
from leaver.config import Config, load
from leaver.config_anchors import open_keys, outside
from leaver.evidence.anchors.book import SealStatus, seal_status
from leaver.evidence.anchors.witness_client import add_cosignature
from leaver.evidence.keys.handout import handout, log_keys
from leaver.evidence.keys.in_force import rotate_key
from leaver.evidence.keys.kms import KmsOptions
from leaver.evidence.keys.references import KMS, open_log_signer, open_signer
from leaver.evidence.keys.rotation import KeyHolder, KeyUse, RotationCause
from leaver.evidence.ledger.guards import postgres_setup
from leaver.evidence.ledger.store import Ledger

_say = functools.partial(console.print, highlight=False, markup=False, soft_wrap=True)


@command
def status(config: ConfigOption = None, *, as_json: JsonOption = False) -> None:
    """How far the log is signed and who holds it. Exit code 1 when an anchor is missing something."""
    loaded = load(config)
    with _reading(loaded) as ledger:
        found = seal_status(ledger, outside(loaded).wanted)
    if as_json:
        print_json(_status_json(loaded.log_name(), found))
    else:
        _print_status(loaded.log_name(), found)
    if found.troubles or found.pending:
        raise typer.Exit(NO)


@command
def check(config: ConfigOption = None, *, as_json: JsonOption = False) -> None:
    """Recompute the whole ledger from its records. Exit code 1 when anything is not what was signed."""
    loaded = load(config)
    with _reading(loaded) as ledger:
        vkeys = _log_keys(loaded, ledger)
        size, damages = ledger.size(), ledger.check(log_keys=vkeys)
    if as_json:
        rows = [{"kind": each.kind.value, "place": each.place, "text": each.text} for each in damages]
        print_json({"ok": not damages, "records": size, "signatures": bool(vkeys), "findings": rows})
    else:
        _say(f"{'FAILED' if damages else 'OK'}: {size} records")
        if not vkeys:
            _say("the log key is not on this machine: the signatures of the checkpoints were not checked")
        for each in damages:
            _say(f"  {each.place}: {each.text}")
    if damages:
        raise typer.Exit(NO)


@command
def keys(
    config: ConfigOption = None,
    *,
    target: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="A new folder for the keys, for --trust."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """The public keys, former ones included: hand them to auditors by another path than the evidence."""
    loaded = load(config)
    own, around = open_keys(loaded), outside(loaded)
    with _reading(loaded) as ledger:
        given = handout(ledger, own.log, own.bundles)
    files = {
        **given.files(),
        "tsa-ca.pem": b"".join(each.ca_pem.strip() + b"\n" for each in around.timestamps),
        "witnesses.vkeys": "".join(f"{each.vkey}\n" for each in around.witnesses).encode(),
    }
    if target is not None:
        _write_folder(target, {name: content for name, content in files.items() if content})
    if as_json:
        shown = {"log": list(given.log), "fingerprints": list(given.fingerprints)}
        print_json({**shown, "folder": str(target) if target else None})
        return
    for vkey in given.log:
        _say(f"log key       {vkey}")
    for fingerprint in given.fingerprints:
        _say(f"bundle key    {fingerprint}  (SHA-256 of its DER form)")
    if target is not None:
        _say(f"written to {target}; use it with: leaver evidence verify BUNDLE --trust {target}")


@command
def rotate(
    use: Annotated[KeyUse, typer.Argument(help="Which key: log or bundle.")],
    new: Annotated[str, typer.Argument(help="The new key: a file, made when missing, or kms:KEY.")],
    cause: Annotated[RotationCause, typer.Option("--cause", help="Why it is changed.")],
    config: ConfigOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Put another key in force, cross-signed by the old one. Stop the evidence worker before."""
    loaded = load(config)
    section, name = loaded.settings.evidence, loaded.log_name()
    kms = KmsOptions(region=section.kms.region, endpoint_url=section.kms.endpoint_url)
    present = section.log_key if use is KeyUse.LOG else section.signing_key
    if not present.startswith(KMS) and not (loaded.folder / present).is_file():
        fail(f"{present}: there is no key yet that could be replaced", BAD_INPUT)

    def holder(reference: str) -> KeyHolder:
        if use is KeyUse.LOG:
            return KeyHolder.of_log(open_log_signer(reference, name, folder=loaded.folder, kms=kms))
        return KeyHolder.of_bundles(open_signer(reference, folder=loaded.folder, kms=kms), name)

    with Ledger.open(loaded.ledger()) as ledger:
        done = rotate_key(ledger, holder(present), holder(new), at=datetime.now(UTC), cause=cause)
    setting = "evidence.log_key" if use is KeyUse.LOG else "evidence.signing_key"
    if as_json:
        print_json({"record": done.seq, "key": use.value, "new": done.rotation.new, "setting": setting})
        return
    _say(f"record {done.seq}: the new {use.value} key is in force")
    _say(f'now set {setting} = "{new}" and start the evidence worker')
    _say("hand the new key to auditors and witnesses: leaver evidence keys")


@command
def cosign(
    size: Annotated[int, typer.Argument(min=1, help="The size of the checkpoint.")],
    file: Annotated[Path, typer.Argument(help="The witness's cosignature, as it came.")],
    config: ConfigOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Take in a cosignature that a witness sent by hand. Only configured witnesses count."""
    loaded = load(config)
    if not file.is_file():
        fail(f"{file}: no such file", BAD_INPUT)
    vkeys = [each.vkey for each in loaded.settings.evidence.witnesses]
    with Ledger.open(loaded.ledger()) as ledger:
        name = add_cosignature(ledger, size, file.read_text("utf-8"), vkeys, datetime.now(UTC))
    if as_json:
        print_json({"size": size, "witness": name})
    else:
        _say(f"checkpoint {size} is cosigned by {name}")


def _log_keys(config: Config, ledger: Ledger) -> tuple[str, ...]:
    """All verifier keys of the log; none where its key is not on this machine. Makes no key."""
    section, reference = config.settings.evidence, config.settings.evidence.log_key
    if not reference.startswith(KMS) and not (config.folder / reference).is_file():
        return ()
    kms = KmsOptions(region=section.kms.region, endpoint_url=section.kms.endpoint_url)
    return log_keys(ledger, open_log_signer(reference, config.log_name(), folder=config.folder, kms=kms))


@command
def schema(
    sealer: Annotated[str, typer.Option("--sealer", help="The database role of the evidence worker.")],
    reader: Annotated[
        str | None, typer.Option("--reader", help="A role that may only read, for reports.")
    ] = None,
) -> None:
    """Print the SQL that makes a ledger in PostgreSQL, with the least rights. Changes nothing."""
    typer.echo(postgres_setup(sealer, reader))


@contextmanager
def _reading(config: Config) -> Iterator[Ledger]:
    with Ledger.open(config.ledger(), read_only=True) as ledger:
        yield ledger


def _print_status(name: str, found: SealStatus) -> None:
    signed = (
        f"{found.size} records, signed {found.at:%Y-%m-%d %H:%M:%S} UTC" if found.at else "nothing signed yet"
    )
    _say(f"log {name}: {signed}; {found.unsealed} records since")
    table = Table("anchor", "kind", "outside", "holds up to", "missing", "trouble", box=None, pad_edge=False)
    for each in found.anchors:
        table.add_row(
            each.name,
            each.kind.value,
            "yes" if each.independent else "no",
            str(each.anchored_up_to),
            str(each.pending),
            each.trouble,
        )
    console.print(table, highlight=False, markup=False)
    if not found.independent:
        console.print(
            "no outside anchor: whoever holds the log key could have made another log",
            style="bold red",
            highlight=False,
        )


def _status_json(name: str, found: SealStatus) -> dict[str, object]:
    return {
        "log": name,
        "size": found.size,
        "root": found.root.hex(),
        "signed_at": found.at.isoformat() if found.at else None,
        "unsealed": found.unsealed,
        "independent_up_to": found.independent_up_to,
        "anchors": [
            {
                "name": each.name,
                "kind": each.kind.value,
                "independent": each.independent,
                "anchored_up_to": each.anchored_up_to,
                "pending": each.pending,
                "trouble": each.trouble,
            }
            for each in found.anchors
        ],
    }


def _write_folder(target: Path, files: dict[str, bytes]) -> None:
    if target.exists():
        fail(f"{target}: exists already; name a new folder", BAD_INPUT)
    try:
        target.mkdir(parents=True)
        for name, content in files.items():
            (target / name).write_bytes(content)
    except OSError as err:
        fail(f"{target}: cannot be written: {err.strerror}", BAD_INPUT)
