"""The documents: what they name exists, and what exists is named where it must be."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Final, get_args

import pytest
import typer
from pydantic import BaseModel
from typer.testing import CliRunner

from leaver.cli.main import app
from leaver.config import Settings, load
from leaver.connectors.entra import needs
from leaver.domain.catalogue import CATALOGUE
from leaver.domain.policy import Policy
from leaver.domain.words import CaseOutcome, Outcome, Reason, RecordType
from leaver.embedded.summary import Summary
from workers.roles import Role

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md")))
TREES: Final = (
    "leaver",
    "workflows",
    "activities",
    "workers",
    "tests",
    "benchmarks",
    "docs",
    "examples",
    "requirements",
)
FENCE: Final = re.compile(r"^ *```.*?\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
TRAP: Final = re.compile(r"\bT(\d{1,2})\b")
SETTINGS: Final = ROOT / "docs/operations.md"


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def code(page: Path) -> Iterator[str]:
    """Every line of a code block and every inline piece of code."""
    whole = page.read_text(encoding="utf-8")
    for block in FENCE.findall(whole):
        yield from block.replace("\\\n", " ").splitlines()
    yield from re.findall(r"`([^`\n]+)`", FENCE.sub("", whole))


def commands(page: Path) -> Iterator[list[str]]:
    """The words after ``leaver`` of each command line that a page shows."""
    for line in code(page):
        said = re.match(r"(?:\$ |\.venv/bin/)?leaver (.+)", line.strip())
        if said:
            yield re.split(r"\s+[|>#]", said[1])[0].split()


def complaint(words: list[str]) -> str:
    """What is wrong with a command line, or an empty string."""
    here = typer.main.get_command(app)
    rest = list(words)
    while rest and (known := getattr(here, "commands", {})):
        if rest[0].startswith("-") or rest[0] == "…":
            break
        if rest[0] not in known:
            return f"there is no command {' '.join(words)!r}"
        here = known[rest.pop(0)]
    options = {"--help"} | {name for each in here.params for name in each.opts}
    unknown = [word for word in rest if word.startswith("-") and word.split("=")[0] not in options]
    return f"{' '.join(words)!r} has no {unknown[0]}" if unknown else ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist(page: Path) -> None:
    assert [wrong for words in commands(page) if (wrong := complaint(words))] == []


def test_a_command_that_does_not_exist_would_be_seen() -> None:
    assert complaint(["case", "list", "--json"]) == complaint(["case", "…"]) == ""
    assert "no command" in complaint(["case", "waive", "CASE"])
    assert "--force" in complaint(["case", "hold", "CASE", "--force"])
    assert sum(1 for page in PAGES for _ in commands(page)) > 40


def test_the_readme_begins_with_the_two_commands() -> None:
    readme = text("README.md")
    assert FENCE.findall(readme)[0] == "make demo\nmake test\n"
    assert readme.index("make demo") < 700
    assert len(readme.splitlines()) <= 200


def test_make_targets_and_roles_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", text("Makefile"), re.MULTILINE))
    named = {found for page in PAGES for line in code(page) for found in re.findall(r"^make ([a-z]+)", line)}
    assert {"demo", "test", "check"} <= named <= targets
    roles = {
        role
        for page in PAGES
        for line in code(page)
        if (said := re.match(r"python -m workers ([a-z ]+)", line))
        for role in said[1].split()
    }
    assert {Role.WORKFLOW, "all"} <= roles <= {*Role, "all"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    prose = FENCE.sub("", page.read_text(encoding="utf-8"))
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


def anchors(page: Path) -> set[str]:
    """The anchors that a page's headings have, as the usual renderers make them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_exist(page: Path) -> None:
    # What stands behind another folder, such as .leaver/secrets, is not ours.
    shape = re.compile(rf"(?<![\w./-])(?:{'|'.join(TREES)})/[\w./-]*")
    named = {found.rstrip(".") for line in code(page) for found in shape.findall(line)}
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_traps_are_on_the_page() -> None:
    rows = set(re.findall(r"^\| T(\d+) \|", text("docs/traps.md"), re.MULTILINE))
    sources = [
        *PAGES,
        *(file for tree in TREES[:6] for file in (ROOT / tree).rglob("*.py") if file != Path(__file__)),
    ]
    cited = {
        (number, str(file.relative_to(ROOT)))
        for file in sources
        for number in TRAP.findall(file.read_text(encoding="utf-8"))
    }
    assert len(cited) > 50
    assert sorted(where for where in cited if where[0] not in rows) == []


def test_the_tests_that_show_a_trap_exist() -> None:
    have = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)", file.read_text(encoding="utf-8"))
    }
    named = set(re.findall(r"`(test_\w+)`", text("docs/traps.md")))
    assert len(named) > 40
    assert sorted(named - have) == []


def fields(model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel] | None]]:
    """Each field's name, and the model inside it if there is one."""
    for name, field in model.model_fields.items():
        inside = [field.annotation, *get_args(field.annotation)]
        yield name, next((x for x in inside if isinstance(x, type) and issubclass(x, BaseModel)), None)


def names(model: type[BaseModel]) -> set[str]:
    return {x for name, inside in fields(model) for x in ({name} | (names(inside) if inside else set()))}


def test_every_setting_is_in_the_reference() -> None:
    page = text("docs/operations.md").split("## Settings")[1].split("\n## Policy")[0]
    missing = {name for name in names(Settings) if f"`{name}`" not in page and f"`[{name}]`" not in page}
    assert missing == set()


def test_every_field_of_the_policy_is_in_the_reference() -> None:
    page = text("docs/operations.md").split("\n## Policy")[1].split("\n## Processes")[0]
    wanted = set()
    for name, inside in fields(Policy):
        if name == "systems":
            wanted |= {
                f"systems.<system>.{each}"
                for each in ("enabled", "contain_within_minutes", "complete_within_hours")
            }
        elif inside is None:
            wanted.add(name)
        else:
            wanted |= {f"{name}.{each}" for each, _ in fields(inside)}
    assert {name for name in wanted if f"`{name}`" not in page} == set()
    invented = set(re.findall(r"^\| `([\w.<>]+)`", page, re.MULTILINE)) - wanted
    assert invented <= {"name", "version"}


@pytest.mark.parametrize("words", [Reason, Outcome, CaseOutcome])
def test_every_word_that_an_operator_meets_is_explained(words: type[StrEnum]) -> None:
    page = text("docs/operations.md")
    assert [word for word in words if f"`{word.value}`" not in page] == []


def test_every_kind_of_record_is_explained() -> None:
    page = text("docs/evidence.md")
    assert [kind for kind in RecordType if f"| `{kind.value}` |" not in page] == []


def test_every_step_is_on_its_systems_page() -> None:
    page = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "docs/systems").glob("*.md"))
    assert [step for step in CATALOGUE if f"`{step}`" not in page] == []


def test_every_permission_that_an_error_names_is_documented() -> None:
    page = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "docs/systems").glob("*.md"))
    grants = " ".join(
        value for name, value in vars(needs).items() if name.isupper() and isinstance(value, str)
    )
    asked = set(re.findall(r"\b[A-Z]\w+(?:-\w+)?(?:\.[A-Z]\w+)+\b", grants))
    assert len(asked) > 8
    assert sorted(grant for grant in asked if f"`{grant}`" not in page) == []


def test_the_summary_is_documented_field_by_field() -> None:
    page = text("docs/demo.md")
    wanted = set()
    for name, inside in fields(Summary):
        for field, deeper in fields(inside or Summary):
            wanted.add(f"{name}[].{field}" + ("[]" if deeper else ""))
            wanted |= {f"{name}[].{field}[].{each}" for each, _ in fields(deeper)} if deeper else set()
    documented = set(re.findall(r"^\| `((?:cases|rejected|held)\[\]\.[\w.\[\]]+)`", page, re.MULTILINE))
    assert documented == wanted


@pytest.fixture
def installation(tmp_path: Path) -> Path:
    """A folder as the documents tell to make it, with secrets that are none."""
    for name in ("leaver.toml", "policy.toml", "people.toml"):
        shutil.copy(ROOT / "examples" / name, tmp_path)
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "payload.key").write_text("hex:" + "00" * 32)
    (secrets / "case-id.key").write_text("not a secret at all")
    for reference in re.findall(r'"(?:file:)?(secrets/[\w.-]+)"', text("examples/leaver.toml")):
        (tmp_path / reference).touch()
        if not (tmp_path / reference).read_text():
            (tmp_path / reference).write_text("nothing")
    return tmp_path


def test_the_example_configuration_is_sound(installation: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAVER_CONFIG", str(installation / "leaver.toml"))
    config = load()
    assert config.settings.mode == "notification_only"
    assert config.settings.ad is not None
    said = CliRunner().invoke(app, ["config", "check", "--offline"])
    assert (said.exit_code, "the configuration is sound" in said.output) == (0, True), said.output


def test_a_missing_secret_of_the_example_is_named(installation: Path) -> None:
    (installation / "secrets/ad-password").unlink()
    arguments = ["config", "check", "--offline", "--config", str(installation / "leaver.toml")]
    said = CliRunner().invoke(app, arguments)
    assert said.exit_code == 2
    assert "ad.password" in said.output


def test_the_example_shows_every_section() -> None:
    example = text("examples/leaver.toml")
    sections = {name for name, inside in fields(Settings) if inside is not None}
    assert {name for name in sections if f"\n[{name}]" not in example} == set()
