"""Keys: published thumbprints and test vectors, pinned algorithms, and no way for a private key into text."""

import base64
import copy
import pickle

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cwt import COSEKey

from edge_agent.errors import TokenError
from edge_agent.tokens import cbor
from edge_agent.tokens.keys import PrivateKey, PublicKey
from edge_agent.tokens.sign1 import Alg
from tests.fakes.token_samples import ED25519, OTHER_ED25519, P256

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

BOTH = pytest.mark.parametrize("key", [ED25519, P256], ids=["ed25519", "p256"])


def test_thumbprint_of_rfc_9679_section_6() -> None:
    key = cbor.encode(
        {
            1: 2,
            -1: 1,
            -2: bytes.fromhex("65eda5a12577c2bae829437fe338701a10aaa375e1bb5b5de108de439c08551d"),
            -3: bytes.fromhex("1e52ed75701163f7f9e40ddf9f341b3dc9ba860af7e0ca7ca7e9eecd0084d19c"),
        }
    )
    public = PublicKey.from_cose(key)
    assert public.thumbprint().hex() == "496bd8afadf307e5b08c64b0421bf9dc01528a344a43bda88fadd1669da253ec"
    assert public.kid.hex() == "496bd8afadf307e5"


def test_signature_of_rfc_8032_section_7_1_test_2() -> None:
    seed = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    key = PrivateKey.from_ed25519_seed(seed)
    signature = bytes.fromhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert key.sign(b"\x72") == signature
    assert key.public.verify(signature, b"\x72")


def test_signature_of_rfc_6979_section_a_2_5_sha_256() -> None:
    key = PrivateKey.from_p256_scalar(0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721)
    r = 0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716
    s = 0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8
    its_form, other_form = (r.to_bytes(32, "big") + part.to_bytes(32, "big") for part in (P256_ORDER - s, s))
    assert key.sign(b"sample") == its_form
    assert key.public.verify(its_form, b"sample")
    assert not key.public.verify(other_form, b"sample"), "of the two that ES256 knows, one is the contract's"


@BOTH
def test_a_signature_fits_its_data_and_its_key_only(key: PrivateKey) -> None:
    signature = key.sign(b"data")
    assert len(signature) == 64
    assert key.public.verify(signature, b"data")
    assert not key.public.verify(signature, b"date")
    assert not OTHER_ED25519.public.verify(signature, b"data")
    for wrong in (b"", signature[:-1], signature + b"\0", bytes(64), b"\xff" * 64):
        assert not key.public.verify(wrong, b"data")


@BOTH
def test_the_cose_key_reads_back_and_another_library_reads_it(key: PrivateKey) -> None:
    encoded = key.public.cose_key()
    again = PublicKey.from_cose(encoded)
    assert again == key.public
    assert hash(again) == hash(key.public)
    assert (again.kid, again.alg) == (key.kid, key.alg)
    theirs = COSEKey.from_bytes(encoded)
    assert theirs.kid == key.kid
    assert theirs.alg == key.alg
    theirs.verify(b"data", key.sign(b"data"))


@BOTH
def test_the_jwk_is_the_same_key_for_another_library(key: PrivateKey) -> None:
    theirs = COSEKey.from_jwk(key.public.jwk())
    theirs.verify(b"data", key.sign(b"data"))
    jwk = key.public.jwk()
    assert jwk["kid"] == key.kid.hex()
    assert len(base64.urlsafe_b64decode(jwk["x"] + "=")) == 32


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({2: b"12345678"}, "kid"),
        ({3: -7}, "alg"),
        ({-2: b"short"}, "32 bytes"),
        ({-1: 4}, "neither"),
        ({1: 3}, "neither"),
        ({-1: 1, 1: 2, -3: bytes(32)}, "point"),
    ],
)
def test_a_cose_key_that_contradicts_itself_is_refused(change: dict[int, object], why: str) -> None:
    key = cbor.decode(ED25519.public.cose_key(), 256)
    assert isinstance(key, dict)
    with pytest.raises(TokenError, match=why):
        PublicKey.from_cose(cbor.encode({**key, **change}))


def test_a_cose_key_must_be_a_map() -> None:
    with pytest.raises(TokenError, match="map"):
        PublicKey.from_cose(b"\x80")


def test_other_curves_are_refused() -> None:
    with pytest.raises(TokenError, match="secp384r1"):
        PublicKey(ec.generate_private_key(ec.SECP384R1()).public_key())


def test_a_private_key_has_no_text_form_and_is_not_copied() -> None:
    seed = bytes(range(32))
    for text in (repr(ED25519), str(ED25519), f"{ED25519}", repr([ED25519])):
        assert seed.hex() not in text
        assert "hidden" in text
    with pytest.raises(TypeError, match="not serialised"):
        pickle.dumps(ED25519)
    with pytest.raises(TypeError, match="not serialised"):
        copy.deepcopy(ED25519)


def test_pkcs8_reads_back() -> None:
    key = PrivateKey.generate()
    assert key.alg is Alg.EDDSA
    again = PrivateKey.from_pkcs8_pem(key.pkcs8_pem())
    assert again.public == key.public


def test_other_pems_are_refused_without_quoting_them() -> None:
    pem = ED25519.pkcs8_pem()
    with pytest.raises(TokenError, match="not a complete"):
        PrivateKey.from_pkcs8_pem(pem[: len(pem) // 2])
    with pytest.raises(TokenError, match="not an Ed25519 key"):
        PrivateKey.from_pkcs8_pem(P256.pkcs8_pem())
    big = rsa.generate_private_key(65537, 2048)
    encrypted = big.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    with pytest.raises(TokenError, match="pass phrase"):
        PrivateKey.from_pkcs8_pem(encrypted)
    with pytest.raises(TokenError) as caught:
        PrivateKey.from_pkcs8_pem(pem.replace(b"M", b"!"))
    assert pem.splitlines()[1].decode() not in str(caught.value)
    assert caught.value.__cause__ is None
