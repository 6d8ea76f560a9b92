"""Stable identifiers: the same thing gets the same UUID in every file and at every checkpoint."""

from __future__ import annotations

import uuid
from typing import Final

NAMESPACE: Final = uuid.UUID("6f1c5a52-9b0b-5d3c-8f0e-3d9a1f5c7e21")
"""The namespace of every UUID the formats make (RFC 9562 section 5.5, version 5)."""

PROPERTIES: Final = "urn:leaver:oscal:v1"
"""The namespace of our own properties in OSCAL documents."""


def uid(*parts: str) -> str:
    """The UUID of a thing by its name. Parts are joined unambiguously."""
    return str(uuid.uuid5(NAMESPACE, "\x1f".join(parts)))
