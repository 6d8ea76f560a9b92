"""The codec server: lets the Temporal UI and CLI show payloads in the clear to those who may see them.

It follows Temporal's remote codec protocol (docs.temporal.io, "Codec Server"): ``POST /decode`` with protobuf
JSON ``{"payloads": [...]}`` and the header ``X-Namespace``. There is no ``/encode``: nobody needs to write
payloads by hand, and a service that encrypts on request could be used to forge them.

Without a bearer token it answers only connections from the same machine. Every request is logged: who, which
namespace, how many payloads, which keys; never what they hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Final

import structlog
import uvicorn
from google.protobuf.json_format import MessageToDict, Parse, ParseError
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from temporalio.api.common.v1 import Payloads

from leaver.temporal.codec import PayloadCodec, PayloadDecodeError, named_key
from leaver.temporal.keyring import Keyring

MAX_BODY: Final = 8 * 1024 * 1024
"""Bytes; one page of the UI's history asks for far less (Temporal refuses payloads over 2 MiB)."""

_log = structlog.get_logger("leaver.codec_server")


@dataclass(frozen=True, slots=True)
class CodecServerOptions:
    """Who may ask for what.

    Attributes:
        namespaces: The namespaces whose payloads may be decoded.
        ui_origins: Origins of the Temporal UI, e.g. ``http://127.0.0.1:8233``; browsers elsewhere are
        refused. bearer: The token that callers must send; None: only callers on this machine, without a
        token.
    """

    namespaces: frozenset[str]
    ui_origins: tuple[str, ...] = ()
    bearer: SecretStr | None = field(default=None, repr=False)


def codec_app(keyring: Keyring, options: CodecServerOptions) -> Starlette:
    """The ASGI application. Decodes only; changes nothing anywhere."""
    codecs = {namespace: PayloadCodec(keyring, scope=namespace) for namespace in options.namespaces}

    async def decode(request: Request) -> JSONResponse:
        caller = _caller(request, options)
        namespace = request.headers.get("x-namespace", "")
        codec = codecs.get(namespace)
        if codec is None:
            _log.warning("codec.refused", reason="namespace", caller=caller)
            raise HTTPException(403, "this codec server does not serve the namespace in X-Namespace")
        payloads = await _read(request)
        keys = sorted({named_key(payload) for payload in payloads.payloads} - {""})
        facts = {"caller": caller, "namespace": namespace, "payloads": len(payloads.payloads), "keys": keys}
        try:
            decoded = await codec.decode(payloads.payloads)
        except PayloadDecodeError as err:
            _log.warning("codec.failed", error=type(err).__name__, **facts)
            raise HTTPException(422, str(err)) from err
        _log.info("codec.decoded", **facts)
        return JSONResponse(MessageToDict(Payloads(payloads=decoded)), headers={"cache-control": "no-store"})

    cors = Middleware(
        CORSMiddleware,
        allow_origins=options.ui_origins,
        allow_methods=["POST"],
        allow_headers=["content-type", "x-namespace", "authorization", "authorization-extras"],
        allow_credentials=True,
    )
    return Starlette(routes=[Route("/decode", decode, methods=["POST"])], middleware=[cors])


@contextlib.asynccontextmanager
async def serving(app: Starlette, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serve an application inside this event loop for the length of the block.

    Opens a listening socket; port 0 takes a free one.

    Yields:
        The base URL.
    """
    listener = socket.create_server((host, port))
    server = _GuestServer(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield f"http://{host}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await running


class _GuestServer(uvicorn.Server):
    """A server that leaves the signals to the process that hosts it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _caller(request: Request, options: CodecServerOptions) -> str:
    """Who asks, for the log: an address, never a name.

    Raises:
        HTTPException: 401 or 403; the caller may not ask at all.
    """
    address = request.client.host if request.client else ""
    origin = request.headers.get("origin")
    if origin is not None and origin not in options.ui_origins:
        _log.warning("codec.refused", reason="origin", caller=address)
        raise HTTPException(403, "this codec server does not serve pages of that origin")
    if options.bearer is not None:
        expected = f"Bearer {options.bearer.get_secret_value()}".encode()
        if not hmac.compare_digest(request.headers.get("authorization", "").encode(), expected):
            _log.warning("codec.refused", reason="token", caller=address)
            raise HTTPException(401, "a valid bearer token is required", {"www-authenticate": "Bearer"})
    elif not (_is_loopback(address) and _is_loopback(request.url.hostname or "")):
        # The name is checked too: a web page can point a host name of its own at 127.0.0.1 (DNS rebinding).
        _log.warning("codec.refused", reason="not loopback", caller=address)
        raise HTTPException(403, "without a bearer token only this machine may ask")
    return address


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _read(request: Request) -> Payloads:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise HTTPException(413, f"the request is larger than {MAX_BODY} bytes; ask for fewer payloads")
    try:
        return Parse(bytes(body), Payloads())
    except (ParseError, UnicodeDecodeError):
        # The parser quotes what it could not read; that must not travel further.
        raise HTTPException(400, "the body is not protobuf JSON of temporal.api.common.v1.Payloads") from None
