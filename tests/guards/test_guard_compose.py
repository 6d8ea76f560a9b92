"""docker-compose.yml, Dockerfile and their example configuration, read without Docker."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from leaver.config import load
from leaver.domain.search import SEARCH_ATTRIBUTES
from workers.roles import Role

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
WORKERS = {
    name.removeprefix("worker-"): each for name, each in SERVICES.items() if name.startswith("worker-")
}
PINNED = re.compile(r"[a-z/-]+:\d+\.\d+(\.\d+)?(-[a-z]+)*")


def test_it_is_a_valid_compose_file() -> None:
    assert sorted(PyCompose.from_json(interpolated(COMPOSE)).service_names()) == sorted(SERVICES)


def test_the_validation_can_fail() -> None:
    broken = copy.deepcopy(COMPOSE)
    broken["services"]["temporal"]["port"] = ["7233"]
    with pytest.raises(ValueError, match="port"):
        PyCompose.from_json(interpolated(broken))


def interpolated(compose: dict[str, Any]) -> str:
    """The file as Compose reads it once the variables are replaced, with the defaults or a made-up value."""
    text = json.dumps(compose)
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)
    text = re.sub(r"\$\{\w+:\?[^}]*\}", "made-up", text)
    return text.replace("$$", "$")


@pytest.mark.parametrize("name", SERVICES)
def test_every_port_is_published_on_loopback_only(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@pytest.mark.parametrize("name", SERVICES)
def test_every_foreign_image_is_pinned(name: str) -> None:
    image = SERVICES[name]["image"]
    assert image == "leaver:${LEAVER_VERSION:-local}" or PINNED.fullmatch(image)


def test_there_is_one_worker_per_role() -> None:
    assert {role: each["command"] for role, each in WORKERS.items()} == {
        role.value: [role.value] for role in Role
    }


def test_each_process_sees_only_its_own_secrets() -> None:
    seen = {name: set(each.get("secrets", [])) for name, each in SERVICES.items()}
    holders = {
        secret: {name for name, secrets in seen.items() if secret in secrets} for secret in COMPOSE["secrets"]
    }
    ours = {f"worker-{role.value}" for role in Role} | {"codec"}
    assert holders == {
        "payload_key": ours,
        "case_id_key": {"worker-evidence"},
        "microsoft_client_secret": {"worker-entra", "worker-exchange", "worker-onedrive"},
        "ad_password": {"worker-ad"},
        "evidence_signing_key": {"worker-evidence"},
        "evidence_log_key": {"worker-evidence"},
    }


@pytest.mark.parametrize("role", WORKERS)
def test_workers_are_confined(role: str) -> None:
    worker = WORKERS[role]
    assert worker["read_only"] is True
    assert worker["cap_drop"] == ["ALL"]
    assert "privileged" not in worker
    assert worker["environment"]["LEAVER_TEMPORAL__ADDRESS"] == "temporal:7233"


def test_what_needs_only_temporal_has_no_way_out() -> None:
    assert COMPOSE["networks"]["backend"]["internal"] is True
    inside = {name for name, each in SERVICES.items() if each.get("networks") == ["backend"]}
    assert {"postgresql", "worker-workflow"} <= inside


def test_retention_and_search_attributes_are_set() -> None:
    (script,) = SERVICES["temporal-prepare"]["command"]
    assert "--retention 90d" in script
    named = dict(re.findall(r"--name (\w+) --type (\w+)", script))
    assert named == SEARCH_ATTRIBUTES


def test_no_password_is_written_down() -> None:
    passwords = [
        value
        for each in SERVICES.values()
        for name, value in each.get("environment", {}).items()
        if re.search("PASSWORD|PWD|SECRET|TOKEN|KEY$", name) and not value.startswith("/run/secrets/")
    ]
    assert len(passwords) == 3
    assert all(value == "${POSTGRES_PASSWORD:?set it in .env}" for value in passwords)
    assert all(each["file"].startswith("${LEAVER_SECRETS_DIR:?") for each in COMPOSE["secrets"].values())


def test_the_example_configuration_is_accepted() -> None:
    config = load(ROOT / "examples/compose/leaver.toml")
    assert config.settings.mode.value == "notification_only"
    assert config.settings.temporal.namespace in SERVICES["temporal-prepare"]["command"][0]


def test_the_image_runs_unprivileged_from_the_lock() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert "USER leaver" in lines
    assert all(PINNED.fullmatch(line.split()[1]) for line in lines if line.startswith("FROM "))
    assert any("--require-hashes --no-deps" in line for line in lines)
