"""One bounded HTTP exchange with a party that nobody vouches for."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from dataclasses import dataclass
from typing import Final

import httpx

from leaver.evidence.errors import AnchorError

_CHUNK: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: the status, the media type without parameters (lower case), the whole body."""

    status: int
    kind: str
    body: bytes


async def ask(  # noqa: PLR0913 - each word is a fact of the exchange
    url: str,
    body: bytes,
    *,
    kind: str,
    limit: int,
    timeout: float,  # noqa: ASYNC109 - bounds the whole exchange, not one call
    auth: httpx.Auth | None = None,
    tls: ssl.SSLContext | None = None,
) -> Reply:
    """POST ``body`` and read the answer; redirects are not followed.

    Args:
        url: http or https.
        body: what to send.
        kind: its media type.
        limit: bytes of the answer that are read at most.
        timeout: seconds for everything together, so that a slow trickle ends as well.
        auth: HTTP authentication.
        tls: the trust for https; None: the system's.

    Raises:
        AnchorError: no whole answer in time, or one beyond the limit. The text names no address.
    """
    try:
        async with asyncio.timeout(timeout):
            client = _client(url, timeout, auth, tls)
            return await _exchange(client, url, body, kind, limit)
    except TimeoutError:
        raise AnchorError(f"no answer within {timeout:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL) as err:
        raise AnchorError(f"no answer: {type(err).__name__}") from None


def _client(
    url: str, seconds: float, auth: httpx.Auth | None, tls: ssl.SSLContext | None
) -> httpx.AsyncClient:
    trust = True if tls is None else tls
    # A proxy of the environment is for the way out, not for this machine.
    return httpx.AsyncClient(verify=trust, timeout=seconds, auth=auth, trust_env=not _loopback(url))


async def _exchange(client: httpx.AsyncClient, url: str, body: bytes, kind: str, limit: int) -> Reply:
    headers = {"Content-Type": kind, "Accept-Encoding": "identity"}
    async with client, client.stream("POST", url, content=body, headers=headers) as answer:
        whole = bytearray()
        async for chunk in answer.aiter_bytes(_CHUNK):
            whole += chunk
            if len(whole) > limit:
                raise AnchorError(f"the answer is longer than {limit} bytes")
        said = answer.headers.get("content-type", "")
        media = said.partition(";")[0].strip().lower() or "no media type"
        return Reply(answer.status_code, media, bytes(whole))


def _loopback(url: str) -> bool:
    host = httpx.URL(url).host
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
