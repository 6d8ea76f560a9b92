"""The embedded stack: Temporal, the sample company's simulators, all workers, on one machine.

Everything it needs to know is written into its folder as an ordinary installation would have it
(``leaver.toml``, policy, keys), so that every command works against it, and a restart continues.
"""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

from pydantic import SecretStr

from leaver.config import Config, load
from leaver.domain.words import Mode
from leaver.embedded.dev_server import DevServer, DevServerOptions, find_binary
from leaver.embedded.processes import LOOPBACK, ChildProcess, free_port, ready_line
from leaver.evidence.statements import new_person_key, person_key
from leaver.temporal.keyring import Keyring, parse_key

AdKind = Literal["auto", "samba", "standin"]

PEOPLE: Final[Mapping[str, tuple[str, ...]]] = {
    "E2001": ("approver",),
    "E2002": ("approver",),
    "E3001": ("approver", "operator", "security"),
}
"""Who of the sample company may speak to cases, in which roles."""

LOG_NAME: Final = "leaver/northwind"
"""The log's origin in the embedded stack."""

_PORTS: Final = ("temporal", "ui", "codec", "witness")
_READY: Final = 60.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the sample company is, and how often an effect is read. Seconds, and a factor on delays."""

    slow_down: float = 1.0
    sync_interval: float = 2.0
    read_back_interval: float = 1.0


@dataclass(frozen=True, slots=True)
class StackOptions:
    """Where and how. ``folder`` keeps all state; ``bundles`` may lie elsewhere."""

    folder: Path
    policy: Path
    bundles: Path
    mode: Mode = Mode.ENFORCE
    ad: AdKind = "auto"
    ui: bool = True
    pace: Pace = Pace()
    hr_list: Path | None = None
    """HR's list for the sealer's own count: a file, a folder or a pattern; JSON is BambooHR's, else CSV."""


@dataclass(slots=True)
class Stack:
    """A running stack. Parts may be killed and started again; the others find them by their old ports."""

    options: StackOptions
    temporal: DevServer
    systems: ChildProcess
    worker: ChildProcess
    config: Config
    addresses: dict[str, str] = field(default_factory=dict)

    @property
    def config_file(self) -> Path:
        """The configuration that every ``leaver`` command takes."""
        return self.options.folder / "leaver.toml"

    def person_key_file(self, number: str) -> Path:
        """The private key of one of the sample company's people."""
        return self.options.folder / "secrets" / f"person-{number}.pem"

    async def restart_worker(self) -> None:
        """Start the workers anew; the old process must be gone."""
        self.worker = await _start_worker(self.options.folder)

    async def restart_systems(self) -> None:
        """Start the sample company anew; the old process must be gone. It answers where it answered."""
        self.systems, _ = await _start_systems(self.options)


@asynccontextmanager
async def running_stack(options: StackOptions) -> AsyncIterator[Stack]:
    """Run everything while the block runs. Opens sockets on 127.0.0.1 only.

    Raises:
        ChildError: a part did not come up; the text quotes its log.
        DevServerMissingError: the package with Temporal's binary is not installed.
    """
    find_binary()  # without the extra "embedded" nothing below can work: say so before anything is made
    options = replace(options, folder=options.folder.resolve(), bundles=options.bundles.resolve())
    folder = options.folder
    for private in ("secrets", "logs"):  # the simulators' log tells their credentials
        (folder / private).mkdir(parents=True, exist_ok=True, mode=0o700)
    ports = _kept_ports(folder)
    _make_secrets(folder)
    async with AsyncExitStack() as stack:
        codec_url = await stack.enter_async_context(_codec(folder, ports)) if options.ui else ""
        temporal = await DevServer.start(
            DevServerOptions(
                db_file=folder / "temporal.db",
                log_file=folder / "logs" / "temporal.log",
                port=ports["temporal"],
                ui_port=ports["ui"],
                ui=options.ui,
                codec_url=codec_url,
            )
        )
        stack.push_async_callback(temporal.stop)
        systems, addresses = await _start_systems(options)
        stack.push_async_callback(systems.stop)
        witness = await stack.enter_async_context(_witness(folder, ports))
        _write_config(options, temporal.address, addresses, witness)
        worker = await _start_worker(folder)
        config = load(folder / "leaver.toml")
        running = Stack(options, temporal, systems, worker, config, addresses)
        stack.push_async_callback(_stop_parts, running)
        yield running


def _company_arguments(options: StackOptions) -> list[str]:
    pace = options.pace
    words = ["--dir", str(options.folder), "--ad", options.ad, "--slow-down", f"{pace.slow_down:g}"]
    return [*words, "--sync-interval", f"{pace.sync_interval:g}"]


def _company(line: str) -> dict[str, str] | None:
    """Read the line in which the simulators tell their addresses; else None."""
    try:
        said = json.loads(line) if line.startswith("{") else {}
    except ValueError:
        return None
    if not isinstance(said, dict) or "m365" not in said:
        return None
    found = {name: str(value) for name, value in said["m365"].items()}
    found |= {f"tsa_{name}": str(value) for name, value in (said["tsa"] or {}).items()}
    return found | {f"ad_{name}": str(value) for name, value in said["ad"].items()}


async def _stop_parts(stack: Stack) -> None:
    # Asked for late: they may have been replaced meanwhile.
    await stack.worker.stop()
    await stack.systems.stop()


async def _start_systems(options: StackOptions) -> tuple[ChildProcess, dict[str, str]]:
    systems = ChildProcess.python(
        "leaver.simulators",
        _company_arguments(options),
        name="simulators",
        log_file=options.folder / "logs" / "simulators.log",
    )
    try:
        return systems, await systems.wait_for(_company, timeout=_READY)
    except BaseException:
        await systems.stop(grace=1.0)
        raise


async def _start_worker(folder: Path) -> ChildProcess:
    worker = ChildProcess.python(
        "workers",
        ["all", "--config", str(folder / "leaver.toml")],
        name="workers",
        log_file=folder / "logs" / "workers.log",
    )
    try:
        await worker.wait_for(ready_line, timeout=_READY)
    except BaseException:
        await worker.stop(grace=1.0)
        raise
    return worker


@asynccontextmanager
async def _codec(folder: Path, ports: dict[str, int]) -> AsyncIterator[str]:
    """The codec server, with which the Temporal UI shows payloads in clear to somebody on this machine."""
    # The extra "embedded": the command line is loaded without it.
    from leaver.temporal.codec_server import CodecServerOptions, codec_app, serving  # noqa: PLC0415

    key = SecretStr((folder / "secrets" / "payload.key").read_text())
    options = CodecServerOptions(
        namespaces=frozenset({"default"}), ui_origins=(f"http://{LOOPBACK}:{ports['ui']}",)
    )
    app = codec_app(Keyring("embedded", {"embedded": parse_key(key)}), options)
    async with serving(app, port=ports["codec"]) as url:
        yield url


@asynccontextmanager
async def _witness(folder: Path, ports: dict[str, int]) -> AsyncIterator[tuple[str, str]]:
    """A witness as an outsider would run it, with a key of its own; yields its address and verifier key."""
    from leaver.evidence.anchors.witness import Witness  # noqa: PLC0415
    from leaver.evidence.anchors.witness_app import witness_app  # noqa: PLC0415
    from leaver.evidence.keys.files import FileLogSigner  # noqa: PLC0415
    from leaver.evidence.log.notes import NoteVerifier  # noqa: PLC0415
    from leaver.temporal.codec_server import serving  # noqa: PLC0415

    witness = Witness.create(folder / "witness", f"{LOG_NAME}-witness")
    log_key = FileLogSigner(folder / "secrets" / "evidence-log.pem", LOG_NAME)
    witness.state.follow(NoteVerifier.from_vkey(log_key.vkey))
    async with serving(witness_app(witness), port=ports["witness"]) as url:
        yield url, witness.verifier.vkey


def _kept_ports(folder: Path) -> dict[str, int]:
    """Ports stay the same over restarts, so that bookmarks and half-open clients find the parts again."""
    file = folder / "ports.json"
    if file.exists():
        with contextlib.suppress(ValueError, KeyError):
            kept = json.loads(file.read_text())
            return {name: int(kept[name]) for name in _PORTS}
    ports = {name: free_port() for name in _PORTS}
    file.write_text(json.dumps(ports))
    return ports


def _make_secrets(folder: Path) -> None:
    """Keys of this installation, made once."""
    _once(folder / "secrets" / "payload.key", "base64:" + base64.b64encode(secrets.token_bytes(32)).decode())
    _once(folder / "secrets" / "case-id.key", secrets.token_urlsafe(32))
    entries = []
    for number, roles in PEOPLE.items():
        file = folder / "secrets" / f"person-{number}.pem"
        key = person_key(file) if file.exists() else new_person_key(file)
        entries.append(
            "[[people]]\n"
            f'subject = "{number}"\nkey_id = "{key.key_id}"\npublic_key = "{key.public_key}"\n'
            f"roles = {json.dumps(list(roles))}\n"
        )
    (folder / "people.toml").write_text("\n".join(entries))


def _once(file: Path, value: str) -> None:
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(value)


def _write_config(
    options: StackOptions, temporal: str, found: Mapping[str, str], witness: tuple[str, str]
) -> None:
    folder = options.folder
    secret = folder / "secrets" / "microsoft-client-secret"
    _replace_secret(secret, found["client_secret"])
    password = folder / "secrets" / "ad-password"
    _replace_secret(password, found["ad_bind_password"])
    text = f"""# Written by the embedded stack. An installation of your own has the same sections.
mode = {_quoted(options.mode.value)}
policy = {_quoted(options.policy.resolve())}
case_id_key = "file:secrets/case-id.key"

[temporal]
address = {_quoted(temporal)}

[encryption]
current = "embedded"
keys = {{ embedded = "file:secrets/payload.key" }}

[microsoft]
tenant_id = {_quoted(found["tenant_id"])}
client_id = {_quoted(found["client_id"])}
client_secret = "file:secrets/microsoft-client-secret"
certificate_file = {_quoted(found["certificate_bundle_file"])}
authority = {_quoted(found["login_url"])}
graph_url = {_quoted(found["graph_url"])}
exchange_url = {_quoted(found["exchange_url"])}
sharepoint_hosts = ["127.0.0.1"]
ca_file = {_quoted(found["ca_file"])}

[ad]
servers = [{_quoted(found["ad_url"])}]
base_dn = {_quoted(found["ad_base_dn"])}
bind_dn = {_quoted(found["ad_bind_dn"])}
password = "file:secrets/ad-password"
ca_file = {_quoted(found["ad_ca_file"])}

[evidence]
ledger = "ledger.db"
bundles = {_quoted(options.bundles.resolve())}
published = "published"
signing_key = "secrets/evidence-signing.pem"
log_key = "secrets/evidence-log.pem"
log_name = {_quoted(LOG_NAME)}
history_seconds = 5
people = "people.toml"
{_timestamp(found)}
[[evidence.witnesses]]  # on this machine: it shows how it works and proves nothing against its operator
url = {_quoted(witness[0])}
vkey = {_quoted(witness[1])}
{_population(options.hr_list)}
[hr]
tenant = "northwind"
source_kind = "csv"

[read_back]
interval_seconds = {options.pace.read_back_interval}
"""
    (folder / "leaver.toml").write_text(text)


def _timestamp(found: Mapping[str, str]) -> str:
    if "tsa_url" not in found:
        return ""
    return f"""
[evidence.timestamp]  # on this machine as well
url = {_quoted(found["tsa_url"])}
ca_file = {_quoted(found["tsa_ca_file"])}
name = "local timestamp authority"
"""


def _population(hr_list: Path | None) -> str:
    if hr_list is None:
        return ""
    kind = "bamboohr" if hr_list.suffix == ".json" else "csv"
    return f"""
[evidence.population]
files = {_quoted(hr_list.resolve())}
kind = "{kind}"
"""


def _replace_secret(file: Path, value: str) -> None:
    if not file.exists():
        file.touch(mode=0o600)
    file.write_text(value)


def _quoted(value: object) -> str:
    """A TOML basic string; JSON's escapes are TOML's."""
    return json.dumps(str(value), ensure_ascii=False)
