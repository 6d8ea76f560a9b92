"""``leaver report``: files, exit codes, and what is refused."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from leaver.cli.report import app
from leaver.config import load
from leaver.config_anchors import outsiders
from leaver.evidence.bundle.period import control_texts, told
from leaver.evidence.ledger.model import AnchorKind, StoredCheckpoint
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.reports.period import count_period
from tests.support.ledgers import note_of
from tests.support.period_world import Kind, counted, period

CONFIG = """
case_id_key = "file:id.key"
[encryption]
current = "k1"
keys = { k1 = "file:id.key" }
[evidence]
ledger = "ledger.db"
time_zone = "Europe/Berlin"
[evidence.timestamp]
url = "https://tsa.example.org"
ca_file = "ca.pem"
name = "tsa.example.org"
independent = true
[[evidence.witnesses]]
vkey = "audit.example.org/w1+00000000+AAAA"
independent = true
[[evidence.witnesses]]
vkey = "ours+00000000+AAAA"
"""
AS_OF = datetime(2026, 12, 1, 2, tzinfo=UTC)
MONTH = ("--from", "2026-11-01", "--to", "2026-11-30")


@pytest.fixture
def folder(tmp_path: Path, samples: Any) -> Path:
    (tmp_path / "leaver.toml").write_text(CONFIG)
    (tmp_path / "id.key").write_text("k" * 32)
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        ledger.append(samples.clean())
        head = ledger.head()
        ledger.add_checkpoint(StoredCheckpoint(head.size, head.root, note_of(head.size, head.root), AS_OF))
    return tmp_path


def run(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--config", str(folder / "leaver.toml")])


def add(folder: Path, drafts: Any) -> int:
    with Ledger.open(folder / "ledger.db") as ledger:
        ledger.append(drafts)
        head = ledger.head()
        ledger.add_checkpoint(StoredCheckpoint(head.size, head.root, note_of(head.size, head.root), AS_OF))
        return head.size


def test_a_period_is_written_and_told(folder: Path) -> None:
    out = folder / "out"
    done = run(folder, "period", *MONTH, "-o", str(out), "--json")
    assert done.exit_code == 1, "HR's list was never pulled, the history is not sealed"
    said = json.loads(done.stdout)
    assert (said["ok"], said["leavers"], said["verdicts"]["within"]) == (False, 1, 1)
    assert said["difference"] is None
    assert "closed not sealed" in (out / "findings.csv").read_text()
    for name, digest in said["files"].items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest
    issued = json.loads((out / "issued.json").read_text())
    assert issued["files"] == said["files"]
    assert issued["run_by"]
    assert "(Europe/Berlin)" in (out / "report.html").read_text()


def test_the_same_checkpoint_gives_the_same_files_after_the_log_has_grown(folder: Path, samples: Any) -> None:
    run(folder, "period", *MONTH, "-o", str(folder / "one"))
    issued = json.loads((folder / "one" / "issued.json").read_text())
    size = issued["checkpoint_size"]
    add(folder, samples.with_exceptions("c-" + "b" * 26))
    run(folder, "period", *MONTH, "-o", str(folder / "two"), "--checkpoint", str(size))
    for name in issued["files"]:
        assert (folder / "one" / name).read_bytes() == (folder / "two" / name).read_bytes(), name
    grown = run(folder, "period", *MONTH, "-o", str(folder / "three"), "--run-by", "A. Uditor")
    assert "2 exceptions open" in grown.stdout
    assert "A. Uditor" in (folder / "three" / "report.html").read_text()
    assert "A. Uditor" not in (folder / "two" / "report.html").read_text()


def test_only_a_period_without_gap_and_exception_is_ok() -> None:
    assert told(count_period(period([Kind()])), {})["ok"] is True
    assert told(count_period(period([Kind()], outside=False)), {})["anchored_outside"] is False
    assert told(count_period(period([Kind(open_step="entra.block_sign_in")])), {})["ok"] is False
    missing = period([Kind()], completeness=counted(1, 1, missing=1))
    assert told(count_period(missing), {})["ok"] is False


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--from", "2026-12-01", "--to", "2026-11-01"), "before it begins"),
        ((*MONTH, "--time-zone", "Mars/Olympus"), "Mars/Olympus"),
        ((*MONTH, "--checkpoint", "3"), "no checkpoint of size 3"),
    ],
)
def test_a_period_that_cannot_be_reported_is_refused(folder: Path, words: tuple[str, ...], text: str) -> None:
    done = run(folder, "period", *words, "-o", str(folder / "out"))
    assert done.exit_code == 2
    assert text in done.stderr
    assert not (folder / "out").exists()


def test_a_folder_with_something_in_it_is_left_alone(folder: Path) -> None:
    done = run(folder, "period", *MONTH, "-o", str(folder))
    assert done.exit_code == 2
    assert not (folder / "report.html").exists()


def test_a_leaver_as_html_and_as_pdf(folder: Path, samples: Any) -> None:
    html, pdf = folder / "one.html", folder / "one.pdf"
    assert run(folder, "leaver", samples.case, "-o", str(html), "--label", "employee 7").exit_code == 0
    assert "employee 7" in html.read_text()
    assert samples.case in html.read_text()
    assert run(folder, "leaver", samples.case, "-o", str(pdf)).exit_code == 0
    assert pdf.read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("case", "file"), [("E1001", "x.html"), ("c-" + "a" * 26, "x.docx"), ("c-" + "z" * 26, "x.html")]
)
def test_a_leaver_that_cannot_be_written_is_refused(folder: Path, case: str, file: str) -> None:
    done = run(folder, "leaver", case, "-o", str(folder / file))
    assert done.exit_code == 2
    assert not (folder / file).exists()


def test_only_anchors_that_the_configuration_calls_independent_are_outside(folder: Path) -> None:
    assert outsiders(load(folder / "leaver.toml")) == {
        (AnchorKind.TIMESTAMP, "tsa.example.org"),
        (AnchorKind.WITNESS, "audit.example.org/w1"),
    }


def test_every_control_has_words_of_ours() -> None:
    texts = control_texts()
    assert {"SOC2:CC6.2", "ISO27001:2022:A.5.18", "NIST:PS-4a"} <= {text.name for text in texts}
    assert all(text.number and text.framework and text.control and text.test for text in texts)
