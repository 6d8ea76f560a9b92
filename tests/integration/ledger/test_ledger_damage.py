# ruff: noqa: S608 - every statement is made of this file's own words
"""What an administrator who takes the triggers away can do, and that it is found: on both databases."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from leaver.domain.words import RecordType
from leaver.evidence.errors import LedgerDamagedError, LedgerUnavailableError
from leaver.evidence.ledger.model import AnchorKind, DamageKind, StoredCheckpoint
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.log.merkle import leaf_hash
from leaver.evidence.records import Chain
from tests.support.ledgers import START, Place, case_id, chain_of, draft, note_of

CASE, OTHER = case_id(1), case_id(2)


def fill(ledger: Ledger) -> None:
    """20 records of two cases and the sealer, two checkpoints (of 9 and 14), everything else there is."""
    ledger.append_many([chain_of(CASE, 5), [draft(OTHER, number) for number in range(4)]])
    publish(ledger)
    ledger.append([draft(CASE, number, chain="watch") for number in range(2)])
    ledger.note(Chain.SEALER, CASE, RecordType.CASE_EXPECTED, START, {}, key="a", opening={"name": "Ada"})
    ledger.note(Chain.LOG, "log", RecordType.CONFIG_CHANGE, START, {}, key="b", opening={"name": "Bob"})
    ledger.append([draft(OTHER, 4)])
    publish(ledger)
    ledger.append([draft(OTHER, number) for number in range(5, 11)])
    ledger.add_anchor(9, AnchorKind.TIMESTAMP, "tsa", b"reply", START)
    ledger.note_trouble(14, AnchorKind.TIMESTAMP, "tsa", "timed out", START)
    ledger.store_content(b"a history" * 100)
    ledger.case_key(CASE, create=True)


@pytest.fixture
def filled(place: Place) -> str:
    """A copy of a ledger that was filled like that; closed."""
    if place.name not in _FILLED:
        _FILLED[place.name] = place.new()
        with Ledger.open(_FILLED[place.name]) as ledger:
            fill(ledger)
            assert ledger.size() == 20
            assert ledger.check() == ()
    return place.copy(_FILLED[place.name])


_FILLED: dict[str, str] = {}


def publish(ledger: Ledger) -> None:
    head = ledger.check_grown()
    note = note_of(head.size, head.root)
    ledger.add_checkpoint(StoredCheckpoint(head.size, head.root, note, START + timedelta(hours=1)))


def hexed(raw: bytes, place: Place) -> str:
    """The bytes as a literal of that database."""
    return f"x'{raw.hex()}'" if place.name == "sqlite" else rf"'\x{raw.hex()}'::bytea"


@dataclass(frozen=True)
class Change:
    """Statements, what a full check finds, and whether the check before signing stops for it."""

    name: str
    statements: tuple[str, ...]
    finds: set[DamageKind] = field(default_factory=set)
    signs: bool = False


ZEROS = bytes(32)
CHANGES = [
    Change("leaf", ("UPDATE leaf SET hash = {zeros} WHERE seq = 3",),
           {DamageKind.RECORD, DamageKind.LINK, DamageKind.NODE, DamageKind.CHECKPOINT}, signs=True),
    Change("new leaf", ("UPDATE leaf SET hash = {zeros} WHERE seq = 18",),
           {DamageKind.RECORD, DamageKind.LINK, DamageKind.NODE}),
    Change("record", ("UPDATE record SET bytes = {edited} WHERE seq = 5",), {DamageKind.RECORD}, signs=True),
    Change("new record", ("UPDATE record SET bytes = {edited} WHERE seq = 16",), {DamageKind.RECORD}),
    Change("record and leaf", ("UPDATE record SET bytes = {edited} WHERE seq = 16",
                               "UPDATE leaf SET hash = {edited_leaf} WHERE seq = 16"),
           {DamageKind.RECORD, DamageKind.LINK, DamageKind.NODE}),
    Change("no record", ("UPDATE record SET bytes = {nothing} WHERE seq = 5",), {DamageKind.RECORD},
           signs=True),
    Change("draft", ("UPDATE record SET draft_sha256 = 'x' WHERE seq = 5",), {DamageKind.RECORD}, signs=True),
    Change("dropped record", ("DELETE FROM record WHERE seq = 6",), {DamageKind.RECORD}, signs=True),
    Change("dropped new record", ("DELETE FROM record WHERE seq = 17",), {DamageKind.RECORD}),
    Change("dropped entry", ("DELETE FROM record WHERE seq = 17", "DELETE FROM entry WHERE seq = 17"),
           {DamageKind.RECORD, DamageKind.NUMBERING, DamageKind.LINK}),
    Change("dropped middle", ("DELETE FROM record WHERE seq = 4", "DELETE FROM entry WHERE seq = 4",
                              "DELETE FROM leaf WHERE seq = 4"),
           {DamageKind.NUMBERING, DamageKind.LINK, DamageKind.NODE, DamageKind.CHECKPOINT}, signs=True),
    Change("dropped last", ("DELETE FROM record WHERE seq > 12", "DELETE FROM entry WHERE seq > 12",
                            "DELETE FROM leaf WHERE seq > 12"),
           {DamageKind.NODE, DamageKind.CHECKPOINT}),
    Change("dropped leaf only", ("DELETE FROM leaf WHERE seq = 19",),
           {DamageKind.NUMBERING, DamageKind.NODE}, signs=True),
    Change("type", ("UPDATE entry SET type = 'plan' WHERE seq = 7",), {DamageKind.RECORD}, signs=True),
    Change("time", ("UPDATE entry SET at = at + 1 WHERE seq = 7",), {DamageKind.RECORD}, signs=True),
    Change("chain", (f"UPDATE entry SET case_id = '{case_id(3)}' WHERE seq = 7",), {DamageKind.RECORD},
           signs=True),
    Change("old node", ("UPDATE node SET hash = {zeros} WHERE level = 2 AND idx = 1",), {DamageKind.NODE},
           signs=True),
    Change("edge node", ("UPDATE node SET hash = {zeros} WHERE level = 3 AND idx = 0",), {DamageKind.NODE}),
    Change("dropped node", ("DELETE FROM node WHERE level = 3 AND idx = 0",), {DamageKind.NODE}),
    Change("dropped inner node", ("DELETE FROM node WHERE level = 1 AND idx = 2",), {DamageKind.NODE},
           signs=True),
    Change("new node", ("UPDATE node SET hash = {zeros} WHERE level = 4 AND idx = 0",), {DamageKind.NODE}),
    Change("extra node", ("INSERT INTO node VALUES (1, 10, {zeros}), (0, 1, {zeros})",), {DamageKind.NODE},
           signs=True),
    Change("checkpoint", ("UPDATE checkpoint SET root = {zeros} WHERE size = 9",), {DamageKind.CHECKPOINT},
           signs=True),
    Change("last checkpoint", ("UPDATE checkpoint SET root = {zeros} WHERE size = 14",),
           {DamageKind.CHECKPOINT}),
    Change("opening", ("UPDATE opening SET salt = {zeros} WHERE seq = 11",), {DamageKind.OPENING},
           signs=True),
    Change("opening's case", (f"UPDATE opening SET case_id = '{OTHER}' WHERE seq = 11",),
           {DamageKind.OPENING}, signs=True),
    Change("content", ("UPDATE content SET bytes = {zeros}",), {DamageKind.CONTENT}, signs=True),
]  # fmt: skip


BOTH = {"leaf", "new record", "record and leaf", "dropped new record", "dropped last", "edge node", "opening"}
"""What is tried on PostgreSQL too: making a database there takes its time."""


@pytest.mark.parametrize(
    ("place", "change"),
    [pytest.param("sqlite", change, id=f"sqlite-{change.name}") for change in CHANGES]
    + [
        pytest.param("postgresql", change, id=f"pg-{change.name}")
        for change in CHANGES
        if change.name in BOTH
    ],
    indirect=["place"],
)
def test_a_change_behind_the_ledgers_back_is_found(place: Place, filled: str, change: Change) -> None:
    with Ledger.open(filled) as ledger:
        edited = ledger.get(5 if "WHERE seq = 5" in change.statements[0] else 16).raw.replace(
            b'"text":"', b'"text":"x'
        )
    values = {
        "zeros": hexed(ZEROS, place),
        "edited": hexed(edited, place),
        "edited_leaf": hexed(leaf_hash(edited), place),
        "nothing": hexed(b"", place),
    }
    statements = [statement.format(**values) for statement in change.statements]
    place.tamper(filled, *statements)
    with Ledger.open(filled, read_only=True) as ledger:
        found = ledger.check()
        assert {damage.kind for damage in found} == change.finds, found
        assert all(damage.place and damage.text for damage in found)
        if change.signs:
            # Before the last checkpoint, and not on the way to the root: only a full check reads that far.
            assert ledger.check_grown().size == 20 - (change.name == "dropped leaf only")
        else:
            with pytest.raises(LedgerDamagedError):
                ledger.check_grown()


def test_a_case_that_is_not_a_record_does_not_stop_the_check(place: Place, filled: str) -> None:
    place.tamper(filled, f"UPDATE record SET bytes = {hexed(b'no json', place)}")
    with Ledger.open(filled, read_only=True) as ledger:
        found = [damage for damage in ledger.check() if damage.kind is DamageKind.RECORD]
        assert {damage.place for damage in found} == {f"record {seq}" for seq in range(20)}
        with pytest.raises(LedgerDamagedError, match="record 0"):
            ledger.records(CASE)


def test_a_reader_without_a_right_to_openings_can_check_the_rest(place: Place, filled: str) -> None:
    place.tamper(filled, f"UPDATE opening SET salt = {hexed(ZEROS, place)}")
    with Ledger.open(filled, read_only=True) as ledger:
        assert ledger.check(erasable=False) == ()
        assert len(ledger.check()) == 2


def attempts(place: Place) -> list[str]:
    """What the triggers have to refuse, for every table that is insert-only."""
    tables = ("leaf", "node", "entry", "record", "checkpoint", "anchor", "anchor_trouble", "content")
    kept = (*tables, "ledger_version")
    refused = [f"DELETE FROM {table}" for table in kept]
    columns = {"leaf": "seq", "node": "idx", "entry": "seq", "record": "seq", "checkpoint": "size",
               "anchor": "size", "anchor_trouble": "size", "content": "sha256", "ledger_version": "version",
               "opening": "seq", "case_key": "case_id"}  # fmt: skip
    refused += [f"UPDATE {table} SET {column} = {column}" for table, column in columns.items()]
    if place.name == "sqlite":
        return refused + [f"REPLACE INTO {table} SELECT * FROM {table} LIMIT 1" for table in columns]
    keys = {"leaf": "seq", "entry": "seq", "record": "seq", "checkpoint": "size", "case_key": "case_id"}
    refused += [
        f"INSERT INTO {table} SELECT * FROM {table} LIMIT 1"
        f" ON CONFLICT ({key}) DO UPDATE SET {key} = {table}.{key}"
        for table, key in keys.items()
    ]
    return refused + [f"TRUNCATE {table} CASCADE" for table in columns]


def test_the_database_itself_refuses_changes(place: Place, filled: str) -> None:
    with Ledger.open(filled) as ledger:
        before = everything(place, filled)
        for attempt in attempts(place):
            with pytest.raises(Exception, match="append-only"):
                place.sql(filled, attempt)
        assert everything(place, filled) == before
        place.sql(filled, "DELETE FROM opening WHERE seq = 11", "DELETE FROM case_key")
        assert [opening.seq for opening in ledger.opening()] == [12]
        assert ledger.case_key(CASE) is None
        assert ledger.check() == ()


def everything(place: Place, where: str) -> list[object]:
    tables = ("leaf", "node", "entry", "record", "checkpoint", "anchor", "anchor_trouble", "content",
              "ledger_version", "opening", "case_key")  # fmt: skip
    return [sorted(map(repr, place.sql(where, f"SELECT * FROM {table}"))) for table in tables]


def test_nothing_is_added_to_a_tree_that_misses_its_edge(place: Place, filled: str) -> None:
    with Ledger.open(filled) as ledger:
        place.tamper(filled, "DELETE FROM node WHERE level > 0")
        ledger.append([draft(OTHER, 11)])  # what this process remembers is enough
    with Ledger.open(filled) as ledger:
        size = ledger.size()
        assert size == 21
        ledger.append([draft(OTHER, 12)])  # completes a pair of leaves only
        ledger.append([draft(OTHER, 13)])
        with pytest.raises(LedgerDamagedError, match="missing"):
            ledger.append([draft(OTHER, 14)])  # would complete four of which two are not there
        assert ledger.size() == 23


def test_an_older_copy_put_in_place_is_written_to_and_known_by_its_length(tmp_path: Path) -> None:
    """The open file is replaced: nothing goes into the file that no name leads to any more."""
    path, copy = tmp_path / "ledger.db", tmp_path / "copy.db"
    with Ledger.open(path) as ledger:
        ledger.append([draft(CASE, number) for number in range(4)])
    shutil.copyfile(path, copy)
    with Ledger.open(path) as ledger:
        ledger.append([draft(CASE, 4)])
        newest = ledger.head()
        for side in ("-wal", "-shm"):
            (tmp_path / f"ledger.db{side}").unlink(missing_ok=True)
        copy.replace(path)
        assert ledger.size() == 4 < newest.size
        other = draft(CASE, 4).model_copy(update={"body": {"number": 5}})
        assert ledger.append([other]).count == 5
        assert ledger.root() != newest.root
        assert ledger.check() == ()
    with Ledger.open(path, read_only=True) as ledger:
        assert ledger.size() == 5


def test_a_file_that_is_gone_is_said_and_its_return_is_enough(tmp_path: Path) -> None:
    path, away = tmp_path / "ledger.db", tmp_path / "away"
    with Ledger.open(path) as ledger:
        ledger.append([draft(CASE, 0)])
        away.mkdir()
        files = [file for file in tmp_path.iterdir() if file.is_file()]
        for file in files:
            file.rename(away / file.name)
        for call in (ledger.size, lambda: ledger.append([draft(CASE, 1)])):
            with pytest.raises(LedgerUnavailableError):
                call()
        for file in files:
            (away / file.name).rename(file)
        assert ledger.append([draft(CASE, number) for number in range(3)]).count == 3
        assert ledger.check() == ()
