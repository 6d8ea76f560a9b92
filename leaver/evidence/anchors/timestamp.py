"""RFC 3161 timestamps: an authority says that a checkpoint existed no later than a time of its clock.

What is stamped is ``timestamped_bytes(note)``: the checkpoint's signed note with the log's own signature
line and nothing behind it. Witnesses sign later, so their lines cannot be part of it; everybody who checks a
timestamp cuts the note the same way.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import httpx
from cryptography import x509
from pydantic import SecretStr
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    TimeStampResponse,
    VerificationError,
    Verifier,
    VerifierBuilder,
    decode_timestamp_response,
)

from leaver.evidence.anchors.web import Reply, ask
from leaver.evidence.errors import AnchorError, TimestampError

MAX_REPLY: Final = 64 * 1024
"""Bytes. A token with its certificates has 1 to 8 kB."""

_GRANTED: Final = 0
_SHA256_OID: Final = "2.16.840.1.101.3.4.2.1"
_SIGNATURE_LINE: Final = "— ".encode()
_STATUS: Final[Mapping[int, str]] = {
    1: "granted with modifications",
    2: "rejected",
    3: "waiting",
    4: "revocation is imminent",
    5: "revoked",
}
"""PKIStatus, RFC 3161 section 2.4.2."""


def timestamped_bytes(note: bytes) -> bytes:
    """The exact bytes of a checkpoint that a timestamp is about.

    Args:
        note: a checkpoint as a C2SP signed note, with or without witness lines behind the log's line.

    Returns:
        The note up to and including its first signature line, which must be the log's own: its name is the
        origin, the note's first line.

    Raises:
        AnchorError: this is not such a note.
    """
    text, blank, signatures = note.partition(b"\n\n")
    line, newline, _ = signatures.partition(b"\n")
    origin = text.partition(b"\n")[0]
    if not blank or not newline or not origin or not line.startswith(_SIGNATURE_LINE + origin + b" "):
        raise AnchorError("the checkpoint is not a note whose first signature line is the log's own")
    return text + blank + line + newline


@dataclass(frozen=True, slots=True)
class TimestampAuthority:
    """An authority that answers RFC 3161 queries over HTTP (section 3.4).

    Args:
        url: http or https. Replies are signed, so http loses nothing but privacy; the query holds one hash.
        ca_pem: what the authority's certificate must lead to: the root, and intermediates it does not send.
        name: how anchors and reports call it.
        independent: somebody else runs it. One on the operator's own machine proves nothing against him.
        timeout: seconds for the whole exchange.
        username, password: where it asks for HTTP basic authentication.
        tls: another trust than the system's for https.

    Raises:
        AnchorError: the certificates hold no root.
    """

    url: str
    ca_pem: bytes = field(repr=False)
    name: str = "tsa"
    independent: bool = False
    timeout: float = 20.0
    username: str = ""
    password: SecretStr | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        _verifier(self.ca_pem)

    async def stamp(self, data: bytes) -> bytes:
        """Have bytes stamped; sends their SHA-256 and a random nonce, nothing else.

        Returns:
            The reply (``TimeStampResp``, DER), checked against the query and the configured certificates.

        Raises:
            TimestampError: no answer in time, or one that proves nothing. Worth trying again later.
        """
        request = TimestampRequestBuilder(data, HashAlgorithm.SHA256, nonce=True, cert_req=True).build()
        reply = await self._ask(request.as_bytes())
        who = f"the timestamp authority {self.name}"
        token = _decode(reply.body, who + _kind(reply))
        _check(token, data, self.ca_pem, who, nonce=request.nonce)
        return reply.body

    async def _ask(self, query: bytes) -> Reply:
        password = self.password.get_secret_value() if self.password else ""
        auth = httpx.BasicAuth(self.username, password) if self.username else None
        try:
            reply = await ask(
                self.url,
                query,
                kind="application/timestamp-query",
                limit=MAX_REPLY,
                timeout=self.timeout,
                auth=auth,
                tls=self.tls,
            )
        except AnchorError as err:
            raise TimestampError(f"the timestamp authority {self.name}: {err}") from None
        if reply.status != httpx.codes.OK:
            raise TimestampError(f"the timestamp authority {self.name} answered HTTP {reply.status}")
        return reply


def verify_timestamp(tsr: bytes, data: bytes, ca_pem: bytes) -> datetime:
    """Check a timestamp reply, offline.

    The certificates need to be valid at the time of the stamp, not now: a stamp outlives its authority's
    certificate.

    Args:
        tsr: the reply, DER.
        data: what was stamped; for a checkpoint, ``timestamped_bytes(note)``.
        ca_pem: the certificates to trust.

    Returns:
        The authority's time (``genTime``), UTC: the data existed no later than then.

    Raises:
        TimestampError: it is no proof about these bytes.
    """
    token = _decode(tsr, "this")
    _check(token, data, ca_pem, "the authority", nonce=None)
    return token.tst_info.gen_time.astimezone(UTC)


def stamp_time(tsr: bytes) -> datetime:
    """The time a reply tells, unchecked; for lists of what was checked when it came.

    Raises:
        TimestampError: it is not a reply with a token.
    """
    return _decode(tsr, "this").tst_info.gen_time.astimezone(UTC)


def _decode(der: bytes, who: str) -> TimeStampResponse:
    try:
        token = decode_timestamp_response(der)
    except ValueError:
        raise TimestampError(f"{who} sent no timestamp reply (RFC 3161), or one that is cut off") from None
    if token.status != _GRANTED:
        said = "; ".join(_printable(text) for text in token.status_string)
        word = _STATUS.get(token.status, str(token.status))
        raise TimestampError(f"{who} did not stamp: {word}{': ' if said else ''}{said}")
    return token


def _check(token: TimeStampResponse, data: bytes, ca_pem: bytes, who: str, *, nonce: int | None) -> None:
    """Ask cheap questions first, so that the text tells what is really wrong."""
    try:
        imprint = token.tst_info.message_imprint
        same = imprint.message == hashlib.sha256(data).digest()
        if imprint.hash_algorithm.dotted_string != _SHA256_OID or not same:
            raise TimestampError(f"{who} stamped something else: the imprint is not this data's SHA-256")
        if nonce is not None and token.tst_info.nonce != nonce:
            raise TimestampError(f"{who} answered another query: the nonce is not ours (a replayed reply?)")
        _verifier(ca_pem).verify_message(token, data)
    except VerificationError as err:
        raise TimestampError(f"{who} is not the authority that is trusted here: {err}") from None
    except ValueError as err:
        raise TimestampError(f"{who} sent a reply that cannot be read: {err}") from None


def _verifier(ca_pem: bytes) -> Verifier:
    try:
        certificates = x509.load_pem_x509_certificates(ca_pem)
    except ValueError:
        raise TimestampError("the authority's CA file holds no certificates in PEM") from None
    roots = [one for one in certificates if one.issuer == one.subject]
    if not roots:
        raise TimestampError("the authority's CA file lacks the root (the certificate that signed itself)")
    between = [one for one in certificates if one.issuer != one.subject]
    return VerifierBuilder(roots=roots, intermediates=between).build()


def _kind(reply: Reply) -> str:
    return f" answered {_printable(reply.kind)} and" if reply.kind != "application/timestamp-reply" else ""


def _printable(text: str) -> str:
    """Foreign text, fit for one line of a log."""
    return "".join(char if char.isprintable() else "?" for char in text[:120])
