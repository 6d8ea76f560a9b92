"""Settings of the Entra connector."""

from __future__ import annotations

from dataclasses import dataclass, field

from leaver.connectors.http import Network
from leaver.connectors.microsoft import GraphEndpoint, MicrosoftApp


@dataclass(frozen=True, slots=True)
class EntraSettings:
    """How to reach Entra ID: our app, Microsoft Graph, the network."""

    app: MicrosoftApp
    graph: GraphEndpoint = field(default_factory=GraphEndpoint)
    network: Network = field(default_factory=Network)
