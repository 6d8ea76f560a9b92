"""Child processes of the embedded stack: started, watched for readiness, logged to a file, ended by pid."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from leaver.embedded import launch

T = TypeVar("T")

LOOPBACK: Final = "127.0.0.1"
_POLL: Final = 0.02
_TAIL_LINES: Final = 15


class ChildError(Exception):
    """A child process did not start or died early; the text names its log file and quotes the end of it."""


class ChildProcess:
    """One supervised child process; stdout and stderr go to ``log_file`` (appended).

    Start it from a thread that lives as long as the child should: Linux counts the death of the starting
    *thread* as the parent's death (prctl(2)).

    Example:
        >>> child = ChildProcess.python("workers", ["all"], name="workers", log_file=Path("workers.log"))
        >>> ready = await child.wait_for(ready_line, timeout=20)
        >>> await child.stop()
    """

    def __init__(self, process: subprocess.Popen[bytes], name: str, log_file: Path, log_start: int) -> None:
        self._process = process
        self._log_start = log_start
        self.name = name
        self.log_file = log_file

    @classmethod
    def start(
        cls, command: Sequence[str], *, name: str, log_file: Path, env: Mapping[str, str] | None = None
    ) -> ChildProcess:
        """Start a program in its own session, to be ended with this process.

        Args:
            command: Absolute path of the program, and its arguments. Secrets do not belong here: every user
            of
                the machine can read another process's arguments.
            name: How messages call it.
            log_file: Where its output is appended; the folder is made where missing.
            env: Variables to add to (or replace in) this process's environment.

        Raises:
            ChildError: the program could not be started.
        """
        log_file.parent.mkdir(parents=True, exist_ok=True)
        launched = [sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), *command]
        with log_file.open("ab") as log:
            log_start = log.tell()
            try:
                process = subprocess.Popen(  # noqa: S603 - a list of arguments, no shell
                    launched,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **(env or {})},
                    start_new_session=True,
                )
            except OSError as err:
                raise ChildError(f"{name} could not be started: {err}") from err
        return cls(process, name, log_file, log_start)

    @classmethod
    def python(
        cls,
        module: str,
        arguments: Sequence[str] = (),
        *,
        name: str,
        log_file: Path,
        env: Mapping[str, str] | None = None,
    ) -> ChildProcess:
        """Start ``python -m module`` with this process's interpreter; see ``start``."""
        variables = {"PYTHONUNBUFFERED": "1", **(env or {})}
        return cls.start(
            [sys.executable, "-m", module, *arguments], name=name, log_file=log_file, env=variables
        )

    @property
    def pid(self) -> int:
        """The process id; stays the same from start to end."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: ended by that signal."""
        return self._process.poll()

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self.exit_code is None

    async def wait_for(self, match: Callable[[str], T | None], *, timeout: float) -> T:  # noqa: ASYNC109
        """Wait until a line of its output matches.

        Args:
            match: Called with each complete line written since the start; anything but None ends the wait.
            timeout: Seconds.

        Raises:
            ChildError: the process ended first, or the time is over (then it still runs: stop it).
        """
        lines = _LineReader(self.log_file, self._log_start)

        async def look() -> T:
            while True:
                alive = self.running  # before reading, so that the last words of a dying child are seen
                for line in lines.read():
                    if (found := match(line)) is not None:
                        return found
                if not alive:
                    raise ChildError(self._failure(f"ended with code {self.exit_code} before it was ready"))
                await asyncio.sleep(_POLL)

        try:
            return await asyncio.wait_for(look(), timeout)
        except TimeoutError:
            raise ChildError(self._failure(f"was not ready within {timeout:g} s")) from None

    async def stop(self, *, grace: float = 10.0) -> int:
        """Ask it to end (SIGTERM), kill it after ``grace`` seconds, and collect it.

        Returns:
            The exit code; negative: ended by that signal. Stopping twice is harmless.
        """
        self._signal(signal.SIGTERM)
        if not await self._ended_within(grace):
            self.kill()
        return self._process.wait()

    def kill(self) -> None:
        """End it at once (SIGKILL) and collect it, as a crash would."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    def failure(self, what: str) -> ChildError:
        """An error about this child that quotes the end of its log."""
        return ChildError(self._failure(what))

    def _failure(self, what: str) -> str:
        text = _LineReader(self.log_file, self._log_start).rest()
        tail = "\n".join(text.splitlines()[-_TAIL_LINES:])
        return f"{self.name} {what}; log: {self.log_file}\n{tail}".rstrip()

    def _signal(self, number: signal.Signals) -> None:
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _ended_within(self, seconds: float) -> bool:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while self.running:
            if loop.time() >= deadline:
                return False
            await asyncio.sleep(_POLL)
        return True


class _LineReader:
    """Complete lines of a file that another process appends to."""

    def __init__(self, path: Path, start: int) -> None:
        self._path = path
        self._at = start

    def read(self) -> list[str]:
        with self._path.open("rb") as file:
            file.seek(self._at)
            fresh = file.read()
        complete, newline, _ = fresh.rpartition(b"\n")
        self._at += len(complete) + len(newline)
        return complete.decode(errors="replace").splitlines() if newline else []

    def rest(self) -> str:
        with self._path.open("rb") as file:
            file.seek(self._at)
            return file.read().decode(errors="replace")


def ready_line(line: str) -> dict[str, str] | None:
    """Read a line such as ``{"ready": true, "url": "http://…"}``: the other members, as text; else None."""
    if not line.lstrip().startswith("{"):
        return None
    try:
        said = json.loads(line)
    except ValueError:
        return None
    if not isinstance(said, dict) or said.get("ready") is not True:
        return None
    return {str(name): str(value) for name, value in said.items() if name != "ready"}


def free_port(host: str = LOOPBACK) -> int:
    """A TCP port that is free now. Another process may take it before it is used: be ready to ask again."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
    return port
