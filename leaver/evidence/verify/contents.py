"""What lies in a bundle's folder, what was found wrong with it, and the strict reading of its JSON."""

from __future__ import annotations

import base64
import binascii
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn, TypeVar

import rfc8785
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from leaver.evidence.errors import BundleError, EvidenceError
from leaver.evidence.verify.report import Finding, FindingKind

Shape = TypeVar("Shape", bound=BaseModel)

MAX_FILE: Final = 512 * 1024 * 1024
"""Bytes. No file of an honest bundle comes near; a larger one is not read into memory."""


class WrongError(EvidenceError):
    """A file's content is not what it must be; caught inside this package."""


class Part(BaseModel):
    """Base of the shapes: exactly these fields, exactly these types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


@dataclass(slots=True)
class Contents:
    """The bundle's files by their path, the findings so far, and what has to be told besides."""

    files: dict[str, bytes] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    """What is no finding and has to be told with a good result."""

    def wrong(self, file: str, reason: str, kind: FindingKind) -> None:
        """Note a finding."""
        self.findings.append(Finding(file, reason, kind))


def read_folder(folder: Path) -> Contents:
    """Read every regular file. Links are not followed; they are findings, and so are empty folders.

    Raises:
        BundleError: there is no such folder, or it cannot be read.
    """
    if not folder.is_dir():
        raise BundleError(f"{folder} is not a folder")
    contents = Contents()
    try:
        for here, folders, files in os.walk(folder, onerror=_raise, followlinks=False):
            for name in (*folders, *files):
                path = Path(here, name)
                _take(contents, path, path.relative_to(folder).as_posix())
    except OSError as err:
        raise BundleError(f"the bundle cannot be read: {err}") from err
    return contents


def _take(contents: Contents, path: Path, name: str) -> None:
    if path.is_symlink() or not (path.is_file() or (path.is_dir() and any(path.iterdir()))):
        contents.wrong(name, "neither a regular file nor a folder of some", FindingKind.CHANGED)
    elif path.is_dir():
        return
    elif path.stat().st_size > MAX_FILE:
        raise BundleError(f"{name} is larger than {MAX_FILE} bytes")
    else:
        contents.files[name] = path.read_bytes()


def _raise(err: OSError) -> NoReturn:
    raise err


def load(raw: bytes) -> JsonValue:
    """Read JSON that must be in canonical form, without floating-point numbers.

    Raises:
        WrongError: it is not.
    """
    try:
        value: JsonValue = json.loads(raw.decode(), parse_float=_no_float, parse_constant=_no_float)
        if rfc8785.dumps(value) != raw:
            raise WrongError("not in canonical form (RFC 8785)")
    except (ValueError, RecursionError, rfc8785.CanonicalizationError) as err:
        raise WrongError(f"not canonical JSON: {err}") from None
    return value


def parse(shape: type[Shape], raw: bytes) -> Shape:
    """Read canonical JSON of a given shape.

    Raises:
        WrongError: it is not canonical, or has another shape; names the field.
    """
    load(raw)
    try:
        return shape.model_validate_json(raw)
    except ValidationError as err:
        problem = err.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise WrongError(f"{where or 'content'}: {problem['msg']}") from None


def unbase64(text: str) -> bytes:
    """Decode base64 in its one standard spelling.

    Raises:
        WrongError: it is something else.
    """
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise WrongError("not base64") from None
    if base64.b64encode(raw).decode() != text:
        raise WrongError("base64 in a non-standard spelling")
    return raw


def _no_float(_number: str) -> NoReturn:
    raise WrongError("a floating-point number, which nothing here may hold")
