"""A timestamp authority (RFC 3161) of one's own: OpenSSL's ``ts -reply`` behind an HTTP address on loopback.

It stamps for real, with a certificate of a root that it makes on its first start. Being on the operator's own
machine it proves nothing against him; it is there so that an installation without the internet, and the
tests, go the same way as with a public authority.

``certs =`` stays out of its configuration: with a chain in the reply OpenSSL writes the certificates
unsorted, which strict DER readers refuse (openssl/openssl issue 13142).
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from leaver.simulators.listener import Listener, hang_up

QUERY: Final = "application/timestamp-query"
REPLY: Final = "application/timestamp-reply"

_MAX_QUERY: Final = 16 * 1024
_CHILD_LIMIT: Final = 10.0
_LIFETIME: Final = timedelta(days=3650)
_CLOCK_SKEW: Final = timedelta(hours=1)
_SHA256: Final = bytes.fromhex("0609608648016503040201")
_CONFIG: Final = """\
[tsa]
default_tsa = local

[local]
serial = serial
crypto_device = builtin
signer_cert = tsa.pem
signer_key = tsa-key.pem
signer_digest = sha256
default_policy = 2.25.97021471
digests = sha256, sha384, sha512
accuracy = secs:1
ordering = no
tsa_name = no
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""


class OpensslMissingError(Exception):
    """The program ``openssl`` is not installed; Debian's package has the same name."""


class TsaFault(StrEnum):
    """What the authority does wrong while the order stands."""

    DOWN = "down"
    """Hangs up without an answer."""
    SLOW = "slow"
    """Answers rightly, too late: ``TsaAddress.delay`` seconds later."""
    BUSY = "busy"
    """HTTP 503."""
    WRONG_IMPRINT = "wrong_imprint"
    """A genuine stamp, of other data."""
    WRONG_NONCE = "wrong_nonce"
    """A genuine stamp of the same data, for another query."""
    REJECTED = "rejected"
    """A reply without a stamp: status "rejection"."""
    PAGE = "page"
    """A web page with status 200, as captive portals and parked domains send."""
    TRUNCATED = "truncated"
    """Half a reply."""
    ENDLESS = "endless"
    """A reply that is far too long."""


@dataclass(slots=True)
class TsaAddress:
    """Where it answers and whom to trust. Set ``fault`` to make it misbehave."""

    url: str
    ca_file: Path
    fault: TsaFault | None = None
    delay: float = 1.0
    """Seconds, for ``TsaFault.SLOW``."""
    stamped: int = field(default=0, init=False)
    """How many queries were answered with a stamp that is what was asked for."""


def find_openssl() -> str | None:
    """The program's path; None where it is not installed."""
    return shutil.which("openssl")


@asynccontextmanager
async def running_tsa(folder: Path, port: int = 0) -> AsyncIterator[TsaAddress]:
    """Run the authority on 127.0.0.1 while the block runs.

    Args:
        folder: keeps its certificates, its key and its serial number; made on the first start.
        port: 0 for any.

    Raises:
        OpensslMissingError: it cannot work on this machine.
        OSError: the port is taken, or the folder cannot be written.
    """
    program = find_openssl()
    if program is None:
        raise OpensslMissingError("the local timestamp authority needs the program 'openssl': install it")
    await asyncio.to_thread(_establish, folder)
    address = TsaAddress("", folder / "ca.pem")
    authority = _Authority(program, folder, address)
    listener = Listener(Starlette(routes=[Route("/", authority.answer, methods=["POST"])]), port=port)
    address.url = f"{listener.url}/"
    await listener.start()
    try:
        yield address
    finally:
        await listener.stop()


class _Authority:
    def __init__(self, program: str, folder: Path, address: TsaAddress) -> None:
        self._program = program
        self._folder = folder
        self._address = address
        self._one = asyncio.Lock()  # openssl reads, raises and writes the serial number without a lock

    async def answer(self, request: Request) -> Response:
        query = await request.body()
        if request.headers.get("content-type") != QUERY or len(query) > _MAX_QUERY:
            return PlainTextResponse("POST a timestamp query (RFC 3161)\n", status_code=415)
        match self._address.fault:
            case TsaFault.DOWN:
                hang_up(request.scope)
                return Response(status_code=500)
            case TsaFault.BUSY:
                return PlainTextResponse("busy\n", status_code=503)
            case TsaFault.PAGE:
                return HTMLResponse("<!doctype html><title>Welcome</title><p>Please accept our terms.")
            case TsaFault.ENDLESS:
                return Response(b"\x30" * (1024 * 1024), media_type=REPLY)
            case TsaFault.SLOW:
                await asyncio.sleep(self._address.delay)
            case _:
                pass
        return Response(await self._reply(query), media_type=REPLY)

    async def _reply(self, query: bytes) -> bytes:
        match self._address.fault:
            case TsaFault.WRONG_IMPRINT:
                return await self._stamp(_other_imprint(query))
            case TsaFault.WRONG_NONCE:
                return await self._stamp(query[:-4] + bytes([query[-4] ^ 1]) + query[-3:])
            case TsaFault.REJECTED:
                return await self._stamp(query[: len(query) // 2])
            case TsaFault.TRUNCATED:
                whole = await self._stamp(query)
                return whole[: len(whole) // 2]
            case _:
                self._address.stamped += 1
                return await self._stamp(query)

    async def _stamp(self, query: bytes) -> bytes:
        async with self._one:
            child = await asyncio.create_subprocess_exec(
                self._program, "ts", "-reply", "-config", "tsa.cnf", "-queryfile", "/dev/stdin",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL, cwd=self._folder,
                env={"PATH": os.environ.get("PATH", ""), "OPENSSL_CONF": "/dev/null"},
            )  # fmt: skip
            try:
                async with asyncio.timeout(_CHILD_LIMIT):
                    reply, _ = await child.communicate(query)
            except BaseException:
                child.kill()
                await child.wait()
                raise
            return reply


def _other_imprint(query: bytes) -> bytes:
    """The same query about other data: the 32 bytes behind SHA-256's identifier and their own header."""
    at = query.index(b"\x04\x20", query.index(_SHA256)) + 2
    return query[:at] + hashlib.sha256(b"something else").digest() + query[at + 32 :]


def _establish(folder: Path) -> None:
    """Make certificates and configuration once; a restarted authority is still trusted."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tsa.cnf").write_text(_CONFIG)
    if not (folder / "serial").exists():
        (folder / "serial").write_text("01\n")
    if (folder / "ca.pem").exists():
        return
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = _root(ca_key)
    with os.fdopen(
        os.open(folder / "tsa-key.pem", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb"
    ) as file:
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    (folder / "tsa.pem").write_bytes(_signer(ca, ca_key, key).public_bytes(serialization.Encoding.PEM))
    # Last, because it says that the rest is there. The root's own key is thrown away.
    (folder / "ca.pem").write_bytes(ca.public_bytes(serialization.Encoding.PEM))


def _root(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = _name("leaver local timestamp root")
    usage = _usage(digital_signature=False, key_cert_sign=True)
    return (
        _draft(name, name, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )


def _signer(
    ca: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey, key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    # RFC 3161 section 2.3: exactly one purpose, and critical.
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
    usage = _usage(digital_signature=True, key_cert_sign=False)
    return (
        _draft(ca.subject, _name("leaver local timestamp authority"), key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(purpose, critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, hashes.SHA256())
    )


def _draft(issuer: x509.Name, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(*, digital_signature: bool, key_cert_sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=key_cert_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
