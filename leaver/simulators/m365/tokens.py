"""Access tokens of the simulated tenant: opaque to clients, signed, valid across restarts."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import asdict, dataclass
from enum import StrEnum


class Audience(StrEnum):
    """The API a token is for."""

    GRAPH = "graph"
    EXCHANGE = "exchange"
    SHAREPOINT = "sharepoint"


class CredentialKind(StrEnum):
    """How the application proved who it is; SharePoint cares (claim ``appidacr``: 1 or 2)."""

    SECRET = "secret"
    CERTIFICATE = "certificate"


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """What a token says."""

    tenant: str
    client: str
    audience: Audience
    credential: CredentialKind
    expires: float


def mint(claims: TokenClaims, key: str) -> str:
    """A token for these claims."""
    payload = _encode(json.dumps(asdict(claims), sort_keys=True).encode())
    return f"{payload}.{_mac(payload, key)}"


def read(token: str, key: str, now: float) -> TokenClaims | None:
    """The claims of a token of ours that has not expired; None for any other text."""
    payload, _, mac = token.partition(".")
    if not hmac.compare_digest(_mac(payload, key).encode(), mac.encode("utf-8", "replace")):
        return None
    fields = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    claims = TokenClaims(
        tenant=fields["tenant"],
        client=fields["client"],
        audience=Audience(fields["audience"]),
        credential=CredentialKind(fields["credential"]),
        expires=fields["expires"],
    )
    return claims if claims.expires > now else None


def bearer(authorization: str | None) -> str:
    """The token of an ``Authorization`` header; empty where there is none."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.casefold() == "bearer" else ""


def _mac(payload: str, key: str) -> str:
    return _encode(hmac.new(bytes.fromhex(key), payload.encode("utf-8", "replace"), hashlib.sha256).digest())


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")
