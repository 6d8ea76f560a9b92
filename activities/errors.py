"""The only maker of ``ApplicationError``: our connector errors become closed Temporal error types.

The type is plain text in Temporal's history, the message is encrypted with the failure converter; neither
holds personal data.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from temporalio.exceptions import ApplicationError

from leaver.connectors.errors import (
    AccessDenied,
    Ambiguous,
    ConnectorError,
    InvalidCredentials,
    ProtocolError,
    Rejected,
    Retryable,
    Throttled,
    Unavailable,
    UnknownOutcomeError,
    WriteRefused,
)
from leaver.domain.effect import UnitResult
from leaver.domain.words import ErrorType, Reason

MAX_RETRY_AFTER: Final = timedelta(minutes=15)
"""A vendor that asks for longer is asked again after this: a leaver's access must not wait for a typo."""

_TYPES: Final[tuple[tuple[type[ConnectorError], ErrorType], ...]] = (
    (Throttled, ErrorType.THROTTLED),
    (UnknownOutcomeError, ErrorType.UNKNOWN_OUTCOME),
    (Unavailable, ErrorType.UNAVAILABLE),
    (InvalidCredentials, ErrorType.INVALID_CREDENTIALS),
    (AccessDenied, ErrorType.ACCESS_DENIED),
    (WriteRefused, ErrorType.WRITE_REFUSED),
    (ProtocolError, ErrorType.PROTOCOL),
    (Rejected, ErrorType.REJECTED),
    (Ambiguous, ErrorType.REJECTED),
)

_REASONS: Final[tuple[tuple[type[ConnectorError], Reason], ...]] = (
    (AccessDenied, Reason.ACCESS_DENIED),
    (InvalidCredentials, Reason.INVALID_CREDENTIALS),
    (WriteRefused, Reason.WRITE_REFUSED),
    (Ambiguous, Reason.AMBIGUOUS_ACCOUNT),
    (Rejected, Reason.REJECTED_BY_SYSTEM),
)

_MAX_TEXT: Final = 1000


class NotYetEffectiveError(Retryable):
    """The write was accepted and the read-back does not show it yet."""


def error_type(err: ConnectorError) -> ErrorType:
    """The closed type of a connector's error."""
    if isinstance(err, NotYetEffectiveError):
        return ErrorType.NOT_YET_EFFECTIVE
    return next((kind for cls, kind in _TYPES if isinstance(err, cls)), ErrorType.PROTOCOL)


def open_reason(err: ConnectorError) -> Reason | None:
    """Why the step needs a person, or None where trying again may help."""
    return next((reason for cls, reason in _REASONS if isinstance(err, cls)), None)


def application_error(err: ConnectorError, so_far: UnitResult | None = None) -> ApplicationError:
    """The error as Temporal sees it; ``Retry-After`` becomes the delay before the next attempt.

    ``so_far`` is what a unit of work did before: should this attempt be the last, its effects and attempts
    still reach the case. Temporal itself keeps the last failure only.
    """
    kind = error_type(err)
    retry_after = err.retry_after if isinstance(err, Retryable) else None
    delay = min(timedelta(seconds=retry_after), MAX_RETRY_AFTER) if retry_after else None
    return ApplicationError(
        str(err)[:_MAX_TEXT],
        *([so_far] if so_far else []),
        type=kind.value,
        non_retryable=not _worth_retrying(err),
        next_retry_delay=delay,
    )


def refused(kind: ErrorType, message: str) -> ApplicationError:
    """A final no, e.g. for a seal that is asked for twice over different content."""
    return ApplicationError(message[:_MAX_TEXT], type=kind.value, non_retryable=True)


def later(kind: ErrorType, message: str, *, after: timedelta | None = None) -> ApplicationError:
    """Not now: Temporal tries again, after ``after`` where given."""
    return ApplicationError(message[:_MAX_TEXT], type=kind.value, next_retry_delay=after)


def _worth_retrying(err: ConnectorError) -> bool:
    # A protocol error may be a passing gateway page. A missing right, a refused credential or a refused
    # request is for a person; the workflow tries containment again by itself after a pause.
    return isinstance(err, Retryable | ProtocolError)
