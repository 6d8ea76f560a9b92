"""Identifiers are plain text in Temporal, logs and URLs: nothing personal may reach them."""

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from leaver.domain import ids
from leaver.domain.search import SEARCH_ATTRIBUTES

KEY = b"k" * 16
WORKER = st.text(min_size=4, max_size=60)


@given(source=st.text(max_size=20), worker=WORKER, spell=st.text(max_size=20))
def test_case_ids_are_made_of_a_hash_alone(source: str, worker: str, spell: str) -> None:
    case = ids.case_id(KEY, source=source, worker=worker, spell=spell)
    assert ids.CASE_ID.fullmatch(case)
    assert case != ids.case_id(KEY + b"2", source=source, worker=worker, spell=spell)
    for made in (case, ids.workflow_id(case), ids.watch_workflow_id(case)):
        assert set(made) <= set(string.ascii_lowercase + string.digits + "-")


@given(source=st.text(max_size=20), worker=WORKER)
def test_person_references_are_made_of_a_keyed_hash_alone(source: str, worker: str) -> None:
    person = ids.person_ref(KEY, source=source, worker=worker)
    assert person.startswith("p-")
    assert ids.CASE_ID.fullmatch(f"c-{person[2:]}")
    assert person != ids.person_ref(KEY + b"2", source=source, worker=worker)


def test_search_attributes_are_about_the_case_not_the_person() -> None:
    assert set(SEARCH_ATTRIBUTES) == {
        "LeaverPhase",
        "LeaverOutcome",
        "LeaverSite",
        "LeaverRisk",
        "LeaverDue",
    }
