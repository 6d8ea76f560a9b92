"""What ingest tells is not believed against HR's own list, and no record repeats what people call a file."""

from __future__ import annotations

from dataclasses import replace

import pytest

from leaver.domain.delivery import Exclusion
from leaver.domain.words import RecordType
from leaver.evidence.errors import UnfitDraftError
from leaver.evidence.population.erasure import Order, erase_all
from leaver.evidence.population.exclusion import note_decision
from leaver.evidence.population.expect import note_delivery
from leaver.evidence.population.model import GapKind
from leaver.evidence.population.observed import load_seen
from leaver.evidence.records import LOG
from tests.support.population import Company, row


async def test_what_ingest_tells_is_not_believed_against_hrs_list(company: Company) -> None:
    """A message that leaves somebody out can give a reason for it as well."""
    company.write(row("E1"), row("E2", "2026-12-31"))
    cases = {number: company.case(number) for number in ("E1", "E2")}
    for part in company.parts():
        rows = (each.model_copy(update={"excluded": Exclusion.OTHER_EMPLOYMENT}) for each in part.rows)
        note_delivery(company.ledger, part.model_copy(update={"rows": tuple(rows)}), company.now)
    keeper = company.keeper()
    result = (await keeper.tick(company.now)).completeness
    assert (result.hr_leavers, result.excluded, result.missing, result.difference) == (2, 0, 2, 2)
    assert {(each.kind, each.case) for each in result.alarms} == {
        (GapKind.LEAVER_WITHOUT_CASE, case) for case in cases.values()
    }
    order = Order(reason="works on at the subsidiary, ticket 12", by_ref="p-sec", nonce="n-1")
    for case in cases.values():
        note_decision(company.ledger, case, order, company.now)
    assert (await keeper.tick(company.now)).completeness.complete


async def test_an_exclusion_that_hrs_list_does_not_say_yet_is_asked_about_soon(company: Company) -> None:
    company.write(row("E1", "2026-12-31"))
    keeper = company.keeper()
    await keeper.tick(company.now)
    company.write(row("E1", "2026-12-31", status="rescinded"))
    company.later(hours=1)
    company.deliver(start=False)
    asked = await keeper.tick(company.now)
    assert (asked.snapshot, asked.completeness.complete) == ("", True)
    [young] = asked.completeness.gaps
    assert (young.kind, young.alarm) == (GapKind.EXCLUSION_NOT_CONFIRMED, False)
    company.later(minutes=5)
    again = await keeper.tick(company.now)
    assert again.snapshot
    assert (again.completeness.gaps, again.completeness.hr_leavers) == ((), 0)
    company.later(minutes=5)
    assert not (await keeper.tick(company.now)).snapshot


def test_a_delivery_cannot_say_that_a_person_decided(company: Company) -> None:
    company.write(row("E1"))
    [part] = company.parts()
    rows = tuple(each.model_copy(update={"excluded": Exclusion.DECIDED, "why": "ok"}) for each in part.rows)
    with pytest.raises(UnfitDraftError, match="leaver evidence exclude"):
        note_delivery(company.ledger, part.model_copy(update={"rows": rows}), company.now)
    assert company.ledger.size() == 0


async def test_what_people_called_hrs_file_can_be_erased(company: Company) -> None:
    company.write(row("E1", name="Erika Mustermann"))
    company.deliver(start=False)
    company.file.rename(company.folder / "Austritt_Erika_Mustermann.csv")
    keeper = company.keeper()
    keeper.source = replace(company.source(), files=company.folder / "*.csv")
    await keeper.tick(company.now)
    assert not [record.seq for record in company.ledger.stream() if b"Mustermann" in record.raw]
    [opening] = company.ledger.opening(LOG)
    assert opening.content == {"files": ["Austritt_Erika_Mustermann.csv"]}
    snapshot = company.ledger.get(opening.seq)
    assert (snapshot.type, snapshot.body["person_commit"]) == (RecordType.POPULATION, opening.commit)
    [listed] = load_seen(company.ledger).listed
    order = Order(reason="asked for it", by_ref="p-sec", nonce="n-1", force=True)
    [erased] = erase_all(company.ledger, listed, order, company.now)
    assert company.ledger.opening() == ()
    assert opening.seq in company.ledger.get(erased.seq).body["openings"]
    assert company.ledger.check() == ()
