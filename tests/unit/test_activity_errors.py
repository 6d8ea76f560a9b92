"""Connector errors as Temporal sees them: closed types, capped waits, capped texts."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.errors import (
    MAX_RETRY_AFTER,
    NotYetEffectiveError,
    application_error,
    error_type,
    later,
    open_reason,
    refused,
)
from leaver.connectors import errors
from leaver.connectors.errors import ConnectorError, Retryable, Throttled, Unavailable
from leaver.domain.effect import UnitResult
from leaver.domain.words import ErrorType, Reason, System

SAMPLES: dict[type[ConnectorError], tuple[ConnectorError, ErrorType, Reason | None, bool]] = {
    errors.Throttled: (Throttled("t"), ErrorType.THROTTLED, None, True),
    errors.Unavailable: (Unavailable("u"), ErrorType.UNAVAILABLE, None, True),
    errors.UnknownOutcomeError: (
        errors.UnknownOutcomeError("o"),
        ErrorType.UNKNOWN_OUTCOME,
        None,
        True,
    ),
    NotYetEffectiveError: (NotYetEffectiveError("n"), ErrorType.NOT_YET_EFFECTIVE, None, True),
    errors.ProtocolError: (errors.ProtocolError("p"), ErrorType.PROTOCOL, None, True),
    errors.AccessDenied: (
        errors.AccessDenied("a", needs="X"),
        ErrorType.ACCESS_DENIED,
        Reason.ACCESS_DENIED,
        False,
    ),
    errors.InvalidCredentials: (
        errors.InvalidCredentials("i"),
        ErrorType.INVALID_CREDENTIALS,
        Reason.INVALID_CREDENTIALS,
        False,
    ),
    errors.WriteRefused: (errors.WriteRefused("w"), ErrorType.WRITE_REFUSED, Reason.WRITE_REFUSED, False),
    errors.Rejected: (
        errors.Rejected("r", code="c"),
        ErrorType.REJECTED,
        Reason.REJECTED_BY_SYSTEM,
        False,
    ),
    errors.Ambiguous: (errors.Ambiguous("m", count=2), ErrorType.REJECTED, Reason.AMBIGUOUS_ACCOUNT, False),
}


def leaves_of(cls: type[ConnectorError]) -> set[type[ConnectorError]]:
    below = {leaf for sub in cls.__subclasses__() for leaf in leaves_of(sub)}
    return below or {cls}


def test_every_error_a_connector_may_raise_is_known_here() -> None:
    ours = {cls for cls in leaves_of(ConnectorError) if cls.__module__.startswith(("leaver.", "activities."))}
    missing = {cls for cls in ours if not any(issubclass(cls, known) for known in SAMPLES)}
    assert missing == set()


@pytest.mark.parametrize(
    ("error", "kind", "reason", "again"), SAMPLES.values(), ids=[c.__name__ for c in SAMPLES]
)
def test_type_reason_and_whether_to_try_again(
    error: ConnectorError, kind: ErrorType, reason: Reason | None, again: bool
) -> None:
    made = application_error(error)
    assert (error_type(error), open_reason(error)) == (kind, reason)
    assert made.type == kind.value
    assert made.type in set(ErrorType)
    assert made.non_retryable is not again
    assert made.message == str(error)
    # What a person must cure never stops Temporal's retries by accident, and the other way round.
    assert again is (reason is None)


def test_an_error_without_a_row_of_its_own_is_a_protocol_error() -> None:
    class StrangeError(ConnectorError):
        pass

    assert error_type(StrangeError("?")) is ErrorType.PROTOCOL


@given(st.floats(min_value=0.001, max_value=1e9, allow_nan=False), st.sampled_from([Throttled, Unavailable]))
def test_the_vendors_wait_is_kept_up_to_a_cap(seconds: float, cls: type[Retryable]) -> None:
    delay = application_error(cls("slow down", retry_after=seconds)).next_retry_delay
    assert delay is not None
    assert timedelta() <= delay <= MAX_RETRY_AFTER
    if seconds <= MAX_RETRY_AFTER.total_seconds():
        assert abs(delay.total_seconds() - seconds) < 1e-3


@pytest.mark.parametrize("nothing", [None, 0])
def test_without_a_wait_temporals_own_back_off_decides(nothing: float | None) -> None:
    assert application_error(Throttled("slow down", retry_after=nothing)).next_retry_delay is None


@pytest.mark.parametrize(
    "make",
    [
        lambda text: application_error(Unavailable(text)),
        lambda text: refused(ErrorType.REJECTED, text),
        lambda text: later(ErrorType.NOT_CLOSED_YET, text),
    ],
)
def test_texts_are_capped(make: object) -> None:
    """Temporal cuts failures at 4 KiB and refuses payloads over 2 MiB."""
    assert len(make("x" * 3_000_000).message) == 1000  # type: ignore[operator]


def test_a_final_no_and_a_later() -> None:
    assert refused(ErrorType.REJECTED, "no").non_retryable
    waiting = later(ErrorType.NOT_CLOSED_YET, "not yet", after=timedelta(seconds=3))
    assert not waiting.non_retryable
    assert waiting.next_retry_delay == timedelta(seconds=3)


def test_what_a_unit_did_before_goes_along() -> None:
    so_far = UnitResult(system=System.ENTRA, effects=(), attempts=())
    assert application_error(Throttled("t"), so_far).details == (so_far,)
    assert application_error(Throttled("t")).details == ()
