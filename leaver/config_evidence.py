"""The part of the configuration that the sealer reads: ``[evidence]`` and what lies below it."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Reference = Annotated[str, StringConstraints(pattern=r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$")]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Url = Annotated[str, StringConstraints(pattern=r"^https?://\S+$")]


class Section(BaseModel):
    """A table of the file: known keys only, never changed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TimestampSection(Section):
    """``[evidence.timestamp]``: an RFC 3161 authority. ``independent`` only if an outsider runs it."""

    url: Url
    ca_file: Path
    name: Text = "timestamp authority"
    independent: bool = False
    username: str = ""
    password: Reference | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 10.0


class WitnessSection(Section):
    """``[[evidence.witnesses]]``: who cosigns checkpoints. Without ``url`` their word comes by hand."""

    vkey: Text
    url: Url | None = None
    independent: bool = False
    timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 10.0


class S3Section(Section):
    """``[evidence.s3]``: a bucket with Object Lock; credentials come as boto3 finds them.

    ``independent`` only if the account belongs to somebody who is not the operator.
    """

    bucket: Text
    prefix: str = ""
    region: str | None = None
    endpoint_url: Url | None = None
    retention_days: Annotated[int, Field(ge=1, le=36_500)] = 2_557
    independent: bool = False


class KmsSection(Section):
    """``[evidence.kms]``: where keys named ``kms:…`` live; credentials come as boto3 finds them."""

    region: str | None = None
    endpoint_url: Url | None = None


class PopulationSection(Section):
    """``[evidence.population]``: the sealer's own look at HR, beside the way the cases come."""

    files: Text
    kind: Literal["csv", "bamboohr"] = "csv"
    take: Literal["newest", "all"] = "newest"
    companion: bool = False
    since: date | None = None


class EvidenceSection(Section):
    """``[evidence]``: the ledger, its keys, anchors and sinks, the bundles, the registry of people's keys."""

    ledger: Path = Path("state/ledger.db")
    database: Reference | None = None
    bundles: Path = Path("bundles")
    published: Path = Path("published")
    last_checkpoint: Path = Path("secrets/last-checkpoint")
    signing_key: Text = "secrets/evidence-signing.pem"
    log_key: Text = "secrets/evidence-log.pem"
    log_name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9./-]{2,99}$")] | None = None
    people: Path = Path("people.toml")
    checkpoint_minutes: Annotated[float, Field(gt=0, le=1440)] = 5.0
    history_seconds: Annotated[float, Field(ge=1, le=3600)] = 60.0
    history_prefix_hours: Annotated[float, Field(gt=0, le=168)] = 24.0
    seal_lag_minutes: Annotated[float, Field(gt=0, le=1440)] = 60.0
    time_zone: Text = "UTC"
    timestamp: TimestampSection | None = None
    witnesses: tuple[WitnessSection, ...] = ()
    s3: S3Section | None = None
    kms: KmsSection = KmsSection()
    population: PopulationSection | None = None
