"""What several folders of tests share."""

from __future__ import annotations

import pytest

from tests.support.graph_contract import CONTRACT, GraphContract, contracts_folder


@pytest.fixture(scope="session")
def graph_contract() -> GraphContract:
    """Microsoft Graph's contract, strict both ways; give its ``hook`` to an httpx client."""
    path = contracts_folder() / CONTRACT
    if not path.exists():
        pytest.skip(f"{CONTRACT} is not in {path.parent}: set LEAVER_CONTRACTS to the folder of the contracts")
    return GraphContract(path)
