"""What several folders of tests share."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from leaver.simulators.tls import LoopbackTls, issue_loopback_tls
from tests.support.graph_contract import CONTRACT, GraphContract, contracts_folder

# The whole suite has to fit into minutes on two cores; HYPOTHESIS_PROFILE=default looks harder.
settings.register_profile("quick", max_examples=40, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture(scope="session")
def graph_contract() -> GraphContract:
    """Microsoft Graph's contract, strict both ways; give its ``hook`` to an httpx client."""
    path = contracts_folder() / CONTRACT
    if not path.exists():
        pytest.skip(
            f"{CONTRACT} is not in {path.parent}: set LEAVER_CONTRACTS to the folder of the contracts"
        )
    return GraphContract(path)


@pytest.fixture(scope="session")
def loopback_tls(tmp_path_factory: pytest.TempPathFactory) -> LoopbackTls:
    """One authority for all tests: making keys takes a moment."""
    return issue_loopback_tls(tmp_path_factory.mktemp("tls"))
