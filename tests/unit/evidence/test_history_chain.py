from __future__ import annotations

import hashlib

import pytest
from google.protobuf.json_format import MessageToJson
from hypothesis import given
from hypothesis import strategies as st
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import History, HistoryEvent

from leaver.domain.ids import case_of_workflow, watch_workflow_id, workflow_id
from leaver.evidence.history.chain import START, heads, history_head, next_head, prefix_heads
from leaver.evidence.history.wire import CLOSING, after, closing_type, event_bytes, event_numbers
from leaver.temporal.event_diff import only_adds
from leaver.temporal.history import HistoryGapError, NotClosedError, history_file
from leaver.temporal.run_facts import CLOSING as CLOSING_TYPES

COMPLETED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED
SIGNALED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
UNKNOWN_FIELD = bytes([0xFA, 0x7F, 0x03]) + b"new"  # field 2047, three bytes: no version knows it

signals = st.builds(
    lambda name, data: (name, data), st.text(max_size=20), st.lists(st.binary(max_size=300), max_size=3)
)


def history(contents: list[tuple[str, list[bytes]]], *, closed: bool = True) -> History:
    made = History()
    for number, (name, payloads) in enumerate(contents, start=1):
        event = made.events.add(event_id=number, event_type=SIGNALED, task_id=2**40 + number)
        event.event_time.FromNanoseconds(1_700_000_000_123_456_789 + number)
        attributes = event.workflow_execution_signaled_event_attributes
        attributes.signal_name = name
        for data in payloads:
            payload = attributes.input.payloads.add(data=data)
            payload.metadata["encoding"], payload.metadata["a"] = b"binary/encrypted", b"b"
    if closed:
        made.events.add(event_id=len(contents) + 1, event_type=COMPLETED)
    return made


def raw_of(made: History) -> bytes:
    return made.SerializeToString(deterministic=True)


@given(st.lists(signals, max_size=12))
def test_the_events_are_found_as_protobuf_finds_them(contents: list[tuple[str, list[bytes]]]) -> None:
    made = history(contents)
    raw = raw_of(made)
    found = list(event_bytes(raw))
    assert [HistoryEvent.FromString(event) for event in found] == list(made.events)
    assert found == [event.SerializeToString(deterministic=True) for event in made.events]
    assert event_numbers(raw, is_json=False) == list(range(1, len(contents) + 2))
    assert event_numbers(MessageToJson(made).encode(), is_json=True) == list(range(1, len(contents) + 2))
    assert closing_type(raw) == "COMPLETED"


@given(st.lists(signals, min_size=1, max_size=8))
def test_the_chain_is_the_formula(contents: list[tuple[str, list[bytes]]]) -> None:
    raw = raw_of(history(contents))
    head = bytes(32)
    for event in event_bytes(raw):
        head = hashlib.sha256(head + hashlib.sha256(event).digest()).digest()
    assert history_head(raw) == (len(contents) + 1, head.hex())


@given(st.lists(signals, min_size=1, max_size=8), st.data())
def test_a_prefix_has_the_head_that_the_whole_has_there(
    contents: list[tuple[str, list[bytes]]], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(contents)))
    prefix = raw_of(history(contents[:cut], closed=False))
    count, head = history_head(prefix)
    assert prefix_heads(raw_of(history(contents)))[count] == head
    assert count == cut
    whole = raw_of(history(contents))
    assert prefix + after(whole, cut) == whole
    with pytest.raises(ValueError, match="fewer"):
        after(whole, len(contents) + 2)


@given(st.lists(signals, min_size=2, max_size=8, unique_by=str), st.data())
def test_any_change_of_a_prefix_changes_its_head(
    contents: list[tuple[str, list[bytes]]], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(contents) - 1))
    whole = prefix_heads(raw_of(history(contents)))
    dropped = prefix_heads(raw_of(history(contents[:place] + contents[place + 1 :])))
    other = [*contents]
    other[place] = (other[place][0] + "x", other[place][1])
    edited = prefix_heads(raw_of(history(other)))
    other = [*contents]
    first, second = data.draw(st.permutations(range(len(contents))))[:2]
    other[first], other[second] = other[second], other[first]
    swapped = prefix_heads(raw_of(history(other)))
    assert dropped[place + 1] != whole[place + 1]
    for number in range(place + 1, len(contents) + 1):
        assert edited[number] != whole[number]
    assert swapped[max(first, second) + 1] != whole[max(first, second) + 1]


@given(st.binary(max_size=200))
def test_other_bytes_are_refused_or_read_never_worse(raw: bytes) -> None:
    for read in (history_head, closing_type):
        try:
            read(raw)
        except ValueError:
            continue
    with pytest.raises(ValueError, match=r"histor|number"):
        event_numbers(raw if raw != b"" else b"\x00", is_json=True)


@given(st.lists(signals, min_size=1, max_size=5), st.data())
def test_a_cut_history_is_refused_or_shorter(
    contents: list[tuple[str, list[bytes]]], data: st.DataObject
) -> None:
    raw = raw_of(history(contents))
    cut = raw[: data.draw(st.integers(0, len(raw) - 1))]
    try:
        count, head = history_head(cut)
    except ValueError:
        return
    assert count <= len(contents)
    assert prefix_heads(raw)[count] == head


def test_no_events_have_the_first_head() -> None:
    assert history_head(b"") == (0, START.hex())
    assert list(heads([])) == []
    assert next_head(START, b"") == hashlib.sha256(START + hashlib.sha256(b"").digest()).digest()
    assert closing_type(b"") == ""


def test_fields_that_this_version_does_not_know_are_hashed_as_they_stand() -> None:
    made = history([("a", [])])
    event = made.events[0].SerializeToString(deterministic=True) + UNKNOWN_FIELD
    raw = b"\x0a" + bytes([len(event)]) + event + raw_of(History(events=made.events[1:]))
    assert next(event_bytes(raw)) == event
    assert history_head(raw)[1] != history_head(raw_of(made))[1]
    assert event_numbers(raw, is_json=False) == [1, 2]
    # protobuf keeps them when it reads and writes
    assert history_head(History.FromString(raw).SerializeToString(deterministic=True)) == history_head(raw)


def test_an_open_history_is_no_closed_one() -> None:
    made = history([("a", [])], closed=False)
    assert closing_type(raw_of(made)) == ""
    with pytest.raises(ValueError, match="not closed"):
        event_numbers(raw_of(made), is_json=False)
    with pytest.raises(ValueError, match="not closed"):
        event_numbers(MessageToJson(made).encode(), is_json=True)
    with pytest.raises(NotClosedError):
        history_file("w", "r", raw_of(made))


@pytest.mark.parametrize("numbers", [[1, 3], [2, 3], [1, 1], [2, 1]])
def test_events_that_are_not_numbered_one_to_n_are_refused(numbers: list[int]) -> None:
    made = history([("a", [])])
    for event, number in zip(made.events, numbers, strict=True):
        event.event_id = number
    with pytest.raises(HistoryGapError, match="not numbered 1 to 2"):
        history_file("w", "r", raw_of(made))


def test_an_event_without_a_number_is_refused() -> None:
    made = History(events=[HistoryEvent(event_type=COMPLETED)])
    with pytest.raises(ValueError, match="without a number"):
        event_numbers(raw_of(made), is_json=False)


def test_both_lists_of_closing_events_are_temporals() -> None:
    assert {f"EVENT_TYPE_WORKFLOW_EXECUTION_{name}": number for number, name in CLOSING.items()} == {
        EventType.Name(number): int(number) for number in CLOSING_TYPES
    }


def test_a_later_reading_may_only_add() -> None:
    before = history([("a", [b"x", b"y"]), ("b", [])], closed=False)
    now = history([("a", [b"x", b"y"]), ("b", [])])
    now.events[0].worker_may_ignore = True
    assert only_adds(raw_of(before), raw_of(now))
    assert not only_adds(raw_of(now), raw_of(before))
    now.events[0].workflow_execution_signaled_event_attributes.input.payloads.add(data=b"z")
    assert not only_adds(raw_of(before), raw_of(now))
    del now.events[0].workflow_execution_signaled_event_attributes.input.payloads[2]
    assert only_adds(raw_of(before), raw_of(now))
    now.events[1].event_time.seconds += 1
    assert not only_adds(raw_of(before), raw_of(now))
    assert not only_adds(raw_of(before), raw_of(history([("a", [b"x", b"y"])], closed=False)))


CASE = "c-" + "a" * 26


@pytest.mark.parametrize(
    ("given_id", "case"),
    [
        (workflow_id(CASE), CASE),
        (watch_workflow_id(CASE), CASE),
        (CASE, None),
        (f"leaver-{CASE}-other", None),
        (f"leaver-{CASE}-watch-watch", None),
        (f"leaver-{CASE}\n", None),
        (f"{CASE}-watch", None),
        ("leaver-erika.mustermann", None),
        ("leaver-", None),
        ("", None),
    ],
)
def test_the_case_of_a_workflow_id(given_id: str, case: str | None) -> None:
    assert case_of_workflow(given_id) == case
