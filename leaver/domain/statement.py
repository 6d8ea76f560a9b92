"""Statements: what a person tells a case, signed with that person's key.

A decision of a manager and a verb of an operator are the same thing: who says what about which case, when,
over which plan. The signature is Ed25519 over the canonical JSON of ``StatementBody``.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from leaver.domain.base import Document, Instant, Message
from leaver.domain.words import Verb

Word = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=320)]


class StatementBody(Document):
    """What is signed. ``by`` is the HR worker id of the person; ``nonce`` makes each statement unique.

    ``plan_digest`` is needed for approve and reject, ``step`` for retry.
    """

    case: Annotated[str, StringConstraints(pattern=r"^c-[a-z2-7]{26}$")]
    verb: Verb
    by: Word
    at: Instant
    nonce: Word
    plan_digest: str | None = None
    step: str | None = None
    reason: Annotated[str, StringConstraints(max_length=2000)] = ""


class Statement(Document):
    """A body with its signature (base64 of 64 bytes) and the id of the key that made it."""

    body: StatementBody
    key_id: Word
    signature: Word


class VerifyStatementInput(Message):
    """Ask the evidence worker whether a statement is what it says it is."""

    case: str
    statement: Statement


class Verdict(Message):
    """The answer: ``refusal`` is empty when the signature is that person's and the role allows the verb."""

    valid: bool
    refusal: str = ""
    roles: tuple[str, ...] = ()
    by_ref: str = ""
    """The person's pseudonym, for evidence."""
    sha256: str = ""
    """Hash of the canonical body, for evidence."""
