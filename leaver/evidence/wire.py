"""Event numbers of a Temporal history, read from the exported bytes themselves.

JSON: ``{"events": [{"eventId": "1", "eventType": …}, …]}``, the protobuf JSON mapping of
``temporal.api.history.v1.History``. Binary: the same message serialised; ``events`` is field 1 and an event's
``event_id`` is its field 1 (github.com/temporalio/api, temporal/api/history/v1/message.proto).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

_CLOSING: Final = frozenset(
    f"EVENT_TYPE_WORKFLOW_EXECUTION_{end}"
    for end in ("COMPLETED", "FAILED", "TIMED_OUT", "CANCELED", "TERMINATED", "CONTINUED_AS_NEW")
)
_EVENTS_FIELD: Final = 1 << 3 | 2
_EVENT_ID_FIELD: Final = 1 << 3


class _Event(BaseModel):
    model_config = ConfigDict(extra="ignore")

    eventId: int  # noqa: N815 - Temporal's name
    eventType: str  # noqa: N815


class _History(BaseModel):
    model_config = ConfigDict(extra="ignore")

    events: list[_Event] = Field(min_length=1)


def event_numbers(raw: bytes, *, is_json: bool) -> list[int]:
    """The event ids of a history in their order.

    Raises:
        ValueError: the bytes are no history, or the JSON form does not end with a closing event.
    """
    return _json_numbers(raw) if is_json else list(_binary_numbers(raw))


def _json_numbers(raw: bytes) -> list[int]:
    try:
        events = _History.model_validate_json(raw).events
    except ValidationError:
        raise ValueError("not a Temporal history in JSON") from None
    if events[-1].eventType not in _CLOSING:
        raise ValueError("the history is not closed")
    return [event.eventId for event in events]


def _binary_numbers(raw: bytes) -> Iterator[int]:
    rest = memoryview(raw)
    while rest:
        tag, rest = _varint(rest)
        size, rest = _varint(rest)
        event, rest = rest[:size], rest[size:]
        if tag != _EVENTS_FIELD or len(event) != size:
            raise ValueError("not a Temporal history in binary form")
        first, event = _varint(event)
        if first != _EVENT_ID_FIELD:
            raise ValueError("an event without a number")
        yield _varint(event)[0]


def _varint(data: memoryview) -> tuple[int, memoryview]:
    """Read a base-128 number (protobuf.dev, "Encoding")."""
    value = 0
    for place, byte in enumerate(data[:10]):
        value |= (byte & 0x7F) << (7 * place)
        if not byte & 0x80:
            return value, data[place + 1 :]
    raise ValueError("not a Temporal history in binary form")
