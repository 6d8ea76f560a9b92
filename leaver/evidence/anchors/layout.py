"""What lies where in a published folder or bucket, and the form of ``consistency.json``.

::

    checkpoints/<size>/checkpoint            the signed note, the log's line only
                       consistency.json      the proof from the checkpoint before it
                       timestamp.tsr         RFC 3161 reply over the file ``checkpoint``
                       cosignature.<witness> a witness's signature line
    bundles/<case>.enc                       a case's bundle, encrypted with the case's key

Every file is written once. What arrives later is a further file.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from leaver.evidence.errors import AnchorError

CHECKPOINTS: Final = "checkpoints/"
CHECKPOINT: Final = "checkpoint"
CONSISTENCY: Final = "consistency.json"


def checkpoint_folder(size: int) -> str:
    """Where everything about the checkpoint of this size lies."""
    return f"{CHECKPOINTS}{size}/"


def timestamp_file(number: int) -> str:
    """The file of an authority's reply; ``number`` counts the authorities that stamped it from 1."""
    return "timestamp.tsr" if number == 1 else f"timestamp.{number}.tsr"


def cosignature_file(witness: str) -> str:
    """The file of a witness's line; the hash keeps apart what looks alike once its slashes are gone."""
    plain = re.sub(r"[^A-Za-z0-9.-]+", "-", witness)[:64]
    return f"cosignature.{plain}.{hashlib.sha256(witness.encode()).hexdigest()[:8]}"


def bundle_file(case: str, kind: str = "case") -> str:
    """The file of a case's sealed bundle; further kinds (``watch``) stand beside the case's own."""
    return f"bundles/{case}.enc" if kind == "case" else f"bundles/{case}.{kind}.enc"


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    v: Literal[1]
    origin: str
    old: Annotated[int, Field(ge=0)]
    new: Annotated[int, Field(ge=0)]
    path: tuple[str, ...]


@dataclass(frozen=True)
class Continuation:
    """The proof that the log of size ``new`` begins with that of size ``old`` (the checkpoint before)."""

    origin: str
    old: int
    new: int
    path: tuple[bytes, ...]


def continuation_bytes(origin: str, old: int, new: int, path: Sequence[bytes]) -> bytes:
    """The content of ``consistency.json``, canonical JSON."""
    hashes = [base64.b64encode(part).decode() for part in path]
    return rfc8785.dumps({"v": 1, "origin": origin, "old": old, "new": new, "path": hashes})


def parse_continuation(raw: bytes) -> Continuation:
    """Read ``consistency.json``.

    Raises:
        AnchorError: it is not such a file.
    """
    try:
        found = _Document.model_validate_json(raw)
        path = tuple(base64.b64decode(part, validate=True) for part in found.path)
    except (ValidationError, ValueError):
        raise AnchorError(f"{CONSISTENCY} is not a proof between two checkpoints") from None
    return Continuation(found.origin, found.old, found.new, path)


def checked_anchor_name(name: str) -> str:
    """The name of a store, if it can be part of the name of an anchor.

    Raises:
        AnchorError: it cannot.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name, re.ASCII):
        raise AnchorError(f"{name!r} is no name for a store: use up to 64 letters, digits, - and _")
    return name
