"""What makes the tables insert-only: triggers on both databases, and PostgreSQL roles.

They stop an honest mistake, and a stolen password of the sealer's role. A database administrator can drop
them, which is what checkpoints held outside are for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from sqlalchemy import Table, UniqueConstraint, make_url
from sqlalchemy.schema import CreateIndex, CreateTable

from leaver.evidence.ledger.tables import APPLICATION_ID, ERASABLE, KEPT, META, METADATA, VERSION

_REFUSAL: Final = "the ledger is append-only"
_VERSION_ROW: Final = f"INSERT INTO {META.name} VALUES ({VERSION})"  # noqa: S608 - our own names
_PLAIN_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}", re.ASCII)


def sqlite_guards() -> Iterator[str]:
    """The triggers of an SQLite ledger, and the marks that tell it from another file.

    INSERT OR REPLACE deletes rows without firing delete triggers unless recursive_triggers is on
    (sqlite.org/lang_conflict.html), so a taken key is refused on insert as well.
    """
    refuse = f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
    for table in METADATA.sorted_tables:
        name = table.name
        yield f"CREATE TRIGGER {name}_no_update BEFORE UPDATE ON {name} {refuse}"
        yield f"CREATE TRIGGER {name}_no_replace BEFORE INSERT ON {name} WHEN {_taken(table)} {refuse}"
        if table not in ERASABLE:
            yield f"CREATE TRIGGER {name}_no_delete BEFORE DELETE ON {name} {refuse}"
    yield _VERSION_ROW
    yield f"PRAGMA application_id = {APPLICATION_ID}"
    yield f"PRAGMA user_version = {VERSION}"


def postgres_guards() -> Iterator[str]:
    """The triggers of a PostgreSQL ledger. They fire once a statement, so also where no row matches."""
    yield (
        "CREATE FUNCTION ledger_refuses() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" RAISE EXCEPTION '{_REFUSAL}' USING ERRCODE = 'restrict_violation'; END $$"
    )
    for table in METADATA.sorted_tables:
        events = "UPDATE OR TRUNCATE" if table in ERASABLE else "UPDATE OR DELETE OR TRUNCATE"
        yield (
            f"CREATE TRIGGER {table.name}_append_only BEFORE {events} ON {table.name}"
            " FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuses()"
        )
    yield _VERSION_ROW


def postgres_roles(sealer: str, reader: str | None = None) -> Iterator[str]:
    """What the roles may do. The tables must belong to another role, which nobody signs in with.

    Args:
        sealer: the evidence worker's role: reads, adds, and erases what may be erased.
        reader: a role for reports and checks: reads everything except what may be erased.

    Raises:
        ValueError: a name that is not a plain lower-case identifier.
    """
    for name in filter(None, (sealer, reader)):
        if not _PLAIN_NAME.fullmatch(name):
            raise ValueError("a role's name is made of lower-case letters, digits and underscores")
    everything = ", ".join(table.name for table in METADATA.sorted_tables)
    yield f"REVOKE ALL ON {everything} FROM PUBLIC"
    yield f"GRANT SELECT, INSERT ON {everything} TO {sealer}"
    yield f"REVOKE INSERT ON ledger_version FROM {sealer}"
    yield f"GRANT DELETE ON {', '.join(table.name for table in ERASABLE)} TO {sealer}"
    if reader:
        yield f"GRANT SELECT ON {', '.join(table.name for table in KEPT)} TO {reader}"


def postgres_schema() -> Iterator[str]:
    """Every statement that makes an empty schema a ledger, in order."""
    dialect = make_url("postgresql+pg8000://").get_dialect()()
    for table in METADATA.sorted_tables:
        yield str(CreateTable(table).compile(dialect=dialect)).strip()
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            yield str(CreateIndex(index).compile(dialect=dialect)).strip()
    yield from postgres_guards()


def postgres_setup(sealer: str, reader: str | None = None) -> str:
    """The SQL that a database administrator runs once, as the owner of the tables-to-be.

    Raises:
        ValueError: a name that is not a plain lower-case identifier.
    """
    statements = ("BEGIN", *postgres_schema(), *postgres_roles(sealer, reader), "COMMIT")
    return "".join(f"{statement};\n" for statement in statements)


def _taken(table: Table) -> str:
    """The condition that a row to be inserted stands in the place of another, by any of the unique keys."""
    unique = [table.primary_key.columns]
    unique.extend(found.columns for found in table.constraints if isinstance(found, UniqueConstraint))
    keys = [list(columns.keys()) for columns in unique]
    keys.extend(list(index.columns.keys()) for index in table.indexes if index.unique)
    same = (" AND ".join(f"{name} = NEW.{name}" for name in sorted(key)) for key in keys)
    return " OR ".join(f"EXISTS (SELECT 1 FROM {table.name} WHERE {condition})" for condition in same)  # noqa: S608
