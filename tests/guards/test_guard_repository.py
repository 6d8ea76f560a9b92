"""The repository itself: files that must exist, and words that must not."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import leaver

ROOT = Path(__file__).parents[2]
PACKAGES = ("leaver", "workflows", "activities", "workers")
SKIPPED = {
    ".git",
    ".hypothesis",
    ".import_linter_cache",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".venv",
    "__pycache__",
    "build",
    "demo-output",
    "dist",
}
# In pieces, so that this file does not break its own rule.
REGISTRIES = [
    "".join(parts)
    for parts in (
        ("py", "pi.", "org"),
        ("python", "hosted.", "org"),
        ("npm", "js.", "org"),
        ("npm", "js.", "com"),
        ("deb.", "debian.", "org"),
        ("proxy.", "golang.", "org"),
        ("crates", ".io"),
        ("conda", ".", "anaconda.org"),
    )
]
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?")
PIN = re.compile(r"([a-z0-9][a-z0-9._-]*)==([^ ;]+)(?: ; [^\\]+)? \\")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def files(folder: Path = ROOT) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if entry.name in SKIPPED or entry.name.endswith(".egg-info"):
            continue
        if entry.is_dir():
            yield from files(entry)
        elif not entry.is_symlink():
            yield entry


def modules() -> list[Path]:
    return [file for package in PACKAGES for file in files(ROOT / package) if file.suffix == ".py"]


def test_no_file_names_a_package_registry() -> None:
    found = [
        f"{file.relative_to(ROOT)}: {host}"
        for file in files()
        for host in REGISTRIES
        if host.encode() in file.read_bytes()
    ]
    assert found == []


@pytest.mark.parametrize(
    "name", ["README.md", "LICENSE", "CHANGELOG.md", "Makefile", ".ci/run", "leaver/py.typed", "Dockerfile"]
)
def test_the_house_is_complete(name: str) -> None:
    assert (ROOT / name).stat().st_size >= (0 if name.endswith("py.typed") else 100)


def test_the_distribution_cannot_be_uploaded_by_accident() -> None:
    # Generic package names are safe only in an application of its own environment (ADR 0002).
    assert "Private :: Do Not Upload" in PROJECT["project"]["classifiers"]


def test_the_changelog_knows_this_version() -> None:
    headings = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert leaver.__version__ in headings or leaver.__version__ == "0.1.0"


def test_modules_stay_readable() -> None:
    # The verifier that travels with a bundle has to be one file that needs nothing else.
    limits = {"leaver/evidence/standalone/verify.py": 650}
    long = {
        name: lines
        for file in modules()
        if (lines := len(file.read_text().splitlines()))
        > limits.get(name := str(file.relative_to(ROOT)), 500)
    }
    assert long == {}


def test_nothing_is_left_unfinished() -> None:
    words = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b|NotImplementedError")
    found = [
        str(file.relative_to(ROOT))
        for file in modules()
        if file != ROOT / "activities" / "contracts.py" and words.search(file.read_text())
    ]
    assert found == []


def test_tests_are_no_packages() -> None:
    # With importlib import mode a package would make two modules of one file.
    assert [file for file in files(ROOT / "tests") if file.name == "__init__.py"] == []


@pytest.mark.parametrize("name", ["runtime", "dev"])
def test_locks_hold_pins_hashes_and_nothing_else(name: str) -> None:
    strange = [
        line
        for line in (ROOT / f"requirements/{name}.lock").read_text().splitlines()
        if not HASH.fullmatch(line) and not PIN.fullmatch(line) and not line.startswith("    # via ")
    ]
    assert strange == []


def test_the_locks_agree_and_hold_every_dependency() -> None:
    runtime, dev = pins("runtime"), pins("dev")
    assert runtime.items() <= dev.items()
    wanted = list(PROJECT["project"]["dependencies"])
    for extra, requirements in PROJECT["project"]["optional-dependencies"].items():
        wanted += requirements if extra != "all" else []
    assert {plain(each) for each in wanted} <= set(runtime)
    groups = PROJECT["dependency-groups"]
    assert {plain(each) for each in groups["dev"] if isinstance(each, str)} <= set(dev)
    assert {plain(each) for each in groups["backend"]} <= set(runtime)


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / f"requirements/{name}.lock").read_text().splitlines()
    return {found[1]: found[2] for line in lines if (found := PIN.fullmatch(line))}


def plain(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found
    return re.sub(r"[._-]+", "-", found[0]).lower()
