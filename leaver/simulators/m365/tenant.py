"""One tenant: its tables, and what happens in it by itself or as a consequence of something else.

The consequences are the traps: a mailbox dies with its licence unless it has been converted (T30), a group
takes its licences back some time after a member left (T56), deleting the user kills the mailbox it anchors
(T34), directory synchronisation overwrites what was done in the cloud (T13) and soft-deletes whom it no
longer sees (T27).
"""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from leaver.simulators.m365.state import (
    AppRegistration,
    AuthMethod,
    Drive,
    Entity,
    Group,
    Job,
    JobKind,
    Licence,
    Mailbox,
    MailboxType,
    Sku,
    User,
)
from leaver.simulators.m365.store import NEWEST, Clock, Journal, Table, View


@dataclass(slots=True)
class Delays:
    """How long things take, in seconds. The real ones are minutes to hours; nobody knows them exactly."""

    consistency: float = 0.3
    """Directory and Exchange reads by id lag this much behind writes."""
    search: float = 0.9
    """Searches (``$filter`` with ``ConsistencyLevel: eventual``) lag this much."""
    purpose: float = 1.0
    """Graph's ``userPurpose`` lags this much behind Exchange's mailbox type."""
    conversion: float = 1.0
    """From an accepted ``Set-Mailbox -Type`` to the type being so."""
    group_licences: float = 1.0
    """From a change of membership to the group's licences being given or taken."""


class Tenant:
    """A tenant's state. Attributes are tables; methods are what changes several of them together."""

    def __init__(self, tenant_id: str, *, domain: str, delays: Delays | None = None) -> None:
        self.id = tenant_id
        self.domain = domain
        self.delays = delays or Delays()
        self.page_size: int = 100
        self.clock: Final = Clock()
        self.users: Final = Table("user", User, self.clock)
        self.groups: Final = Table("group", Group, self.clock)
        self.mailboxes: Final = Table("mailbox", Mailbox, self.clock)
        self.drives: Final = Table("drive", Drive, self.clock)
        self.jobs: Final = Table("job", Job, self.clock)
        self.skus: Final = Table("sku", Sku, self.clock)
        self.apps: Final = Table("app", AppRegistration, self.clock)

    # -- keeping ------------------------------------------------------------------------------------------

    def keep_in(self, path: Path) -> bool:
        """Keep the state in a file from now on; take what an earlier process left in it.

        Returns:
            Whether there was a state to take; it then replaces the one this object held.
        """
        found = path.exists()
        if found:
            rows = Journal.read(path)
            for table in self._tables():
                table.load(rows.get(table.name, {}))
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        journal = Journal(fresh)
        for table in self._tables():
            table.dump(journal)
        os.replace(fresh, path)  # noqa: PTH105 - the open journal follows the file to its new name
        return found

    def close(self) -> None:
        """Stop keeping; what happens from now on is lost with the process."""
        journal = self.users.journal
        for table in self._tables():
            table.journal = None
        if journal is not None:
            journal.close()

    def _tables(self) -> tuple[Table[Entity], ...]:
        # Their rows are handled through the common base only.
        return (self.users, self.groups, self.mailboxes, self.drives, self.jobs, self.skus, self.apps)  # type: ignore[return-value]

    # -- finding ------------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """The tenant's time, seconds since the epoch."""
        return self.clock.now()

    @property
    def app(self) -> AppRegistration:
        """The application that is registered."""
        return self.apps.all()[0]

    def find_user(self, key: str, view: View = NEWEST, *, deleted: bool = False) -> User | None:
        """The user with this object id or user principal name; deleted ones only when asked for."""
        folded = key.casefold()
        by_id = self.users.get(folded, view)
        candidates = [by_id] if by_id is not None else self.users.all(view)
        for user in candidates:
            if folded in (user.id, user.upn.casefold()) and (user.deleted is not None) == deleted:
                return user
        return None

    def user(self, key: str) -> User:
        """The user with this object id, user principal name or employee number, deleted or not, as of now.

        Raises:
            KeyError: there is none.
        """
        for user in self.users.all():
            if key in (user.id, user.upn, user.employee_id):
                return user
        raise KeyError(key)

    def group(self, key: str) -> Group:
        """The group with this id or short name, as of now.

        Raises:
            KeyError: there is none.
        """
        for group in self.groups.all():
            if key in (group.id, group.key):
                return group
        raise KeyError(key)

    def mailbox(self, key: str) -> Mailbox:
        """The mailbox anchored by this user, soft-deleted or not, as of now.

        Raises:
            KeyError: no such user, or no mailbox.
        """
        mailbox = self.mailboxes.get(self.user(key).id)
        if mailbox is None:
            raise KeyError(key)
        return mailbox

    def drive(self, key: str) -> Drive:
        """The drive of this user, as of now.

        Raises:
            KeyError: no such user, or no drive.
        """
        owner = self.user(key).id
        for drive in self.drives.all():
            if drive.owner == owner:
                return drive
        raise KeyError(key)

    def groups_of(self, member: str, view: View = NEWEST, *, transitive: bool = False) -> list[Group]:
        """Groups this user or group is in, nested ones too where ``transitive``."""
        groups = self.groups.all(view)
        found: dict[str, Group] = {}
        todo = [member]
        while todo:
            child = todo.pop()
            parents = [g for g in groups if child in g.members and g.id not in found]
            found.update((g.id, g) for g in parents)
            todo = [*todo, *(g.id for g in parents)] if transitive else []
        return list(found.values())

    def is_administrator(self, user: User) -> bool:
        """Whether the user holds an administrator role, by itself or by a role-assignable group (T19)."""
        return bool(user.directory_roles) or any(g.role_assignable for g in self.groups_of(user.id))

    # -- groups and licences ------------------------------------------------------------------------------

    def leave_group(self, group_id: str, member: str) -> None:
        """Take a member out; the group's licences follow later."""
        with self.groups.change(group_id) as group:
            group.members.remove(member)
        self._licences_follow(group_id, member)

    def join_group(self, group_id: str, member: str) -> None:
        """Put a member in; the group's licences follow later."""
        with self.groups.change(group_id) as group:
            group.members.append(member)
        self._licences_follow(group_id, member)

    def set_direct_licences(self, user_id: str, *, add: list[str], remove: list[str]) -> None:
        """Give and take direct licences in one go; a mailbox that loses its last one is disabled."""
        with self.users.change(user_id) as user:
            kept = [row for row in user.licences if row.by_group is not None or row.sku not in remove]
            held = {row.sku for row in kept if row.by_group is None}
            added = [Licence(sku=sku, updated=self.now) for sku in add if sku not in held]
            user.licences = [*kept, *added]
        self._mailbox_needs_licence(user_id, self.now)

    def add_method(self, user_id: str, method: AuthMethod) -> None:
        """Register a sign-in method, as a live session of the leaver could."""
        with self.users.change(user_id) as user:
            user.methods.append(method)

    def has_mailbox_licence(self, user: User) -> bool:
        """Whether a product that holds a mailbox is assigned, directly or by a group."""
        skus = (self.skus.get(row.sku) for row in user.licences)
        return any(sku is not None and sku.holds_mailbox for sku in skus)

    def _licences_follow(self, group_id: str, member: str) -> None:
        group = self.groups.get(group_id)
        if group is not None and group.licences and self.users.get(member) is not None:
            self._later(JobKind.GROUP_LICENCES, member, self.delays.group_licences)

    def _apply_group_licences(self, user_id: str, at: float) -> None:
        granted = {(sku, g.id) for g in self.groups_of(user_id, transitive=True) for sku in g.licences}
        with self.users.change(user_id, at=at) as user:
            rows = [r for r in user.licences if r.by_group is None or (r.sku, r.by_group) in granted]
            there = {(row.sku, row.by_group) for row in rows}
            new = [Licence(sku=s, by_group=g, updated=at) for s, g in sorted(granted) if (s, g) not in there]
            user.licences = [*rows, *new]
        self._mailbox_needs_licence(user_id, at)

    def _mailbox_needs_licence(self, user_id: str, at: float) -> None:
        user, mailbox = self.users.get(user_id), self.mailboxes.get(user_id)
        if user is None or mailbox is None or mailbox.type is not MailboxType.USER:
            return
        if not self.has_mailbox_licence(user) and mailbox.soft_deleted is None:
            with self.mailboxes.change(user_id, at=at) as draft:
                draft.soft_deleted = at

    # -- mailboxes ----------------------------------------------------------------------------------------

    def convert_mailbox(self, user_id: str, kind: MailboxType) -> None:
        """Accept a conversion; it lands later, if the mailbox is still there then."""
        self._later(JobKind.CONVERT_MAILBOX, user_id, self.delays.conversion, mailbox_type=kind)

    def purpose_shown(self, mailbox: Mailbox) -> MailboxType:
        """The type as Graph shows it, which lags behind Exchange."""
        if self.now >= mailbox.type_changed + self.delays.purpose:
            return mailbox.type
        return MailboxType.USER if mailbox.type is MailboxType.SHARED else MailboxType.SHARED

    def _land_conversion(self, job: Job) -> None:
        mailbox = self.mailboxes.get(job.subject)
        if mailbox is None or mailbox.soft_deleted is not None or job.mailbox_type in (None, mailbox.type):
            return
        with self.mailboxes.change(job.subject, at=job.due) as draft:
            draft.type, draft.type_changed = job.mailbox_type, job.due
        self._mailbox_needs_licence(job.subject, job.due)

    # -- life and death of users --------------------------------------------------------------------------

    def delete_user(self, user_id: str) -> None:
        """Soft-delete: the object stays thirty days, memberships and mailbox go at once."""
        with self.users.change(user_id) as user:
            user.deleted = self.now
        if self.mailboxes.get(user_id) is not None:
            with self.mailboxes.change(user_id) as mailbox:
                mailbox.soft_deleted = mailbox.soft_deleted or self.now

    def restore_user(self, user_id: str) -> None:
        """Bring a soft-deleted user back as it was, enabled if it was enabled (trap T26)."""
        with self.users.change(user_id) as user:
            user.deleted = None
        if self.mailboxes.get(user_id) is not None:
            with self.mailboxes.change(user_id) as mailbox:
                mailbox.soft_deleted = None
        self._mailbox_needs_licence(user_id, self.now)

    def apply_directory_sync(self, immutable_id: str, *, enabled: bool, in_scope: bool) -> bool:
        """What directory synchronisation does about one account of Active Directory.

        Args:
            immutable_id: base64 of the objectGUID's bytes, as in ``onPremisesImmutableId``.
            enabled: whether the account is enabled in Active Directory; that is what the cloud gets.
            in_scope: whether the account is in a synchronised OU. Out of it, the cloud user and its mailbox
                are soft-deleted; back in it, they are restored.

        Returns:
            Whether the tenant has such a user.
        """
        user = next((u for u in self.users.all() if u.synced and u.immutable_id == immutable_id), None)
        if user is None:
            return False
        if not in_scope:
            if user.deleted is None:
                self.delete_user(user.id)
            return True
        if user.deleted is not None:
            self.restore_user(user.id)
        with self.users.change(user.id) as draft:
            draft.enabled, draft.last_sync = enabled, self.now
        return True

    # -- work that is due ---------------------------------------------------------------------------------

    def settle(self) -> None:
        """Do whatever has become due. Called before every request."""
        for job in sorted(self.jobs.all(), key=lambda job: job.due):
            if job.due > self.now:
                continue
            if job.kind is JobKind.CONVERT_MAILBOX:
                self._land_conversion(job)
            else:
                self._apply_group_licences(job.subject, job.due)
            self.jobs.remove(job.id)

    def _later(
        self, kind: JobKind, subject: str, delay: float, mailbox_type: MailboxType | None = None
    ) -> None:
        due = self.now + delay
        self.jobs.put(
            Job(id=str(uuid.uuid4()), kind=kind, due=due, subject=subject, mailbox_type=mailbox_type)
        )
