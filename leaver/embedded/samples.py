"""The shipped sample files: in a source tree they are ``examples/``, in a wheel they travel with us."""

from __future__ import annotations

from pathlib import Path


def sample(name: str) -> Path:
    """The path of a shipped sample, e.g. ``hr/northwind-leavers.csv``.

    Raises:
        FileNotFoundError: this installation has no such sample.
    """
    here = Path(__file__).resolve().parent
    for folder in (here / "examples", here.parent.parent / "examples"):
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"the sample {name} is not part of this installation; name a file of your own")
