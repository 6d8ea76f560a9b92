"""Removes personal data and secrets from whatever is about to be logged.

The last line of defence: code does not log names, addresses or secrets in the first place, but exception
texts of vendors' SDKs quote requests, and Temporal's SDK logs the traceback of a failing activity with its
message. Object ids (GUIDs), workflow ids and error codes stay, or nothing could be traced.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, TypeAlias

Scalar: TypeAlias = str | int | float | bool | None
Clean: TypeAlias = "Scalar | list[Clean] | dict[str, Clean]"

HIDDEN: Final = "[redacted]"
MAIL: Final = "[mail]"

_HIDE_AFTER: Final = (
    r"pass(?:word|wd|phrase)|pwd|secret|api[_-]?key|private[_-]?key|credential|authorization|cookie|"
    r"(?:access|refresh|id|bearer|auth)[_-]?token|client[_-]?secret"
)
_HIDE_MEMBER: Final = re.compile(rf"(?:{_HIDE_AFTER}|^token)$", re.IGNORECASE)

_RULES: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (
        re.compile(
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
        ),
        HIDDEN,
    ),
    # JSON Web Tokens (RFC 7519): three base64url parts, the first of which is a JSON object.
    (re.compile(r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?"), HIDDEN),
    # Authorization header values (RFC 9110, section 11): scheme and credentials.
    (re.compile(r"\b(Bearer|Basic|Negotiate)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE), rf"\1 {HIDDEN}"),
    # User information in a URL (RFC 3986, section 3.2.1).
    (re.compile(r"(?<=://)[^/\s@\"']+@"), f"{HIDDEN}@"),
    # Signed URLs: Azure's sig, AWS's X-Amz-Signature and -Security-Token, OAuth parameters.
    (
        re.compile(
            r"([?&](?:sig|code|X-Amz-Signature|X-Amz-Security-Token|access_token|client_secret)=)[^&\s\"']+",
            re.IGNORECASE,
        ),
        rf"\1{HIDDEN}",
    ),
    # password=..., "client_secret": "...", Password: ...
    (
        re.compile(
            rf"((?:{_HIDE_AFTER})[\"']?\s*[=:]\s*)"
            rf"(?!\s*[\"']?(?:(?:Bearer|Basic|Negotiate)\s+)?\[redacted\])(\"[^\"]*\"|'[^']*'|(?:(?:Bearer|Basic)\s+)?[^\s\"',;&)}}\]]+)",
            re.IGNORECASE,
        ),
        rf"\1{HIDDEN}",
    ),
)

# Mail addresses and user principal names, also percent-encoded in a URL. A single label after the @ is left:
# Temporal's worker identities look like that. The part before the @ is found by walking back from it, because
# a pattern for it takes quadratic time on long tokens.
_MAIL_DOMAIN: Final = re.compile(r"(?:@|%40)(?:[\w-]+\.)+[^\W\d_][\w-]*", re.IGNORECASE)
_MAIL_STOPS: Final = frozenset(" \t\r\n<>\"'(),:;@[]{}/\\|=&?")


def redact_text(text: str) -> str:
    """The text with mail addresses, tokens, passwords and private keys replaced by marks."""
    for pattern, mark in _RULES:
        text = pattern.sub(mark, text)
    return _hide_mail(text)


def _hide_mail(text: str) -> str:
    kept, at = [], 0
    for found in _MAIL_DOMAIN.finditer(text):
        begin = found.start()
        while begin > at and not _stops(text, begin - 1):
            begin -= 1
        if begin < found.start():
            kept += [text[at:begin], MAIL]
            at = found.end()
    return "".join([*kept, text[at:]])


def _stops(text: str, at: int) -> bool:
    # An apostrophe inside a word belongs to the name (o'brien); elsewhere it is a quotation mark.
    inside_word = text[at] == "'" and at > 0 and text[at - 1].isalnum()
    return text[at] in _MAIL_STOPS and not inside_word


def redact(value: object) -> Clean:
    """A value as plain JSON data, redacted at every depth.

    Objects that JSON has no form for become
    their redacted ``repr``: a model that is logged by mistake must not slip past.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        return {redact_text(str(name)): redact_member(str(name), item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item) for item in value]
    return redact_text(repr(value))


def redact_member(name: str, value: object) -> Clean:
    """The value of a named member: hidden whole where the name says that it is a secret."""
    return HIDDEN if value is not None and _HIDE_MEMBER.search(name) else redact(value)
