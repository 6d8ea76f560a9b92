"""The comparison as arithmetic: whatever was seen, the sums hold, and nothing can be left out unnoticed."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaver.domain.delivery import Exclusion
from leaver.domain.words import CaseOutcome, Mode
from leaver.evidence.population.model import (
    Completeness,
    Ended,
    Excluded,
    Expected,
    GapKind,
    Listed,
    Opened,
    Period,
    Seen,
    Snapshot,
)
from leaver.evidence.population.reconcile import reconcile
from leaver.evidence.population.wording import claim

BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
NOW = BEGIN + timedelta(days=25)
SOURCE = "hris/csv/northwind"


@dataclass(frozen=True)
class Fate:
    """What happened to one leaver; every combination, also absurd ones."""

    listed: bool
    leaving: bool
    expected: bool
    excluded: Exclusion | None
    opened: bool
    closed: bool
    sealed: bool
    bundled: bool
    effective_hours: int
    opened_hours: int


FATES = st.lists(
    st.builds(
        Fate,
        listed=st.booleans(),
        leaving=st.booleans(),
        expected=st.booleans(),
        excluded=st.none() | st.sampled_from(Exclusion),
        opened=st.booleans(),
        closed=st.booleans(),
        sealed=st.booleans(),
        bundled=st.booleans(),
        effective_hours=st.integers(0, 24 * 24),
        opened_hours=st.integers(0, 24 * 24),
    ),
    max_size=12,
)
GOOD = st.lists(
    st.builds(
        Fate,
        listed=st.just(True),
        leaving=st.just(True),
        expected=st.just(True),
        excluded=st.none(),
        opened=st.just(True),
        closed=st.just(True),
        sealed=st.just(True),
        bundled=st.just(True),
        effective_hours=st.integers(0, 24 * 20),
        opened_hours=st.integers(0, 24 * 20),
    ),
    min_size=1,
    max_size=8,
)


def excluded(
    case: str, reason: Exclusion, seq: int, at: datetime, *, approver: str = "", first: int | None = None
) -> Excluded:
    first = seq if first is None else first
    return Excluded(case, "p-1", Mode.ENFORCE, reason, "why", approver, at, seq, at, first)


def case_id(number: int) -> str:
    return "c-" + f"{number}".translate(str.maketrans("0123456789", "abcdefghij")).rjust(26, "a")


def pull(seq: int, at: datetime, rows: int = 100) -> Snapshot:
    return Snapshot(f"s-{seq}", SOURCE, "q", Mode.ENFORCE, at, "0" * 64, rows, 0, 0, "0" * 64, seq)


def world(fates: list[Fate]) -> tuple[Seen, set[str]]:
    seen, bundles = Seen(snapshots=[pull(1, BEGIN), pull(9_000, NOW - timedelta(hours=2))]), set()
    for number, fate in enumerate(fates):
        case, base = case_id(number), 10 + number * 10
        effective = BEGIN + timedelta(hours=fate.effective_hours)
        at = BEGIN + timedelta(hours=fate.opened_hours)
        mode, who = Mode.ENFORCE, f"p-{number}"
        if fate.listed:
            seen.listed[case] = Listed(case, who, SOURCE, mode, effective, BEGIN, leaving=fate.leaving)
        if fate.expected:
            seen.expected[case] = Expected(case, who, SOURCE, mode, effective, at, base, base)
        if fate.excluded:
            seen.exclusions[case] = excluded(case, fate.excluded, base + 1, at)
        if fate.opened:
            seen.opened[case] = Opened(case, who, SOURCE, mode, effective, at, base + 2)
        if fate.closed:
            seen.closed[case] = Ended(at + timedelta(minutes=1), CaseOutcome.COMPLETED)
        if fate.sealed:
            seen.sealed[case] = at + timedelta(minutes=2)
        if fate.bundled:
            bundles.add(case)
    return seen, bundles


def kinds(result: Completeness) -> Counter[GapKind]:
    return Counter(found.kind for found in result.findings)


@given(FATES)
def test_the_sums_hold_whatever_was_seen(fates: list[Fate]) -> None:
    seen, bundles = world(fates)
    result = reconcile(Period(), seen, now=NOW, bundles=bundles)
    listed = [case for case, row in seen.listed.items() if row.leaving]
    assert result.hr_leavers == len(listed)
    assert result.hr_leavers == result.with_case + result.excluded + result.missing
    assert result.cases == len(seen.opened)
    assert result.difference == result.missing + result.unlisted
    assert result.excluded == sum(result.exclusions.values())
    assert result.closed == len(set(seen.closed) & set(seen.opened))
    assert result.sealed <= result.closed
    assert len({found.key for found in result.findings}) == len(result.findings)


@given(FATES)
def test_every_gap_has_exactly_one_finding(fates: list[Fate]) -> None:
    seen, bundles = world(fates)
    result = reconcile(Period(), seen, now=NOW, bundles=bundles)
    found = kinds(result)
    without = [
        each
        for each in result.findings
        if each.kind in {GapKind.LEAVER_WITHOUT_CASE, GapKind.EXPECTED_WITHOUT_CASE}
    ]
    missing = {line.case for line in result.lines if line.standing == "missing"}
    assert missing <= {each.case for each in without}
    assert len({each.case for each in without}) == len(without)
    assert found[GapKind.CASE_WITHOUT_HR_ROW] == result.unlisted
    assert found[GapKind.CLOSED_NOT_SEALED] == result.unsealed
    assert found[GapKind.CLOSED_WITHOUT_BUNDLE] == result.closed - (result.bundles or 0)
    assert result.complete == (result.difference == 0 and not any(each.alarm for each in result.gaps))


@given(FATES, st.integers(1, 24))
def test_periods_that_follow_each_other_count_everybody_once(fates: list[Fate], day: int) -> None:
    seen, bundles = world(fates)
    cut = BEGIN + timedelta(days=day)
    before = reconcile(Period(None, cut), seen, now=NOW, bundles=bundles)
    after = reconcile(Period(cut, None), seen, now=NOW, bundles=bundles)
    whole = reconcile(Period(), seen, now=NOW, bundles=bundles)
    for name in ("hr_leavers", "with_case", "excluded", "missing", "cases", "unlisted", "closed", "sealed"):
        assert getattr(before, name) + getattr(after, name) == getattr(whole, name), name
    assert before.lines + after.lines == whole.lines


@given(GOOD, st.data())
def test_nothing_can_be_left_out_unnoticed(fates: list[Fate], data: st.DataObject) -> None:
    """From a company where all is well, take any one thing away: the table says so."""
    seen, bundles = world(fates)
    assert reconcile(Period(), seen, now=NOW, bundles=bundles).findings == ()
    assert reconcile(Period(), seen, now=NOW, bundles=bundles).complete
    victim = data.draw(st.sampled_from(sorted(seen.opened)))
    for name in ("listed", "opened", "sealed", "expected"):
        hurt = copy.deepcopy(seen)
        getattr(hurt, name).pop(victim)
        result = reconcile(Period(), hurt, now=NOW, bundles=bundles)
        assert not result.complete, name
        assert victim in {found.case for found in result.alarms}, name
    result = reconcile(Period(), seen, now=NOW, bundles=bundles - {victim})
    assert [found.case for found in result.alarms] == [victim]
    hurt = copy.deepcopy(seen)
    for name in ("opened", "expected", "closed", "sealed"):
        getattr(hurt, name).pop(victim)
    result = reconcile(Period(), hurt, now=NOW, bundles=bundles - {victim})
    assert (result.difference, result.complete) == (1, False)


@given(GOOD)
def test_the_order_in_which_things_were_seen_changes_nothing(fates: list[Fate]) -> None:
    seen, bundles = world(fates)
    turned = Seen(
        snapshots=seen.snapshots[::-1],
        listed=dict(reversed(seen.listed.items())),
        expected=dict(reversed(seen.expected.items())),
        opened=dict(reversed(seen.opened.items())),
        closed=dict(reversed(seen.closed.items())),
        sealed=dict(reversed(seen.sealed.items())),
    )
    assert reconcile(Period(), turned, now=NOW, bundles=bundles) == reconcile(
        Period(), seen, now=NOW, bundles=bundles
    )


@pytest.mark.parametrize(
    "reason",
    [
        Exclusion.RESCINDED,
        Exclusion.OTHER_EMPLOYMENT,
        Exclusion.LATER_EMPLOYMENT,
        Exclusion.SAME_END,
    ],
)
def test_an_exclusion_that_hr_contradicts_explains_nothing(reason: Exclusion) -> None:
    seen, _ = world([Fate(True, True, False, reason, False, False, False, False, 5, 5)])
    before = reconcile(Period(), seen, now=NOW)
    assert (before.excluded, before.difference) == (1, 0)
    assert [found.kind for found in before.alarms] == [GapKind.EXCLUSION_NOT_CONFIRMED]
    case = case_id(0)
    seen.snapshots.append(Snapshot(**{**_fields(pull(9_500, NOW)), "cases": frozenset({case})}))
    result = reconcile(Period(), seen, now=NOW)
    assert (result.excluded, result.missing) == (0, 1)
    [alarm] = result.alarms
    assert (alarm.kind, alarm.case) == (GapKind.LEAVER_WITHOUT_CASE, case)
    assert reason.value in alarm.detail
    assert "HR's list contradicts it" in alarm.detail
    seen.exclusions[case] = replace(seen.exclusions[case], seq=9_600)
    assert reconcile(Period(), seen, now=NOW).missing == 1, "told anew after each pull, it is not a new one"


def test_an_exclusion_that_hrs_list_says_as_well_is_settled() -> None:
    seen, _ = world([Fate(True, True, False, Exclusion.SAME_END, False, False, False, False, 5, 5)])
    case = case_id(0)
    seen.listed[case] = replace(seen.listed[case], set_aside=Exclusion.SAME_END)
    seen.snapshots.append(Snapshot(**{**_fields(pull(9_500, NOW)), "cases": frozenset({case})}))
    result = reconcile(Period(), seen, now=NOW)
    assert (result.excluded, result.complete) == (1, True)
    seen.listed[case] = replace(seen.listed[case], set_aside=Exclusion.OTHER_EMPLOYMENT)
    result = reconcile(Period(), seen, now=NOW)
    assert (result.excluded, result.difference) == (1, 0)
    [alarm] = result.alarms
    assert alarm.kind is GapKind.EXCLUSION_NOT_CONFIRMED
    assert "says another reason (other_employment)" in alarm.detail


def test_nobody_is_left_out_for_good_by_leaving_hrs_list() -> None:
    """HR's lists forget whoever has left: what they said while the person was on them stands."""
    case, listed = case_id(0), NOW - timedelta(days=2)
    for reason in (Exclusion.OTHER_EMPLOYMENT, Exclusion.RESCINDED):
        seen, _ = world([Fate(True, True, False, reason, False, False, False, False, 5, 5)])
        named = Snapshot(**{**_fields(pull(800, listed)), "cases": frozenset({case})})
        seen.snapshots.insert(1, named)
        assert reconcile(Period(), seen, now=NOW).missing == 1, reason
    still_ahead = replace(seen.listed[case], effective_at=listed + timedelta(days=1))
    seen.listed[case] = still_ahead
    assert reconcile(Period(), seen, now=NOW).missing == 0, "HR took it back, and the list followed in time"


def test_a_decision_counts_when_somebody_signed_it() -> None:
    seen, _ = world([Fate(True, True, False, Exclusion.DECIDED, False, False, False, False, 5, 5)])
    result = reconcile(Period(), seen, now=NOW)
    assert (result.excluded, result.missing) == (0, 1)
    assert "nobody signed that" in result.alarms[0].detail
    seen.exclusions[case_id(0)] = excluded(case_id(0), Exclusion.DECIDED, 11, BEGIN, approver="p-sec")
    assert reconcile(Period(), seen, now=NOW).complete


def test_an_exclusion_told_since_the_last_pull_stands_in_the_claim() -> None:
    seen, _ = world([Fate(True, True, False, Exclusion.SAME_END, False, False, False, False, 5, 5)])
    seen.exclusions[case_id(0)] = excluded(case_id(0), Exclusion.SAME_END, 9_100, NOW)
    result = reconcile(Period(), seen, now=NOW)
    assert result.complete
    assert "1 exclusion(s) told since are not compared yet." in claim(result)
    assert not reconcile(Period(), seen, now=NOW + timedelta(minutes=15)).complete


def _fields(snapshot: Snapshot) -> dict[str, object]:
    return {name: getattr(snapshot, name) for name in Snapshot.__dataclass_fields__}


def test_a_past_period_needs_a_pull_that_saw_it() -> None:
    seen, _ = world([])
    past = reconcile(Period(BEGIN, BEGIN + timedelta(days=2)), seen, now=NOW)
    assert past.complete
    seen.snapshots = seen.snapshots[:1]
    future = reconcile(Period(BEGIN + timedelta(days=10), NOW), seen, now=NOW)
    assert not future.covered
    assert not future.complete
    assert [found.kind for found in future.alarms] == [GapKind.PULL_MISSING]


def test_without_any_pull_completeness_is_not_claimed() -> None:
    result = reconcile(Period(), Seen(), now=NOW)
    assert not result.complete
    assert claim(result) == "Completeness was not tested: HR's list was never pulled."
    told = Seen(exclusions={case_id(0): excluded(case_id(0), Exclusion.SAME_END, 1, BEGIN)})
    assert claim(reconcile(Period(), told, now=NOW, mode=Mode.ENFORCE)).endswith(
        "Exclusions are counted as ingest told them, not independently."
    )


def test_the_claim_names_the_pull_and_its_limits() -> None:
    seen, bundles = world([])
    said = claim(reconcile(Period(), seen, now=NOW, bundles=bundles))
    assert said == (
        "Complete against the HR pull of 2026-11-25 22:00 UTC (hris/csv/northwind, 100 rows)."
        " People whom HR's list does not hold are not covered."
    )
    seen, bundles = world([Fate(True, True, False, None, False, False, False, False, 5, 5)])
    assert claim(reconcile(Period(), seen, now=NOW)).startswith("Not complete against the HR pull of 2026")


@pytest.mark.parametrize(
    ("zone", "hours"), [("UTC", 24), ("Europe/Berlin", 23), ("America/New_York", 24), ("Asia/Kolkata", 24)]
)
def test_a_day_is_as_long_as_it_is(zone: str, hours: int) -> None:
    """29 March 2026 has 23 hours in Berlin; New York changed its clocks three weeks before."""
    day = date(2026, 3, 29)
    period = Period.days(day, day, ZoneInfo(zone))
    assert period.start is not None
    assert period.end is not None
    assert period.end - period.start == timedelta(hours=hours)
    assert period.start.astimezone(ZoneInfo(zone)).date() == day
    assert period.has(period.start)
    assert not period.has(period.end)


def test_a_period_cannot_end_before_it_begins() -> None:
    with pytest.raises(ValueError, match="before it begins"):
        Period.days(date(2026, 3, 2), date(2026, 3, 1))
