"""Deterministic code, read as a syntax tree: what the type checker and the sandbox do not see."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DETERMINISTIC = sorted(
    [*ROOT.glob("leaver/domain/**/*.py"), *ROOT.glob("workflows/**/*.py"), ROOT / "activities/contracts.py"]
)
ACTIVITIES = sorted(ROOT.glob("activities/**/*.py"))

# Each gives another answer at replay. Time and ids come from workflow.now() and workflow.uuid4().
BANNED = (
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
    "datetime.date.today",
    "os.environ",
    "os.getenv",
    "os.urandom",
    "random",
    "secrets",
    "socket",
    "time",
    "uuid.uuid1",
    "uuid.uuid4",
)
WORKFLOW_IMPORTS = ("activities.contracts", "leaver.domain", "pydantic", "temporalio", "workflows")


def names_in(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every dotted name that is imported or used, with import aliases resolved."""
    local: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for each in node.names:
                local[each.asname or each.name.partition(".")[0]] = (
                    each.name if each.asname else each.name.split(".")[0]
                )
                yield node.lineno, each.name
        elif isinstance(node, ast.ImportFrom) and node.module:
            for each in node.names:
                local[each.asname or each.name] = f"{node.module}.{each.name}"
                yield node.lineno, f"{node.module}.{each.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name) and (dotted := dotted_name(node)):
            first, _, rest = dotted.partition(".")
            if first in local:
                yield node.lineno, ".".join(part for part in (local[first], rest) if part)


def dotted_name(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := dotted_name(node.value)):
        return f"{before}.{node.attr}"
    return ""


def within(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def banned_in(source: str) -> set[str]:
    return {name for _, name in names_in(ast.parse(source)) if within(name, BANNED)}


@pytest.mark.parametrize("file", DETERMINISTIC, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_clock_no_randomness_no_environment(file: Path) -> None:
    assert banned_in(file.read_text()) == set()


@pytest.mark.parametrize(
    "source",
    [
        "from datetime import datetime\nx = datetime.now(tz)",
        "import datetime as d\nx = d.datetime.utcnow()",
        "from datetime import date\nclass A:\n    x = field(default_factory=date.today)",
        "from uuid import uuid4 as fresh\nx = Field(default_factory=fresh)",
        "import uuid\nx = uuid.uuid4()",
        "import time",
        "from time import monotonic",
        "import random\n",
        "from secrets import token_hex",
        "import os\nx = os.environ['A']",
    ],
)
def test_the_guard_sees_every_form(source: str) -> None:
    assert banned_in(source)


def test_the_guard_lets_workflow_time_and_types_pass() -> None:
    source = (
        "from datetime import datetime, timedelta\nfrom uuid import UUID\nfrom temporalio import workflow\n"
        "x: datetime = workflow.now() + timedelta(1)\ny = workflow.uuid4()\nz = datetime.fromisoformat('')"
    )
    assert banned_in(source) == set()


@pytest.mark.parametrize(
    "file", sorted(ROOT.glob("workflows/**/*.py")), ids=lambda file: str(file.relative_to(ROOT))
)
def test_workflows_import_temporal_contracts_and_domain_only(file: Path) -> None:
    tree = ast.parse(file.read_text())
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {each.name for node in ast.walk(tree) if isinstance(node, ast.Import) for each in node.names}
    allowed = (*WORKFLOW_IMPORTS, *sys.stdlib_module_names)
    assert {name for name in imported if not within(name, allowed)} == set()


def test_only_the_error_module_makes_application_errors() -> None:
    users = {
        file.relative_to(ROOT).as_posix()
        for file in ACTIVITIES
        for _, name in names_in(ast.parse(file.read_text()))
        if name.endswith("exceptions.ApplicationError") or name == "temporalio.exceptions"
    }
    assert users == {"activities/errors.py"}


def test_contracts_hold_no_code() -> None:
    tree = ast.parse((ROOT / "activities/contracts.py").read_text())
    methods = [node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef)]
    assert methods
    for method in methods:
        statements = [each for each in method.body if not isinstance(each, ast.Expr)]
        assert [type(each) for each in statements] == [ast.Raise], method.name
