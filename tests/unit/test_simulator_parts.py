"""The parts that simulators share: faults, request log, routes, versions, certificates, sample company."""

from __future__ import annotations

import ipaddress
import json
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from starlette.responses import Response

from leaver.simulators.company import GROUPS, PEOPLE, person
from leaver.simulators.faults import Fault, FaultBook, FaultKind
from leaver.simulators.m365 import sample_tenant
from leaver.simulators.m365.state import AutoReply, Mailbox
from leaver.simulators.m365.store import Clock, Journal, Table, View
from leaver.simulators.m365.tokens import Audience, CredentialKind, TokenClaims, bearer, mint, read
from leaver.simulators.request_log import RequestLog, RequestRecord, redacted
from leaver.simulators.routing import Routes
from leaver.simulators.tls import issue_client_certificate, issue_loopback_tls

KEY = "00" * 32


def take(
    book: FaultBook, *, mutating: bool = True, in_batch: bool = False, **fields: str
) -> FaultKind | None:
    request = {
        "system": "entra",
        "method": "PATCH",
        "path": "/users/1",
        "operation": "/users/{user}",
    } | fields
    fault = book.take(**request, mutating=mutating, in_batch=in_batch)
    return None if fault is None else fault.kind


def test_a_fault_is_used_up() -> None:
    book = FaultBook()
    book.add(FaultKind.THROTTLE, times=2)
    assert [take(book) for _ in range(3)] == [FaultKind.THROTTLE, FaultKind.THROTTLE, None]
    assert book.open == ()


def test_a_fault_can_let_some_pass_first() -> None:
    book = FaultBook()
    book.add(FaultKind.UNAVAILABLE, skip=2)
    assert [take(book) for _ in range(4)] == [None, None, FaultKind.UNAVAILABLE, None]


@pytest.mark.parametrize(
    "other",
    [{"system": "exchange"}, {"method": "GET"}, {"path": "/groups/1"}, {"operation": "/groups/{group}"}],
)
def test_a_fault_is_for_what_it_names(other: dict[str, str]) -> None:
    book = FaultBook()
    book.add(FaultKind.THROTTLE, system="entra", method="PATCH", path="^/users/", operation="user")
    assert take(book, **other) is None
    assert take(book) is FaultKind.THROTTLE


def test_kinds_hit_only_what_they_can() -> None:
    book = FaultBook()
    book.add(FaultKind.STALE_READS)
    book.add(FaultKind.BATCH_THROTTLE)
    assert take(book) is None
    assert take(book, in_batch=True) is FaultKind.BATCH_THROTTLE
    assert take(book, mutating=False) is FaultKind.STALE_READS
    book.add(FaultKind.DROP_AFTER_COMMIT)
    assert take(book, in_batch=True) is None, "a member of a batch has no connection of its own"


def test_the_book_keeps_its_own_copy() -> None:
    order = Fault(kind=FaultKind.SLOW, seconds=1)
    book = FaultBook()
    book.add(order)
    book.add(order)
    assert [take(book), take(book)] == [FaultKind.SLOW, FaultKind.SLOW]
    assert order.times == 1


@pytest.mark.parametrize("fields", [{"times": 0}, {"path": "("}, {"kind": "sloow"}, {"every": 3}])
def test_a_malformed_order_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Fault.model_validate({"kind": "slow"} | fields)


@given(st.dictionaries(st.text(min_size=1), st.text() | st.booleans() | st.none() | st.lists(st.text())))
def test_text_never_reaches_the_log(body: dict[str, object]) -> None:
    secret = "Tr0ub4dor&3-secret"
    shown = json.dumps(redacted({**body, "password": secret, "deep": {"password": secret}, "list": [secret]}))
    assert secret not in shown


def test_shapes_ids_and_closed_words_stay() -> None:
    guid = person("E1001").object_id
    given_ = {"accountEnabled": False, "removeLicenses": [guid], "Type": "Shared", "InternalMessage": "hello"}
    assert redacted(given_) == given_ | {"InternalMessage": True}


def test_log_lines_say_object_and_survive_on_disk(tmp_path: Path) -> None:
    record = RequestRecord(
        "2026-01-01T00:00:00.000Z", "ad", "MODIFY", "CN=x", 0, True, ["id"], [], "modify", {}, "r-1"
    )
    log = RequestLog(tmp_path)
    log.write(record)
    [line] = (tmp_path / "requests-ad.jsonl").read_text("utf-8").splitlines()
    assert json.loads(line)["object"] == ["id"]
    assert log.mutations("ad") == [record]
    assert log.mutations("entra") == []
    log.close()
    log.write(record)
    log.close()
    assert len((tmp_path / "requests-ad.jsonl").read_text("utf-8").splitlines()) == 2


def test_routes_find_the_first_match_and_know_other_methods() -> None:
    routes = Routes()
    for template in (
        "/users/{user}/memberOf/graph.group",
        "/users/{user}/{property}",
        "/web/getbyid({number})",
    ):
        routes.add("GET", template, lambda _: Response())
    route, params, _ = routes.find("GET", "/users/a@b/memberOf/graph.group")
    assert route is not None
    assert (route.template, params) == ("/users/{user}/memberOf/graph.group", {"user": "a@b"})
    assert routes.find("GET", "/web/getbyid(7)")[1] == {"number": "7"}
    assert routes.find("DELETE", "/users/1/manager") == (None, {}, True)
    assert routes.find("GET", "/users/1/a/b/c") == (None, {}, False)


def mailboxes() -> tuple[Table[Mailbox], Clock]:
    clock = Clock()
    table = Table("mailbox", Mailbox, clock)
    table.seed(Mailbox(id="m", guid="g", size_bytes=0))
    return table, clock


def size(table: Table[Mailbox], view: View) -> int:
    found = table.get("m", view)
    assert found is not None
    return found.size_bytes


def test_versions_show_up_when_the_lag_has_passed() -> None:
    table, clock = mailboxes()
    for number in (1, 2, 3):
        clock.advance(10)
        with table.change("m") as draft:
            draft.size_bytes = number
    assert [size(table, View(lag=lag)) for lag in (0, 5, 15, 25, 999)] == [3, 2, 1, 0, 0]
    assert size(table, View(previous=True)) == 2


def test_a_failed_change_changes_nothing() -> None:
    table, _ = mailboxes()
    with pytest.raises(ValidationError), table.change("m") as draft:
        draft.auto_reply, draft.item_count = AutoReply(state="Enabled"), "many"  # type: ignore[assignment]
    assert size(table, View()) == 0
    found = table.get("m")
    assert found is not None
    assert found.auto_reply.state == "Disabled"


def test_new_objects_are_not_there_for_a_lagging_replica() -> None:
    table, _ = mailboxes()
    table.put(Mailbox(id="new", guid="h"))
    assert table.get("new", View(lag=5)) is None
    assert table.get("new") is not None


def test_many_changes_do_not_pile_up() -> None:
    table, clock = mailboxes()
    for number in range(500):
        clock.advance(10)
        with table.change("m") as draft:
            draft.size_bytes = number + 1
    assert size(table, View(lag=95)) == 490
    assert len(table._rows["m"]) < 20


def test_a_journal_keeps_the_last_version_and_forgets_the_removed(tmp_path: Path) -> None:
    table, _ = mailboxes()
    journal = Journal(tmp_path / "j")
    table.dump(journal)
    table.put(Mailbox(id="gone", guid="h"))
    table.remove("gone")
    with table.change("m") as draft:
        draft.size_bytes = 9
    journal.close()
    rows = Journal.read(tmp_path / "j")["mailbox"]
    assert set(rows) == {"m"}
    assert Mailbox.model_validate_json(rows["m"]).size_bytes == 9


def test_tokens_are_signed_and_expire() -> None:
    claims = TokenClaims("t", "c", Audience.GRAPH, CredentialKind.SECRET, expires=100)
    token = mint(claims, KEY)
    assert read(token, KEY, now=99) == claims
    assert read(token, KEY, now=100) is None
    assert read(token, "11" * 32, now=0) is None
    assert bearer(f"bearer {token}") == token
    assert bearer(None) == bearer("Basic x") == ""


@given(st.text())
def test_no_other_text_is_a_token(text: str) -> None:
    assert read(text, KEY, now=0) is None


def test_certificates_pass_the_strictest_check(tmp_path: Path) -> None:
    files = issue_loopback_tls(tmp_path / "tls")
    server = x509.load_pem_x509_certificate(files.cert_file.read_bytes())
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    authority = x509.load_pem_x509_certificate(files.ca_file.read_bytes())
    key_id = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    issuer = server.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert issuer == key_id
    for subject in (x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))):
        policy = PolicyBuilder().store(Store([authority]))
        assert policy.build_server_verifier(subject).verify(server, []) == [server, authority]


def test_certificates_are_kept_until_they_no_longer_fit(tmp_path: Path) -> None:
    first = issue_loopback_tls(tmp_path)
    content = first.cert_file.read_bytes()
    assert issue_loopback_tls(tmp_path).cert_file.read_bytes() == content
    assert issue_loopback_tls(tmp_path, hosts=("127.0.0.1", "simulators")).cert_file.read_bytes() != content
    client = issue_client_certificate(tmp_path)
    kept = client.bundle_file.read_bytes()
    assert issue_client_certificate(tmp_path).bundle_file.read_bytes() == kept


def test_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    server, client = issue_loopback_tls(tmp_path), issue_client_certificate(tmp_path)
    for path in (server.key_file, client.key_file, client.bundle_file):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_sample_company_is_consistent() -> None:
    tenant = sample_tenant()
    keys = {group.key for group in GROUPS}
    for one in PEOPLE:
        user = tenant.user(one.number)
        assert set(one.groups) <= keys
        assert {group.key for group in tenant.groups_of(user.id)} == set(one.groups)
        assert [method.default for method in user.methods].count(True) == 1
        assert (user.immutable_id is not None) == one.hybrid
        assert tenant.mailbox(one.number).id == user.id
    assert [one.number for one in PEOPLE if tenant.is_administrator(tenant.user(one.number))] == ["E1006"]


def test_the_same_guids_every_time_and_secrets_never() -> None:
    first, second = sample_tenant(), sample_tenant()
    assert {user.id for user in first.users.all()} == {user.id for user in second.users.all()}
    assert first.app.secret != second.app.secret
    assert first.app.token_key != second.app.token_key
