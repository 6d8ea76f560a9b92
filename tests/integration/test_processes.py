from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

import leaver
from leaver.embedded.processes import ChildError, ChildProcess, ready_line


def script(tmp_path: Path, *lines: str) -> list[str]:
    file = tmp_path / "child.py"
    file.write_text("\n".join(lines))
    return [sys.executable, str(file)]


def start(tmp_path: Path, *lines: str, **env: str) -> ChildProcess:
    return ChildProcess.start(
        script(tmp_path, *lines), name="the child", log_file=tmp_path / "logs" / "child.log", env=env
    )


async def test_a_ready_line_is_awaited_and_the_pid_is_the_programs_own(tmp_path: Path) -> None:
    child = start(
        tmp_path,
        "import os, time, json",
        "print('starting', flush=True); time.sleep(0.1)",
        "print(json.dumps({'ready': True, 'pid': os.getpid(), 'word': os.environ['WORD']}), flush=True)",
        "time.sleep(60)",
        WORD="hello",
    )
    said = await child.wait_for(ready_line, timeout=10)
    assert said == {"pid": str(child.pid), "word": "hello"}
    assert child.running
    assert await child.stop() == -signal.SIGTERM
    assert await child.stop() == -signal.SIGTERM
    assert "starting" in child.log_file.read_text()


async def test_a_module_runs_with_this_interpreter(tmp_path: Path) -> None:
    child = ChildProcess.python("json.tool", ["--help"], name="json.tool", log_file=tmp_path / "child.log")
    assert await child.wait_for(lambda line: "usage" in line or None, timeout=10)
    await child.stop()


async def test_an_early_death_is_named_with_the_end_of_the_log(tmp_path: Path) -> None:
    child = start(tmp_path, "import sys; print('first'); print('the reason'); sys.exit(3)")
    with pytest.raises(ChildError, match=r"the child ended with code 3 before it was ready") as caught:
        await child.wait_for(lambda line: True if line == "never" else None, timeout=10)
    assert str(caught.value).endswith("the reason")
    assert str(child.log_file) in str(caught.value)


async def test_the_last_words_of_a_dying_child_count(tmp_path: Path) -> None:
    child = start(tmp_path, "print('{\"ready\": true}')")
    for _ in range(250):
        if not child.running:
            break
        await asyncio.sleep(0.02)
    assert child.exit_code == 0
    assert await child.wait_for(ready_line, timeout=10) == {}


async def test_slowness_is_named_and_the_child_can_be_killed(tmp_path: Path) -> None:
    child = start(
        tmp_path,
        "import signal, time",
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
        "print('deaf', flush=True)",
        "time.sleep(60)",
    )
    assert await child.wait_for(lambda line: line == "deaf" or None, timeout=10)
    with pytest.raises(ChildError, match=r"not ready within 0.1 s"):
        await child.wait_for(ready_line, timeout=0.1)
    assert await child.stop(grace=0.1) == -signal.SIGKILL


async def test_a_missing_program_is_named(tmp_path: Path) -> None:
    child = ChildProcess.start([str(tmp_path / "no")], name="no program", log_file=tmp_path / "child.log")
    with pytest.raises(ChildError, match="No such file"):
        await child.wait_for(ready_line, timeout=10)


@pytest.mark.skipif(sys.platform != "linux", reason="prctl(2) is Linux's")
async def test_children_die_with_a_killed_parent(tmp_path: Path) -> None:
    parent = start(
        tmp_path,
        "import sys, time",
        "from pathlib import Path",
        "from leaver.embedded.processes import ChildProcess",
        "sleep = [sys.executable, '-c', 'import time; time.sleep(60)']",
        f"child = ChildProcess.start(sleep, name='x', log_file=Path({str(tmp_path / 'inner.log')!r}))",
        "print(f'child {child.pid}', flush=True)",
        "time.sleep(60)",
        PYTHONPATH=str(Path(leaver.__file__).parent.parent),
    )
    words = await parent.wait_for(lambda line: line.split() if line.startswith("child") else None, timeout=10)
    grandchild = int(words[1])
    await until_exec(grandchild)
    parent.kill()
    for _ in range(250):
        if not alive(grandchild):
            return
        await asyncio.sleep(0.02)
    os.kill(grandchild, signal.SIGKILL)
    pytest.fail("the grandchild outlived its parent")


@pytest.mark.parametrize("line", ["", "text", "{", "[]", '{"ready": false}', '{"other": 1}', "1"])
def test_other_lines_are_not_ready_lines(line: str) -> None:
    assert ready_line(line) is None


async def until_exec(pid: int) -> None:
    for _ in range(250):
        if not launching(pid):
            return
        await asyncio.sleep(0.02)


def launching(pid: int) -> bool:
    return b"launch.py" in Path(f"/proc/{pid}/cmdline").read_bytes()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
