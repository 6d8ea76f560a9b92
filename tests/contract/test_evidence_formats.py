"""OSCAL and OCSF output against the published schemas and the field's own tools; NIST ids against NIST's."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator, FormatChecker
from jsonschema.protocols import Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from leaver.evidence.formats.controls import controls
from leaver.evidence.formats.model import CaseEvidence
from leaver.evidence.formats.ocsf import ocsf_lines
from leaver.evidence.formats.ocsf_map import VERSION, EventClass
from leaver.evidence.formats.oscal import oscal_assessment_results
from leaver.evidence.formats.poam import oscal_poam
from tests.support.formats_world import ANCHORS, ORIGIN, everything, honest, running, scope_of, troubled

DEFAULT = Path(__file__).parents[2] / ".." / "shared" / "contracts"
CONTRACTS = Path(os.environ.get("LEAVER_CONTRACTS", DEFAULT)) / "evidence"
FILES = {
    2003: "2003_compliance_finding",
    3001: "3001_account_change",
    3005: "3005_user_access",
}
CASES = {
    "honest": lambda: [honest().evidence()],
    "troubled": lambda: [troubled().evidence()],
    "running": lambda: [running().evidence()],
    "period": everything,
}


@cache
def contract(name: str) -> Any:
    path = CONTRACTS / name
    if not path.is_file():
        pytest.skip(f"{name} is not in {CONTRACTS}: set LEAVER_CONTRACTS to the folder of the contracts")
    return json.loads(path.read_text())


@pytest.fixture(params=CASES, scope="module")
def cases(request: pytest.FixtureRequest) -> list[CaseEvidence]:
    return CASES[request.param]()


def oscal_validator(name: str) -> Validator:
    schema = contract(name)
    # The one pattern with classes that Python's re does not know; see the contracts' README.
    schema["definitions"]["TokenDatatype"]["pattern"] = r"^[^\W\d][\w.\-]*$"
    return Draft7Validator(schema, format_checker=FormatChecker())


def problems(validator: Validator, value: Any) -> list[str]:
    return [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(value)]


@pytest.mark.parametrize("per_step", [True, False])
def test_assessment_results_keep_to_the_schema(cases: list[CaseEvidence], per_step: bool) -> None:
    raw = oscal_assessment_results(cases, ANCHORS, scope_of(cases), per_step=per_step)
    validator = oscal_validator("oscal_assessment-results_schema-1.2.1.json")
    assert problems(validator, json.loads(raw)) == []
    broken = json.loads(raw)
    del broken["assessment-results"]["results"][0]["start"]
    assert problems(validator, broken)


def test_the_poam_keeps_to_the_schema(cases: list[CaseEvidence]) -> None:
    raw = oscal_poam(cases, ANCHORS, scope_of(cases))
    if raw is None:
        assert not any(item.open for case in cases for item in case.exceptions)
        return
    assert problems(oscal_validator("oscal_poam_schema-1.2.1.json"), json.loads(raw)) == []


_TRESTLE = """
import sys, warnings
warnings.simplefilter("ignore")
from pathlib import Path
from trestle.core.commands.validate import ValidateCmd
from trestle.cli import Trestle
import argparse
root = Path(sys.argv[1])
sys.argv = ["trestle", "init", "--local", "-tr", str(root)]
assert Trestle().run() == 0
from trestle.core.repository import Repository
from trestle.oscal.assessment_results import AssessmentResults
from trestle.oscal.poam import PlanOfActionAndMilestones
for name, kind in (("ar", AssessmentResults), ("poam", PlanOfActionAndMilestones)):
    model = kind.oscal_read(root / f"{name}.json")
    Repository(root).import_model(model, name)
    print(name, model.uuid)
sys.argv = ["trestle", "validate", "--all", "-tr", str(root)]
raise SystemExit(Trestle().run())
"""


def test_trestle_reads_and_validates_both(tmp_path: Path) -> None:
    """In a process of its own: trestle brings warnings and settings that are not ours."""
    cases = everything()
    ar = oscal_assessment_results(cases, ANCHORS, scope_of(cases))
    poam = oscal_poam(cases, ANCHORS, scope_of(cases))
    (tmp_path / "ar.json").write_bytes(ar)
    (tmp_path / "poam.json").write_bytes(poam or b"")
    done = subprocess.run(  # noqa: S603 - our own program text
        [sys.executable, "-c", _TRESTLE, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(ar)["assessment-results"]["uuid"] in done.stdout
    assert "invalid" not in (done.stdout + done.stderr).lower()


def test_events_keep_to_the_contracts(cases: list[CaseEvidence]) -> None:
    validators = {
        uid: Draft202012Validator(contract(f"ocsf-1.8.0_{name}.schema.json")) for uid, name in FILES.items()
    }
    events = [json.loads(line) for line in ocsf_lines(cases, ORIGIN).splitlines()]
    assert events
    for event in events:
        assert problems(validators[event["class_uid"]], event) == []
    broken = {key: value for key, value in events[0].items() if key != "metadata"}
    assert problems(validators[broken["class_uid"]], broken)


def test_events_keep_to_the_schema_that_the_library_carries() -> None:
    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(VERSION))
    validators = {
        uid: Draft202012Validator(schema.get_class_schema(schema.lookup_class_name_from_uid(int(uid))))
        for uid in EventClass
    }
    events = [json.loads(line) for line in ocsf_lines(everything(), ORIGIN).splitlines()]
    assert {event["class_uid"] for event in events} == set(EventClass)
    for event in events:
        assert problems(validators[event["class_uid"]], event) == []


def test_captions_are_the_schemas_own() -> None:
    schema = get_ocsf_schema(VERSION)
    names = {2003: "compliance_finding", 3001: "account_change", 3005: "user_access"}
    for line in ocsf_lines(everything(), ORIGIN).splitlines():
        event = json.loads(line)
        described = schema["classes"][names[event["class_uid"]]]
        assert (event["class_name"], event["category_name"]) == (
            described["caption"],
            described["category_name"],
        )
        captions = described["attributes"]["activity_id"]["enum"]
        if event["activity_id"] != 99:
            assert event["activity_name"] == captions[str(event["activity_id"])]["caption"]
        severities = described["attributes"]["severity_id"]["enum"]
        assert event["severity"] == severities[str(event["severity_id"])]["caption"]
        assert event["type_uid"] == event["class_uid"] * 100 + event["activity_id"]
        if "user" in event:
            account = event["user"]["account"]
            kinds = schema["objects"]["account"]["attributes"]["type_id"]["enum"]
            assert account["type"] == kinds[str(account["type_id"])]["caption"]


def _ids(part: dict[str, Any]) -> set[str]:
    own = {part["id"]} if "id" in part else set()
    return own.union(*(_ids(child) for child in part.get("parts", ())))


def test_nists_ids_are_nists() -> None:
    catalogue = contract("nist-800-53-rev5_leaver-controls.json")["controls"]
    named = [row for row in controls() if row.ref.startswith("NIST:")]
    assert len(named) == 12
    for row in named:
        assert row.nist is not None, row.ref
        found = catalogue[row.nist.control]
        parts = re.fullmatch(r"([A-Z]+-[0-9]+(?:\([0-9]+\))?)([a-z]?)", row.number)
        assert parts is not None, row.ref
        assert parts[1].lower().replace("(", ".").rstrip(")") == row.nist.control
        assert not parts[2] or row.nist.statement == f"{row.nist.control}_smt.{parts[2]}"
        ids = _ids({"parts": found["parts"]})
        assert {row.nist.statement, *row.nist.objectives} <= ids, row.ref
        assert set(row.nist.parameters) <= {parameter["id"] for parameter in found["params"]}, row.ref


def test_the_objectives_are_not_nists_sentences() -> None:
    """What the map says of a control is our own wording, so that nobody takes it for the standard's text."""
    catalogue = contract("nist-800-53-rev5_leaver-controls.json")["controls"]

    def prose(part: dict[str, Any]) -> list[str]:
        return [part.get("prose", ""), *(line for child in part.get("parts", ()) for line in prose(child))]

    texts = {line for found in catalogue.values() for line in prose({"parts": found["parts"]}) if line}
    assert not texts & {row.subject for row in controls()}
