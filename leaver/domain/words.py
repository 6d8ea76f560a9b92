"""The closed sets of words: systems, phases, outcomes, reasons, error types."""

from __future__ import annotations

from enum import StrEnum


class System(StrEnum):
    """A system that holds accounts of people. Also the name of its Temporal task queue's tail."""

    ENTRA = "entra"
    EXCHANGE = "exchange"
    ONEDRIVE = "onedrive"
    AD = "ad"

    @property
    def label(self) -> str:
        """What people call it, on pages and in reports."""
        return _SYSTEM_LABELS[self]


_SYSTEM_LABELS = {
    System.ENTRA: "Entra ID",
    System.EXCHANGE: "Exchange Online",
    System.ONEDRIVE: "OneDrive",
    System.AD: "Active Directory",
}


class Phase(StrEnum):
    """Where a case stands; the order is the order of the phases' life."""

    SCHEDULED = "scheduled"
    INTAKE = "intake"
    CONTAIN = "contain"
    CREDENTIALS = "credentials"
    PRESERVE = "preserve"
    ENTITLEMENTS = "entitlements"
    LICENCES = "licences"
    SEAL = "seal"
    WATCH = "watch"
    CLOSED = "closed"


class Outcome(StrEnum):
    """How a step ended. ``PENDING`` is the only one that is not an answer."""

    PENDING = "pending"
    VERIFIED = "verified"
    ALREADY = "already"
    ABSENT = "absent"
    ACKNOWLEDGED = "acknowledged"
    ATTESTED = "attested"
    WAIVED = "waived"
    PLANNED = "planned"
    OPEN = "open"
    FAILED = "failed"

    @property
    def effective(self) -> bool:
        """Whether later steps may build on it: the access is gone or a person answered for it."""
        return self in _EFFECTIVE

    @property
    def proven(self) -> bool:
        """Whether it was read back from the system that holds it; all else is a control exception."""
        return self in (Outcome.VERIFIED, Outcome.ALREADY, Outcome.ABSENT)

    @property
    def needs_person(self) -> bool:
        """Whether the case waits for somebody to act."""
        return self in (Outcome.OPEN, Outcome.FAILED)


_EFFECTIVE = frozenset(
    {
        Outcome.VERIFIED,
        Outcome.ALREADY,
        Outcome.ABSENT,
        Outcome.ACKNOWLEDGED,
        Outcome.ATTESTED,
        Outcome.WAIVED,
        Outcome.PLANNED,
    }
)


class CaseOutcome(StrEnum):
    """How a case stands or ended."""

    RUNNING = "running"
    HELD = "held"
    COMPLETED = "completed"
    COMPLETED_WITH_EXCEPTIONS = "completed_with_exceptions"
    PLANNED = "planned"
    RESCINDED = "rescinded"
    RESCINDED_AFTER_CUTOFF = "rescinded_after_cutoff"


class Mode(StrEnum):
    """Whether writes are allowed. A new installation only notifies (DESIGN rule 3)."""

    NOTIFICATION_ONLY = "notification_only"
    ENFORCE = "enforce"


class Reason(StrEnum):
    """Why a step is not done. Machine-readable; the text for people is made from it."""

    ACCESS_DENIED = "access_denied"
    AMBIGUOUS_ACCOUNT = "ambiguous_account"
    WRONG_PERSON = "wrong_person"
    NO_ACCOUNT_ANYWHERE = "no_account_anywhere"
    BLOCKED_BY_STEP = "blocked_by_step"
    GATE_CLOSED = "gate_closed"
    HANDOVER_REFUSED = "handover_refused"
    NO_SUCCESSOR = "no_successor"
    LEFT_BEHIND = "left_behind"
    NOT_SUPPORTED = "not_supported"
    MASTERED_ELSEWHERE = "mastered_elsewhere"
    RETRIES_EXHAUSTED = "retries_exhausted"
    MISCONFIGURED = "misconfigured"
    INVALID_CREDENTIALS = "invalid_credentials"
    WRITE_REFUSED = "write_refused"
    NOT_IN_POLICY = "not_in_policy"
    REJECTED_BY_SYSTEM = "rejected_by_system"


class ErrorType(StrEnum):
    """The ``type`` of every ``ApplicationError`` we raise. Clear text in history: never personal data."""

    THROTTLED = "throttled"
    UNAVAILABLE = "unavailable"
    UNKNOWN_OUTCOME = "unknown_outcome"
    NOT_YET_EFFECTIVE = "not_yet_effective"
    INVALID_CREDENTIALS = "invalid_credentials"
    MISCONFIGURED = "misconfigured"
    ACCESS_DENIED = "access_denied"
    WRITE_REFUSED = "write_refused"
    REJECTED = "rejected"
    PROTOCOL = "protocol"
    DECISION_REFUSED = "decision_refused"
    NOT_POSSIBLE_NOW = "not_possible_now"
    NOT_CLOSED_YET = "not_closed_yet"


class Verb(StrEnum):
    """What a person may tell a case."""

    APPROVE = "approve"
    REJECT = "reject"
    RETRY = "retry"
    HOLD = "hold"
    RELEASE = "release"
    RESCIND = "rescind"
    # To the sealer, not to a running case.
    EXCLUDE = "exclude"
    ERASE = "erase"


class RecordType(StrEnum):
    """Kinds of evidence records (reference: evidence study, section 3)."""

    CASE_OPENED = "case.opened"
    HR_EVENT = "hr.event"
    PLAN = "plan"
    ATTEMPT = "action.attempted"
    RESULT = "action.result"
    READBACK = "readback"
    APPROVAL = "approval"
    CHANGE = "case.changed"
    EXCEPTION_RAISED = "exception.raised"
    CASE_CLOSED = "case.closed"
    # The sealer's own, about a case.
    CASE_EXPECTED = "case.expected"
    CASE_EXCLUDED = "case.excluded"
    POPULATION_ROW = "hr.population.row"
    HISTORY_PREFIX = "history.prefix"
    HISTORY_FINAL = "history.final"
    EXCEPTION_CLOSED = "exception.closed"
    BUNDLE_SEALING = "bundle.sealing"
    # The sealer's own, about the log and the installation.
    POPULATION = "hr.population.snapshot"
    HR_DELIVERY = "hr.delivery"
    RECONCILIATION = "recon.run"
    RECONCILIATION_FINDING = "recon.finding"
    POLICY_VERSION = "policy.version"
    CONFIG_CHANGE = "config.change"
    KEY_ROTATED = "key.rotated"
    ERASURE = "erasure"
    REPORT_ISSUED = "report.issued"
