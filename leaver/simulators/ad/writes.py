"""Changing objects: what Active Directory lets pass, and how it says no.

Texts and codes are those of Active Directory or of Samba; the contract tests hold the stand-in to a real
Samba domain.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from typing import Final

from ldap3.utils.dn import escape_rdn

from leaver.simulators.ad.items import Item, Role
from leaver.simulators.ad.messages import Add, Change, Code, Delete, LdapError, Modification, Modify, ModifyDn
from leaver.simulators.ad.names import parts, rdn_key, rdn_value
from leaver.simulators.ad.schema import ATTRIBUTES, CLASSES
from leaver.simulators.ad.tree import Tree

_QUOTED: Final = re.compile(r'".*"', re.DOTALL)
_MIN_PASSWORD: Final = 7
_MIN_CLASSES: Final = 3
_NORMAL_ACCOUNT: Final = 0x200
_DISABLED: Final = 0x2
_DOMAIN_USERS: Final = b"513"
_DELEGATED: Final = frozenset({"useraccountcontrol", "unicodepwd", "member"})


class Writer:
    """Carries out the writes of one bound account."""

    def __init__(self, tree: Tree, actor: Item | None) -> None:
        self._tree = tree
        self._actor = actor

    def add(self, request: Add) -> None:
        """Create an object.

        Raises:
            LdapError: it exists, has no parent, or may not be made.
        """
        self._admin_only()
        attributes = {name.lower(): list(values) for name, values in request.attributes.items()}
        rdn, *above = parts(request.dn)
        parent = self._tree.view.existing(",".join(above))
        if self._tree.view.find(request.dn) is not None:
            raise _exists("00002071")
        classes = [value.decode().lower() for value in attributes.pop("objectclass", [])]
        kind = next((name for name in reversed(classes) if name in CLASSES), None)
        if kind is None or any(name not in ATTRIBUTES for name in attributes):
            raise _no_attribute()
        item = Item(str(uuid.uuid4()), rdn, parent.guid, kind)
        self.create(item, attributes)

    def create(self, item: Item, attributes: dict[str, list[bytes]]) -> Item:
        """Put an object in, completed as the directory does."""
        password = attributes.pop("unicodepwd", None)
        defaults: dict[str, list[bytes]] = {"name": [rdn_value(item.rdn).encode()]}
        if item.kind == "user":
            control = _NORMAL_ACCOUNT if password else _NORMAL_ACCOUNT | _DISABLED
            defaults |= {
                "useraccountcontrol": [str(control).encode()],
                "primarygroupid": [_DOMAIN_USERS],
                "pwdlastset": [b"0"],
            }
        members = attributes.pop("member", [])
        self._tree.insert(item, {**defaults, **attributes})
        if members:
            self._change_members(item, Modification(Change.ADD, "member", tuple(members)))
        if password:
            self._set_password(item, password)
        return item

    def modify(self, request: Modify, *, encrypted: bool) -> None:
        """Change attributes.

        Raises:
            LdapError: the change, or one of its values, is refused; then nothing of it is done.
        """
        item = self._tree.view.existing(request.dn)
        for change in request.changes:
            self._may(item, change)
        for change in request.changes:
            name = change.attribute.lower()
            if name == "unicodepwd":
                if not encrypted:
                    raise _will_not("00002035")
                self._set_password(item, change.values)
            elif name == "member":
                self._change_members(item, change)
            else:
                self._tree.change(item, {name: self._new_values(item, change)})

    def rename(self, request: ModifyDn) -> None:
        """Rename or move.

        Raises:
            LdapError: no such object or parent, a name that is taken, no right.
        """
        item = self._tree.view.existing(request.dn)
        if item.parent is None or item.attributes.get("admincount") == [b"1"]:
            self._admin_only()
        elif self._actor is None or self._actor.role is None:
            raise _no_right()
        parent = item.parent if request.new_superior is None else self._parent(request.new_superior)
        target = f"{request.new_rdn},{self._tree.view.dn(parent or item.guid)}"
        taken = self._tree.view.find(target)
        if taken is not None and taken.guid != item.guid:
            raise _exists("00002071")
        rdn_key(request.new_rdn)
        self._tree.relocate(item, request.new_rdn, parent or item.guid)

    def delete(self, request: Delete) -> None:
        """Delete a leaf object.

        Raises:
            LdapError: no such object, it has children, no right.
        """
        self._admin_only()
        item = self._tree.view.existing(request.dn)
        if any(child.parent == item.guid for child in self._tree.items.values()):
            raise LdapError(
                Code.NOT_ALLOWED_ON_NON_LEAF,
                "00002015: UpdErr: DSID-031A122A, problem 6003 (CANT_ON_NON_LEAF)",
            )
        self._tree.remove(item)

    def _parent(self, dn: str) -> str:
        found = self._tree.view.find(dn)
        if found is None:
            raise LdapError(Code.OTHER, "00002095: parent does not exist")
        return found.guid

    def _admin_only(self) -> None:
        if self._actor is None or self._actor.role is not Role.ADMIN:
            raise _no_right()

    def _may(self, item: Item, change: Modification) -> None:
        name = change.attribute.lower()
        attribute = ATTRIBUTES.get(name)
        if attribute is None:
            raise _no_attribute()
        if attribute.read_only:
            raise _will_not("0000209A", Code.CONSTRAINT_VIOLATION)
        role = self._actor.role if self._actor else None
        if role is Role.ADMIN:
            return
        # AdminSDHolder: delegated rights are not inherited by protected objects.
        if role is None or name not in _DELEGATED or item.attributes.get("admincount") == [b"1"]:
            raise _no_right()

    def _new_values(self, item: Item, change: Modification) -> list[bytes]:
        name = change.attribute.lower()
        now = item.attributes.get(name, [])
        wanted = list(change.values)
        if change.change is Change.REPLACE:
            values = wanted
        elif change.change is Change.ADD:
            if set(wanted) & set(now):
                raise LdapError(
                    Code.ATTRIBUTE_OR_VALUE_EXISTS, "00002083: AtrErr: DSID-031512D2, #1: value exists"
                )
            values = [*now, *wanted]
        else:
            if not now or not set(wanted) <= set(now):
                raise LdapError(Code.NO_SUCH_ATTRIBUTE, "00002085: AtrErr: DSID-03152A9B, #1: no such value")
            values = [value for value in now if value not in wanted] if wanted else []
        if ATTRIBUTES[name].single and len(values) > 1:
            raise LdapError(
                Code.ATTRIBUTE_OR_VALUE_EXISTS, "0000200D: SINGLE-VALUE attribute specified more than once"
            )
        return values

    def _change_members(self, group: Item, change: Modification) -> None:
        members = [] if change.change is Change.REPLACE else list(group.members)
        for value in change.values:
            target = self._tree.view.find(value.decode())
            if target is None:
                raise _will_not("00002035")
            if change.change is Change.DELETE:
                if target.guid not in members:
                    raise _will_not("00000561")
                members.remove(target.guid)
            elif target.guid in members:
                raise _exists("00000562")
            else:
                members.append(target.guid)
        self._tree.set_members(group, members)

    def _set_password(self, item: Item, values: Sequence[bytes]) -> None:
        try:
            text = values[0].decode("utf-16-le")
        except (UnicodeDecodeError, IndexError):
            text = ""
        if not _QUOTED.fullmatch(text):
            raise _will_not("00002035")
        password = text[1:-1]
        if len(password) < _MIN_PASSWORD or _classes(password) < _MIN_CLASSES:
            raise _will_not("0000052D", Code.CONSTRAINT_VIOLATION)
        self._tree.set_password(item, password)


def relative_name(kind: str, value: str) -> str:
    """``CN=…`` or ``OU=…`` with the value escaped."""
    return f"{kind}={escape_rdn(value)}"


def _classes(password: str) -> int:
    tests = (str.isupper, str.islower, str.isdigit, lambda char: not char.isalnum())
    return sum(any(test(char) for char in password) for test in tests)


def _no_right() -> LdapError:
    text = "00002098: SecErr: DSID-03150F94, problem 4003 (INSUFF_ACCESS_RIGHTS), data 0"
    return LdapError(Code.INSUFFICIENT_ACCESS, text)


def _no_attribute() -> LdapError:
    text = "00000057: LdapErr: DSID-0C090D8A, comment: Error in attribute conversion operation, data 0"
    return LdapError(Code.NO_SUCH_ATTRIBUTE, text)


def _exists(win32: str) -> LdapError:
    return LdapError(
        Code.ENTRY_ALREADY_EXISTS, f"{win32}: UpdErr: DSID-031B0F04, problem 6005 (ENTRY_EXISTS), data 0"
    )


def _will_not(win32: str, code: Code = Code.UNWILLING_TO_PERFORM) -> LdapError:
    return LdapError(code, f"{win32}: SvcErr: DSID-031A1248, problem 5003 (WILL_NOT_PERFORM), data 0")
