"""The configuration: every problem at once, secrets by reference, nothing secret in any text."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from leaver.config import Config, ConfigError, load, load_policy
from leaver.domain.words import Mode

SECRET = "a very secret value indeed"
KEY = "base64:" + base64.b64encode(bytes(32)).decode()
MINIMAL = """
case_id_key = "env:CASE_KEY"
[encryption]
current = "k1"
keys = { k1 = "file:payload.key" }
"""
MICROSOFT = """
[microsoft]
tenant_id = "t"
client_id = "c"
client_secret = "env:CLIENT_SECRET"
"""
AD = """
[ad]
servers = ["ldaps://dc1.corp.example"]
base_dn = "DC=corp,DC=example"
bind_dn = "CN=svc,DC=corp,DC=example"
password = "file:ad-password"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("LEAVER_CONFIG", "CLIENT_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CASE_KEY", "0123456789abcdef0123456789abcdef")
    (tmp_path / "payload.key").write_text(KEY)
    return tmp_path


def config(folder: Path, text: str) -> Config:
    (folder / "leaver.toml").write_text(text)
    return load(folder / "leaver.toml")


def problems(call: object, *args: object) -> str:
    with pytest.raises(ConfigError) as caught:
        call(*args)  # type: ignore[operator]
    return "\n".join(caught.value.problems)


def test_a_new_installation_writes_nothing(folder: Path) -> None:
    loaded = config(folder, MINIMAL)
    (folder / "policy.toml").write_text('mode = "enforce"\n')
    assert loaded.settings.mode is Mode.NOTIFICATION_ONLY
    assert loaded.policy().mode is Mode.NOTIFICATION_ONLY


def test_both_switches_are_needed_to_write(folder: Path) -> None:
    loaded = config(folder, 'mode = "enforce"\n' + MINIMAL)
    (folder / "policy.toml").write_text('mode = "notification_only"\n')
    assert loaded.policy().mode is Mode.NOTIFICATION_ONLY
    (folder / "policy.toml").write_text('mode = "enforce"\n')
    assert loaded.policy().mode is Mode.ENFORCE


def test_every_problem_is_named_at_once(folder: Path) -> None:
    text = 'mode = "maybe"\nunknown = 1\ncase_id_key = "plain text"\n[temporal]\nadress = "x"\n'
    said = problems(config, folder, text)
    for part in ("mode:", "unknown:", "case_id_key:", "temporal.adress:", "encryption:"):
        assert part in said


def test_the_environment_wins_over_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAVER_TEMPORAL__ADDRESS", "temporal.corp.example:7233")
    loaded = config(folder, MINIMAL + '[temporal]\naddress = "127.0.0.1:1"\nnamespace = "hr"\n')
    assert loaded.temporal().address == "temporal.corp.example:7233"
    assert loaded.temporal().namespace == "hr"


@pytest.mark.parametrize(
    ("text", "part"),
    [("", "no such file"), ("mode = ", "is not valid TOML")],
    ids=["missing", "broken"],
)
def test_an_unreadable_file(folder: Path, text: str, part: str) -> None:
    if text:
        (folder / "leaver.toml").write_text(text)
    assert part in problems(load, folder / "leaver.toml")


def test_missing_secrets_are_named_by_setting(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = config(folder, MINIMAL + MICROSOFT + AD)
    assert "microsoft.client_secret" in problems(loaded.entra)
    assert "ad.password" in problems(loaded.ad)
    monkeypatch.delenv("CASE_KEY")
    assert "CASE_KEY is not set" in problems(loaded.case_id_key)
    (folder / "payload.key").write_text("")
    assert "is empty" in problems(loaded.keyring)


@pytest.mark.parametrize("key", ["short", KEY[:-8], "hex:zz", "plain"])
def test_unusable_keys(folder: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    loaded = config(folder, MINIMAL)
    (folder / "payload.key").write_text(key)
    assert "encryption" in problems(loaded.keyring)
    monkeypatch.setenv("CASE_KEY", "short")
    assert "case_id_key" in problems(loaded.case_id_key)


def test_a_role_without_its_section_says_which(folder: Path) -> None:
    loaded = config(folder, MINIMAL)
    assert "[microsoft] section" in problems(loaded.exchange)
    assert "[ad] section" in problems(loaded.ad)


@pytest.mark.parametrize(
    ("line", "call", "part"),
    [
        ('authority = "http://login.example"', "entra", "authority: must be an https address"),
        ('graph_url = "http://graph.example/v1.0"', "entra", "graph_url: must be an https address"),
        ('exchange_url = "http://exchange.example"', "exchange", "exchange_url: must be an https address"),
        ('ca_file = "nowhere.pem"', "onedrive", "microsoft.ca_file"),
    ],
)
def test_tokens_never_travel_in_the_clear(
    folder: Path, monkeypatch: pytest.MonkeyPatch, line: str, call: str, part: str
) -> None:
    monkeypatch.setenv("CLIENT_SECRET", SECRET)
    loaded = config(folder, MINIMAL + MICROSOFT + line)
    assert part in problems(getattr(loaded, call))


def test_ldap_in_the_clear_is_refused(folder: Path) -> None:
    (folder / "ad-password").write_text(SECRET)
    loaded = config(folder, MINIMAL + AD.replace("ldaps://dc1.corp.example", "http://dc1"))
    assert "servers" in problems(loaded.ad)


def test_no_secret_shows_in_any_text(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIENT_SECRET", SECRET)
    (folder / "ad-password").write_text(SECRET)
    loaded = config(folder, MINIMAL + MICROSOFT + AD)
    shown = [repr(each) + str(each) for each in (loaded.settings, loaded.entra(), loaded.ad())]
    shown.append(repr(loaded.keyring()))
    assert loaded.ad().password.get_secret_value() == SECRET
    assert not any(SECRET in text for text in shown)


def test_paths_are_relative_to_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    loaded = config(folder, MINIMAL)
    monkeypatch.chdir(elsewhere)
    assert loaded.path(Path("ledger.db")) == folder / "ledger.db"
    assert loaded.keyring().current == "k1"


def test_a_policy_file_names_every_problem(folder: Path) -> None:
    file = folder / "policy.toml"
    file.write_text("[approvals]\ndeadline_hours = 0\n[brakes]\nmax_leavers = 3\n")
    said = problems(load_policy, file)
    assert "approvals.deadline_hours" in said
    assert "brakes.max_leavers" in said
