"""From the reconciliation to the report's first table and to the leavers without a case."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from leaver.domain.delivery import Exclusion
from leaver.domain.words import Mode
from leaver.evidence.population.model import Excluded as ExcludedRow
from leaver.evidence.population.model import Listed, Period, Seen, Snapshot
from leaver.evidence.population.reconcile import reconcile
from leaver.evidence.reports.model import Verdict
from leaver.evidence.reports.period import count_period
from leaver.evidence.reports.period_page import period_page
from leaver.evidence.reports.sources import completeness_table, members, uncased
from tests.support.period_world import END, START, period

NOW = END + timedelta(hours=2)
DAY = datetime(2026, 11, 12, tzinfo=UTC)


def seen() -> Seen:
    """HR lists three leavers: one nobody knows of, one excluded by HR itself, one where nobody decided."""
    found = Seen()
    cases = ["c-" + letter * 26 for letter in "abd"]
    found.snapshots.append(
        Snapshot(
            "s1", "hris", "GET /x", Mode.ENFORCE, END, "ab" * 32, 500, 3, 0, "cd" * 32, 9, frozenset(cases)
        )
    )
    for case in cases:
        found.listed[case] = Listed(case, "p-" + case[2:], "hris", Mode.ENFORCE, DAY, DAY)
    reasons = (Exclusion.LATER_EMPLOYMENT, Exclusion.MASS_BRAKE)
    for case, reason in zip(cases[1:], reasons, strict=True):
        found.listed[case] = replace(found.listed[case], set_aside=reason)
        found.exclusions[case] = ExcludedRow(case, "p", Mode.ENFORCE, reason, "why", "hr", DAY, 4, DAY, 4)
    return found


def test_every_leaver_of_hr_is_in_the_population_with_a_verdict() -> None:
    found = reconcile(Period(START, END), seen(), now=NOW, mode=Mode.ENFORCE)
    rows = {one.case[2]: one.judged for one in uncased(found)}
    assert rows["a"].verdict is Verdict.EXCEPTION
    assert rows["b"].verdict is Verdict.NOT_APPLICABLE
    assert "later employment" in rows["b"].why
    assert rows["d"].verdict is Verdict.EXCEPTION
    assert "nobody has decided" in rows["d"].why
    assert members(found) == frozenset()


def test_the_first_table_is_the_reconciliation() -> None:
    found = reconcile(Period(START, END), seen(), now=NOW, mode=Mode.ENFORCE)
    table = completeness_table(found)
    assert (table.hr_leavers, table.cases, table.missing, table.difference) == (
        found.hr_leavers,
        0,
        found.missing,
        found.difference,
    )
    assert dict(table.exclusions) == {key.value: n for key, n in found.exclusions.items()}
    assert (table.pulled_at, table.pull_seq, table.source_rows) == (END, 9, 500)
    assert not table.complete
    report = count_period(period([], completeness=table, leavers=tuple(uncased(found))))
    assert report.verdicts[Verdict.EXCEPTION] == 2
    assert period_page(report).banner.headline.startswith("The population does not add up")


def test_a_pull_that_does_not_cover_the_period_proves_nothing() -> None:
    early = seen()
    early.snapshots[0] = replace(early.snapshots[0], pulled_at=START - timedelta(days=3))
    table = completeness_table(reconcile(Period(START, END), early, now=NOW, mode=Mode.ENFORCE))
    assert (table.hr_leavers, table.difference, table.complete) == (None, None, False)
