"""requirements/setup.sh on machines that lack something."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A PATH with nothing but the few tools that the script needs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("sh", "dirname"):
        found = shutil.which(tool)
        assert found
        (folder / tool).symlink_to(found)
    return folder


def setup(machine: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        [str(machine / "sh"), str(ROOT / "requirements/setup.sh")],
        env={"PATH": str(machine), "VENV": str(machine / "venv"), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def program(file: Path, *lines: str) -> None:
    file.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    file.chmod(0o755)


def test_no_python_at_all(machine: Path) -> None:
    done = setup(machine)
    assert done.returncode == 2
    assert "Python 3.11 or later is needed" in done.stderr


def test_a_python_that_is_too_old_is_named(machine: Path) -> None:
    program(machine / "python3", '[ "$1" = --version ] && echo "Python 3.9.2" && exit 0', "exit 1")
    done = setup(machine)
    assert done.returncode == 2
    assert "Python 3.11 or later is needed (python3 here: Python 3.9.2)" in done.stderr
    assert not (machine / "venv").exists()


def test_a_shim_that_does_not_run_is_passed_over(machine: Path) -> None:
    program(machine / "python3.13", 'echo "version 3.13 is not installed" >&2', "exit 127")
    program(
        machine / "python3",
        'case "$1" in -c) exit 0 ;; --version) echo "Python 3.11.9" ;; *) exit 1 ;; esac',
    )
    done = setup(machine)
    assert "with Python 3.11.9" in done.stdout
    assert done.returncode == 2
    assert "apt-get install python3-venv" in done.stderr


def test_an_explicit_python_that_does_not_fit_is_refused(machine: Path) -> None:
    program(machine / "old", "exit 1")
    done = setup(machine, PYTHON=str(machine / "old"))
    assert done.returncode == 2
    assert "is not a Python of version 3.11 or later" in done.stderr


def test_a_broken_environment_is_not_used(machine: Path) -> None:
    (machine / "venv" / "bin").mkdir(parents=True)
    program(machine / "venv" / "bin" / "python", "exit 1")
    done = setup(machine)
    assert done.returncode == 2
    assert "make clean" in done.stderr
