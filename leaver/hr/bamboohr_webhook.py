"""BambooHR's signed webhooks: who sent it, is it fresh, which employees to fetch.

A webhook is a hint and the table is the truth: BambooHR fires for a history-tracked field only when the
change takes effect, delivers more than once and in any order, and the field form posts whatever aliases its
creator chose. So no field value of a webhook is ever used, only the ids in it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol

from pydantic import JsonValue, SecretStr

from leaver.hr.jsondoc import as_text, parse_json
from leaver.hr.model import IngestError

SIGNATURE_HEADER: Final = "X-BambooHR-Signature"
TIMESTAMP_HEADER: Final = "X-BambooHR-Timestamp"
WINDOW: Final = timedelta(minutes=5)

_HEX: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SECONDS: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_END: Final = int(datetime(9999, 1, 1, tzinfo=UTC).timestamp())
_EMPLOYEE: Final = re.compile(r"[0-9A-Za-z_-]{1,64}", re.ASCII)


class Refusal(StrEnum):
    """Why a webhook was not believed."""

    MISSING_HEADER = "missing_header"
    BAD_SIGNATURE = "bad_signature"
    BAD_TIMESTAMP = "bad_timestamp"
    STALE = "stale"
    REPLAYED = "replayed"


class WebhookRefusedError(IngestError):
    """The delivery is not what it claims to be; answer 401 and read nothing."""

    def __init__(self, refusal: Refusal, message: str) -> None:
        super().__init__(message)
        self.refusal = refusal


class SeenDeliveries(Protocol):
    """Remembers accepted deliveries by the hash of their body: BambooHR sends no delivery id."""

    def seen(self, digest: str) -> bool:
        """Whether this body was accepted before."""
        ...

    def remember(self, digest: str, at: datetime) -> None:
        """Keep it for at least two windows after ``at``; later the timestamp refuses it anyway."""
        ...


class SeenInMemory:
    """For one process."""

    def __init__(self) -> None:
        self._at: dict[str, datetime] = {}

    def seen(self, digest: str) -> bool:
        """Whether this body was accepted before."""
        return digest in self._at

    def remember(self, digest: str, at: datetime) -> None:
        """Keep it, and drop what has become too old to be replayed."""
        self._at = {old: when for old, when in self._at.items() if when > at - 4 * WINDOW}
        self._at[digest] = at


@dataclass(frozen=True, slots=True)
class FetchHint:
    """Employees to read again. ``deleted`` records need a person: deletion is not a termination."""

    employee_ids: tuple[str, ...]
    deleted: tuple[str, ...] = ()


def sign(raw_body: bytes, timestamp: str, key: SecretStr) -> str:
    """The signature BambooHR sends: lower-case hex of HMAC-SHA256 over body followed by timestamp."""
    message = raw_body + timestamp.encode()
    return hmac.new(key.get_secret_value().encode(), message, hashlib.sha256).hexdigest()


def verify(  # noqa: PLR0913 - everything that is checked, by name
    headers: Mapping[str, str],
    raw_body: bytes,
    *,
    key: SecretStr,
    now: datetime,
    seen: SeenDeliveries,
    window: timedelta = WINDOW,
) -> None:
    """Believe the delivery or raise. Remembers nothing: call ``seen.remember`` once it has been acted on.

    The signature comes first and is compared in constant time, so that a stranger learns nothing from the
    other refusals. BambooHR retries a delivery that was not answered, hence the caller's ``remember``.

    Args:
        headers: of the request, by any case.
        raw_body: the bytes as received, before any parsing.
        key: the ``privateKey`` that BambooHR answered once when the webhook was made.
        now: the time of receipt (aware).
        seen: what was accepted before.
        window: how far the timestamp may be from ``now``, both ways.

    Raises:
        WebhookRefusedError: with the kind of refusal.
    """
    given = {name.casefold(): value.strip() for name, value in headers.items()}
    signature, timestamp = given.get(SIGNATURE_HEADER.casefold()), given.get(TIMESTAMP_HEADER.casefold())
    if not signature or not timestamp:
        raise WebhookRefusedError(
            Refusal.MISSING_HEADER, f"the webhook needs the headers {SIGNATURE_HEADER} and {TIMESTAMP_HEADER}"
        )
    if not _HEX.fullmatch(signature) or not hmac.compare_digest(signature, sign(raw_body, timestamp, key)):
        raise WebhookRefusedError(
            Refusal.BAD_SIGNATURE,
            "the webhook's signature does not fit its body; check that the key is this webhook's private key",
        )
    if not _SECONDS.fullmatch(timestamp):
        raise WebhookRefusedError(Refusal.BAD_TIMESTAMP, f"{TIMESTAMP_HEADER} is not in Unix seconds")
    sent = datetime.fromtimestamp(int(timestamp), UTC) if int(timestamp) < _END else None
    if sent is None or abs(now - sent) > window:
        minutes = int(window.total_seconds() // 60)
        raise WebhookRefusedError(
            Refusal.STALE,
            f"the webhook's timestamp is more than {minutes} minutes from now; check this machine's clock, or"
            " fetch the table instead",
        )
    if seen.seen(body_digest(raw_body)):
        raise WebhookRefusedError(
            Refusal.REPLAYED, "this delivery was accepted before; nothing was read again"
        )


def body_digest(raw_body: bytes) -> str:
    """What identifies a delivery."""
    return hashlib.sha256(raw_body).hexdigest()


def read_headers(data: bytes) -> dict[str, str]:
    """Headers that were kept in a file: a JSON object, or ``Name: value`` lines as HTTP has them.

    Raises:
        IngestError: neither of them, or a header that occurs twice.
    """
    try:
        text = data.decode("utf-8-sig").strip()
    except UnicodeDecodeError as err:
        raise IngestError("the headers file is not UTF-8") from err
    if text.startswith("{"):
        document = parse_json(text, "the headers file")
        pairs = (
            [(name, as_text(value)) for name, value in document.items()] if isinstance(document, dict) else []
        )
    else:
        lines = [line.partition(":") for line in text.splitlines() if line.strip()]
        if any(not colon for _, colon, _ in lines):
            raise IngestError("the headers file must hold a JSON object or one 'Name: value' a line")
        pairs = [(name, value) for name, _, value in lines]
    headers = {name.strip().casefold(): value.strip() for name, value in pairs}
    if len(headers) != len(pairs):
        raise IngestError("the headers file names a header twice")
    return headers


def parse_hint(raw_body: bytes) -> FetchHint:
    """Which employees a verified body speaks of: the event form, or the older field form.

    Raises:
        IngestError: neither of them.
    """
    try:
        text = raw_body.decode("utf-8")
    except UnicodeDecodeError as err:
        raise IngestError("the webhook's body is not UTF-8") from err
    if not text.lstrip().startswith("{"):
        raise IngestError("the webhook's body is not a JSON object; set the webhook's format to JSON")
    document = parse_json(text, "the webhook's body")
    if not isinstance(document, dict):
        raise IngestError("the webhook's body is not a JSON object; set the webhook's format to JSON")
    return _field_form(document["employees"]) if "employees" in document else _event_form(document)


def _event_form(document: dict[str, JsonValue]) -> FetchHint:
    """``{type, timestamp, data: {companyId, employeeId, changedFields}}``."""
    kind, data = document.get("type"), document.get("data")
    employee = _employee(data.get("employeeId") if isinstance(data, dict) else None)
    if kind in ("employee.created", "employee.updated"):
        return FetchHint((employee,))
    if kind == "employee.deleted":
        return FetchHint((), (employee,))
    raise IngestError("the webhook's type must be employee.created, .updated or .deleted; subscribe to those")


def _field_form(employees: JsonValue) -> FetchHint:
    """``{employees: [{id, action, timestamp, changedFields, fields}]}``."""
    if not isinstance(employees, list):
        raise IngestError("the webhook's 'employees' is not an array")
    changed: dict[str, None] = {}
    deleted: dict[str, None] = {}
    for entry in employees:
        employee = _employee(entry.get("id") if isinstance(entry, dict) else None)
        action = entry.get("action") if isinstance(entry, dict) else None
        (deleted if str(action).casefold() == "deleted" else changed)[employee] = None
    return FetchHint(tuple(each for each in changed if each not in deleted), tuple(deleted))


def _employee(value: JsonValue) -> str:
    text = as_text(value)
    if not _EMPLOYEE.fullmatch(text):
        raise IngestError("the webhook names no employee id where its form has one")
    return text
