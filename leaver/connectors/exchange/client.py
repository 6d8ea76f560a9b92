"""Exchange Online through the admin API that its own PowerShell module uses (InvokeCommand).

Microsoft does not document direct use, and no documented API can convert a mailbox (trap T40); so it stays
behind this one adapter. Objects are named by Entra object id only: names and addresses are ambiguous.
"""

from __future__ import annotations

import html
import re
from typing import Final

import httpx
from pydantic import JsonValue, TypeAdapter, ValidationError

from leaver.connectors.errors import AccessDenied, ProtocolError, Rejected
from leaver.connectors.exchange.cmdlets import (
    MEMBER_GONE,
    NOT_FOUND,
    cmdlet_error,
    describe_exchange,
    error_inside,
)
from leaver.connectors.exchange.protocol import AutoReply, Mailbox, MailGroup
from leaver.connectors.exchange.settings import ExchangeSettings
from leaver.connectors.graph import NO_MAILBOX, GraphHttp
from leaver.connectors.guard import WriteGuard
from leaver.connectors.http import client_over, guarded_transport
from leaver.connectors.tokens import BearerAuth, TokenSource

Row = dict[str, JsonValue]

_OBJECT: Final[TypeAdapter[Row]] = TypeAdapter(Row)
_BYTES: Final = re.compile(r"\(([\d,.\s]+) bytes\)")
_TAG: Final = re.compile(r"<[^>]*>")
_READ_MAILBOX: Final = "the application permission MailboxSettings.Read"
_READ_GROUPS: Final = "the application permission Directory.Read.All"
_MAILBOX_FIELDS: Final = (
    "ExternalDirectoryObjectId,RecipientTypeDetails,ArchiveStatus,LitigationHoldEnabled,InPlaceHolds,"
    "ForwardingAddress,ForwardingSmtpAddress"
)
_GROUP_FIELDS: Final = "id,groupTypes,mailEnabled,onPremisesSyncEnabled,assignedLicenses"


class ExchangeClient:
    """Implements :class:`~leaver.connectors.exchange.protocol.MailSystem`.

    One per process and event loop; ``await aclose()`` at the end.
    """

    def __init__(self, settings: ExchangeSettings, guard: WriteGuard) -> None:
        self._tokens = TokenSource(settings.app)
        tenant = settings.app.tenant_id
        self._url = f"{settings.url.rstrip('/')}/adminapi/beta/{tenant}/InvokeCommand"
        self._anchor = f"APP:SystemMailbox{{bb558c35-97f1-4cb9-8ff7-d53741dc928c}}@{tenant}"
        auth = BearerAuth(self._tokens, [httpx.URL(settings.url).host], settings.scope)
        transport = guarded_transport(settings.network, guard, describe_exchange)
        self._http = client_over(transport, settings.network, auth=auth)
        self._graph = GraphHttp(settings.graph, self._tokens, settings.network, guard)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._http.aclose()
        await self._graph.aclose()
        await self._tokens.aclose()

    async def mailbox(self, user: str) -> Mailbox | None:
        """``Get-Mailbox``; an answer about anybody else is an error."""
        rows = await self._found("Get-Mailbox", {"Identity": user}, select=_MAILBOX_FIELDS)
        if not rows:
            return None
        row = rows[0]
        if len(rows) > 1 or str(row.get("ExternalDirectoryObjectId")).casefold() != user.casefold():
            raise ProtocolError("Exchange Get-Mailbox: the answer is about another object")
        archive = row.get("ArchiveStatus")
        holds = row.get("InPlaceHolds")
        return Mailbox(
            user=user,
            recipient_type=str(row.get("RecipientTypeDetails")),
            archive=archive not in (None, "None", ""),
            litigation_hold=bool(row.get("LitigationHoldEnabled")),
            in_place_holds=len(holds) if isinstance(holds, list) else 0,
            forwarding=bool(row.get("ForwardingAddress") or row.get("ForwardingSmtpAddress")),
        )

    async def purpose(self, user: str) -> str | None:
        """``GET /users/{id}/mailboxSettings`` of Graph: userPurpose."""
        try:
            body = await self._graph.get(f"/users/{user}/mailboxSettings", needs=_READ_MAILBOX)
        except Rejected as err:
            if err.code == NO_MAILBOX:
                return None
            raise
        return str(body["userPurpose"]) if body.get("userPurpose") else None

    async def size(self, user: str) -> int | None:
        """``Get-MailboxStatistics``: TotalItemSize, e.g. ``12.3 GB (13,204,112,345 bytes)``."""
        rows = await self._found("Get-MailboxStatistics", {"Identity": user}, select="TotalItemSize")
        return size_in_bytes(rows[0].get("TotalItemSize")) if rows else None

    async def auto_reply(self, user: str) -> AutoReply:
        """``Get-MailboxAutoReplyConfiguration``."""
        rows = await self._invoke("Get-MailboxAutoReplyConfiguration", {"Identity": user})
        if len(rows) != 1:
            raise ProtocolError("Exchange Get-MailboxAutoReplyConfiguration: not exactly one answer")
        return AutoReply(
            state=str(rows[0].get("AutoReplyState")),
            text=plain_text(str(rows[0].get("ExternalMessage") or "")),
        )

    async def set_auto_reply(self, user: str, text: str) -> None:
        """``Set-MailboxAutoReplyConfiguration``."""
        message = html.escape(text, quote=False)
        await self._invoke(
            "Set-MailboxAutoReplyConfiguration",
            {
                "Identity": user,
                "AutoReplyState": "Enabled",
                "InternalMessage": message,
                "ExternalMessage": message,
                "ExternalAudience": "All",
            },
        )

    async def has_full_access(self, user: str, trustee: str) -> bool:
        """``Get-MailboxPermission`` for this trustee: direct, not denied."""
        rows = await self._about_trustee("Get-MailboxPermission", {"Identity": user, "User": trustee})
        return any(
            "FullAccess" in _words(row.get("AccessRights"))
            and not row.get("Deny")
            and not row.get("IsInherited")
            for row in rows
        )

    async def grant_full_access(self, user: str, trustee: str) -> None:
        """``Add-MailboxPermission``."""
        await self._about_trustee(
            "Add-MailboxPermission",
            {
                "Identity": user,
                "User": trustee,
                "AccessRights": ["FullAccess"],
                "InheritanceType": "All",
                "AutoMapping": True,
            },
        )

    async def convert_to_shared(self, user: str) -> None:
        """``Set-Mailbox -Type Shared``."""
        await self._invoke("Set-Mailbox", {"Identity": user, "Type": "Shared"})

    async def mail_groups(self, user: str) -> tuple[MailGroup, ...]:
        """``GET /users/{id}/memberOf`` and each group of Graph; dynamic lists have no members to remove."""
        found = await self._graph.pages(
            f"/users/{user}/memberOf", needs=_READ_GROUPS, params={"$select": "id", "$top": "999"}
        )
        ids = [str(row["id"]) for row in found if row.get("@odata.type") == "#microsoft.graph.group"]
        groups = [
            await self._graph.get(f"/groups/{group}", needs=_READ_GROUPS, params={"$select": _GROUP_FIELDS})
            for group in ids
        ]
        if any(group.get("mailEnabled") is None for group in groups):
            # Graph hides what it may not show; a hidden list must not pass for no list.
            raise AccessDenied(
                f"read groups: their type is not shown; grant {_READ_GROUPS}", needs=_READ_GROUPS
            )
        return tuple(
            MailGroup(str(group["id"]), _why_not(group))
            for group in groups
            if group.get("mailEnabled") and "Unified" not in _words(group.get("groupTypes"))
        )

    async def is_member(self, group: str, user: str) -> bool:
        """``Get-DistributionGroupMember``, every page."""
        rows = await self._invoke(
            "Get-DistributionGroupMember",
            {"Identity": group, "ResultSize": "Unlimited"},
            select="ExternalDirectoryObjectId",
        )
        return any(str(row.get("ExternalDirectoryObjectId")).casefold() == user.casefold() for row in rows)

    async def leave_group(self, group: str, user: str) -> None:
        """``Remove-DistributionGroupMember``, without being the group's manager (trap T53)."""
        try:
            await self._invoke(
                "Remove-DistributionGroupMember",
                {"Identity": group, "Member": user, "BypassSecurityGroupManagerCheck": True},
            )
        except Rejected as err:
            if err.code not in MEMBER_GONE:
                raise

    async def _about_trustee(self, cmdlet: str, parameters: Row) -> list[Row]:
        """Run a cmdlet about two people; a missing trustee must not pass for a missing mailbox.

        Raises:
            Rejected: 404 for the mailbox, ``trustee_not_found`` for the other.
        """
        try:
            return await self._invoke(cmdlet, parameters)
        except Rejected as err:
            if err.code in NOT_FOUND and await self.mailbox(str(parameters["Identity"])) is not None:
                text = f"Exchange {cmdlet}: knows no user with the successor's id"
                raise Rejected(text, code="trustee_not_found", status=400) from err
            raise

    async def _found(self, cmdlet: str, parameters: Row, *, select: str) -> list[Row]:
        """The rows; none where Exchange says that the object is not there."""
        try:
            return await self._invoke(cmdlet, parameters, select=select)
        except Rejected as err:
            if err.code in NOT_FOUND:
                return []
            raise

    async def _invoke(self, cmdlet: str, parameters: Row, *, select: str = "") -> list[Row]:
        """Run a cmdlet and return its rows of every page."""
        url = f"{self._url}?$select={select}" if select else self._url
        if not cmdlet.startswith("Get-"):
            parameters = {**parameters, "Confirm": False}
        content = {"CmdletInput": {"CmdletName": cmdlet, "Parameters": parameters}}
        headers = {
            "X-AnchorMailbox": self._anchor,
            "X-CmdletName": cmdlet,
            "X-ResponseFormat": "json",
            "Prefer": "odata.maxpagesize=1000",
        }
        rows: list[Row] = []
        while url:
            body = _body(await self._http.post(url, json=content, headers=headers), cmdlet)
            value = body.get("value")
            rows.extend(row for row in (value if isinstance(value, list) else []) if isinstance(row, dict))
            url = str(body.get("@odata.nextLink") or "")
        return rows


def size_in_bytes(text: JsonValue) -> int | None:
    """The bytes inside Exchange's size text; None where it has none."""
    match = _BYTES.search(str(text))
    return int(re.sub(r"\D", "", match.group(1))) if match else None


def plain_text(markup: str) -> str:
    """Exchange wraps messages into HTML; what is left without it, in single spaces."""
    return " ".join(html.unescape(_TAG.sub(" ", markup)).split())


def _body(response: httpx.Response, cmdlet: str) -> Row:
    if response.is_error:
        raise cmdlet_error(response, cmdlet)
    try:
        body = _OBJECT.validate_json(response.content or b"{}")
    except ValidationError:
        raise ProtocolError(f"Exchange {cmdlet}: the answer is no JSON object") from None
    error = error_inside(body, cmdlet)
    if error is not None:
        raise error
    return body


def _why_not(group: Row) -> str | None:
    if "DynamicMembership" in _words(group.get("groupTypes")):
        return "dynamic"
    if group.get("onPremisesSyncEnabled"):
        return "synced"
    return "licence_bearing" if group.get("assignedLicenses") else None


def _words(value: JsonValue) -> list[str]:
    """A list of words, also where Exchange writes it as one comma-separated text."""
    if isinstance(value, str):
        return [word.strip() for word in value.split(",")]
    return [str(item) for item in value] if isinstance(value, list) else []
