"""After the case: export its evidence, then read the contained accounts again for a month."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from pydantic import Field
from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ActivityError, is_cancelled_exception

from activities.contracts import EvidenceContract
from leaver.domain.account import Account
from leaver.domain.base import Facts, Instant, Message
from leaver.domain.catalogue import CATALOGUE
from leaver.domain.effect import Effect, UnitInput
from leaver.domain.records import SealInput
from leaver.domain.search import RISK
from leaver.domain.words import Mode, Outcome, Phase, RecordType
from workflows.evidence_log import EvidenceLog
from workflows.policies import WORK_WINDOW, evidence_config, unit_config
from workflows.units import VERIFIERS

_RISK: Final = SearchAttributeKey.for_keyword(RISK)


class WatchInput(Message):
    """What there is to watch: the accounts, and per proven containment step what was read back then."""

    case: str
    workflow_id: str
    first_run_id: str
    mode: Mode
    site: str = ""
    accounts: tuple[Account, ...] = ()
    proofs: dict[str, Facts] = Field(default_factory=dict)
    reverify_after_minutes: tuple[int, ...] = ()
    contained_at: Instant | None = None


class WatchResult(Message):
    """What came of it."""

    bundle: str
    rounds: int
    drifted: tuple[str, ...]


@workflow.defn(name="WatchWorkflow")
class WatchWorkflow:
    """Outlives the case workflow, so that the case's history is closed and can be sealed whole."""

    def __init__(self) -> None:
        self._bundle = ""
        self._drifted: list[str] = []

    @workflow.run
    async def run(self, given: WatchInput) -> WatchResult:
        """Seal the bundle, then verify again at each of the policy's moments, counted from the case's end."""
        start, rounds = workflow.now(), 0
        await self._seal(given)
        log = EvidenceLog(given.case, chain="watch")
        for minutes in given.reverify_after_minutes if given.proofs else ():
            wait = start + timedelta(minutes=minutes) - workflow.now()
            await workflow.sleep(max(wait, timedelta()))
            rounds += 1
            await self._verify(given, log)
            await log.send_all()
            if not self._bundle:
                await self._seal(given)
        return WatchResult(bundle=self._bundle, rounds=rounds, drifted=tuple(self._drifted))

    @workflow.query
    def bundle(self) -> str:
        """The name of the sealed bundle; empty while it is being made."""
        return self._bundle

    async def _seal(self, given: WatchInput) -> None:
        """Export the bundle. A final refusal is shown and tried again at the next round, not swallowed."""
        arg = SealInput(case=given.case, workflow_id=given.workflow_id, first_run_id=given.first_run_id)
        try:
            sealed = await workflow.execute_activity_method(
                EvidenceContract.seal, arg, **evidence_config("export history and records, sign the bundle")
            )
        except ActivityError as err:
            if is_cancelled_exception(err):
                raise
            workflow.upsert_search_attributes([_RISK.value_set("not_sealed")])
            workflow.set_current_details(f"**not sealed**: {err.cause or err}")
            return
        self._bundle = sealed.bundle
        workflow.set_current_details(f"bundle {sealed.bundle}")

    async def _verify(self, given: WatchInput, log: EvidenceLog) -> None:
        for account in given.accounts:
            steps = tuple(step for step in given.proofs if CATALOGUE[step].system is account.system)
            if not steps:
                continue
            arg = UnitInput(
                case=given.case,
                unit=f"{account.system.value}.verify",
                mode=given.mode,
                account=account,
                steps=steps,
                not_before=given.contained_at or workflow.now(),
                parameters={step: given.proofs[step] for step in steps},
            )
            config = unit_config(arg.unit, Phase.WATCH, site=given.site, immediate=False, window=WORK_WINDOW)
            try:
                result = await workflow.execute_activity_method(VERIFIERS[account.system], arg, **config)
            except ActivityError as err:
                if is_cancelled_exception(err):
                    raise
                self._unreadable(log, account, err)
                continue
            for effect in result.effects:
                self._enter(log, account, effect)

    def _enter(self, log: EvidenceLog, account: Account, effect: Effect) -> None:
        facts = effect.model_dump(mode="json")
        log.record(
            RecordType.READBACK,
            {
                **facts,
                "system": account.system.value,
                "account": account.id,
                "controls": list(CATALOGUE[effect.step].controls),
            },
        )
        if effect.outcome is not Outcome.VERIFIED:
            self._drifted.append(effect.step)
            workflow.upsert_search_attributes([_RISK.value_set("drift")])
            log.record(
                RecordType.EXCEPTION_RAISED,
                {"step": effect.step, "cause": "drift", "due": None, "detail": effect.detail},
            )

    def _unreadable(self, log: EvidenceLog, account: Account, err: ActivityError) -> None:
        log.record(
            RecordType.EXCEPTION_RAISED,
            {
                "step": None,
                "system": account.system.value,
                "cause": "not_readable",
                "due": None,
                "detail": f"{account.system.value} could not be read again: {err.cause or err}"[:500],
            },
        )
