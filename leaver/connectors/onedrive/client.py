"""OneDrive: Graph finds the drive, SharePoint REST makes the successor its administrator."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

import httpx
from pydantic import JsonValue, TypeAdapter, ValidationError

from leaver.connectors.errors import (
    InvalidCredentials,
    ProtocolError,
    Rejected,
    Unavailable,
    UnknownOutcomeError,
)
from leaver.connectors.graph import GraphHttp
from leaver.connectors.guard import WriteGuard
from leaver.connectors.http import Call, client_over, guarded_transport, masked_path
from leaver.connectors.locators import Locators, locators_of
from leaver.connectors.onedrive.protocol import Drive, SharePointRefusedError
from leaver.connectors.onedrive.settings import OneDriveSettings
from leaver.connectors.tokens import BearerAuth, TokenSource

Row = dict[str, JsonValue]

_OBJECT: Final[TypeAdapter[Row]] = TypeAdapter(Row)
_CLAIM: Final = "i:0#.f|membership|"
_READ_FILES: Final = "the application permission Files.Read.All"
_SHARE: Final = "the application permission Files.ReadWrite.All"
_READ_USERS: Final = "the application permission User.Read.All"
_SITES: Final = (
    "the SharePoint application permission Sites.FullControl.All, and give the app a certificate: SharePoint"
    " refuses app tokens that were got with a client secret"
)
_ENSURE: Final = re.compile(r"(.*)/_api/web/ensureuser")
_MERGE: Final = re.compile(r"(.*)/_api/web/getuserbyid\((\d+)\)")
_JSON: Final = "application/json;odata=nometadata"


def describe_sharepoint(request: httpx.Request) -> Call:
    """Tell SharePoint's requests apart, for the write guard: whose site, and which user in it."""
    operation = f"{request.method} {masked_path(request)}"
    if request.method in ("GET", "HEAD"):
        return Call(operation, mutating=False)
    names = _names(request)
    people = [locators_of(request).subject(name) for name in names]
    known = frozenset(person for person in people if person is not None)
    whole = bool(names) and None not in people
    return Call(operation, mutating=True, objects=known if whole else frozenset())


def _names(request: httpx.Request) -> tuple[str, ...]:
    """The names that stand in the request: the site, and the user it is about."""
    address = f"{request.url.scheme}://{request.url.netloc.decode()}{unquote(request.url.path)}"
    ensure = _ENSURE.fullmatch(address)
    if request.method == "POST" and ensure:
        return ensure.group(1), str(_OBJECT.validate_json(request.content).get("logonName"))
    merge = _MERGE.fullmatch(address)
    if request.method == "POST" and merge and request.headers.get("X-HTTP-Method") == "MERGE":
        return merge.group(1), _entry(merge.group(1), merge.group(2))
    return ()


def _entry(site: str, number: str) -> str:
    """The name of a site's user entry: numbers mean something inside their site only."""
    return f"{site}#{number}"


class OneDriveClient:
    """Implements :class:`~leaver.connectors.onedrive.protocol.FileSystem`.

    One per process and event loop; ``await aclose()`` at the end.
    """

    def __init__(self, settings: OneDriveSettings, guard: WriteGuard) -> None:
        self._tokens = TokenSource(settings.app)
        self._certified = settings.app.certificate_file is not None
        auth = BearerAuth(self._tokens, settings.sharepoint_hosts, scope=None)
        transport = guarded_transport(settings.network, guard, describe_sharepoint)
        self._sharepoint = client_over(transport, settings.network, auth=auth)
        self._graph = GraphHttp(settings.graph, self._tokens, settings.network, guard)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._sharepoint.aclose()
        await self._graph.aclose()
        await self._tokens.aclose()

    async def drive(self, owner: str) -> Drive | None:
        """``GET /users/{id}/drive`` and the address of its site."""
        try:
            drive = await self._graph.get(
                f"/users/{owner}/drive", needs=_READ_FILES, params={"$select": "id,owner"}
            )
            root = await self._graph.get(
                f"/users/{owner}/drive/root", needs=_READ_FILES, params={"$select": "id,sharepointIds"}
            )
        except Rejected as err:
            if err.status == httpx.codes.NOT_FOUND:
                return None
            raise
        site = _inside(root, "sharepointIds", "siteUrl")
        if _inside(drive, "owner", "user", "id") != owner or not isinstance(site, str) or not drive.get("id"):
            raise ProtocolError("read drive: the answer is about another owner, or has no site")
        return Drive(id=str(drive["id"]), owner=owner, site_url=site.rstrip("/"))

    async def is_site_admin(self, drive: Drive, person: str) -> bool:
        """``siteusers?$filter=IsSiteAdmin eq true`` of the site lists the person."""
        claim = (await self._claim(person)).casefold()
        url = f"{drive.site_url}/_api/web/siteusers?$filter=IsSiteAdmin eq true"
        answer = await self._send(self._request("GET", url))
        rows = answer.get("value")
        if not isinstance(rows, list):
            raise ProtocolError("SharePoint siteusers: the answer has no rows")
        return any(isinstance(row, dict) and str(row.get("LoginName")).casefold() == claim for row in rows)

    async def make_site_admin(self, drive: Drive, person: str) -> None:
        """``ensureuser``, then MERGE ``IsSiteAdmin`` on the entry it answered with.

        SharePoint knows people by claim and entry number, so both are tied to the person first: the claim
        from Graph by object id, the entry from SharePoint's answer about that very claim.
        """
        claim = await self._claim(person)
        locators = Locators()
        locators.learn(drive.site_url, drive.owner)
        locators.learn(claim, person)
        ensure = f"{drive.site_url}/_api/web/ensureuser"
        try:
            entry = await self._send(self._request("POST", ensure, {"logonName": claim}, locators))
        except UnknownOutcomeError as err:
            # Being listed gives no access and can be asked for again: nothing that counts was written.
            raise Unavailable("SharePoint ensureuser: no answer") from err
        if str(entry.get("LoginName")).casefold() != claim.casefold() or not isinstance(entry.get("Id"), int):
            raise ProtocolError("SharePoint ensureuser: the answer is about another user")
        number = str(entry["Id"])
        locators.learn(_entry(drive.site_url, number), person)
        url = f"{drive.site_url}/_api/web/getuserbyid({number})"
        merge = self._request("POST", url, {"IsSiteAdmin": True}, locators)
        merge.headers.update({"X-HTTP-Method": "MERGE", "IF-MATCH": "*"})
        await self._send(merge)

    async def has_root_grant(self, drive: Drive, person: str) -> bool:
        """``GET /drives/{id}/root/permissions`` has a write grant for the person."""
        rows = await self._graph.pages(f"/drives/{drive.id}/root/permissions", needs=_READ_FILES)
        return any(
            _inside(row, "grantedToV2", "user", "id") == person and "write" in _list(row.get("roles"))
            for row in rows
        )

    async def grant_root(self, drive: Drive, person: str) -> None:
        """``POST /drives/{id}/root/invite``."""
        locators = Locators()
        locators.learn(drive.id, drive.owner)
        await self._graph.post(
            f"/drives/{drive.id}/root/invite",
            {
                "recipients": [{"objectId": person}],
                "roles": ["write"],
                "requireSignIn": True,
                "sendInvitation": False,
            },
            needs=_SHARE,
            extensions=locators.extensions,
        )

    async def _claim(self, person: str) -> str:
        """The person's SharePoint claim, from the name that Graph has for the object id now."""
        try:
            user = await self._graph.get(
                f"/users/{person}", needs=_READ_USERS, params={"$select": "id,userPrincipalName"}
            )
        except Rejected as err:
            if err.status == httpx.codes.NOT_FOUND:
                # Not a 404: it is the successor who is missing, not the drive.
                raise Rejected("read user: the successor is not there", code=err.code, status=400) from err
            raise
        name = user.get("userPrincipalName")
        if user.get("id") != person or not isinstance(name, str):
            raise ProtocolError("read user: the answer is about another user, or hides the name")
        return _CLAIM + name

    def _request(
        self, method: str, url: str, content: Row | None = None, locators: Locators | None = None
    ) -> httpx.Request:
        return self._sharepoint.build_request(
            method,
            url,
            json=content,
            headers={"Accept": _JSON, "Content-Type": _JSON},
            extensions=locators.extensions if locators else None,
        )

    async def _send(self, request: httpx.Request) -> Row:
        what = f"SharePoint {request.method} {request.url.path.rpartition('/_api/web/')[2]}"
        if not self._certified:
            raise SharePointRefusedError(f"{what}: not asked; grant {_SITES}", needs=_SITES)
        try:
            response = await self._sharepoint.send(request)
        except InvalidCredentials as err:
            raise SharePointRefusedError(f"{what}: no token; grant {_SITES}", needs=_SITES) from err
        return _answer(response, what)


def _answer(response: httpx.Response, what: str) -> Row:
    status = response.status_code
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise SharePointRefusedError(f"{what}: refused with {status}; grant {_SITES}", needs=_SITES)
    if response.is_error:
        raise Rejected(f"{what}: refused with {status}", code=str(status), status=status)
    try:
        return _OBJECT.validate_json(response.content or b"{}")
    except ValidationError:
        raise ProtocolError(f"{what}: the answer is no JSON object") from None


def _inside(row: Mapping[str, JsonValue], *path: str) -> JsonValue:
    value: JsonValue = dict(row)
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []
