"""The witness over HTTP (c2sp.org/tlog-witness), for a log that asks by itself.

Needs the extra ``embedded``.
"""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from leaver.evidence.anchors.witness import Refusal, RefusedError, Witness
from leaver.evidence.anchors.witness_wire import MAX_REQUEST, SIZE_TYPE, parse_request
from leaver.evidence.errors import MalformedNoteError, WitnessError

_TOO_LARGE: Final = 413
_BROKEN: Final = 500


def witness_app(witness: Witness) -> Starlette:
    """The ASGI application: ``POST /add-checkpoint`` and nothing else."""

    async def add_checkpoint(request: Request) -> Response:
        try:
            body = await _body(request)
        except ClientDisconnect:
            return Response(status_code=Refusal.MALFORMED)
        if body is None:
            return PlainTextResponse("the request is too long\n", _TOO_LARGE)
        return await asyncio.to_thread(_answer, witness, body)

    return Starlette(routes=[Route("/add-checkpoint", add_checkpoint, methods=["POST"])])


def _answer(witness: Witness, body: bytes) -> Response:
    try:
        cosigned = witness.add(parse_request(body))
    except MalformedNoteError as err:
        return PlainTextResponse(f"{err}\n", Refusal.MALFORMED)
    except RefusedError as err:
        if err.size is not None:
            # Not as the media type: a charset would be added, and other logs compare the whole header.
            return Response(f"{err.size}\n", err.refusal, headers={"content-type": SIZE_TYPE})
        return PlainTextResponse(f"{err}\n", err.refusal)
    except WitnessError as err:
        return PlainTextResponse(f"{err}\n", _BROKEN)
    return PlainTextResponse(cosigned.line)


async def _body(request: Request) -> bytes | None:
    """The request's body; None when it is longer than any request may be."""
    whole = bytearray()
    async for chunk in request.stream():
        whole += chunk
        if len(whole) > MAX_REQUEST:
            return None
    return bytes(whole)
