"""What the Active Directory connector is given. Without ldap3: reading a configuration needs no LDAP."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import SecretStr

SERVER_URL: Final = re.compile(r"^(ldaps?)://(\[[0-9a-fA-F:]+\]|[^/:\s]+)(?::(\d{1,5}))?/?$")
"""Scheme, host, port."""


@dataclass(frozen=True, slots=True)
class AdSettings:
    """Where the domain is and who we are there.

    ``servers`` are URLs of writable domain controllers in order of preference: ``ldaps://dc1.corp.example``
    or ``ldap://dc1.corp.example``, which is upgraded with StartTLS before anything is said; there is no way
    to talk in the clear. ``ca_file`` (PEM) is the authority that issued their certificates; None means the
    machine's own trust store. Timeouts are in seconds.
    """

    servers: tuple[str, ...]
    base_dn: str
    bind_dn: str
    password: SecretStr
    ca_file: Path | None = None
    connect_timeout: float = 5.0
    receive_timeout: int = 15

    def __post_init__(self) -> None:
        if not self.servers:
            raise ValueError("servers: name at least one domain controller, e.g. ldaps://dc1.corp.example")
        for url in self.servers:
            if not SERVER_URL.match(url):
                raise ValueError(f"servers: {url!r} is not ldaps://host[:port] or ldap://host[:port]")
