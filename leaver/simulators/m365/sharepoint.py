"""SharePoint's REST service of personal sites: who is in a site, and who administers it.

The calls are those of learn.microsoft.com/sharepoint/dev/sp-add-ins/users-groups-and-roles-with-the-rest-api.
Application tokens made with a client secret are refused (claim ``appidacr`` must be 2, a certificate).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote
from xml.sax.saxutils import escape

from starlette.responses import JSONResponse, Response

from leaver.simulators.faults import Fault, FaultKind
from leaver.simulators.m365.graph_wire import Json
from leaver.simulators.m365.state import Drive, SiteUser, User
from leaver.simulators.m365.store import NEWEST, View
from leaver.simulators.m365.tenant import Tenant
from leaver.simulators.m365.tokens import Audience, CredentialKind, bearer, read
from leaver.simulators.request_log import Intent
from leaver.simulators.routing import Call, Refusal, Route, Routes

_CLAIM: Final = "i:0#.f|membership|"
_WEB: Final = "/personal/{folder}/_api/web"
_EXCEPTION: Final = "-2146232832, Microsoft.SharePoint.SPException"
_NO_FILE: Final = "-2147024894, System.IO.FileNotFoundException"


class SharePointDialect:
    """See :class:`leaver.simulators.routing.Dialect`."""

    system = "onedrive"

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self._routes = Routes()
        self._routes.add("POST", _WEB + "/ensureuser", self._ensure)
        self._routes.add("GET", _WEB + "/siteusers", self._site_users)
        self._routes.add("GET", _WEB + "/siteusers(@v)", self._by_login)
        self._routes.add("POST", _WEB + "/siteusers/removebyid({number})", self._remove)
        for name in ("getuserbyid", "siteusers/getbyid"):
            self._routes.add("GET", f"{_WEB}/{name}({{number}})", self._get)
            self._routes.add("POST", f"{_WEB}/{name}({{number}})", self._merge)

    def route(self, call: Call) -> Route | None:
        """The route."""
        route, call.params, _ = self._routes.find(call.method, call.path)
        return route

    def intent(self, call: Call, route: Route | None) -> Intent:
        """What the request asks for; the site's owner is always touched."""
        intent = Intent(
            operation=call.path if route is None else route.template.removeprefix(_WEB),
            mutating=call.method != "GET",
        )
        drive = self._find_site(call, NEWEST)
        if drive is None:
            return intent
        intent.related.append(drive.id)
        intent.people.append(drive.owner)
        number = call.params.get("number", "")
        intent.people.extend(entry.user for entry in drive.site_users if str(entry.id) == number)
        body = (call.json_object() or {}) if intent.mutating else {}
        if isinstance(login := body.get("logonName"), str):
            user = self._tenant.find_user(login.removeprefix(_CLAIM))
            intent.people.append(user.id if user else "unknown")
        intent.people = list(dict.fromkeys(intent.people))
        intent.summary = {key: value if isinstance(value, bool) else True for key, value in body.items()}
        return intent

    def authorise(self, call: Call) -> None:
        """Only certificate tokens for SharePoint with full control."""
        claims = read(bearer(call.headers.get("authorization")), self._tenant.app.token_key, self._tenant.now)
        if claims is None or claims.audience is not Audience.SHAREPOINT:
            headers = {"WWW-Authenticate": f'Bearer realm="{self._tenant.id}",error="invalid_token"'}
            body = {"error": "invalid_request", "error_description": "Invalid JWT token."}
            raise Refusal(JSONResponse(body, 401, headers))
        if claims.credential is not CredentialKind.CERTIFICATE:
            reason = "Unsupported app only token."
            headers = {"x-ms-diagnostics": f'3001000;reason="{reason}";category="invalid_client"'}
            raise Refusal(JSONResponse({"error_description": reason}, 401, headers))
        if "Sites.FullControl.All" not in self._tenant.app.permissions:
            code = "-2147024891, System.UnauthorizedAccessException"
            raise _refuse(403, code, "Attempted to perform an unauthorized operation.")

    def no_route(self, call: Call) -> Response:
        """An unknown resource of the service."""
        resource = call.path.rpartition("/")[2]
        code = "-1, Microsoft.SharePoint.Client.ResourceNotFoundException"
        return _error(404, code, f"Cannot find resource for the request {resource}.")

    def trouble(self, fault: Fault, headers: Mapping[str, str], call: Call) -> Response:  # noqa: ARG002
        """A fault that is an answer."""
        if fault.kind in (FaultKind.THROTTLE, FaultKind.BATCH_THROTTLE):
            limits = {"RateLimit-Limit": "1200", "RateLimit-Remaining": "0", "RateLimit-Reset": "5"}
            text = "The request has been throttled. See https://aka.ms/spo429 for details."
            return Response(text, 429, {**limits, **headers}, "text/plain")
        if fault.kind is FaultKind.NOT_FOUND_ONCE:
            return _error(404, _NO_FILE, "File Not Found.")
        if fault.kind is FaultKind.CLAIMS_CHALLENGE:
            challenge = {"WWW-Authenticate": 'Bearer error="insufficient_claims", claims="e30="'}
            return JSONResponse({"error_description": "Access has been revoked."}, 401, challenge)
        return Response("The server is busy now. Please try again later.", 503, dict(headers), "text/plain")

    def finish(self, response: Response, call: Call) -> None:
        """SharePoint's correlation id."""
        response.headers["SPRequestGuid"] = call.request_id
        response.headers["request-id"] = call.request_id
        response.headers["MicrosoftSharePointTeamServices"] = "16.0.0.26614"

    # -- handlers -----------------------------------------------------------------------------------------

    def _ensure(self, call: Call) -> Response:
        drive, body = self._site(call), call.json_object()
        login = (body or {}).get("logonName")
        if not isinstance(login, str):
            code = "-1, Microsoft.SharePoint.Client.InvalidClientQueryException"
            raise _refuse(400, code, "The parameter logonName does not exist in method EnsureUser.")
        user = self._tenant.find_user(login.removeprefix(_CLAIM))
        if user is None:
            raise _refuse(404, _EXCEPTION, f"The specified user {login} could not be found.")
        with self._tenant.drives.change(drive.id) as draft:
            if all(entry.user != user.id for entry in draft.site_users):
                number = max((entry.id for entry in draft.site_users), default=0) + 1
                draft.site_users.append(SiteUser(id=number, user=user.id))
        entry = next(entry for entry in self._site(call).site_users if entry.user == user.id)
        return self._one(call, entry, user)

    def _site_users(self, call: Call) -> Response:
        entries = self._site(call, self._view(call)).site_users
        clause = call.query.get("$filter")
        if clause is not None:
            wanted = {"issiteadmin eq true": True, "issiteadmin eq false": False}.get(clause.casefold())
            if wanted is None:
                code = "-1, Microsoft.SharePoint.Client.InvalidClientQueryException"
                raise _refuse(400, code, f'The expression "{clause}" is not valid.')
            entries = [entry for entry in entries if entry.is_admin == wanted]
        items = [self._json(entry, self._tenant.user(entry.user)) for entry in entries]
        return _answer(call, items)

    def _by_login(self, call: Call) -> Response:
        login = unquote(call.query.get("@v", "")).strip("'")
        user = self._tenant.find_user(login.removeprefix(_CLAIM))
        for entry in self._site(call, self._view(call)).site_users:
            if user is not None and entry.user == user.id:
                return self._one(call, entry, user)
        raise _refuse(404, _EXCEPTION, "User cannot be found.")

    def _get(self, call: Call) -> Response:
        entry = self._entry(call, self._site(call, self._view(call)))
        return self._one(call, entry, self._tenant.user(entry.user))

    def _merge(self, call: Call) -> Response:
        drive, verb = self._site(call), call.headers.get("X-HTTP-Method", "").upper()
        if verb != "MERGE" or call.headers.get("IF-MATCH") != "*":
            code = "-1, Microsoft.SharePoint.Client.InvalidClientQueryException"
            raise _refuse(400, code, "The HTTP method is missing X-HTTP-Method: MERGE with IF-MATCH.")
        entry, wanted = self._entry(call, drive), (call.json_object() or {}).get("IsSiteAdmin")
        if not isinstance(wanted, bool):
            code = "-1, Microsoft.SharePoint.Client.InvalidClientQueryException"
            raise _refuse(400, code, "A value of type 'Edm.Boolean' was expected for property 'IsSiteAdmin'.")
        admins = [other.id for other in drive.site_users if other.is_admin]
        if not wanted and admins == [entry.id]:
            raise _refuse(400, _EXCEPTION, "There must be at least one site collection administrator.")
        with self._tenant.drives.change(drive.id) as draft:
            self._entry(call, draft).is_admin = wanted
        return Response(status_code=204)

    def _remove(self, call: Call) -> Response:
        drive = self._site(call)
        entry = self._entry(call, drive)
        if entry.user == drive.owner:
            raise _refuse(400, _EXCEPTION, "You cannot delete the owners of a Web site collection.")
        with self._tenant.drives.change(drive.id) as draft:
            draft.site_users = [other for other in draft.site_users if other.id != entry.id]
        return JSONResponse({"odata.null": True})

    # -- helpers ------------------------------------------------------------------------------------------

    def _view(self, call: Call) -> View:
        # A site answers from one database, so it lags only when told to.
        if call.stale is None:
            return NEWEST
        return View(lag=call.stale.seconds) if call.stale.seconds else View(previous=True)

    def _find_site(self, call: Call, view: View) -> Drive | None:
        path = f"/personal/{call.params.get('folder', '')}".casefold()
        return next((d for d in self._tenant.drives.all(view) if d.site_path.casefold() == path), None)

    def _site(self, call: Call, view: View = NEWEST) -> Drive:
        drive = self._find_site(call, view)
        if drive is None:
            # SharePoint answers for a site that is not there with a page, not with JSON.
            raise Refusal(Response("404 FILE NOT FOUND", 404, media_type="text/plain"))
        return drive

    def _entry(self, call: Call, drive: Drive) -> SiteUser:
        for entry in drive.site_users:
            if str(entry.id) == call.params["number"]:
                return entry
        raise _refuse(404, _EXCEPTION, "User cannot be found.")

    def _one(self, call: Call, entry: SiteUser, user: User) -> Response:
        return _answer(call, self._json(entry, user))

    @staticmethod
    def _json(entry: SiteUser, user: User) -> Json:
        return {
            "Id": entry.id,
            "IsHiddenInUI": False,
            "LoginName": _CLAIM + user.upn.casefold(),
            "Title": user.display_name,
            "PrincipalType": 1,
            "Email": user.mail or "",
            "Expiration": "",
            "IsEmailAuthenticationGuestUser": False,
            "IsShareByEmailGuestUser": False,
            "IsSiteAdmin": entry.is_admin,
            "UserId": {
                "NameId": user.id.replace("-", "")[:16],
                "NameIdIssuer": "urn:federation:microsoftonline",
            },
            "UserPrincipalName": user.upn,
        }


def _answer(call: Call, body: Json | list[Json]) -> Response:
    accept = call.headers.get("accept", "").replace(" ", "").casefold()
    if "application/json" not in accept:
        # Without a wish for JSON the service speaks Atom.
        return Response(_atom(body), media_type="application/atom+xml;type=feed;charset=utf-8")
    if "odata=verbose" in accept:
        inner: object = {"results": body} if isinstance(body, list) else body
        return JSONResponse({"d": inner}, media_type="application/json;odata=verbose;charset=utf-8")
    plain: Json = {"value": body} if isinstance(body, list) else dict(body)
    if "odata=nometadata" in accept:
        return JSONResponse(plain, media_type="application/json;odata=nometadata;charset=utf-8")
    kind = {"odata.metadata": f"{call.base_url}/_api/$metadata#SP.ApiData.Users"}
    return JSONResponse(kind | plain, media_type="application/json;odata=minimalmetadata;charset=utf-8")


def _atom(body: Json | list[Json]) -> str:
    rows = body if isinstance(body, list) else [body]
    entries = "".join(
        "<entry><content><m:properties>"
        + "".join(f"<d:{key}>{escape(str(value))}</d:{key}>" for key, value in row.items())
        + "</m:properties></content></entry>"
        for row in rows
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?><feed xmlns="http://www.w3.org/2005/Atom" '
        'xmlns:d="http://schemas.microsoft.com/ado/2007/08/dataservices" '
        f'xmlns:m="http://schemas.microsoft.com/ado/2007/08/dataservices/metadata">{entries}</feed>'
    )


def _error(status: int, code: str, message: str) -> Response:
    body = {"odata.error": {"code": code, "message": {"lang": "en-US", "value": message}}}
    return JSONResponse(body, status, media_type="application/json;odata=nometadata;charset=utf-8")


def _refuse(status: int, code: str, message: str) -> Refusal:
    return Refusal(_error(status, code, message))
