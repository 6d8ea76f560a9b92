"""What the OneDrive activities need of a file system."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from leaver.connectors.errors import AccessDenied


class SharePointRefusedError(AccessDenied):
    """SharePoint does not take our token, or the app lacks its permission. Graph may still be open."""


@dataclass(frozen=True, slots=True)
class Drive:
    """A person's OneDrive. ``site_url`` names its owner: it never goes into evidence."""

    id: str
    owner: str
    site_url: str


class FileSystem(Protocol):
    """OneDrive. Owners and successors are Entra object ids. Every method may raise ``ConnectorError``."""

    async def drive(self, owner: str) -> Drive | None:
        """The person's drive, None where none was ever provisioned."""

    async def is_site_admin(self, drive: Drive, person: str) -> bool:
        """Whether the person administers the drive's site. Raises ``SharePointRefusedError``."""

    async def make_site_admin(self, drive: Drive, person: str) -> None:
        """Write: make the person a site-collection administrator. Raises ``SharePointRefusedError``."""

    async def has_root_grant(self, drive: Drive, person: str) -> bool:
        """Whether the person may write to the drive's root by a grant of Graph."""

    async def grant_root(self, drive: Drive, person: str) -> None:
        """Write: share the drive's root with the person, to write, without a message."""
