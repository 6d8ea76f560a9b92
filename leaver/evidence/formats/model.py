"""What the formats are made of: cases read from their records, control exceptions, the checkpoint.

Everything comes from records, so that whoever holds the records makes the same files again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from pydantic import ValidationError

from leaver.domain.base import Facts
from leaver.domain.words import Outcome, RecordType
from leaver.evidence.bodies import Raised, Result
from leaver.evidence.case_view import case_view
from leaver.evidence.errors import UnreadableRecordsError
from leaver.evidence.records import Chain, Record
from leaver.evidence.views import CaseView, ExceptionView, StepView

DRIFT: Final = "drift"
"""Why the watch raises an exception: a proven state is not as it was left."""


@dataclass(frozen=True, slots=True)
class Anchors:
    """The checkpoint that the files speak for, and who outside vouches for it.

    ``root`` is hex, ``at`` when the checkpoint was signed (UTC), ``vouchers`` the names of the timestamp
    authorities and witnesses that hold it and are not the operator's own. ``hr_pull`` is when the list of HR
    was pulled that the cases were counted against without a difference, None where none was.
    """

    origin: str
    size: int
    root: str
    at: datetime
    vouchers: tuple[str, ...] = ()
    hr_pull: datetime | None = None

    @property
    def claim(self) -> str:
        """What may be claimed of the records, in words."""
        since = f"Tamper-evident since checkpoint {self.size} of {self.origin}"
        whole = (
            f"complete against the HR pull of {self.hr_pull.astimezone(UTC):%Y-%m-%d}"
            if self.hr_pull
            else "not counted against HR here"
        )
        if self.vouchers:
            return f"{since}, {whole}. Anchored outside by {', '.join(self.vouchers)}."
        return f"{since}, {whole}. Anchors: none. Whoever holds the log key could have rebuilt the log."


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record stands: ``seq`` in the log, ``case_seq`` in its chain, ``leaf`` its hash (hex)."""

    case: str
    chain: Chain
    case_seq: int
    seq: int
    leaf: str
    type: RecordType
    at: datetime

    @classmethod
    def of(cls, record: Record) -> Place:
        """The place of a record."""
        return cls(
            case=record.case,
            chain=record.chain,
            case_seq=record.case_seq,
            seq=record.seq,
            leaf=record.leaf,
            type=record.type,
            at=record.at,
        )


@dataclass(frozen=True, slots=True)
class ExceptionItem:
    """A control exception of a case, or of the installation (``case`` is then the word ``log``).

    ``shown_by`` is the record that raised it, or the result that shows it where nobody raised it; None where
    there is no record at all (a planned step that never ran). ``key`` tells apart what else would look the
    same: the run of a history, the finding of a comparison. ``resolved_by`` is the record that ended it.
    """

    case: str
    cause: str
    key: str = ""
    step: str | None = None
    detail: str = ""
    due: datetime | None = None
    raised_at: datetime | None = None
    times: int = 1
    recorded: bool = True
    shown_by: Place | None = None
    resolved_by: Place | None = None

    @property
    def open(self) -> bool:
        """Whether it stands."""
        return self.resolved_by is None

    @property
    def cured(self) -> bool:
        """Whether a later result of the case proved the step within its time.

        What a person closed, or what drifted and was put right, has happened all the same.
        """
        return self.resolved_by is not None and self.resolved_by.type is RecordType.RESULT

    @property
    def name(self) -> str:
        """The same for the same exception in every file, whatever the checkpoint."""
        first = self.shown_by
        where = f"{first.chain.value}/{first.case_seq}" if first else "none"
        return "/".join(("exception", self.case, self.step or "-", self.cause, self.key or "-", where))


@dataclass(frozen=True, slots=True)
class CaseEvidence:
    """A case as its records tell it, and where each record stands.

    ``results`` holds every result in order, also those that a re-run replaced.
    """

    view: CaseView
    places: Mapping[int, Place]
    results: tuple[tuple[Place, Result], ...]
    exceptions: tuple[ExceptionItem, ...]

    def place_of(self, step: StepView) -> Place | None:
        """Where the step's last result stands; None while it has none."""
        return None if step.record is None else self.places[step.record]

    @property
    def last(self) -> Place:
        """The case's last record."""
        return self.places[max(self.places)]


Href = Callable[[Place], str]
"""Where a record's file lies, relative to the file that refers to it."""


def in_bundle(place: Place) -> str:
    """In the case's own bundle, beside the file that refers to it."""
    return f"records/{place.seq:08d}.json"


def in_bundles(place: Place) -> str:
    """In the folder of all bundles, for a file beside them."""
    return f"{place.case}/{in_bundle(place)}"


def case_evidence(
    records: Sequence[Record], *, watch: Sequence[Record] = (), sealer: Sequence[Record] = ()
) -> CaseEvidence:
    """Read a case from its ``case`` chain, in order, and if given from its ``watch`` and ``sealer`` chains.

    Raises:
        UnreadableRecordsError: the records do not tell a case.
    """
    view = case_view(records)
    places = {record.case_seq: Place.of(record) for record in records}
    results = tuple(
        (Place.of(record), _result(record)) for record in records if record.type is RecordType.RESULT
    )
    own = tuple(_of_view(view.case, item, places) for item in view.exceptions)
    return CaseEvidence(
        view=view,
        places=places,
        results=results,
        exceptions=exceptions_of((*watch, *sealer), own),
    )


def exceptions_of(
    records: Iterable[Record], known: Sequence[ExceptionItem] = ()
) -> tuple[ExceptionItem, ...]:
    """The exceptions that the watch, the sealer or the log's own chain raised, added to those known.

    The same exception is told once until it ends: with an ``exception.closed`` that names it, or, where a
    proven state had drifted, with a later read-back that proves it again. A finding of the comparison with
    HR (``recon.finding``) is one too.

    Raises:
        UnreadableRecordsError: a record has another body than its type says.
    """
    told = list(known)
    for record in sorted(records, key=lambda record: record.seq):
        if record.type in (RecordType.EXCEPTION_RAISED, RecordType.RECONCILIATION_FINDING):
            _raise(told, _item(record))
        elif record.type in (RecordType.EXCEPTION_CLOSED, RecordType.READBACK):
            place = Place.of(record)
            told = [replace(i, resolved_by=place) if i.open and _ends(record, i) else i for i in told]
    return tuple(told)


def _raise(told: list[ExceptionItem], fresh: ExceptionItem) -> None:
    same = (fresh.case, fresh.step, fresh.cause, fresh.key)
    for index, item in enumerate(told):
        if item.open and (item.case, item.step, item.cause, item.key) == same:
            told[index] = replace(item, times=item.times + 1)
            return
    told.append(fresh)


def _item(record: Record) -> ExceptionItem:
    place = Place.of(record)
    if record.type is RecordType.RECONCILIATION_FINDING:
        kind = _text(record.body, "kind")
        if not kind:
            raise UnreadableRecordsError(_unreadable(record))
        return ExceptionItem(
            case=record.case,
            cause=f"recon.{kind}",
            key=_text(record.body, "finding"),
            detail=_text(record.body, "detail"),
            raised_at=record.at,
            shown_by=place,
        )
    body = _raised(record)
    return ExceptionItem(
        case=record.case,
        cause=body.cause,
        key=_text(record.body, "run_id"),
        step=body.step,
        detail=body.detail,
        due=body.due,
        raised_at=record.at,
        shown_by=place,
    )


def _ends(record: Record, item: ExceptionItem) -> bool:
    if record.case != item.case:
        return False
    if record.type is RecordType.EXCEPTION_CLOSED and "finding" in record.body:
        return item.key != "" and _text(record.body, "finding") == item.key
    if _text(record.body, "step") != (item.step or ""):
        return False
    if record.type is RecordType.EXCEPTION_CLOSED:
        return _text(record.body, "cause") == item.cause
    return item.cause == DRIFT and _text(record.body, "outcome") == Outcome.VERIFIED


def _of_view(case: str, item: ExceptionView, places: Mapping[int, Place]) -> ExceptionItem:
    shown = None if item.record is None else places[item.record]
    return ExceptionItem(
        case=case,
        cause=item.cause,
        step=item.step,
        detail=item.detail,
        due=item.due,
        raised_at=shown.at if shown else None,
        times=item.times,
        recorded=item.recorded,
        shown_by=shown,
        resolved_by=None if item.resolved is None else places[item.resolved],
    )


def _text(body: Facts, key: str) -> str:
    value = body.get(key)
    return value if isinstance(value, str) else ""


def _raised(record: Record) -> Raised:
    try:
        return Raised.model_validate(record.body)
    except ValidationError:
        raise UnreadableRecordsError(_unreadable(record)) from None


def _result(record: Record) -> Result:
    try:
        return Result.model_validate(record.body)
    except ValidationError:
        raise UnreadableRecordsError(_unreadable(record)) from None


def _unreadable(record: Record) -> str:
    return f"record {record.case_seq} of chain {record.chain.value} has another body than its type says"
