"""The ledger's tables.

``leaf`` (place in the ledger, leaf hash) and ``entry`` (which case, chain and number) hold nothing about a
person and stay for ever; ``record`` holds the bytes. Triggers refuse UPDATE, DELETE and REPLACE. They stop an
honest mistake; a database administrator can drop them, which is what signatures over the leaves are for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

VERSION: Final = 1
APPLICATION_ID: Final = 0x4C454156
"""``LEAV``: tells a ledger from any other SQLite file."""

_LEAF: Final = "CREATE TABLE leaf (seq INTEGER PRIMARY KEY, hash BLOB NOT NULL CHECK (length(hash) = 32))"
_ENTRY: Final = """
CREATE TABLE entry (
    seq INTEGER PRIMARY KEY REFERENCES leaf (seq),
    case_id TEXT NOT NULL, chain TEXT NOT NULL, case_seq INTEGER NOT NULL, type TEXT NOT NULL,
    UNIQUE (case_id, chain, case_seq)
)"""
_RECORD: Final = """
CREATE TABLE record (
    seq INTEGER PRIMARY KEY REFERENCES entry (seq), draft_sha256 TEXT NOT NULL, bytes BLOB NOT NULL
)"""

# INSERT OR REPLACE deletes rows without firing delete triggers unless recursive_triggers is on
# (sqlite.org/lang_conflict.html), so a taken number is refused on insert as well.
_TAKEN: Final = {
    "leaf": "SELECT 1 FROM leaf WHERE seq = NEW.seq",
    "entry": (
        "SELECT 1 FROM entry WHERE seq = NEW.seq"
        " OR (case_id = NEW.case_id AND chain = NEW.chain AND case_seq = NEW.case_seq)"
    ),
    "record": "SELECT 1 FROM record WHERE seq = NEW.seq",
}


def statements() -> Iterator[str]:
    """What makes an empty database a ledger, in order."""
    yield from (_LEAF, _ENTRY, _RECORD)
    refuse = "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
    for table, taken in _TAKEN.items():
        yield f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} {refuse}"
        yield f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} {refuse}"
        yield f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} WHEN EXISTS ({taken}) {refuse}"
    yield f"PRAGMA application_id = {APPLICATION_ID}"
    yield f"PRAGMA user_version = {VERSION}"
