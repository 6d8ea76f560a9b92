"""Whether two readings of the same events differ only in what the later library knows more.

The SDK drops fields of an event that its version does not know. A newer version reads them, so that the same
stored event gives other bytes.
"""

from __future__ import annotations

from google.protobuf.json_format import MessageToDict

from leaver.temporal.run_facts import parse_events


def only_adds(before: bytes, now: bytes) -> bool:
    """Whether ``now`` begins with the events of ``before``, each with all its fields and maybe more.

    Raises:
        HistoryGapError: the bytes are not histories.
    """
    old, new = parse_events(before), parse_events(now)
    return len(old) <= len(new) and all(
        _within(MessageToDict(a), MessageToDict(b)) for a, b in zip(old, new, strict=False)
    )


def _within(old: object, new: object) -> bool:
    if isinstance(old, dict):
        return isinstance(new, dict) and all(key in new and _within(old[key], new[key]) for key in old)
    if isinstance(old, list):
        return isinstance(new, list) and len(old) == len(new) and all(map(_within, old, new))
    return old == new
