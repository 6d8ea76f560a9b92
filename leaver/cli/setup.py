"""``leaver config`` and ``leaver key``: is everything in place, who may speak."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from leaver.cli import preflight
from leaver.cli.output import BAD_INPUT, ConfigOption, JsonOption, command, console, print_json
from leaver.config import Config, ConfigError, load
from leaver.domain.words import Mode
from leaver.evidence.errors import PeopleFileError
from leaver.evidence.people import Role, load_people
from leaver.evidence.statements import new_person_key

config_app = typer.Typer(no_args_is_help=True, help="Check the configuration.")
key_app = typer.Typer(no_args_is_help=True, help="Keys of people who approve and operate.")


@config_app.command("check")
@command
def check(
    config: ConfigOption = None,
    *,
    offline: Annotated[
        bool, typer.Option("--offline", help="Check the files only, connect nowhere.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Read every setting, policy and secret, then sign in everywhere; list every problem at once."""
    loaded = load(config)
    problems = [problem for part in _parts(loaded) for problem in part]
    if not offline and not problems:
        problems += asyncio.run(preflight.problems(loaded))
    if as_json:
        print_json({"ok": not problems, "mode": loaded.settings.mode.value, "problems": problems})
    else:
        for problem in problems:
            console.print(f"[red]problem:[/red] {problem}", highlight=False)
        mode = loaded.settings.mode
        writes = "writes are on" if mode is Mode.ENFORCE else "nothing will be written"
        console.print(f"mode {mode.value}: {writes}")
        console.print("the configuration is sound" if not problems else f"{len(problems)} problem(s)")
    if problems:
        raise typer.Exit(BAD_INPUT)


def _parts(config: Config) -> list[list[str]]:
    settings = config.settings
    needed = [config.case_id_key, config.keyring, config.temporal, config.policy]
    if settings.microsoft is not None:
        needed += [config.entra, config.exchange, config.onedrive]
    if settings.ad is not None:
        needed.append(config.ad)
    found: list[list[str]] = []
    for part in needed:
        try:
            part()
        except ConfigError as err:
            if err.problems not in found:
                found.append(err.problems)
    try:
        load_people(config.path(settings.evidence.people))
    except PeopleFileError as err:
        found.append([f"evidence.people: {err}"])
    return found


@key_app.command("new")
@command
def new(
    subject: Annotated[str, typer.Argument(help="The person's HR worker id.")],
    file: Annotated[Path, typer.Option("-o", "--output", help="Where the private key goes; must be new.")],
    role: Annotated[list[Role], typer.Option("--role", help="What the person may do; repeat for several.")],
) -> None:
    """Make a person's signing key and print the entry for the registry of people."""
    key = new_person_key(file)
    roles = ", ".join(f'"{each.value}"' for each in role)
    console.print(
        f'[[people]]\nsubject = "{subject}"\nkey_id = "{key.key_id}"\npublic_key = "{key.public_key}"\n'
        f"roles = [{roles}]",
        markup=False,
        highlight=False,
    )
