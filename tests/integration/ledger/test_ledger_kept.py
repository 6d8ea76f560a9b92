"""What the ledger keeps besides records, and how records are streamed: on both databases."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import rfc8785

from leaver.domain.words import RecordType
from leaver.evidence.errors import (
    CheckpointConflictError,
    LedgerDamagedError,
    LedgerError,
    NotStoredError,
    UnfitDraftError,
)
from leaver.evidence.ledger.model import Anchor, AnchorKind, CaseEntry, Order, StoredCheckpoint
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.records import Chain
from tests.support.ledgers import START, Place, case_id, chain_of, draft, note_of

NAME = 'Zoë O\'Leary \\ "Z" \N{PERSON BOWING DEEPLY}'
ODD = "witness \"one\" \\ {two}, NULL 'x' %s"


def fill(ledger: Ledger, cases: int = 3, length: int = 5) -> None:
    ledger.append_many([chain_of(case_id(number), length) for number in range(cases)])


def checkpoint(ledger: Ledger, size: int | None = None, words: bytes = b"") -> StoredCheckpoint:
    at = START + timedelta(minutes=1)
    size = ledger.size() if size is None else size
    root = ledger.root(size)
    return StoredCheckpoint(size, root, note_of(size, root, words), at)


def test_an_opening_is_kept_apart_and_can_be_erased(ledger: Ledger, place: Place, where: str) -> None:
    one, two = case_id(1), case_id(2)
    content = {"name": NAME, "mail": "zoe@example.org", "year": 1990}
    records = [
        ledger.note(
            Chain.SEALER, case, RecordType.CASE_EXPECTED, START, {"source": "hr"}, key=key, opening=content
        )
        for case, key in ((one, "a"), (one, "b"), (two, "a"))
    ]
    assert "Zo" not in "".join(record.raw.decode() for record in records)
    opened = ledger.opening(one)
    assert [opening.seq for opening in opened] == [0, 1]
    for opening, record in zip(opened, records, strict=False):
        assert opening.content == content
        expected = hashlib.sha256(opening.salt + rfc8785.dumps(content)).hexdigest()
        assert expected == opening.commit == record.body["person_commit"]
    assert len({opening.salt for opening in ledger.opening()}) == 3
    assert {len(opening.salt) for opening in opened} == {16}
    again = ledger.note(
        Chain.SEALER, one, RecordType.CASE_EXPECTED, START, {"source": "hr"}, key="a", opening={"x": "y"}
    )
    assert again.raw == records[0].raw
    assert len(ledger.opening()) == 3
    before = ledger.head()
    assert ledger.erase_openings(one, seqs=[1, 2]) == 1
    assert [opening.seq for opening in ledger.opening()] == [0, 2]
    assert [opening.seq for opening in ledger.opening(seqs=[2])] == [2]
    assert (ledger.erase_openings(one), ledger.erase_openings(one)) == (1, 0)
    assert [opening.case for opening in ledger.opening()] == [two]
    assert ledger.head() == before
    assert ledger.check() == ()
    rows = place.sql(where, "SELECT count(*) FROM opening")
    assert [tuple(row) for row in rows] == [(1,)]


def test_an_opening_that_has_no_canonical_form_is_refused(ledger: Ledger) -> None:
    with pytest.raises(UnfitDraftError):
        ledger.note(Chain.LOG, "log", RecordType.CONFIG_CHANGE, START, {}, key="k", opening={"height": 1.80})
    assert ledger.size() == 0


def test_erased_bytes_are_gone_from_the_sqlite_files(tmp_path: Path) -> None:
    mark = "Aurelia Winterbottom"
    with Ledger.open(tmp_path / "l.db") as ledger:
        for number in range(40):
            opening = {"name": mark, "filler": "x" * (number * 311 % 5000)}
            ledger.note(
                Chain.SEALER, case_id(number % 2), RecordType.CASE_EXPECTED, START, {}, key=f"{number}",
                opening=opening,
            )  # fmt: skip
        ledger.case_key(case_id(0), create=True)
        files = list(tmp_path.iterdir())
        assert any(mark.encode() in file.read_bytes() for file in files)
        assert ledger.erase_openings(case_id(0)) + ledger.erase_openings(case_id(1)) == 40
        assert not any(mark.encode() in file.read_bytes() for file in tmp_path.iterdir())


def test_case_keys_are_made_once_and_dropped_for_good(ledger: Ledger) -> None:
    one, two = case_id(1), case_id(2)
    assert ledger.case_key(one) is None
    key = ledger.case_key(one, create=True)
    assert key is not None
    assert len(key) == 32
    assert ledger.case_key(one, create=True) == ledger.case_key(one) == key
    assert ledger.case_key(two, create=True) != key
    assert (ledger.drop_case_key(one), ledger.drop_case_key(one)) == (True, False)
    assert ledger.case_key(one) is None


def test_checkpoints_only_ever_continue_the_log(ledger: Ledger) -> None:
    fill(ledger)
    first = checkpoint(ledger, 7, b"first\n\xe2\x80\x94\x00")
    other = ledger.root(8)
    ledger.add_checkpoint(first)
    ledger.add_checkpoint(first)
    last = checkpoint(ledger)
    for bad in (
        checkpoint(ledger, 7, b"other"),
        StoredCheckpoint(16, first.root, note_of(16, first.root), first.at),
        StoredCheckpoint(9, first.root, note_of(9, first.root), first.at),
        StoredCheckpoint(9, ledger.root(9), first.note, first.at),
        StoredCheckpoint(8, other, note_of(8, first.root), first.at),
        StoredCheckpoint(8, other, b"note", first.at),
        checkpoint(ledger, 6),
        checkpoint(ledger, 0),
    ):
        with pytest.raises(CheckpointConflictError):
            ledger.add_checkpoint(bad)
    ledger.add_checkpoint(last)
    assert ledger.checkpoints() == (first, last)
    assert ledger.checkpoints(since=8) == (last,)
    assert (ledger.checkpoint(7), ledger.checkpoint(8)) == (first, None)
    assert ledger.latest_checkpoint() == last
    assert ledger.check() == ()
    assert ledger.check_grown().root == last.root


def test_without_checkpoints_there_is_no_latest_one(ledger: Ledger) -> None:
    assert ledger.latest_checkpoint() is None
    assert ledger.checkpoints() == ledger.anchors() == ledger.troubles() == ledger.anchored() == ()


def test_anchors_and_troubles_are_kept_in_order(ledger: Ledger) -> None:
    fill(ledger)
    for size in (3, 15):
        ledger.add_checkpoint(checkpoint(ledger, size))
    ledger.note_trouble(3, AnchorKind.TIMESTAMP, ODD, f"timed out: {ODD}", START)
    ledger.add_anchor(3, AnchorKind.TIMESTAMP, ODD, b'\x00\xff\\"{}', START)
    ledger.add_anchor(15, AnchorKind.WITNESS, "w", b"line", START + timedelta(seconds=1))
    ledger.add_anchor(15, AnchorKind.WITNESS, "w", b"line", START + timedelta(seconds=2))
    ledger.add_anchor(15, AnchorKind.WITNESS, "w", b"another", START + timedelta(seconds=2))
    assert ledger.anchors(3) == (Anchor(3, AnchorKind.TIMESTAMP, ODD, b'\x00\xff\\"{}', START),)
    assert [anchor.content for anchor in ledger.anchors(15)] == [b"line", b"another"]
    assert len(ledger.anchors()) == 3
    rows = ledger.anchored()
    assert [(row.size, row.kind, row.name) for row in rows] == [
        (anchor.size, anchor.kind, anchor.name) for anchor in ledger.anchors()
    ]
    assert ledger.anchored(after=rows[0].row) == rows[1:]
    assert [(trouble.size, trouble.text) for trouble in ledger.troubles()] == [(3, f"timed out: {ODD}")]
    assert ledger.troubles(15) == ()
    ledger.note_trouble(15, AnchorKind.WITNESS, "w", "odd \0\ud800 text", START)
    assert [trouble.text for trouble in ledger.troubles(15)] == ["odd ? text"]
    for attempt in (
        lambda: ledger.add_anchor(4, AnchorKind.SINK, "s", b"", START),
        lambda: ledger.note_trouble(4, AnchorKind.SINK, "s", "", START),
    ):
        with pytest.raises(NotStoredError):
            attempt()


def test_files_are_kept_by_their_hash(ledger: Ledger, place: Place, where: str) -> None:
    for raw in (b"", b"x" * 300_000, bytes(range(256)) * 50):
        sha256 = ledger.store_content(raw)
        assert sha256 == hashlib.sha256(raw).hexdigest() == ledger.store_content(raw)
        assert ledger.content(sha256) == raw
    assert tuple(place.sql(where, "SELECT count(*) FROM content")[0]) == (3,)
    with pytest.raises(NotStoredError):
        ledger.content("00" * 32)
    place.tamper(where, f"UPDATE content SET sha256 = '{'11' * 32}' WHERE sha256 = '{sha256}'")  # noqa: S608
    with pytest.raises(LedgerDamagedError):
        ledger.content("11" * 32)


def test_cases_are_listed_in_the_order_they_began(ledger: Ledger) -> None:
    one, two, three = (case_id(number) for number in (9, 4, 6))
    ledger.append([draft(one, 0)])
    ledger.append(chain_of(two, 4))
    ledger.append([draft(two, 0, chain="watch")])
    ledger.note(Chain.SEALER, three, RecordType.CASE_EXPECTED, START, {}, key="k")
    ledger.append([draft(one, 1)])
    assert ledger.cases() == (CaseEntry(one, 2, closed=False), CaseEntry(two, 4, closed=True))


def test_streams_read_only_what_is_asked_for(ledger: Ledger) -> None:
    cases = [case_id(number) for number in (5, 3, 8)]
    for number in range(6):
        ledger.append_many([[draft(case, number, length=6)] for case in cases])
    ledger.append([draft(cases[1], 0, chain="watch")])
    ledger.note(Chain.LOG, "log", RecordType.CONFIG_CHANGE, START, {}, key="k")
    everything = list(ledger.stream())
    assert [record.seq for record in everything] == list(range(20))
    for record in everything:
        stored = ledger.get(record.seq)
        assert (record.raw, record.case, record.chain, record.case_seq, record.type, record.at) == (
            stored.raw, stored.case, stored.chain, stored.case_seq, stored.type, stored.at,
        )  # fmt: skip
    closing = {RecordType.CASE_CLOSED, RecordType.CONFIG_CHANGE}
    assert [record.seq for record in ledger.stream(closing)] == [15, 16, 17, 19]
    assert [record.seq for record in ledger.stream(closing, until_seq=17, since_seq=16)] == [16]
    assert [record.chain for record in ledger.stream(chains=[Chain.WATCH, Chain.LOG])] == ["watch", "log"]
    moment = START + timedelta(seconds=4)
    zoned = moment.astimezone(timezone(timedelta(hours=5)))
    late = {record.seq for record in everything if record.at >= moment}
    assert {record.seq for record in ledger.stream(since=zoned)} == late
    assert {record.seq for record in ledger.stream(until=moment)} == set(range(20)) - late
    by_case = list(ledger.stream([RecordType.CHANGE], order=Order.CASE))
    places = [(record.case, record.chain.value, record.case_seq) for record in by_case]
    assert places == sorted(places)
    assert len(places) == 16
    assert list(ledger.stream([RecordType.PLAN])) == []


def test_a_stream_may_be_left_and_written_beside(ledger: Ledger) -> None:
    ledger.append([draft(case_id(1), number) for number in range(50)])
    stream = ledger.stream()
    assert next(stream).seq == 0
    ledger.append([draft(case_id(1), 50)])
    assert len(ledger.records(case_id(1))) == 51
    stream.close()
    whole = [record.seq for record in ledger.stream()]
    assert whole == list(range(51))


def test_more_records_than_are_read_at_once(ledger: Ledger) -> None:
    case = case_id(1)
    ledger.append([draft(case, number, length=2100) for number in range(2100)])
    records = ledger.closed_records(case)
    assert [record.raw for record in ledger.stream(order=Order.CASE)] == [record.raw for record in records]
    paths = ledger.inclusions(range(2100), 2100)
    assert len(set(paths)) == 2100


def test_times_come_back_to_the_microsecond(ledger: Ledger) -> None:
    moments = [datetime(2026, 2, 3, 4, 5, 6, 7, tzinfo=UTC), datetime(1969, 7, 20, 20, 17, 40, 1, tzinfo=UTC)]
    for number, at in enumerate(moments):
        ledger.note(Chain.LOG, "log", RecordType.CONFIG_CHANGE, at, {}, key=f"{number}")
    assert [record.at for record in ledger.stream()] == moments


def test_a_reader_reads_and_cannot_write(ledger: Ledger, where: str) -> None:
    fill(ledger)
    with Ledger.open(where, read_only=True) as reader:
        assert reader.check() == ()
        for attempt in (
            lambda: reader.append([draft(case_id(50), 0)]),
            lambda: reader.store_content(b"x"),
            lambda: reader.add_checkpoint(checkpoint(reader)),
            lambda: reader.erase_openings(case_id(1)),
            lambda: reader.case_key(case_id(1), create=True),
        ):
            with pytest.raises(LedgerError, match="for reading only"):
                attempt()
        fill(ledger, cases=1)
        assert reader.case_key(case_id(1)) is None
