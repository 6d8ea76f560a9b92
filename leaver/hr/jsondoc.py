"""JSON as HR systems send it, read strictly: a name that occurs twice has two readings and is refused."""

from __future__ import annotations

import json

from pydantic import JsonValue

from leaver.hr.model import IngestError


def parse_json(text: str, what: str) -> JsonValue:
    """The document.

    Raises:
        IngestError: not JSON, not one document, too deep, a repeated name, NaN or Infinity. ``what`` (a file,
            or a file and line) begins the message.
    """
    try:
        document: JsonValue = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except json.JSONDecodeError as err:
        where = f"line {err.lineno}, column {err.colno}"
        raise IngestError(f"{what}: is not valid JSON ({err.msg}, {where}); deliver it again") from err
    except ValueError as err:
        raise IngestError(f"{what}: is not valid JSON ({err}); deliver it again") from err
    except RecursionError as err:
        raise IngestError(f"{what}: is nested too deeply to be an HR document") from err
    return document


def raw(document: JsonValue) -> bytes:
    """One part of a document in a fixed form, for hashing: keys sorted, no spaces, ASCII only."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def as_text(value: JsonValue) -> str:
    """A scalar as text; an empty text for null, and for what is no scalar."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str | int | float):
        return str(value)
    return ""


def _unique(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object names a field twice")
    return found


def _refuse(constant: str) -> JsonValue:
    raise ValueError(f"{constant} is not a JSON value")
