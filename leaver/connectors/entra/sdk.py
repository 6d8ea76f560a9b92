"""The msgraph-sdk, tamed: no retries, no redirects, our transport, our token, our errors."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import httpx
from kiota_abstractions.api_error import APIError
from kiota_abstractions.authentication import (
    AccessTokenProvider,
    AllowedHostsValidator,
    BaseBearerTokenAuthenticationProvider,
)
from kiota_abstractions.serialization import Parsable, ParsableFactory
from kiota_http._exceptions import DeserializationError
from kiota_http.middleware import HeadersInspectionHandler, ParametersNameDecodingHandler
from kiota_http.middleware.options import HeadersInspectionHandlerOption
from kiota_http.observability_options import ObservabilityOptions
from kiota_serialization_json.json_parse_node_factory import JsonParseNodeFactory
from msgraph.generated.models.authentication_method_collection_response import (
    AuthenticationMethodCollectionResponse,
)
from msgraph.generated.models.directory_object_collection_response import DirectoryObjectCollectionResponse
from msgraph.generated.models.group import Group as GraphGroup
from msgraph.generated.models.mailbox_settings import MailboxSettings
from msgraph.generated.models.o_data_errors.o_data_error import ODataError
from msgraph.generated.models.user import User
from msgraph.graph_request_adapter import GraphRequestAdapter
from msgraph.graph_service_client import GraphServiceClient
from msgraph_core import GraphClientFactory  # type: ignore[import-untyped]

from leaver.connectors.errors import ProtocolError
from leaver.connectors.graph import graph_error
from leaver.connectors.tokens import TokenSource

T = TypeVar("T")

# By default the handler gathers the headers of every answer, for ever, in one collection.
_NO_HEADERS: Final = HeadersInspectionHandlerOption(False, False)

_SAMPLES: Final[tuple[tuple[ParsableFactory[Parsable], bytes], ...]] = (
    (User, b'{"id":"0","accountEnabled":true,"licenseAssignmentStates":[{"skuId":null}]}'),
    (GraphGroup, b'{"id":"0","groupTypes":[]}'),
    (DirectoryObjectCollectionResponse, b'{"value":[{"@odata.type":"#microsoft.graph.group","id":"0"}]}'),
    (
        AuthenticationMethodCollectionResponse,
        b'{"value":[{"@odata.type":"#microsoft.graph.phoneAuthenticationMethod","id":"0"}]}',
    ),
    (MailboxSettings, b'{"userPurpose":"user"}'),
    (ODataError, b'{"error":{"code":"c","message":"m"}}'),
)


class _Tokens(AccessTokenProvider):
    """Hands our token to the SDK, for Graph's host and no other."""

    def __init__(self, tokens: TokenSource, scope: str, host: str) -> None:
        self._tokens = tokens
        self._scope = scope
        # An empty list would mean that every https host gets the token.
        self._hosts = AllowedHostsValidator([host])

    async def get_authorization_token(
        self, uri: str, additional_authentication_context: dict[str, object] | None = None
    ) -> str:
        if not self._hosts.is_url_host_valid(uri):
            raise ProtocolError("an answer points to a host that is not the configured one")
        claims = (additional_authentication_context or {}).get("claims")
        decoded = base64.b64decode(claims).decode() if isinstance(claims, str) and claims else None
        return await self._tokens.token(self._scope, claims=decoded)

    def get_allowed_hosts_validator(self) -> AllowedHostsValidator:
        return self._hosts


def service_client(
    http: httpx.AsyncClient, tokens: TokenSource, *, url: str, scope: str
) -> GraphServiceClient:
    """The SDK's client over our guarded ``http``, for the Graph at ``url``.

    The middleware is chosen piece by piece: the SDK's retry handler would send a POST again up to three
    times, and its redirect handler would follow to other hosts.
    """
    prepared = GraphClientFactory.create_with_custom_middleware(
        [ParametersNameDecodingHandler(), HeadersInspectionHandler(_NO_HEADERS)], client=http
    )
    host = httpx.URL(url).host
    auth = BaseBearerTokenAuthenticationProvider(_Tokens(tokens, scope, host))
    adapter = GraphRequestAdapter(auth, client=prepared)
    adapter.base_url = url.rstrip("/")
    # Its trace spans would carry whole addresses, and with them the filters that name people.
    adapter.observability_options = ObservabilityOptions(enabled=True, include_euii_attributes=False)
    return GraphServiceClient(request_adapter=adapter)


async def called(what: str, needs: str, call: Callable[[], Awaitable[T]]) -> T:
    """Make one SDK call and turn its errors into ours.

    Args:
        what: the operation in our words, for messages; no personal data.
        needs: the grant that a 403 lacks.
        call: makes the request.

    Raises:
        ConnectorError: and nothing else of the SDK's.
    """
    try:
        return await call()
    except APIError as err:
        main = err.error if isinstance(err, ODataError) else None
        code = (main.code if main else None) or ""
        raise graph_error(err.response_status_code or 0, code, what=what, needs=needs) from None
    except DeserializationError:
        raise ProtocolError(f"{what}: the answer does not fit Graph's contract") from None


def prewarm() -> None:
    """Load the SDK's models. The first answer of each kind costs a second of imports otherwise.

    Blocks: call it in a thread, or before the event loop has work.
    """
    factory = JsonParseNodeFactory()
    for model, sample in _SAMPLES:
        factory.get_root_parse_node("application/json", sample).get_object_value(model)
