"""Where the sealer pulls HR's list from. Readers of files and of APIs satisfy this from outside."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from leaver.domain.population import Pull


class PopulationSource(Protocol):
    """HR's own list of people, read by the sealer itself and not by the way that starts cases."""

    @property
    def name(self) -> str:
        """The source as records name it, e.g. ``hris/csv/northwind``. Never a person."""

    async def pull(self, now: datetime) -> Pull:
        """Read the whole list. Changes nothing at the source.

        Args:
            now: the moment of the pull (aware); an immediate leaver takes effect then at the latest.

        Raises:
            PullFailedError: the list cannot be read; the text says what to do.
        """
