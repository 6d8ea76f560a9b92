"""Values of Active Directory: what is read is understood, and what is sent cannot be misread."""

from __future__ import annotations

import string
import struct
import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ldap3.operation.search import compile_filter, parse_filter
from ldap3.utils.dn import escape_rdn
from pyasn1.codec.ber.encoder import encode
from pydantic import SecretStr

from leaver.connectors.ad import values
from leaver.connectors.ad.metadata import UNICODE_PWD, attribute_version, blob_versions
from leaver.connectors.ad.results import bind_error, result_error
from leaver.connectors.ad.settings import AdSettings
from leaver.connectors.errors import (
    AccessDenied,
    InvalidCredentials,
    ProtocolError,
    Rejected,
    Throttled,
    Unavailable,
)
from leaver.simulators.ad import ber
from leaver.simulators.ad.filters import Compare
from leaver.simulators.ad.filters import parse_filter as parse_on_the_other_side
from leaver.simulators.ad.names import parts, rdn_value

XML = b"""<DS_REPL_ATTR_META_DATA>
\t<pszAttributeName>%s</pszAttributeName>
\t<dwVersion>%d</dwVersion>
\t<ftimeLastOriginatingChange>2026-11-20T08:31:07Z</ftimeLastOriginatingChange>
\t<uuidLastOriginatingDsaInvocationID>c8a34c3d-5d7e-4ad2-a0fa-0a2bd6e0a1e1</uuidLastOriginatingDsaInvocationID>
\t<usnOriginatingChange>40983</usnOriginatingChange>
\t<usnLocalChange>40983</usnLocalChange>
\t<pszLastOriginatingDsaDN>CN=NTDS Settings,CN=DC1,CN=Servers,CN=Site</pszLastOriginatingDsaDN>
</DS_REPL_ATTR_META_DATA>
\x00"""


def sent_filter(text: str) -> object:
    """A filter as it leaves ldap3 and arrives at a server."""
    parsed = parse_filter(text, None, False, False, None, False)  # type: ignore[no-untyped-call]
    compiled = compile_filter(parsed.elements[0])  # type: ignore[no-untyped-call]
    return parse_on_the_other_side(ber.parse(encode(compiled))[0])


@given(st.text(min_size=1, max_size=60).filter(lambda text: text.strip() == text))
def test_a_value_in_a_filter_arrives_as_that_value(value: str) -> None:
    assert sent_filter(values.text_filter("employeeID", value)) == Compare("employeeID", value.encode())


@given(st.uuids())
def test_a_guid_in_a_filter_arrives_in_its_order_on_the_wire(guid: uuid.UUID) -> None:
    sent = sent_filter(values.guid_filter("objectGUID", str(guid)))
    assert sent == Compare("objectGUID", guid.bytes_le)


@pytest.mark.parametrize("value", ["x", "*", "1)(cn=*", "<GUID=x>", ""])
def test_only_guids_get_into_a_guid_name(value: str) -> None:
    with pytest.raises(ValueError, match="badly formed"):
        values.guid_dn(value)
    with pytest.raises(ValueError, match="badly formed"):
        values.guid_filter("objectGUID", value)


@given(st.uuids())
def test_guids_survive_the_wire(guid: uuid.UUID) -> None:
    assert values.guid_text(guid.bytes_le) == str(guid)
    assert values.guid_dn(str(guid).upper()) == f"<GUID={guid}>"


@given(st.binary(max_size=40).filter(lambda raw: len(raw) != 16))
def test_what_is_no_guid_is_refused(raw: bytes) -> None:
    with pytest.raises(ProtocolError):
        values.guid_text(raw)


@given(st.text(min_size=1, max_size=40).filter(lambda text: text.strip() == text))
def test_a_dn_is_split_at_its_first_real_comma(name: str) -> None:
    rdn = f"CN={escape_rdn(name)}"
    assert values.split_dn(f"{rdn},OU=Staff,DC=x") == (rdn, "OU=Staff,DC=x")
    assert parts(f"{rdn},OU=Staff,DC=x") == [rdn, "OU=Staff", "DC=x"]
    assert rdn_value(rdn) == name


@pytest.mark.parametrize(
    ("dn", "rdn"),
    [("CN=A\\, B,OU=C", "CN=A\\, B"), ("CN=A\\\\,OU=C", "CN=A\\\\"), ("CN=A\\2C B,OU=C", "CN=A\\2C B")],
)
def test_escaped_commas(dn: str, rdn: str) -> None:
    assert values.split_dn(dn) == (rdn, "OU=C")


def test_an_object_without_parent_is_no_account() -> None:
    with pytest.raises(ProtocolError):
        values.split_dn("DC=example")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"0", None),
        (b"9223372036854775807", None),
        (b"134398255026945000", datetime(2026, 11, 22, 12, 51, 42, 694500, tzinfo=UTC)),
        (b"116444736000000000", datetime(1970, 1, 1, tzinfo=UTC)),
    ],
)
def test_file_times(raw: bytes, expected: datetime | None) -> None:
    assert values.filetime(raw) == expected


@pytest.mark.parametrize("raw", [b"", b"soon", b"9223372036854775000"])
def test_what_is_no_file_time_is_refused(raw: bytes) -> None:
    with pytest.raises(ProtocolError):
        values.filetime(raw)


def test_generalized_times() -> None:
    expected = datetime(2026, 11, 22, 12, 51, 42, tzinfo=UTC)
    assert values.generalized_time(b"20261122125142.0Z") == expected
    assert values.generalized_time(b"20261122125142Z") == expected
    with pytest.raises(ProtocolError):
        values.generalized_time(b"yesterday")


@pytest.mark.parametrize(
    ("before", "after"), [(512, 514), (514, 514), (66048, 66050), (512 | 0x10, 514), (0x800200, 0x202)]
)
def test_disabling_keeps_stored_flags_and_drops_shown_ones(before: int, after: int) -> None:
    assert values.disabled(before) == after


def test_random_passwords_meet_the_rules_and_never_repeat() -> None:
    made = {values.random_password() for _ in range(200)}
    assert len(made) == 200
    for password in made:
        assert len(password) == 60
        for kind in (str.isupper, str.islower, str.isdigit):
            assert any(kind(char) for char in password)
        assert any(char in string.punctuation for char in password)
        # No part of a name of three letters can be in it.
        assert not any(password[at : at + 2].isalpha() for at in range(59))
        assert values.password_octets(password).decode("utf-16-le") == f'"{password}"'


rows = st.dictionaries(
    st.integers(0, 2**32 - 1), st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)), max_size=30
)


def blob(content: dict[int, tuple[int, int]]) -> bytes:
    packed = [
        struct.pack("<IIQ16sQQ", attid, version, usn, b"i" * 16, usn, usn)
        for attid, (version, usn) in content.items()
    ]
    return struct.pack("<IIII", 1, 0, len(packed), 0) + b"".join(packed)


@given(rows)
def test_replication_metadata_is_read_whole(content: dict[int, tuple[int, int]]) -> None:
    assert blob_versions(blob(content)) == {attid: version for attid, (version, _) in content.items()}


@given(st.binary(max_size=200))
def test_what_is_no_metadata_is_refused_or_empty(raw: bytes) -> None:
    try:
        assert isinstance(blob_versions(raw), dict)
    except ProtocolError:
        return
    assert len(raw) % 48 == 16


@given(rows.filter(bool))
def test_metadata_that_is_cut_short_is_refused(content: dict[int, tuple[int, int]]) -> None:
    with pytest.raises(ProtocolError):
        blob_versions(blob(content)[:-1])
    with pytest.raises(ProtocolError):
        blob_versions(b"\x02" + blob(content)[1:])


def test_xml_metadata_goes_before_the_blob() -> None:
    xml = [XML % (b"pwdLastSet", 9), XML % (b"unicodePwd", 7)]
    raw = blob({0x9005A: (3, 1), 0x90060: (8, 1)})
    assert attribute_version(UNICODE_PWD, xml, [raw]) == 7
    assert attribute_version(UNICODE_PWD, xml[:1], [raw]) == 3
    assert attribute_version(UNICODE_PWD, [], [raw]) == 3
    assert attribute_version(UNICODE_PWD, [], [blob({})]) is None
    assert attribute_version(UNICODE_PWD, [], []) is None


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (51, Throttled),
        (52, Unavailable),
        (3, Unavailable),
        (50, AccessDenied),
        (1, ProtocolError),
        (53, Rejected),
    ],
)
def test_results_become_errors_without_the_servers_text(code: int, error: type[Exception]) -> None:
    text = "00002098: Object CN=Ann Person,OU=Staff has no write property access"
    made = result_error("modify", code, "someName", text)
    assert type(made) is error
    assert "00002098" in str(made)
    assert "Ann" not in str(made)


@pytest.mark.parametrize(
    ("data", "why"),
    [("52e", "wrong password"), ("533", "disabled"), ("775", "locked out"), ("abc", "data abc")],
)
def test_refused_binds_say_why(data: str, why: str) -> None:
    text = f"80090308: LdapErr: DSID-0C090447, comment: AcceptSecurityContext error, data {data}, v3839"
    made = bind_error(49, text)
    assert isinstance(made, InvalidCredentials)
    assert why in str(made)
    assert bind_error(0, "") is None
    assert isinstance(bind_error(8, ""), Rejected)


@pytest.mark.parametrize("url", ["dc1", "http://dc1", "ldaps://", "ldaps://dc1:port", "ldaps://a b"])
def test_settings_name_a_wrong_address(url: str) -> None:
    with pytest.raises(ValueError, match="servers"):
        AdSettings((url,), "DC=x", "CN=y", password="z")  # type: ignore[arg-type]


def test_settings_need_a_server_and_hide_the_password() -> None:
    with pytest.raises(ValueError, match="at least one"):
        AdSettings((), "DC=x", "CN=y", SecretStr("z"))
    assert "hidden-word" not in repr(
        AdSettings(("ldaps://[::1]:636",), "DC=x", "CN=y", SecretStr("hidden-word"))
    )


@given(st.integers(-(2**40), 2**40))
def test_ber_integers(number: int) -> None:
    assert ber.parse(ber.integer(number))[0].number == number


@given(st.binary(max_size=70_000))
def test_ber_octets(raw: bytes) -> None:
    encoded = ber.octets(raw)
    element, end = ber.parse(encoded + b"rest")
    assert (element.content, end) == (raw, len(encoded))


@given(st.binary(max_size=64))
def test_ber_garbage_is_refused_or_parsed(raw: bytes) -> None:
    try:
        element, end = ber.parse(raw)
    except ber.BerError:
        return
    assert end <= len(raw)
    assert len(element.content) < end
