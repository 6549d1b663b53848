"""Certificates as the enrolment and the technician's check read them: facts, chains that hold, chains that do not."""

import contextlib
import pickle
from pathlib import Path

import pytest
import trustme
from hypothesis import example, given
from hypothesis import strategies as st

from edge_agent.enrolment.x509 import (
    Certificate,
    CertificateError,
    TlsKey,
    check_chain,
    hosts_of,
    parse_certificates,
    parse_signing_request,
    read_certificates,
)

CA = trustme.CA(organization_name="Lifts of Example")
OTHER = trustme.CA()
LEAF = CA.issue_cert("t-1@example.org", common_name="t-1")


def certificates(*blobs: trustme.Blob) -> tuple[Certificate, ...]:
    return parse_certificates(b"".join(blob.bytes() for blob in blobs))


ROOT = certificates(CA.cert_pem)
CHAIN = certificates(*LEAF.cert_chain_pems)
REQUEST = TlsKey.generate().request("t-1", "sh")
NOW = CHAIN[0].not_before + 1


def test_a_pem_file_is_read_in_its_order_with_its_facts(tmp_path: Path) -> None:
    path = tmp_path / "chain.pem"
    path.write_bytes(LEAF.cert_chain_pems[0].bytes() + CA.cert_pem.bytes())
    leaf, root = read_certificates(path)
    assert (leaf.common_name, leaf.is_ca, root.is_ca) == ("t-1", False, True)
    assert leaf.issuer == root.subject
    assert "Lifts of Example" in root.subject
    assert len(leaf.fingerprint) == 64


def test_it_tells_which_hosts_it_is_for() -> None:
    issued = CA.issue_cert("broker.lift", "192.0.2.1", "2001:db8::1")
    (found, *_) = certificates(*issued.cert_chain_pems)
    assert sorted(hosts_of(found)) == ["192.0.2.1", "2001:db8::1", "broker.lift"]
    assert hosts_of(ROOT[0]) == ()


def test_validity_includes_its_last_second() -> None:
    leaf = CHAIN[0]
    assert not leaf.is_valid_at(leaf.not_before - 0.1)
    assert leaf.is_valid_at(leaf.not_before)
    assert leaf.is_valid_at(leaf.not_after + 0.9)
    assert not leaf.is_valid_at(leaf.not_after + 1)
    assert leaf.days_left(leaf.not_after + 1 - 3 * 86_400) == 3
    assert leaf.days_left(leaf.not_after + 2) == -1


@pytest.mark.parametrize("content", [b"", b"no certificate", LEAF.cert_chain_pems[0].bytes()[:200], b"\0" * 300_000])
def test_a_file_that_is_none_is_told_in_one_line_with_a_remedy(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "torn.pem"
    path.write_bytes(content)
    with pytest.raises(CertificateError, match=r"torn\.pem") as caught:
        read_certificates(path)
    assert caught.value.remedy
    assert "\n" not in caught.value.text


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match="No such file"):
        read_certificates(tmp_path / "none")
    with pytest.raises(CertificateError, match="is a directory"):
        read_certificates(tmp_path)


@given(st.binary(max_size=400))
def test_no_bytes_break_the_parsers(data: bytes) -> None:
    for parse in (parse_certificates, parse_signing_request, TlsKey.from_pem):
        with pytest.raises(CertificateError):
            parse(data)


@given(st.integers(0, 10_000), st.integers(1, 255))
@example(place=4320, flip=1)  # a country of 16 letters: the library warns
def test_a_damaged_certificate_or_request_is_refused_or_read_never_a_crash(place: int, flip: int) -> None:
    # The bit string of a signature says how many of its last bits do not count, and nothing signs that.
    bad = bytearray(REQUEST)
    bad[place % len(bad)] ^= flip
    with contextlib.suppress(CertificateError):
        assert parse_signing_request(bytes(bad)) == parse_signing_request(REQUEST)
    pem = bytearray(LEAF.cert_chain_pems[0].bytes())
    pem[place % len(pem)] ^= flip
    try:
        chain = parse_certificates(bytes(pem))
        check_chain(chain, ROOT, NOW)
    except CertificateError:
        return
    found, leaf = chain[0], CHAIN[0]
    assert (found.subject, found.not_after, found.public_key) == (leaf.subject, leaf.not_after, leaf.public_key)


def test_a_chain_of_the_authority_holds() -> None:
    check_chain(CHAIN, ROOT, NOW)
    check_chain((*CHAIN, *ROOT), ROOT, NOW)
    check_chain(CHAIN, certificates(OTHER.cert_pem, CA.cert_pem), NOW)


def test_a_chain_over_an_intermediate_holds_with_it_and_not_without() -> None:
    between = CA.create_child_ca()
    leaf = between.issue_cert("t-2@example.org", common_name="t-2")
    chain = certificates(*leaf.cert_chain_pems)
    assert len(chain) == 2
    check_chain(chain, ROOT, chain[0].not_before + 1)
    with pytest.raises(CertificateError, match="not of the authority"):
        check_chain(chain[:1], ROOT, chain[0].not_before + 1)
    with pytest.raises(CertificateError, match="was not issued by"):
        check_chain((chain[0], *certificates(OTHER.create_child_ca().cert_pem)), ROOT, None)


def test_another_authority_of_the_same_name_is_found_out_by_its_signature() -> None:
    twin = trustme.CA(organization_name="Lifts of Example", organization_unit_name="same")
    mine = trustme.CA(organization_name="Lifts of Example", organization_unit_name="same")
    leaf = certificates(twin.issue_cert("t@example.org", common_name="t").cert_chain_pems[0])
    with pytest.raises(CertificateError, match="not of the authority"):
        check_chain(leaf, certificates(mine.cert_pem), None)


def test_an_authority_is_no_terminal_and_a_terminal_no_authority() -> None:
    with pytest.raises(CertificateError, match="an authority's, not a terminal's"):
        check_chain(ROOT, ROOT, NOW)
    with pytest.raises(CertificateError, match="is no authority"):
        check_chain((CHAIN[0], CHAIN[0]), ROOT, NOW)
    with pytest.raises(CertificateError, match="0 certificates"):
        check_chain((), ROOT, NOW)


def test_before_and_after_its_time_a_chain_is_refused_unless_the_clock_is_not_set() -> None:
    with pytest.raises(CertificateError, match="not valid yet"):
        check_chain(CHAIN, ROOT, 0.0)
    with pytest.raises(CertificateError, match="has expired"):
        check_chain(CHAIN, ROOT, CHAIN[0].not_after + 2)
    check_chain(CHAIN, ROOT, None)


def test_a_request_says_who_asks_and_for_which_key() -> None:
    key = TlsKey.generate()
    found = parse_signing_request(key.request("t-1", "sh"))
    assert (found.terminal, found.fleet, found.public_key) == ("t-1", "sh", key.public_key)
    assert TlsKey.from_pem(key.pem()).public_key == key.public_key


def test_the_private_key_has_no_text_and_is_not_pickled() -> None:
    key = TlsKey.generate()
    assert repr(key) == "TlsKey(P-256, hidden)"
    with pytest.raises(TypeError):
        pickle.dumps(key)
