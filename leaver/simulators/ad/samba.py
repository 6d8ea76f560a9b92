"""A real Active Directory domain in a folder: Samba AD DC as a child process on a loopback address.

Needs Debian's ``samba-ad-dc`` with ``samba-ad-provision`` and ``samba-dsdb-modules``, and root: the ports of
LDAP are fixed, and provisioning sets ownership and ACLs. Nothing outside of the folder is touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
import shutil
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from leaver.simulators.tls import LOOPBACK_HOSTS, LoopbackTls, issue_loopback_tls

LDAPS_PORT: Final = 636
_LDAP_PORT: Final = 389
_PATH: Final = "/usr/sbin:/usr/bin:/sbin:/bin"
_PROVISION_FILES: Final = Path("/usr/share/samba/setup/provision.ldif")
_HOST_NAME: Final = "dc1"
_START_SECONDS: Final = 20.0
_STOP_SECONDS: Final = 5.0


def samba_available() -> str | None:
    """Why no Samba domain can be run here; None when one can."""
    if os.geteuid() != 0:
        return "a Samba domain controller needs root"
    for program in ("samba", "samba-tool"):
        if shutil.which(program, path=_PATH) is None:
            return f"{program} is not installed (Debian packages samba-ad-dc, samba-dsdb-modules)"
    if not _PROVISION_FILES.exists():
        return "the provisioning files are not installed (Debian package samba-ad-provision)"
    return None


class SambaError(Exception):
    """Samba did not do what it was asked to; the text holds its own words."""


class SambaDomain:
    """One domain controller in ``directory``; provisioned the first time, started again later.

    Args:
        directory: holds everything, the database as well as the certificate.
        realm: the domain in upper case, e.g. ``CORP.EXAMPLE``.
    """

    def __init__(self, directory: Path, realm: str) -> None:
        self.directory: Final = directory.resolve()
        self.realm: Final = realm
        self.address: Final = _free_address(str(self.directory))
        self.tls: Final[LoopbackTls] = issue_loopback_tls(
            self.directory / "tls", hosts=(*LOOPBACK_HOSTS, self.address)
        )
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """``ldaps://ADDRESS:636``."""
        return f"ldaps://{self.address}:{LDAPS_PORT}"

    @property
    def admin_name(self) -> str:
        """The domain's administrator."""
        return f"administrator@{self.realm.lower()}"

    @property
    def admin_password(self) -> str:
        """Made when the domain was."""
        return (self.directory / "admin-password").read_text(encoding="ascii")

    @property
    def is_provisioned(self) -> bool:
        """Whether the domain is there already."""
        return (self.directory / "provisioned").exists()

    async def start(self) -> None:
        """Provision where needed, start, and wait until LDAPS answers.

        Raises:
            SambaError: with what Samba said.
        """
        if not self.is_provisioned:
            await self._provision()
        log = (self.directory / "samba.out").open("ab")
        try:
            self._process = await asyncio.create_subprocess_exec(
                *_dies_with_us(),
                "samba",
                "--foreground",
                "--no-process-group",
                "--model=single",
                f"--configfile={self._dc / 'etc' / 'smb.conf'}",
                *self._options(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment(),
            )
        finally:
            log.close()
        await self._answering()

    async def stop(self) -> None:
        """End the process; what was committed is kept."""
        if self._process is None or self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), _STOP_SECONDS)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def grant(self, dn: str, sddl: str) -> None:
        """Add access control entries to an object, straight in the database.

        Raises:
            SambaError: with what samba-tool said.
        """
        config = self._dc / "etc" / "smb.conf"
        database = self._dc / "private" / "sam.ldb"
        await self._tool(
            "dsacl", "set", "-s", str(config), "-H", str(database), f"--objectdn={dn}", f"--sddl={sddl}"
        )

    @property
    def _dc(self) -> Path:
        return self.directory / "dc"

    def _options(self) -> Iterator[str]:
        # Given on every start: the address may be another one than when the domain was made.
        values = {
            "interfaces": f"{self.address}/8",
            "bind interfaces only": "yes",
            "server services": "ldap",
            "pid directory": self._dc / "run",
            "ncalrpc dir": self._dc / "ncalrpc",
            "log file": self._dc / "log",
            "winbindd socket directory": self._dc / "winbindd",
            "tls keyfile": self.tls.key_file,
            "tls certfile": self.tls.cert_file,
            "tls cafile": self.tls.ca_file,
        }
        yield from (f"--option={name}={value}" for name, value in values.items())

    async def _provision(self) -> None:
        # A half-made domain of a run that was killed is of no use.
        shutil.rmtree(self._dc, ignore_errors=True)
        self._dc.mkdir(parents=True)
        base = self.directory / "base.conf"
        base.write_text("[global]\n", encoding="ascii")
        password = f"Aa1!{secrets.token_urlsafe(24)}"
        secret = self.directory / "admin-password"
        secret.touch(mode=0o600)
        secret.write_text(password, encoding="ascii")
        await self._tool(
            "domain",
            "provision",
            f"--configfile={base}",
            f"--targetdir={self._dc}",
            f"--realm={self.realm}",
            f"--domain={self.realm.split('.', 1)[0]}",
            "--server-role=dc",
            "--dns-backend=NONE",
            f"--adminpass={password}",
            f"--host-name={_HOST_NAME}",
            f"--host-ip={self.address}",
            "--quiet",
            *self._options(),
        )
        for name in ("run", "ncalrpc"):
            (self._dc / name).mkdir(exist_ok=True)
        (self.directory / "provisioned").touch()

    async def _tool(self, *arguments: str) -> None:
        process = await asyncio.create_subprocess_exec(
            "samba-tool",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=_environment(),
        )
        said, _ = await process.communicate()
        if process.returncode:
            raise SambaError(f"samba-tool {arguments[0]}: {said.decode(errors='replace')[-2000:]}")

    async def _answering(self) -> None:
        context = ssl.create_default_context(cafile=str(self.tls.ca_file))
        until = time.monotonic() + _START_SECONDS
        while time.monotonic() < until:
            if self._process is None or self._process.returncode is not None:
                break
            try:
                _, writer = await asyncio.open_connection(self.address, LDAPS_PORT, ssl=context)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            return
        await self.stop()
        said = (self.directory / "samba.out").read_text(errors="replace")[-2000:]
        raise SambaError(f"samba did not answer on {self.url}: {said}")


def _environment() -> dict[str, str]:
    return {"PATH": _PATH, "LC_ALL": "C.UTF-8"}


def _dies_with_us() -> tuple[str, ...]:
    # A simulator that is killed must not leave its domain controller behind.
    return ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv", path=_PATH) else ()


def _free_address(seed: str) -> str:
    """A loopback address of its own, as Samba's LDAP ports are fixed; the same one every time if free."""
    for attempt in range(64):
        digest = hashlib.sha256(f"{seed}/{attempt}".encode()).digest()
        address = f"127.{64 + digest[0] % 128}.{digest[1]}.{1 + digest[2] % 254}"
        if _is_free(address):
            return address
    raise SambaError("no loopback address with free ports 389 and 636 was found")


def _is_free(address: str) -> bool:
    for port in (_LDAP_PORT, LDAPS_PORT):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError:
                return False
    return True
