"""What a failed activity tells: why it failed, and what it had done before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydantic import ValidationError
from temporalio import exceptions
from temporalio.exceptions import ActivityError, ApplicationError

from leaver.domain.effect import UnitResult
from leaver.domain.words import ErrorType, Reason, System

_REASONS: Final = {
    ErrorType.ACCESS_DENIED: Reason.ACCESS_DENIED,
    ErrorType.INVALID_CREDENTIALS: Reason.INVALID_CREDENTIALS,
    ErrorType.MISCONFIGURED: Reason.MISCONFIGURED,
    ErrorType.WRITE_REFUSED: Reason.WRITE_REFUSED,
    ErrorType.REJECTED: Reason.REJECTED_BY_SYSTEM,
}


def so_far(err: ActivityError, system: System) -> UnitResult:
    """What a unit did before it ended in an error: told with our own error, or in the last heartbeat."""
    cause: BaseException | None = err
    while cause is not None:
        told: Sequence[object] = ()
        if isinstance(cause, ApplicationError):
            told = cause.details
        elif isinstance(cause, exceptions.TimeoutError):
            told = cause.last_heartbeat_details
        if told and isinstance(told[0], dict):
            try:
                return UnitResult.model_validate({"system": system, **told[0]})
            except ValidationError:
                break  # somebody else's details
        cause = cause.__cause__
    return UnitResult(system=system, effects=(), attempts=())


def why(err: ActivityError) -> tuple[Reason, str]:
    """Reason and text of a failed activity: the first of our own errors in the chain."""
    cause: BaseException | None = err
    while cause is not None:
        if isinstance(cause, ApplicationError):
            known = _REASONS.get(ErrorType(cause.type)) if cause.type in set(ErrorType) else None
            return known or Reason.RETRIES_EXHAUSTED, cause.message
        cause = cause.__cause__
    return Reason.RETRIES_EXHAUSTED, "it did not end in time"
