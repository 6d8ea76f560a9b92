"""The ledger's tables, the same on SQLite and PostgreSQL.

``leaf``, ``node`` and ``entry`` hold nothing about a person. ``record`` holds the exact bytes. ``opening``
and ``case_key`` are what may be erased: personal data behind the commitments, and the keys of bundles that
were stored where nothing can be deleted.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

VERSION: Final = 2
APPLICATION_ID: Final = 0x4C454156
"""``LEAV``: tells a ledger from any other SQLite file; on PostgreSQL the number of the sequencer's lock."""

METADATA: Final = MetaData()

# In SQLite only a column declared as INTEGER PRIMARY KEY is the row id itself.
_SEQ: Final = BigInteger().with_variant(Integer(), "sqlite")

LEAF: Final = Table(
    "leaf",
    METADATA,
    Column("seq", _SEQ, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary, CheckConstraint("length(hash) = 32"), nullable=False),
)
NODE: Final = Table(
    "node",
    METADATA,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("idx", _SEQ, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary, CheckConstraint("length(hash) = 32"), nullable=False),
    sqlite_with_rowid=False,
)
ENTRY: Final = Table(
    "entry",
    METADATA,
    Column("seq", _SEQ, ForeignKey("leaf.seq"), primary_key=True, autoincrement=False),
    Column("case_id", String, nullable=False),
    Column("chain", String, nullable=False),
    Column("case_seq", BigInteger, nullable=False),
    Column("type", String, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("key", String),
    UniqueConstraint("case_id", "chain", "case_seq", name="entry_place"),
)
Index(
    "entry_key",
    ENTRY.c.case_id,
    ENTRY.c.chain,
    ENTRY.c.key,
    unique=True,
    sqlite_where=ENTRY.c.key.is_not(None),
    postgresql_where=ENTRY.c.key.is_not(None),
)
Index("entry_type", ENTRY.c.type, ENTRY.c.seq)
Index(
    "entry_first",
    ENTRY.c.chain,
    ENTRY.c.seq,
    sqlite_where=ENTRY.c.case_seq == 0,
    postgresql_where=ENTRY.c.case_seq == 0,
)
RECORD: Final = Table(
    "record",
    METADATA,
    Column("seq", _SEQ, ForeignKey("entry.seq"), primary_key=True, autoincrement=False),
    Column("draft_sha256", String, nullable=False),
    Column("bytes", LargeBinary, nullable=False),
)
CHECKPOINT: Final = Table(
    "checkpoint",
    METADATA,
    Column("size", _SEQ, primary_key=True, autoincrement=False),
    Column("root", LargeBinary, nullable=False),
    Column("note", LargeBinary, nullable=False),
    Column("at", BigInteger, nullable=False),
)
ANCHOR: Final = Table(
    "anchor",
    METADATA,
    Column("id", _SEQ, primary_key=True, autoincrement=False),
    Column("size", BigInteger, ForeignKey("checkpoint.size"), nullable=False, index=True),
    Column("kind", String, nullable=False),
    Column("name", String, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("at", BigInteger, nullable=False),
)
TROUBLE: Final = Table(
    "anchor_trouble",
    METADATA,
    Column("id", _SEQ, primary_key=True, autoincrement=False),
    Column("size", BigInteger, ForeignKey("checkpoint.size"), nullable=False, index=True),
    Column("kind", String, nullable=False),
    Column("name", String, nullable=False),
    Column("text", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)
CONTENT: Final = Table(
    "content",
    METADATA,
    Column("sha256", String, primary_key=True),
    Column("bytes", LargeBinary, nullable=False),
)
OPENING: Final = Table(
    "opening",
    METADATA,
    Column("seq", _SEQ, ForeignKey("entry.seq"), primary_key=True, autoincrement=False),
    Column("case_id", String, nullable=False, index=True),
    Column("salt", LargeBinary, nullable=False),
    Column("content", LargeBinary, nullable=False),
)
CASE_KEY: Final = Table(
    "case_key",
    METADATA,
    Column("case_id", String, primary_key=True),
    Column("key", LargeBinary, nullable=False),
)
META: Final = Table(
    "ledger_version",
    METADATA,
    Column("version", Integer, primary_key=True, autoincrement=False),
)
"""On SQLite the file's ``user_version`` says the same."""

ERASABLE: Final = (OPENING, CASE_KEY)
"""Rows may be deleted, never changed."""
KEPT: Final = tuple(table for table in METADATA.sorted_tables if table not in ERASABLE)
"""Rows may be added and nothing else."""
