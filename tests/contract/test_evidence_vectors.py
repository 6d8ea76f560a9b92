"""The evidence formats against published vectors: what others computed is what this code computes."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils

from leaver.evidence import keyfiles
from leaver.evidence.errors import UntrustedNoteError
from leaver.evidence.keys.files import FileLogSigner
from leaver.evidence.log.checkpoint import cosigned_at, parse_checkpoint
from leaver.evidence.log.merkle import consistent, included
from leaver.evidence.log.notes import KeyKind, NoteVerifier, note_bytes, parse_note
from leaver.evidence.signing import pre_authentication_encoding, signature_holds
from tests.support.graph_contract import contracts_folder

PLACEHOLDER = "sizes-are-equal-one-and-proof-is-empty"
"""Its roots are placeholders of another length; the README of the vectors says to leave it out."""

GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_SEED = "gQoUAtUUbI2E8kQzMPVAgOv5juF9nHT2JS/F1ccoMXM="
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()
"""The documentation example of golang.org/x/mod/sumdb/note, with its published test key."""

CT_LOG = "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f"
CT_WITNESSES = (
    "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
    "transparency.dev/DEV:witness-little-garden+d8042a87+BCtusOxINQNUTN5Oj8HObRkh2yHf/MwYaGX4CPdiVEPM",
    "witness1.smartit.nu/witness1+a48c820f+BPSFWg9G6KPiO7QPryYO5Xq4oYJJ+kAvLKLSimDhoxMO",
    "witness.stagemole.eu+67f7aea0+BEqSG3yu9YrmcM3BHvQYTxwFj3uSWakQepafafpUqklv",
)
CT_CHECKPOINT = """\
arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

— arche2025h1.staging.ct.transparency.dev \
zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
— arche2025h1.staging.ct.transparency.dev \
ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
— transparency.dev/DEV:witness-little-garden \
2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
— witness1.smartit.nu/witness1 \
pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==
— remora.n621.de \
2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
— witness.stagemole.eu \
Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==
""".encode()
"""A checkpoint of a public Certificate Transparency log, cosigned by four witnesses of four operators."""


def vectors(name: str) -> Any:
    path = contracts_folder() / "evidence" / name
    if not path.exists():
        pytest.skip(f"{name} is not in {path.parent}: set LEAVER_CONTRACTS to the folder of the contracts")
    return json.loads(path.read_text("utf-8"))


def unbase64(texts: list[str] | None) -> tuple[bytes, ...]:
    return tuple(base64.b64decode(text) for text in texts or ())


def test_inclusion_proofs_of_transparency_dev() -> None:
    cases = vectors("merkle_rfc6962_vectors.json")["inclusion"]
    verdicts = {
        case["case"]: included(
            base64.b64decode(case["leafHash"]), case["leafIdx"], case["treeSize"],
            unbase64(case["proof"]), base64.b64decode(case["root"]),
        )
        for case in cases
    }  # fmt: skip
    assert verdicts == {case["case"]: not case["wantErr"] for case in cases}
    assert {True, False} == set(verdicts.values())
    assert len(verdicts) == 98


def test_consistency_proofs_of_transparency_dev() -> None:
    cases = [
        case
        for case in vectors("merkle_rfc6962_vectors.json")["consistency"]
        if PLACEHOLDER not in case["case"]
    ]
    verdicts = {
        case["case"]: consistent(
            case["size1"], case["size2"], unbase64(case["proof"]),
            base64.b64decode(case["root1"] or ""), base64.b64decode(case["root2"] or ""),
        )
        for case in cases
    }  # fmt: skip
    assert verdicts == {case["case"]: not case["wantErr"] for case in cases}
    assert {True, False} == set(verdicts.values())
    assert len(verdicts) == 97


def test_canonical_json_of_rfc_8785() -> None:
    cases = vectors("jcs_rfc8785_vectors.json")
    for case in cases:
        value = json.loads(base64.b64decode(case["input_b64"]))
        assert rfc8785.dumps(value) == base64.b64decode(case["canonical_b64"]), case["name"]
    assert len(cases) == 6


def test_the_envelope_signature_of_the_dsse_specification() -> None:
    case = vectors("dsse_vector.json")
    payload = base64.b64decode(case["payload_b64"])
    key = ec.EllipticCurvePublicNumbers(int(case["x"]), int(case["y"]), ec.SECP256R1()).public_key()
    signature = base64.b64decode(case["sig_b64"])
    der = utils.encode_dss_signature(
        int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    )

    assert pre_authentication_encoding(case["payloadType"], payload) == case["pae"].encode()
    assert signature_holds(key, case["payloadType"], payload, der)
    assert not signature_holds(key, case["payloadType"], payload + b"!", der)


def test_the_note_of_the_go_implementation() -> None:
    verifier = NoteVerifier.from_vkey(GO_VKEY)
    note = parse_note(GO_NOTE)

    assert verifier.vkey == GO_VKEY
    assert note.signatures_of(verifier) == note.signatures
    assert note_bytes(note.text, note.signatures) == GO_NOTE


def test_a_key_of_the_go_implementation_signs_the_same_note_here(tmp_path: Path) -> None:
    seed = ed25519.Ed25519PrivateKey.from_private_bytes(base64.b64decode(GO_SEED))
    keyfiles.write_new(tmp_path / "log.pem", seed)
    signer = FileLogSigner(tmp_path / "log.pem", "PeterNeumann")

    text = parse_note(GO_NOTE).text
    assert signer.vkey == GO_VKEY
    assert note_bytes(text, (signer.sign_note(text),)) == GO_NOTE


@pytest.mark.parametrize(
    "vkey",
    [
        "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop",
        "TEST+7997405c+AQcC+FTVKf0jlTdHDY3rbevmnKxxPjigCXlVtGe6RIr6",
        *CT_WITNESSES,
    ],
)
def test_verifier_keys_of_other_implementations(vkey: str) -> None:
    assert NoteVerifier.from_vkey(vkey).vkey == vkey


def test_a_public_log_and_its_witnesses() -> None:
    log = NoteVerifier.from_vkey(CT_LOG)
    signed = parse_checkpoint(CT_CHECKPOINT, log)

    assert (signed.checkpoint.origin, signed.size) == (log.name, 1432088532)
    for vkey in CT_WITNESSES:
        witness = NoteVerifier.from_vkey(vkey)
        assert witness.kind is KeyKind.COSIGNATURE
        assert cosigned_at(signed.note, witness) == datetime.fromtimestamp(0x6A122120, UTC)


def test_a_changed_checkpoint_of_a_public_log() -> None:
    changed = CT_CHECKPOINT.replace(b"1432088532", b"1432088533")
    with pytest.raises(UntrustedNoteError):
        parse_checkpoint(changed, NoteVerifier.from_vkey(CT_LOG))
    for vkey in CT_WITNESSES:
        with pytest.raises(UntrustedNoteError):
            cosigned_at(parse_note(changed), NoteVerifier.from_vkey(vkey))
