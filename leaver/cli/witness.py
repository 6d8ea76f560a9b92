"""``leaver evidence witness``: for outsiders who cosign a log, on their own machine, with their own key."""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import signal
from pathlib import Path
from typing import Annotated, Final

import typer
from pydantic import BaseModel

from leaver.cli.output import BAD_INPUT, JsonOption, command, console, fail, print_json
from leaver.evidence.anchors.witness import Witness
from leaver.evidence.anchors.witness_folder import sign_folder
from leaver.evidence.errors import NoteError
from leaver.evidence.log.notes import NoteVerifier

app = typer.Typer(
    no_args_is_help=True,
    help="Cosign a log's checkpoints as an outsider: with a key of your own, on a machine of your own.",
)

FolderArgument = Annotated[Path, typer.Argument(help="The witness's own folder: its key and its memory.")]
PORT: Final = 8477

_say = functools.partial(console.print, highlight=False, markup=False, soft_wrap=True)


class LogView(BaseModel):
    """A log that the witness follows."""

    origin: str
    vkeys: list[str]
    size: int
    root: str


class WitnessView(BaseModel):
    """The witness, for machines."""

    name: str
    vkey: str
    logs: list[LogView]
    refused: list[str]


class SignedView(BaseModel):
    """A cosignature, for machines."""

    origin: str
    size: int
    root: str
    cosignature: str


@app.command("init")
@command
def init(
    folder: FolderArgument,
    name: Annotated[
        str, typer.Option("--name", help="How cosignatures call you, e.g. example.com/audit-witness.")
    ] = "",
    log: Annotated[
        list[str] | None,
        typer.Option(
            "--log",
            help="A log's verifier key, or a file with it, as you got it from its operator by another way "
            "than the checkpoints. May be given again for a new key.",
        ),
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Make the witness's key, and name the logs it follows. Run again to follow a further log."""
    try:
        verifiers = [_log_key(text) for text in log or []]
        witness = Witness.create(folder, name) if name else _opened(folder)
    except NoteError as err:
        fail(str(err), BAD_INPUT)
    for verifier in verifiers:
        witness.state.follow(verifier)
    _show(witness, as_json=as_json)


@app.command("show")
@command
def show(folder: FolderArgument, *, as_json: JsonOption = False) -> None:
    """Print the witness's verifier key, and how far it has cosigned each log."""
    _show(_opened(folder), as_json=as_json)


@app.command("sign")
@command
def sign(
    folder: FolderArgument,
    published: Annotated[Path, typer.Argument(help="The published folder that you were handed.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the cosignature to this file as well.")
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Cosign the newest checkpoint of a published folder. Exit code 1: it does not continue the last one."""
    witness = _opened(folder)
    if not published.is_dir():
        fail(f"{published}: no such folder", BAD_INPUT)
    if output is not None and output.exists():
        fail(f"{output}: exists already; name a new file", BAD_INPUT)
    cosigned = sign_folder(witness, published)
    if output is not None:
        output.write_text(cosigned.line, encoding="utf-8")
    found = cosigned.checkpoint
    if as_json:
        print_json(
            SignedView(
                origin=found.origin, size=found.size, root=found.root.hex(), cosignature=cosigned.line.strip()
            )
        )
    else:
        _say(f"{found.origin}: size {found.size}, root {found.root.hex()}")
        _say(cosigned.line, end="")


@app.command("serve")
@command
def serve(
    folder: FolderArgument,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; put TLS in front of any but this machine's.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 for any.")] = PORT,
) -> None:
    """Answer the log's own requests over HTTP (c2sp.org/tlog-witness) until interrupted."""
    witness = _opened(folder)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        fail(f"--host {host}: not an address; 0.0.0.0 for every one of this machine", BAD_INPUT)
    try:
        # The extra "embedded": init, sign and show do without it.
        from leaver.evidence.anchors.witness_app import witness_app  # noqa: PLC0415
        from leaver.temporal.codec_server import serving  # noqa: PLC0415
    except ImportError:
        fail("serving needs the extra 'embedded': pip install 'leaver[embedded]'", BAD_INPUT)

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with serving(witness_app(witness), host=host, port=port) as url:
            _say(f"witness {witness.verifier.name} at {url} (POST {url}/add-checkpoint)")
            await stop.wait()

    try:
        asyncio.run(run())
    except OSError as err:
        fail(f"{host}:{port}: cannot listen: {err.strerror}", BAD_INPUT)


def _opened(folder: Path) -> Witness:
    if not folder.is_dir():
        fail(
            f"{folder}: no witness there; make one with: leaver evidence witness init FOLDER --name NAME",
            BAD_INPUT,
        )
    return Witness(folder)


def _log_key(text: str) -> NoteVerifier:
    file = Path(text)
    if "+" not in text and not file.is_file():
        fail(f"{text}: neither a verifier key (name+hash+base64) nor a file with one", BAD_INPUT)
    return NoteVerifier.from_vkey(file.read_text("utf-8") if "+" not in text else text)


def _show(witness: Witness, *, as_json: bool) -> None:
    logs = [
        LogView(
            origin=known.origin,
            vkeys=[verifier.vkey for verifier in known.verifiers],
            size=known.size,
            root=known.checkpoint.root.hex() if known.checkpoint else "",
        )
        for known in witness.state.logs()
    ]
    refused = [str(file) for file in witness.state.refused()]
    if as_json:
        print_json(
            WitnessView(name=witness.verifier.name, vkey=witness.verifier.vkey, logs=logs, refused=refused)
        )
        return
    _say(f"witness {witness.verifier.name}")
    _say(f"verifier key, for the log's operator and for auditors: {witness.verifier.vkey}")
    for log in logs:
        reached = f"cosigned up to size {log.size}, root {log.root}" if log.root else "nothing cosigned yet"
        _say(f"follows {log.origin}: {reached}")
    if not logs:
        _say("follows no log yet: leaver evidence witness init FOLDER --log VKEY")
    for file in refused:
        _say(f"refused, and kept as proof: {file}")
