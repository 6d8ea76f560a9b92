"""Protected people and the mass brake: nothing starts that should not (traps T5, T6)."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from leaver.domain.event import LeaverEvent
from leaver.domain.policy import BrakePolicy, Policy, ProtectedPolicy
from leaver.hr.ingest import read
from leaver.hr.model import IngestContext, SourceKind
from leaver.hr.screening import HeldReason, screen

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
EXAMPLE = Path(__file__).parents[2] / "examples" / "hr" / "northwind-leavers.csv"


def feed(*rows: str) -> tuple[LeaverEvent, ...]:
    text = "\n".join(("employee_number,user_name,email,last_working_day,status,immediate", *rows))
    return read(text.encode(), SourceKind.CSV, IngestContext("northwind", "hr.csv", NOW)).events


def many(count: int, status: str = "leaving", immediate: str = "") -> tuple[LeaverEvent, ...]:
    return feed(*(f"{number},,,2026-12-01,{status},{immediate}" for number in range(count)))


def policy(brake: int = 20, numbers: tuple[str, ...] = (), names: tuple[str, ...] = ()) -> Policy:
    return Policy(
        protected=ProtectedPolicy(external_ids=numbers, user_names=names),
        brakes=BrakePolicy(max_leavers_per_feed=brake),
    )


def test_the_protected_person_of_the_shipped_file_is_held() -> None:
    events = read(EXAMPLE.read_bytes(), SourceKind.CSV, IngestContext("northwind", "f", NOW)).events
    result = screen(events, policy(numbers=("E1006",)), NOW)
    assert [event.subject for event in result.start] == ["E1001", "E1002", "E1003", "E1004"]
    (held,) = result.held
    assert (held.event.subject, held.reason) == ("E1006", HeldReason.PROTECTED_PERSON)
    assert "leaver case release" in held.text
    assert "decide now" in held.text
    assert "olberg" not in held.text


@pytest.mark.parametrize(
    ("numbers", "names"),
    [
        (("e7",), ()),
        ((), ("ROOT@northwind.example",)),
        ((), ("Break.Glass@northwind.example",)),
    ],
)
def test_a_person_is_protected_by_number_user_name_or_address_in_any_case(
    numbers: tuple[str, ...], names: tuple[str, ...]
) -> None:
    events = feed(
        "E7,Root@northwind.example,break.glass@Northwind.example,2026-12-01,leaving,yes",
        "E8,,,2026-12-01,leaving,",
    )
    result = screen(events, policy(numbers=numbers, names=names), NOW)
    assert [held.event.subject for held in result.held] == ["E7"]
    assert [event.subject for event in result.start] == ["E8"]


def test_a_number_protects_no_other_number() -> None:
    result = screen(feed("E70,,,2026-12-01,leaving,"), policy(numbers=("E7",)), NOW)
    assert len(result.start) == 1


def test_the_brake_lets_its_limit_through_and_holds_everything_above() -> None:
    assert len(screen(many(5), policy(brake=5), NOW).start) == 5
    result = screen(many(6), policy(brake=5), NOW)
    assert result.start == ()
    assert {held.reason for held in result.held} == {HeldReason.MASS_BRAKE}
    assert len(result.held) == 6
    assert "names 6 leavers, the policy's brake is 5" in result.held[0].text


def test_immediate_leavers_count_and_are_held_with_the_rest() -> None:
    result = screen(many(6, immediate="yes"), policy(brake=5), NOW)
    assert len(result.held) == 6
    assert len(screen(many(1, immediate="yes"), policy(brake=1), NOW).start) == 1


def test_a_protected_person_is_named_as_such_also_under_the_brake() -> None:
    result = screen(many(3), policy(brake=2, numbers=("1",)), NOW)
    assert [held.reason for held in result.held] == [
        HeldReason.MASS_BRAKE,
        HeldReason.PROTECTED_PERSON,
        HeldReason.MASS_BRAKE,
    ]


def test_rescinded_leavers_always_pass_and_do_not_count() -> None:
    events = (*many(9, status="rescinded"), *feed("x,,,2026-12-01,leaving,"))
    result = screen(events, policy(brake=1, numbers=("3",)), NOW)
    assert result.start == events


def test_nothing_is_lost_or_changed() -> None:
    events = many(4)
    result = screen(events, policy(numbers=("2",)), NOW)
    assert {*result.start, *(held.event for held in result.held)} == set(events)
    assert screen((), policy(), NOW).start == ()
