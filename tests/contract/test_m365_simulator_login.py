"""The token endpoint, and what each API does with a token; the SDK's own credentials get through."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity.aio import CertificateCredential, ClientSecretCredential

from leaver.simulators.company import TENANT_ID, person
from leaver.simulators.faults import FaultKind
from leaver.simulators.m365 import M365Simulator
from leaver.simulators.m365.tokens import Audience, CredentialKind, read
from leaver.simulators.tls import issue_client_certificate
from tests.support.m365_clients import Apis, minted

GRAPH = "https://graph.microsoft.com/.default"


@pytest.fixture
async def login(sim: M365Simulator) -> AsyncIterator[httpx.AsyncClient]:
    trust = ssl.create_default_context(cafile=sim.endpoints.ca_file)
    async with httpx.AsyncClient(verify=trust, base_url=sim.endpoints.login_url) as client:
        yield client


async def ask(
    login: httpx.AsyncClient, sim: M365Simulator, tenant: str = TENANT_ID, **form: str
) -> httpx.Response:
    usual = {
        "grant_type": "client_credentials",
        "client_id": sim.endpoints.client_id,
        "client_secret": sim.endpoints.client_secret,
        "scope": GRAPH,
    }
    given = {key: value for key, value in (usual | form).items() if value}
    return await login.post(f"/{tenant}/oauth2/v2.0/token", data=given)


async def test_a_secret_gives_an_opaque_token(login: httpx.AsyncClient, sim: M365Simulator) -> None:
    answer = (await ask(login, sim)).json()
    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 3599)
    claims = read(answer["access_token"], sim.tenant.app.token_key, sim.tenant.now)
    assert claims is not None
    assert (claims.audience, claims.credential) == (Audience.GRAPH, CredentialKind.SECRET)
    assert sim.log.mutations() == []


@pytest.mark.parametrize(
    ("form", "status", "error", "code"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client", "AADSTS7000215"),
        ({"client_secret": ""}, 401, "invalid_client", "AADSTS7000216"),
        ({"client_id": "5e5f0000-0000-4000-8000-000000000000"}, 400, "unauthorized_client", "AADSTS700016"),
        ({"scope": "https://graph.microsoft.com/User.Read"}, 400, "invalid_scope", "AADSTS70011"),
        ({"scope": "https://vault.azure.net/.default"}, 400, "invalid_resource", "AADSTS500011"),
        ({"scope": ""}, 400, "invalid_request", "AADSTS900144"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type", "AADSTS70003"),
        ({"tenant": "5e5f0000-0000-4000-8000-000000000000"}, 400, "invalid_request", "AADSTS90002"),
    ],
)
async def test_what_is_wrong_is_said(
    login: httpx.AsyncClient, sim: M365Simulator, form: dict[str, str], status: int, error: str, code: str
) -> None:
    response = await ask(login, sim, **form)
    body = response.json()
    assert (response.status_code, body["error"]) == (status, error)
    assert body["error_description"].startswith(f"{code}:")
    assert body["error_codes"] == [int(code.removeprefix("AADSTS"))]


async def test_the_sdk_gets_tokens_by_secret_and_by_certificate(sim: M365Simulator) -> None:
    there = sim.endpoints
    options = {"authority": there.login_url, "disable_instance_discovery": True}
    trust = str(there.ca_file)
    by_secret = ClientSecretCredential(
        there.tenant_id, there.client_id, there.client_secret, connection_verify=trust, **options
    )
    by_certificate = CertificateCredential(
        there.tenant_id,
        there.client_id,
        str(there.certificate_bundle_file),
        connection_verify=trust,
        **options,
    )
    async with by_secret, by_certificate:
        kinds = []
        for credential in (by_secret, by_certificate):
            token = await credential.get_token(f"{there.sharepoint_url}/.default")
            claims = read(token.token, sim.tenant.app.token_key, sim.tenant.now)
            assert claims is not None
            assert claims.audience is Audience.SHAREPOINT
            kinds.append(claims.credential)
    assert kinds == [CredentialKind.SECRET, CredentialKind.CERTIFICATE]


async def test_another_certificate_is_refused(sim: M365Simulator, tmp_path: Path) -> None:
    there = sim.endpoints
    other = issue_client_certificate(tmp_path)
    credential = CertificateCredential(
        there.tenant_id,
        there.client_id,
        str(other.bundle_file),
        authority=there.login_url,
        disable_instance_discovery=True,
        connection_verify=str(there.ca_file),
    )
    async with credential:
        with pytest.raises(ClientAuthenticationError, match="AADSTS700027"):
            await credential.get_token(GRAPH)


async def test_an_assertion_that_is_none_is_refused(login: httpx.AsyncClient, sim: M365Simulator) -> None:
    kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    unsigned = base64.urlsafe_b64encode(json.dumps({"alg": "none"}).encode()).decode().rstrip("=")
    for assertion, code in (("nonsense", "AADSTS50027"), (f"{unsigned}.{unsigned}.", "AADSTS700027")):
        response = await ask(
            login, sim, client_secret="", client_assertion=assertion, client_assertion_type=kind
        )
        assert response.json()["error_description"].startswith(code)


@pytest.mark.parametrize("token", ["", "Bearer", "Basic abc", "Bearer a.b", "exchange", "expired"])
async def test_graph_refuses_what_is_not_its_own(apis: Apis, sim: M365Simulator, token: str) -> None:
    header = {
        "exchange": minted(sim, Audience.EXCHANGE),
        "expired": minted(sim, Audience.GRAPH),
    }.get(token, token)
    if token == "expired":
        sim.tenant.clock.advance(4000)
    apis.graph.headers["Authorization"] = header
    if not header.startswith("Bearer a") and token not in ("exchange", "expired"):
        # Not even a bearer token: no request of the contract's, so only the answer matters.
        apis.graph.event_hooks = {}
    response = await apis.graph.get(f"/users/{person('E1001').object_id}")
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "InvalidAuthenticationToken"
    assert response.headers["WWW-Authenticate"].startswith("Bearer ")


async def test_the_token_endpoint_can_be_away(login: httpx.AsyncClient, sim: M365Simulator) -> None:
    sim.faults.add(FaultKind.UNAVAILABLE, system="entra", path="oauth2")
    assert (await ask(login, sim)).status_code == 503
    assert (await ask(login, sim)).status_code == 200


async def test_metadata_names_the_endpoint(login: httpx.AsyncClient) -> None:
    found = (await login.get(f"/{TENANT_ID}/v2.0/.well-known/openid-configuration")).json()
    assert found["token_endpoint"] == f"{str(login.base_url).rstrip('/')}/{TENANT_ID}/oauth2/v2.0/token"
    assert (await login.get("/nowhere/at/all")).status_code == 404
