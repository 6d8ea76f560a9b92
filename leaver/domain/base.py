"""Base classes of every model: frozen, typed, aware of time zones."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Annotated

import rfc8785
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, JsonValue

Facts = dict[str, JsonValue]
"""What was read from a system, in plain JSON: no names, no mail addresses, no secrets."""


def _to_utc(value: datetime) -> datetime:
    return value.astimezone(UTC)


Instant = Annotated[AwareDatetime, AfterValidator(_to_utc)]
"""A point in time, aware and in UTC. A naive value is refused."""


class Message(BaseModel):
    """A payload between our own processes.

    Unknown fields are ignored, so that an older worker can still read what a newer one wrote.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", validate_by_name=True, validate_by_alias=True)


class Document(BaseModel):
    """Something a person or another system wrote for us: an unknown field is an error that names it."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True)


def canonical(model: BaseModel) -> bytes:
    """The model as RFC 8785 canonical JSON, by field name, so that equal models give equal bytes."""
    return rfc8785.dumps(model.model_dump(mode="json", by_alias=False))


def digest(model: BaseModel) -> str:
    """``sha256:`` and the hexadecimal hash of the model's canonical JSON."""
    return "sha256:" + hashlib.sha256(canonical(model)).hexdigest()
