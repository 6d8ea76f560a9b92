from __future__ import annotations

import asyncio
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretBytes, SecretStr
from temporalio.api.common.v1 import Payload

from leaver.temporal.codec import (
    ENCODING,
    PayloadCodec,
    PayloadDecodeError,
    TamperedPayloadError,
    UnknownKeyError,
)
from leaver.temporal.keyring import Keyring, KeyringError, new_key, parse_key

RING = Keyring(current="k1", keys={"k1": SecretBytes(bytes(range(32)))})
CODEC = PayloadCodec(RING, scope="default")
CANARY = b"canary.person@example.test"


def seal(payload: Payload, codec: PayloadCodec = CODEC) -> Payload:
    return asyncio.run(codec.encode([payload]))[0]


def unseal(payload: Payload, codec: PayloadCodec = CODEC) -> Payload:
    return asyncio.run(codec.decode([payload]))[0]


def plain(data: bytes = CANARY) -> Payload:
    return Payload(metadata={"encoding": b"json/plain", "messageType": b"x"}, data=data)


@settings(deadline=None, max_examples=60)
@given(
    data=st.binary(max_size=5000),
    metadata=st.dictionaries(st.text(max_size=20), st.binary(max_size=50), max_size=4),
)
def test_every_payload_round_trips(data: bytes, metadata: dict[str, bytes]) -> None:
    payload = Payload(metadata=metadata, data=data)
    sealed = seal(payload)
    assert sealed.metadata["encoding"] == ENCODING
    assert unseal(sealed) == payload


def test_nothing_of_the_payload_is_readable() -> None:
    sealed = seal(plain())
    assert CANARY not in sealed.SerializeToString()
    assert b"messageType" not in sealed.SerializeToString()
    assert CANARY in plain().SerializeToString()  # the control


def test_the_same_payload_never_encrypts_to_the_same_bytes() -> None:
    assert len({seal(plain()).data for _ in range(50)}) == 50


@settings(deadline=None, max_examples=60)
@given(position=st.integers(min_value=0), bit=st.integers(min_value=0, max_value=7))
def test_any_flipped_bit_is_refused(position: int, bit: int) -> None:
    sealed = seal(plain())
    data = bytearray(sealed.data)
    data[position % len(data)] ^= 1 << bit
    sealed.data = bytes(data)
    with pytest.raises(TamperedPayloadError) as caught:
        unseal(sealed)
    assert_says_nothing(caught.value)


@pytest.mark.parametrize("length", [0, 1, 12, 27])
def test_a_truncated_payload_is_refused(length: int) -> None:
    sealed = seal(plain())
    sealed.data = sealed.data[:length]
    with pytest.raises(TamperedPayloadError):
        unseal(sealed)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("encryption-original-encoding", b"binary/null"),
        ("encryption-original-encoding", None),
        ("encryption-cipher", b"AES-128-GCM"),
        ("encryption-cipher", None),
        ("encoding", b"json/plain"),
        ("encoding", None),
    ],
)
def test_a_relabelled_payload_is_refused(name: str, value: bytes | None) -> None:
    sealed = seal(plain())
    del sealed.metadata[name]
    if value is not None:
        sealed.metadata[name] = value
    with pytest.raises(TamperedPayloadError):
        unseal(sealed)


def test_a_payload_of_another_namespace_is_refused() -> None:
    with pytest.raises(TamperedPayloadError, match="another namespace"):
        unseal(seal(plain()), PayloadCodec(RING, scope="other"))


@pytest.mark.parametrize("named", [b"k2", b"", CANARY + b"\xff\n", b"x" * 500])
def test_an_unknown_key_is_refused_and_only_a_well_formed_id_is_repeated(named: bytes) -> None:
    sealed = seal(plain())
    sealed.metadata["encryption-key-id"] = named
    with pytest.raises(UnknownKeyError) as caught:
        unseal(sealed)
    assert caught.value.key_id == ("k2" if named == b"k2" else "")
    assert_says_nothing(caught.value)


def test_a_key_id_of_another_known_key_is_refused() -> None:
    both = PayloadCodec(RING.rotated("k2", new_key()), scope="default")
    sealed = seal(plain())
    sealed.metadata["encryption-key-id"] = b"k2"
    with pytest.raises(TamperedPayloadError):
        unseal(sealed, both)


def test_after_a_rotation_new_payloads_use_the_new_key_and_old_ones_still_open() -> None:
    old = seal(plain(b"old"))
    rotated = PayloadCodec(RING.rotated("k2", new_key()), scope="default")
    new = seal(plain(b"new"), rotated)
    assert new.metadata["encryption-key-id"] == b"k2"
    assert unseal(old, rotated).data == b"old"
    assert unseal(new, rotated).data == b"new"
    with pytest.raises(UnknownKeyError):
        unseal(new)


def test_plain_payloads_pass_so_that_people_can_signal_from_the_temporal_ui() -> None:
    assert unseal(plain()) == plain()


def test_decoding_stays_on_where_encryption_is_switched_off() -> None:
    off = PayloadCodec(RING, scope="default", encrypt=False)
    assert seal(plain(), off) == plain()
    assert unseal(seal(plain()), off) == plain()


def test_key_bytes_are_in_no_text_form() -> None:
    key = RING.keys["k1"].get_secret_value()
    shown = f"{RING!r} {RING} {RING.keys!r} {CODEC!r} {vars(CODEC)!r}"
    assert "k1" in shown
    assert repr(key)[2:-1] not in shown
    assert key.hex() not in shown


def test_a_keyring_is_a_copy_that_cannot_be_changed() -> None:
    keys = {"k1": new_key()}
    ring = Keyring(current="k1", keys=keys)
    keys["k2"] = new_key()
    assert set(ring.keys) == {"k1"}
    with pytest.raises(TypeError):
        ring.keys["k3"] = new_key()  # type: ignore[index]
    with pytest.raises(AttributeError):
        ring.current = "k2"  # type: ignore[misc]
    with pytest.raises(TypeError):
        pickle.dumps(ring)


@pytest.mark.parametrize(
    ("current", "keys", "says"),
    [
        ("k2", {"k1": new_key()}, "names no key"),
        ("k1", {"k1": SecretBytes(b"short")}, "32 bytes"),
        ("k 1", {"k 1": new_key()}, "a key id is"),
        ("k1", {}, "names no key"),
    ],
)
def test_an_unusable_keyring_is_refused(current: str, keys: dict[str, SecretBytes], says: str) -> None:
    with pytest.raises(KeyringError, match=says):
        Keyring(current=current, keys=keys)


def test_a_key_id_is_never_used_for_two_keys() -> None:
    with pytest.raises(KeyringError, match="already taken"):
        RING.rotated("k1", new_key())
    assert RING.rotated("k1", RING.keys["k1"]) == RING


def test_an_empty_scope_is_refused() -> None:
    with pytest.raises(ValueError, match="scope"):
        PayloadCodec(RING, scope="")


@pytest.mark.parametrize(
    "written",
    [
        "hex:" + bytes(range(32)).hex(),
        "base64:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        " hex:" + bytes(range(32)).hex() + "\n",
    ],
)
def test_keys_are_read_as_people_write_them(written: str) -> None:
    assert parse_key(SecretStr(written)) == RING.keys["k1"]


@pytest.mark.parametrize(
    "written", ["deadbeef", "hex:zzsecret", "base64:#secret#", "hex:00ff00", "HEX:" + "00" * 32]
)
def test_a_malformed_key_is_refused_without_repeating_it(written: str) -> None:
    with pytest.raises(KeyringError) as caught:
        parse_key(SecretStr(written))
    assert written.rpartition(":")[2] not in str(caught.value)


def assert_says_nothing(err: PayloadDecodeError) -> None:
    text = f"{err} {err!r} {err.__cause__!r}"
    assert CANARY.decode() not in text
    assert err.__suppress_context__ or err.__context__ is None
