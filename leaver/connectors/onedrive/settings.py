"""Settings of the OneDrive connector."""

from __future__ import annotations

from dataclasses import dataclass, field

from leaver.connectors.http import Network
from leaver.connectors.microsoft import GraphEndpoint, MicrosoftApp


@dataclass(frozen=True, slots=True)
class OneDriveSettings:
    """How to reach OneDrive: Graph with ``app``, SharePoint with ``app`` too if it has a certificate.

    SharePoint refuses app tokens that were got with a client secret; without a certificate only Graph's
    root invite is left. ``sharepoint_hosts`` are the hosts (or suffixes that begin with a dot) a site may
    live on: our token goes nowhere else, whatever an answer says.
    """

    app: MicrosoftApp
    graph: GraphEndpoint = field(default_factory=GraphEndpoint)
    sharepoint_hosts: tuple[str, ...] = (".sharepoint.com",)
    network: Network = field(default_factory=Network)
