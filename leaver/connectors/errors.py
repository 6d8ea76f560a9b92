"""What a connector may raise, and nothing else.

::

    ConnectorError
    ├── Retryable
    │   ├── Throttled            429 or a busy answer; ``retry_after`` seconds when the vendor says
    │   ├── Unavailable          no connection, 5xx, timeout before the request was sent
    │   └── UnknownOutcomeError  the request was sent and no answer came: the write may have happened
    ├── AccessDenied             a permission or role is missing; ``needs`` names it
    ├── InvalidCredentials       our own credential was refused
    ├── WriteRefused             our write guard refused the request before it left the process
    ├── Rejected                 the system refused this request for good; ``code`` is the vendor's
    ├── Ambiguous                more than one object answers to the person
    └── ProtocolError            the answer is not what the vendor's contract says

Texts never hold names, addresses or secrets: they reach logs and Temporal.
"""

from __future__ import annotations


class ConnectorError(Exception):
    """Root of the tree."""


class Retryable(ConnectorError):  # noqa: N818 - a family, not an error by itself
    """Worth trying again; ``retry_after`` is in seconds, None where the vendor gave none."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Throttled(Retryable):
    """The vendor asked us to slow down."""


class Unavailable(Retryable):
    """The system did not answer, or answered that it cannot now."""


class UnknownOutcomeError(Retryable):
    """A mutating request left and its answer was lost. Read before writing again."""


class AccessDenied(ConnectorError):  # noqa: N818
    """The vendor refused for lack of a right. ``needs`` says which grant would cure it."""

    def __init__(self, message: str, *, needs: str) -> None:
        super().__init__(message)
        self.needs = needs


class InvalidCredentials(ConnectorError):  # noqa: N818
    """The vendor refused our credential itself."""


class WriteRefused(ConnectorError):  # noqa: N818
    """The write guard stopped a mutating request; it was never sent."""


class Rejected(ConnectorError):  # noqa: N818
    """The vendor refused the request for good. ``code`` is its error code, for branching."""

    def __init__(self, message: str, *, code: str, status: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class Ambiguous(ConnectorError):  # noqa: N818
    """Several objects match the person; ``count`` of them."""

    def __init__(self, message: str, *, count: int) -> None:
        super().__init__(message)
        self.count = count


class ProtocolError(ConnectorError):
    """The answer does not fit the vendor's contract."""
