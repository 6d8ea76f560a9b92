"""What every command shares: exit codes, one clear message, JSON for machines."""

from __future__ import annotations

import asyncio
import functools
import json
import sys
import unicodedata
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn, ParamSpec, TypeVar

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.text import Text
from temporalio.client import Client

from leaver.client.cases import CaseError, Cases, NotACaseIdError
from leaver.config import Config, ConfigError, load
from leaver.evidence.errors import EvidenceError, KeyFileError
from leaver.hr.model import IngestError
from leaver.temporal.connect import TemporalUnreachableError, connect

NO: Final = 1
"""The answer is no: verification failed, exceptions open, refused."""
BAD_INPUT: Final = 2
"""Bad input or configuration; nothing was changed."""

P = ParamSpec("P")
T = TypeVar("T")

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="leaver.toml (default: $LEAVER_CONFIG, ./leaver.toml).")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output on standard output.")]

_ESCAPED: Final = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def visible(text: str, keep: str = "") -> str:
    """The text with every character that a terminal would act upon spelt out: the escape by its number.

    File names and records' texts are somebody else's: they must not clear the screen, write over what was
    said before, add lines of their own or turn the direction of writing.

    Args:
        text: what is to be shown.
        keep: control characters that stay, such as line breaks.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        ascii(each)[1:-1] if each not in keep and unicodedata.category(each) in _ESCAPED else each
        for each in text
    )


class SafeConsole(Console):
    """A console that shows no text's control characters to the terminal; styles are rich's own."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Every string that is printed, in a table or not, comes through here."""
        return super().render_str(visible(text, keep="\n\t"), **options)


console = SafeConsole()
errors = SafeConsole(stderr=True)


def fail(message: str, code: int) -> NoReturn:
    """Say why on standard error and leave with this code."""
    errors.print(f"[red]error:[/red] {_plain(message)}", highlight=False, soft_wrap=True)
    raise typer.Exit(code)


def _plain(text: str) -> str:
    return text.replace("[", r"\[")


def command(function: Callable[P, T]) -> Callable[P, T]:
    """Turn the errors that users can do something about into one message and an exit code."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except (ConfigError, IngestError, KeyFileError, NotACaseIdError, TemporalUnreachableError) as err:
            fail(str(err), BAD_INPUT)
        except (CaseError, EvidenceError) as err:
            fail(str(err), NO)

    return wrapped


def print_json(value: BaseModel | dict[str, Any] | list[Any]) -> None:
    """One JSON document on standard output."""
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    told = json.dumps(plain, indent=2, ensure_ascii=False)
    sys.stdout.write("".join(map(_in_json, told)) + "\n")


def _in_json(character: str) -> str:
    """What JSON allows as it is and a terminal acts upon: 0x7f and beyond, directions, lone surrogates."""
    if character == "\n" or unicodedata.category(character) not in _ESCAPED:
        return character
    return "\\u007f" if character == "\x7f" else json.dumps(character)[1:-1]


def with_client(config_file: Path | None, work: Callable[[Client, Config], Coroutine[Any, Any, T]]) -> T:
    """Load the configuration, connect to Temporal and run ``work``."""
    config = load(config_file)
    keyring = config.keyring()

    async def connected() -> T:
        return await work(await connect(config.temporal(identity="leaver-cli"), keyring), config)

    return asyncio.run(connected())


def with_cases(config_file: Path | None, work: Callable[[Cases, Config], Coroutine[Any, Any, T]]) -> T:
    """As ``with_client``, with the cases of the installation."""
    id_key = load(config_file).case_id_key()  # what is wrong with it is said before anybody is asked

    async def connected(client: Client, config: Config) -> T:
        return await work(Cases(client, id_key), config)

    return with_client(config_file, connected)
