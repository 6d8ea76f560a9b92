"""Active Directory through LDAP over TLS.

Rights the service account needs (delegated on the OUs that hold staff and leavers, inherited; no domain
administrator): read; on user objects write ``userAccountControl``, the control access right *Reset Password*
and, where leavers are moved, delete from the old OU, create in the new one, write ``cn`` and ``name``; on
group objects write ``member``. Accounts and groups under AdminSDHolder (adminCount = 1) do not inherit
delegated rights: writes to them are refused and need a person. To prove password changes by their version it
reads ``msDS-ReplAttributeMetaData`` or ``replPropertyMetaData``.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from leaver.connectors.ad import metadata, values
from leaver.connectors.ad.check import check
from leaver.connectors.ad.protocol import AccountGone, AdAccount, ConnectionCheck, Key
from leaver.connectors.ad.results import NO_SUCH_ATTRIBUTE, NO_SUCH_OBJECT, UNWILLING
from leaver.connectors.ad.session import Entry, Session
from leaver.connectors.ad.sessions import Sessions
from leaver.connectors.ad.settings import AdSettings
from leaver.connectors.errors import Ambiguous, ProtocolError, Rejected
from leaver.connectors.guard import WriteGuard

_PEOPLE: Final = "(objectCategory=person)(objectClass=user)"
_IDENTITY: Final = ("objectGUID", "objectClass")
_STATE: Final = (
    *_IDENTITY,
    "userAccountControl",
    "pwdLastSet",
    "whenChanged",
    "uSNChanged",
    "primaryGroupID",
    "adminCount",
    "employeeID",
    "msDS-ReplAttributeMetaData",
    "replPropertyMetaData",
)
_DOMAIN: Final = "defaultNamingContext"
"""What receipts say for a search in the whole domain: its filter would name the person."""


class LdapDirectory:
    """The ``Directory`` of the activities. Safe to use from several threads.

    Args:
        settings: where and who.
        guard: asked before every write; in notification-only mode it lets none pass.
    """

    def __init__(self, settings: AdSettings, guard: WriteGuard) -> None:
        self._settings = settings
        self._guard = guard
        self._sessions = Sessions(settings)

    @property
    def base_dn(self) -> str:
        """The domain's own DN."""
        return self._settings.base_dn

    def close(self) -> None:
        """Close idle connections."""
        self._sessions.close()

    def find(self, key: Key, value: str) -> AdAccount | None:
        """The user object whose attribute equals ``value``, compared as the directory does: ignoring case."""
        return self._one((values.text_filter(key.value, value),), what=key.value)

    def find_linked(self, guid: str) -> AdAccount | None:
        """By objectGUID, or by the consistency GUID that Entra Connect prefers once it is filled."""
        filters = (values.guid_filter(name, guid) for name in ("objectGUID", "mS-DS-ConsistencyGuid"))
        return self._one(filters, what="the linked GUID")

    def get(self, guid: str) -> AdAccount | None:
        """The account as it is now."""
        with self._sessions.session() as session:
            entry = _by_guid(session, guid, _STATE)
        return _account(entry) if entry else None

    def groups(self, guid: str) -> tuple[str, ...]:
        """GUIDs of the direct groups, sorted. Groups of the forest's other domains are not seen here."""
        with self._sessions.session() as session:
            entry = _existing(session, guid)
            member = values.text_filter("member", entry.dn)
            found = session.search(_DOMAIN, self.base_dn, f"(&(objectClass=group){member})", ("objectGUID",))
        return tuple(sorted(values.guid_text(group.required("objectGUID")) for group in found))

    def container(self, guid: str) -> str | None:
        """GUID of the parent object."""
        with self._sessions.session() as session:
            entry = _existing(session, guid)
            parent = session.read(_DOMAIN, values.split_dn(entry.dn)[1], ("objectGUID",))
        return values.guid_text(parent.required("objectGUID")) if parent else None

    def is_under(self, guid: str, ou: str) -> bool:
        """Asked of the server, so that no spelling of a DN is ever compared here."""
        with self._sessions.session() as session:
            found = session.search(_DOMAIN, ou, values.guid_filter("objectGUID", guid), ("objectGUID",))
        return bool(found)

    def disable(self, guid: str) -> None:
        """Set the one flag on the value as it is at this moment.

        Deleting the old and adding the new value in one request would be the textbook compare-and-set, but
        not every server enforces it on this attribute; the caller's read-back is what proves the result.
        """
        self._guard.check("LDAP modify userAccountControl", [guid])
        with self._sessions.session() as session:
            entry = _existing(session, guid, (*_IDENTITY, "userAccountControl"))
            control = values.disabled(_number(entry, "userAccountControl"))
            path = values.guid_dn(guid)
            session.modify(path, path, "userAccountControl", "REPLACE", str(control).encode())

    def set_random_password(self, guid: str) -> None:
        """An administrative reset: history and minimum age do not apply, the old password is not needed."""
        self._guard.check("LDAP modify unicodePwd", [guid])
        with self._sessions.session() as session:
            _existing(session, guid)
            path = values.guid_dn(guid)
            secret = values.password_octets(values.random_password())
            session.modify(path, path, metadata.UNICODE_PWD, "REPLACE", secret)

    def remove_from_group(self, guid: str, group: str) -> None:
        """Delete one value of the group's ``member``.

        The object that changes is the group, which is nobody's own: the guard is asked about the person whose
        membership ends. That holds only because the value that is written is that person's DN, read by GUID
        from the server in the same session, and never one that came from outside (trap T44).
        """
        self._guard.check("LDAP modify member", [guid])
        with self._sessions.session() as session:
            person = _existing(session, guid)
            path = values.guid_dn(group)
            try:
                session.modify(path, path, "member", "DELETE", person.dn.encode())
            except Rejected as err:
                # Samba and Active Directory answer "unwilling" for a value that is not there.
                if err.code not in (UNWILLING, NO_SUCH_ATTRIBUTE, NO_SUCH_OBJECT):
                    raise
                if _is_member(session, path, person.dn):
                    raise

    def move(self, guid: str, ou: str) -> None:
        """Change the parent and keep the relative name."""
        self._guard.check("LDAP modifyDN", [guid])
        with self._sessions.session() as session:
            person = _existing(session, guid)
            path = values.guid_dn(guid)
            session.rename(path, path, values.split_dn(person.dn)[0], ou)

    def check_connection(self, *, leavers_ou: str | None = None) -> ConnectionCheck:
        """Connect, bind and read; name what is missing. Writes nothing."""
        with self._sessions.session() as session:
            return check(session, self.base_dn, leavers_ou, datetime.now(UTC))

    def _one(self, filters: Iterable[str], *, what: str) -> AdAccount | None:
        search = f"(&{_PEOPLE}(|{''.join(filters)}))"
        with self._sessions.session() as session:
            found = session.search(_DOMAIN, self.base_dn, search, _STATE)
        if len(found) > 1:
            raise Ambiguous(f"{len(found)} accounts answer to {what}", count=len(found))
        return _account(found[0]) if found else None


def _by_guid(session: Session, guid: str, attributes: tuple[str, ...]) -> Entry | None:
    path = values.guid_dn(guid)
    try:
        entry = session.read(path, path, attributes)
    except Rejected as err:
        if err.code == NO_SUCH_OBJECT:
            return None
        raise
    if entry and values.guid_text(entry.required("objectGUID")) != str(uuid.UUID(guid)):
        raise ProtocolError("the directory answered with another object than the one asked for")
    if entry and b"user" not in entry.values("objectClass"):
        raise Rejected("the GUID belongs to something else than a user account", code="notAUser")
    return entry


def _existing(session: Session, guid: str, attributes: tuple[str, ...] = _IDENTITY) -> Entry:
    entry = _by_guid(session, guid, attributes)
    if entry is None:
        raise AccountGone
    return entry


def _is_member(session: Session, group: str, dn: str) -> bool:
    try:
        return (
            session.read(group, group, ("objectGUID",), filter_=values.text_filter("member", dn)) is not None
        )
    except Rejected as err:
        if err.code == NO_SUCH_OBJECT:
            return False
        raise


def _account(entry: Entry) -> AdAccount:
    number = entry.first("employeeID")
    return AdAccount(
        guid=values.guid_text(entry.required("objectGUID")),
        enabled=not _number(entry, "userAccountControl") & values.AccountControl.ACCOUNTDISABLE,
        privileged=entry.first("adminCount") == b"1",
        password_set_at=values.filetime(entry.first("pwdLastSet") or b"0"),
        password_version=metadata.attribute_version(
            metadata.UNICODE_PWD,
            entry.values("msDS-ReplAttributeMetaData"),
            entry.values("replPropertyMetaData"),
        ),
        changed_at=values.generalized_time(entry.required("whenChanged")),
        usn=_number(entry, "uSNChanged"),
        primary_group_id=_number(entry, "primaryGroupID"),
        employee_id=number.decode("utf-8", errors="replace") if number else None,
        dn=entry.dn,
    )


def _number(entry: Entry, name: str) -> int:
    raw = entry.required(name)
    try:
        return int(raw)
    except ValueError as err:
        raise ProtocolError(f"{name} is not a number") from err
