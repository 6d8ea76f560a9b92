"""Settings of the Exchange Online connector."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from leaver.connectors.http import Network
from leaver.connectors.microsoft import GraphEndpoint, MicrosoftApp, require_https

PUBLIC_EXCHANGE: Final = "https://outlook.office365.com"
PUBLIC_EXCHANGE_SCOPE: Final = "https://outlook.office365.com/.default"


@dataclass(frozen=True, slots=True)
class ExchangeSettings:
    """How to reach Exchange Online's admin API, and Graph for the second opinion.

    Exchange works slowly at times, hence its longer limit.
    """

    app: MicrosoftApp
    url: str = PUBLIC_EXCHANGE
    scope: str = PUBLIC_EXCHANGE_SCOPE
    graph: GraphEndpoint = field(default_factory=GraphEndpoint)
    network: Network = field(default_factory=lambda: Network(read_timeout=40.0))

    def __post_init__(self) -> None:
        """Refuse an address that would carry tokens in the clear.

        Raises:
            ValueError: plain http to anywhere but this machine.
        """
        require_https("exchange_url", self.url)
