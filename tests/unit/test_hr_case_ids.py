"""Ids carry no personal data, and different separations never share one (trap T4)."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from leaver.domain.ids import CASE_ID, case_id, person_ref, watch_workflow_id, workflow_id
from leaver.hr.assemble import event_id

KEY = b"sixteen bytes or more of key"
parts = st.tuples(*[st.text(alphabet=st.characters(codec="utf-8"), max_size=30)] * 3)
# Texts made of the separators somebody might have joined them with.
tricky = st.tuples(*[st.text(alphabet="a|/:-\0", max_size=4)] * 3)


def of(key: bytes, three: tuple[str, str, str]) -> str:
    source, worker, spell = three
    return case_id(key, source=source, worker=worker, spell=spell)


@given(parts)
@settings(deadline=None)
def test_the_same_separation_has_the_same_well_formed_id(three: tuple[str, str, str]) -> None:
    assert of(KEY, three) == of(KEY, three)
    assert CASE_ID.fullmatch(of(KEY, three))


@given(st.one_of(parts, tricky), st.one_of(parts, tricky))
@settings(deadline=None, max_examples=500)
def test_different_separations_have_different_ids(
    one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    assume(one != other)
    assert of(KEY, one) != of(KEY, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "b", "c"), ("a|b", "", "c")),
        (("hris/csv/a", "1", "2"), ("hris/csv", "a/1", "2")),
        (("", "ab", "c"), ("", "a", "bc")),
        (("a\0", "b", "c"), ("a", "\0b", "c")),
    ],
)
def test_parts_cannot_flow_into_each_other(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    assert of(KEY, one) != of(KEY, other)
    assert event_id(*one, 0, {}) != event_id(*other, 0, {})


def test_ids_show_nothing_of_the_person() -> None:
    case = case_id(KEY, source="hris/csv/northwind", worker="E1001", spell="mira.lindqvist@northwind.example")
    ref = person_ref(KEY, source="hris/csv/northwind", worker="mira.lindqvist@northwind.example")
    for text in (case, ref, workflow_id(case), watch_workflow_id(case)):
        for word in ("mira", "lindqvist", "northwind", "@", "e1001"):
            assert word not in text.casefold()


def test_another_key_gives_other_ids_and_a_short_one_is_refused() -> None:
    three = ("hris/csv/northwind", "E1001", "1")
    assert of(KEY, three) != of(b"another key of 16 bytes", three)
    with pytest.raises(ValueError, match="at least 16 bytes"):
        of(b"short", three)


def test_a_person_is_not_a_case() -> None:
    case = case_id(KEY, source="s", worker="w", spell="")
    assert person_ref(KEY, source="s", worker="w")[2:] != case[2:]


@given(st.integers(0, 2**53 - 1), st.integers(0, 2**53 - 1))
@settings(deadline=None)
def test_a_revision_is_part_of_the_event_id(one: int, other: int) -> None:
    assume(one != other)
    assert event_id("s", "w", "1", one, {}) != event_id("s", "w", "1", other, {})
