"""The witness over HTTP: what it cosigns, what it refuses, and that it never forgets."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from leaver.evidence.anchors.witness import ForkRefusedError, Refusal, RefusedError, Witness
from leaver.evidence.anchors.witness_client import WitnessClient, add_cosignature
from leaver.evidence.anchors.witness_wire import Submission, parse_request, request_bytes
from leaver.evidence.errors import ForkError, KeyFileError, MalformedNoteError, WitnessError
from leaver.evidence.keys.files import FileLogSigner
from leaver.evidence.ledger.model import AnchorKind
from leaver.evidence.log.checkpoint import cosigned_at
from leaver.evidence.log.notes import NoteVerifier, parse_note
from tests.support.anchors import ORIGIN, PlainLog, SealedLog

ROOT = Path(__file__).resolve().parents[3]


def _follow(witness: Witness, log: PlainLog) -> None:
    witness.state.follow(NoteVerifier.from_vkey(log.vkey))


async def _post(url: str, body: bytes) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.post(f"{url}/add-checkpoint", content=body)


async def test_a_growing_log_is_cosigned(outsider: Witness, witness_url: str, plain_log: PlainLog) -> None:
    _follow(outsider, plain_log)
    old = 0
    for grown in (1, 1, 3, 11, 0, 200):
        note = plain_log.grow(grown).note()
        size = len(plain_log.leaves)
        answer = await _post(witness_url, request_bytes(old, plain_log.path(old), note))
        assert answer.status_code == 200, answer.text
        at = cosigned_at(parse_note(note + answer.content), outsider.verifier)
        assert at is not None
        assert abs((datetime.now(UTC) - at).total_seconds()) < 5
        old = size
    known = outsider.state.load(ORIGIN)
    assert known is not None
    assert known.size == old


async def test_a_witness_of_the_specification_is_understood(plain_log: PlainLog, outsider: Witness) -> None:
    """The key id and the message are those of the specification, computed here from its words alone."""
    _follow(outsider, plain_log)
    note = plain_log.grow(5).note()
    line = outsider.add(plain_log.submission(0)).line
    assert line.startswith("— audit.example/w1 ")
    raw = base64.b64decode(line.split(" ")[2])
    key = base64.b64decode(outsider.verifier.vkey.split("+", 2)[2])
    assert key[0] == 0x04
    assert raw[:4] == hashlib.sha256(b"audit.example/w1\n" + key).digest()[:4]
    time = int.from_bytes(raw[4:12], "big")
    text = note.split(b"\n\n")[0] + b"\n"
    Ed25519PublicKey.from_public_bytes(key[1:]).verify(raw[12:], b"cosignature/v1\ntime %d\n" % time + text)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 0\n",
        b"old 00\n\nNOTE",
        b"old -1\n\nNOTE",
        b"old 0 \n\nNOTE",
        b"Old 0\n\nNOTE",
        b"old 0\n!!!!\n\nNOTE",
        b"old 0\nAAAA\n\nNOTE",
        b"old 0\n" + b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n" * 64 + b"\nNOTE",
        b"old 0\n\nno note",
        b"old 0\r\n\r\nNOTE",
        b"old \xff\n\nNOTE",
        b"old 7\n\nNOTE",
    ],
)
async def test_400_for_another_form(
    outsider: Witness, witness_url: str, plain_log: PlainLog, body: bytes
) -> None:
    _follow(outsider, plain_log)
    answer = await _post(witness_url, body.replace(b"NOTE", plain_log.grow(3).note()))
    assert answer.status_code == 400, answer.text
    known = outsider.state.load(ORIGIN)
    assert known is not None
    assert known.last == b""


async def test_413_and_other_ways(outsider: Witness, witness_url: str) -> None:
    assert (await _post(witness_url, b"x" * 100_000)).status_code == 413
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{witness_url}/add-checkpoint")).status_code == 405
        assert (await client.post(f"{witness_url}/other", content=b"")).status_code == 404


async def test_404_for_a_log_it_does_not_follow(witness_url: str, plain_log: PlainLog) -> None:
    answer = await _post(witness_url, request_bytes(0, (), plain_log.grow(3).note()))
    assert answer.status_code == 404


async def test_403_for_another_key(
    outsider: Witness, witness_url: str, plain_log: PlainLog, tmp_path: Path
) -> None:
    _follow(outsider, plain_log)
    thief = PlainLog(FileLogSigner(tmp_path / "thief.pem", ORIGIN), plain_log.grow(3).leaves)
    answer = await _post(witness_url, request_bytes(0, (), thief.note()))
    assert answer.status_code == 403
    text, _, line = plain_log.note().partition(b"\n\n")
    changed = text.replace(b"\n3\n", b"\n4\n") + b"\n\n" + line
    answer = await _post(witness_url, request_bytes(0, (), changed))
    assert (answer.status_code, "does not fit" in answer.text) == (403, True)


async def test_409_tells_the_size(outsider: Witness, witness_url: str, plain_log: PlainLog) -> None:
    _follow(outsider, plain_log)
    outsider.add(plain_log.grow(4).submission(0))
    plain_log.grow(3)
    for old in (0, 1, 3, 5, 7):
        path = plain_log.path(old)
        answer = await _post(witness_url, request_bytes(old, path, plain_log.note()))
        assert (answer.status_code, answer.text) == (409, "4\n")
        assert answer.headers["content-type"] == "text/x.tlog.size"


async def test_422_without_a_proof(outsider: Witness, witness_url: str, plain_log: PlainLog) -> None:
    _follow(outsider, plain_log)
    outsider.add(plain_log.grow(5).submission(0))
    note = plain_log.grow(6).note()
    right = plain_log.path(5)
    assert len(right) > 2
    for path in ((), right[:-1], (*right, right[0]), tuple(reversed(right))):
        answer = await _post(witness_url, request_bytes(5, path, note))
        assert answer.status_code == 422, path
    assert (await _post(witness_url, request_bytes(5, right, note))).status_code == 200


async def test_a_first_checkpoint_brings_no_proof(
    outsider: Witness, witness_url: str, plain_log: PlainLog
) -> None:
    _follow(outsider, plain_log)
    body = request_bytes(0, (bytes(32),), plain_log.grow(3).note())
    assert (await _post(witness_url, body)).status_code == 422


async def test_a_fork_is_refused_and_kept(outsider: Witness, witness_url: str, plain_log: PlainLog) -> None:
    _follow(outsider, plain_log)
    outsider.add(plain_log.grow(6).submission(0))
    other = plain_log.fork(3).grow(3, "other")
    answer = await _post(witness_url, request_bytes(6, (), other.note()))
    assert answer.status_code == 409
    for log in (plain_log, other):
        assert parse_request(request_bytes(6, (), log.note())).signed.root.hex() in answer.text
    other.grow(4, "other")
    answer = await _post(witness_url, request_bytes(6, other.path(6), other.note()))
    assert answer.status_code == 422
    assert "size 10" in answer.text
    kept = {file.read_bytes() for file in outsider.state.refused()}
    assert kept == {plain_log.note(), other.note(6), other.note(10)}
    known = outsider.state.load(ORIGIN)
    assert known is not None
    assert known.last == plain_log.note()


async def test_the_same_checkpoint_again_is_cosigned_again(outsider: Witness, plain_log: PlainLog) -> None:
    _follow(outsider, plain_log)
    outsider.add(plain_log.grow(3).submission(0))
    again = outsider.add(plain_log.submission(3))
    assert again.checkpoint.size == 3


async def test_a_restarted_witness_remembers(outsider: Witness, plain_log: PlainLog, tmp_path: Path) -> None:
    _follow(outsider, plain_log)
    outsider.add(plain_log.grow(5).submission(0))
    again = Witness(tmp_path / "witness")
    assert again.verifier == outsider.verifier
    other = plain_log.fork(2).grow(8, "other")
    with pytest.raises(RefusedError) as refused:
        again.add(other.submission(0))
    assert (refused.value.refusal, refused.value.size) == (Refusal.CONFLICT, 5)
    with pytest.raises(ForkRefusedError):
        again.add(other.submission(5))
    assert again.add(plain_log.grow(5).submission(5)).checkpoint.size == 10


async def test_a_witness_that_lost_its_memory_cosigns_nothing(
    outsider: Witness, plain_log: PlainLog, tmp_path: Path
) -> None:
    _follow(outsider, plain_log)
    outsider.add(plain_log.grow(5).submission(0))
    (file,) = (tmp_path / "witness" / "logs").glob("*.json")
    whole = file.read_bytes()
    for damaged in (b"", whole[:-30], whole.replace(b"\\n5\\n", b"\\n4")):
        file.write_bytes(damaged)
        with pytest.raises(WitnessError, match="damaged"):
            outsider.add(plain_log.submission(0))
    file.unlink()
    with pytest.raises(RefusedError) as refused:
        outsider.add(plain_log.submission(0))
    assert refused.value.refusal is Refusal.UNKNOWN_LOG


async def test_what_was_not_written_is_not_cosigned(
    outsider: Witness, witness_url: str, plain_log: PlainLog, tmp_path: Path
) -> None:
    _follow(outsider, plain_log)
    logs = tmp_path / "witness" / "logs"
    (file,) = logs.glob("*.json")
    kept = file.read_bytes()
    file.unlink()
    file.mkdir()  # root may write anywhere, so a folder stands in the way of the new file
    answer = await _post(witness_url, request_bytes(0, (), plain_log.grow(3).note()))
    assert answer.status_code == 500
    assert "— " not in answer.text
    file.rmdir()
    file.write_bytes(kept)
    assert (await _post(witness_url, request_bytes(0, (), plain_log.note()))).status_code == 200
    assert [path.name for path in logs.iterdir()] == [file.name]


_RACER = """
import sys
from pathlib import Path
from leaver.evidence.anchors.witness import Witness, RefusedError
from leaver.evidence.anchors.witness_wire import parse_request
witness = Witness(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for file in sorted(Path(sys.argv[2]).glob("*.request")):
    try:
        print(witness.add(parse_request(file.read_bytes())).checkpoint.size)
    except RefusedError as err:
        print("refused", err.refusal.value)
"""


async def test_two_processes_cosign_one_history(
    outsider: Witness, plain_log: PlainLog, tmp_path: Path
) -> None:
    """Both branches of a fork at once, into two processes on one folder: exactly one of them wins."""
    _follow(outsider, plain_log)
    outsider.add(plain_log.grow(4).submission(0))
    branches = {name: plain_log.fork(4) for name in ("one", "two")}
    for name, log in branches.items():
        folder = tmp_path / name
        folder.mkdir()
        for step in range(20):
            log.grow(1, name)
            body = request_bytes(4 + step, log.path(4 + step), log.note())
            (folder / f"{step:02}.request").write_bytes(body)
    racers = [await _racer(tmp_path / "witness", tmp_path / name) for name in branches]
    for racer in racers:
        assert racer.stdout is not None
        assert await racer.stdout.readline() == b"ready\n"
    said = await asyncio.gather(*(racer.communicate(b"\n") for racer in racers))
    answers = [out.decode().split() for out, _ in said]
    (winner,) = [lines for lines in answers if "refused" not in lines]
    (loser,) = [lines for lines in answers if lines is not winner]
    assert winner == [str(size) for size in range(5, 25)]
    assert set(loser) <= {"refused", "409", "422"}


async def _racer(witness: Path, requests: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", _RACER, str(witness), str(requests),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip


async def test_requests_side_by_side_never_go_back(
    outsider: Witness, witness_url: str, plain_log: PlainLog
) -> None:
    _follow(outsider, plain_log)
    outsider.add(plain_log.grow(4).submission(0))
    plain_log.grow(30)
    sizes = (5, 20, 34, 6, 21)
    bodies = [request_bytes(4, plain_log.path(4, size), plain_log.note(size)) for size in sizes]
    answers = await asyncio.gather(*(_post(witness_url, body) for body in bodies))
    won = [size for size, answer in zip(sizes, answers, strict=True) if answer.status_code == 200]
    assert len(won) == 1
    known = outsider.state.load(ORIGIN)
    assert known is not None
    assert known.size == won[0]


def test_a_lock_that_is_held_is_waited_for_and_told(
    outsider: Witness, plain_log: PlainLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    _follow(outsider, plain_log)
    plain_log.grow(2)
    monkeypatch.setattr("leaver.evidence.anchors.witness_state._LOCK_WAIT", 0.05)
    other = Witness(outsider.state._folder)
    with other.state.locked(), pytest.raises(WitnessError, match="another witness process holds the lock"):
        outsider.add(plain_log.submission(0))
    assert outsider.add(plain_log.submission(0)).checkpoint.size == 2


def test_a_new_key_of_the_log_is_added(outsider: Witness, plain_log: PlainLog, tmp_path: Path) -> None:
    _follow(outsider, plain_log)
    outsider.add(plain_log.grow(3).submission(0))
    rotated = PlainLog(FileLogSigner(tmp_path / "new.pem", ORIGIN), plain_log.leaves).grow(2)
    with pytest.raises(RefusedError) as refused:
        outsider.add(rotated.submission(3))
    assert refused.value.refusal is Refusal.NOT_SIGNED
    _follow(outsider, rotated)
    assert outsider.add(rotated.submission(3)).checkpoint.size == 5


def test_the_witness_keeps_to_its_own_key(outsider: Witness, tmp_path: Path) -> None:
    with pytest.raises(WitnessError, match=r"called audit\.example/w1"):
        Witness.create(tmp_path / "witness", "somebody.example/else")
    with pytest.raises(WitnessError, match="log's verifier key is needed"):
        outsider.state.follow(outsider.verifier)
    with pytest.raises(MalformedNoteError):
        Witness.create(tmp_path / "bad", "a name")
    assert not (tmp_path / "bad").exists()
    with pytest.raises(KeyFileError):
        Witness(tmp_path / "nobody")
    assert (tmp_path / "witness" / "witness.pem").stat().st_mode & 0o077 == 0
    other = Witness.create(tmp_path / "other", "audit.example/w1")
    (tmp_path / "witness" / "witness.vkey").write_text(other.verifier.vkey)
    with pytest.raises(KeyFileError, match="does not belong to the key"):
        Witness(tmp_path / "witness")


# The log's side.


def _client(url: str, witness: Witness) -> WitnessClient:
    return WitnessClient(url, witness.verifier.vkey, timeout=5.0)


async def test_the_client_learns_the_size(outsider: Witness, witness_url: str, plain_log: PlainLog) -> None:
    _follow(outsider, plain_log)
    client = _client(witness_url, outsider)
    plain_log.grow(3)
    await client.cosign(plain_log.note(), 3, 0, plain_log.path)
    plain_log.grow(4)
    line = await client.cosign(plain_log.note(), 7, 0, plain_log.path)
    assert cosigned_at(parse_note(plain_log.note() + line.encode()), outsider.verifier) is not None


async def test_the_client_hears_of_a_fork(outsider: Witness, witness_url: str, plain_log: PlainLog) -> None:
    _follow(outsider, plain_log)
    outsider.add(plain_log.grow(6).submission(0))
    client = _client(witness_url, outsider)
    other = plain_log.fork(3).grow(3, "other")
    with pytest.raises(ForkError, match="shows two histories of one size"):
        await client.cosign(other.note(), 6, 0, other.path)
    other.grow(3, "other")
    with pytest.raises(ForkError, match=r"HTTP 422.*history may be rewritten"):
        await client.cosign(other.note(), 9, 0, other.path)
    short = plain_log.fork(4)
    with pytest.raises(ForkError, match="has cosigned size 6 of this log, beyond our 4"):
        await client.cosign(short.note(), 4, 0, short.path)


async def test_the_client_believes_its_witness_only(
    outsider: Witness, witness_url: str, plain_log: PlainLog, tmp_path: Path
) -> None:
    _follow(outsider, plain_log)
    plain_log.grow(3)
    stranger = Witness.create(tmp_path / "stranger", "audit.example/w1")
    with pytest.raises(WitnessError, match=r"no cosignature of audit\.example/w1"):
        await _client(witness_url, stranger).cosign(plain_log.note(), 3, 0, plain_log.path)
    with pytest.raises(WitnessError, match="HTTP 404"):
        await _client(f"{witness_url}/wrong", outsider).cosign(plain_log.note(), 3, 0, plain_log.path)
    with pytest.raises(WitnessError, match="no answer: ConnectError"):
        await _client("http://127.0.0.1:1", outsider).cosign(plain_log.note(), 3, 0, plain_log.path)
    with pytest.raises(WitnessError, match="this is a log's key"):
        WitnessClient(witness_url, plain_log.vkey)


def test_a_cosignature_by_mail(sealed_log: SealedLog, outsider: Witness, tmp_path: Path) -> None:
    sealed_log.grow(3)
    asyncio.run(sealed_log.publisher().publish())
    stored = sealed_log.ledger.latest_checkpoint()
    assert stored is not None
    _follow(outsider, PlainLog(sealed_log.signer))
    line = outsider.add(parse_request(request_bytes(0, (), stored.note))).line
    vkeys = [outsider.verifier.vkey]
    mailed = "Dear all,\r\n" + stored.note.decode().replace("\n", "\r\n") + line.replace("\n", "\r\n")
    for text in (mailed, line, stored.note.decode() + line):
        assert add_cosignature(sealed_log.ledger, 3, text, vkeys, sealed_log.clock()) == "audit.example/w1"
    (anchor,) = sealed_log.ledger.anchors(3)
    assert (anchor.kind, anchor.name, anchor.content.decode()) == (
        AnchorKind.WITNESS,
        "audit.example/w1",
        line,
    )
    stranger = Witness.create(tmp_path / "stranger", "audit.example/w1")
    for text, keys in ((line, [stranger.verifier.vkey]), ("", vkeys), ("— x AAAA", vkeys), (line, [])):
        with pytest.raises(WitnessError, match="no cosignature of a trusted witness"):
            add_cosignature(sealed_log.ledger, 3, text, keys, sealed_log.clock())
    with pytest.raises(WitnessError, match="no checkpoint of size 2"):
        add_cosignature(sealed_log.ledger, 2, line, vkeys, sealed_log.clock())


def test_requests_go_round(plain_log: PlainLog) -> None:
    plain_log.grow(100)
    for old in (0, 1, 64, 99, 100):
        body = request_bytes(old, plain_log.path(old), plain_log.note())
        assert parse_request(body) == Submission(old, plain_log.path(old), parse_request(body).signed)


def test_nothing_of_the_log_is_in_the_witness_folder_but_heads(
    outsider: Witness, plain_log: PlainLog, tmp_path: Path
) -> None:
    _follow(outsider, plain_log)
    outsider.add(plain_log.grow(3).submission(0))
    (file,) = (tmp_path / "witness" / "logs").glob("*.json")
    assert set(json.loads(file.read_text())) == {"origin", "vkeys", "last"}


_COMMAND = "from leaver.cli.witness import app; app()"


async def _serve(folder: Path) -> tuple[asyncio.subprocess.Process, str]:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _COMMAND, "serve", str(folder), "--port", "0",
        stdout=asyncio.subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT, env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert child.stdout is not None
    line = (await child.stdout.readline()).decode()
    assert "POST " in line, line
    return child, line.split("at ")[1].split(" ")[0]


async def test_the_command_serves_is_killed_and_serves_on(
    outsider: Witness, plain_log: PlainLog, tmp_path: Path
) -> None:
    _follow(outsider, plain_log)
    plain_log.grow(3)
    child, url = await _serve(tmp_path / "witness")
    await _client(url, outsider).cosign(plain_log.note(), 3, 0, plain_log.path)
    child.kill()
    await child.wait()
    child, url = await _serve(tmp_path / "witness")
    other = plain_log.fork(1).grow(4, "other")
    with pytest.raises(ForkError):
        await _client(url, outsider).cosign(other.note(), 5, 0, other.path)
    child.terminate()
    assert await child.wait() == 0
