"""Locators: names a vendor's API insists on, tied to the person they were read for.

Most requests carry the immutable id of the person they change, and the write guard reads it there. A few
cannot: SharePoint wants a user principal name and a site address, a drive has an id of its own. For those
the client first asks the vendor, *by immutable id*, what the name is, notes the answer here and sends the
note along with the request. The guard then looks up what the request really carries. A name that was not
read for one of the case's people stands for nobody, and the request is refused; so a stale or recycled
name (trap T44) cannot steer a write to a stranger, and a mix-up in our own code cannot either.
"""

from __future__ import annotations

from typing import Final

import httpx

_KEY: Final = "leaver.locators"


class Locators:
    """What stands for whom, in one call. Names compare without case."""

    def __init__(self) -> None:
        self._subjects: dict[str, str] = {}

    def learn(self, name: str, subject: str) -> None:
        """Note that ``name`` was read from the vendor for the person with id ``subject``."""
        self._subjects[name.casefold()] = subject

    def subject(self, name: str) -> str | None:
        """The id of the person that ``name`` stands for, None where nobody asked for it."""
        return self._subjects.get(name.casefold())

    @property
    def extensions(self) -> dict[str, object]:
        """What to send along with a request."""
        return {_KEY: self}


def locators_of(request: httpx.Request) -> Locators:
    """The locators sent along with a request; empty where none were."""
    found = request.extensions.get(_KEY)
    return found if isinstance(found, Locators) else Locators()
