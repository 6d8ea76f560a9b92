"""The policy: the auditable document that says who gets which steps, within what time, approved by whom."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from leaver.domain.base import Document, digest
from leaver.domain.event import Moment
from leaver.domain.words import Mode, System

Word = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=320)]


class CutoffPolicy(Document):
    """When on the last working day access ends, and in which zone if HR names none."""

    moment: Moment = Moment.END_OF_DAY
    default_timezone: Word = "UTC"


class ProtectedPolicy(Document):
    """People and accounts that are never touched without a release (trap T6).

    Break-glass accounts, service accounts, the platform's own identities. ``external_ids`` and
    ``user_names`` are HR's; ``account_ids`` are immutable ids in the target systems.
    """

    external_ids: tuple[Word, ...] = ()
    user_names: tuple[Word, ...] = ()
    account_ids: tuple[Word, ...] = ()

    @field_validator("user_names", "account_ids")
    @classmethod
    def _fold(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(item.casefold() for item in value)


class SystemPolicy(Document):
    """How one system takes part."""

    enabled: bool = True
    contain_within_minutes: Annotated[int, Field(ge=1, le=60 * 24 * 30)] = 60
    complete_within_hours: Annotated[int, Field(ge=1, le=24 * 365)] = 24


class AdPolicy(Document):
    """On-premises Active Directory. ``leavers_ou`` is a DN; empty means: do not move.

    ``leavers_ou_in_sync_scope`` must be stated for people synced to Entra: moving an account out of the
    synced scope soft-deletes the cloud user and the mailbox (trap T27).
    """

    leavers_ou: Word | None = None
    leavers_ou_in_sync_scope: bool = False
    remove_groups: bool = True


class MailboxPolicy(Document):
    """What happens to the mailbox."""

    convert_to_shared: bool = True
    delegate_successor: bool = True
    auto_reply: Annotated[str, StringConstraints(max_length=4000)] | None = (
        "Thank you for your message. I no longer work here; please contact the team."
    )
    max_unlicensed_gb: Annotated[int, Field(ge=1, le=50)] = 49


class FilesPolicy(Document):
    """What happens to the OneDrive."""

    grant_successor: bool = True


class LicencePolicy(Document):
    """Whether licences are reclaimed once the mailbox is safe."""

    reclaim: bool = True


class ApprovalPolicy(Document):
    """The hand-over approval. Containment never waits for it (trap T10).

    After ``deadline_hours`` the ``fallback_approvers`` (HR worker ids, e.g. of the IT queue) may decide
    too; after as long again ``at_deadline`` applies: ``wait`` for ever, or ``approve`` on the policy's
    authority.
    """

    handover_required: bool = True
    only_departments: tuple[Word, ...] = ()
    """Ask only for people of these departments; empty means everybody."""
    deadline_hours: Annotated[int, Field(ge=1, le=24 * 90)] = 72
    fallback_approvers: tuple[Word, ...] = ()
    at_deadline: Literal["wait", "approve"] = "wait"


class BrakePolicy(Document):
    """Brakes against a bad feed (trap T5): more leavers in one delivery than this are all held."""

    max_leavers_per_feed: Annotated[int, Field(ge=1)] = 20


class SealPolicy(Document):
    """When a case with open steps is closed as what it is: a case with exceptions."""

    close_with_exceptions_after_days: Annotated[int, Field(ge=1, le=3650)] = 30


class WatchPolicy(Document):
    """When the contained accounts are read again after the case is sealed."""

    reverify_after_minutes: tuple[Annotated[int, Field(ge=1)], ...] = (15, 60, 1440, 10080, 43200)


class Policy(Document):
    """The whole policy. Its digest is recorded with every case; approvals bind to the plan made from it."""

    name: Word = "default"
    version: Word = "1"
    mode: Mode = Mode.NOTIFICATION_ONLY
    legal_hold_when_unknown: bool = True
    cutoff: CutoffPolicy = CutoffPolicy()
    protected: ProtectedPolicy = ProtectedPolicy()
    systems: dict[System, SystemPolicy] = Field(default_factory=dict)
    ad: AdPolicy = AdPolicy()
    mailbox: MailboxPolicy = MailboxPolicy()
    files: FilesPolicy = FilesPolicy()
    licences: LicencePolicy = LicencePolicy()
    approvals: ApprovalPolicy = ApprovalPolicy()
    brakes: BrakePolicy = BrakePolicy()
    seal: SealPolicy = SealPolicy()
    watch: WatchPolicy = WatchPolicy()

    @model_validator(mode="after")
    def _no_contradictions(self) -> Policy:
        if (
            self.licences.reclaim
            and self.system(System.EXCHANGE).enabled
            and not self.mailbox.convert_to_shared
        ):
            raise ValueError(
                "licences.reclaim needs mailbox.convert_to_shared: without a licence an unconverted mailbox"
                " is deleted after 30 days"
            )
        return self

    def system(self, system: System) -> SystemPolicy:
        """The policy of one system; a system that is not named takes part with the defaults."""
        return self.systems.get(system, SystemPolicy())

    @property
    def digest(self) -> str:
        """The policy's version by content: ``sha256:…``."""
        return digest(self)
