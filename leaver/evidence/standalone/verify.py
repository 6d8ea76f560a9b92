# ruff: noqa: B905, D102, D103, E401, I001, PLR2004, S603, S607, T201, UP017, UP035 - to be read
"""Check an evidence bundle offline with nothing but Python's standard library (3.8 or later) and OpenSSL 3.

    python3 -I verify.py DIR [--trust DIR] [--key signer.pem] [--consistency FILE]

The trust folder holds what reached you by another path than the bundle, as far as you have it: signer.pem,
log.vkey, tsa-ca.pem, witnesses.vkeys, and checkpoint, one that you kept. Where it lacks a key the copy inside
the bundle serves, which proves only that the bundle fits together. Exit: 0 good, 1 not good, 2 cannot check.
"""

from __future__ import annotations

import argparse, base64, contextlib, hashlib, json, re, subprocess, sys, tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Iterator

BAD = (ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError)  # by wrong content
CHAINS = {"case": ["case", "sealer"], "watch": ["case", "watch", "sealer"], "period": ["log"]}
ENDS = "WORKFLOW_EXECUTION_(COMPLETED|FAILED|TIMED_OUT|CANCELED|TERMINATED|CONTINUED_AS_NEW)$"
BEGIN = {"case": {"case": (0, "0" * 64)}, "watch": {"watch": (0, "")}, "period": {}}  # of the chains
KINDS = ("https://in-toto.io/Statement/v1", "urn:leaver:evidence-bundle:v2")
MANIFEST, LOG, WITNESS = "manifest.dsse.json", 1, 4  # the last two are kinds of keys
P256 = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")  # how such a public key begins
ED25519 = bytes.fromhex("302a300506032b6570032100")
LINKS = ("first_run_id", "continued_from", "continued_as", "reset_of")  # to the other runs of a chain
YEAR_10000 = 253402300800  # in seconds since 1970
NAMES = """WORKFLOW_EXECUTION:STARTED,COMPLETED,FAILED,TIMED_OUT
WORKFLOW_TASK:SCHEDULED,STARTED,COMPLETED,TIMED_OUT,FAILED
ACTIVITY_TASK:SCHEDULED,STARTED,COMPLETED,FAILED,TIMED_OUT,CANCEL_REQUESTED,CANCELED
TIMER:STARTED,FIRED,CANCELED WORKFLOW_EXECUTION:CANCEL_REQUESTED,CANCELED
REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION:INITIATED,FAILED
EXTERNAL_WORKFLOW_EXECUTION:CANCEL_REQUESTED MARKER:RECORDED
WORKFLOW_EXECUTION:SIGNALED,TERMINATED,CONTINUED_AS_NEW START_CHILD_WORKFLOW_EXECUTION:INITIATED,FAILED
CHILD_WORKFLOW_EXECUTION:STARTED,COMPLETED,FAILED,CANCELED,TIMED_OUT,TERMINATED
SIGNAL_EXTERNAL_WORKFLOW_EXECUTION:INITIATED,FAILED EXTERNAL_WORKFLOW_EXECUTION:SIGNALED
UPSERT:WORKFLOW_SEARCH_ATTRIBUTES WORKFLOW_EXECUTION_UPDATE:ACCEPTED,REJECTED,COMPLETED
WORKFLOW_PROPERTIES:MODIFIED_EXTERNALLY ACTIVITY_PROPERTIES:MODIFIED_EXTERNALLY WORKFLOW_PROPERTIES:MODIFIED
WORKFLOW_EXECUTION_UPDATE:ADMITTED NEXUS_OPERATION:SCHEDULED,STARTED,COMPLETED,FAILED,CANCELED,TIMED_OUT
NEXUS_OPERATION:CANCEL_REQUESTED WORKFLOW_EXECUTION:OPTIONS_UPDATED
NEXUS_OPERATION:CANCEL_REQUEST_COMPLETED,CANCEL_REQUEST_FAILED
WORKFLOW_EXECUTION:PAUSED,UNPAUSED,TIME_SKIPPING_TRANSITIONED"""  # from 1 on (github.com/temporalio/api)
EVENTS = [f"{x.split(':')[0]}_{name}" for x in NAMES.split() for name in x.split(":")[1].split(",")]
TEMP = tempfile.TemporaryDirectory()


def need(condition: object, reason: str) -> None:
    if not condition:
        raise ValueError(reason)


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def unbase64(text: str) -> bytes:
    raw = base64.b64decode(text, validate=True)
    need(base64.b64encode(raw).decode() == text, "base64 in a non-standard spelling")
    return raw


def compact(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def load(raw: bytes, fields: str) -> Any:
    """Parse an object of these fields in canonical JSON (RFC 8785), without fractions."""

    def ordered(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = sorted(dict(pairs), key=lambda key: key.encode("utf-16-be"))
        need([key for key, _ in pairs] == keys, "not in canonical form (RFC 8785)")
        return dict(pairs)

    def integer(text: str) -> int:
        need(re.fullmatch("-?[0-9]{1,16}", text) and abs(int(text)) < 2**53, "a number nothing here may hold")
        return int(text)

    numbers: dict[str, Any] = dict.fromkeys(("parse_int", "parse_float", "parse_constant"), integer)
    value = json.loads(raw.decode(), object_pairs_hook=ordered, **numbers)
    need(compact(value) == raw, "not in canonical form (RFC 8785)")
    need(list(value) == fields.split(), "its fields are not " + fields)
    return value


# ---- Signatures: openssl does the arithmetic
def openssl(*words: object) -> tuple[bool, str]:
    """Run openssl; bytes among the words are given to it as files. Whether it said yes, and its output."""
    paths = [Path(TEMP.name, str(n)) if isinstance(word, bytes) else word for n, word in enumerate(words)]
    for path, word in zip(paths, words):
        if isinstance(word, bytes):
            Path(str(path)).write_bytes(word)
    done = subprocess.run(["openssl", *map(str, paths)], capture_output=True, check=False)
    return done.returncode == 0, done.stdout.decode(errors="replace")


def pem(der: bytes) -> bytes:
    return b"-----BEGIN PUBLIC KEY-----\n%b-----END PUBLIC KEY-----\n" % base64.encodebytes(der)


def p256_keys(text: bytes) -> dict[str, bytes]:
    """The public keys of a PEM file by their fingerprint (SHA-256 of the DER form)."""
    bodies = re.findall(rb"-----BEGIN PUBLIC KEY-----(.*?)-----END PUBLIC KEY-----", text, re.DOTALL)
    ders = [base64.b64decode(body) for body in bodies]
    need(ders and all(der[:26] == P256 for der in ders), "the key is missing or not a public key on P-256")
    return {sha(der).hex(): pem(der) for der in ders}


def vkeys(text: bytes, kind: int, size: int = 0) -> list[tuple[str, bytes, bytes]]:
    """Name, key id and public key of each line name+id+key (c2sp.org/signed-note).

    The first key of a log is the one in force. Behind a former one stands the size of the last checkpoint
    that it signs, else it signs none: it may have been stolen since. With ``size``: those that count there.
    """
    found = []
    for number, line in enumerate(line for line in text.decode().split("\n") if line.strip()):
        vkey, _, last = line.partition(" ")
        name, key_id, encoded = vkey.split("+", 2)
        key, wanted = unbase64(encoded), sha(name.encode(), b"\n", unbase64(encoded))[:4]
        need(key[0] == kind and len(key) == 33 and wanted.hex() == key_id, "not a vkey of the right kind")
        limit = re.fullmatch("0|[1-9][0-9]{0,15}", last)
        need(not last or (limit and kind == LOG), "what follows the key is not a size")
        if not size or (size <= int(last) if last else number == 0):
            found.append((name, wanted, key[1:]))
    return found


def signers(note: bytes, keys: list[tuple[str, bytes, bytes]], kind: int) -> dict[str, int]:
    """Who of these signed a note, and when, which only a witness tells (c2sp.org/tlog-cosignature)."""
    text, _, below = note.rpartition(b"\n\n")
    found: dict[str, int] = {}
    for dash, name, encoded in [line.split(" ") for line in below.decode()[:-1].split("\n")]:
        need(dash == "\u2014" and below.endswith(b"\n"), "not a signature line")
        sig = unbase64(encoded)
        for public in [public for who, key_id, public in keys if (who, key_id) == (name, sig[:4])]:
            when = int.from_bytes(sig[4:-64], "big")
            said = (b"cosignature/v1\ntime %d\n" % when if kind == WITNESS else b"") + text + b"\n"
            files = ("-inkey", pem(ED25519 + public), "-in", said, "-sigfile", sig[-64:])
            need(len(sig) == (76 if kind == WITNESS else 68), "a signature of the wrong length")
            fits = openssl("pkeyutl", "-verify", "-pubin", "-rawin", *files)[0]
            need(fits, f"the signature of {name} does not fit")
            need(kind == LOG or when < YEAR_10000, f"{name} signed a time that no calendar has")
            found[name] = max(when, found.get(name, 0))
    return found


def stamped(reply: bytes, data: bytes, authorities: bytes) -> int:
    """When one of these authorities saw the data (RFC 3161). Its certificate has to be valid as of then."""
    said = openssl("ts", "-reply", "-in", reply, "-token_out", "-text")[1]
    told = re.findall(r"^Time stamp: (\w+ +\d+ [\d:]+)[.\d]* (\d+) GMT$", said, re.MULTILINE)
    need(told, "not a timestamp reply")
    when = int(datetime.strptime(" ".join(told[0]) + " +0000", "%b %d %H:%M:%S %Y %z").timestamp())
    files = ("-in", reply, "-data", data, "-CAfile", authorities, "-attime", when)
    need(openssl("ts", "-verify", *files)[0], "the timestamp does not hold for this checkpoint")
    return when


# ---- The log: checkpoints (c2sp.org/tlog-checkpoint) and the Merkle tree of RFC 9162, section 2
def state(note: bytes) -> tuple[str, int, bytes]:
    """Origin, size and root that a checkpoint tells."""
    origin, size, root = note.decode().split("\n\n")[0].split("\n")[:3]
    need(re.fullmatch("0|[1-9][0-9]{0,18}", size) and len(unbase64(root)) == 32, "not a checkpoint")
    return origin, int(size), unbase64(root)


def root_over(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """The root that the path gives if the leaf is at this index."""
    if size == 1:
        need(not path and index == 0, "a path of the wrong length")
        return leaf
    left = 1 << (size - 1).bit_length() - 1  # leaves in the left subtree
    if index < left:
        return sha(b"\1", root_over(leaf, index, left, path[:-1]), path[-1])
    return sha(b"\1", path[-1], root_over(leaf, index - left, size - left, path[:-1]))


def roots_over(old: int, new: int, path: list[bytes], known: bytes) -> tuple[bytes, bytes]:
    """The roots at both sizes that the path gives; ``known`` is the old one while it may be a subtree."""
    if old == new:
        need(len(path) == (0 if known else 1), "a path of the wrong length")
        return (known, known) if known else (path[0], path[0])
    left = 1 << (new - 1).bit_length() - 1
    if old <= left:
        before, after = roots_over(old, left, path[:-1], known)
        return before, sha(b"\1", after, path[-1])
    before, after = roots_over(old - left, new - left, path[:-1], b"")
    return sha(b"\1", path[-1], before), sha(b"\1", path[-1], after)


def goes_on(old: int, new: int, path: list[bytes], old_root: bytes, new_root: bytes) -> bool:
    """Whether the log at the new size begins with all that was in it at the old size."""
    whole = 0 < old <= new and all(len(part) == 32 for part in [*path, old_root, new_root])
    with contextlib.suppress(*BAD):
        return whole and roots_over(old, new, path, old_root) == (old_root, new_root)
    return False


def fields(raw: bytes) -> Iterator[tuple[int, Any]]:
    """Tags and values of a protobuf message: numbers, and the bytes of everything else (protobuf.dev)."""
    at = 0

    def varint() -> int:
        nonlocal at
        found: Any = re.compile(rb"[\x80-\xff]{0,9}[\x00-\x7f]").match(raw, at)
        need(found, "not a Temporal history")
        at = found.end()
        return sum((byte & 127) << 7 * n for n, byte in enumerate(found[0]))

    while at < len(raw):
        tag = varint()
        value: Any = varint() if tag & 7 in (0, 2) else {1: 8, 5: 4}[tag & 7]
        if tag & 7:
            at, value = at + value, raw[at : at + value]
        need(at <= len(raw), "not a Temporal history: it ends early")
        yield tag, value


def event_name(number: int) -> str:
    return EVENTS[number - 1] if 0 < number <= len(EVENTS) else str(number)


def exact(raw: bytes) -> list[tuple[int, str]]:
    """Number and type of each event of a Temporal history: its fields 1 and 3, in field 1 of the whole."""
    return [(inside[8], event_name(inside[24])) for inside in [dict(fields(event)) for event in events(raw)]]


def readable(raw: bytes) -> list[tuple[int, str]]:
    """The same, of the history in JSON."""
    return [(int(e["eventId"]), str(e["eventType"])[11:]) for e in json.loads(raw.decode())["events"]]


def events(raw: bytes) -> list[bytes]:
    need(all(tag == 10 for tag, _ in fields(raw)), "not a Temporal history")
    return [event for _, event in fields(raw)]


def head_over(raw: bytes, count: int) -> str:
    """The hash chain's head over the first events."""
    head, whole = bytes(32), events(raw)
    need(0 <= count <= len(whole), "a record in the log tells of more events")
    for event in whole[:count]:
        head = sha(head, sha(event))
    return head.hex()


# ---- One bundle
class Check:
    """``problems`` are pairs of file and reason; ``seen`` says who saw the checkpoint.

    ``outside``: by your own copy of an outsider's key; ``claimed``: as the bundle itself says.
    """

    def __init__(self, folder: Path, trust: dict[str, bytes], proof: bytes = b"") -> None:
        self.trust, self.proof_given, self.outside, self.claimed = trust, proof, False, False
        self.fingerprint = self.kept = ""
        self.problems: list[tuple[str, str]] = []
        self.files: dict[str, bytes] = {}
        self.seen: list[str] = []
        self.remarks: list[str] = []
        self.look(folder, "")
        with self.telling(MANIFEST):
            self.manifest()
            for check in (self.listed, self.records, self.histories, self.commitments, self.log):
                check()

    @contextlib.contextmanager
    def telling(self, file: str) -> Iterator[None]:
        """Wrong content inside is a problem with this file."""
        try:
            yield
        except BAD as err:
            self.problems.append((file, str(err)))

    def ask(self, condition: object, file: str, reason: str) -> None:
        if not condition:
            self.problems.append((file, reason))

    def look(self, folder: Path, prefix: str) -> None:
        for path in sorted(folder.iterdir()):
            name, link = prefix + path.name, path.is_symlink()
            if path.is_file() and not link:
                self.files[name] = path.read_bytes()
            elif path.is_dir() and not link and any(path.iterdir()):
                self.look(path, name + "/")
            else:
                self.ask(False, name, "neither a regular file nor a folder of some")

    def own(self, name: str) -> bytes:
        """The auditor's own copy of a trust file, else the one in the bundle."""
        return self.trust.get(name, self.files.get("keys/" + name, b""))

    def below(self, folder: str, end: str = "") -> list[str]:
        return sorted(name for name in self.signed if name.startswith(folder) and name.endswith(end))

    def manifest(self) -> None:
        """A DSSE envelope round an in-toto statement: one signature over the SHA-256 of every file."""
        need(MANIFEST in self.files, "missing")
        envelope = load(self.files[MANIFEST], "payload payloadType signatures")
        (signature,), kind = envelope["signatures"], envelope["payloadType"]
        need(kind == "application/vnd.in-toto+json" and list(signature) == ["keyid", "sig"], "not DSSE")
        payload, sig, keyid = unbase64(envelope["payload"]), unbase64(signature["sig"]), signature["keyid"]
        with self.telling(MANIFEST):
            keys = p256_keys(self.own("signer.pem"))
            self.fingerprint = keyid if keyid in keys else next(iter(keys))
            need(keyid in keys, "it is signed with another key than the one it is checked with")
            said = b"DSSEv1 28 %b %d %b" % (kind.encode(), len(payload), payload)
            fits = openssl("dgst", "-sha256", "-verify", keys[keyid], "-signature", sig, said)[0]
            need(fits, "the signature does not fit the content")
        statement = load(payload, "_type predicate predicateType subject")
        need((statement["_type"], statement["predicateType"]) == KINDS, "not about an evidence bundle v2")
        self.signed = {each["name"]: each["digest"]["sha256"] for each in statement["subject"]}
        names = [load(compact(each), "digest name")["name"] for each in statement["subject"]]
        need(names == sorted(set(names)) and MANIFEST not in names, "the list of files is not in order")
        need(not self.below("openings/"), "openings cannot be signed: they may have to be erased")
        claims = load(compact(statement["predicate"]), "anchors checkpoint kind subject")
        self.anchors = [load(compact(each), "file name outside") for each in claims["anchors"]]
        kinds = [[type(value) for value in each.values()] for each in self.anchors]
        need(all(each == [str, str, bool] for each in kinds), "not how an anchor is named")
        origin, root, size = load(compact(claims["checkpoint"]), "origin root size").values()
        self.kind, self.subject, self.note = claims["kind"], claims["subject"], f"checkpoint.{size}"
        self.state = origin, size, bytes.fromhex(root)
        need(self.kind in CHAINS and type(self.subject) is str and type(size) is int, "not a kind of bundle")

    def listed(self) -> None:
        """Nothing added, missing or changed. Openings are not signed, so that they can be erased."""
        for name in sorted(set(self.files) - set(self.signed) - {MANIFEST}):
            self.ask(name.startswith("openings/"), name, "not in the signed manifest: it was added")
        for name, digest in self.signed.items():
            self.ask(name in self.files, name, "in the signed manifest but missing")
            same = name not in self.files or sha(self.files[name]).hex() == digest
            self.ask(same, name, "changed: its SHA-256 is not the signed one")

    def records(self) -> None:
        """Each record's form; numbers without gaps and hash links in each chain; none missing at the end."""
        self.placed: list[dict[str, Any]] = []
        names, subject = self.below("records/", ".json"), "log" if self.kind == "period" else self.subject
        pairs = sorted(name[:-5] + end for name in names for end in (".json", ".tlog-proof"))
        self.ask(self.below("records/") == pairs, "records", "not exactly one proof for each record")
        for name in [name for name in names if name in self.files]:
            with self.telling(name):
                record = load(self.files[name], "at body case case_seq chain prev_case salt seq type v")
                v, seq, case_seq, at = (record[key] for key in ("v", "seq", "case_seq", "at"))
                form = all(type(each) is int and each >= 0 for each in (v, seq, case_seq)) and v == 1
                form = form and type(at) is type(record["type"]) is str and type(record["body"]) is dict
                need(form and re.fullmatch("[0-9a-f]{32}", record["salt"]), "not a record of version 1")
                need(name == f"records/{seq:08d}.json", "its seq is not the place its file name tells")
                need(record["case"] == subject and record["chain"] in CHAINS[self.kind], "of another case")
                self.placed.append({**record, "file": name, "leaf": sha(b"\0", self.files[name])})
        self.placed.sort(key=lambda record: record["seq"])
        chains = {"sealer": (0, "0" * 64), **BEGIN[self.kind]}
        for record in self.placed:
            with self.telling(record["file"]):
                chain, place, link = record["chain"], record["case_seq"], record["leaf"].hex()
                number, before = chains.get(chain, (place, record["prev_case"]))
                chains[chain] = place + 1, link
                if self.kind == "watch" and chain == "case":  # where the watch's chain begins
                    chains["watch"] = 0, link
                need(place == number, f"a record of its chain is missing: it should be number {number}")
                need(record["prev_case"] == before, "its hash link does not fit the record before")
        self.last()

    def last(self) -> None:
        """A case ends with the record that counts its records; a period has the one that it was issued."""
        case = [record for record in self.placed if record["chain"] in ("case", "log")]
        types, end = [r["type"] for r in case], "report.issued" if self.kind == "period" else "case.closed"
        right = types[-1:] == [end] and end not in types[:-1] and (self.kind == "case" or len(case) == 1)
        count, whole = (case[-1]["body"].get("count"), case[-1]["case_seq"] + 1) if case else (0, 0)
        right = right and (self.kind == "period" or (type(count) is int and count == whole))
        self.ask(right, "records", "no last record that counts the others")
        # The other chains have no end of their own: the sealer's last record counts them all.
        ends = {"case": 0, "watch": 0, "sealer": 0, **{r["chain"]: r["case_seq"] + 1 for r in self.placed}}
        final: dict[str, Any] = self.placed[-1] if self.placed else {"type": "", "chain": "", "body": {}}
        told = [final["body"].get(f"{chain}_records") for chain in ends]
        counts = [told[1] if self.kind == "case" and chain == "watch" else n for chain, n in ends.items()]
        right = (final["type"], final["chain"]) == ("bundle.sealing", "sealer") and told == counts
        right = right and final["body"].get("kind") == self.kind and all(type(each) is int for each in told)
        reason = "the sealer's last record does not count those of every chain: some are missing at an end"
        self.ask(right or self.kind == "period", "records", reason)

    def histories(self) -> None:
        """Temporal's histories are those whose SHA-256, number of events and chain head are in the log."""
        files, told = self.below("history/"), [each for each in self.placed if each["chain"] == "sealer"]
        finals = {str(r["body"].get("run_id")): r["body"] for r in told if r["type"] == "history.final"}
        raised = [r for r in told if r["type"] == "exception.raised"]
        lost = {str(r["body"].get("run_id")) for r in raised if r["body"].get("lost") is True}
        for body, seq in [(r["body"], r["seq"]) for r in raised]:
            about = f" about run {body['run_id']}" if body.get("run_id") else ""
            about += ", whose history is lost" if about and body.get("lost") is True else ""
            self.remarks.append(f"The sealer raised an exception{about}: {body.get('cause')} (record {seq})")
        known = {run: {f"history/{run}{end}" for end in (".json", ".pb")} for run in finals}
        for name in sorted(set(files).difference(*known.values())):
            self.ask(False, name, "no record in the log tells of this history")
        for run, final in finals.items():
            # In a bundle of the watch those of the case are left out: they lie in the bundle of the case.
            if self.kind == "case" or final.get("workflow_id") != f"leaver-{self.subject}":
                for name in sorted(known[run] - set(files)):
                    self.ask(False, name, "the history that a record tells of is missing")
        if self.kind == "case":
            self.runs(finals, lost)
        for run in sorted(finals):
            # Where the sealer itself says that the history no longer begins so, this is told as a remark.
            own = [r for r in told if r["body"].get("run_id") == run]
            changed = [
                r["body"].get("events")
                for r in own
                if r in raised and r["body"]["cause"] == "history_changed"
            ]
            due = [r["body"] for r in own if r["type"] == "history.prefix" and None not in changed]
            due = [body for body in due if body.get("events") not in changed]
            self.history(f"history/{run}", finals[run], [*due, finals[run]])

    def runs(self, finals: dict[str, dict[str, Any]], lost: set[str]) -> None:
        """Every run from the one that opened the case on is sealed, or the sealer says that it is lost."""
        opened: dict[str, Any] = next((r["body"] for r in self.placed if r["type"] == "case.opened"), {})
        wanted, seen = [opened.get("run_id")], {""}
        while wanted:
            run = str(wanted.pop() or "")
            final = finals.get(run, {})
            if run not in seen and final and final.get("workflow_id") == opened.get("workflow_id"):
                wanted += [final.get(link) for link in LINKS]
                with contextlib.suppress(*BAD):
                    last = json.loads(self.files[f"history/{run}.json"].decode())["events"][-1]
                    wanted += [v.get("newExecutionRunId") for v in last.values() if type(v) is dict]
            elif run not in seen:
                reason = f"the history of run {run} is not sealed, and no exception says that it was lost"
                self.ask(run in lost, "history", reason)
            seen.add(run)
        self.ask(seen != {""}, "history", "no record tells which run opened the case")

    def history(self, name: str, final: dict[str, Any], told: list[dict[str, Any]]) -> None:
        forms = []
        for end, hashed, read in ((".json", "json_sha256", readable), (".pb", "sha256", exact)):
            with self.telling(name + end):
                if name + end in self.files:
                    raw = self.files[name + end]
                    need(sha(raw).hex() == final[hashed], "not the history whose SHA-256 is in the log")
                    forms.append(read(raw))
                    numbers = [number for number, _ in forms[-1]]
                    need(numbers == list(range(1, len(numbers) + 1)), "event numbers have gaps")
                    need(len(numbers) == final["events"], "not the number of events that the record tells")
                    need(re.match(ENDS, forms[-1][-1][1]), "the history is not closed")
                    for count, head in [(body["events"], body["head"]) for body in told if end == ".pb"]:
                        fits = type(count) is int and head_over(raw, count) == head
                        need(fits, "its first events are not those that a record in the log tells of")
        if len(forms) == 2:
            self.ask(forms[0] == forms[1], name + ".json", "it does not tell what the exact history tells")

    def commitments(self) -> None:
        """Personal data, and the files of an issued report, are what a record commits to."""
        commits = {f"openings/{r['seq']:08d}.json": r["body"].get("person_commit") for r in self.placed}
        for name in sorted(name for name in self.files if name.startswith("openings/")):
            with self.telling(name):
                need(commits.get(name), "no record here commits to it: it was added")
                opening = load(self.files[name], "content salt")
                need(re.fullmatch("(?:[0-9a-f]{2}){16,64}", opening["salt"]), "its salt is too short")
                need(type(opening["content"]) is dict, "its content is none")
                said = sha(bytes.fromhex(opening["salt"]), compact(opening["content"])).hex()
                need(said == commits[name], "it is not what the record commits to")
        for record in self.placed if self.kind == "period" else []:
            with self.telling(record["file"]):
                need(record["body"]["files"], "it tells of no files")
                for name, digest in record["body"]["files"].items():
                    same = name in self.signed and sha(self.files.get(name, b"")).hex() == digest
                    self.ask(same, name, "it is not the file that was issued: the log has another SHA-256")

    def log(self) -> None:
        """The checkpoint, each record's proof, timestamps, witnesses, earlier checkpoints, the kept one."""
        if self.note not in self.signed or self.note not in self.files:
            self.ask(False, self.note, "the checkpoint that the manifest names is missing")
            return
        note, (origin, size, root) = self.files[self.note], self.state
        with self.telling(self.note):
            logs, former = [signers(note, vkeys(self.own("log.vkey"), LOG, n), LOG) for n in (size, 0)]
            need(origin in former, "the log's key did not sign it")
            reason = "it is signed with a former key of the log, which does not count at this size"
            need(origin in logs, reason)
            need(state(note) == self.state, "it is not the checkpoint that the manifest tells of")
            for record in self.placed:
                self.proof(record, record["file"][:-5] + ".tlog-proof", note, size, root)
            self.stamps(note)
            self.witnesses(note)
            self.earlier()
            if "checkpoint" in self.trust:
                self.compare(self.trust["checkpoint"])

    def proof(self, record: dict[str, Any], name: str, note: bytes, size: int, root: bytes) -> None:
        """c2sp.org/tlog-proof: the record's place in the log, the path to the root, the checkpoint."""
        with self.telling(name):
            if name in self.files:
                head, _, against = self.files[name].partition(b"\n\n")
                form, index, *path = head.decode().split("\n")
                need(form == "c2sp.org/tlog-proof@v1", "not a proof")
                need(against == note, f"it is a proof against another checkpoint than {self.note}")
                need(index == f"index {record['seq']}", "it is the proof of another record: its index")
                found = root_over(record["leaf"], record["seq"], size, [unbase64(part) for part in path])
                need(found == root, "it does not prove that the record is in the log")

    def saw(self, how: str, when: int, name: str, outside: bool, own: bool) -> None:
        self.claimed, self.outside = self.claimed or outside, self.outside or (outside and own)
        at = datetime.fromtimestamp(when, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
        whose = ", the operator's own" if not outside else "" if own else ", by the bundle's own word"
        self.seen.append(f"{how} {at} by {name}{whose}")

    def stamps(self, note: bytes) -> None:
        """Timestamps are over the note as far as the log's own line: witnesses sign later."""
        claimed = {each["file"]: each for each in self.anchors if each["file"].startswith("tsa/")}
        files, (text, _, below) = self.below("tsa/"), note.rpartition(b"\n\n")
        self.ask(files == sorted(claimed), "tsa", "the replies are not those that the manifest tells of")
        self.ask(files or "tsa-ca.pem" not in self.trust, "tsa", "no timestamp of an authority you trust")
        for name in [name for name in files if name in claimed and name in self.files]:
            with self.telling(name):
                line = below.partition(b"\n")[0] + b"\n"
                need(line.split(b" ")[1].decode() == self.state[0], "the first line below is not the log's")
                when = stamped(self.files[name], text + b"\n\n" + line, self.own("tsa-ca.pem"))
                own = "tsa-ca.pem" in self.trust
                self.saw("stamped", when, claimed[name]["name"], claimed[name]["outside"], own)

    def witnesses(self, note: bytes) -> None:
        """Every witness that you trust, else every one that the manifest names, must have cosigned."""
        claimed = {each["name"]: each["outside"] for each in self.anchors if each["file"] == self.note}
        keys = vkeys(self.own("witnesses.vkeys"), WITNESS)
        names = {key[0] for key in keys} | set([] if "witnesses.vkeys" in self.trust else claimed)
        for name in sorted(names):
            with self.telling(self.note):
                found = signers(note, [key for key in keys if key[0] == name], WITNESS)
                need(found, f"no cosignature of the witness {name}: it was stripped, or never given")
                own = "witnesses.vkeys" in self.trust
                self.saw("witnessed", found[name], name, claimed.get(name, True), own)

    def earlier(self) -> None:
        """The log goes on from every earlier checkpoint that is listed."""
        self.paths: dict[int, list[bytes]] = {}
        with self.telling("consistency.json"):
            listed = load(self.files.get("consistency.json", b'{"checkpoints":[]}'), "checkpoints")
            for each in [load(compact(each), "path root size") for each in listed["checkpoints"]]:
                size, path = each["size"], [unbase64(part) for part in each["path"]]
                shown = goes_on(size, self.state[1], path, unbase64(each["root"]), self.state[2])
                self.ask(shown, "consistency.json", f"the log is not shown to go on from size {size}")
                self.paths[size] = path

    def compare(self, kept: bytes) -> None:
        """The checkpoint that the auditor kept is of the same log: equal, or one goes on from the other."""
        keys = [*vkeys(self.own("log.vkey"), LOG), *vkeys(self.files.get("keys/log.vkey", b""), LOG)]
        theirs = signers(kept, keys, LOG)
        need(theirs, "FORK: the checkpoint you kept is of another log: this log's key did not sign it")
        size, given = state(kept)[1], json.loads(self.proof_given.decode() or "{}")
        (old, old_root), (new, new_root) = sorted([state(kept)[1:], self.state[1:]])
        path = self.paths.get(size) if old != new else []
        if (given.get("old"), given.get("new")) == (old, new):
            path = [unbase64(part) for part in given["path"]]
        ask = f"nothing joins it to the checkpoint you kept (size {size}): ask for the consistency proof"
        need(path is not None, f"{ask} from {old} to {new} and give it with --consistency")
        same = goes_on(old, new, path or [], old_root, new_root)
        fork = f"FORK: this is not the log of the checkpoint you kept (size {size})"
        need(same, f"{fork}: what was in the log then is not what is in it here")
        self.kept = f"Consistent with the checkpoint you kept (size {size})."


def plain(text: str) -> str:
    """Without control characters, which a terminal would act upon: names in a bundle are somebody else's."""
    return text.encode("unicode_escape").decode()


def told(check: Check) -> Iterator[str]:
    """What to tell about a bundle, line by line."""
    yield from (f"FAIL {file}: {reason}" for file, reason in check.problems)
    yield f"Key fingerprint (SHA-256): {check.fingerprint or 'none'}"
    seen = ", ".join(check.seen)
    used = {"signer.pem": "", "log.vkey": "", "tsa-ca.pem": "stamped ", "witnesses.vkeys": "witnessed "}
    inside = [name for name, word in used.items() if word in seen and name not in check.trust]
    if inside:
        yield f"From inside the bundle, which proves only that the bundle fits together: {', '.join(inside)}"
    if not check.outside and check.claimed:
        yield "NO OUTSIDE ANCHOR OF YOUR OWN: who saw the checkpoint is named as outside by the bundle."
    elif not check.outside:
        yield "NO OUTSIDE ANCHOR: whoever holds the log key could have made another log."
    yield from check.remarks
    if check.problems:
        yield f"FAILED: {len(check.problems)} problem(s)"
        return
    yield from [check.kept] if check.kept else []
    yield f"OK: {check.kind} {check.subject}: {len(check.placed)} records, {len(check.signed)} files"
    yield f"Tamper-evident since checkpoint {check.state[1]} ({seen or 'no outside anchor'})."


def read_trust(folder: Path | None, key: Path | None) -> dict[str, bytes]:
    """What the auditor brought along; it has to be well-formed."""
    names = ("signer.pem", "log.vkey", "tsa-ca.pem", "witnesses.vkeys", "checkpoint")
    trust = {name: (folder / name).read_bytes() for name in names if folder and (folder / name).exists()}
    need(trust or not folder, f"the trust folder holds none of {', '.join(names)}")
    trust.update({"signer.pem": key.read_bytes()} if key else {})
    vkeys(trust.get("log.vkey", b""), LOG), vkeys(trust.get("witnesses.vkeys", b""), WITNESS)
    for name in {"signer.pem", "checkpoint"} & set(trust):
        (p256_keys if name == "signer.pem" else state)(trust[name])
    return trust


def main() -> int:
    parser = argparse.ArgumentParser(description="Check an evidence bundle offline.")
    parser.add_argument("folder", metavar="DIR", type=Path, help="the bundle")
    parser.add_argument("--trust", metavar="DIR", type=Path, help="your own copies of keys and a checkpoint")
    parser.add_argument("--key", metavar="PEM", type=Path, help="your own copy of the signer's public key")
    parser.add_argument(
        "--consistency", metavar="FILE", type=Path, help="joins the checkpoint you kept to this"
    )
    given = parser.parse_args()
    try:
        version = re.findall(r"^OpenSSL (\d+)", openssl("version")[1])
        need(version and int(version[0]) >= 3, "this needs the program openssl, version 3 or later")
        proof = given.consistency.read_bytes() if given.consistency else b""
        check = Check(given.folder, read_trust(given.trust, given.key), proof)
    except (OSError, *BAD) as err:
        print(plain(f"cannot check: {err}"), file=sys.stderr)
        return 2
    for line in told(check):
        print(plain(line))
    return 1 if check.problems else 0


if __name__ == "__main__":
    sys.exit(main())
