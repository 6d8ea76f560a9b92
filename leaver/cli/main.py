"""The ``leaver`` command."""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated

import typer

import leaver
from leaver.cli import case, completeness, evidence, hr, report, sealing, setup, stack, witness

app = typer.Typer(
    name="leaver",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Remove a departing person's access everywhere, promptly, and prove it.",
    epilog="Exit codes: 0 done, 1 the answer is no, 2 bad input or configuration and nothing changed.",
)
app.add_typer(hr.app, name="hr")
app.add_typer(case.app, name="case")
app.add_typer(evidence.app, name="evidence")
evidence.app.command("status")(sealing.status)
evidence.app.command("check")(sealing.check)
evidence.app.command("schema")(sealing.schema)
evidence.app.command("keys")(sealing.keys)
evidence.app.command("rotate-key")(sealing.rotate)
evidence.app.command("cosign")(sealing.cosign)
evidence.app.command("completeness")(completeness.completeness)
evidence.app.command("exclude")(completeness.exclude)
evidence.app.command("erase")(completeness.erase)
evidence.app.add_typer(completeness.population_app, name="population")
evidence.app.add_typer(witness.app, name="witness")
app.add_typer(report.app, name="report")
app.add_typer(setup.config_app, name="config")
app.add_typer(setup.key_app, name="key")
app.command("dev")(stack.dev)
app.command("demo")(stack.demo)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"leaver {leaver.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version
    # Commands say what is wrong in one message of their own; SDKs' log lines would only repeat it.
    logging.getLogger().addHandler(logging.NullHandler())


def run() -> None:
    """Entry point. Leaves hard: Temporal's SDK may crash while the interpreter is torn down."""
    try:
        app(standalone_mode=True)
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:  # noqa: BLE001 - the last frame of the program
        sys.excepthook(*sys.exc_info())
        code = 70
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    run()
