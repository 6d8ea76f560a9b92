"""The configuration: one file (``leaver.toml``) and the environment (``LEAVER_*``), read once at start.

Read by workers and command line only; everything below gets frozen settings objects. Secrets are named by
reference, never written into the file: ``env:NAME`` or ``file:path`` (relative to the file's folder).
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, SecretBytes, SecretStr, StringConstraints, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from leaver.config_evidence import EvidenceSection, Reference, Section, Text
from leaver.connectors.ad.settings import AdSettings
from leaver.connectors.entra.settings import EntraSettings
from leaver.connectors.exchange.settings import (
    PUBLIC_EXCHANGE,
    PUBLIC_EXCHANGE_SCOPE,
    ExchangeSettings,
)
from leaver.connectors.http import Network
from leaver.connectors.microsoft import (
    PUBLIC_AUTHORITY,
    PUBLIC_GRAPH,
    PUBLIC_GRAPH_SCOPE,
    GraphEndpoint,
    MicrosoftApp,
)
from leaver.connectors.onedrive.settings import OneDriveSettings
from leaver.domain.ids import MIN_KEY_BYTES
from leaver.domain.policy import Policy
from leaver.domain.words import Mode
from leaver.hr.model import BambooHrMapping, CsvMapping, IngestContext
from leaver.temporal.connect import TemporalSettings, TlsSettings
from leaver.temporal.keyring import Keyring, KeyringError, parse_key

CONFIG_VARIABLE: Final = "LEAVER_CONFIG"
DEFAULT_FILE: Final = Path("leaver.toml")
POSTGRES: Final = "postgresql+pg8000://"

T = TypeVar("T")


class ConfigError(Exception):
    """The configuration cannot be used. ``problems`` lists every one, each naming its setting."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class TemporalSection(Section):
    """``[temporal]``: where the cluster is. TLS files are PEM."""

    address: Text = "127.0.0.1:7233"
    namespace: Text = "default"
    tls: bool = False
    tls_ca_file: Path | None = None
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    api_key: Reference | None = None
    proxy: str = ""
    connect_timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 10.0


class EncryptionSection(Section):
    """``[encryption]``: the keyring of payload encryption; ``keys`` maps an id to a reference."""

    current: Text
    keys: dict[str, Reference]


class MicrosoftSection(Section):
    """``[microsoft]``: the app registration, and the endpoints (national clouds, gateways, simulators)."""

    tenant_id: Text
    client_id: Text
    client_secret: Reference | None = None
    certificate_file: Path | None = None
    authority: Text = PUBLIC_AUTHORITY
    graph_url: Text = PUBLIC_GRAPH
    graph_scope: Text = PUBLIC_GRAPH_SCOPE
    exchange_url: Text = PUBLIC_EXCHANGE
    exchange_scope: Text = PUBLIC_EXCHANGE_SCOPE
    sharepoint_hosts: tuple[Text, ...] = (".sharepoint.com",)
    ca_file: Path | None = None
    proxy: str | None = None


class AdSection(Section):
    """``[ad]``: the on-premises domain, reached from inside the customer's network."""

    servers: tuple[Text, ...] = Field(min_length=1)
    base_dn: Text
    bind_dn: Text
    password: Reference
    ca_file: Path | None = None
    site: str = ""


class HrSection(Section):
    """``[hr]``: which HR system the worker ids belong to, and what a bare date means there."""

    tenant: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+$")] = "default"
    source_kind: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]+$")] = "csv"
    locations: dict[str, str] = Field(default_factory=dict)
    webhook_key: Reference | None = None
    seen_webhooks: Path = Path("state/seen-webhooks.jsonl")
    csv: CsvMapping = CsvMapping()
    bamboohr: BambooHrMapping = BambooHrMapping()


class ReadBackSection(Section):
    """``[read_back]``: how often, how long and how many times an effect is read before it counts."""

    agree: Annotated[int, Field(ge=1, le=10)] = 2
    interval_seconds: Annotated[float, Field(gt=0, le=60)] = 1.0
    deadline_seconds: Annotated[float, Field(gt=0, le=240)] = 20.0


class LoggingSection(Section):
    """``[logging]``."""

    format: Literal["json", "console"] = "json"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(BaseSettings):
    """The whole tree. ``LEAVER_TEMPORAL__ADDRESS`` and so on override the file.

    ``mode`` is the installation's own write switch: as long as it is ``notification_only``, which it is in
    a new installation, the transports refuse every mutating request, whatever a policy says.
    """

    model_config = SettingsConfigDict(
        env_prefix="LEAVER_", env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    mode: Mode = Mode.NOTIFICATION_ONLY
    policy: Path = Path("policy.toml")
    case_id_key: Reference
    temporal: TemporalSection = TemporalSection()
    encryption: EncryptionSection
    microsoft: MicrosoftSection | None = None
    ad: AdSection | None = None
    evidence: EvidenceSection = EvidenceSection()
    hr: HrSection = HrSection()
    read_back: ReadBackSection = ReadBackSection()
    logging: LoggingSection = LoggingSection()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file; nothing else is read."""
        del init_settings, dotenv_settings, file_secret_settings
        return env_settings, TomlConfigSettingsSource(settings_cls)


class Config:
    """The settings with their folder: resolves references and makes the objects that connectors take.

    Raises:
        ConfigError: from every method, when what it needs is missing or cannot be used.
    """

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.folder = folder

    def path(self, path: Path) -> Path:
        """A path of the file, relative to the file's folder."""
        return path if path.is_absolute() else self.folder / path

    def secret(self, name: str, reference: str) -> SecretStr:
        """The value behind a reference; ``name`` is the setting, for the message."""
        kind, _, rest = reference.partition(":")
        if kind == "env":
            value = os.environ.get(rest)
            if not value:
                raise ConfigError([f"{name}: the environment variable {rest} is not set"])
            return SecretStr(value)
        file = self.path(Path(rest))
        try:
            value = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as err:
            raise ConfigError([f"{name}: {file} cannot be read ({_why(err)})"]) from err
        if not value:
            raise ConfigError([f"{name}: {file} is empty"])
        return SecretStr(value)

    def case_id_key(self) -> bytes:
        """The key of case ids and pseudonyms."""
        key = self.secret("case_id_key", self.settings.case_id_key).get_secret_value().encode()
        if len(key) < MIN_KEY_BYTES:
            raise ConfigError([f"case_id_key: needs at least {MIN_KEY_BYTES} characters"])
        return key

    def keyring(self) -> Keyring:
        """The payload keys."""
        section = self.settings.encryption
        try:
            keys = {
                key_id: parse_key(self.secret(f"encryption.keys.{key_id}", reference))
                for key_id, reference in section.keys.items()
            }
            return Keyring(current=section.current, keys=keys)
        except KeyringError as err:
            raise ConfigError([f"encryption: {err}"]) from err

    def temporal(self, identity: str = "") -> TemporalSettings:
        """How to reach Temporal."""
        section = self.settings.temporal
        tls = None
        if section.tls:
            key = self._read("temporal.tls_key_file", section.tls_key_file)
            tls = TlsSettings(
                server_ca=self._read("temporal.tls_ca_file", section.tls_ca_file),
                client_cert=self._read("temporal.tls_cert_file", section.tls_cert_file),
                client_key=SecretBytes(key) if key else None,
            )
        return TemporalSettings(
            address=section.address,
            namespace=section.namespace,
            identity=identity,
            tls=tls,
            api_key=self.secret("temporal.api_key", section.api_key) if section.api_key else None,
            proxy=section.proxy,
            timeout=section.connect_timeout_seconds,
        )

    def policy(self) -> Policy:
        """The policy document, validated.

        As long as the installation only notifies, so does every case it opens, whatever the document says:
        its workers would refuse each write, and a case full of refusals is no plan.
        """
        policy = load_policy(self.path(self.settings.policy))
        return (
            policy
            if self.settings.mode is Mode.ENFORCE
            else policy.model_copy(update={"mode": Mode.NOTIFICATION_ONLY})
        )

    def entra(self) -> EntraSettings:
        """The Entra connector's settings."""
        section = self._microsoft()
        return self._checked(
            "microsoft",
            lambda: EntraSettings(self._app(section), self._graph(section), network=self._network(section)),
        )

    def exchange(self) -> ExchangeSettings:
        """The Exchange connector's settings."""
        section = self._microsoft()
        return self._checked(
            "microsoft",
            lambda: ExchangeSettings(
                self._app(section),
                url=section.exchange_url,
                scope=section.exchange_scope,
                graph=self._graph(section),
                network=self._network(section),
            ),
        )

    def onedrive(self) -> OneDriveSettings:
        """The OneDrive connector's settings."""
        section = self._microsoft()
        return self._checked(
            "microsoft",
            lambda: OneDriveSettings(
                self._app(section),
                graph=self._graph(section),
                sharepoint_hosts=section.sharepoint_hosts,
                network=self._network(section),
            ),
        )

    def ad(self) -> AdSettings:
        """The Active Directory connector's settings."""
        section = self.settings.ad
        if section is None:
            raise ConfigError(["ad: this role needs the [ad] section"])
        password = self.secret("ad.password", section.password)
        return self._checked(
            "ad",
            lambda: AdSettings(
                servers=section.servers,
                base_dn=section.base_dn,
                bind_dn=section.bind_dn,
                password=password,
                ca_file=self._file("ad.ca_file", section.ca_file),
            ),
        )

    def read_back(self) -> tuple[int, timedelta, timedelta]:
        """How an effect is proven: agreeing reads, interval, deadline."""
        section = self.settings.read_back
        return (
            section.agree,
            timedelta(seconds=section.interval_seconds),
            timedelta(seconds=section.deadline_seconds),
        )

    def hr_context(self, policy: Policy, *, file: str, at: datetime) -> IngestContext:
        """How HR's documents are read: zones, columns, statuses."""
        hr = self.settings.hr
        return IngestContext(
            tenant=hr.tenant,
            file=file,
            observed_at=at,
            default_timezone=policy.cutoff.default_timezone,
            moment=policy.cutoff.moment,
            location_timezones=hr.locations,
            csv=hr.csv,
            bamboohr=hr.bamboohr,
        )

    def ledger(self) -> str | Path:
        """Where the ledger is: an SQLite file, or the address of a PostgreSQL database."""
        section = self.settings.evidence
        if section.database is None:
            return self.path(section.ledger)
        url = self.secret("evidence.database", section.database).get_secret_value()
        if not url.startswith(POSTGRES):
            raise ConfigError([f"evidence.database: the address must begin with {POSTGRES}"])
        return url

    def log_name(self) -> str:
        """The log's name: its origin in checkpoints and keys."""
        return self.settings.evidence.log_name or f"leaver/{self.settings.hr.tenant.lower()}"

    def zone(self) -> ZoneInfo:
        """The zone in which the days of counts and reports begin."""
        name = self.settings.evidence.time_zone
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError) as err:
            raise ConfigError([f"evidence.time_zone: {name} is not an IANA time zone"]) from err

    def counted_since(self) -> datetime | None:
        """From when on HR's leavers are counted: the day this installation took over."""
        section = self.settings.evidence.population
        if section is None or section.since is None:
            return None
        return datetime.combine(section.since, time(), self.zone())

    def _microsoft(self) -> MicrosoftSection:
        if self.settings.microsoft is None:
            raise ConfigError(["microsoft: this role needs the [microsoft] section"])
        return self.settings.microsoft

    def _app(self, section: MicrosoftSection) -> MicrosoftApp:
        secret = section.client_secret
        return MicrosoftApp(
            tenant_id=section.tenant_id,
            client_id=section.client_id,
            client_secret=self.secret("microsoft.client_secret", secret) if secret else None,
            certificate_file=self._file("microsoft.certificate_file", section.certificate_file),
            authority=section.authority,
            network=self._network(section),
        )

    def _graph(self, section: MicrosoftSection) -> GraphEndpoint:
        return GraphEndpoint(url=section.graph_url, scope=section.graph_scope)

    def _network(self, section: MicrosoftSection) -> Network:
        return Network(ca_file=self._file("microsoft.ca_file", section.ca_file), proxy=section.proxy)

    def _file(self, name: str, path: Path | None) -> Path | None:
        if path is None:
            return None
        file = self.path(path)
        if not file.is_file():
            raise ConfigError([f"{name}: {file} does not exist"])
        return file

    def _read(self, name: str, path: Path | None) -> bytes | None:
        file = self._file(name, path)
        return file.read_bytes() if file else None

    def _checked(self, section: str, make: Callable[[], T]) -> T:
        try:
            return make()
        except ValueError as err:
            raise ConfigError([f"{section}.{err}"]) from err


def load(path: Path | None = None) -> Config:
    """Read and check the configuration; ``path`` defaults to ``$LEAVER_CONFIG``, then ``leaver.toml``.

    Raises:
        ConfigError: with every problem at once.
    """
    file = path or Path(os.environ.get(CONFIG_VARIABLE, DEFAULT_FILE))
    _toml(file, "copy examples/leaver.toml, or set LEAVER_CONFIG")

    class FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=file)

    try:
        settings = FromFile()
    except ValidationError as err:
        raise ConfigError([f"{file}: {problem}" for problem in _problems(err)]) from err
    return Config(settings, file.resolve().parent)


def load_policy(file: Path) -> Policy:
    """Read and check a policy document.

    Raises:
        ConfigError: with every problem at once.
    """
    raw = _toml(file, "see examples/policy.toml")
    try:
        return Policy.model_validate(raw)
    except ValidationError as err:
        raise ConfigError([f"{file}: {problem}" for problem in _problems(err)]) from err


def _toml(file: Path, advice: str) -> dict[str, object]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as err:
        raise ConfigError([f"{file}: no such file; {advice}"]) from err
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError([f"{file}: cannot be read ({_why(err)})"]) from err
    except tomllib.TOMLDecodeError as err:
        raise ConfigError([f"{file}: is not valid TOML: {err}"]) from err


def _problems(err: ValidationError) -> list[str]:
    """Every problem as ``section.field: reason``, without quoting values, which may be secrets."""
    return [
        f"{'.'.join(str(part) for part in each['loc']) or 'the document'}: {each['msg']}"
        for each in err.errors(include_url=False, include_context=False, include_input=False)
    ]


def _why(err: Exception) -> str:
    return err.strerror or type(err).__name__ if isinstance(err, OSError) else "it is not UTF-8 text"
