# ruff: noqa: T201, S603, S607, PLR2004 - a program for a terminal; it runs openssl and reads a wire format
"""Check an evidence bundle offline with nothing but Python's standard library (3.8 or later) and openssl.

    python3 -I verify.py DIR [--key signer.pem]

Checks: the signature over the manifest; the SHA-256 of every file; no file too many or missing; every
record's canonical form and its hash link to the one before; numbers without gaps; the closing record and its
count; Temporal's event numbers without gaps, and the history closed.
Exit: 0 good, 1 not good, 2 could not check.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

MANIFEST = "manifest.dsse.json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
RECORD_FIELDS = {"v", "salt", "seq", "case", "chain", "case_seq", "type", "at", "body", "prev_case"}
CLOSING_EVENTS = {
    "EVENT_TYPE_WORKFLOW_EXECUTION_" + end
    for end in ("COMPLETED", "FAILED", "TIMED_OUT", "CANCELED", "TERMINATED", "CONTINUED_AS_NEW")
}
# How the DER form of every public key on the curve P-256 begins (RFC 5480).
P256_PREFIX = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
BAD_CONTENT = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


def need(condition: object, reason: str) -> None:
    """Go on only if the condition holds."""
    if not condition:
        raise ValueError(reason)


def is_number(value: object, wanted: int) -> bool:
    """Whether it is that integer; JSON's ``true`` is not 1."""
    return type(value) is int and value == wanted


def canonical(value: Any) -> bytes:
    """RFC 8785 for text, integers, true, false, null: keys in UTF-16 order, no spaces, minimal escapes."""

    def ordered(item: Any) -> Any:
        if isinstance(item, dict):
            return {key: ordered(item[key]) for key in sorted(item, key=lambda key: key.encode("utf-16-be"))}
        if isinstance(item, list):
            return [ordered(part) for part in item]
        need(not isinstance(item, int) or abs(item) < 2**53, "an integer beyond 2^53")
        return item

    return json.dumps(ordered(value), ensure_ascii=False, separators=(",", ":")).encode()


def refuse(_number: str) -> None:
    """Called by the JSON parser for every number that is not an integer."""
    raise ValueError("a floating-point number, which nothing here may hold")


def load(raw: bytes) -> Any:
    """Parse JSON that must be in canonical form."""
    value = json.loads(raw.decode(), parse_float=refuse, parse_constant=refuse)
    need(canonical(value) == raw, "not in canonical form (RFC 8785)")
    return value


def unbase64(text: str) -> bytes:
    """Decode base64, only in its one standard spelling."""
    raw = base64.b64decode(text, validate=True)
    need(base64.b64encode(raw).decode() == text, "base64 in a non-standard spelling")
    return raw


def openssl(*arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run openssl; the caller looks at the return code."""
    return subprocess.run(["openssl", *map(str, arguments)], input=stdin, capture_output=True, check=False)


def der(pem: bytes) -> bytes:
    """The DER form of a public key on P-256; empty if it is something else."""
    form = openssl("pkey", "-pubin", "-outform", "DER", stdin=pem).stdout
    return form if form.startswith(P256_PREFIX) else b""


class Check:
    """One check of one bundle. ``problems`` are pairs of file and reason."""

    def __init__(self, folder: Path) -> None:
        """Read what is there. Links are not followed."""
        self.problems: list[tuple[str, str]] = []
        self.files: dict[str, bytes] = {}
        self.folders: set[str] = set()
        self.summary = self.fingerprint = ""
        self.look(folder, "")

    def fail(self, file: str, reason: str) -> None:
        """Note a problem."""
        self.problems.append((file, reason))

    def look(self, folder: Path, prefix: str) -> None:
        """Read every regular file; anything else but a folder is a problem."""
        for path in sorted(folder.iterdir()):
            name = prefix + path.name
            if path.is_dir() and not path.is_symlink():
                self.folders.add(name)
                self.look(path, name + "/")
            elif path.is_file() and not path.is_symlink():
                self.files[name] = path.read_bytes()
            else:
                self.fail(name, "neither a regular file nor a folder; links are not allowed")

    def manifest(self, key: bytes | None) -> tuple[dict[str, str], dict[str, Any]]:
        """Check signature and form of the manifest; give back the signed hashes and the signed claims."""
        envelope = load(self.files[MANIFEST])
        need(set(envelope) == {"payload", "payloadType", "signatures"}, "not a DSSE envelope")
        need(envelope["payloadType"] == PAYLOAD_TYPE, "not an in-toto payload")
        need(len(envelope["signatures"]) == 1, "it must carry exactly one signature")
        signature = envelope["signatures"][0]
        need(set(signature) == {"keyid", "sig"}, "not a DSSE signature")
        payload = unbase64(envelope["payload"])
        pem = self.files.get("keys/signer.pem", b"") if key is None else key
        wrong = self.wrong_signature(pem, signature, payload)
        if wrong:
            self.fail(MANIFEST, wrong)
        statement = load(payload)
        need(set(statement) == {"_type", "subject", "predicateType", "predicate"}, "not an in-toto statement")
        need(statement["_type"] == "https://in-toto.io/Statement/v1", "not an in-toto statement v1")
        need(statement["predicateType"] == "urn:leaver:evidence-bundle:v1", "not an evidence bundle v1")
        names = [subject["name"] for subject in statement["subject"]]
        need(names == sorted(set(names)) and MANIFEST not in names, "the list of files is not in order")
        return {item["name"]: item["digest"]["sha256"] for item in statement["subject"]}, statement[
            "predicate"
        ]

    def wrong_signature(self, pem: bytes, signature: dict[str, str], payload: bytes) -> str:
        """Why the signature does not hold, or an empty string. DSSE signs type and payload together."""
        public = der(pem)
        if not public:
            return "the key to check it with is missing or not a public key on P-256"
        self.fingerprint = hashlib.sha256(public).hexdigest()
        if signature["keyid"] != self.fingerprint:
            return "it is signed with another key than the one it is checked with"
        kind = PAYLOAD_TYPE.encode()
        with tempfile.TemporaryDirectory() as temporary:
            key, sig, signed = (Path(temporary, name) for name in ("key", "sig", "signed"))
            key.write_bytes(pem)
            sig.write_bytes(unbase64(signature["sig"]))
            signed.write_bytes(b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload))
            done = openssl("dgst", "-sha256", "-verify", key, "-signature", sig, signed)
        return "the signature does not fit the content" if done.returncode else ""

    def listed(self, signed: dict[str, str]) -> None:
        """Compare what is there with what was signed."""
        for name in sorted(set(self.files) - set(signed) - {MANIFEST}):
            self.fail(name, "not in the signed manifest: it was added")
        used = {str(parent) for name in signed for parent in Path(name).parents}
        for name in sorted(self.folders - used):
            self.fail(name, "a folder that no signed file lies in")
        for name, sha256 in sorted(signed.items()):
            if name not in self.files:
                self.fail(name, "in the signed manifest but missing")
            elif hashlib.sha256(self.files[name]).hexdigest() != sha256:
                self.fail(name, "changed: its SHA-256 is not the signed one")

    def records(self, names: list[str], claims: dict[str, Any]) -> None:
        """Check every record, the chain they form, and that it is complete."""
        head, seq, count = "0" * 64, -1, None
        for number, name in enumerate(names):
            raw, before, head, count = self.files.get(name), head, "", None
            if raw is None:
                continue  # already told; the next record's link cannot be checked
            head = hashlib.sha256(b"\0" + raw).hexdigest()
            try:
                need(
                    name == f"records/{number:05d}.json",
                    "a record is missing, or the name is wrong",
                )
                record = load(raw)
                check_record(record, number, claims["case"])
                need(record["seq"] > seq, "its place in the ledger is not after the record before")
                need(before in ("", record["prev_case"]), "its hash link does not fit the record before")
                need(
                    (record["type"] == "case.closed") == (name == names[-1]),
                    "case.closed must be the last one",
                )
                seq, count = record["seq"], record["body"].get("count")
            except BAD_CONTENT as err:
                self.fail(name, str(err))
        if not names or not is_number(count, len(names)):
            self.fail("records", "no closing record that counts as many records as there are")
        if not is_number(claims["records"], len(names)) or head not in ("", claims["head"]):
            self.fail(MANIFEST, "number or head of the records is not the signed one")

    def histories(self, names: list[str], claims: dict[str, Any]) -> None:
        """Check Temporal's event numbers, in both forms of every run's history."""
        events = {run["run_id"]: run["events"] for run in claims["histories"]}
        wanted = sorted(f"history/{run}.{form}" for run in events for form in ("json", "pb"))
        if not events or names != wanted:
            self.fail("history", "the files are not those of the signed list of runs")
        for name in sorted(set(names) & set(wanted) & set(self.files)):
            run, _, form = name[len("history/") :].rpartition(".")
            try:
                found = (json_events if form == "json" else protobuf_events)(self.files[name])
                need(found == list(range(1, len(found) + 1)), "event numbers have gaps")
                need(found and is_number(events[run], len(found)), "not the signed number of events")
            except BAD_CONTENT as err:
                self.fail(name, str(err))


def check_record(record: dict[str, Any], number: int, case: str) -> None:
    """Check a record's own fields."""
    need(set(record) == RECORD_FIELDS and is_number(record["v"], 1), "not a record of version 1")
    need(type(record["seq"]) is int and isinstance(record["body"], dict), "not a record of version 1")
    need(isinstance(record["type"], str) and isinstance(record["at"], str), "not a record of version 1")
    need(re.fullmatch("[0-9a-f]{32}", record["salt"]), "its salt is not 128 bits in hex")
    need(record["case"] == case and record["chain"] == "case", "it belongs to another case")
    need(is_number(record["case_seq"], number), "its case_seq is not its place in the case")


def json_events(raw: bytes) -> list[int]:
    """Event numbers of a history in Temporal's JSON; its last event must be one that closes a workflow."""
    events = json.loads(raw.decode())["events"]
    need(events and events[-1]["eventType"] in CLOSING_EVENTS, "the history is not closed")
    return [int(event["eventId"]) for event in events]


def protobuf_events(raw: bytes) -> list[int]:
    """Event numbers of a temporal.api.history.v1.History: field 1 repeated, each event led by its number."""

    def varint(at: int) -> tuple[int, int]:
        value = shift = 0
        while raw[at] > 127:
            value, shift, at = value | (raw[at] & 127) << shift, shift + 7, at + 1
        return value | raw[at] << shift, at + 1

    found, at = [], 0
    try:
        while at < len(raw):
            size, start = varint(at + 1)
            need(raw[at] == 0x0A and raw[start] == 0x08, "not a Temporal history")
            need(start + size <= len(raw), "not a Temporal history: it ends early")
            found.append(varint(start + 1)[0])
            at = start + size
    except IndexError:
        raise ValueError("not a Temporal history: it ends early") from None
    return found


def verify(folder: Path, key: bytes | None) -> Check:
    """Check everything."""
    check = Check(folder)
    if MANIFEST not in check.files:
        check.fail(MANIFEST, "missing")
        return check
    try:
        signed, claims = check.manifest(key)
        check.listed(signed)
        check.records([name for name in sorted(signed) if name.startswith("records/")], claims)
        check.histories([name for name in sorted(signed) if name.startswith("history/")], claims)
        events = sum(run["events"] for run in claims["histories"])
        check.summary = (
            f"case {claims['case']}: {claims['records']} records, {events} events, {len(signed)} files"
        )
    except BAD_CONTENT as err:
        check.fail(MANIFEST, f"it cannot be read: {err}")
    return check


def tell(text: str) -> None:
    """Print one line, without control characters of a stranger on the auditor's terminal."""
    print(text.encode("unicode_escape").decode())


def main() -> int:
    """Read the command line, check, tell."""
    parser = argparse.ArgumentParser(description="Check an evidence bundle offline.")
    parser.add_argument("folder", metavar="DIR", type=Path, help="the bundle")
    parser.add_argument("--key", metavar="PEM", type=Path, help="your own copy of the signer's public key")
    given = parser.parse_args()
    try:
        key = given.key.read_bytes() if given.key else None
        if key is not None and not der(key):
            print("cannot check: --key is not a public key on P-256", file=sys.stderr)
            return 2
        check = verify(given.folder, key)
    except OSError as err:
        print(f"cannot check: {err}", file=sys.stderr)
        return 2
    for file, reason in check.problems:
        tell(f"FAIL {file}: {reason}")
    tell(f"Key fingerprint (SHA-256): {check.fingerprint or 'none'}")
    if not given.key:
        tell("That key came from inside the bundle, which proves only that the bundle fits together.")
        tell("Compare the fingerprint with the one you received by another path, or use --key.")
    tell("Outside anchors: none. Whoever holds the signing key could have made another bundle.")
    tell(f"FAILED: {len(check.problems)} problem(s)" if check.problems else f"OK: {check.summary}")
    return 1 if check.problems else 0


if __name__ == "__main__":
    sys.exit(main())
