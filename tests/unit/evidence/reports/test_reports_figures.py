"""Verdicts, percentiles, histogram and weeks."""

from __future__ import annotations

import re
import statistics
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from leaver.domain.words import CaseOutcome, Mode, Outcome, Phase, System
from leaver.evidence.reports.charts import lag_chart, week_chart
from leaver.evidence.reports.figures import (
    STEPS_PER_DECADE,
    histogram,
    judge_action,
    judge_case,
    percentile,
    removals,
    system_figures,
    weeks,
    worst,
)
from leaver.evidence.reports.model import Verdict
from leaver.evidence.reports.show import lag, percent, span
from tests.support.period_world import AS_OF, START, Kind, leaver_at

SOON = AS_OF + timedelta(hours=1)
PAST = AS_OF - timedelta(hours=1)


def one(kind: Kind | None = None, cutoff: datetime = START):
    return leaver_at(cutoff, kind or Kind(), 7)[0]


@pytest.mark.parametrize(
    ("outcome", "late", "due", "verdict"),
    [
        (Outcome.VERIFIED, False, PAST, Verdict.WITHIN),
        (Outcome.ALREADY, False, None, Verdict.WITHIN),
        (Outcome.ABSENT, False, PAST, Verdict.WITHIN),
        (Outcome.VERIFIED, True, PAST, Verdict.EXCEPTION),
        (Outcome.ACKNOWLEDGED, False, PAST, Verdict.EXCEPTION),
        (Outcome.ATTESTED, False, PAST, Verdict.EXCEPTION),
        (Outcome.WAIVED, False, PAST, Verdict.EXCEPTION),
        (Outcome.OPEN, False, SOON, Verdict.EXCEPTION),
        (Outcome.FAILED, False, SOON, Verdict.EXCEPTION),
        (Outcome.PLANNED, False, PAST, Verdict.NOT_TESTABLE),
        (Outcome.PENDING, False, SOON, Verdict.NOT_TESTABLE),
        (Outcome.PENDING, False, PAST, Verdict.EXCEPTION),
    ],
)
def test_only_what_was_read_back_in_time_is_within(
    outcome: Outcome, late: bool, due: datetime | None, verdict: Verdict
) -> None:
    judged = judge_action(outcome, late=late, due=due, as_of=AS_OF)
    assert judged.verdict is verdict
    assert judged.why or verdict is Verdict.WITHIN


def test_every_verdict_of_a_leaver_but_within_has_a_reason_or_an_exception() -> None:
    facts = {
        "outcome": CaseOutcome.COMPLETED,
        "mode": Mode.ENFORCE,
        "cutoff": PAST,
        "as_of": AS_OF,
        "actions": one().actions,
        "standing": 0,
    }

    def verdict(**changes: object) -> Verdict:
        judged = judge_case(**{**facts, **changes})
        assert judged.why or judged.verdict in (Verdict.WITHIN, Verdict.EXCEPTION)
        return judged.verdict

    assert verdict() is Verdict.WITHIN
    assert verdict(standing=1) is Verdict.EXCEPTION
    assert verdict(standing=1, outcome=CaseOutcome.RUNNING) is Verdict.EXCEPTION
    assert verdict(outcome=CaseOutcome.RUNNING) is Verdict.NOT_TESTABLE
    assert verdict(cutoff=SOON) is Verdict.NOT_TESTABLE
    assert verdict(actions=()) is Verdict.NOT_TESTABLE
    assert verdict(mode=Mode.NOTIFICATION_ONLY, standing=1) is Verdict.NOT_TESTABLE
    assert verdict(outcome=CaseOutcome.RESCINDED, standing=1) is Verdict.NOT_APPLICABLE
    assert verdict(outcome=CaseOutcome.RESCINDED_AFTER_CUTOFF) is Verdict.WITHIN


def test_a_system_is_measured_on_containment_where_it_has_any() -> None:
    leaver = one()
    rows = {row.system: row for row in removals(leaver)}
    assert list(rows) == list(System)
    contain = [a.finished_at for a in leaver.actions if (a.system, a.phase) == (System.AD, Phase.CONTAIN)]
    assert rows[System.AD].removed_at == max(contain)
    assert rows[System.AD].contained
    last = [
        a.finished_at for a in leaver.actions if a.system is System.ONEDRIVE and a.phase is not Phase.INTAKE
    ]
    assert rows[System.ONEDRIVE].removed_at == max(last)
    assert not rows[System.ONEDRIVE].contained


def test_an_action_that_is_not_proven_leaves_no_time_of_removal() -> None:
    rows = {row.system: row for row in removals(one(Kind(open_step="entra.block_sign_in")))}
    assert rows[System.ENTRA].removed_at is None
    assert rows[System.ENTRA].lag is None
    assert rows[System.ENTRA].judged.verdict is Verdict.EXCEPTION
    assert worst(rows.values()) is rows[System.ENTRA]
    assert rows[System.AD].judged.verdict is Verdict.WITHIN


def test_a_system_without_an_account_is_not_counted() -> None:
    leaver = one()
    absent = tuple(replace(a, outcome=Outcome.ABSENT) if a.system is System.AD else a for a in leaver.actions)
    rows = removals(replace(leaver, actions=absent))
    figures = {row.system: row for row in system_figures(rows)}
    assert figures[System.AD].tested == 0
    assert figures[System.ENTRA].tested == 1
    only_found = tuple(a for a in leaver.actions if a.system is not System.AD or a.phase is Phase.INTAKE)
    assert System.AD not in {row.system for row in removals(replace(leaver, actions=only_found))}


def test_both_lags_when_hr_told_late_and_when_access_went_before_the_date() -> None:
    late = one(Kind(told_after=30.0))
    assert late.lag_effective is not None
    assert late.lag_notice is not None
    assert late.lag_effective - late.lag_notice == pytest.approx(30 * 3600)
    early = one(Kind(told_after=-5.0, immediate=True))
    assert early.lag_effective is not None
    assert early.lag_effective < 0 < (early.lag_notice or 0)
    figures = {row.system: row for row in system_figures(removals(late))}
    assert (figures[System.ENTRA].within, figures[System.ENTRA].within_effective) == (1, 0)


def test_percentiles_are_those_of_a_spreadsheet() -> None:
    values = sorted([4.0, 1.0, 9.5, 2.25, 700.0, 3.5, 3.5])
    cuts = statistics.quantiles(values, n=20, method="inclusive")
    assert percentile(values, 0.95) == pytest.approx(cuts[18], abs=0.001)
    assert percentile(values, 0.5) == statistics.median(values)
    assert percentile([], 0.5) is None
    assert percentile([2.0], 0.95) == 2.0


def test_the_histogram_counts_everything_once() -> None:
    lags = [-7200.0, 0.0, 0.99, 1.0, 9.99, 10.0, 59.0, 3600.0, 86_400.0, 1_000_000.0]
    bars = histogram(lags)
    assert sum(bar.count for bar in bars) == len(lags)
    assert bars[0].count == 3
    for bar in bars[1:]:
        assert bar.count == sum(bar.start <= value < bar.end for value in lags)
        assert bar.end / bar.start == pytest.approx(10 ** (1 / STEPS_PER_DECADE))
    assert histogram([]) == ()
    assert sum(bar.count for bar in histogram([-5.0])) == 1


def test_weeks_follow_the_calendar_of_the_zone_across_a_change_of_clocks() -> None:
    # Berlin goes back an hour on Sunday 2026-10-25; its Monday begins at 23:00 UTC that day.
    sunday = datetime(2026, 10, 25, 22, 59, tzinfo=UTC)
    monday = datetime(2026, 10, 25, 23, 0, tzinfo=UTC)
    later = datetime(2026, 11, 12, 12, 0, tzinfo=UTC)
    found = weeks([one(cutoff=sunday), one(cutoff=monday), one(cutoff=later)], "Europe/Berlin", AS_OF)
    assert [(week.monday, week.leavers) for week in found] == [
        (date(2026, 10, 19), 1),
        (date(2026, 10, 26), 1),
        (date(2026, 11, 2), 0),
        (date(2026, 11, 9), 1),
    ]
    assert [week.leavers for week in weeks([one(cutoff=monday)], "UTC", AS_OF)] == [1]
    assert weeks([], "UTC", AS_OF) == ()


def test_a_week_tells_how_old_its_open_cases_are() -> None:
    open_case = one(Kind(outcome=CaseOutcome.RUNNING))
    (week,) = weeks([open_case], "UTC", AS_OF)
    assert (week.open, week.tested) == (1, 0)
    assert week.oldest_open == (AS_OF - START).total_seconds()
    assert "1 case still open, the oldest for 30 d 2 h" in week_chart([week]).words


def test_drawings_are_svg_without_anything_foreign() -> None:
    chart = lag_chart(histogram([0.5, 20.0, 30.0, 4000.0]), (3600.0,))
    for svg in (chart.screen, chart.paper):
        assert svg.startswith("<svg ")
        assert svg.endswith("</svg>")
        assert not re.search(r"nan|inf|None|<script|href", svg)
        assert "limit 1 h" in svg
        for number in re.findall(r' (?:x|y|width|height)="([^"]+)"', svg):
            assert 0 <= float(number) <= 560
    assert "var(" in chart.screen
    assert "var(" not in chart.paper
    assert "4 leavers" in chart.words


def test_shares_are_never_rounded_up_to_all() -> None:
    assert percent(1999, 2000) == "99.9 %"
    assert percent(99_999, 100_000) == "99.9 %"
    assert percent(5, 5) == "100 %"
    assert percent(0, 5) == "0.0 %"
    assert percent(0, 0) == "\N{EN DASH}"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "\N{EN DASH}"),
        (0, "0.0 s"),
        (4.24, "4.2 s"),
        (10, "10 s"),
        (119, "119 s"),
        (125, "2 min 05 s"),
        (7199.6, "2 h 00 min"),
        (11_220, "3 h 07 min"),
        (187_200, "2 d 4 h"),
        (-65, "\N{MINUS SIGN}65 s"),
    ],
)
def test_durations_for_people(seconds: float | None, text: str) -> None:
    assert lag(seconds) == text


def test_limits_for_people() -> None:
    told = ["1 h", "90 min", "1 d", "2 d", "90 s", "7.0 s"]
    assert [span(seconds) for seconds in (3600, 5400, 86_400, 172_800, 90, 7)] == told
