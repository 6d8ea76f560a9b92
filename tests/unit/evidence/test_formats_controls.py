"""The control map: whole, consistent with the catalogue, honest about what it does not show."""

from __future__ import annotations

import pytest

from leaver.domain.catalogue import CATALOGUE
from leaver.domain.words import RecordType
from leaver.evidence.formats.controls import TITLES, Coverage, control, controls

WANTED = {
    "SOC2:CC6.1 SOC2:CC6.2 SOC2:CC6.3 SOC2:CC6.5 SOC2:CC7.2",
    "ISO27001:2013:A.9.2.6",
    "ISO27001:2022:A.5.3 ISO27001:2022:A.5.11 ISO27001:2022:A.5.18 ISO27001:2022:A.5.28 ISO27001:2022:A.5.33",
    "ISO27001:2022:A.6.5 ISO27001:2022:A.8.2 ISO27001:2022:A.8.15 ISO27001:2022:A.8.17",
    "NIST:PS-4a NIST:PS-4b NIST:PS-4d NIST:PS-4e NIST:AC-2h NIST:AC-2k NIST:AC-2l NIST:AC-2(3) NIST:AC-2(13)",
    "NIST:AU-8 NIST:AU-9 NIST:AU-12 PCI:8.2.5 HIPAA:164.308(a)(3)(ii)(C) CIS:6.2 SOX:ITGC-access-removal",
}


def test_every_control_that_was_promised_is_there_once() -> None:
    refs = [row.ref for row in controls()]
    assert len(set(refs)) == len(refs)
    assert {ref for line in WANTED for ref in line.split()} <= set(refs)


def test_every_reference_of_the_catalogue_is_in_the_map() -> None:
    known = {row.ref for row in controls()}
    for step in CATALOGUE.values():
        assert set(step.controls) <= known, step.name


def test_every_control_names_its_framework_and_has_a_token_of_its_own() -> None:
    assert {row.framework for row in controls()} == set(TITLES.values())
    tokens = [row.token for row in controls()]
    assert len(set(tokens)) == len(tokens)
    assert control("HIPAA:164.308(a)(3)(ii)(C)").token == "hipaa-164.308-a-3-ii-c"
    with pytest.raises(KeyError):
        control("NIST:XX-1")


def test_steps_follow_from_the_catalogue() -> None:
    assert control("NIST:PS-4b").steps == (
        "entra.reset_password",
        "ad.reset_password",
        "entra.remove_auth_methods",
    )
    assert control("CIS:6.2").steps == control("NIST:PS-4a").steps
    borrowed = {ref for row in controls() for ref in row.steps_of or ()}
    assert borrowed <= {ref for step in CATALOGUE.values() for ref in step.controls}


def test_what_is_concluded_upon_has_steps_and_what_is_outside_has_nothing() -> None:
    for row in controls():
        if row.coverage is Coverage.DIRECT:
            assert row.steps, row.ref
            assert row.records, row.ref
        if row.coverage is Coverage.OUTSIDE:
            assert not row.steps, row.ref
            assert not row.records, row.ref
            assert row.evidence.startswith("None"), row.ref
        if row.steps:
            assert RecordType.RESULT in row.records or RecordType.READBACK in row.records, row.ref
    assert {row.ref for row in controls() if row.coverage is Coverage.OUTSIDE} == {
        "SOC2:CC6.5",
        "ISO27001:2022:A.5.11",
        "NIST:PS-4d",
        "NIST:AC-2k",
    }


def test_no_control_claims_too_much() -> None:
    for row in controls():
        text = f"{row.subject} {row.evidence} {row.test} {row.limits}".lower()
        for word in ("tamper-proof", "immutable", "audit-passed", "guarantee", "compliant"):
            assert word not in text, (row.ref, word)
