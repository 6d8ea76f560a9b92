"""The one registry of search attributes: what operators can filter cases by.

Temporal keeps search attributes in plain text, so none of them holds a name, an address or an employee
number. Plain data, because the domain does not import Temporal's SDK.
"""

from __future__ import annotations

from typing import Final, Literal

PHASE: Final = "LeaverPhase"
OUTCOME: Final = "LeaverOutcome"
SITE: Final = "LeaverSite"
RISK: Final = "LeaverRisk"
DUE: Final = "LeaverDue"

SEARCH_ATTRIBUTES: Final[dict[str, Literal["Keyword", "Datetime"]]] = {
    PHASE: "Keyword",
    OUTCOME: "Keyword",
    SITE: "Keyword",
    RISK: "Keyword",
    DUE: "Datetime",
}
"""Every attribute and Temporal's name of its type."""
