"""The models themselves: frozen, aware of time zones, the same after a journey through Temporal."""

from __future__ import annotations

import importlib
import pkgutil
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

import leaver.domain
from leaver.domain.account import Account, LinkRule, ResolveInput, ResolveResult
from leaver.domain.base import Document, Facts, Instant, Message, canonical, digest
from leaver.domain.board import Board
from leaver.domain.catalogue import CATALOGUE
from leaver.domain.effect import Attempt, Effect, MailboxFacts, Receipt, UnitInput, UnitResult
from leaver.domain.event import LeaverEvent
from leaver.domain.plan import build_plan
from leaver.domain.policy import Policy
from leaver.domain.records import AppendInput, RecordDraft
from leaver.domain.statement import Statement, StatementBody, Verdict
from leaver.domain.words import ErrorType, Mode, Outcome, Reason, RecordType, System, Verb
from leaver.temporal.converter import data_converter
from leaver.temporal.keyring import Keyring
from tests.support.world import case_input, event

NOW = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)

for module in pkgutil.iter_modules(leaver.domain.__path__):
    importlib.import_module(f"leaver.domain.{module.name}")


def models(base: type[BaseModel]) -> list[type[BaseModel]]:
    below = [each for cls in base.__subclasses__() for each in [cls, *models(cls)]]
    return [cls for cls in below if cls.__module__.startswith("leaver.domain")]


ACCOUNT = Account(
    system=System.ENTRA, id="a", rule=LinkRule.MAIL, synced=True, linked_id="b", before={"n": [1, None, "é"]}
)
RECEIPT = Receipt(method="GET", path="/users/{id}", status=200, mutating=False, at=NOW)
EFFECT = Effect(
    step="entra.block_sign_in",
    outcome=Outcome.OPEN,
    before={"account_enabled": True},
    reason=Reason.ACCESS_DENIED,
    started_at=NOW,
    finished_at=NOW + timedelta(microseconds=1),
    receipts=(RECEIPT,),
)
POLICY = Policy.model_validate({"systems": {"ad": {"enabled": False}}, "mode": "enforce"})
EVENT = event(effective_at=NOW)
BODY = StatementBody(
    case="c-" + "a" * 26, verb=Verb.APPROVE, by="E2001", at=NOW, nonce="n", plan_digest="sha256:1"
)
SAMPLES: list[BaseModel] = [
    ACCOUNT,
    ResolveInput(case="c", person=EVENT.data.person, mode=Mode.ENFORCE, linked=(ACCOUNT,)),
    ResolveResult(system=System.AD, account=ACCOUNT, reason=Reason.WRONG_PERSON),
    EFFECT,
    UnitInput(
        case="c",
        unit="entra.contain",
        mode=Mode.ENFORCE,
        account=ACCOUNT,
        steps=("entra.block_sign_in",),
        not_before=NOW,
        parameters={"a": {"b": 1.5}},
    ),
    UnitResult(
        system=System.ENTRA, effects=(EFFECT,), attempts=(Attempt(number=1, error=ErrorType.THROTTLED),)
    ),
    MailboxFacts(exists=True, size_bytes=2**40, receipts=(RECEIPT,)),
    EVENT,
    POLICY,
    case_input(EVENT, POLICY, received_at=NOW),
    build_plan(case="c", policy=POLICY, accounts=(ACCOUNT,), successor=ACCOUNT),
    Statement(body=BODY, key_id="k", signature="c2ln"),
    Verdict(valid=True, roles=("approver",)),
    AppendInput(drafts=(RecordDraft(case="c", case_seq=0, type=RecordType.PLAN, at=NOW, body={"x": "y"}),)),
]


@pytest.mark.parametrize("cls", [*models(Message), *models(Document)], ids=lambda cls: cls.__name__)
def test_every_model_is_frozen(cls: type[BaseModel]) -> None:
    assert cls.model_config["frozen"] is True
    assert cls.model_config["extra"] == ("forbid" if issubclass(cls, Document) else "ignore")


def test_a_frozen_model_refuses_a_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        ACCOUNT.id = "other"


@pytest.mark.parametrize("sample", SAMPLES, ids=[type(sample).__name__ for sample in SAMPLES])
async def test_a_model_is_the_same_after_temporal(sample: BaseModel) -> None:
    converter = data_converter(Keyring.generate("k1"))
    (back,) = await converter.decode(await converter.encode([sample]), [type(sample)])
    assert back == sample
    assert canonical(back) == canonical(sample)


def test_a_newer_workers_message_is_read_and_a_strangers_document_is_not() -> None:
    assert Account.model_validate({**ACCOUNT.model_dump(mode="json"), "new": 1}) == ACCOUNT
    raw = EVENT.model_dump(mode="json")
    raw["data"]["person"]["salary"] = 1
    with pytest.raises(ValidationError, match="salary"):
        LeaverEvent.model_validate(raw)


@given(st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2100, 1, 1)), st.integers(-840, 840))  # noqa: DTZ001
def test_instants_are_kept_in_utc(naive: datetime, minutes: int) -> None:
    adapter: TypeAdapter[datetime] = TypeAdapter(Instant)
    local = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    told = adapter.validate_python(local)
    assert told == local
    assert told.utcoffset() == timedelta()
    assert adapter.validate_json(adapter.dump_json(told)) == told
    with pytest.raises(ValidationError):
        adapter.validate_python(naive)


facts = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=6), facts, max_size=4))
def test_the_digest_does_not_depend_on_the_order_of_keys(body: Facts) -> None:
    one = ACCOUNT.model_copy(update={"before": body})
    other = ACCOUNT.model_copy(update={"before": dict(reversed(body.items()))})
    assert digest(one) == digest(other)
    assert digest(ACCOUNT.model_copy(update={"before": {**body, "one more": 1}})) != digest(one)


def test_the_digest_of_a_policy_stays_what_it_is() -> None:
    """It stands in the evidence of old cases: a change of the canonical form would disown them."""
    assert canonical(Account(system=System.AD, id="1", rule=LinkRule.MAIL)) == (
        b'{"before":{},"id":"1","linked_id":null,"locator":null,"rule":"mail","synced":false,"system":"ad"}'
    )
    assert digest(Account(system=System.AD, id="1", rule=LinkRule.MAIL)) == (
        "sha256:fa90ac1d2b44bfb608a2c91f6282914ab524c7765079961c202c453f7d15d5cc"
    )


def test_workers_clocks_do_not_decide_what_came_first() -> None:
    """A worker whose clock is an hour ahead must not make later steps run for an hour again and again."""
    board = Board(POLICY, NOW)
    for name in ("entra.block_sign_in", "entra.remove_auth_methods"):
        board._add(CATALOGUE[name])
    ahead = NOW + timedelta(hours=1)
    for name, at in (("entra.block_sign_in", ahead), ("entra.remove_auth_methods", NOW)):
        board.settle(Effect(step=name, outcome=Outcome.VERIFIED, started_at=at, finished_at=at))
    assert board.stale == ()
    board.settle(
        Effect(step="entra.block_sign_in", outcome=Outcome.VERIFIED, started_at=NOW, finished_at=NOW)
    )
    assert board.stale == ("entra.remove_auth_methods",)
