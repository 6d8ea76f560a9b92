"""One directory of each kind per session, in a thread of its own; every test makes its own people in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from leaver.simulators.ad.running import RunningDirectory, admin_connection
from leaver.simulators.ad.samba import samba_available
from tests.support.ad_world import DirectoryThread, World


@pytest.fixture(scope="session")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDirectory]:
    thread = DirectoryThread(tmp_path_factory.mktemp("standin"), kind="standin")
    yield thread.start()
    thread.stop()


@pytest.fixture(scope="session")
def samba(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDirectory]:
    reason = samba_available()
    if reason:
        pytest.skip(reason)
    thread = DirectoryThread(tmp_path_factory.mktemp("samba"), kind="samba")
    yield thread.start()
    thread.stop()


@pytest.fixture(params=["standin", pytest.param("samba", marks=pytest.mark.samba)])
def ad(request: pytest.FixtureRequest) -> RunningDirectory:
    running: RunningDirectory = request.getfixturevalue(request.param)
    return running


@pytest.fixture
def world(ad: RunningDirectory) -> Iterator[World]:
    admin = admin_connection(ad)
    ad.faults.clear()
    ad.log.records.clear()
    made = World(ad, admin)
    yield made
    made.close()
    ad.faults.clear()
    admin.unbind()
