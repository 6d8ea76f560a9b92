"""Tokens of our own app, from Entra's token endpoint through azure-identity."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncGenerator, Collection, Mapping
from typing import Final

import httpx
from azure.core.exceptions import AzureError, HttpResponseError
from azure.identity.aio import CertificateCredential, ClientSecretCredential

from leaver.connectors.errors import ConnectorError, InvalidCredentials, ProtocolError, Throttled, Unavailable
from leaver.connectors.http import retry_after
from leaver.connectors.microsoft import MicrosoftApp

_AADSTS: Final = re.compile(r"AADSTS\d+")
_CLAIMS: Final = re.compile(r'claims="([^"]+)"')


class TokenSource:
    """Access tokens for one app registration. One per process and event loop; close it at the end."""

    def __init__(self, app: MicrosoftApp) -> None:
        self._credential = _credential(app)

    async def token(self, scope: str, *, claims: str | None = None) -> str:
        """A token for ``scope``, from memory while it lasts.

        Args:
            scope: e.g. ``https://graph.microsoft.com/.default``.
            claims: the decoded claims of a continuous access evaluation challenge, to be asked for anew.

        Raises:
            InvalidCredentials: Entra refused our secret or certificate.
            Throttled: the token endpoint asked us to slow down.
            Unavailable: it could not be reached or could not answer.
        """
        try:
            found = await self._credential.get_token(scope, claims=claims, enable_cae=True)
        except HttpResponseError as err:
            raise _refused(err) from None
        except AzureError as err:
            raise Unavailable(f"token endpoint: no answer ({type(err).__name__})") from None
        return found.token

    async def aclose(self) -> None:
        """Close the connections to the token endpoint."""
        await self._credential.close()


class BearerAuth(httpx.Auth):
    """Adds our token to requests for the given hosts and refuses every other host.

    A link in an answer must not be able to carry our token away.

    Args:
        tokens: where tokens come from.
        hosts: exact host names, or suffixes that begin with a dot.
        scope: what the token is for; None asks for a token for the very host of the request, as SharePoint
            wants it.
    """

    def __init__(self, tokens: TokenSource, hosts: Collection[str], scope: str | None) -> None:
        self._tokens = tokens
        self._hosts = frozenset(host.casefold() for host in hosts)
        self._scope = scope

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Authorise one request.

        Raises:
            ProtocolError: the host is none of ours.
        """
        host = request.url.host.casefold()
        if host not in self._hosts and not any(
            suffix.startswith(".") and host.endswith(suffix) for suffix in self._hosts
        ):
            raise ProtocolError("an answer points to a host that is not the configured one")
        scope = self._scope or f"https://{request.url.netloc.decode()}/.default"
        request.headers["Authorization"] = f"Bearer {await self._tokens.token(scope)}"
        response = yield request
        claims = _challenge(response)
        if claims is not None:
            # Continuous access evaluation wants a newer token; the request was refused before it did a thing.
            token = await self._tokens.token(scope, claims=claims)
            request.headers["Authorization"] = f"Bearer {token}"
            yield request


def _credential(app: MicrosoftApp) -> CertificateCredential | ClientSecretCredential:
    network = app.network
    # retry_total=0: Temporal retries, nobody else. Environment proxies are off as for all our traffic.
    options = {
        "authority": app.authority,
        "disable_instance_discovery": app.private_authority,
        "retry_total": 0,
        "connection_timeout": network.connect_timeout,
        "read_timeout": network.read_timeout,
        "use_env_settings": False,
        "connection_verify": str(network.ca_file) if network.ca_file else True,
        "proxies": {"https": network.proxy} if network.proxy else {},
    }
    if app.certificate_file is not None:
        password = app.certificate_password.get_secret_value() if app.certificate_password else None
        return CertificateCredential(
            app.tenant_id, app.client_id, str(app.certificate_file), password=password, **options
        )
    if app.client_secret is None:
        raise ValueError("client_secret: missing")
    return ClientSecretCredential(
        app.tenant_id, app.client_id, app.client_secret.get_secret_value(), **options
    )


def _challenge(response: httpx.Response) -> str | None:
    """The claims that a 401 asks for, decoded; None where it asks for none."""
    found = _CLAIMS.search(response.headers.get("www-authenticate", ""))
    if response.status_code != httpx.codes.UNAUTHORIZED or found is None:
        return None
    try:
        return base64.b64decode(found.group(1), validate=True).decode()
    except ValueError:
        return None


def _refused(err: HttpResponseError) -> ConnectorError:
    status = err.status_code or 0
    if status == httpx.codes.TOO_MANY_REQUESTS or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        kind = Throttled if status == httpx.codes.TOO_MANY_REQUESTS else Unavailable
        return kind(f"token endpoint: answered {status}", retry_after=_retry_after(err))
    # The vendor's text names tenant, app and trace; its code is enough to look it up.
    code = _AADSTS.search(err.message or "")
    return InvalidCredentials(
        f"Entra refused the app's own credential ({code.group() if code else 'no code'});"
        " check client id, secret or certificate, and their expiry"
    )


def _retry_after(err: HttpResponseError) -> float | None:
    # azure-core types the answer as the least that all of its transports share, without headers.
    headers = getattr(err.response, "headers", None)
    return retry_after(httpx.Headers(dict(headers))) if isinstance(headers, Mapping) else None
