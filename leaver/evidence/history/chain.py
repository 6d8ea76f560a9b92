"""The hash chain over a run's events: one head stands for every event up to it, in order.

``h_0`` is 32 zero bytes, ``h_i = SHA-256(h_{i-1} || SHA-256(bytes of event i))``. The bytes are those in the
binary history, exactly as they stand there: protobuf has no canonical form, so nothing is parsed and written
again. A head recorded while a run was open therefore proves later that the closed history begins with the
same events. Pure functions, for the sealer and for verifiers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Final

from leaver.evidence.history.wire import event_bytes

START: Final = bytes(32)
"""``h_0``: the head of no events."""


def next_head(head: bytes, event: bytes) -> bytes:
    """The head after one more event."""
    return hashlib.sha256(head + hashlib.sha256(event).digest()).digest()


def heads(events: Iterable[bytes]) -> Iterator[bytes]:
    """The head after each of the events."""
    head = START
    for event in events:
        head = next_head(head, event)
        yield head


def history_head(raw: bytes) -> tuple[int, str]:
    """How many events a binary history has, and the head over all of them (hex).

    Raises:
        ValueError: the bytes are not a Temporal history in binary form.
    """
    count, head = 0, START
    for count, head in enumerate(heads(event_bytes(raw)), start=1):  # noqa: B007 - the last pair is wanted
        pass
    return count, head.hex()


def prefix_heads(raw: bytes) -> dict[int, str]:
    """The head (hex) after each number of events of a binary history, 0 included.

    Raises:
        ValueError: as for ``history_head``.
    """
    found = {0: START.hex()}
    found.update((count, head.hex()) for count, head in enumerate(heads(event_bytes(raw)), start=1))
    return found
