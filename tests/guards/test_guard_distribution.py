"""The distribution: its generic package names, and the wheel installed alone."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import leaver

ROOT = Path(__file__).parents[2]
GENERIC = ("workflows", "activities", "workers")


def test_no_other_distribution_owns_files_of_our_generic_packages() -> None:
    # packages_distributions() would miss editable installs, hence every distribution's own list of files.
    owners = {
        f"{found.name}: {file}"
        for found in importlib.metadata.distributions()
        if found.name != "leaver"
        for file in found.files or ()
        if file.parts[0] in GENERIC or file.name in {f"{name}.py" for name in GENERIC if len(file.parts) == 1}
    }
    assert owners == set()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=100)  # noqa: S603
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def alone(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the wheel and its declared base dependencies, none of the extras."""
    folder = tmp_path_factory.mktemp("alone") / "env"
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python), "install"]
    subprocess.run(  # noqa: S603
        [*pip, "--quiet", "--no-index", "--no-deps", str(wheel)], check=True, capture_output=True, timeout=60
    )
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "lib" / version / "site-packages"
    (own,) = importlib.metadata.distributions(name="leaver", path=[str(packages)])
    for name in closure(own.requires or []):
        borrow(name, packages)
    return folder / "bin"


def closure(requirements: list[str]) -> set[str]:
    """Names of everything that the requirements need here, without extras of our own."""
    found: set[str] = set()
    waiting = [(each, "") for each in requirements]
    while waiting:
        text, extra = waiting.pop()
        requirement = Requirement(text)
        environment = {"extra": extra}
        name = canonicalize_name(requirement.name)
        if requirement.marker and not requirement.marker.evaluate(environment):
            continue
        more = importlib.metadata.requires(name) or []
        if name not in found:
            found.add(name)
            waiting += [(each, "") for each in more]
        waiting += [(each, wanted) for wanted in requirement.extras for each in more if "extra" in each]
    return found


def borrow(name: str, packages: Path) -> None:
    """Link an installed distribution into another environment, which is faster than a second installation."""
    distribution = importlib.metadata.distribution(name)
    for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
        source, link = Path(str(distribution.locate_file(top))), packages / top
        if not link.exists():
            link.symlink_to(source)


def run(folder: Path, *command: str, cwd: Path) -> str:
    done = subprocess.run(  # noqa: S603
        [str(folder / command[0]), *command[1:]],
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "HOME": str(cwd)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_wheel_works_alone_outside_the_repository(alone: Path, tmp_path: Path) -> None:
    where = run(alone, "python", "-c", "import leaver; print(leaver.__file__)", cwd=tmp_path)
    assert str(alone.parent) in where
    assert leaver.__version__ in run(alone, "leaver", "--version", cwd=tmp_path)
    assert "usage" in run(alone, "python", "-m", "workers", "--help", cwd=tmp_path).lower()
    assert "usage" in run(alone, "leaver", "--help", cwd=tmp_path).lower()


@pytest.mark.slow
def test_that_environment_holds_no_vendor_sdk(alone: Path, tmp_path: Path) -> None:
    for name in ("msgraph", "azure.identity", "ldap3", "boto3", "starlette"):
        done = subprocess.run(  # noqa: S603
            [str(alone / "python"), "-c", f"import {name}"], cwd=tmp_path, capture_output=True, check=False
        )
        assert done.returncode == 1, name


@pytest.mark.slow
def test_the_wheel_holds_our_four_packages_and_their_data(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    metadata = [name for name in names if ".dist-info/" in name]
    assert {name.split("/")[0] for name in names if name not in metadata} == {"leaver", *GENERIC}
    assert "leaver/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in metadata)
