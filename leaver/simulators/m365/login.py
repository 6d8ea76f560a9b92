"""The token endpoint: client credentials by secret or by certificate, with Entra's error codes.

learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow and
.../reference-error-codes; the certificate's assertion is RFC 7523, its thumbprint RFC 7515 section 4.1.7.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qs

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from starlette.responses import JSONResponse, Response

from leaver.simulators.faults import Fault, FaultKind
from leaver.simulators.m365.tenant import Tenant
from leaver.simulators.m365.tokens import Audience, CredentialKind, TokenClaims, mint
from leaver.simulators.request_log import Intent
from leaver.simulators.routing import Call, Refusal, Route, Routes

TOKEN_LIFETIME: Final = 3599
_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_WELL_KNOWN: Final = {
    "https://graph.microsoft.com": Audience.GRAPH,
    "https://outlook.office365.com": Audience.EXCHANGE,
    "https://outlook.office.com": Audience.EXCHANGE,
}
_ERROR_NUMBERS: Final = {
    "AADSTS7000215": ("invalid_client", 401),
    "AADSTS7000216": ("invalid_client", 401),
    "AADSTS700027": ("invalid_client", 401),
    "AADSTS700024": ("invalid_client", 401),
    "AADSTS50027": ("invalid_request", 400),
    "AADSTS700016": ("unauthorized_client", 400),
    "AADSTS90002": ("invalid_request", 400),
    "AADSTS900144": ("invalid_request", 400),
    "AADSTS70003": ("unsupported_grant_type", 400),
    "AADSTS70011": ("invalid_scope", 400),
    "AADSTS500011": ("invalid_resource", 400),
}


class LoginDialect:
    """See :class:`leaver.simulators.routing.Dialect`.

    Args:
        tenant: the state.
        origins: the audience of each origin of this simulator, asked when a token is.
    """

    system = "entra"

    def __init__(self, tenant: Tenant, *, origins: Callable[[], Mapping[str, Audience]]) -> None:
        self._tenant = tenant
        self._origins = origins
        self._routes = Routes()
        self._routes.add("POST", "/{tenant}/oauth2/v2.0/token", self._token)
        self._routes.add("GET", "/{tenant}/v2.0/.well-known/openid-configuration", self._metadata)

    def route(self, call: Call) -> Route | None:
        """The route."""
        route, call.params, _ = self._routes.find(call.method, call.path)
        return route

    def intent(self, call: Call, route: Route | None) -> Intent:
        """Tokens change nothing."""
        return Intent(operation=call.path if route is None else route.template, mutating=False)

    def authorise(self, call: Call) -> None:
        """Everybody may ask."""

    def no_route(self, call: Call) -> Response:  # noqa: ARG002 - the protocol's
        """Entra's page for a wrong address."""
        return Response("<!DOCTYPE html><html><body>404 - File or directory not found.</body></html>", 404)

    def trouble(self, fault: Fault, headers: Mapping[str, str], call: Call) -> Response:  # noqa: ARG002
        """A fault that is an answer."""
        if fault.kind in (FaultKind.THROTTLE, FaultKind.BATCH_THROTTLE):
            text = "AADSTS90006: The server is temporarily too busy to handle the request."
            return JSONResponse({"error": "temporarily_unavailable", "error_description": text}, 429, headers)
        return Response("<html><body>Service Unavailable</body></html>", 503, dict(headers))

    def finish(self, response: Response, call: Call) -> None:
        """Entra's request id."""
        response.headers["x-ms-request-id"] = call.request_id
        response.headers["Cache-Control"] = "no-store, no-cache"

    def _token(self, call: Call) -> Response:
        self._check_tenant(call)
        form = {key: values[0] for key, values in parse_qs(call.body.decode("utf-8", "replace")).items()}
        for name in ("grant_type", "client_id", "scope"):
            if name not in form:
                text = f"The request body must contain the following parameter: '{name}'."
                raise self._error(call, "AADSTS900144", text)
        if form["grant_type"] != "client_credentials":
            raise self._error(call, "AADSTS70003", "The app requested an unsupported grant type.")
        if form["client_id"] != self._tenant.app.id:
            text = "was not found in the directory 'Northwind'."
            raise self._error(
                call, "AADSTS700016", f"Application with identifier '{form['client_id']}' {text}"
            )
        credential = self._credential(call, form)
        claims = TokenClaims(
            tenant=self._tenant.id,
            client=form["client_id"],
            audience=self._audience(call, form["scope"]),
            credential=credential,
            expires=self._tenant.now + TOKEN_LIFETIME,
        )
        token = mint(claims, self._tenant.app.token_key)
        body = {"token_type": "Bearer", "expires_in": TOKEN_LIFETIME, "ext_expires_in": TOKEN_LIFETIME}
        return JSONResponse({**body, "access_token": token})

    def _metadata(self, call: Call) -> Response:
        self._check_tenant(call)
        base = f"{call.base_url}/{self._tenant.id}"
        return JSONResponse(
            {
                "issuer": f"{base}/v2.0",
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "jwks_uri": f"{base}/discovery/v2.0/keys",
                "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
            }
        )

    def _check_tenant(self, call: Call) -> None:
        if call.params["tenant"].casefold() not in (self._tenant.id, self._tenant.domain):
            text = "not found. Check to make sure you have the correct tenant ID."
            raise self._error(call, "AADSTS90002", f"Tenant '{call.params['tenant']}' {text}")

    def _credential(self, call: Call, form: Mapping[str, str]) -> CredentialKind:
        if "client_assertion" in form:
            if form.get("client_assertion_type") != _ASSERTION:
                text = "The request body must contain the following parameter: 'client_assertion_type'."
                raise self._error(call, "AADSTS900144", text)
            self._check_assertion(call, form["client_assertion"])
            return CredentialKind.CERTIFICATE
        if "client_secret" not in form:
            text = (
                "'client_assertion' or 'client_secret' is required for the 'client_credentials' grant type."
            )
            raise self._error(call, "AADSTS7000216", text)
        if form["client_secret"] != self._tenant.app.secret:
            text = (
                "Invalid client secret provided. Ensure the secret being sent in the request is the client "
                f"secret value, not the client secret ID, for a secret added to app '{self._tenant.app.id}'."
            )
            raise self._error(call, "AADSTS7000215", text)
        return CredentialKind.SECRET

    def _check_assertion(self, call: Call, assertion: str) -> None:
        try:
            header, claims, signed, signature = _parts(assertion)
        except (ValueError, KeyError) as error:
            text = "JWT token is invalid or malformed."
            raise self._error(call, "AADSTS50027", text) from error
        if not self._signature_is_good(header, signed, signature):
            text = "The certificate with identifier used to sign the client assertion is not registered on "
            raise self._error(call, "AADSTS700027", text + "application, or the signature is invalid.")
        now, skew = self._tenant.now, 300
        if not claims.get("nbf", now) - skew <= now < claims.get("exp", 0):
            text = "Client assertion is not within its valid time range."
            raise self._error(call, "AADSTS700024", text)
        audience = str(claims.get("aud", ""))
        named = claims.get("iss") == claims.get("sub") == self._tenant.app.id
        if not named or not audience.startswith(call.base_url):
            raise self._error(
                call, "AADSTS700027", "Client assertion contains an invalid issuer or audience."
            )

    def _signature_is_good(self, header: Mapping[str, Any], signed: bytes, signature: bytes) -> bool:
        if not self._tenant.app.certificate_pem:
            return False
        certificate = x509.load_pem_x509_certificate(self._tenant.app.certificate_pem.encode("ascii"))
        if not _names(header, certificate) or certificate.not_valid_after_utc < datetime.now(UTC):
            return False
        key = certificate.public_key()
        scheme = _PADDINGS.get(str(header.get("alg")))
        if scheme is None or not isinstance(key, rsa.RSAPublicKey):
            return False
        try:
            key.verify(signature, signed, scheme, hashes.SHA256())
        except InvalidSignature:
            return False
        return True

    def _audience(self, call: Call, scope: str) -> Audience:
        resource, _, suffix = scope.rpartition("/")
        if suffix != ".default":
            text = f"The provided value for the input parameter 'scope' is not valid: {scope}."
            raise self._error(call, "AADSTS70011", text)
        resource = resource.rstrip("/")
        audience = (_WELL_KNOWN | dict(self._origins())).get(resource)
        if audience is None and resource.startswith("https://") and resource.endswith(".sharepoint.com"):
            audience = Audience.SHAREPOINT
        if audience is None:
            text = f"The resource principal named {resource} was not found in the tenant named Northwind."
            raise self._error(call, "AADSTS500011", text)
        return audience

    def _error(self, call: Call, code: str, text: str) -> Refusal:
        error, status = _ERROR_NUMBERS[code]
        stamp = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        correlation = call.headers.get("client-request-id", str(uuid.uuid4()))
        tail = f"Trace ID: {call.request_id} Correlation ID: {correlation} Timestamp: {stamp}"
        body = {
            "error": error,
            "error_description": f"{code}: {text} {tail}",
            "error_codes": [int(code.removeprefix("AADSTS"))],
            "timestamp": stamp,
            "trace_id": call.request_id,
            "correlation_id": correlation,
            "error_uri": f"https://login.microsoftonline.com/error?code={code.removeprefix('AADSTS')}",
        }
        return Refusal(JSONResponse(body, status))


_PADDINGS: Final[dict[str, padding.AsymmetricPadding]] = {
    "RS256": padding.PKCS1v15(),
    "PS256": padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH),
}


def _parts(assertion: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    header, claims, signature = assertion.split(".")
    return (
        json.loads(_decode(header)),
        json.loads(_decode(claims)),
        f"{header}.{claims}".encode("ascii"),
        _decode(signature),
    )


def _names(header: Mapping[str, Any], certificate: x509.Certificate) -> bool:
    wanted = {
        "x5t": certificate.fingerprint(hashes.SHA1()),  # noqa: S303 - the header's own definition
        "x5t#S256": certificate.fingerprint(hashes.SHA256()),
    }
    given = {name: _decode(str(header[name])) for name in wanted if name in header}
    return bool(given) and all(wanted[name] == value for name, value in given.items())


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
