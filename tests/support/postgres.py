"""A real PostgreSQL server for tests: its own data folder, a unix socket, no network, ended by its pid."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path

import pg8000.dbapi
import pytest

from tests.support.certificates import ServerCertificate

DEBIAN = Path("/usr/lib/postgresql")
PORT = 5432
STARTING_SECONDS = 30.0


def programs() -> Path | None:
    """The folder with ``initdb`` and ``postgres``, the newest version where Debian has several."""
    for found in sorted(DEBIAN.glob("*/bin/initdb"), reverse=True):
        return found.parent
    path = shutil.which("initdb")
    return Path(path).resolve().parent if path else None


class PostgresServer:
    """Starts, ends and kills one server. PostgreSQL refuses to run as root, so root hands it to another."""

    def __init__(self, folder: Path, bin_folder: Path, certificate: ServerCertificate | None = None) -> None:
        self.folder = folder
        self.data = folder / "data"
        self._bin = bin_folder
        self._process: subprocess.Popen[bytes] | None = None
        self._names = (f"ledger_{number}" for number in count())
        self._owner = pwd.getpwnam("postgres").pw_uid if os.getuid() == 0 else None
        if self._owner is not None:
            os.chown(folder, self._owner, -1)
        # What a crash of the machine loses is not tested here, so nothing is forced to the disk.
        self.tcp_port = free_port() if certificate else 0
        self._certificate = certificate
        self.socket = folder / f".s.PGSQL.{self.tcp_port or PORT}"
        self._run("initdb", "-D", str(self.data), "-U", "owner", "-A", "trust", "-E", "UTF8", "--no-sync")

    def start(self) -> None:
        """Start and wait until it answers; again and again, as a server's supervisor would."""
        until = time.monotonic() + STARTING_SECONDS
        while True:
            if self._process is None or self._process.poll() is not None:
                self._process = self._spawn()
            try:
                self.run("SELECT 1", database="postgres")
            except (pg8000.dbapi.Error, OSError):
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """End it at once, in order."""
        self._end(signal.SIGQUIT)

    def kill(self) -> None:
        """``kill -9`` of the postmaster; its children end when they notice."""
        self._end(signal.SIGKILL)

    def database(self, template: str = "template0") -> str:
        """A new database, empty or a copy of another one that nobody is connected to; its name."""
        name = next(self._names)
        self.run(f"CREATE DATABASE {name} TEMPLATE {template}", database="postgres")
        return name

    def url(self, database: str, user: str = "owner") -> str:
        """What a ledger opens."""
        return f"postgresql+pg8000://{user}@/{database}?unix_sock={self.socket}"

    def connect(self, database: str, user: str = "owner") -> pg8000.dbapi.Connection:
        """A plain connection, outside all of our code; every statement is its own transaction."""
        connection = pg8000.dbapi.connect(
            user=user, database=database, unix_sock=str(self.socket), timeout=30
        )
        connection.autocommit = True
        return connection

    def run(self, *statements: str, database: str, user: str = "owner") -> list[Sequence[object]]:
        """Run statements; the rows of the last one."""
        with closing(self.connect(database, user)) as connection:
            cursor = connection.cursor()
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []

    def _spawn(self) -> subprocess.Popen[bytes]:
        settings = {
            "listen_addresses": "",
            "port": str(self.tcp_port or PORT),
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
            "max_connections": "40",
            "logging_collector": "off",
            **(self._tls(self._certificate) if self._certificate else {}),
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "server.log").open("ab") as log:
            return subprocess.Popen(  # noqa: S603
                [str(self._bin / "postgres"), "-D", str(self.data), *options],
                stdout=log,
                stderr=log,
                user=self._owner,
                cwd=self.folder,
            )

    def _tls(self, given: ServerCertificate) -> dict[str, str]:
        """Listen on the loopback address too, with copies that the server's user owns."""
        settings = {"listen_addresses": "127.0.0.1", "ssl": "on"}
        for setting, source in (("ssl_cert_file", given.certificate), ("ssl_key_file", given.key)):
            copy = self.folder / source.name
            shutil.copy(source, copy)
            if self._owner is not None:
                os.chown(copy, self._owner, -1)
            settings[setting] = str(copy)
        return settings

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(timeout=STARTING_SECONDS)
            self._process = None

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(  # noqa: S603
            [str(self._bin / program), *arguments],
            check=True,
            capture_output=True,
            user=self._owner,
            cwd=self.folder,
        )


def free_port() -> int:
    """A TCP port of the loopback address that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_postgres(certificate: ServerCertificate | None = None) -> Iterator[PostgresServer]:
    """A server for as long as the block lasts; skips the test where PostgreSQL is not installed."""
    found = programs()
    if found is None:
        pytest.skip("postgresql is not installed")
    folder = Path(tempfile.mkdtemp(prefix="leaver-pg-"))
    try:
        server = PostgresServer(folder, found, certificate)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
