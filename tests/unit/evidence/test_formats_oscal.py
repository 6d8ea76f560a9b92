"""OSCAL output: what is called satisfied, what is at risk, that the same records give the same bytes."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaver.domain.catalogue import CATALOGUE
from leaver.domain.words import Outcome, RecordType, System
from leaver.evidence.errors import UnreadableRecordsError
from leaver.evidence.formats.controls import Coverage, controls
from leaver.evidence.formats.files import machine_files
from leaver.evidence.formats.model import (
    CaseEvidence,
    ExceptionItem,
    case_evidence,
    exceptions_of,
    in_bundle,
    in_bundles,
)
from leaver.evidence.formats.oscal import oscal_assessment_results
from leaver.evidence.formats.oscal_parts import Scope, clean
from leaver.evidence.formats.poam import oscal_poam
from leaver.evidence.verify.layout import record_name
from tests.support.formats_world import (
    ANCHORS,
    CUTOFF,
    RUN,
    STEPS,
    Maker,
    everything,
    honest,
    planned_only,
    rescinded,
    running,
    scope_of,
    troubled,
)

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def results(*cases: CaseEvidence, **options: Any) -> Any:
    raw = oscal_assessment_results(cases, ANCHORS, scope_of(list(cases)), **options)
    return json.loads(raw)["assessment-results"]["results"][0]


def poam(*cases: CaseEvidence, **options: Any) -> Any:
    raw = oscal_poam(cases, ANCHORS, scope_of(list(cases)), **options)
    return None if raw is None else json.loads(raw)["plan-of-action-and-milestones"]


def states(result: Any) -> dict[str, str]:
    return {
        finding["props"][0]["value"]: finding["target"]["status"]["state"] for finding in result["findings"]
    }


def prop(node: Any, name: str) -> str:
    return next(one["value"] for one in node["props"] if one["name"] == name)


def test_an_honest_case_satisfies_what_is_concluded_upon_and_nothing_else() -> None:
    result = results(honest().evidence())
    assert states(result) == {row.ref: "satisfied" for row in controls() if row.coverage is Coverage.DIRECT}
    assert "risks" not in result
    assert poam(honest().evidence()) is None


def test_each_result_is_an_observation_with_its_record() -> None:
    made = honest()
    result = results(made.evidence())
    by_step = {prop(one, "step"): one for one in result["observations"]}
    assert set(by_step) == {*STEPS, *(f"{system.value}.identify_account" for system in System)}
    record = next(one for one in made.chains["case"] if one.body.get("step") == "entra.block_sign_in")
    seen = by_step["entra.block_sign_in"]
    assert seen["relevant-evidence"][0]["href"] == record_name(record.seq)
    assert prop(seen["relevant-evidence"][0], "leaf-hash") == record.leaf
    assert seen["collected"] == record.body["finished_at"]
    assert seen["methods"] == ["TEST"]
    tools = result["local-definitions"]["assessment-assets"]["components"]
    actor = seen["origins"][0]["actors"][0]["actor-uuid"]
    assert [tool["title"] for tool in tools if tool["uuid"] == actor] == ["leaver worker for Entra ID"]
    accounts = {one["uuid"]: one for one in result["local-definitions"]["inventory-items"]}
    assert prop(accounts[seen["subjects"][0]["subject-uuid"]], "account") == record.body["account"]


def test_what_was_not_read_from_the_system_is_examined_not_tested() -> None:
    result = results(troubled().evidence())
    methods = {prop(o, "step"): o["methods"] for o in result["observations"] if o["types"] != ["discovery"]}
    assert methods["exchange.set_auto_reply"] == ["EXAMINE"]
    assert methods["onedrive.grant_successor"] == ["TEST"]


@pytest.mark.parametrize(
    ("outcome", "late"),
    [(o, False) for o in Outcome if not o.proven and o is not Outcome.PENDING] + [(Outcome.VERIFIED, True)],
)
def test_one_step_that_is_not_proven_in_time_is_enough(outcome: Outcome, late: bool) -> None:
    made = Maker()
    made.opened()
    made.planned(["entra.block_sign_in", "entra.reset_password"])
    made.result("entra.block_sign_in", outcome, late=late)
    made.result("entra.reset_password")
    made.closed()
    told = states(results(made.evidence()))
    assert told["NIST:PS-4a"] == "not-satisfied"
    assert told["SOC2:CC6.2"] == "not-satisfied"
    assert told["NIST:PS-4b"] == "satisfied"
    assert "NIST:PS-4e" not in told


def test_a_planned_step_without_a_result_withholds_the_conclusion() -> None:
    made = Maker()
    made.opened()
    made.planned(["entra.block_sign_in", "ad.disable_account"])
    made.result("entra.block_sign_in")
    made.closed()
    result = results(made.evidence())
    assert states(result)["NIST:PS-4a"] == "not-satisfied"
    assert [risk["title"] for risk in result["risks"]] == ["Disable the account: pending"]
    assert any(o["title"] == "Exception: pending" for o in result["observations"])


@pytest.mark.parametrize("make", [planned_only, running])
def test_what_was_only_planned_or_goes_on_satisfies_nothing(make: Any) -> None:
    told = states(results(make().evidence()))
    assert told
    assert set(told.values()) == {"not-satisfied"}


def test_a_case_called_off_is_a_document_without_findings() -> None:
    result = results(rescinded().evidence())
    assert "findings" not in result
    assert result["reviewed-controls"]["control-selections"]


def test_exceptions_are_risks_and_the_open_ones_are_to_be_acted_upon() -> None:
    case = troubled().evidence()
    risks = {risk["title"]: risk for risk in results(case)["risks"]}
    assert {title: risk["status"] for title, risk in risks.items()} == {
        "Make the successor owner of the files: access_denied": "open",
        "Leave cloud groups: retries_exhausted": "closed",
        "Leave groups that carry licences: blocked_by_step": "open",
        "Disable the account: late": "open",
        "Turn on the automatic reply: waived": "open",
        "Move the account to the leavers' OU: pending": "open",
        "Disable the account: drift": "closed",
        "The case as a whole: history.reset": "open",
    }
    closed = risks["Leave cloud groups: retries_exhausted"]["risk-log"]["entries"]
    assert closed[-1]["status-change"] == "closed"
    items = poam(case)["poam-items"]
    assert {item["title"] for item in items} == {t for t, risk in risks.items() if risk["status"] == "open"}
    assert "<b>" not in json.dumps(items).replace("\\\\<b", "")


def test_a_drift_put_right_is_closed_but_not_forgotten() -> None:
    made = honest()
    made.raised("entra.block_sign_in", "drift", chain="watch")
    made.result("entra.block_sign_in", kind=RecordType.READBACK, chain="watch")
    result = results(made.evidence())
    assert [risk["status"] for risk in result["risks"]] == ["closed"]
    assert states(result)["NIST:PS-4a"] == "not-satisfied"
    assert states(result)["NIST:PS-4e"] == "satisfied"


def test_a_history_that_was_touched_withholds_every_conclusion_of_the_case() -> None:
    made = honest()
    made.raised(None, "history.reset", chain="sealer", run_id=RUN)
    assert set(states(results(made.evidence())).values()) == {"not-satisfied"}


def test_exceptions_end_by_the_record_that_names_them() -> None:
    made = Maker()
    made.raised(None, "history.reset", chain="sealer", run_id="run-1")
    made.raised(None, "history.reset", chain="sealer", run_id="run-1")
    made.raised(None, "history.reset", chain="sealer", run_id="run-2")
    for number, kind in ((1, "missing"), (2, "late")):
        found = {"finding": f"f-{number}", "number": 1, "kind": kind, "about": "-", "detail": "no case"}
        made.add(RecordType.RECONCILIATION_FINDING, found, chain="sealer")
    made.add(RecordType.EXCEPTION_CLOSED, {"finding": "f-1", "cause": "recon.missing"}, chain="sealer")
    items = exceptions_of(made.chains["sealer"])
    assert [(item.cause, item.key, item.times, item.open) for item in items] == [
        ("history.reset", "run-1", 2, True),
        ("history.reset", "run-2", 1, True),
        ("recon.missing", "f-1", 1, False),
        ("recon.late", "f-2", 1, True),
    ]
    made.add(RecordType.EXCEPTION_CLOSED, {"step": None, "cause": "history.reset"}, chain="sealer")
    again = exceptions_of(made.chains["sealer"])
    assert [item.open for item in again] == [False, False, False, True]
    assert not any(item.cured for item in again)


def test_a_gap_of_the_installation_is_a_risk_and_withholds_conclusions() -> None:
    gap = ExceptionItem(case="log", cause="recon.missing", detail="a leaver without a case")
    result = results(honest().evidence(), others=[gap])
    assert [risk["title"] for risk in result["risks"]] == ["The case as a whole: recon.missing"]
    assert set(states(result).values()) == {"not-satisfied"}
    assert len(poam(honest().evidence(), others=[gap])["poam-items"]) == 1


def test_a_period_without_single_steps_says_the_same() -> None:
    cases = [honest(1).evidence(), troubled(2).evidence(), honest(6).evidence()]
    every, short = results(*cases), results(*cases, per_step=False, href=in_bundles)
    assert states(every) == states(short)
    assert len(short["observations"]) < len(every["observations"]) / 2
    assert [(r["uuid"], r["status"]) for r in short["risks"]] == [
        (r["uuid"], r["status"]) for r in every["risks"]
    ]
    counts = {f["title"]: (prop(f, "results"), prop(f, "proven")) for f in short["findings"]}
    assert counts == {f["title"]: (prop(f, "results"), prop(f, "proven")) for f in every["findings"]}
    assert short["observations"][0]["relevant-evidence"][0]["href"].startswith("c-")


@pytest.mark.parametrize("per_step", [True, False])
def test_the_same_records_give_the_same_bytes_in_any_order(per_step: bool) -> None:
    cases = everything()
    one = oscal_assessment_results(iter(cases), ANCHORS, scope_of(cases), per_step=per_step)
    cases.reverse()
    assert oscal_assessment_results(everything(), ANCHORS, scope_of(cases), per_step=per_step) == one
    assert oscal_assessment_results(cases, ANCHORS, scope_of(cases), per_step=per_step) == one
    assert oscal_poam(cases, ANCHORS, scope_of(cases)) == oscal_poam(everything(), ANCHORS, scope_of(cases))


def test_an_open_item_keeps_its_name_at_the_next_checkpoint() -> None:
    case = troubled().evidence()
    later = replace(ANCHORS, size=5000, root="cd" * 32)
    first = json.loads(oscal_poam([case], ANCHORS, Scope.of_case(case)) or b"")
    second = json.loads(oscal_poam([case], later, Scope.of_case(case)) or b"")
    key = "plan-of-action-and-milestones"
    assert first[key]["uuid"] != second[key]["uuid"]
    assert [i["uuid"] for i in first[key]["poam-items"]] == [i["uuid"] for i in second[key]["poam-items"]]


def _uuids(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["uuid"]] if "uuid" in value else []
        return own + [one for child in value.values() for one in _uuids(child)]
    return [one for child in value for one in _uuids(child)] if isinstance(value, list) else []


@pytest.mark.parametrize("per_step", [True, False])
def test_every_uuid_is_named_once_and_every_reference_leads_somewhere(per_step: bool) -> None:
    cases = everything()
    for raw in (
        oscal_assessment_results(cases, ANCHORS, scope_of(cases), per_step=per_step),
        oscal_poam(cases, ANCHORS, scope_of(cases)) or b"",
    ):
        own = _uuids(json.loads(raw))
        assert len(set(own)) == len(own)
        assert all(_UUID.fullmatch(one) for one in own)
        referred = set(re.findall(r'"(?:[a-z]+)-uuid": "([^"]+)"', raw.decode()))
        assert referred
        assert referred <= set(own)


def test_the_claim_is_worded_carefully() -> None:
    assert "Anchored outside by stamps.example.net" in ANCHORS.claim
    assert "not counted against HR here" in ANCHORS.claim
    counted = replace(ANCHORS, vouchers=(), hr_pull=datetime(2026, 11, 21, tzinfo=UTC)).claim
    assert counted.startswith("Tamper-evident since checkpoint 4000 of ")
    assert "complete against the HR pull of 2026-11-21. Anchors: none." in counted
    raw = oscal_assessment_results(everything(), ANCHORS, scope_of(everything())).decode().lower()
    assert not any(word in raw for word in ("tamper-proof", "immutable", "audit-passed"))


def test_the_files_of_a_bundle() -> None:
    made = troubled()
    records = [record for chain in made.chains.values() for record in chain]
    files = machine_files(records, ANCHORS)
    assert set(files) == {"oscal-ar.json", "oscal-poam.json", "ocsf.jsonl"}
    assert set(machine_files(honest().chains["case"], ANCHORS)) == {"oscal-ar.json", "ocsf.jsonl"}
    assert in_bundle(made.evidence().last) == record_name(made.evidence().last.seq)


def test_records_of_another_shape_are_refused() -> None:
    made = honest()
    made.add(RecordType.EXCEPTION_RAISED, {"nothing": 1}, chain="watch")
    with pytest.raises(UnreadableRecordsError, match="chain watch"):
        made.evidence()
    with pytest.raises(UnreadableRecordsError):
        case_evidence([])
    made = Maker()
    made.add(RecordType.RECONCILIATION_FINDING, {"finding": "f"}, chain="sealer")
    with pytest.raises(UnreadableRecordsError):
        exceptions_of(made.chains["sealer"])


@given(st.text(max_size=60))
def test_foreign_text_stays_on_one_line_and_acts_as_nothing(text: str) -> None:
    shown = clean(text)
    assert shown == shown.strip()
    assert "\n" not in shown
    assert shown.isprintable()
    assert not re.search(r"(?<!\\)[`*<>|$\[]", shown.replace("\\\\", ""))


_PROVEN = st.sampled_from([Outcome.VERIFIED, Outcome.ALREADY, Outcome.ABSENT])
_ANY = st.sampled_from([outcome for outcome in Outcome if outcome is not Outcome.PENDING])


@given(st.dictionaries(st.sampled_from(STEPS), st.tuples(_ANY | _PROVEN, st.booleans()), min_size=1))
def test_satisfied_means_that_every_serving_step_was_proven_in_time(
    outcomes: dict[str, tuple[Outcome, bool]],
) -> None:
    made = Maker()
    made.opened()
    made.planned([step for step in STEPS if step in outcomes])
    for step, (outcome, late) in outcomes.items():
        made.result(step, outcome, late=late)
    made.closed()
    for ref, state in states(results(made.evidence())).items():
        serving = [
            outcomes[name] for name, row in CATALOGUE.items() if name in outcomes and _serves(name, ref)
        ]
        assert serving
        good = all(outcome.proven and not late for outcome, late in serving)
        assert state == ("satisfied" if good else "not-satisfied"), ref


def _serves(step: str, ref: str) -> bool:
    return any(row.ref == ref and step in row.steps for row in controls())


def test_scopes() -> None:
    case = honest().evidence()
    assert Scope.of_case(case).end == case.last.at
    period = Scope.of_period(CUTOFF, datetime(2026, 12, 1, tzinfo=UTC))
    assert period.name == "period/2026-11-20T17:00:00Z/2026-12-01T00:00:00Z"
