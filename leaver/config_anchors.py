"""The sealer's keys and whoever holds the log from outside, made from the configuration."""

from __future__ import annotations

from dataclasses import dataclass

from leaver.config import Config, ConfigError
from leaver.evidence.anchors.jobs import Outside
from leaver.evidence.anchors.s3 import S3Options, S3Sink
from leaver.evidence.anchors.sinks import FolderSink, Sink
from leaver.evidence.anchors.timestamp import TimestampAuthority
from leaver.evidence.anchors.witness_client import WitnessClient
from leaver.evidence.bundle import KnownAuthority, KnownWitness, Material
from leaver.evidence.keys.handout import handout
from leaver.evidence.keys.kms import KmsOptions
from leaver.evidence.keys.model import LogSigner, Signer
from leaver.evidence.keys.references import open_log_signer, open_signer
from leaver.evidence.ledger.model import AnchorKind
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.reports.sources import Outsiders


@dataclass(frozen=True, slots=True)
class Keys:
    """The two keys of the sealer."""

    log: LogSigner
    bundles: Signer


def open_keys(config: Config) -> Keys:
    """The keys of the configuration; a missing key file is made.

    Raises:
        EvidenceError: a key cannot be used.
    """
    section = config.settings.evidence
    kms = KmsOptions(region=section.kms.region, endpoint_url=section.kms.endpoint_url)
    return Keys(
        log=open_log_signer(section.log_key, config.log_name(), folder=config.folder, kms=kms),
        bundles=open_signer(section.signing_key, folder=config.folder, kms=kms),
    )


def outside(config: Config) -> Outside:
    """Everybody who holds the log from outside, as configured.

    Raises:
        ConfigError: a file or secret is missing.
        EvidenceError: a key or certificate cannot be used.
    """
    section = config.settings.evidence
    sinks: list[Sink] = [FolderSink(config.path(section.published))]
    if section.s3:
        options = S3Options(
            section.s3.bucket,
            prefix=section.s3.prefix,
            retention_days=section.s3.retention_days,
            region=section.s3.region,
            endpoint_url=section.s3.endpoint_url,
        )
        sinks.append(S3Sink(options, independent=section.s3.independent))
    return Outside(
        timestamps=_authorities(config),
        witnesses=tuple(
            WitnessClient(each.url, each.vkey, independent=each.independent, timeout=each.timeout_seconds)
            for each in section.witnesses
        ),
        sinks=tuple(sinks),
    )


def _authorities(config: Config) -> tuple[TimestampAuthority, ...]:
    section = config.settings.evidence.timestamp
    if section is None:
        return ()
    try:
        ca_pem = config.path(section.ca_file).read_bytes()
    except OSError as err:
        raise ConfigError([f"evidence.timestamp.ca_file: cannot be read ({err.strerror})"]) from err
    password = config.secret("evidence.timestamp.password", section.password) if section.password else None
    return (
        TimestampAuthority(
            section.url,
            ca_pem,
            name=section.name,
            independent=section.independent,
            timeout=section.timeout_seconds,
            username=section.username,
            password=password,
        ),
    )


def outsiders(config: Config) -> Outsiders:
    """The anchors that somebody else than the operator runs, as the configuration says."""
    section = config.settings.evidence
    found = {
        (AnchorKind.WITNESS, each.vkey.split("+", 1)[0]) for each in section.witnesses if each.independent
    }
    if section.timestamp is not None and section.timestamp.independent:
        found.add((AnchorKind.TIMESTAMP, section.timestamp.name))
    return frozenset(found)


def known(config: Config, keys: Keys, ledger: Ledger) -> Material:
    """The public keys that bundles are made and checked with, former ones of the log included.

    Raises:
        ConfigError: see ``outside``.
        EvidenceError: a key cannot be used, or is not the one in force.
    """
    around, given = outside(config), handout(ledger, keys.log, keys.bundles)
    return Material(
        log=given.lines,
        authorities=tuple(
            KnownAuthority(each.name, each.ca_pem, each.independent) for each in around.timestamps
        ),
        witnesses=tuple(KnownWitness(each.vkey, each.independent) for each in around.witnesses),
    )
