"""The sealer's activities: append records, check statements, seal bundles.

The process that runs them is the only one with the evidence key and the ledger. Everything here may be called
twice: the ledger knows what it has, a bundle that exists is returned as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from temporalio import activity

from activities.beating import beating
from activities.contracts import EvidenceContract
from activities.errors import later, refused
from leaver.domain.ids import person_ref
from leaver.domain.records import AppendInput, AppendResult, RecordDraft, SealInput, SealResult
from leaver.domain.statement import Statement, Verdict, VerifyStatementInput
from leaver.domain.words import ErrorType
from leaver.evidence.bundle import Bundle, Sealing
from leaver.evidence.errors import (
    CaseNotClosedError,
    EvidenceError,
    KeyServiceError,
    LedgerUnavailableError,
    PeopleFileError,
    UnknownCaseError,
)
from leaver.evidence.people import PersonEntry, load_people
from leaver.evidence.statements import statement_holds, statement_sha256
from leaver.temporal.history import HistoryError, NotClosedError


class Histories(Protocol):
    """Seals the histories of a workflow in the ledger."""

    async def seal_case(self, case: str, workflow_id: str, first_run_id: str) -> Sequence[object]:
        """Seal all runs of one chain of a workflow; runs that are sealed already come from the ledger.

        Raises:
            NotClosedError: a run goes on.
            HistoryError: the histories cannot be had whole; nothing was recorded.
            LedgerError: the ledger refused.
        """
        ...


class Appends(Protocol):
    """Stores batches of records."""

    async def append(self, drafts: Sequence[RecordDraft]) -> AppendResult:
        """Store consecutive drafts of one chain, all or none.

        Raises:
            LedgerError: the ledger refused, or cannot be used now.
        """
        ...


class EvidenceActivities(EvidenceContract):
    """The evidence worker.

    Args:
        appends: stores records; this must be the only process that writes the ledger.
        bundles: seals bundles from the ledger.
        history: seals closed workflows' histories in the ledger.
        people: the registry of people's keys (TOML or JSON).
        id_key: the key that makes pseudonyms, at least 16 bytes.
        source: the HR source whose worker ids the statements' ``by`` are, as in the leaver events.
    """

    def __init__(  # noqa: PLR0913 - the worker's parts, all named
        self,
        *,
        appends: Appends,
        bundles: Sealing,
        history: Histories,
        people: Path,
        id_key: bytes,
        source: str,
    ) -> None:
        self._appends = appends
        self._bundles = bundles
        self._history = history
        self._people = people
        self._id_key = id_key
        self._source = source

    @activity.defn(name="evidence.append")
    async def append(self, arg: AppendInput) -> AppendResult:
        """Append drafts to a case's chain; idempotent by case, chain and case_seq.

        Raises:
            ApplicationError: ``rejected`` for good when the ledger holds something else or the drafts are
                not the chain's next ones; ``unavailable`` when the database cannot be written now.
        """
        async with beating():
            with told():
                return await self._appends.append(arg.drafts)

    @activity.defn(name="evidence.verify_statement")
    async def verify_statement(self, arg: VerifyStatementInput) -> Verdict:
        """Check a statement: case, key, person, signature, role. A refusal is an answer, not an error.

        ``by_ref`` is told only once the signature has proven who speaks.

        Raises:
            ApplicationError: ``misconfigured``, to be tried again, when the registry cannot be read.
        """
        try:
            async with beating():
                people = await asyncio.to_thread(load_people, self._people)
        except PeopleFileError as err:
            raise later(ErrorType.MISCONFIGURED, str(err)) from err
        entry = people.by_key(arg.statement.key_id)
        sha256 = statement_sha256(arg.statement)
        if entry is None or (refusal := _unproven(arg, entry)):
            reason = "no person is registered with this key" if entry is None else refusal
            return Verdict(valid=False, refusal=reason, sha256=sha256)
        refusal = _not_allowed(arg.statement, entry)
        return Verdict(
            valid=not refusal,
            refusal=refusal,
            roles=tuple(role.value for role in entry.roles),
            by_ref=person_ref(self._id_key, source=self._source, worker=entry.subject),
            sha256=sha256,
        )

    @activity.defn(name="evidence.seal")
    async def seal(self, arg: SealInput) -> SealResult:
        """Export the closed case's history and records as a signed bundle; an existing one is returned.

        Raises:
            ApplicationError: ``not_closed_yet``, to be tried again, while the workflow runs or the case's
                last record is missing; ``unavailable``, to be tried again, when the history cannot be
                fetched whole; ``rejected`` when records or history do not make a bundle that verifies.
        """
        async with beating():
            return await self._seal(arg)

    async def _seal(self, arg: SealInput) -> SealResult:
        with told():
            # Asked for again long after, Temporal may have deleted the history that the bundle holds.
            if existing := await self._bundles.find(arg.case):
                return _result(existing)
            await self._history.seal_case(arg.case, arg.workflow_id, arg.first_run_id)
            return _result(await self._bundles.seal(arg.case))


@contextmanager
def told() -> Iterator[None]:
    """Tell our errors as Temporal's: what to try again, and what is refused for good."""
    try:
        yield
    except (CaseNotClosedError, NotClosedError, UnknownCaseError) as err:
        raise later(ErrorType.NOT_CLOSED_YET, str(err)) from err
    except (HistoryError, KeyServiceError, LedgerUnavailableError) as err:
        raise later(ErrorType.UNAVAILABLE, str(err)) from err
    except EvidenceError as err:
        raise refused(ErrorType.REJECTED, str(err)) from err
    except OSError as err:
        raise later(ErrorType.UNAVAILABLE, f"the evidence store cannot be used now: {err}") from err


def _unproven(arg: VerifyStatementInput, entry: PersonEntry) -> str:
    """Why the statement is not proven to be that person's about this case, or an empty string."""
    body = arg.statement.body
    if body.case != arg.case:
        return "it is about another case"
    if body.by != entry.subject:
        return "the key belongs to another person than the one who claims to speak"
    if not statement_holds(arg.statement, entry.key_bytes):
        return "the signature is not valid"
    return ""


def _not_allowed(statement: Statement, entry: PersonEntry) -> str:
    verb = statement.body.verb
    if entry.may(verb):
        return ""
    return f"the roles of this person ({', '.join(entry.roles)}) do not allow '{verb.value}'"


def _result(bundle: Bundle) -> SealResult:
    return SealResult(
        bundle=bundle.name,
        records=bundle.records,
        events=bundle.events,
        manifest_sha256=bundle.manifest_sha256,
    )
