"""Plain JSON as it is written: read-only, so that parts fit into each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias, Union

Json: TypeAlias = Union[bool, int, str, Sequence["Json"], Mapping[str, "Json"], None]  # noqa: UP007
Node: TypeAlias = Mapping[str, Json]
