"""The registry of people who may speak to cases: whose public key is whose, and in which role.

A TOML or JSON file::

    [[people]]
    subject = "4711"                     # the HR worker id, as in the statements' "by"
    key_id = "k-0123456789abcdef0123456789abcdef"
    public_key = "base64 of 32 bytes"    # Ed25519
    roles = ["approver"]                 # approver, operator, security

It is read anew for every question, so that a removed key stops counting at once.
"""

from __future__ import annotations

import base64
import binascii
import json
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, ValidationError, field_validator, model_validator

from leaver.domain.base import Document
from leaver.domain.statement import Word
from leaver.domain.words import Verb
from leaver.evidence.errors import PeopleFileError
from leaver.evidence.statements import key_id

_KEY_BYTES: Final = 32


class Role(StrEnum):
    """What somebody may do. Nobody approves by being an operator: that is another role."""

    APPROVER = "approver"
    OPERATOR = "operator"
    SECURITY = "security"


VERBS: Final[Mapping[Role, frozenset[Verb]]] = {
    Role.APPROVER: frozenset({Verb.APPROVE, Verb.REJECT}),
    Role.OPERATOR: frozenset({Verb.RETRY, Verb.HOLD, Verb.RELEASE, Verb.RESCIND}),
    Role.SECURITY: frozenset({Verb.HOLD, Verb.RELEASE, Verb.RESCIND, Verb.EXCLUDE, Verb.ERASE}),
}
"""What each role may say. A case may ask for more, e.g. that an approver is this leaver's manager."""


class PersonEntry(Document):
    """One key of one person. Somebody may have several, e.g. while changing to a new one."""

    subject: Word
    key_id: Word
    public_key: Word
    roles: Annotated[tuple[Role, ...], Field(min_length=1)]

    @field_validator("public_key")
    @classmethod
    def _is_a_key(cls, value: str) -> str:
        try:
            raw = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("is not base64") from None
        if len(raw) != _KEY_BYTES:
            raise ValueError("is not an Ed25519 public key (32 bytes)")
        return value

    @model_validator(mode="after")
    def _id_fits(self) -> PersonEntry:
        if self.key_id != key_id(self.key_bytes):
            raise ValueError(f"key_id does not belong to public_key, whose id is {key_id(self.key_bytes)}")
        return self

    @property
    def key_bytes(self) -> bytes:
        """The public key, 32 bytes."""
        return base64.b64decode(self.public_key)

    def may(self, verb: Verb) -> bool:
        """Whether one of the person's roles allows the verb."""
        return any(verb in VERBS[role] for role in self.roles)


class People(Document):
    """The whole registry."""

    people: tuple[PersonEntry, ...] = ()

    @model_validator(mode="after")
    def _keys_differ(self) -> People:
        ids = [entry.key_id for entry in self.people]
        if twice := next((one for one in ids if ids.count(one) > 1), None):
            raise ValueError(f"key {twice} is listed twice; a key belongs to one person and has one entry")
        return self

    def by_key(self, wanted: str) -> PersonEntry | None:
        """The entry of a key id."""
        return next((entry for entry in self.people if entry.key_id == wanted), None)


def load_people(path: Path) -> People:
    """Read the registry: JSON if the name ends in ``.json``, else TOML. A missing file is an error.

    Raises:
        PeopleFileError: unreadable, malformed, or contradicting itself; the message names entry and field.
    """
    try:
        text = path.read_bytes().decode()
        value = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        return People.model_validate(value)
    except OSError as err:
        raise PeopleFileError(f"{path}: cannot be read: {err.strerror}") from err
    except ValidationError as err:
        problem = err.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"]) or "file"
        raise PeopleFileError(f"{path}: {where}: {problem['msg']}") from None
    except ValueError as err:
        raise PeopleFileError(
            f"{path}: is not valid {'JSON' if path.suffix == '.json' else 'TOML'}: {err}"
        ) from err


def save_people(path: Path, people: People) -> None:
    """Write the registry as JSON, replacing the file in one go."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(people.model_dump_json(indent=2) + "\n", encoding="utf-8")
    fresh.replace(path)
