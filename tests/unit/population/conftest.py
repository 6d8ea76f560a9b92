from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from leaver.evidence.ledger.store import Ledger
from tests.support.population import Company


@pytest.fixture
def company(tmp_path: Path) -> Iterator[Company]:
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        yield Company(tmp_path, ledger)
