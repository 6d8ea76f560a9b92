"""Erasing what names a person: gone from the file, and nothing that was proven is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from leaver.domain.event import Knowledge
from leaver.domain.words import RecordType
from leaver.evidence.errors import ErasureRefusedError, LedgerUnavailableError, UnknownCaseError
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.population.bodies import ErasureBody
from leaver.evidence.population.erasure import Order, erase, erase_all
from leaver.evidence.population.exclusion import note_decision
from leaver.evidence.population.model import GapKind
from leaver.evidence.population.wording import as_json
from leaver.evidence.records import Chain
from tests.support.population import Company, row

NAME = "Quirina Abendroth"
NEEDLES = (b"Quirina", b"Abendroth", b"zorba.e1001")


def order(
    reason: str = "request of 20 November, ticket 4711", *, nonce: str = "n-1", force: bool = False
) -> Order:
    return Order(reason=reason, by_ref="p-security", nonce=nonce, statement_sha256="1" * 64, force=force)


async def left(company: Company, *numbers: str, hold: str = "no") -> list[str]:
    """People who left, whose cases are done and who stand in HR's list."""
    company.write(*(row(number, name=f"{NAME} {number}", hold=hold) for number in numbers))
    cases = company.deliver()
    for case in cases:
        company.finish(case)
    company.later(hours=1)
    await company.keeper().tick(company.now)
    return cases


def on_disk(folder: Path) -> bytes:
    """Everything that the database keeps in files: the table, the write-ahead log, what is left of both."""
    files = sorted(folder.glob("ledger.db*"))
    assert files
    return b"".join(file.read_bytes() for file in files)


async def test_the_name_is_nowhere_and_everything_still_verifies(company: Company) -> None:
    case, other = await left(company, "E1001", "E1002")
    company.ledger.case_key(case, create=True)
    assert all(needle in on_disk(company.folder) for needle in NEEDLES)
    root = company.ledger.root()
    size = company.ledger.size()
    [done] = erase_all(company.ledger, case, order(), company.now)
    assert (done.openings, done.key) == (2, True)
    stored = on_disk(company.folder)
    assert b"E1001" not in stored
    assert b"zorba.e1001" not in stored
    assert f"{NAME} E1002".encode() in stored, "somebody else's data stay"
    assert company.ledger.opening(case) == ()
    assert company.ledger.case_key(case) is None
    assert len(company.ledger.opening(other)) == 2
    assert company.ledger.check() == ()
    assert company.ledger.root(size) == root, "not one leaf changed"
    with Ledger.open(company.folder / "ledger.db", read_only=True) as again:
        assert again.check() == ()


async def test_the_last_person_leaves_no_byte_behind(company: Company) -> None:
    """Also after the file has grown and shrunk: freed pages are overwritten too."""
    company.brake = 1000
    cases = await left(company, *(f"E{number}" for number in range(120)))
    for number, case in enumerate(cases[:-1]):
        erase(company.ledger, case, order(nonce=f"n-{number}"), company.now)
    erase_all(company.ledger, cases[-1], order(nonce="last"), company.now)
    stored = on_disk(company.folder)
    assert [needle for needle in (b"Quirina", b"Abendroth", b"zorba.") if needle in stored] == []
    assert company.ledger.check() == ()


async def test_the_record_says_what_was_erased_by_whom_and_why_and_names_nobody(company: Company) -> None:
    [case] = await left(company, "E1001")
    done = erase(company.ledger, case, order(), company.now)
    record = company.ledger.last(Chain.SEALER, case, RecordType.ERASURE)
    assert record is not None
    assert record.seq == done.seq
    body = ErasureBody.model_validate(record.body)
    assert (body.by_ref, body.reason) == ("p-security", "request of 20 November, ticket 4711")
    assert body.person_ref.startswith("p-")
    assert len(body.openings) == 2
    assert (body.open, body.legal_hold, body.forced) == (False, Knowledge.NO, False)


async def test_the_same_order_again_changes_nothing(company: Company) -> None:
    [case] = await left(company, "E1001")
    first = erase(company.ledger, case, order(), company.now)
    size = company.ledger.size()
    company.later(minutes=5)
    again = erase(company.ledger, case, order(), company.now)
    assert (again.seq, again.openings, again.key) == (first.seq, 0, False)
    assert company.ledger.size() == size


async def test_an_erasure_that_was_interrupted_is_finished_by_the_same_order(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    [case] = await left(company, "E1001")

    def power_cut(case: str) -> int:
        raise OSError("the power went")

    monkeypatch.setattr(company.ledger, "erase_openings", power_cut)
    with pytest.raises(OSError, match="power"):
        erase(company.ledger, case, order(), company.now)
    monkeypatch.undo()
    assert company.ledger.last(Chain.SEALER, case, RecordType.ERASURE) is not None
    assert erase(company.ledger, case, order(), company.now).openings == 2
    records = [each.type for each in company.ledger.records(case, Chain.SEALER)]
    assert records.count(RecordType.ERASURE) == 1


async def test_names_do_not_come_back_with_the_next_delivery_or_pull(company: Company) -> None:
    [case] = await left(company, "E1001")
    erase(company.ledger, case, order(), company.now)
    company.write(row("E1001", "2026-11-21", name=NAME), row("E1002"))  # HR moved the date
    company.later(days=1)
    company.deliver()
    done = await company.keeper().tick(company.now)
    assert company.ledger.opening(case) == ()
    assert all(needle not in on_disk(company.folder) for needle in NEEDLES)
    assert done.completeness.hr_leavers == 2, "still counted, by pseudonym"
    assert company.ledger.check() == ()


async def test_reports_made_afterwards_show_the_pseudonym(company: Company) -> None:
    [case] = await left(company, "E1001")
    erase(company.ledger, case, order(), company.now)
    result = (await company.keeper().tick(company.now)).completeness
    told = json.dumps(as_json(result))
    assert [needle for needle in NEEDLES if needle.decode() in told] == []
    [line] = result.lines
    assert line.person_ref in told
    assert line.standing == "sealed"
    assert result.complete


async def test_a_reader_at_work_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its snapshot keeps old pages alive in the write-ahead log: say so, and let the order come again."""
    monkeypatch.setattr("leaver.evidence.ledger.sqlite._BUSY_SECONDS", 0.05)
    with (
        Ledger.open(tmp_path / "ledger.db") as ledger,
        Ledger.open(tmp_path / "ledger.db", read_only=True) as reader,
    ):
        company = Company(tmp_path, ledger)
        [case] = await left(company, "E1001")
        reading = reader.stream()
        next(iter(reading))
        company.ledger.note(Chain.SEALER, case, RecordType.HISTORY_PREFIX, company.now, {}, key="more")
        with pytest.raises(LedgerUnavailableError, match="try again"):
            erase_all(company.ledger, case, order(), company.now)
        reading.close()
        erase_all(company.ledger, case, order(), company.now)
        assert [needle for needle in NEEDLES if needle in on_disk(tmp_path)] == []


async def test_an_open_case_and_a_legal_hold_are_refused_unless_insisted(company: Company) -> None:
    company.write(row("E1001", name=NAME, hold="yes"), row("E1002", name=NAME, hold=""))
    held, unknown = company.deliver()
    with pytest.raises(ErasureRefusedError, match="not closed"):
        erase(company.ledger, held, order(), company.now)
    company.close(held)
    company.close(unknown)
    with pytest.raises(ErasureRefusedError, match="there is a legal hold"):
        erase(company.ledger, held, order(), company.now)
    with pytest.raises(ErasureRefusedError, match="did not rule out"):
        erase(company.ledger, unknown, order(), company.now)
    assert len(company.ledger.opening(held)) == 1
    assert erase(company.ledger, held, order(force=True), company.now).openings == 1
    record = company.ledger.last(Chain.SEALER, held, RecordType.ERASURE)
    assert record is not None
    assert (record.body["forced"], record.body["legal_hold"]) == (True, "yes")


async def test_a_hold_that_hr_sets_later_counts(company: Company) -> None:
    [case] = await left(company, "E1001", hold="no")
    company.write(row("E1001", name=NAME, hold="yes"))
    company.later(days=1)
    company.deliver(start=False)
    with pytest.raises(ErasureRefusedError, match="legal hold"):
        erase(company.ledger, case, order(), company.now)


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        ("", "needed"),
        ("  ", "needed"),
        ("asked by somebody@elsewhere.example", "address"),
        ("Ms ABENDROTH asked for it", "repeats a name"),
        ("request about e1001", "repeats a name"),
        ("x" * 501, "longer"),
    ],
)
async def test_a_reason_that_would_name_the_person_for_ever_is_refused(
    company: Company, reason: str, why: str
) -> None:
    [case] = await left(company, "E1001")
    with pytest.raises(ErasureRefusedError, match=why):
        erase(company.ledger, case, order(reason), company.now)
    assert company.ledger.last(Chain.SEALER, case, RecordType.ERASURE) is None


def test_an_unknown_case_is_said_to_be_one(company: Company) -> None:
    with pytest.raises(UnknownCaseError):
        erase(company.ledger, "c-" + "a" * 26, order(), company.now)


async def test_the_whole_person_is_every_case_or_none(company: Company) -> None:
    company.write(row("E1001", "2025-03-31", name=NAME, spell="1"))
    [first] = company.deliver()
    company.finish(first)
    company.write(row("E1001", name=NAME, spell="2"), row("E1002"))
    second, other = company.deliver()
    with pytest.raises(ErasureRefusedError, match="not closed"):
        erase_all(company.ledger, first, order(), company.now, whole_person=True)
    assert len(company.ledger.opening(first)) == 1, "nothing was erased"
    company.finish(second)
    done = erase_all(company.ledger, first, order(), company.now, whole_person=True)
    assert {each.case for each in done} == {first, second}
    assert company.ledger.opening(second) == ()
    assert len(company.ledger.opening(other)) == 1


async def test_a_person_decides_that_a_leaver_needs_no_case(company: Company) -> None:
    company.write(row("E1001", name=NAME))
    company.later(hours=20)
    keeper = company.keeper()
    await keeper.tick(company.now)
    company.later(minutes=16)
    found = (await keeper.tick(company.now)).completeness
    [gap] = found.alarms
    assert gap.kind is GapKind.LEAVER_WITHOUT_CASE
    with pytest.raises(ErasureRefusedError, match="repeats a name"):
        note_decision(company.ledger, gap.case, order("Abendroth never started"), company.now)
    with pytest.raises(UnknownCaseError, match="never named"):
        note_decision(company.ledger, "c-" + "a" * 26, order(), company.now)
    record = note_decision(company.ledger, gap.case, order("never started, HR ticket 9"), company.now)
    again = note_decision(company.ledger, gap.case, order("never started, HR ticket 9"), company.now)
    assert again.seq == record.seq
    result = (await keeper.tick(company.now)).completeness
    assert (result.excluded, result.missing, result.difference, result.complete) == (1, 0, 0, True)
    [line] = result.lines
    assert (line.why, line.approver) == ("never started, HR ticket 9", "p-security")
