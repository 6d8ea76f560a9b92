"""Pull, compare, record: on a real ledger and HR's real file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from pydantic_core import from_json

from leaver.client.deliveries import Namer
from leaver.domain.delivery import Exclusion
from leaver.domain.words import CaseOutcome, Mode, RecordType
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.population.erasure import Order
from leaver.evidence.population.exclusion import note_decision
from leaver.evidence.population.keeper import PopulationKeeper
from leaver.evidence.population.model import Completeness, GapKind, Period
from leaver.evidence.population.observed import load_seen
from leaver.evidence.population.reconcile import reconcile
from leaver.evidence.population.snapshot import population_root
from leaver.evidence.records import LOG, Chain
from tests.support.population import ID_KEY, Company, row


def kinds(result: Completeness) -> set[GapKind]:
    return {found.kind for found in result.findings}


def bodies(ledger: Ledger, kind: RecordType) -> list[dict[str, object]]:
    return [from_json(record.raw)["body"] for record in ledger.stream((kind,))]


async def test_everybody_has_a_case_and_everything_adds_up(company: Company) -> None:
    company.write(row("E1"), row("E2"), row("E3", "2027-01-31"), row("E9", status="active", day=""))
    opened = company.deliver()
    for case in opened[:2]:
        company.finish(case)
    company.later(hours=1)
    done = await company.keeper().tick(company.now)
    result = done.completeness
    assert (result.hr_leavers, result.with_case, result.cases, result.difference) == (3, 3, 3, 0)
    assert (result.closed, result.sealed, result.bundles) == (2, 2, 2)
    assert result.findings == ()
    assert result.complete
    assert result.last_pull is not None
    assert (result.last_pull.rows, result.last_pull.leavers) == (4, 3)
    assert result.last_pull.raw_sha256 == hashlib.sha256(company.file.read_bytes()).hexdigest()
    assert company.ledger.check() == ()


async def test_a_leaver_lost_before_the_workflow_shows_the_same_day(company: Company) -> None:
    """Dropped between HR and workflow, after the sealer was told."""
    company.write(row("E1"), row("E2"))
    company.deliver(without=["E2"])
    company.later(minutes=20)
    result = (await company.keeper().tick(company.now)).completeness
    assert (result.hr_leavers, result.with_case, result.missing, result.difference) == (2, 1, 1, 1)
    assert not result.complete
    [gap] = result.alarms
    assert (gap.kind, gap.case) == (GapKind.EXPECTED_WITHOUT_CASE, company.case("E2"))
    assert gap.age(company.now) == timedelta(minutes=20)


async def test_a_leaver_lost_before_anybody_was_told_shows_the_same_day(company: Company) -> None:
    """Dropped by a wrong filter or a lost webhook: neither the sealer nor a workflow ever heard of them."""
    company.write(row("E1"))
    company.deliver()
    company.write(row("E1"), row("E2"))
    company.later(hours=15)  # past the cut-off
    keeper = company.keeper()
    first = await keeper.tick(company.now)
    assert (first.completeness.difference, first.completeness.alarms) == (1, ()), (
        "HR's message may be on its way"
    )
    company.later(minutes=16)
    done = await keeper.tick(company.now)
    [gap] = done.completeness.alarms
    assert (gap.kind, gap.case) == (GapKind.LEAVER_WITHOUT_CASE, company.case("E2"))
    assert done.completeness.difference == 1
    assert "cut-off has passed" in gap.detail
    [finding] = bodies(company.ledger, RecordType.RECONCILIATION_FINDING)
    assert (finding["kind"], finding["about"]) == ("leaver_without_case", company.case("E2"))


async def test_a_future_leaver_has_some_patience_but_stands_in_the_difference(company: Company) -> None:
    company.write(row("E1", "2027-06-30"))
    keeper = company.keeper()
    first = (await keeper.tick(company.now)).completeness
    assert (first.difference, first.alarms, first.complete) == (1, (), False)
    company.later(minutes=16)
    later = (await keeper.tick(company.now)).completeness
    assert [found.kind for found in later.alarms] == [GapKind.LEAVER_WITHOUT_CASE]


async def test_a_gap_is_written_once_closed_once_and_can_come_again(company: Company) -> None:
    company.write(row("E1"))
    company.later(hours=20)
    keeper = company.keeper()
    for _ in range(6):
        await keeper.tick(company.now)
        company.later(minutes=5)
    assert len(bodies(company.ledger, RecordType.RECONCILIATION_FINDING)) == 1
    company.deliver()
    done = await keeper.tick(company.now)
    assert done.gone == (f"leaver_without_case:{company.case('E1')}",)
    [closed] = bodies(company.ledger, RecordType.EXCEPTION_CLOSED)
    assert closed["finding"] == done.gone[0]
    # Another keeper on the same ledger, as after a restart, knows what was said.
    again = await PopulationKeeper(company.ledger, company.source()).tick(company.now)
    assert (again.found, again.gone) == ((), ())
    assert len(bodies(company.ledger, RecordType.EXCEPTION_CLOSED)) == 1


async def test_one_pull_a_day_in_the_zone_of_the_company(company: Company) -> None:
    company.write(row("E1"))
    company.deliver()
    keeper = PopulationKeeper(company.ledger, company.source(), zone=ZoneInfo("Asia/Tokyo"))
    for _ in range(30):  # an hour each, from 18:00 in Tokyo
        await keeper.tick(company.now)
        company.later(hours=1)
    pulls = bodies(company.ledger, RecordType.POPULATION)
    assert [str(pull["pulled_at"])[:13] for pull in pulls] == ["2026-11-20T09", "2026-11-20T15"]
    assert len(bodies(company.ledger, RecordType.RECONCILIATION)) == 2


async def test_a_pull_that_fails_is_a_finding_and_is_tried_again(company: Company) -> None:
    keeper = company.keeper()
    failed = await keeper.tick(company.now)
    assert "hr.csv" in failed.problem
    assert {GapKind.PULL_FAILED, GapKind.PULL_MISSING} <= kinds(failed.completeness)
    company.write(row("E1"))
    company.deliver()
    company.later(minutes=1)
    assert (await keeper.tick(company.now)).snapshot == "", "not at once"
    company.later(minutes=15)
    done = await keeper.tick(company.now)
    assert done.snapshot
    assert set(done.gone) == {"pull_failed:hris/csv/northwind", "pull_missing:any"}
    assert done.completeness.complete


async def test_silence_of_hr_is_a_gap(company: Company) -> None:
    company.write(row("E1"))
    company.finish(company.deliver()[0])
    await company.keeper().tick(company.now)
    company.later(hours=37)
    quiet = await PopulationKeeper(company.ledger, None, bundles=lambda: company.bundles).tick(company.now)
    assert [found.kind for found in quiet.completeness.alarms] == [GapKind.PULL_MISSING]


async def test_a_list_that_suddenly_shrinks_or_is_empty_is_a_gap(company: Company) -> None:
    company.write(row("E1"), *(row(f"S{n}", "", status="active") for n in range(20)))
    company.deliver()
    keeper = company.keeper()
    await keeper.tick(company.now)
    company.write(row("E1"), *(row(f"S{n}", "", status="active") for n in range(10)))
    company.later(days=1)
    assert GapKind.PULL_SHRANK in kinds((await keeper.tick(company.now)).completeness)


async def test_a_case_that_hr_does_not_list_is_found_after_the_next_pull(company: Company) -> None:
    company.write(row("E1"), row("E2"))
    company.later(hours=20)
    company.deliver()
    keeper = company.keeper()
    company.write(row("E1"))
    fresh = reconcile(Period(), load_seen(company.ledger), now=company.now)
    assert (fresh.unconfirmed, fresh.difference) == (2, 0)
    assert not fresh.complete, "HR was never asked"
    company.later(minutes=1)
    result = (await keeper.tick(company.now)).completeness
    assert (result.hr_leavers, result.cases, result.unlisted, result.difference) == (1, 2, 1, 1)
    assert [found.kind for found in result.gaps] == [GapKind.CASE_WITHOUT_HR_ROW]


async def test_a_case_opened_since_the_last_pull_is_no_gap_yet(company: Company) -> None:
    company.write(row("E1"))
    company.deliver()
    company.later(minutes=1)
    keeper = company.keeper()
    await keeper.tick(company.now)
    company.write(row("E1"), row("E2"))
    company.later(hours=1)
    company.deliver()
    result = (await keeper.tick(company.now)).completeness
    assert (result.with_case, result.unconfirmed, result.difference) == (1, 1, 0)
    assert result.complete


async def test_a_leaf_that_came_late_is_a_note_and_no_lost_case(company: Company) -> None:
    company.write(row("E1"))
    [event] = company.read().events
    case = company.open(event)
    company.later(seconds=5)
    company.deliver()
    company.later(minutes=20)
    result = (await company.keeper().tick(company.now)).completeness
    assert [(found.kind, found.case) for found in result.findings] == [(GapKind.EXPECTED_LATE, case)]
    assert result.complete
    assert len(bodies(company.ledger, RecordType.RECONCILIATION_FINDING)) == 1


async def test_a_case_that_nobody_announced_is_found(company: Company) -> None:
    company.write(row("E1"))
    company.open(company.read().events[0])
    company.later(minutes=20)
    result = (await company.keeper().tick(company.now)).completeness
    assert [found.kind for found in result.alarms] == [GapKind.CASE_NOT_EXPECTED]
    assert result.difference == 0


async def test_what_the_brake_held_is_excluded_until_it_is_delivered_again(company: Company) -> None:
    company.brake = 1
    company.write(row("E1"), row("E2"))
    assert company.deliver() == []
    company.later(minutes=20)
    keeper = company.keeper()
    held = (await keeper.tick(company.now)).completeness
    assert (held.hr_leavers, held.excluded, held.difference) == (2, 2, 0)
    assert dict(held.exclusions) == {Exclusion.MASS_BRAKE: 2}
    assert {found.kind for found in held.alarms} == {GapKind.EXCLUSION_UNDECIDED}
    assert not held.complete
    company.brake = 5
    company.deliver()
    after = (await keeper.tick(company.now)).completeness
    assert (after.with_case, after.excluded, after.difference) == (2, 0, 0)
    assert after.complete


async def test_the_rules_of_several_employments_explain_themselves(company: Company) -> None:
    company.write(
        row("E1", spell="1"),
        row("E1", "", spell="2", status="active"),
        row("E2", "2026-11-20", spell="1"),
        row("E2", "2026-12-31", spell="2"),
    )
    company.deliver()
    result = (await company.keeper().tick(company.now)).completeness
    assert (result.hr_leavers, result.with_case, result.excluded, result.difference) == (3, 1, 2, 0)
    assert dict(result.exclusions) == {Exclusion.OTHER_EMPLOYMENT: 1, Exclusion.LATER_EMPLOYMENT: 1}
    assert {line.approver for line in result.lines if line.excluded} == {"rule"}
    assert result.complete


async def test_a_row_that_nobody_can_read_may_hide_a_leaver(company: Company) -> None:
    company.write(row("E1"), row("E2", "2026-02-31"))
    company.deliver()
    keeper = company.keeper()
    result = (await keeper.tick(company.now)).completeness
    [gap] = result.alarms
    assert gap.kind is GapKind.ROW_UNREADABLE
    assert "2026-02-31" in gap.detail
    company.write(row("E1"), row("E2", "2026-02-28"))
    company.later(days=1)
    company.deliver()
    assert (await keeper.tick(company.now)).completeness.complete


async def test_hr_takes_a_leaver_back_before_and_after(company: Company) -> None:
    company.write(row("E1", "2026-12-31"), row("E2", "2026-12-31"), row("E3", "2026-12-31"))
    company.deliver(without=["E3"])
    keeper = company.keeper()
    await keeper.tick(company.now)
    company.close(company.case("E1"), CaseOutcome.RESCINDED)
    cases = {number: company.case(number) for number in ("E1", "E2", "E3")}
    company.write(*(row(number, "2026-12-31", status="rescinded") for number in ("E1", "E2", "E3")))
    company.later(days=1)
    company.deliver(start=False)
    result = (await keeper.tick(company.now)).completeness
    assert (result.hr_leavers, result.withdrawn, result.difference) == (0, 2, 0)
    found = {(each.kind, each.case) for each in result.gaps}
    assert (GapKind.WITHDRAWN_BY_HR, cases["E2"]) in found, "that case goes on although HR took it back"
    assert cases["E3"] not in {case for _, case in found}
    assert (GapKind.WITHDRAWN_BY_HR, cases["E1"]) not in found


async def test_hr_says_leaving_again_after_the_case_was_rescinded(company: Company) -> None:
    """A case id is used once: nobody would ever cut off this person, and the count alone would not tell."""
    company.write(row("E1", "2026-12-31"))
    [case] = company.deliver()
    company.close(case, CaseOutcome.RESCINDED)
    company.seal(case)
    company.bundles.add(case)
    company.later(hours=1)
    keeper = company.keeper()
    result = (await keeper.tick(company.now)).completeness
    assert [(found.kind, found.case) for found in result.alarms] == [(GapKind.RESCINDED_BUT_LISTED, case)]
    order = Order(reason="stays, HR corrects its list, ticket 12", by_ref="p-sec", nonce="n-1")
    note_decision(company.ledger, case, order, company.now)
    assert (await keeper.tick(company.now)).completeness.complete


async def test_a_leaver_who_is_employed_again_in_hrs_list_was_taken_back(company: Company) -> None:
    company.write(row("E1", "2026-12-31"))
    keeper = company.keeper()
    await keeper.tick(company.now)
    company.write(row("E1", "", status="active"))
    company.later(days=1)
    result = (await keeper.tick(company.now)).completeness
    assert (result.hr_leavers, result.difference) == (0, 0)
    assert result.complete


async def test_a_rehire_who_leaves_again_is_two_leavers(company: Company) -> None:
    company.write(row("E1", "2026-03-31"))
    company.finish(company.deliver()[0])
    keeper = company.keeper()
    await keeper.tick(company.now)
    company.write(row("E1", "2026-11-21", spell="2"))
    company.later(days=1)
    company.deliver()
    result = (await keeper.tick(company.now)).completeness
    assert (result.hr_leavers, result.with_case, result.difference) == (2, 2, 0)
    assert len({line.person_ref for line in result.lines}) == 1
    assert len({line.case for line in result.lines}) == 2
    seen = load_seen(company.ledger)
    autumn = reconcile(
        Period.days(company.now.date(), company.now.date() + timedelta(days=1)), seen, now=company.now
    )
    assert (autumn.hr_leavers, autumn.with_case) == (1, 1)


@pytest.mark.parametrize(
    ("zone", "utc", "local"),
    [
        ("Pacific/Kiritimati", "2026-11-30", "2026-11-30"),
        ("Europe/Berlin", "2026-11-30", "2026-12-01"),
        ("Pacific/Pago_Pago", "2026-12-01", "2026-12-01"),
    ],
)
async def test_a_period_counts_the_cut_off_instant_in_its_own_zone(
    company: Company, zone: str, utc: str, local: str
) -> None:
    """The end of 30 November is another instant in each zone, and an instant is another day in each."""
    company.write(row("E1", "2026-11-30", zone=zone))
    company.deliver()
    await company.keeper().tick(company.now)
    seen = load_seen(company.ledger)

    def counted(day: str, tz: str) -> int:
        date = __import__("datetime").date.fromisoformat(day)
        return reconcile(Period.days(date, date, ZoneInfo(tz)), seen, now=company.now).hr_leavers

    assert counted(utc, "UTC") == 1
    assert counted(local, zone if zone != "Pacific/Kiritimati" else "UTC") == 1
    assert sum(counted(f"2026-{day}", "UTC") for day in ("11-29", "11-30", "12-01", "12-02")) == 1


async def test_a_retroactive_leaver_belongs_to_the_past_and_says_when_it_was_entered(
    company: Company,
) -> None:
    company.write(row("E1", "2026-08-31", changed="2026-11-19T10:00:00Z"))
    company.deliver()
    result = (await company.keeper().tick(company.now)).completeness
    [line] = result.lines
    assert str(line.effective_at) == "2026-09-01 00:00:00+00:00"
    assert str(line.entered_at) == "2026-11-19 10:00:00+00:00"
    assert result.complete


async def test_sealing_is_counted_too(company: Company) -> None:
    company.write(row("E1"), row("E2"), row("E3"))
    one, two, three = company.deliver()
    company.close(one)
    company.finish(two)
    company.seal(three)
    company.bundles.add("c-" + "z" * 26)
    keeper = company.keeper()
    early = (await keeper.tick(company.now)).completeness
    assert {found.kind for found in early.alarms} == {GapKind.BUNDLE_WITHOUT_CASE}
    company.later(hours=2)
    result = (await keeper.tick(company.now)).completeness
    assert {(found.kind, found.case) for found in result.alarms} == {
        (GapKind.CLOSED_NOT_SEALED, one),
        (GapKind.CLOSED_WITHOUT_BUNDLE, one),
        (GapKind.SEALED_NOT_CLOSED, three),
        (GapKind.BUNDLE_WITHOUT_CASE, "c-" + "z" * 26),
    }
    assert (result.closed, result.sealed, result.bundles, result.unsealed) == (2, 1, 1, 1)
    company.later(days=40)
    await keeper.tick(company.now)
    late = (await keeper.tick(company.now)).completeness
    assert (GapKind.OPEN_TOO_LONG, three) in {(found.kind, found.case) for found in late.alarms}


async def test_a_case_is_sealed_when_no_run_of_it_is_open(company: Company) -> None:
    company.write(row("E1"))
    [case] = company.deliver()
    company.seal(case, "run-1", final=False)
    company.seal(case, "watch-1", suffix="-watch")

    def sealed() -> bool:
        return case in load_seen(company.ledger).sealed

    assert not sealed()
    company.seal(case, "run-1")
    assert sealed()
    company.seal(case, "run-2", final=False)  # a reset made another run
    assert not sealed()
    company.seal(case, "run-2")
    assert sealed()
    keeper = company.keeper()
    await keeper.tick(company.now)
    company.seal(case, "run-3", final=False)
    assert (await keeper.tick(company.now)).completeness.lines[0].sealed_at is None


async def test_rehearsals_stand_in_no_table_of_real_cases(company: Company) -> None:
    company.mode = Mode.NOTIFICATION_ONLY
    company.write(row("E1"))
    company.deliver()
    rehearsed = (await company.keeper().tick(company.now)).completeness
    assert (rehearsed.mode, rehearsed.hr_leavers, rehearsed.difference) == (Mode.NOTIFICATION_ONLY, 1, 0)
    company.mode = Mode.ENFORCE
    company.later(days=1)
    real = (await company.keeper().tick(company.now)).completeness
    assert (real.mode, real.hr_leavers, real.with_case, real.missing) == (Mode.ENFORCE, 1, 0, 1)
    assert real.other_mode == 1


async def test_the_nightly_file_that_repeats_itself_adds_one_snapshot_and_nothing_else(
    company: Company,
) -> None:
    company.write(row("E1"), row("E2"))
    company.deliver()
    keeper = company.keeper()
    await keeper.tick(company.now)
    before = company.ledger.size()
    company.later(days=1)
    company.deliver()
    assert company.ledger.size() == before
    await keeper.tick(company.now)
    assert company.ledger.size() == before + 2  # the snapshot and the comparison
    assert company.ledger.check() == ()


async def test_the_snapshot_commits_to_every_leaver(company: Company) -> None:
    company.write(*(row(f"E{number}") for number in range(1203)))
    await company.keeper().tick(company.now)
    parts = bodies(company.ledger, RecordType.POPULATION)
    assert [part["part"] for part in parts] == [1, 2, 3]
    listed = [case for part in parts for case in part["cases"]]
    assert len(listed) == 1203
    assert listed == sorted(listed)
    commits = {opening.case: opening.commit for opening in company.ledger.opening()}
    assert {part["root"] for part in parts} == {population_root([commits[case] for case in listed])}
    assert population_root([commits[case] for case in listed[1:]]) != parts[0]["root"]


async def test_a_pull_that_was_written_in_part_does_not_count(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    company.write(*(row(f"E{number}") for number in range(600)))
    whole: Callable[..., object] = company.ledger.notes

    def broken(notes: list[object]) -> object:
        if len(notes) == 2:  # the snapshot's two parts
            whole(notes[:1])
            raise OSError("the power went")
        return whole(notes)

    monkeypatch.setattr(company.ledger, "notes", broken)
    with pytest.raises(OSError, match="power"):
        await company.keeper().tick(company.now)
    monkeypatch.undo()
    assert load_seen(company.ledger).snapshots == []
    done = await company.keeper().tick(company.now + timedelta(minutes=1))
    assert done.completeness.hr_leavers == 600
    rows = [body["case"] for body in bodies(company.ledger, RecordType.POPULATION_ROW)]
    assert len(rows) == len(set(rows)) == 600


async def test_no_record_names_anybody(company: Company) -> None:
    company.write(
        row("E1001", name="Quirina Abendroth"), row("E1002", "2026-02-31", name="Balthasar Nightingale")
    )
    company.deliver(without=["E1001"])
    company.later(hours=20)
    await company.keeper().tick(company.now)
    raw = b"\n".join(record.raw for record in company.ledger.stream())
    assert len(raw) > 1000
    for name in (b"Quirina", b"Abendroth", b"Balthasar", b"northwind.example", b"E1001", b"E1002"):
        assert name not in raw
    told = json.dumps([opening.content for opening in company.ledger.opening()])
    assert "Quirina Abendroth" in told


async def test_what_a_checkpoint_covers_gives_the_same_table_for_ever(company: Company) -> None:
    company.write(row("E1"))
    company.deliver()
    await company.keeper().tick(company.now)
    size, then = company.ledger.size(), company.now
    table = reconcile(Period(), load_seen(company.ledger, until_seq=size), now=then)
    company.write(row("E1"), row("E2"))
    company.later(days=1)
    company.deliver()
    await company.keeper().tick(company.now)
    again = reconcile(Period(), load_seen(company.ledger, until_seq=size), now=then)
    assert again == table
    assert reconcile(Period(), load_seen(company.ledger), now=company.now) != table


def test_the_deliveries_are_counted(company: Company) -> None:
    company.write(row("E1"), row("E2", "2026-02-31"), row("E9", "", status="active"), row("E1"))
    company.deliver()
    record = company.ledger.last(Chain.LOG, LOG, RecordType.HR_DELIVERY)
    assert record is not None
    body = record.body
    counts = {"read": 4, "events": 1, "refused": 1, "duplicates": 1, "staying": 1, "former": 0}
    assert (body["counts"], body["expected"], body["excluded"]) == (counts, 1, 0)
    [unreadable] = body["unreadable"]
    who = Namer(ID_KEY, Mode.ENFORCE).person("hris/csv/northwind", "E2")
    assert (unreadable["person_ref"], unreadable["line"]) == (who, 3)
