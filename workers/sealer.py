"""The sealer: the process that holds the ledger and its keys, and what it does by itself.

Beside the activities it runs rounds: sign and anchor the log, seal Temporal's histories, count HR's leavers
against the cases, put bundles into the stores. Each is on its own: what fails is said, and tried again in
the next round.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import structlog
from temporalio.client import Client
from temporalio.service import RPCError

from leaver.config import Config, ConfigError
from leaver.config_anchors import known, open_keys, outside, outsiders
from leaver.domain.base import Facts
from leaver.domain.words import RecordType
from leaver.evidence.anchors.publisher import Publisher
from leaver.evidence.bundle import BundleStore, Material, Sealing
from leaver.evidence.bundle.issuing import Issuing
from leaver.evidence.bundle.pages import case_pages
from leaver.evidence.errors import EvidenceError
from leaver.evidence.history.sealer import HistorySealer, HistorySettings
from leaver.evidence.ledger.group import GroupCommit
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.population.bundled import bundled_cases
from leaver.evidence.population.keeper import PopulationKeeper
from leaver.evidence.records import LOG, Chain
from leaver.hr.model import SourceKind
from leaver.hr.population import FilePopulation, same_context
from leaver.temporal.history import HistoryError
from leaver.temporal.runs import TemporalRuns, check_retention
from workers.bundles import BundleRound

POPULATION_ROUND: Final = timedelta(minutes=5)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Sealer:
    """The sealer's parts, made from the configuration."""

    ledger: Ledger
    publisher: Publisher
    bundles: Sealing
    reports: Issuing
    histories: HistorySealer
    population: PopulationKeeper
    stored: BundleRound
    appends: GroupCommit


@asynccontextmanager
async def sealing(config: Config, client: Client) -> AsyncIterator[Sealer]:
    """The sealer with its rounds, while the block runs.

    Raises:
        ConfigError: the configuration does not make a sealer, or a key is not the one in force.
    """
    try:
        with Ledger.open(config.ledger()) as ledger:
            sealer = _sealer(config, client, ledger)
            note_changes(ledger, config, _now())
            await _first_look(sealer, client)
            async with _rounds(config, sealer):
                yield sealer
            await sealer.appends.close()
    except EvidenceError as err:
        raise ConfigError([f"evidence: {err}"]) from err


def _sealer(config: Config, client: Client, ledger: Ledger) -> Sealer:
    section, keys = config.settings.evidence, open_keys(config)
    publisher = Publisher(ledger, keys.log, outside(config), kept=config.path(section.last_checkpoint))
    histories = HistorySettings(
        prefix_every=timedelta(hours=section.history_prefix_hours),
        late_after=timedelta(minutes=section.seal_lag_minutes),
    )
    folder = config.path(section.bundles)

    def material() -> Material:
        # Asked for at each sealing: the sealer starts and takes records while a key service is away.
        return known(config, keys, ledger)

    store = BundleStore(folder, keys.bundles, lambda: material().log)
    bundles = Sealing(ledger, store, publisher.publish, material, case_pages)
    return Sealer(
        ledger=ledger,
        publisher=publisher,
        bundles=bundles,
        reports=Issuing(ledger, store, folder, publisher.publish, material, outsiders=outsiders(config)),
        histories=HistorySealer(ledger, TemporalRuns(client), _now, histories),
        population=PopulationKeeper(
            ledger,
            source=hr_population(config),
            bundles=lambda: bundled_cases(folder),
            zone=config.zone(),
            since=config.counted_since(),
        ),
        stored=BundleRound(ledger, bundles, publisher, folder),
        appends=GroupCommit(ledger),
    )


def note_changes(ledger: Ledger, config: Config, at: datetime) -> None:
    """Record which policy and which configuration are in force from here on, if they changed.

    Of the configuration the digest, and which sections changed: it names systems, accounts and files.
    """
    policy = config.policy()
    body: Facts = {
        "name": policy.name,
        "version": policy.version,
        "policy_digest": policy.digest,
        "mode": policy.mode.value,
    }
    _note_change(ledger, RecordType.POLICY_VERSION, body, at)
    sections = {
        name: hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
        for name, value in config.settings.model_dump(mode="json").items()
    }
    told = ledger.last(Chain.LOG, type=RecordType.CONFIG_CHANGE)
    before = told.body.get("sections") if told else None
    known = before if isinstance(before, dict) else {}
    changed = sorted(name for name in {*sections, *known} if sections.get(name) != known.get(name))
    _note_change(
        ledger, RecordType.CONFIG_CHANGE, {"changed": ", ".join(changed), "sections": dict(sections)}, at
    )


def _note_change(ledger: Ledger, kind: RecordType, body: Facts, at: datetime) -> None:
    """Note it unless the last note of this kind says the same; what came back counts as a change again."""
    told = ledger.last(Chain.LOG, type=kind)
    same = {name: value for name, value in body.items() if name != "changed"}
    if told is None or any(told.body.get(name) != value for name, value in same.items()):
        ledger.note(Chain.LOG, LOG, kind, at, body, key=f"{kind.value}:{told.seq if told else 'first'}")


async def _first_look(sealer: Sealer, client: Client) -> None:
    """Say at the start what would be found out too late."""
    for text in await sealer.publisher.check():
        log.warning("evidence_store_unfit", problem=text)
    with contextlib.suppress(HistoryError):
        if text := await check_retention(client):
            log.warning("temporal_retention_short", problem=text)


@asynccontextmanager
async def _rounds(config: Config, sealer: Sealer) -> AsyncIterator[None]:
    section = config.settings.evidence
    every, soon = timedelta(minutes=section.checkpoint_minutes), timedelta(seconds=section.history_seconds)
    rounds = (
        _round("checkpoint", every, lambda: _publish(sealer)),
        _round("histories", soon, lambda: _seal_histories(sealer, config)),
        _round("population", POPULATION_ROUND, lambda: _count(sealer)),
        _round("bundles", soon, sealer.stored.tick),
    )
    tasks = [asyncio.create_task(each) for each in rounds]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _round(name: str, every: timedelta, work: Callable[[], Awaitable[None]]) -> None:
    """Work again and again; an error is said and never ends the round."""
    while True:
        try:
            await work()
        except (EvidenceError, HistoryError, RPCError, OSError) as err:
            log.error("evidence_round_failed", round=name, problem=str(err))  # noqa: TRY400 - expected
        except Exception:
            log.exception("evidence_round_broken", round=name)
        await asyncio.sleep(every.total_seconds())


async def _publish(sealer: Sealer) -> None:
    published = await sealer.publisher.tick()
    if published is not None:
        log.info("checkpoint", size=published.size, troubles=list(published.troubles))


async def _seal_histories(sealer: Sealer, config: Config) -> None:
    now = _now()
    done = await sealer.histories.tick(now)
    for raised in done.raised:
        log.error("control_exception", cause=raised.cause, run=raised.run_id)
    if done.raised:
        await _publish(sealer)  # what was done behind our back is signed at once
    for failure in done.failures:
        log.warning("history_not_sealed", problem=failure)
    if (lag := sealer.histories.lag(now)) > config.settings.evidence.seal_lag_minutes * 60:
        log.error("sealing_lags", seconds=round(lag))


async def _count(sealer: Sealer) -> None:
    done = await sealer.population.tick(_now())
    if done.problem:
        log.error("hr_list_not_read", problem=done.problem)
    if done.completeness.alarms:
        log.error("completeness_gaps", gaps=len(done.completeness.alarms))


def hr_population(config: Config) -> FilePopulation | None:
    """HR's list for the sealer's own count; None where none is configured."""
    section = config.settings.evidence.population
    if section is None:
        return None
    policy = config.policy()
    return FilePopulation(
        files=config.path(Path(section.files)),
        kind=SourceKind(section.kind),
        context=same_context(config.hr_context(policy, file="", at=_now())),
        id_key=config.case_id_key(),
        mode=policy.mode,
        take=section.take,
        companion=section.companion,
    )


def _now() -> datetime:
    return datetime.now(UTC)
