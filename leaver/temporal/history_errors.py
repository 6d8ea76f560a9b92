"""Why a history could not be read. Whoever reads histories raises these and nothing else.

::

    HistoryError
    ├── NotClosedError           the run goes on
    ├── HistoryMissingError      the server does not know the run
    ├── HistoryGapError          the answer is not the events 1 to N of that run
    ├── HistoryUnavailableError  the server does not answer now: try again
    ├── HistoryForbiddenError    the server refuses our identity
    └── NoListError              the server keeps no list of workflows (test servers)

Texts hold ids and states, never what a history says.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from temporalio.service import RPCError, RPCStatusCode

_FORBIDDEN = frozenset({RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED})


class HistoryError(Exception):
    """The history could not be exported as a whole; nothing was returned."""


class NotClosedError(HistoryError):
    """The workflow still runs: its history is not final, so nothing was exported."""


class HistoryMissingError(HistoryError):
    """The server does not know the run: never started, or deleted after the namespace's retention."""


class HistoryGapError(HistoryError):
    """The server's answer is not the events 1 to N of the run that was asked for."""


class HistoryUnavailableError(HistoryError):
    """The server gives no answer now; the same question may succeed later."""


class HistoryForbiddenError(HistoryError):
    """The server refuses the question to our identity."""


class NoListError(HistoryError):
    """The server has no list of workflows."""


@contextmanager
def translated(question: str, missing: str = "") -> Iterator[None]:
    """Turn the SDK's errors into ours.

    Args:
        question: what was asked, for the text.
        missing: what is said when the server does not know the thing.

    Raises:
        HistoryError: by the error's status, see the tree above.
    """
    try:
        yield
    except RPCError as err:
        if err.status is RPCStatusCode.NOT_FOUND:
            raise HistoryMissingError(missing or f"{question}: Temporal does not know it") from err
        if err.status in _FORBIDDEN:
            raise HistoryForbiddenError(
                f"{question}: Temporal refuses our identity ({err.status.name.lower()}); "
                "it needs read access to the namespace"
            ) from err
        if err.status is RPCStatusCode.UNIMPLEMENTED:
            raise NoListError(f"{question}: this server cannot answer that") from err
        raise HistoryUnavailableError(
            f"{question}: Temporal gave no usable answer ({err.status.name.lower()})"
        ) from err
    except RuntimeError as err:
        # How the SDK reports a connection that fails when a lazy client first uses it.
        raise HistoryUnavailableError(f"{question}: Temporal cannot be reached") from err
