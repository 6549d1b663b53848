"""The fleet's desk: who gets in, who does not, and what is remembered."""

from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from edge_agent.cloud.authority import Authority
from edge_agent.cloud.enrolling import Desk, Terms, read_expected
from edge_agent.cloud.keyset import KeySet
from edge_agent.enrolment.answer import Answer, Refusal
from edge_agent.enrolment.checks import EnrolError
from edge_agent.enrolment.enrol import Names
from edge_agent.enrolment.files import only_one
from edge_agent.enrolment.request import Request
from edge_agent.enrolment.x509 import check_chain, parse_certificates
from edge_agent.errors import ConfigError
from tests.fakes.enrolment_site import NAMES, Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def asked(folder: Path, names: Names = NAMES) -> Request:
    return Site(folder).terminal.begin(names).request


def code(site: Site, request: Request, *, replace_it: bool = False) -> str:
    found = site.desk.answer(request, now=site.now, replace=replace_it)
    return found.code if isinstance(found, Refusal) else "taken"


def test_the_same_request_gets_the_same_answer_and_one_registry_entry(site: Site, tmp_path: Path) -> None:
    request = asked(tmp_path / "a")
    first = site.answered(request)
    site.now += 86_400
    assert site.answered(request) == first
    assert len(KeySet.load(site.keys)) == 1
    site.now += 400 * 86_400
    assert site.answered(request) != first  # nobody is helped by a certificate that has expired


def test_a_typing_error_in_the_brokers_name_is_put_right_by_answering_again(site: Site, tmp_path: Path) -> None:
    request = asked(tmp_path / "a")
    wrong = site.answered(request)
    right = Desk(site.authority, Terms("right.example.net", 8884, ""), keys=site.keys, issued=site.issued)
    found = right.answer(request, now=site.now)
    assert isinstance(found, Answer)
    assert (found.host, found.port, found.certificate) == ("right.example.net", 8884, wrong.certificate)
    assert right.answer(request, now=site.now) == found


def test_a_request_that_was_answered_is_answered_again_off_the_list_and_by_a_new_authority(
    site: Site, tmp_path: Path
) -> None:
    request = asked(tmp_path / "a")
    first = site.answered(request)
    assert site.desk.answer(request, now=site.now, expected={}) == first
    fresh = trustme.CA(key_type=trustme.KeyType.ECDSA)
    authority = Authority(fresh.cert_pem.bytes(), fresh.private_key_pem.bytes())
    moved = Desk(authority, Terms("broker.example.net", 8883, ""), keys=site.keys, issued=site.issued)
    found = moved.answer(request, now=site.now)
    assert isinstance(found, Answer)
    check_chain(parse_certificates(found.certificate.encode()), parse_certificates(found.ca.encode()), site.now)


def test_a_key_that_the_registry_has_lost_is_registered_before_the_answer_is_given_again(
    site: Site, tmp_path: Path
) -> None:
    request = asked(tmp_path / "a")
    first = site.answered(request)
    site.keys.unlink()  # an older copy came back
    assert site.answered(request) == first
    assert KeySet.load(site.keys).lookup(request.tap_key.kid) is not None


def test_two_who_write_the_registry_are_kept_apart(site: Site, tmp_path: Path) -> None:
    request = asked(tmp_path / "a")
    with only_one(site.keys.parent), pytest.raises(EnrolError, match="another enrolment works"):
        site.answered(request)
    site.answered(request)


def test_more_authorities_than_an_answer_holds_are_told_at_the_start(site: Site) -> None:
    terms = Terms("broker.example.net", 8883, "x" * 12_000)
    with pytest.raises(ConfigError, match="characters of PEM"):
        Desk(site.authority, terms, keys=site.keys, issued=site.issued)


def test_a_terminal_with_another_signing_key_is_refused_until_a_person_lets_it_in(site: Site, tmp_path: Path) -> None:
    first, second = asked(tmp_path / "a"), asked(tmp_path / "b")
    assert code(site, first) == "taken"
    assert code(site, second) == "conflict"
    assert len(KeySet.load(site.keys)) == 1
    assert code(site, second, replace_it=True) == "taken"
    assert len(KeySet.load(site.keys)) == 2  # the old one's taps may still come


def test_a_copied_card_in_another_terminal_is_refused(site: Site) -> None:
    assert code(site, site.terminal.begin(NAMES).request) == "taken"
    copy = site.terminal.begin(Names("sh-000999-a", "sh"), anew=True)
    assert code(site, copy.request) == "conflict"
    assert code(site, copy.request, replace_it=True) == "conflict"


def test_a_stranger_cannot_vouch_for_himself(site: Site, tmp_path: Path) -> None:
    first = Site(tmp_path / "a")
    assert code(site, first.terminal.begin(NAMES).request) == "taken"
    known = KeySet.load(site.keys).entries[0]
    stranger = Site(tmp_path / "b")
    stranger.enrol()
    heir = stranger.terminal.begin(NAMES, rotate_tap_key=True).request
    assert code(site, heir) == "conflict"
    assert code(site, replace(heir, previous=bytes.fromhex(known.kid))) == "conflict"


def test_a_revoked_key_stays_out(site: Site, tmp_path: Path) -> None:
    request = asked(tmp_path / "a")
    assert code(site, request) == "taken"
    registry = KeySet.load(site.keys)
    entry = registry.entries[0].model_copy(update={"revoked_at": 1})
    registry.with_entry(entry).save(site.keys)
    assert code(site, request) == "revoked"
    for path in site.issued.iterdir():
        path.unlink()
    assert code(site, request) == "revoked"


def test_the_key_is_registered_before_the_answer_is_kept(site: Site, tmp_path: Path) -> None:
    site.issued.rmdir()  # the disk fails between the two
    request = asked(tmp_path / "a")
    with pytest.raises(FileNotFoundError):
        site.desk.answer(request, now=site.now)
    assert KeySet.load(site.keys).lookup(request.tap_key.kid) is not None
    site.issued.mkdir()
    assert code(site, request) == "taken"


def test_the_list_of_expected_terminals_tells_each_mistake(tmp_path: Path) -> None:
    path = tmp_path / "expected"
    path.write_text("# lift 1\nsh-1-a  10000000abcdef01\n\nsh-2-a # lift 2\n")
    assert read_expected(path) == {"sh-1-a": "10000000abcdef01", "sh-2-a": ""}
    path.write_text("SH-1\nsh-1-a\nsh-1-a\nsh-2-a a b\n")
    with pytest.raises(ConfigError) as caught:
        read_expected(path)
    assert [problem.split(":")[1] for problem in caught.value.problems] == ["1", "3", "4"]
    with pytest.raises(ConfigError, match="cannot be read"):
        read_expected(tmp_path / "none")


@pytest.mark.parametrize("kind", [trustme.KeyType.ECDSA, trustme.KeyType.RSA])
def test_what_an_authority_or_its_intermediate_issues_holds_and_ends_with_it(
    kind: trustme.KeyType, site: Site, tmp_path: Path
) -> None:
    root = trustme.CA(key_type=kind)
    below = root.create_child_ca(key_type=kind)
    key = site.terminal.begin(NAMES).key
    for ca in (root, below):
        authority = Authority(ca.cert_pem.bytes(), ca.private_key_pem.bytes())
        pem = authority.issue(key.public_key, "sh-000123-a", "sh", now=site.now, days=30)
        chain = parse_certificates(pem.encode())
        check_chain(chain, parse_certificates(root.cert_pem.bytes()), site.now)
        assert len(chain) == (1 if ca is root else 2)
        assert (chain[0].subject, chain[0].days_left(site.now)) == ("CN=sh-000123-a,O=sh", 30)
    own = parse_certificates(root.cert_pem.bytes())[0]
    authority = Authority(root.cert_pem.bytes(), root.private_key_pem.bytes())
    late = authority.issue(key.public_key, "a", "sh", now=own.not_after - 100, days=30)
    assert parse_certificates(late.encode())[0].not_after == own.not_after
    with pytest.raises(ConfigError, match="has expired"):
        authority.issue(key.public_key, "a", "sh", now=own.not_after + 100, days=30)


def test_an_authority_is_refused_with_the_wrong_key_or_an_open_one(tmp_path: Path) -> None:
    one, other = trustme.CA(), trustme.CA()
    with pytest.raises(ConfigError, match="not that of the first"):
        Authority(one.cert_pem.bytes(), other.private_key_pem.bytes())
    with pytest.raises(ConfigError, match="no whole"):
        Authority(b"", other.private_key_pem.bytes())
    leaf = one.issue_cert("t@example.org")
    with pytest.raises(ConfigError, match="no authority"):
        Authority(leaf.cert_chain_pems[0].bytes(), leaf.private_key_pem.bytes())
    certificate, key = tmp_path / "ca.pem", tmp_path / "ca.key"
    one.cert_pem.write_to_path(certificate)
    one.private_key_pem.write_to_path(key)
    key.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        Authority.load(certificate, key)
    key.chmod(0o600)
    Authority.load(certificate, key)
