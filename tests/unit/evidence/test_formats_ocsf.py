"""OCSF events: one for what has happened, none for what has not, and never a name."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from leaver.domain.catalogue import CATALOGUE
from leaver.domain.words import Outcome, RecordType
from leaver.evidence.formats.model import CaseEvidence, ExceptionItem, exceptions_of
from leaver.evidence.formats.ocsf import ocsf_lines
from leaver.evidence.formats.ocsf_map import (
    RECORDS,
    RECORDS_WITHOUT,
    STEPS,
    STEPS_WITHOUT,
    EventClass,
)
from leaver.evidence.formats.oscal import oscal_assessment_results
from leaver.evidence.formats.poam import oscal_poam
from tests.support import formats_world as world
from tests.support.formats_world import (
    ACCOUNTS,
    ANCHORS,
    DYNAMIC,
    GROUP,
    ORIGIN,
    RUN,
    SKU,
    SUCCESSOR,
    Maker,
    everything,
    honest,
    planned_only,
    rescinded,
    running,
    troubled,
)


def events(*cases: CaseEvidence, **options: Any) -> list[Any]:
    return [json.loads(line) for line in ocsf_lines(cases, ORIGIN, **options).splitlines()]


def of_step(found: list[Any], step: str) -> list[Any]:
    return [event for event in found if event["metadata"]["event_code"] == step]


def test_every_step_and_every_kind_of_record_has_an_event_or_a_reason() -> None:
    assert set(STEPS) | set(STEPS_WITHOUT) == set(CATALOGUE)
    assert not set(STEPS) & set(STEPS_WITHOUT)
    assert set(RECORDS) | set(RECORDS_WITHOUT) == set(RecordType)
    assert not set(RECORDS) & set(RECORDS_WITHOUT)
    assert all(STEPS_WITHOUT.values())
    assert all(RECORDS_WITHOUT.values())


def test_an_honest_case() -> None:
    made = honest()
    found = events(made.evidence())
    told = {event["metadata"]["event_code"] for event in found}
    assert told == {*STEPS, "case.closed"} - {"exchange.remove_distribution_groups"}
    [block] = of_step(found, "entra.block_sign_in")
    record = next(one for one in made.chains["case"] if one.body.get("step") == "entra.block_sign_in")
    assert (block["type_uid"], block["activity_name"], block["status"]) == (300105, "Disable", "Success")
    assert block["metadata"]["uid"] == record.leaf
    assert block["metadata"]["correlation_uid"] == made.case
    assert block["metadata"]["sequence"] == record.seq
    assert block["metadata"]["version"] == "1.8.0"
    assert block["unmapped"]["evidence"] == {
        "origin": ORIGIN,
        "index": record.seq,
        "leaf": record.leaf,
        "chain": "case",
        "case_seq": record.case_seq,
    }
    account = next(value for key, value in ACCOUNTS.items() if key.value == "entra")
    assert block["user"]["uid"] == account
    assert block["user"]["uid_alt"] == "p-qwertyuiopasdfghjklzxcvbnm"
    assert block["user_result"]["account"]["is_disabled"] is True
    at = datetime.fromisoformat(str(record.body["finished_at"]))
    assert block["time"] == block["end_time"] == round(at.timestamp() * 1000)
    assert of_step(found, "entra.remove_auth_methods")[0]["type_uid"] == 300111
    [closed] = of_step(found, "case.closed")
    assert (closed["class_uid"], closed["compliance"]["status"]) == (2003, "Pass")
    assert len(closed["compliance"]["checks"]) == len(CATALOGUE)
    assert {check["status"] for check in closed["compliance"]["checks"]} == {"Pass"}


def test_privileges_are_those_that_went_and_those_that_were_given() -> None:
    found = events(honest().evidence())
    [groups] = of_step(found, "entra.remove_groups")
    assert (groups["type_uid"], groups["privileges"]) == (300502, [GROUP])
    assert of_step(found, "entra.remove_direct_licences")[0]["privileges"] == [SKU]
    assert of_step(found, "ad.remove_groups")[0]["privileges"] == ["ad.remove_groups"]
    [given_to] = of_step(found, "exchange.delegate_to_successor")
    assert given_to["type_uid"] == 300501
    assert given_to["user"]["uid"] == SUCCESSOR
    assert "uid_alt" not in given_to["user"]
    assert given_to["privileges"] == ["mailbox:full_access"]
    [files] = of_step(found, "onedrive.grant_successor")
    assert files["user"]["uid"] == SUCCESSOR


def test_what_did_not_happen_is_not_told_as_an_event() -> None:
    assert [event["metadata"]["event_code"] for event in events(planned_only().evidence())] == ["case.closed"]
    [closed] = events(rescinded().evidence())
    assert (closed["compliance"]["status_id"], closed["compliance"]["status"]) == (99, "rescinded")
    assert "case.closed" not in {e["metadata"]["event_code"] for e in events(running().evidence())}
    found = events(troubled().evidence())
    assert of_step(found, "exchange.set_auto_reply") == []
    assert of_step(found, "entra.remove_licence_groups") == []  # blocked: never tried


def test_failures_and_exceptions() -> None:
    found = events(troubled().evidence())
    failed, done = of_step(found, "entra.remove_groups")
    assert (failed["status"], failed["status_code"]) == ("Failure", "retries_exhausted")
    assert failed["privileges"] == [GROUP, DYNAMIC]
    assert (done["status"], done["severity"]) == ("Success", "Informational")
    [refused] = of_step(found, "onedrive.grant_successor")
    assert refused["status_detail"] == "needs *Sites*.FullControl <b> | $x"
    raised, closed = of_step(found, "retries_exhausted")
    assert (raised["activity_name"], raised["status"], raised["compliance"]["status"]) == (
        "Create",
        "New",
        "Fail",
    )
    assert (closed["activity_name"], closed["status"], closed["compliance"]["status"]) == (
        "Close",
        "Resolved",
        "Pass",
    )
    assert raised["finding_info"]["uid"] == closed["finding_info"]["uid"]
    drift = of_step(found, "drift")
    assert [event["compliance"]["status"] for event in drift] == ["Fail", "Fail"]
    assert of_step(found, "history.reset")[0]["severity"] == "High"
    [case] = of_step(found, "case.closed")
    assert case["compliance"]["status"] == "Fail"
    assert case["class_uid"] == EventClass.COMPLIANCE_FINDING


def test_a_case_that_calls_itself_complete_in_spite_of_an_exception_fails() -> None:
    made = Maker()
    made.opened()
    made.planned(["entra.block_sign_in"])
    made.result("entra.block_sign_in", late=True)
    made.closed("completed")
    assert of_step(events(made.evidence()), "case.closed")[0]["compliance"]["status"] == "Fail"


def test_how_a_case_was_closed_does_not_change_afterwards() -> None:
    made = honest()
    before = of_step(events(made.evidence()), "case.closed")
    made.raised("entra.block_sign_in", "drift", chain="watch")
    made.raised(None, "history.reset", chain="sealer", run_id=RUN)
    assert of_step(events(made.evidence()), "case.closed") == before


def test_a_gap_of_the_installation_needs_a_record_to_point_at() -> None:
    made = Maker()
    record = made.add(
        RecordType.RECONCILIATION_FINDING,
        {"finding": "f-1", "number": 1, "kind": "missing", "about": "-", "detail": "a leaver without a case"},
        chain="log",
        case="log",
    )
    [event] = events(others=exceptions_of([record]))
    assert event["metadata"]["uid"] == record.leaf
    assert event["metadata"]["correlation_uid"] == "log"
    assert event["finding_info"]["types"] == ["control exception", "recon.missing"]
    assert events(others=[ExceptionItem(case="log", cause="recon.missing")]) == []


def test_ids_differ_order_is_the_logs_and_bytes_are_the_same() -> None:
    cases = everything()
    raw = ocsf_lines(cases, ORIGIN)
    found = [json.loads(line) for line in raw.splitlines()]
    ids = [event["metadata"]["uid"] for event in found]
    assert len(set(ids)) == len(ids)
    places = [event["metadata"]["sequence"] for event in found]
    assert places == sorted(places)
    assert ocsf_lines(reversed(cases), ORIGIN) == raw
    assert ocsf_lines(everything(), ORIGIN) == raw


@given(st.text(max_size=80))
def test_each_event_is_one_line_whatever_a_system_said(detail: str) -> None:
    made = Maker()
    made.opened()
    made.planned(["ad.remove_groups"])
    made.result("ad.remove_groups", Outcome.OPEN, reason="access_denied", detail=detail)
    made.raised("ad.remove_groups", "access_denied", detail)
    raw = ocsf_lines([made.evidence()], ORIGIN)
    assert raw.count(b"\n") == 2
    assert [json.loads(line)["class_uid"] for line in raw.splitlines()] == [3005, 2003]


_ADDRESS = re.compile(rb"[\w.+-]+@[\w-]+\.\w|mailto:")
_KEYS = {"name", "full_name", "email_addr", "display_name", "phone_number", "email", "domain"}


def _keys(value: Any, path: str = "") -> set[str]:
    if isinstance(value, dict):
        own = {f"{path}.{key}" for key in value if key in _KEYS}
        return own.union(*(_keys(child, key) for key, child in value.items()))
    return set().union(*(_keys(child, path) for child in value)) if isinstance(value, list) else set()


def test_no_file_names_a_person() -> None:
    """Accounts go by their ids and people by pseudonyms; what is called name names a thing."""
    cases = everything()
    files = (
        ocsf_lines(cases, ORIGIN),
        oscal_assessment_results(cases, ANCHORS, world.scope_of(cases)),
        oscal_poam(cases, ANCHORS, world.scope_of(cases)) or b"",
    )
    for raw in files:
        assert not _ADDRESS.search(raw)
    named = set().union(*(_keys(json.loads(line)) for line in files[0].splitlines()))
    assert named == {"product.name", "policies.name", "checks.name", "control_parameters.name"}
    users = [event[key] for event in events(*cases) for key in ("user", "user_result") if key in event]
    known = {*ACCOUNTS.values(), SUCCESSOR}
    assert users
    for user in users:
        assert set(user) <= {"uid", "uid_alt", "type_id", "type", "account"}
        assert user["uid"] in known
        assert user.get("uid_alt", "p-").startswith("p-")
