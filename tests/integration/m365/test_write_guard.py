"""The guard sits below every client: a wrong id cannot be touched, whatever calls it."""

from __future__ import annotations

from collections.abc import Awaitable

import pytest
from pydantic import SecretStr

from leaver.connectors.errors import WriteRefused
from leaver.connectors.guard import write_scope
from leaver.connectors.onedrive.protocol import Drive
from leaver.domain.words import Mode
from leaver.simulators.company import person
from leaver.simulators.m365.simulator import M365Simulator
from tests.support.m365_runs import Clients, writes

LEAVER, SUCCESSOR = person("E1001").object_id, person("E2001").object_id
STRANGER = person("E1004").object_id


async def refused(call: Awaitable[object]) -> None:
    with write_scope(Mode.ENFORCE, [LEAVER, SUCCESSOR]), pytest.raises(WriteRefused):
        await call


async def test_a_stranger_in_entra(clients: Clients, sim: M365Simulator) -> None:
    entra = clients.entra()
    await refused(entra.block_sign_in(STRANGER, SecretStr("x" * 12)))
    await refused(entra.set_password(STRANGER, SecretStr("x" * 12)))
    await refused(entra.revoke_sessions(STRANGER))
    await refused(entra.remove_licences(STRANGER, []))
    # A name instead of an id could be anybody's by now.
    await refused(entra.revoke_sessions(person("E1001").user_name))
    assert writes(sim) == []


async def test_a_stranger_in_exchange(clients: Clients, sim: M365Simulator) -> None:
    exchange = clients.exchange()
    await refused(exchange.convert_to_shared(STRANGER))
    await refused(exchange.grant_full_access(LEAVER, STRANGER))
    await refused(exchange.grant_full_access(STRANGER, SUCCESSOR))
    await refused(exchange.leave_group("any", STRANGER))
    await refused(exchange.set_auto_reply(person("E1001").user_name, "x"))
    assert writes(sim) == []


async def test_a_stranger_in_onedrive(clients: Clients, sim: M365Simulator) -> None:
    onedrive = clients.onedrive()
    own, other = await onedrive.drive(LEAVER), await onedrive.drive(STRANGER)
    assert own is not None
    assert other is not None
    await refused(onedrive.make_site_admin(own, STRANGER))
    await refused(onedrive.make_site_admin(other, SUCCESSOR))
    await refused(onedrive.grant_root(own, STRANGER))
    await refused(onedrive.grant_root(other, SUCCESSOR))
    assert writes(sim) == []


async def test_without_a_scope_nothing_is_written(clients: Clients, sim: M365Simulator) -> None:
    onedrive = clients.onedrive()
    drive = await onedrive.drive(LEAVER)
    assert isinstance(drive, Drive)
    for call in (
        clients.entra().revoke_sessions(LEAVER),
        clients.exchange().convert_to_shared(LEAVER),
        onedrive.make_site_admin(drive, SUCCESSOR),
        onedrive.grant_root(drive, SUCCESSOR),
    ):
        with pytest.raises(WriteRefused):
            await call
    assert writes(sim) == []
