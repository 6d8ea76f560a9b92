"""The machine-readable files that go into a case's bundle."""

from __future__ import annotations

from collections.abc import Sequence

from leaver.evidence.formats.model import Anchors, case_evidence
from leaver.evidence.formats.ocsf import ocsf_lines
from leaver.evidence.formats.oscal import oscal_assessment_results
from leaver.evidence.formats.oscal_parts import Scope
from leaver.evidence.formats.poam import oscal_poam
from leaver.evidence.records import Chain, Record


def machine_files(records: Sequence[Record], anchors: Anchors) -> dict[str, bytes]:
    """``oscal-ar.json``, ``ocsf.jsonl`` and, where an exception stands, ``oscal-poam.json`` of one case.

    ``records`` are all the records of the case that the bundle holds, of any chain.

    Raises:
        UnreadableRecordsError: the records do not tell a case.
    """
    chains = {chain: [record for record in records if record.chain is chain] for chain in Chain}
    case = case_evidence(chains[Chain.CASE], watch=chains[Chain.WATCH], sealer=chains[Chain.SEALER])
    scope = Scope.of_case(case)
    poam = oscal_poam([case], anchors, scope)
    return {
        "oscal-ar.json": oscal_assessment_results([case], anchors, scope),
        "ocsf.jsonl": ocsf_lines([case], anchors.origin),
        **({"oscal-poam.json": poam} if poam else {}),
    }
