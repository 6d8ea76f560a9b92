"""The Microsoft 365 simulator: one tenant behind login, Graph, Exchange, SharePoint and a control port."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from leaver.simulators.faults import FaultBook
from leaver.simulators.listener import Listener
from leaver.simulators.m365.control import control_app
from leaver.simulators.m365.exchange import ExchangeDialect
from leaver.simulators.m365.graph_app import GraphDialect
from leaver.simulators.m365.login import LoginDialect
from leaver.simulators.m365.sharepoint import SharePointDialect
from leaver.simulators.m365.tenant import Tenant
from leaver.simulators.m365.tokens import Audience
from leaver.simulators.request_log import RequestLog, RequestRecord
from leaver.simulators.routing import Dialect, Service
from leaver.simulators.tls import LoopbackTls, issue_client_certificate

LISTENERS: Final = ("login", "graph", "exchange", "sharepoint", "control")


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the simulator answers, and what it accepts as credentials. No address ends with a slash."""

    login_url: str
    graph_url: str
    """With ``/v1.0``."""
    exchange_url: str
    """Without ``/adminapi``."""
    sharepoint_url: str
    control_url: str
    ca_file: Path
    tenant_id: str
    client_id: str
    client_secret: str = field(repr=False)
    certificate_file: Path
    certificate_key_file: Path
    certificate_bundle_file: Path
    """Key and certificate in one PEM file, as azure-identity wants it."""

    def as_dict(self) -> dict[str, str]:
        """For JSON, the secret among the rest."""
        return {key: str(value) for key, value in asdict(self).items()}


class M365Simulator:
    """Serves a tenant while it is entered as an asynchronous context.

    Args:
        tenant: the state; look at it and change it freely while the simulator runs.
        tls: certificate of the listeners; the application's own certificate is made beside it.
        log_dir: where ``requests-entra.jsonl`` and its siblings go; None keeps them in memory only.
        log: a log shared with other simulators, in place of ``log_dir``.
        faults: orders shared with other simulators.
        ports: ports by listener name (see ``LISTENERS``); missing ones are chosen by the system.
    """

    def __init__(  # noqa: PLR0913 - each says something of its own
        self,
        tenant: Tenant,
        tls: LoopbackTls,
        *,
        log_dir: Path | None = None,
        log: RequestLog | None = None,
        faults: FaultBook | None = None,
        ports: Mapping[str, int] | None = None,
    ) -> None:
        self.tenant = tenant
        self.faults = FaultBook() if faults is None else faults
        self.log = RequestLog(log_dir) if log is None else log
        self._tls = tls
        self._certificate = issue_client_certificate(tls.ca_file.parent)
        with tenant.apps.change(tenant.app.id) as app:
            app.certificate_pem = self._certificate.cert_file.read_text("ascii")
        self._listeners = self._build(ports or {})

    @property
    def requests(self) -> list[RequestRecord]:
        """Every request so far, oldest first."""
        return self.log.records

    @property
    def endpoints(self) -> Endpoints:
        """Addresses and credentials; the same as long as the object lives."""
        url = {name: listener.url for name, listener in self._listeners.items()}
        return Endpoints(
            login_url=url["login"],
            graph_url=url["graph"] + "/v1.0",
            exchange_url=url["exchange"],
            sharepoint_url=url["sharepoint"],
            control_url=url["control"],
            ca_file=self._tls.ca_file,
            tenant_id=self.tenant.id,
            client_id=self.tenant.app.id,
            client_secret=self.tenant.app.secret,
            certificate_file=self._certificate.cert_file,
            certificate_key_file=self._certificate.key_file,
            certificate_bundle_file=self._certificate.bundle_file,
        )

    @property
    def ports(self) -> dict[str, int]:
        """Ports by listener name, to be given to a successor."""
        return {name: listener.port for name, listener in self._listeners.items()}

    async def start(self) -> None:
        """Serve; returns once requests are answered."""
        await asyncio.gather(*(listener.start() for listener in self._listeners.values()))

    async def stop(self) -> None:
        """Stop serving."""
        await asyncio.gather(*(listener.stop() for listener in self._listeners.values()))
        self.log.close()

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        await self.stop()

    def _build(self, ports: Mapping[str, int]) -> dict[str, Listener]:
        graph = GraphDialect(self.tenant, sharepoint_origin=lambda: self._listeners["sharepoint"].url)
        graph_service = self._service(graph)
        graph.serve_batches(graph_service.answer)
        apps: dict[str, Any] = {
            "login": self._service(LoginDialect(self.tenant, origins=self._origins)),
            "graph": graph_service,
            "exchange": self._service(ExchangeDialect(self.tenant)),
            "sharepoint": self._service(SharePointDialect(self.tenant)),
            "control": control_app(self.tenant, self.faults, self.log),
        }
        listeners: dict[str, Listener] = {}
        try:
            for name in LISTENERS:
                tls = None if name == "control" else self._tls
                listeners[name] = Listener(apps[name], port=ports.get(name, 0), tls=tls)
        except OSError:
            for listener in listeners.values():
                listener.close()
            raise
        return listeners

    def _service(self, dialect: Dialect) -> Service:
        tenant = self.tenant
        return Service(dialect, log=self.log, faults=self.faults, now=tenant.clock.now, settle=tenant.settle)

    def _origins(self) -> dict[str, Audience]:
        audiences = zip(("graph", "exchange", "sharepoint"), Audience, strict=True)
        return {self._listeners[name].url: audience for name, audience in audiences}
