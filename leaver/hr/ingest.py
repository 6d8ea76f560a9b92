"""The one door for HR input: bytes in, leaver events out, and every row that gave none named.

Pure: no clock, no network, no files. A delivery that cannot be read at all raises and gives nothing; a bad
row is named and the others go on.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from pydantic import SecretStr

from leaver.domain.cutoff import CutoffError, zone
from leaver.hr.bamboohr import read_bamboohr
from leaver.hr.bamboohr_webhook import WINDOW, SeenDeliveries, body_digest, parse_hint, verify
from leaver.hr.csv_source import read_csv
from leaver.hr.event_source import read_events
from leaver.hr.jsondoc import parse_json
from leaver.hr.model import MAX_BYTES, IngestContext, IngestError, IngestResult, SourceKind

TENANT: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


def read(data: bytes, source: SourceKind, context: IngestContext) -> IngestResult:
    """Read one delivery.

    Args:
        data: the bytes as received.
        source: what kind of document it is. A webhook body needs more than its bytes: ``read_webhook``.
        context: tenant, file name, time of receipt, policy moment, zones, mappings.

    Raises:
        IngestError: the delivery cannot be read at all; the text says what to do.
    """
    _check(context)
    return replace(_read(data, source, context), raw_sha256=hashlib.sha256(data).hexdigest())


def _read(data: bytes, source: SourceKind, context: IngestContext) -> IngestResult:
    text = _text(data, context.file)
    match source:
        case SourceKind.CSV:
            return read_csv(text, context)
        case SourceKind.BAMBOOHR:
            return read_bamboohr(parse_json(text, context.file), context)
        case SourceKind.EVENT:
            return read_events(text, context)
        case SourceKind.BAMBOOHR_WEBHOOK:
            raise IngestError(
                f"{context.file}: a webhook body is only a hint; deliver it with its headers and with the"
                " table answer and employee records fetched for it"
            )


def read_webhook(  # noqa: PLR0913 - two documents and what authenticates the first
    body: bytes,
    headers: Mapping[str, str],
    companion: bytes,
    context: IngestContext,
    *,
    key: SecretStr,
    seen: SeenDeliveries,
    now: datetime | None = None,
    window: timedelta = WINDOW,
) -> IngestResult:
    """Read what a signed BambooHR webhook hints at, from the table answer fetched for it.

    Only the employees that the webhook names are read from ``companion`` (the shapes of ``bamboohr``);
    ``context.file`` names the companion. The delivery is remembered in ``seen`` once it was read.

    Raises:
        WebhookRefusedError: signature, timestamp or replay; nothing was read.
        IngestError: body or companion cannot be read.
    """
    _check(context)
    received = now or context.observed_at
    verify(headers, body, key=key, now=received, seen=seen, window=window)
    hint = parse_hint(body)
    document = parse_json(_text(companion, context.file), context.file)
    result = read_bamboohr(document, context, hint=hint)
    seen.remember(body_digest(body), received)
    return replace(result, raw_sha256=hashlib.sha256(companion).hexdigest())


def _text(data: bytes, file: str) -> str:
    if len(data) > MAX_BYTES:
        raise IngestError(f"{file}: is larger than {MAX_BYTES // 2**20} MiB; deliver it in parts")
    if not data.strip():
        raise IngestError(f"{file}: is empty; deliver it again")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        raise IngestError(
            f"{file}: is not UTF-8 (byte {err.start}); save it as UTF-8, in a spreadsheet as 'CSV UTF-8'"
        ) from err


def _check(context: IngestContext) -> None:
    """The configuration, before any row is blamed for it."""
    if not TENANT.fullmatch(context.tenant):
        raise IngestError("configuration, hr tenant: only letters, digits, dot, underscore and hyphen")
    places = {"default_timezone": context.default_timezone, **context.location_timezones}
    for place, name in places.items():
        try:
            zone(name)
        except CutoffError as err:
            raise IngestError(f"configuration, time zone of {place!r}: {err.reason}") from err
