"""Entra ID through msgraph-sdk and azure-identity."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Final, TypeVar
from uuid import UUID

import httpx
from kiota_abstractions.base_request_configuration import RequestConfiguration
from kiota_http.middleware.options import HeadersInspectionHandlerOption
from msgraph.generated.directory.deleted_items.graph_user.graph_user_request_builder import (
    GraphUserRequestBuilder,
)
from msgraph.generated.groups.item.group_item_request_builder import GroupItemRequestBuilder
from msgraph.generated.models.authentication_method_collection_response import (
    AuthenticationMethodCollectionResponse,
)
from msgraph.generated.models.directory_object_collection_response import DirectoryObjectCollectionResponse
from msgraph.generated.models.group import Group as GraphGroup
from msgraph.generated.models.password_profile import PasswordProfile
from msgraph.generated.models.user import User
from msgraph.generated.users.item.assign_license.assign_license_post_request_body import (
    AssignLicensePostRequestBody,
)
from msgraph.generated.users.item.member_of.member_of_request_builder import MemberOfRequestBuilder
from msgraph.generated.users.item.user_item_request_builder import UserItemRequestBuilder
from msgraph.generated.users.users_request_builder import UsersRequestBuilder
from pydantic import SecretStr

from leaver.connectors.entra import needs
from leaver.connectors.entra.methods import DELETE, removable_methods
from leaver.connectors.entra.models import (
    GROUP_FIELDS,
    USER_FIELDS,
    directory_group,
    directory_user,
    user_licences,
    utc,
)
from leaver.connectors.entra.protocol import (
    AuthMethod,
    DeletedUser,
    DirectoryUser,
    Group,
    GroupClass,
    Licence,
    UserKey,
)
from leaver.connectors.entra.sdk import called, prewarm, service_client
from leaver.connectors.entra.settings import EntraSettings
from leaver.connectors.errors import ProtocolError, Rejected
from leaver.connectors.graph import NO_MAILBOX, describe_graph
from leaver.connectors.guard import WriteGuard
from leaver.connectors.http import client_over, guarded_transport, server_date
from leaver.connectors.tokens import TokenSource

Query = TypeVar("Query")

_PAGE: Final = 999


class EntraClient:
    """Implements :class:`~leaver.connectors.entra.protocol.Directory` on Microsoft Graph v1.0.

    One per process and event loop: ``await start()`` before the first call, ``await aclose()`` at the end.
    """

    def __init__(self, settings: EntraSettings, guard: WriteGuard) -> None:
        self._tokens = TokenSource(settings.app)
        self._transport = guarded_transport(settings.network, guard, describe_graph(settings.graph.url))
        self._http = client_over(self._transport, settings.network)
        self._graph = service_client(
            self._http, self._tokens, url=settings.graph.url, scope=settings.graph.scope
        )

    async def start(self) -> None:
        """Load the SDK's models off the event loop, so that the first leaver does not wait for them."""
        await asyncio.to_thread(prewarm)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._http.aclose()
        # The SDK's own transport, which stands before ours, does not hand the closing on.
        await self._transport.aclose()
        await self._tokens.aclose()

    async def find(self, key: UserKey, value: str) -> tuple[str, ...]:
        """``GET /users?$filter=…``: candidates, from an index that may lag."""
        quoted = value.replace("'", "''")
        query = UsersRequestBuilder.UsersRequestBuilderGetQueryParameters(
            filter=f"{key.value} eq '{quoted}'", select=["id"]
        )
        found = await called("search users", needs.READ_USERS, lambda: self._graph.users.get(_config(query)))
        # Two rows are ambiguous already; further pages would not change the answer.
        return tuple(row.id for row in (found.value if found else None) or () if row.id)

    async def user(self, user: str) -> DirectoryUser:
        """``GET /users/{id}`` with ``$select``, and the directory's clock from the answer's Date header."""
        option = HeadersInspectionHandlerOption(inspect_request_headers=False)
        found = await self._read_user(user, USER_FIELDS, option)
        dates = option.response_headers.get("date")
        read_at = server_date(httpx.Headers({"date": next(iter(dates))})) if dates else None
        if read_at is None:
            raise ProtocolError("read user: the answer has no Date header")
        return directory_user(found, read_at)

    async def deleted(self, employee_id: str) -> tuple[DeletedUser, ...]:
        """``GET /directory/deletedItems/graph.user?$filter=employeeId eq …``."""
        quoted = employee_id.replace("'", "''")
        query = GraphUserRequestBuilder.GraphUserRequestBuilderGetQueryParameters(
            filter=f"employeeId eq '{quoted}'", select=["id", "employeeId", "deletedDateTime"]
        )
        bin_ = self._graph.directory.deleted_items.graph_user
        found = await called("search deleted users", needs.READ_USERS, lambda: bin_.get(_config(query)))
        return tuple(
            DeletedUser(row.id, utc(row.deleted_date_time))
            for row in (found.value if found else None) or ()
            if row.id and row.employee_id == employee_id
        )

    async def is_deleted(self, user: str) -> bool:
        """``GET /directory/deletedItems/{id}``."""
        item = self._graph.directory.deleted_items.by_directory_object_id(user)
        try:
            await called("read deleted user", needs.READ_USERS, item.get)
        except Rejected as err:
            if err.status == httpx.codes.NOT_FOUND:
                return False
            raise
        return True

    async def block_sign_in(self, user: str, password: SecretStr | None) -> None:
        """``PATCH /users/{id}`` with accountEnabled false and, where given, a passwordProfile."""
        change = User(account_enabled=False)
        if password is not None:
            change.password_profile = _profile(password)
        grant = needs.BLOCK_AND_PASSWORD if password is not None else needs.BLOCK
        await self._patch("block sign-in", grant, user, change)

    async def set_password(self, user: str, password: SecretStr) -> None:
        """``PATCH /users/{id}`` with a passwordProfile."""
        await self._patch("set password", needs.PASSWORD, user, User(password_profile=_profile(password)))

    async def revoke_sessions(self, user: str) -> None:
        """``POST /users/{id}/revokeSignInSessions``; any 2xx is a yes (trap T22)."""
        action = self._graph.users.by_user_id(user).revoke_sign_in_sessions
        await called("revoke sessions", needs.REVOKE, action.post)

    async def methods(self, user: str) -> tuple[AuthMethod, ...]:
        """``GET /users/{id}/authentication/methods``, all pages, without the password."""
        builder = self._graph.users.by_user_id(user).authentication.methods
        page: AuthenticationMethodCollectionResponse | None
        page = await called("list sign-in methods", needs.READ_METHODS, builder.get)
        rows = list((page.value if page else None) or ())
        while page is not None and page.odata_next_link:
            following = builder.with_url(page.odata_next_link)
            page = await called("list sign-in methods", needs.READ_METHODS, following.get)
            rows.extend((page.value if page else None) or ())
        return removable_methods(rows)

    async def remove_method(self, user: str, method: AuthMethod) -> None:
        """``DELETE /users/{id}/authentication/{kind}Methods/{id}``; 404 means gone (trap T24)."""
        authentication = self._graph.users.by_user_id(user).authentication
        delete = DELETE[method.kind]
        try:
            await called("remove a sign-in method", needs.METHODS, lambda: delete(authentication, method.id))
        except Rejected as err:
            if err.status != httpx.codes.NOT_FOUND:
                raise

    async def member_of(self, user: str) -> tuple[str, ...]:
        """``GET /users/{id}/memberOf``, all pages.

        Not ``memberOf/graph.group``: the cast is an advanced query, answered from an index that lags.
        """
        query = MemberOfRequestBuilder.MemberOfRequestBuilderGetQueryParameters(select=["id"], top=_PAGE)
        builder = self._graph.users.by_user_id(user).member_of
        page: DirectoryObjectCollectionResponse | None
        page = await called("list memberships", needs.READ_GROUPS, lambda: builder.get(_config(query)))
        rows = list((page.value if page else None) or ())
        while page is not None and page.odata_next_link:
            following = builder.with_url(page.odata_next_link)
            page = await called("list memberships", needs.READ_GROUPS, following.get)
            rows.extend((page.value if page else None) or ())
        return tuple(row.id for row in rows if isinstance(row, GraphGroup) and row.id)

    async def group(self, group: str) -> Group:
        """``GET /groups/{id}`` with the fields that tell its class."""
        query = GroupItemRequestBuilder.GroupItemRequestBuilderGetQueryParameters(select=GROUP_FIELDS)
        builder = self._graph.groups.by_group_id(group)
        found = await called("read group", needs.READ_GROUPS, lambda: builder.get(_config(query)))
        if found is None:
            raise ProtocolError("read group: the answer is empty")
        return directory_group(found)

    async def leave_group(self, user: str, group: Group) -> None:
        """``DELETE /groups/{id}/members/{id}/$ref``: the membership, never the user (trap T51)."""
        member = self._graph.groups.by_group_id(group.id).members.by_directory_object_id(user)
        role = group.kind is GroupClass.ROLE_ASSIGNABLE
        try:
            await called(
                "leave a group", needs.LEAVE_ROLE_GROUP if role else needs.LEAVE_GROUP, member.ref.delete
            )
        except Rejected as err:
            if err.status != httpx.codes.NOT_FOUND:
                raise

    async def licences(self, user: str) -> tuple[Licence, ...]:
        """``GET /users/{id}?$select=licenseAssignmentStates``."""
        return user_licences(await self._read_user(user, ["id", "licenseAssignmentStates"]))

    async def remove_licences(self, user: str, skus: Collection[str]) -> None:
        """``POST /users/{id}/assignLicense``; one SKU that is not direct fails them all (trap T56)."""
        body = AssignLicensePostRequestBody(
            add_licenses=[], remove_licenses=[UUID(sku) for sku in sorted(skus)]
        )
        action = self._graph.users.by_user_id(user).assign_license
        await called("remove licences", needs.LICENCES, lambda: action.post(body))

    async def mailbox_purpose(self, user: str) -> str | None:
        """``GET /users/{id}/mailboxSettings``: its userPurpose; None where there is no mailbox."""
        builder = self._graph.users.by_user_id(user).mailbox_settings
        try:
            found = await called("read mailbox purpose", needs.READ_MAILBOX, builder.get)
        except Rejected as err:
            if err.code == NO_MAILBOX:
                return None
            raise
        if found is None or found.user_purpose is None:
            raise ProtocolError("read mailbox purpose: it is not shown")
        return str(found.user_purpose.value)

    async def _read_user(
        self, user: str, fields: list[str], option: HeadersInspectionHandlerOption | None = None
    ) -> User:
        query = UserItemRequestBuilder.UserItemRequestBuilderGetQueryParameters(select=fields)
        config = RequestConfiguration(query_parameters=query, options=[option] if option else [])
        builder = self._graph.users.by_user_id(user)
        found = await called("read user", needs.READ_USERS, lambda: builder.get(config))
        if found is None:
            raise ProtocolError("read user: the answer is empty")
        return found

    async def _patch(self, what: str, grant: str, user: str, change: User) -> None:
        # Always a fresh model: one that was read would send all its fields back.
        await called(what, grant, lambda: self._graph.users.by_user_id(user).patch(change))


def _config(query: Query) -> RequestConfiguration[Query]:
    return RequestConfiguration(query_parameters=query, options=[])


def _profile(password: SecretStr) -> PasswordProfile:
    return PasswordProfile(password=password.get_secret_value(), force_change_password_next_sign_in=True)
