"""How values become payloads: pydantic JSON, then encryption; failures are encrypted as well."""

from __future__ import annotations

from typing import Any, Final

from pydantic import ValidationError
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.contrib.pydantic import PydanticJSONPlainPayloadConverter
from temporalio.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultFailureConverterWithEncodedAttributes,
    DefaultPayloadConverter,
    JSONPlainPayloadConverter,
    PayloadConverter,
)

from leaver.temporal.codec import PayloadCodec
from leaver.temporal.keyring import Keyring

_TRACE_CHARS: Final = 1000
_CAUSE_CHARS: Final = 300


class PayloadShapeError(ValueError):
    """A payload does not fit the type that was asked for; names the fields, never their values."""


class LeaverPayloadConverter(CompositePayloadConverter):
    """Temporal's pydantic converter, whose validation errors do not quote the payload.

    pydantic repeats the offending input in its message, and the SDK logs that message with the traceback: a
    malformed signal would write a leaver's name into the worker's log.
    """

    def __init__(self) -> None:
        super().__init__(
            *(
                _QuietJsonConverter() if isinstance(each, JSONPlainPayloadConverter) else each
                for each in DefaultPayloadConverter.default_encoding_payload_converters
            )
        )


class _QuietJsonConverter(PydanticJSONPlainPayloadConverter):
    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        try:
            return super().from_payload(payload, type_hint)
        except ValidationError as err:
            found = "; ".join(
                f"{'.'.join(str(part) for part in each['loc']) or '(whole payload)'}: {each['type']}"
                for each in err.errors(include_url=False, include_context=False, include_input=False)
            )
            wanted = getattr(type_hint, "__name__", "value")
            # "from None": the cause would bring the input back into the traceback.
            raise PayloadShapeError(f"payload is not a valid {wanted}: {found}") from None


class BriefFailureConverter(DefaultFailureConverterWithEncodedAttributes):
    """Encoded failures that the server keeps whole.

    The server keeps the last failure of an activity that is tried again only up to 4 kB
    (``limit.mutableStateActivityFailureSize.error``). A longer one becomes "Failure exceeds size limit.", and
    nobody sees any more why an attempt failed. So traces are cut to their end, and causes to the first two.
    """

    def to_failure(
        self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure
    ) -> None:
        """See base class, which calls this for each cause too."""
        super().to_failure(exception, payload_converter, failure)
        _cut(failure, payload_converter, message=None, trace=_TRACE_CHARS)
        if failure.HasField("cause"):
            _cut(failure.cause, payload_converter, message=_CAUSE_CHARS, trace=_CAUSE_CHARS)
            if failure.cause.HasField("cause"):
                failure.cause.cause.ClearField("cause")


def _cut(failure: Failure, converter: PayloadConverter, *, message: int | None, trace: int) -> None:
    (said,) = converter.from_payloads([failure.encoded_attributes])
    brief = {"message": said["message"][:message], "stack_trace": said["stack_trace"][-trace:]}
    failure.encoded_attributes.CopyFrom(converter.to_payloads([brief])[0])


def data_converter(
    keyring: Keyring | None, *, namespace: str = "default", encrypt: bool = True
) -> DataConverter:
    """The converter that every client and worker of an installation uses.

    Args:
        keyring: The payload keys; None leaves payloads in plain text, for tests and controls only.
        namespace: Temporal's namespace, the scope that payloads are sealed for.
        encrypt: False stops encrypting new payloads; those already encrypted stay readable.

    Returns:
        A converter whose failures carry message and stack trace as encrypted attributes. The failure's
        ``type`` stays in plain text (Temporal's design): it must come from a closed set.
    """
    return DataConverter(
        payload_converter_class=LeaverPayloadConverter,
        failure_converter_class=BriefFailureConverter,
        payload_codec=None if keyring is None else PayloadCodec(keyring, scope=namespace, encrypt=encrypt),
    )
