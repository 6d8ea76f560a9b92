"""The record format: canonical form, hashes, what may not become a record."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from leaver.domain.records import RecordDraft
from leaver.domain.words import RecordType
from leaver.evidence.bundle import STANDALONE
from leaver.evidence.errors import LedgerDamagedError, UnfitDraftError
from leaver.evidence.log.merkle import leaf_hash
from leaver.evidence.records import NO_RECORD, parse_record, prepare, record_bytes

CASE = "c-" + "a" * 26
CONTRACTS = Path(os.environ.get("LEAVER_CONTRACTS", "../shared/contracts")) / "evidence"

FIELDS = "at body case case_seq chain prev_case salt seq type v"

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


def load_standalone() -> ModuleType:
    spec = importlib.util.spec_from_file_location("standalone_verifier", STANDALONE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


STANDALONE_MODULE = load_standalone()


def draft(body: dict[str, JsonValue], **changes: object) -> RecordDraft:
    fields = {"case": CASE, "case_seq": 0, "type": RecordType.CHANGE, "at": datetime(2026, 1, 2, tzinfo=UTC)}
    return RecordDraft.model_validate({**fields, "body": body, **changes})


def draft_hash(given: RecordDraft) -> str:
    return prepare(given).sha256


def make(body: dict[str, JsonValue], **changes: object) -> bytes:
    return record_bytes(draft(body, **changes), seq=7, salt="0" * 32, prev_case=NO_RECORD)


def test_the_bytes_are_exactly_the_documented_fields() -> None:
    raw = make({"change": "held", "ä": "ü", "n": 3})
    assert raw.decode() == (
        '{"at":"2026-01-02T00:00:00Z","body":{"change":"held","n":3,"ä":"ü"},"case":"'
        + CASE
        + '","case_seq":0,'
        '"chain":"case","prev_case":"' + "0" * 64 + '","salt":"' + "0" * 32 + '","seq":7,'
        '"type":"case.changed","v":1}'
    )


def test_the_leaf_hash_is_that_of_rfc_6962() -> None:
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    raw = make({})
    assert parse_record(raw).leaf == hashlib.sha256(b"\x00" + raw).hexdigest()


@given(st.dictionaries(st.text(max_size=8), PLAIN, max_size=5))
def test_both_canonical_forms_are_the_same_for_whatever_a_record_may_hold(body: dict[str, JsonValue]) -> None:
    raw = make(body)
    assert raw == rfc8785.dumps(json.loads(raw))
    assert STANDALONE_MODULE.load(raw, FIELDS) == json.loads(raw)
    assert parse_record(raw).body == body


@given(PLAIN)
def test_the_standalone_verifier_reads_rfc8785_and_nothing_else(value: JsonValue) -> None:
    raw = rfc8785.dumps({"x": value})
    assert STANDALONE_MODULE.load(raw, "x") == {"x": value}
    for other in (raw + b"\n", b" " + raw, raw.replace(b'":', b'": ', 1)):
        with pytest.raises(ValueError, match="canonical"):
            STANDALONE_MODULE.load(other, "x")


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"a": {"b": [1, 1.5]}}, r"body\.a\.b\[1\].*floating-point"),
        ({"a": 1.0}, r"body\.a.*floating-point"),
        ({"a": 2**53}, r"body\.a.*2\^53"),
        ({"a": [-(2**53)]}, r"body\.a\[0\].*2\^53"),
        ({"a": "\ud800"}, r"body\.a.*Unicode"),
        ({"\ud800": 1}, r"body \(a key\).*Unicode"),
    ],
)
def test_what_has_no_sure_canonical_form_is_refused(body: dict[str, JsonValue], where: str) -> None:
    for attempt in (lambda: make(body), lambda: draft_hash(draft(body))):
        with pytest.raises(UnfitDraftError, match=where):
            attempt()


@pytest.mark.parametrize("case", ["c-ABC", CASE + "\n", "../" + CASE, ""])
def test_a_record_needs_a_real_case_id(case: str) -> None:
    with pytest.raises(UnfitDraftError, match="case"):
        make({}, case=case)


def test_bytes_that_are_no_record_are_damage() -> None:
    for raw in (b"", b"{}", b"\xff", make({}).replace(b'"v":1', b'"v":2'), make({})[:-1]):
        with pytest.raises(LedgerDamagedError):
            parse_record(raw)


def test_equal_drafts_have_equal_hashes_and_any_difference_shows() -> None:
    one = draft({"b": 1, "a": [True, None, "x"]})
    assert draft_hash(one) == draft_hash(draft({"a": [True, None, "x"], "b": 1}))
    others = [
        draft({"b": 1, "a": [True, None, "y"]}),
        draft({"b": True, "a": [True, None, "x"]}),
        draft({"b": 1, "a": [True, None, "x"]}, case_seq=1),
        draft({"b": 1, "a": [True, None, "x"]}, type=RecordType.PLAN),
        draft({"b": 1, "a": [True, None, "x"]}, at=datetime(2026, 1, 2, 0, 0, 1, tzinfo=UTC)),
    ]
    assert len({draft_hash(other) for other in [one, *others]}) == len(others) + 1


@pytest.mark.skipif(not CONTRACTS.is_dir(), reason="LEAVER_CONTRACTS does not lead to the vendors' contracts")
def test_the_reference_vectors_of_rfc_8785() -> None:
    vectors = json.loads((CONTRACTS / "jcs_rfc8785_vectors.json").read_text())
    assert len(vectors) == 6
    checked = 0
    for vector in vectors:
        value = json.loads(base64.b64decode(vector["input_b64"]))
        wanted = base64.b64decode(vector["canonical_b64"])
        assert rfc8785.dumps(value) == wanted, vector["name"]
        if b"." not in wanted and b"e+" not in wanted and b"e-" not in wanted:
            # Floating-point numbers, which records may not hold, are the one thing the short form leaves out.
            whole = json.loads(
                base64.b64decode(vector["input_b64"]), parse_float=lambda text: int(float(text))
            )
            named = rfc8785.dumps({"x": whole})
            assert named == b'{"x":' + wanted + b"}"
            assert STANDALONE_MODULE.load(named, "x") == {"x": whole}, vector["name"]
            checked += 1
    assert checked == 5
