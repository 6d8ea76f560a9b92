"""A Temporal history read from its exported bytes, without protobuf.

Binary: ``temporal.api.history.v1.History`` serialised; ``events`` is field 1, and an event's ``event_id`` is
its field 1 (github.com/temporalio/api, temporal/api/history/v1/message.proto). JSON: the protobuf JSON
mapping of the same message, ``{"events": [{"eventId": "1", "eventType": …}, …]}``.

A verifier needs ``chain.history_head(raw)`` for the hash chain, ``event_numbers`` for both forms and
``closing_type`` to see that a history is a closed run's. Nothing here imports Temporal's library.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

CLOSING: Final = {
    2: "COMPLETED",
    3: "FAILED",
    4: "TIMED_OUT",
    21: "CANCELED",
    27: "TERMINATED",
    28: "CONTINUED_AS_NEW",
}
"""How a run ends: number and name of the event types ``EVENT_TYPE_WORKFLOW_EXECUTION_…``
(temporal/api/enums/v1/event_type.proto)."""

_JSON_CLOSING: Final = {f"EVENT_TYPE_WORKFLOW_EXECUTION_{name}": name for name in CLOSING.values()}
_MAX_VARINT_BYTES: Final = 10
_EVENTS: Final = 1
_EVENT_ID: Final = 1
_EVENT_TYPE: Final = 3
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class _Event(BaseModel):
    model_config = ConfigDict(extra="ignore")

    eventId: int  # noqa: N815 - Temporal's name
    eventType: str  # noqa: N815


class _History(BaseModel):
    model_config = ConfigDict(extra="ignore")

    events: list[_Event] = Field(min_length=1)


def event_bytes(raw: bytes) -> Iterator[bytes]:
    """Each event of a binary history, exactly as its bytes stand there.

    Raises:
        ValueError: the bytes are not a history.
    """
    for number, wire_type, value in _fields(memoryview(raw)):
        if number != _EVENTS or wire_type != _BYTES:
            raise ValueError("not a Temporal history in binary form")
        yield bytes(value)


def after(raw: bytes, count: int) -> bytes:
    """What follows the first events of a binary history: itself a binary history.

    Raises:
        ValueError: the bytes are not a history, or it has fewer events.
    """
    rest = memoryview(raw)
    for _ in range(count):
        if not rest:
            raise ValueError(f"the history has fewer than {count} events")
        _, rest = _varint(rest)
        size, rest = _varint(rest)
        rest = rest[size:]
    return bytes(rest)


def event_numbers(raw: bytes, *, is_json: bool) -> list[int]:
    """The event ids of a history in their order.

    Raises:
        ValueError: the bytes are no history, or it does not end with a closing event.
    """
    if is_json:
        events = _json_events(raw)
        closing, numbers = events[-1].eventType in _JSON_CLOSING, [event.eventId for event in events]
    else:
        pairs = [_number_and_type(event) for event in event_bytes(raw)]
        if not pairs:
            raise ValueError("not a Temporal history in binary form")
        closing, numbers = pairs[-1][1] in CLOSING, [number for number, _ in pairs]
    if not closing:
        raise ValueError("the history is not closed")
    return numbers


def closing_type(raw: bytes) -> str:
    """How the run of a binary history ended (``COMPLETED`` …); empty while it has no closing event.

    Raises:
        ValueError: the bytes are not a history.
    """
    last = b""
    for last in event_bytes(raw):  # noqa: B007 - the last one is wanted
        pass
    return CLOSING.get(_number_and_type(last)[1], "") if last else ""


def _json_events(raw: bytes) -> list[_Event]:
    try:
        return _History.model_validate_json(raw).events
    except ValidationError:
        raise ValueError("not a Temporal history in JSON") from None


def _number_and_type(event: bytes) -> tuple[int, int]:
    number = kind = 0
    for field, wire_type, value in _fields(memoryview(event)):
        if wire_type != _VARINT:
            continue
        if field == _EVENT_ID:
            number = _varint(value)[0]
        elif field == _EVENT_TYPE:
            kind = _varint(value)[0]
    if not number:
        raise ValueError("an event without a number")
    return number, kind


def _fields(rest: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """Number, wire type and value bytes of a message's fields (protobuf.dev, "Encoding")."""
    while rest:
        tag, rest = _varint(rest)
        wire_type = tag & 7
        if wire_type == _BYTES:
            size, rest = _varint(rest)
        elif wire_type == _VARINT:
            size = len(rest) - len(_varint(rest)[1])
        elif wire_type in (_FIXED64, _FIXED32):
            size = 8 if wire_type == _FIXED64 else 4
        else:
            raise ValueError("not a Temporal history in binary form")
        if size > len(rest) or not tag >> 3:
            raise ValueError("not a Temporal history in binary form")
        yield tag >> 3, wire_type, rest[:size]
        rest = rest[size:]


def _varint(data: memoryview) -> tuple[int, memoryview]:
    """A base-128 number and what follows it."""
    value = 0
    for place, byte in enumerate(data[:_MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * place)
        if not byte & 0x80:
            return value, data[place + 1 :]
    raise ValueError("not a Temporal history in binary form")
