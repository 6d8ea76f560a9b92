"""Whether the readable form of a history tells what the exact one tells."""

from __future__ import annotations

from google.protobuf.json_format import Parse, ParseError
from google.protobuf.message import DecodeError
from temporalio.api.history.v1 import History


def tells_the_same(readable: bytes, exact: bytes, *, same_library: bool) -> bool:
    """Compare a history's protobuf JSON with its binary form, field by field.

    Args:
        readable: the JSON.
        exact: the binary form.
        same_library: both were written by the version of Temporal's library that runs here. Another version
            may know other fields; then only those are compared that this one knows, too.
    """
    try:
        told = Parse(readable, History(), ignore_unknown_fields=not same_library)
        meant = History.FromString(exact)
    except (ParseError, DecodeError, RecursionError, UnicodeDecodeError):
        return False
    meant.DiscardUnknownFields()
    return told == meant
