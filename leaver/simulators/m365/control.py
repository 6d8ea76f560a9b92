"""The control listener: what a demo or a test in another process needs, plain HTTP on loopback.

===========================  ================================================================================
``GET /health``              ``{"ok": true}``
``POST /faults``             orders one fault (an object) or several (a list); see :class:`..faults.Fault`
``GET`` / ``DELETE /faults`` what is still to come / forget it
``GET /state?user=KEY``      everything about one user: object id, user principal name or employee number
``GET /requests``            the request log, optionally ``?system=entra``
``POST /advance``            ``{"seconds": 3600}``: lets time pass at once
``POST /directory-sync``     ``{"immutable_id": …, "enabled": …, "in_scope": …}``: one account as AD has it
===========================  ================================================================================
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from leaver.simulators.faults import Fault, FaultBook
from leaver.simulators.m365.tenant import Tenant
from leaver.simulators.request_log import RequestLog

_FAULTS: TypeAdapter[list[Fault]] = TypeAdapter(list[Fault])


class _Advance(BaseModel):
    model_config = ConfigDict(extra="forbid")

    seconds: float = Field(ge=0)


class _DirectorySync(BaseModel):
    model_config = ConfigDict(extra="forbid")

    immutable_id: str
    enabled: bool
    in_scope: bool


def control_app(tenant: Tenant, faults: FaultBook, log: RequestLog) -> Starlette:
    """The control listener's application."""
    control = _Control(tenant, faults, log)
    return Starlette(
        routes=[
            Route("/health", control.health, methods=["GET"]),
            Route("/faults", control.order_faults, methods=["POST"]),
            Route("/faults", control.open_faults, methods=["GET"]),
            Route("/faults", control.clear_faults, methods=["DELETE"]),
            Route("/state", control.state, methods=["GET"]),
            Route("/requests", control.requests, methods=["GET"]),
            Route("/advance", control.advance, methods=["POST"]),
            Route("/directory-sync", control.directory_sync, methods=["POST"]),
        ],
        exception_handlers={ValidationError: _invalid},
    )


def user_state(tenant: Tenant, key: str) -> dict[str, Any]:
    """One user with memberships, mailbox and drive, as of now.

    Raises:
        KeyError: there is no such user.
    """
    user = tenant.user(key)
    mailbox = tenant.mailboxes.get(user.id)
    drives = [drive for drive in tenant.drives.all() if drive.owner == user.id]
    return {
        "user": user.model_dump(mode="json"),
        "groups": sorted(group.key for group in tenant.groups_of(user.id)),
        "mailbox": mailbox.model_dump(mode="json") if mailbox else None,
        "drive": drives[0].model_dump(mode="json") if drives else None,
        "jobs": [job.model_dump(mode="json") for job in tenant.jobs.all() if job.subject == user.id],
    }


class _Control:
    def __init__(self, tenant: Tenant, faults: FaultBook, log: RequestLog) -> None:
        self._tenant = tenant
        self._faults = faults
        self._log = log

    async def health(self, _: Request) -> Response:
        return JSONResponse({"ok": True})

    async def order_faults(self, request: Request) -> Response:
        given = await request.json()
        for fault in _FAULTS.validate_python(given if isinstance(given, list) else [given]):
            self._faults.add(fault)
        return await self.open_faults(request)

    async def open_faults(self, _: Request) -> Response:
        return JSONResponse([fault.model_dump(mode="json") for fault in self._faults.open])

    async def clear_faults(self, _: Request) -> Response:
        self._faults.clear()
        return JSONResponse([])

    async def state(self, request: Request) -> Response:
        self._tenant.settle()
        try:
            return JSONResponse(user_state(self._tenant, request.query_params.get("user", "")))
        except KeyError:
            return JSONResponse({"error": "no such user: give an object id, name or employee number"}, 404)

    async def requests(self, request: Request) -> Response:
        system = request.query_params.get("system")
        return JSONResponse([asdict(r) for r in self._log.records if system in (None, r.system)])

    async def advance(self, request: Request) -> Response:
        self._tenant.clock.advance(_Advance.model_validate(await request.json()).seconds)
        self._tenant.settle()
        return JSONResponse({"now": self._tenant.now})

    async def directory_sync(self, request: Request) -> Response:
        given = _DirectorySync.model_validate(await request.json())
        known = self._tenant.apply_directory_sync(
            given.immutable_id, enabled=given.enabled, in_scope=given.in_scope
        )
        return JSONResponse({"known": known})


async def _invalid(_: Request, error: Exception) -> Response:
    problems = (
        error.errors(include_url=False, include_input=False) if isinstance(error, ValidationError) else []
    )
    return JSONResponse({"error": [{"field": list(p["loc"]), "reason": p["msg"]} for p in problems]}, 422)
