"""The write guard and the collector of receipts, on their own."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaver.connectors.errors import WriteRefused
from leaver.connectors.guard import WriteGuard, write_scope
from leaver.connectors.receipts import record, recording
from leaver.domain.effect import Receipt
from leaver.domain.words import Mode

ids = st.text(alphabet="abcdef0123456789-", min_size=1, max_size=12)


def receipt(path: str) -> Receipt:
    return Receipt(method="GET", path=path, status=200, mutating=False, at=datetime.now(UTC))


def passes(guard: WriteGuard, *objects: str) -> bool:
    try:
        guard.check("PATCH /users/{id}", objects)
    except WriteRefused:
        return False
    return True


@given(st.sets(ids, max_size=4), st.sets(ids, max_size=4), st.sampled_from(Mode), st.sampled_from(Mode))
def test_a_write_passes_only_on_objects_of_the_case_and_where_both_switches_are_on(
    subjects: set[str], objects: set[str], installation: Mode, case: Mode
) -> None:
    with write_scope(case, subjects):
        allowed = passes(WriteGuard(installation), *objects)
    both = installation is case is Mode.ENFORCE
    assert allowed is (both and bool(objects) and objects <= subjects)


def test_outside_any_scope_nothing_is_written() -> None:
    with pytest.raises(WriteRefused, match="notification-only"):
        WriteGuard(Mode.ENFORCE).check("DELETE /users/{id}", ["a"])


def test_ids_are_compared_without_case() -> None:
    with write_scope(Mode.ENFORCE, ["AB-1"]):
        assert passes(WriteGuard(Mode.ENFORCE), "ab-1")
        assert passes(WriteGuard(Mode.ENFORCE), "aB-1", "AB-1")


def test_a_request_that_names_no_object_is_refused() -> None:
    with write_scope(Mode.ENFORCE, ["a"]), pytest.raises(WriteRefused, match="names no object"):
        WriteGuard(Mode.ENFORCE).check("POST /$batch", [])


def test_the_refusal_names_the_operation_and_no_object() -> None:
    with write_scope(Mode.ENFORCE, ["a"]), pytest.raises(WriteRefused) as caught:
        WriteGuard(Mode.ENFORCE).check("PATCH /users/{id}", ["mira.lindqvist@northwind.example"])
    assert "PATCH /users/{id}" in str(caught.value)
    assert "mira" not in str(caught.value)


def test_a_scope_ends_with_its_block_even_after_an_error() -> None:
    guard = WriteGuard(Mode.ENFORCE)

    def fail_inside() -> None:
        with write_scope(Mode.ENFORCE, ["a"]):
            with write_scope(Mode.ENFORCE, ["b"]):
                assert not passes(guard, "a")
            assert passes(guard, "a")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert not passes(guard, "a")


async def test_scopes_of_units_side_by_side_do_not_mix() -> None:
    guard = WriteGuard(Mode.ENFORCE)

    async def unit(mine: str, other: str) -> tuple[bool, bool, bool]:
        with write_scope(Mode.ENFORCE, [mine]):
            await asyncio.sleep(0)
            threaded = await asyncio.to_thread(passes, guard, mine)
            return passes(guard, mine), passes(guard, other), threaded

    answers = await asyncio.gather(unit("a", "b"), unit("b", "a"))
    assert answers == [(True, False, True), (True, False, True)]


async def test_receipts_go_to_the_unit_that_made_the_call() -> None:
    async def unit(name: str) -> list[str]:
        with recording() as receipts:
            record(receipt(f"/{name}/1"))
            await asyncio.sleep(0)
            await asyncio.to_thread(record, receipt(f"/{name}/2"))
        record(receipt("/nobody"))
        return [one.path for one in receipts]

    assert await asyncio.gather(unit("a"), unit("b")) == [["/a/1", "/a/2"], ["/b/1", "/b/2"]]


def test_an_inner_recording_keeps_its_own() -> None:
    with recording() as outer:
        record(receipt("/1"))
        with recording() as inner:
            record(receipt("/2"))
        record(receipt("/3"))
    assert [one.path for one in outer] == ["/1", "/3"]
    assert [one.path for one in inner] == ["/2"]
