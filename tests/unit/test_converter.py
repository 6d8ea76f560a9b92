from __future__ import annotations

import traceback
from datetime import UTC, datetime

import pytest
from pydantic import BaseModel
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.exceptions import ApplicationError

from leaver.temporal.codec import ENCODING, UnknownKeyError
from leaver.temporal.converter import PayloadShapeError, data_converter
from leaver.temporal.keyring import Keyring

CANARY = "canary.person@example.test"


class Person(BaseModel):
    mail: str
    leaves_at: datetime


PERSON = Person(mail=CANARY, leaves_at=datetime(2026, 11, 30, 17, tzinfo=UTC))


async def test_models_are_encrypted_and_come_back_typed() -> None:
    converter = data_converter(Keyring.generate("k1"))
    payloads = await converter.encode([PERSON])
    assert payloads[0].metadata["encoding"] == ENCODING
    assert CANARY.encode() not in payloads[0].SerializeToString()
    assert await converter.decode(payloads, [Person]) == [PERSON]


async def test_without_a_keyring_payloads_are_readable() -> None:
    payloads = await data_converter(None).encode([PERSON])
    assert CANARY.encode() in payloads[0].data


async def test_failures_hide_message_and_stack_trace_and_keep_the_type() -> None:
    converter = data_converter(Keyring.generate("k1"))
    failure = Failure()
    await converter.encode_failure(raised(), failure)
    assert CANARY.encode() not in failure.SerializeToString()
    assert failure.application_failure_info.type == "throttled"
    back = await converter.decode_failure(failure)
    assert isinstance(back, ApplicationError)
    assert back.message == f"about {CANARY}"
    assert CANARY in str(back.__cause__)


async def test_a_long_chain_of_failures_stays_below_the_servers_limit() -> None:
    converter = data_converter(Keyring.generate("k1"))
    failure = Failure()
    await converter.encode_failure(deep(ApplicationError("x" * 1000, type="throttled"), 30), failure)
    assert failure.ByteSize() < 4096
    back = await converter.decode_failure(failure)
    assert isinstance(back, ApplicationError)
    assert back.message == "x" * 1000
    assert "in deep" in str(failure_trace(back))
    assert back.__cause__ is not None
    assert str(back.__cause__).startswith("ValueError: cause 29 ")


def deep(error: Exception, levels: int) -> Exception:
    cause: Exception | None = None
    for level in range(levels):
        above = ValueError(f"cause {level} " + "y" * 2000)
        above.__cause__ = cause
        cause = above
    with pytest.raises(ApplicationError) as caught:
        raise error from cause
    return caught.value


def failure_trace(error: ApplicationError) -> str:
    assert error.failure is not None
    return error.failure.stack_trace


async def test_without_a_keyring_failures_are_readable() -> None:
    failure = Failure()
    await data_converter(None).encode_failure(raised(), failure)
    assert CANARY.encode() in failure.SerializeToString()


async def test_another_installation_cannot_read_a_failure() -> None:
    failure = Failure()
    await data_converter(Keyring.generate("k1")).encode_failure(raised(), failure)
    with pytest.raises(UnknownKeyError):
        await data_converter(Keyring.generate("k2")).decode_failure(failure)


async def test_a_payload_of_the_wrong_shape_is_named_by_field_and_not_quoted() -> None:
    payload = Payload(metadata={"encoding": b"json/plain"}, data=b'{"mail": ["%s"]}' % CANARY.encode())
    with pytest.raises(PayloadShapeError) as caught:
        await data_converter(None).decode([payload], [Person])
    assert "mail: string_type; leaves_at: missing" in str(caught.value)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def raised() -> ApplicationError:
    error = ApplicationError(f"about {CANARY}", type="throttled")
    error.__cause__ = ValueError(f"the cause, {CANARY}")
    with pytest.raises(ApplicationError) as caught:
        raise error
    return caught.value
