"""Who we are in a Microsoft 365 tenant: the settings that its connectors share. No SDK is imported here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from leaver.connectors.http import Network

PUBLIC_AUTHORITY: Final = "https://login.microsoftonline.com"
PUBLIC_GRAPH: Final = "https://graph.microsoft.com/v1.0"
PUBLIC_GRAPH_SCOPE: Final = "https://graph.microsoft.com/.default"
_KNOWN_AUTHORITIES: Final = frozenset(
    {"login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn"}
)
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class MicrosoftApp:
    """Our app registration in the customer's tenant, and where it signs in.

    Give ``client_secret`` or ``certificate_file`` (PEM with private key and certificate); where both are
    given the certificate is used. ``authority`` is the sign-in host (national clouds, simulators); it must
    be https, the vendor's SDK refuses anything else.
    """

    tenant_id: str
    client_id: str
    client_secret: SecretStr | None = None
    certificate_file: Path | None = None
    certificate_password: SecretStr | None = None
    authority: str = PUBLIC_AUTHORITY
    network: Network = field(default_factory=Network)

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ValueError: no credential, or an authority that is not https.
        """
        if self.client_secret is None and self.certificate_file is None:
            raise ValueError("client_secret: give a client secret or a certificate_file")
        if urlsplit(self.authority).scheme != "https":
            raise ValueError("authority: must be an https address")

    @property
    def private_authority(self) -> bool:
        """Whether the authority is none of Microsoft's own, so that instance discovery would refuse it."""
        return urlsplit(self.authority).hostname not in _KNOWN_AUTHORITIES


@dataclass(frozen=True, slots=True)
class GraphEndpoint:
    """Microsoft Graph: the address with its version, and the scope its tokens are asked for."""

    url: str = PUBLIC_GRAPH
    scope: str = PUBLIC_GRAPH_SCOPE

    def __post_init__(self) -> None:
        """Refuse an address that would carry tokens in the clear.

        Raises:
            ValueError: plain http to anywhere but this machine.
        """
        require_https("graph_url", self.url)


def require_https(name: str, url: str) -> None:
    """Tokens travel over TLS, or stay on this machine.

    Raises:
        ValueError: ``url`` is neither https nor loopback; the text names the setting.
    """
    parts = urlsplit(url)
    if not parts.hostname or (parts.scheme != "https" and parts.hostname not in _LOOPBACK):
        raise ValueError(f"{name}: must be an https address")
