from __future__ import annotations

import io
import json
import logging
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import structlog
from pydantic import BaseModel
from temporalio import activity
from temporalio.testing import ActivityEnvironment

from leaver.observability.logging import LogStyle, configure_logging
from leaver.observability.redaction import redact, redact_text

CANARY = "canary.person@example.test"
GUID = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"


class Log:
    """What was logged so far, as text and as events."""

    def __init__(self, stream: io.StringIO) -> None:
        self.stream = stream

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    before = (root.handlers[:], root.level, sys.excepthook, threading.excepthook)
    yield
    root.handlers[:], root.level, sys.excepthook, threading.excepthook = before
    logging.captureWarnings(False)
    structlog.reset_defaults()


@pytest.fixture
def log() -> Log:
    stream = io.StringIO()
    configure_logging(stream=stream)
    return Log(stream)


def look_up(table: dict[str, int], name: str) -> int:
    return table[name]


@activity.defn(name="test.fails")
def fails() -> None:
    try:
        look_up({}, f"mailbox of {CANARY} is gone; password=Sommer2026!")
    except KeyError:
        activity.logger.exception("Completing activity as failed, object %s", GUID)


def run_failing_activity() -> None:
    ActivityEnvironment().run(fails)


def test_a_traceback_logged_by_temporals_sdk_is_redacted(log: Log) -> None:
    run_failing_activity()
    assert CANARY not in log.text
    assert "Sommer2026" not in log.text
    (event,) = log.events
    assert "KeyError: 'mailbox of [mail] is gone; password=[redacted]" in event["exception"]
    assert event["logger"] == "temporalio.activity"
    assert GUID in event["event"]


def test_without_our_logging_that_traceback_is_in_the_clear() -> None:
    stream = io.StringIO()
    logging.getLogger().addHandler(logging.StreamHandler(stream))
    run_failing_activity()
    assert CANARY in stream.getvalue()


def test_an_event_is_one_json_line_with_time_in_utc(log: Log) -> None:
    structlog.get_logger("leaver.test").info("step.done", step="entra.block_sign_in", object=GUID, writes=1)
    (event,) = log.events
    stamp = event.pop("timestamp")
    assert stamp.endswith("Z")
    assert event == {
        "event": "step.done",
        "level": "info",
        "logger": "leaver.test",
        "object": GUID,
        "step": "entra.block_sign_in",
        "writes": 1,
    }


class Person(BaseModel):
    mail: str
    tags: list[str]


def test_values_are_redacted_at_every_depth_whatever_their_type(log: Log) -> None:
    structlog.get_logger("leaver.test").warning(
        "careless",
        nested={"list": [{"mail": CANARY}], CANARY: 1},
        model=Person(mail=CANARY, tags=[CANARY]),
        error=ValueError(CANARY),
        raw=CANARY.encode(),
        client_secret="hunter2hunter2",
        password=None,
    )
    assert CANARY not in log.text
    assert "hunter2" not in log.text
    (event,) = log.events
    assert event["client_secret"] == "[redacted]"
    assert event["password"] is None
    assert event["nested"] == {"list": [{"mail": "[mail]"}], "[mail]": 1}


def test_arguments_and_exceptions_of_plain_loggers_are_redacted(log: Log) -> None:
    try:
        try:
            look_up({}, CANARY)
        except KeyError as cause:
            raise RuntimeError("outer") from cause
    except RuntimeError:
        logging.getLogger("azure.identity").exception("for %s", CANARY)
    assert CANARY not in log.text
    assert "for [mail]" in log.events[0]["event"]
    assert "KeyError" in log.events[0]["exception"]


async def test_requests_of_httpx_are_not_logged_one_by_one(log: Log) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200))
    async with httpx.AsyncClient(transport=transport) as http:
        await http.get(f"https://graph.test/users/{CANARY}")
    assert log.text == ""


def test_uncaught_exceptions_are_logged_redacted(log: Log) -> None:
    def raise_it() -> None:
        raise ValueError(CANARY)

    thread = threading.Thread(target=raise_it)
    thread.start()
    thread.join()
    with pytest.raises(ValueError, match="canary") as caught:
        raise_it()
    sys.excepthook(caught.type, caught.value, caught.tb)
    assert CANARY not in log.text
    assert [(event["logger"], event["level"]) for event in log.events] == [
        ("leaver.uncaught", "critical")
    ] * 2


def test_warnings_are_logged_redacted(log: Log) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(f"about {CANARY}", UserWarning, stacklevel=1)
    assert CANARY not in log.text
    assert "about [mail]" in log.events[0]["event"]


def test_the_level_is_honoured_and_an_unknown_one_refused() -> None:
    stream = io.StringIO()
    configure_logging(level="error", stream=stream)
    structlog.get_logger("leaver.test").info("quiet")
    logging.getLogger("other").warning("quiet")
    assert stream.getvalue() == ""
    structlog.get_logger("leaver.test").error("loud")
    assert "loud" in stream.getvalue()
    with pytest.raises(ValueError, match="unknown log level 'chatty'"):
        configure_logging(level="chatty")


def test_the_console_style_is_redacted_too() -> None:
    stream = io.StringIO()
    configure_logging(style=LogStyle.CONSOLE, stream=stream)
    run_failing_activity()
    structlog.get_logger("leaver.test").info("hello", who=CANARY)
    assert CANARY not in stream.getvalue()
    assert "Traceback" in stream.getvalue()
    assert "who=[mail]" in stream.getvalue()


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (f"to {CANARY}.", "to [mail]."),
        (f"<{CANARY}>,{CANARY}", "<[mail]>,[mail]"),
        ("guest_partner.test#EXT#@corp.onmicrosoft.com", "[mail]"),
        ("/users/canary.person%40example.test/licenses", "/users/[mail]/licenses"),
        ("jürgen.müller@müller.example", "[mail]"),
        ("KeyError: 'o'brien@example.test'", "KeyError: '[mail]'"),
        ("smtp:canary@example.test", "smtp:[mail]"),
        ("12345@worker-host", "12345@worker-host"),
        (f"object {GUID}", f"object {GUID}"),
        ("leaver-c-abcdefghijklmnopqrstuvwxyz", "leaver-c-abcdefghijklmnopqrstuvwxyz"),
        ("Authorization: Bearer abcdefgh12345678", "Authorization: Bearer [redacted]"),
        ("sent Bearer abcdefgh12345678 there", "sent Bearer [redacted] there"),
        ("token eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.c2ln end", "token [redacted] end"),
        ("https://user:pa55@host.test/x", "https://[redacted]@host.test/x"),
        ("https://b.test/f?sv=1&sig=abc%3D&se=2", "https://b.test/f?sv=1&sig=[redacted]&se=2"),
        ('{"newPassword": "Som mer", "id": 1}', '{"newPassword": [redacted], "id": 1}'),
        ("{'client_secret': 'x y'}", "{'client_secret': [redacted]}"),
        ("pwd=abc;server=x", "pwd=[redacted];server=x"),
        ("forceChangePasswordNextSignIn", "forceChangePasswordNextSignIn"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\nnext", "[redacted]\nnext"),
    ],
)
def test_what_is_removed_and_what_stays(text: str, clean: str) -> None:
    assert redact_text(text) == clean


@pytest.mark.parametrize(
    "make",
    [
        lambda: "x" * 300_000,
        lambda: "a-" * 150_000,
        lambda: "@" * 300_000,
        lambda: "a@b." * 75_000,
        lambda: "password " * 30_000,
        lambda: "eyJ" * 100_000,
    ],
)
def test_long_texts_take_no_long_time(make: Callable[[], str]) -> None:
    text = make()
    begun = time.perf_counter()
    redact(text)
    assert time.perf_counter() - begun < 2
