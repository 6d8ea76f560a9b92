"""PostgreSQL alone: outages, roles, encrypted connections, what the address may say."""

from __future__ import annotations

import socket
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pg8000.dbapi
import pytest

from leaver.domain.words import RecordType
from leaver.evidence.errors import (
    LedgerDamagedError,
    LedgerUnavailableError,
    LedgerVersionError,
)
from leaver.evidence.ledger import postgres as opening
from leaver.evidence.ledger.guards import postgres_setup
from leaver.evidence.ledger.model import AnchorKind, StoredCheckpoint
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.ledger.tables import APPLICATION_ID
from leaver.evidence.records import Chain
from tests.support.certificates import server_certificate
from tests.support.ledgers import START, PostgresPlace, case_id, chain_of, database_of, draft, note_of
from tests.support.postgres import PostgresServer, running_postgres

CASE = case_id(1)


@pytest.fixture
def database(postgres: PostgresServer) -> str:
    return postgres.database()


CALLS: list[Callable[[Ledger], object]] = [
    lambda ledger: ledger.append([draft(CASE, 1)]),
    lambda ledger: ledger.note(Chain.LOG, "log", RecordType.CONFIG_CHANGE, START, {}, key="k"),
    lambda ledger: ledger.records(CASE),
    lambda ledger: ledger.cases(),
    lambda ledger: ledger.get(0),
    lambda ledger: ledger.last(Chain.CASE, CASE),
    lambda ledger: next(ledger.stream()),
    lambda ledger: ledger.size(),
    lambda ledger: ledger.root(),
    lambda ledger: ledger.nodes(0, 0),
    lambda ledger: ledger.leaves(),
    lambda ledger: ledger.inclusion(0, 1),
    lambda ledger: ledger.consistency(0, 1),
    lambda ledger: ledger.latest_checkpoint(),
    lambda ledger: ledger.add_checkpoint(StoredCheckpoint(1, bytes(32), note_of(1, bytes(32)), START)),
    lambda ledger: ledger.add_anchor(1, AnchorKind.SINK, "s", b"", START),
    lambda ledger: ledger.store_content(b"x"),
    lambda ledger: ledger.content("00" * 32),
    lambda ledger: ledger.opening(),
    lambda ledger: ledger.erase_openings(CASE),
    lambda ledger: ledger.case_key(CASE, create=True),
    lambda ledger: ledger.check(),
    lambda ledger: ledger.check_grown(),
]


@pytest.fixture(scope="module")
def fragile() -> Iterator[PostgresServer]:
    """A server that tests may take down."""
    with running_postgres() as server:
        yield server


def test_a_server_that_is_gone_is_said_and_its_return_is_enough(fragile: PostgresServer) -> None:
    where = fragile.url(fragile.database())
    with Ledger.open(where) as ledger:
        ledger.append([draft(CASE, 0)])
        fragile.stop()
        try:
            for call in CALLS:
                with pytest.raises(LedgerUnavailableError):
                    call(ledger)
            with pytest.raises(LedgerUnavailableError):
                Ledger.open(where)
        finally:
            fragile.start()
        assert ledger.append([draft(CASE, number) for number in range(3)]).count == 3
        assert ledger.check() == ()


def test_a_stream_that_is_cut_off_is_said(fragile: PostgresServer) -> None:
    with Ledger.open(fragile.url(fragile.database())) as ledger:
        ledger.append([draft(CASE, number) for number in range(6000)])
        stream = ledger.stream()
        assert next(stream).seq == 0
        fragile.kill()
        with pytest.raises(LedgerUnavailableError):
            list(stream)
        fragile.start()
        assert sum(1 for _ in ledger.stream()) == 6000


def test_connections_that_the_server_ended_are_made_anew(postgres: PostgresServer, database: str) -> None:
    with Ledger.open(postgres.url(database)) as ledger:
        ledger.append([draft(CASE, 0)])
        ours = f"FROM pg_stat_activity WHERE datname = '{database}'"
        postgres.run(f"SELECT pg_terminate_backend(pid, 5000) {ours}", database="postgres")
        assert ledger.append([draft(CASE, 1)]).count == 2


def test_errors_do_not_tell_values(postgres: PostgresServer, database: str) -> None:
    name = "Ada Lovelace"
    with Ledger.open(postgres.url(database)) as ledger:
        postgres.run("ALTER TABLE opening ADD CHECK (length(content) < 5)", database=database)
        with pytest.raises(LedgerDamagedError) as refused:
            add(ledger, opening={"name": name})
        postgres.run("ALTER TABLE record ALTER COLUMN bytes TYPE varchar(10) USING ''", database=database)
        with pytest.raises(LedgerUnavailableError) as failed:
            add(ledger, note=name)
        for caught in (refused, failed):
            assert "Lovelace" not in "".join(traceback.format_exception(caught.value))
            assert "SQLSTATE" in str(caught.value)
        assert ledger.size() == 0


def add(ledger: Ledger, *, opening: dict[str, str] | None = None, note: str = "") -> None:
    facts = dict(opening) if opening else None
    ledger.note(Chain.LOG, "log", RecordType.CONFIG_CHANGE, START, {"note": note}, key="k", opening=facts)


def test_whoever_holds_the_sequence_makes_others_wait_but_not_for_ever(
    postgres: PostgresServer, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "_LOCK_MILLISECONDS", 150)
    with Ledger.open(postgres.url(database)) as ledger, closing(postgres.connect(database)) as other:
        cursor = other.cursor()
        cursor.execute(f"SELECT pg_advisory_lock({APPLICATION_ID})")
        with pytest.raises(LedgerUnavailableError, match="55P03"):
            ledger.append([draft(CASE, 0)])
        assert ledger.size() == 0
        cursor.execute(f"SELECT pg_advisory_unlock({APPLICATION_ID})")
        assert ledger.append([draft(CASE, 0)]).count == 1


def test_commits_are_on_disk_even_where_the_server_would_not_wait(
    postgres: PostgresServer, database: str
) -> None:
    postgres.run(f"ALTER DATABASE {database} SET synchronous_commit = off", database="postgres")
    with Ledger.open(postgres.url(database)) as ledger, ledger._db.read() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
    postgres.run(f"ALTER DATABASE {database} SET synchronous_commit = remote_apply", database="postgres")
    with Ledger.open(postgres.url(database)) as ledger, ledger._db.read() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "remote_apply"


@pytest.fixture
def roles(postgres: PostgresServer, database: str) -> str:
    """A ledger made by the documented set-up SQL, with the two roles that use it."""
    for role in ("leaver_sealer", "leaver_reader"):
        postgres.run(
            f"DO $$ BEGIN CREATE ROLE {role} LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
            database="postgres",
        )
    setup = postgres_setup("leaver_sealer", "leaver_reader")
    postgres.run(*[line for line in setup.split(";\n") if line.strip()], database=database)
    return database


def test_the_sealers_role_can_do_its_work_and_nothing_else(postgres: PostgresServer, roles: str) -> None:
    with Ledger.open(postgres.url(roles, "leaver_sealer")) as ledger:
        ledger.append(chain_of(CASE, 5))
        ledger.note(Chain.SEALER, CASE, RecordType.CASE_EXPECTED, START, {}, key="k", opening={"name": "Ada"})
        head = ledger.check_grown()
        ledger.add_checkpoint(StoredCheckpoint(head.size, head.root, note_of(head.size, head.root), START))
        ledger.add_anchor(head.size, AnchorKind.SINK, "s", b"v1", START)
        ledger.note_trouble(head.size, AnchorKind.WITNESS, "w", "timed out", START)
        ledger.store_content(b"x")
        assert ledger.check() == ()
        assert ledger.case_key(CASE, create=True)
        assert ledger.drop_case_key(CASE)
        assert ledger.erase_openings(CASE) == 1
    refused(
        postgres,
        roles,
        "leaver_sealer",
        "UPDATE record SET bytes = ''",
        "UPDATE opening SET salt = ''",
        "DELETE FROM leaf",
        "DELETE FROM checkpoint",
        "TRUNCATE opening",
        "DROP TABLE anchor",
        "ALTER TABLE leaf DISABLE TRIGGER ALL",
        "DROP TRIGGER leaf_append_only ON leaf",
        "CREATE OR REPLACE FUNCTION ledger_refuses() RETURNS trigger LANGUAGE plpgsql AS ''",
        "SET session_replication_role = replica",
        "INSERT INTO ledger_version VALUES (3)",
        "CREATE TABLE mine (x int)",
    )


def test_a_readers_role_reads_all_but_personal_data(postgres: PostgresServer, roles: str) -> None:
    with Ledger.open(postgres.url(roles, "leaver_sealer")) as ledger:
        ledger.append(chain_of(CASE, 5))
    with Ledger.open(postgres.url(roles, "leaver_reader"), read_only=True) as ledger:
        assert ledger.check(erasable=False) == ()
        assert sum(1 for _ in ledger.stream()) == 5
        assert ledger.check_grown().size == 5
        for call in (ledger.opening, lambda: ledger.case_key(CASE), ledger.check):
            with pytest.raises(LedgerUnavailableError, match="42501"):
                call()
    refused(
        postgres,
        roles,
        "leaver_reader",
        "SELECT * FROM opening",
        "SELECT * FROM case_key",
        "INSERT INTO leaf VALUES (9, '')",
        "DELETE FROM opening",
    )


def refused(postgres: PostgresServer, database: str, role: str, *statements: str) -> None:
    for statement in statements:
        with pytest.raises(pg8000.dbapi.Error, match="42501"):
            postgres.run(statement, database=database, user=role)


def test_a_role_that_may_not_create_tables_says_what_to_do(postgres: PostgresServer, database: str) -> None:
    postgres.run("DO $$ BEGIN CREATE ROLE nobody_much LOGIN; EXCEPTION WHEN duplicate_object THEN NULL;"
                 " END $$", database="postgres")  # fmt: skip
    with pytest.raises(LedgerVersionError, match="set-up SQL"):
        Ledger.open(postgres.url(database, "nobody_much"))
    with pytest.raises(LedgerVersionError, match="no ledger"):
        Ledger.open(postgres.url(database), read_only=True)


def test_a_ledger_of_another_version_is_left_alone(postgres: PostgresServer, database: str) -> None:
    Ledger.open(postgres.url(database)).close()
    PostgresPlace(postgres).tamper(postgres.url(database), "UPDATE ledger_version SET version = 3")
    for read_only in (False, True):
        with pytest.raises(LedgerVersionError, match="version 3"):
            Ledger.open(postgres.url(database), read_only=read_only)


def test_the_database_itself_keeps_a_reader_from_writing(postgres: PostgresServer, database: str) -> None:
    Ledger.open(postgres.url(database)).close()
    with Ledger.open(postgres.url(database), read_only=True) as ledger, ledger._db.read() as connection:
        assert connection.exec_driver_sql("SHOW transaction_read_only").scalar() == "on"
        assert database_of(postgres.url(database)) == database


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("postgresql://host/db", "postgresql"),
        ("mysql://host/db", "mysql"),
        ("postgresql+pg8000://host:port/db", "not a database URL"),
        ("postgresql+pg8000://host/db?sslmode=prefer", "sslmode"),
        ("postgresql+pg8000://host/db?options=-c%20fsync=off", "sslmode"),
        ("postgresql+pg8000://host/db?sslrootcert=/nowhere/ca.pem", "sslrootcert"),
    ],
)
def test_an_address_that_cannot_be_right_is_refused(where: str, message: str) -> None:
    with pytest.raises(LedgerVersionError, match=message):
        Ledger.open(where)


def test_no_password_is_told(postgres: PostgresServer) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        secret = "hunter2"
        with pytest.raises(LedgerUnavailableError) as caught:
            Ledger.open(f"postgresql+pg8000://leaver:{secret}@127.0.0.1:{port}/ledger")
    assert secret not in "".join(traceback.format_exception(caught.value))


def test_other_machines_are_spoken_to_under_a_verified_certificate(tmp_path: Path) -> None:
    right, wrong = server_certificate(tmp_path / "right"), server_certificate(tmp_path / "wrong")
    with running_postgres(certificate=right) as server:
        port = server.tcp_port
        plain = f"postgresql+pg8000://owner@localhost:{port}/postgres"
        with Ledger.open(f"{plain}?sslmode=verify-full&sslrootcert={right.authority}") as ledger:
            ledger.append([draft(CASE, 0)])
            rows = server.run("SELECT count(*) FROM pg_stat_ssl WHERE ssl", database="postgres")
            assert rows[0][0] > 0
        for bad in (
            f"{plain}?sslmode=verify-full&sslrootcert={wrong.authority}",
            f"{plain}?sslmode=verify-full",
            f"{plain.replace('localhost', '127.0.0.1')}?sslmode=verify-full&sslrootcert={right.authority}",
        ):
            with pytest.raises(LedgerUnavailableError, match="certificate"):
                Ledger.open(bad)
