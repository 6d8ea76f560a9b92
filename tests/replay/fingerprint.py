"""What the workflows ask Temporal for, in order, by their source: ``python -m tests.replay.fingerprint``.

Run by hand it writes ``fingerprint.json`` anew. The list is not what a run does, which the saved histories
show; it notices a changed order also on paths that no history takes.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path

from leaver.domain.catalogue import CATALOGUE

ROOT = Path(__file__).parents[2]
SAVED = Path(__file__).parent / "fingerprint.json"

COMMANDS = frozenset(
    {
        "continue_as_new",
        "deprecate_patch",
        "execute_activity",
        "execute_activity_method",
        "execute_child_workflow",
        "patched",
        "random",
        "sleep",
        "start_activity",
        "start_activity_method",
        "start_child_workflow",
        "upsert_memo",
        "upsert_search_attributes",
        "uuid4",
        "wait",
        "wait_condition",
    }
)
"""Of ``temporalio.workflow``: each leaves an event in the history, or decides when the next one comes."""

Fingerprint = dict[str, dict[str, list[str]]]


def of_source(source: str) -> dict[str, list[str]]:
    """Per function: its commands and everything it awaits or runs side by side, as written, in order."""
    found: dict[str, list[str]] = {}
    _visit(ast.parse(source), "", found)
    return {name: calls for name, calls in found.items() if calls}


def of_project() -> Fingerprint:
    """Every workflow module, and the steps of each unit, whose order decides what a case runs."""
    modules = {
        file.relative_to(ROOT).as_posix(): of_source(file.read_text("utf-8"))
        for file in sorted(ROOT.glob("workflows/*.py"))
    }
    steps: dict[str, list[str]] = {}
    for row in CATALOGUE.values():
        after = f" after {', '.join(row.after)}" if row.after else ""
        gate = f" behind {row.gate.value}" if row.gate else ""
        steps.setdefault(f"{row.phase.value}: {row.unit}", []).append(f"{row.name}{after}{gate}")
    return {name: calls for name, calls in modules.items() if calls} | {"catalogue": steps}


def _visit(node: ast.AST, where: str, found: dict[str, list[str]]) -> None:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            name = f"{where}.{child.name}".lstrip(".")
            found.setdefault(name, [])
            _visit(child, name, found)
            continue
        # A call after what is in its brackets, an await before the call it waits for: as Python runs them.
        _visit(child, where, found)
        if isinstance(child, ast.Call) and (line := _command(child)):
            found.setdefault(where, []).append(line)
        elif isinstance(child, ast.Await) and not _is_command(child.value):
            found.setdefault(where, []).append(f"await {_callee(child.value)}")


def _is_command(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and bool(_command(node))


def _command(call: ast.Call) -> str:
    name = ast.unparse(call.func)
    module, _, verb = name.rpartition(".")
    if name in ("asyncio.gather", "asyncio.create_task", "self._background", "self._upkeep.beside"):
        return name
    if module != "workflow" or verb not in COMMANDS:
        return ""
    first = ast.unparse(call.args[0]) if (call.args and "activity" in verb) or "child" in verb else ""
    timeout = " with a timeout" if any(word.arg == "timeout" for word in call.keywords) else ""
    return f"{name}({first}){timeout}"


def _callee(node: ast.expr) -> str:
    return f"{ast.unparse(node.func)}()" if isinstance(node, ast.Call) else ast.unparse(node)


def text_of(fingerprint: Fingerprint) -> str:
    return json.dumps(fingerprint, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    SAVED.write_text(text_of(of_project()), "utf-8")
