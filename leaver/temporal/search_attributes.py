"""Search attributes as Temporal's SDK wants them, and their registration in a namespace."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey

from leaver.domain.search import DUE, OUTCOME, PHASE, RISK, SEARCH_ATTRIBUTES, SITE

PHASE_KEY: Final[SearchAttributeKey[str]] = SearchAttributeKey.for_keyword(PHASE)
OUTCOME_KEY: Final[SearchAttributeKey[str]] = SearchAttributeKey.for_keyword(OUTCOME)
SITE_KEY: Final[SearchAttributeKey[str]] = SearchAttributeKey.for_keyword(SITE)
RISK_KEY: Final[SearchAttributeKey[str]] = SearchAttributeKey.for_keyword(RISK)
DUE_KEY: Final[SearchAttributeKey[datetime]] = SearchAttributeKey.for_datetime(DUE)

_TYPES: Final = {
    "Keyword": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    "Datetime": IndexedValueType.INDEXED_VALUE_TYPE_DATETIME,
}


class SearchAttributeConflictError(Exception):
    """The namespace already has an attribute of that name and another type."""


async def register(client: Client, namespace: str | None = None) -> tuple[str, ...]:
    """Add our search attributes to a namespace, those that are missing. Idempotent.

    Needs the operator's right on the server; on Temporal Cloud they are added with ``tcld`` instead.

    Args:
        client: Any connected client.
        namespace: The namespace; None: the client's own.

    Returns:
        The names that were added now.

    Raises:
        SearchAttributeConflictError: an attribute exists with another type; nothing was added.
        temporalio.service.RPCError: the server refused.
    """
    space = namespace or client.namespace
    listed = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=space)
    )
    present = dict(listed.custom_attributes)
    wanted = {name: _TYPES[kind] for name, kind in SEARCH_ATTRIBUTES.items()}
    wrong = sorted(name for name, kind in wanted.items() if present.get(name, kind) != kind)
    if wrong:
        raise SearchAttributeConflictError(
            f"namespace {space!r} has {', '.join(wrong)} with another type; remove or rename them there first"
        )
    missing = {name: kind for name, kind in wanted.items() if name not in present}
    if missing:
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace=space, search_attributes=missing)
        )
    return tuple(sorted(missing))
