"""Exchange Online's ``InvokeCommand`` as a dialect: who may call, which cmdlets, how faults look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.responses import JSONResponse, Response

from leaver.simulators.faults import Fault, FaultKind
from leaver.simulators.m365 import exchange_groups as groups
from leaver.simulators.m365 import exchange_mailboxes as mailboxes
from leaver.simulators.m365.exchange_wire import (
    BINDING,
    NO_COMMAND,
    NOT_FOUND,
    Cmdlet,
    CmdletError,
    Result,
    Session,
    error_body,
    failed,
    succeeded,
)
from leaver.simulators.m365.state import EXCHANGE_RECIPIENT_ADMINISTRATOR
from leaver.simulators.m365.store import View
from leaver.simulators.m365.tenant import Tenant
from leaver.simulators.m365.tokens import Audience, bearer, read
from leaver.simulators.request_log import Intent, redacted
from leaver.simulators.routing import Call, Refusal, Route, Routes

_EVERYWHERE: Final = frozenset({"Confirm", "ErrorAction", "WarningAction", "Verbose", "WhatIf", "ResultSize"})
_EXCHANGE_ROLES: Final = frozenset(
    {EXCHANGE_RECIPIENT_ADMINISTRATOR, "Exchange Administrator", "Global Administrator"}
)
_PEOPLE_PARAMETERS: Final = ("Identity", "Member", "User", "Trustee", "ForwardingAddress")


@dataclass(frozen=True, slots=True)
class _Entry:
    run: Cmdlet
    parameters: frozenset[str]


def _cmdlet(run: Cmdlet, *parameters: str) -> _Entry:
    return _Entry(run, frozenset(parameters) | _EVERYWHERE)


CMDLETS: Final[dict[str, _Entry]] = {
    "Get-Mailbox": _cmdlet(
        mailboxes.get_mailbox, "Identity", "RecipientTypeDetails", "SoftDeletedMailbox", "Filter", "Archive"
    ),
    "Get-EXOMailbox": _cmdlet(
        mailboxes.get_mailbox, "Identity", "Properties", "PropertySets", "RecipientTypeDetails",
        "SoftDeletedMailbox",
    ),
    "Get-MailboxStatistics": _cmdlet(mailboxes.get_statistics, "Identity", "Archive"),
    "Get-EXOMailboxStatistics": _cmdlet(mailboxes.get_statistics, "Identity", "Properties"),
    "Set-Mailbox": _cmdlet(
        mailboxes.set_mailbox, "Identity", "Type", "ForwardingAddress", "ForwardingSmtpAddress",
        "DeliverToMailboxAndForward", "HiddenFromAddressListsEnabled", "LitigationHoldEnabled",
        "LitigationHoldDuration", "Force",
    ),
    "Get-MailboxPermission": _cmdlet(mailboxes.get_permission, "Identity", "User"),
    "Add-MailboxPermission": _cmdlet(
        mailboxes.add_permission, "Identity", "User", "AccessRights", "InheritanceType", "AutoMapping", "Deny"
    ),
    "Remove-MailboxPermission": _cmdlet(
        mailboxes.remove_permission, "Identity", "User", "AccessRights", "InheritanceType", "Deny"
    ),
    "Get-RecipientPermission": _cmdlet(
        mailboxes.get_recipient_permission, "Identity", "Trustee", "AccessRights"
    ),
    "Add-RecipientPermission": _cmdlet(
        mailboxes.add_recipient_permission, "Identity", "Trustee", "AccessRights"
    ),
    "Get-MailboxAutoReplyConfiguration": _cmdlet(mailboxes.get_auto_reply, "Identity"),
    "Set-MailboxAutoReplyConfiguration": _cmdlet(
        mailboxes.set_auto_reply, "Identity", "AutoReplyState", "InternalMessage", "ExternalMessage",
        "ExternalAudience", "StartTime", "EndTime",
    ),
    "Get-Recipient": _cmdlet(
        groups.get_recipient, "Identity", "Filter", "RecipientTypeDetails", "Properties"
    ),
    "Get-DistributionGroup": _cmdlet(groups.get_distribution_group, "Identity"),
    "Get-DistributionGroupMember": _cmdlet(groups.get_members, "Identity", "ResultSize"),
    "Add-DistributionGroupMember": _cmdlet(
        groups.add_member, "Identity", "Member", "BypassSecurityGroupManagerCheck"
    ),
    "Remove-DistributionGroupMember": _cmdlet(
        groups.remove_member, "Identity", "Member", "BypassSecurityGroupManagerCheck"
    ),
}  # fmt: skip


class ExchangeDialect:
    """See :class:`leaver.simulators.routing.Dialect`."""

    system = "exchange"

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self._routes = Routes()
        for version in ("beta", "v1.0"):
            self._routes.add("POST", f"/adminapi/{version}/{{tenant}}/InvokeCommand", self._invoke)

    def route(self, call: Call) -> Route | None:
        """The route."""
        route, call.params, _ = self._routes.find(call.method, call.path)
        return route

    def intent(self, call: Call, route: Route | None) -> Intent:  # noqa: ARG002 - the protocol's
        """Everything is a POST; the cmdlet's verb says whether it changes anything."""
        name, parameters = _input(call)
        intent = Intent(
            operation=name or call.path, mutating=bool(name) and not name.casefold().startswith("get-")
        )
        for parameter in _PEOPLE_PARAMETERS:
            if isinstance(value := parameters.get(parameter), str):
                self._touch(intent, value)
        intent.people = list(dict.fromkeys(intent.people))
        intent.summary = redacted(parameters) if intent.mutating else {}
        return intent

    def authorise(self, call: Call) -> None:
        """A bad token, or one without the application role, gets a 401 with nothing in it."""
        claims = read(bearer(call.headers.get("authorization")), self._tenant.app.token_key, self._tenant.now)
        app = self._tenant.app
        good = claims is not None and claims.audience is Audience.EXCHANGE
        if not good or "Exchange.ManageAsApp" not in app.permissions:
            raise Refusal(
                Response(status_code=401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
            )
        if not _EXCHANGE_ROLES & set(app.directory_roles):
            text = (
                f"The role assigned to application '{app.id}' isn't supported in this scenario. Please check "
                "online documentation for assigning correct Directory Roles to Azure AD Application for EXO "
                "App-Only Authentication."
            )
            raise Refusal(Response(text, 403, media_type="text/plain"))

    def no_route(self, call: Call) -> Response:  # noqa: ARG002 - the protocol's
        """An unknown address."""
        return JSONResponse({"error": {"code": "NotFound", "message": "Resource not found."}}, 404)

    def trouble(self, fault: Fault, headers: Mapping[str, str], call: Call) -> Response:
        """A fault that is an answer."""
        match fault.kind:
            case FaultKind.THROTTLE | FaultKind.BATCH_THROTTLE:
                body = {"error": {"code": "TooManyRequests", "message": "Request was throttled."}}
                return JSONResponse(body, 429, headers)
            case FaultKind.TRANSIENT_400:
                text = "The server cannot service this request right now. Try again later."
                kind = "Microsoft.Exchange.Data.Storage.ServerBusyException"
                return failed(CmdletError(kind, text), call.request_id)
            case FaultKind.ERROR_IN_200:
                error = CmdletError("Microsoft.Exchange.Data.Directory.ADTransientException", "Please retry.")
                inner = error_body(error, "InternalServerError", "Ex11E9A7", call.request_id)
                return JSONResponse({"value": [], "@adminapi.errors": [inner]})
            case FaultKind.NOT_FOUND_ONCE:
                text = "The operation couldn't be performed because object couldn't be found."
                return failed(CmdletError(NOT_FOUND, text), call.request_id)
            case FaultKind.CLAIMS_CHALLENGE:
                challenge = 'Bearer error="insufficient_claims", claims="e30="'
                return Response(status_code=401, headers={"WWW-Authenticate": challenge})
            case _:
                return Response("Service Unavailable", 503, dict(headers), "text/plain")

    def finish(self, response: Response, call: Call) -> None:
        """Exchange's request id."""
        response.headers["request-id"] = call.request_id
        response.headers["x-ms-diagnostics"] = "FR2PR05MB0001"
        if response.headers.get("content-type") == "application/json":
            response.headers["content-type"] = "application/json; odata.metadata=minimal; charset=utf-8"

    # -- running ------------------------------------------------------------------------------------------

    def _invoke(self, call: Call) -> Response:
        name, parameters = _input(call)
        try:
            result = self._run(call, name, parameters)
        except CmdletError as error:
            return failed(error, call.request_id)
        wanted = call.query.get("$select")
        if wanted:
            names = {item.strip().casefold() for item in wanted.split(",")}
            result.value = [_selected(row, names) for row in result.value]
        return succeeded(
            result, f"{call.base_url}/adminapi/beta/{self._tenant.id}/$metadata#Collection(Edm.Any)"
        )

    def _run(self, call: Call, name: str, parameters: Mapping[str, Any]) -> Result:
        if call.params["tenant"].casefold() not in (self._tenant.id, self._tenant.domain):
            raise CmdletError(NOT_FOUND, "The specified tenant couldn't be found.")
        entry = next((e for key, e in CMDLETS.items() if key.casefold() == name.casefold()), None)
        if entry is None:
            text = "is not recognized as the name of a cmdlet, function, script file, or operable program."
            raise CmdletError(NO_COMMAND, f"The term '{name}' {text}")
        for given in parameters:
            if given not in entry.parameters and not given.startswith("@"):
                raise CmdletError(
                    BINDING, f"A parameter cannot be found that matches parameter name '{given}'."
                )
        return entry.run(Session(self._tenant, self._view(call), parameters))

    def _view(self, call: Call) -> View:
        # Writes travel between domain controllers, so reads lag as they do in the directory.
        if call.stale is None:
            return View(lag=self._tenant.delays.consistency)
        return View(lag=call.stale.seconds) if call.stale.seconds else View(previous=True)

    def _touch(self, intent: Intent, identity: str) -> None:
        session = Session(self._tenant, View(), {})
        try:
            intent.people.append(session.user(identity).id)
        except CmdletError:
            try:
                intent.related.append(session.list_group(identity).id)
            except CmdletError:
                intent.people.append("unknown")


def _input(call: Call) -> tuple[str, dict[str, Any]]:
    command = (call.json_object() or {}).get("CmdletInput")
    if not isinstance(command, dict):
        return "", {}
    parameters = command.get("Parameters")
    return str(command.get("CmdletName", "")), parameters if isinstance(parameters, dict) else {}


def _selected(row: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key.partition("@")[0].casefold() in names}
