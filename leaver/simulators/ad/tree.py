"""What the stand-in holds: objects by GUID, their links, and what was written when."""

from __future__ import annotations

import copy
import hashlib
import json
import secrets
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from leaver.simulators.ad.items import Item, Stamp, dump, restore
from leaver.simulators.ad.messages import Code, LdapError
from leaver.simulators.ad.names import guid_of, parts, rdn_key, rdn_value

_EPOCH: Final = datetime(1601, 1, 1, tzinfo=UTC)
_JOURNAL_SECONDS: Final = 120.0
_ROUNDS: Final = 1000


class View:
    """Objects as they are, or as they were (a replica that lags)."""

    def __init__(self, items: Mapping[str, Item]) -> None:
        self.items: Final = items

    @cached_property
    def _children(self) -> dict[tuple[str | None, str], str]:
        return {(item.parent, rdn_key(item.rdn)): item.guid for item in self.items.values()}

    def find(self, dn: str) -> Item | None:
        """The object of a DN or ``<GUID=…>``."""
        guid = guid_of(dn)
        if guid is not None:
            return self.items.get(guid)
        base = next((item for item in self.items.values() if item.parent is None), None)
        if base is None:
            return None
        head, suffix = parts(dn), [rdn_key(part) for part in parts(base.rdn)]
        keys = [rdn_key(part) for part in head]
        if keys[-len(suffix) :] != suffix:
            return None
        guid = base.guid
        for key in reversed(keys[: -len(suffix)]):
            guid = self._children.get((guid, key))
            if guid is None:
                return None
        return self.items[guid]

    def existing(self, dn: str) -> Item:
        """The object of a DN.

        Raises:
            LdapError: noSuchObject.
        """
        item = self.find(dn)
        if item is None:
            raise LdapError(
                Code.NO_SUCH_OBJECT, "0000208D: NameErr: DSID-0310028B, problem 2001 (NO_OBJECT), data 0"
            )
        return item

    def dn(self, guid: str) -> str:
        """The DN of an object."""
        item = self.items[guid]
        return item.rdn if item.parent is None else f"{item.rdn},{self.dn(item.parent)}"

    def is_below(self, guid: str, ancestor: str) -> bool:
        """Whether one object is the other, or lies below it."""
        step: str | None = guid
        while step is not None:
            if step == ancestor:
                return True
            step = self.items[step].parent
        return False

    def groups_of(self, guid: str) -> list[Item]:
        """Groups with this direct member."""
        return [item for item in self.items.values() if guid in item.members]

    def members_in_chain(self, group: Item, seen: frozenset[str] = frozenset()) -> Iterator[str]:
        """Members of a group, and of the groups in it."""
        for guid in group.members:
            yield guid
            if guid not in seen and guid in self.items:
                yield from self.members_in_chain(self.items[guid], seen | {guid, group.guid})


class Tree:
    """The live objects. Every change goes through :meth:`change` or :meth:`insert`, which keep the books.

    Args:
        base_dn: the domain.
        path: a JSON file that survives a restart; None keeps everything in memory.
        clock: UTC now.
    """

    def __init__(
        self,
        base_dn: str,
        path: Path | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.base_dn: Final = base_dn
        self.items: dict[str, Item] = {}
        self.usn = 1000
        self.invocation = uuid.uuid4()
        self.clock: Final = clock
        self.restored = False
        self._path = path
        self._live: View | None = None
        self._journal: list[tuple[float, str, Item | None]] = []
        self._last: dict[str, Item | None] = {}
        if path is not None and path.exists():
            self._load(json.loads(path.read_text(encoding="utf-8")))
            self.restored = True
        else:
            self.insert(Item(str(uuid.uuid4()), base_dn, None, "domain"), {})

    @property
    def view(self) -> View:
        """The objects as they are."""
        if self._live is None:
            self._live = View(self.items)
        return self._live

    def stale(self, seconds: float) -> View:
        """The objects as they were before the last write, or ``seconds`` ago."""
        if not seconds:
            old = dict(self._last)
        else:
            since = time.monotonic() - seconds
            old = {}
            for at, guid, item in self._journal:
                if at > since:
                    old.setdefault(guid, item)
        items = {guid: item for guid, item in ({**self.items, **old}).items() if item is not None}
        return View(items)

    def insert(self, item: Item, attributes: Mapping[str, list[bytes]]) -> Item:
        """Put a new object in."""
        self._remember(item.guid)
        self.items[item.guid] = item
        self._live = None
        now = self.clock()
        item.attributes["whencreated"] = [f"{now:%Y%m%d%H%M%S}.0Z".encode()]
        item.attributes["usncreated"] = [str(self.usn + 1).encode()]
        self._write(item, attributes)
        return item

    def change(self, item: Item, attributes: Mapping[str, list[bytes]]) -> None:
        """Set attributes of an object; an empty list clears one."""
        self._remember(item.guid)
        self._write(item, attributes)

    def set_members(self, group: Item, members: list[str]) -> None:
        """Set a group's members. Links have their own metadata: only the object's USN and time move."""
        self._remember(group.guid)
        group.members = members
        self._write(group, {})

    def relocate(self, item: Item, rdn: str, parent: str) -> None:
        """Rename or move an object."""
        self._remember(item.guid)
        item.rdn, item.parent = rdn, parent
        self._live = None
        self._write(item, {"name": [rdn_value(rdn).encode()]})

    def remove(self, item: Item) -> None:
        """Delete an object with the links to it."""
        self._remember(item.guid)
        for group in self.view.groups_of(item.guid):
            group.members = [guid for guid in group.members if guid != item.guid]
        del self.items[item.guid]
        self._live = None
        self._save()

    def set_password(self, item: Item, password: str) -> None:
        """Keep a salted hash, and count the write as Active Directory does."""
        self._remember(item.guid)
        salt = secrets.token_hex(8)
        item.secret = f"{salt}${_hash(salt, password)}"
        self._stamp(item, "unicodepwd")
        self._write(item, {"pwdlastset": [str(filetime(self.clock())).encode()]})

    def password_fits(self, item: Item, password: str) -> bool:
        """Whether this is the object's password."""
        salt, _, digest = item.secret.partition("$")
        return bool(digest) and secrets.compare_digest(digest, _hash(salt, password))

    def _remember(self, guid: str) -> None:
        now = time.monotonic()
        old = copy.deepcopy(self.items.get(guid))
        self._journal = [row for row in self._journal if row[0] > now - _JOURNAL_SECONDS]
        self._journal.append((now, guid, old))
        self._last = {guid: old}

    def _write(self, item: Item, attributes: Mapping[str, list[bytes]]) -> None:
        self.usn += 1
        for name, values in attributes.items():
            if values:
                item.attributes[name] = values
            else:
                item.attributes.pop(name, None)
            self._stamp(item, name)
        item.attributes["whenchanged"] = [f"{self.clock():%Y%m%d%H%M%S}.0Z".encode()]
        item.attributes["usnchanged"] = [str(self.usn).encode()]
        self._save()

    def _stamp(self, item: Item, name: str) -> None:
        seconds = int((self.clock() - _EPOCH).total_seconds())
        version = item.stamps[name].version + 1 if name in item.stamps else 1
        item.stamps[name] = Stamp(version, seconds, self.usn)

    def _save(self) -> None:
        if self._path is None:
            return
        state = {
            "usn": self.usn,
            "invocation": str(self.invocation),
            "items": [dump(item) for item in self.items.values()],
        }
        draft = self._path.with_suffix(".new")
        draft.write_text(json.dumps(state, separators=(",", ":")), encoding="utf-8")
        # In place at once or not at all: a killed stand-in finds its last whole state again.
        draft.replace(self._path)

    def _load(self, state: dict[str, Any]) -> None:
        self.usn = state["usn"]
        self.invocation = uuid.UUID(state["invocation"])
        self.items = {row["guid"]: restore(row) for row in state["items"]}


def filetime(moment: datetime) -> int:
    """A time as 100 ns since 1601."""
    return (moment - _EPOCH) // timedelta(microseconds=1) * 10


def _hash(salt: str, password: str) -> str:
    return hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), _ROUNDS).hex()
