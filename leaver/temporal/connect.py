"""The one way to a Temporal client: retries while the server starts, one clear error when it does not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from pydantic import SecretBytes, SecretStr
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client, Interceptor
from temporalio.common import HeaderCodecBehavior
from temporalio.runtime import Runtime
from temporalio.service import HttpConnectProxyConfig, RPCError, RPCStatusCode, TLSConfig

from leaver.temporal.converter import data_converter
from leaver.temporal.keyring import Keyring

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 1.0


class TemporalUnreachableError(Exception):
    """No usable Temporal server at the address; the text names it and says what to do."""


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """TLS towards Temporal, PEM bytes. With ``client_cert`` and ``client_key`` it is mutual.

    ``domain`` overrides the name the server's certificate is checked against.
    """

    server_ca: bytes | None = None
    client_cert: bytes | None = None
    client_key: SecretBytes | None = field(default=None, repr=False)
    domain: str | None = None


@dataclass(frozen=True, slots=True)
class TemporalSettings:
    """Where Temporal is and who we are to it.

    ``identity`` shows in the Temporal UI (empty: pid@host). ``timeout`` is how long, in seconds, a
    start-up may wait for the server. ``proxy`` is an HTTP CONNECT proxy, ``host:port``, for on-premises
    workers.
    """

    address: str = "127.0.0.1:7233"
    namespace: str = "default"
    identity: str = ""
    tls: TlsSettings | None = None
    api_key: SecretStr | None = field(default=None, repr=False)
    proxy: str = ""
    timeout: float = 10.0


async def connect(
    settings: TemporalSettings,
    keyring: Keyring | None,
    *,
    runtime: Runtime | None = None,
    interceptors: Sequence[Interceptor] = (),
    encrypt: bool = True,
) -> Client:
    """Open a client to Temporal and check that the namespace exists.

    Sends only read requests. Tries again, with short pauses, until ``settings.timeout`` seconds are over.

    Args:
        settings: Address, namespace, TLS, identity.
        keyring: Payload keys; None leaves payloads in plain text (tests only).
        runtime: From ``process_runtime`` in a long-lived process; None: the SDK's default.
        interceptors: Client interceptors, e.g. tracing.
        encrypt: Passed to ``data_converter``.

    Raises:
        TemporalUnreachableError: no connection, refused credentials, or no such namespace.
    """
    deadline = time.monotonic() + settings.timeout
    pause = _FIRST_PAUSE
    while True:
        try:
            client = await _open(settings, keyring, runtime, interceptors, encrypt=encrypt)
            await _check_namespace(client, settings)
        except (RuntimeError, RPCError) as err:
            # The SDK reports every failed connection as a bare RuntimeError.
            if time.monotonic() + pause > deadline or _is_final(err):
                raise TemporalUnreachableError(_advice(settings, err)) from err
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        else:
            return client


async def _open(
    settings: TemporalSettings,
    keyring: Keyring | None,
    runtime: Runtime | None,
    interceptors: Sequence[Interceptor],
    *,
    encrypt: bool,
) -> Client:
    return await Client.connect(
        settings.address,
        namespace=settings.namespace,
        identity=settings.identity or None,
        api_key=settings.api_key.get_secret_value() if settings.api_key else None,
        tls=_tls(settings.tls),
        http_connect_proxy_config=HttpConnectProxyConfig(target_host=settings.proxy)
        if settings.proxy
        else None,
        data_converter=data_converter(keyring, namespace=settings.namespace, encrypt=encrypt),
        interceptors=interceptors,
        runtime=runtime,
        # The SDK's default leaves headers, i.e. anything that is propagated, in plain text.
        header_codec_behavior=HeaderCodecBehavior.CODEC,
    )


async def _check_namespace(client: Client, settings: TemporalSettings) -> None:
    try:
        await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=settings.namespace)
        )
    except RPCError as err:
        # A least-privilege worker may be denied this question, and test servers may not answer it: neither
        # says that the namespace is missing.
        if err.status not in (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNIMPLEMENTED):
            raise


def _tls(settings: TlsSettings | None) -> TLSConfig | bool:
    if settings is None:
        return False
    return TLSConfig(
        server_root_ca_cert=settings.server_ca,
        domain=settings.domain,
        client_cert=settings.client_cert,
        client_private_key=settings.client_key.get_secret_value() if settings.client_key else None,
    )


def _is_final(err: RuntimeError | RPCError) -> bool:
    return isinstance(err, RPCError) and err.status in (
        RPCStatusCode.UNAUTHENTICATED,
        RPCStatusCode.INVALID_ARGUMENT,
    )


def _advice(settings: TemporalSettings, err: RuntimeError | RPCError) -> str:
    where = f"Temporal at {settings.address}"
    if isinstance(err, RPCError) and err.status is RPCStatusCode.NOT_FOUND:
        return (
            f"{where} has no namespace {settings.namespace!r}; create it "
            f"(temporal operator namespace create --namespace {settings.namespace}) "
            "or correct temporal.namespace"
        )
    if isinstance(err, RPCError) and err.status is RPCStatusCode.UNAUTHENTICATED:
        return f"{where} refused our credentials; check temporal.api_key and the client certificate"
    return (
        f"{where} gave no usable answer within {settings.timeout:g} s; start it (leaver dev starts an "
        "embedded one), or correct temporal.address and its TLS settings"
    )
