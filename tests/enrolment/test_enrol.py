"""The steps of an enrolment as a technician takes them, in any order and more than once."""

import os
import ssl
import stat
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from edge_agent.cloud.keyset import KeySet
from edge_agent.enrolment.checks import EnrolConfigError, EnrolError
from edge_agent.enrolment.enrol import Names
from edge_agent.enrolment.files import only_one
from edge_agent.enrolment.x509 import parse_certificates
from edge_agent.errors import ConfigError, KeyFileError
from edge_agent.tokens.keyring import create_key_file, load_key_file
from tests.fakes.enrolment_site import CA, NAMES, NOW, Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_whole_way_ends_in_one_drop_in_that_names_everything(site: Site) -> None:
    assert site.terminal.in_force() is None
    site.enrol()
    held = site.terminal.in_force()
    assert held is not None
    assert (held.number, held.terminal, held.fleet, held.host, held.port) == (
        1, "sh-000123-a", "sh", "broker.example.net", 8883,
    )  # fmt: skip
    assert held.certificate.common_name == "sh-000123-a"
    assert held.certificate.days_left(NOW) == 365
    assert held.kid == load_key_file(site.tap_key).kid.hex()
    assert KeySet.load(site.keys).lookup(bytes.fromhex(held.kid)) is not None
    assert site.terminal.waiting() is None
    assert [path.name for path in site.drop_ins.iterdir()] == ["50-enrolment.toml"]


def test_private_files_are_private_and_the_drop_in_is_readable(site: Site) -> None:
    site.enrol()
    for path in site.tap_key.parent.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert stat.S_IMODE((site.drop_ins / "50-enrolment.toml").stat().st_mode) == 0o644


def test_asking_again_is_the_same_request_and_changes_no_byte(site: Site) -> None:
    first = site.terminal.begin(NAMES)
    before = tree(site.tap_key.parent)
    site.now += 3600
    again = site.terminal.begin(NAMES)
    assert again.request == first.request
    assert tree(site.tap_key.parent) == before


def test_a_signing_key_that_is_there_is_kept(site: Site) -> None:
    key = create_key_file(site.tap_key)
    assert site.terminal.begin(NAMES).request.tap_key == key.public


def test_a_torn_signing_key_is_never_replaced(site: Site) -> None:
    site.tap_key.parent.mkdir(parents=True)
    site.tap_key.write_bytes(b"torn")
    site.tap_key.chmod(0o600)
    with pytest.raises(KeyFileError):
        site.terminal.begin(NAMES)
    assert site.tap_key.read_bytes() == b"torn"


@pytest.mark.parametrize("names", [Names("sh-000124-a", "sh"), Names("sh-000123-a", "gz")])
def test_another_name_is_another_request_and_the_old_one_goes(site: Site, names: Names) -> None:
    first = site.terminal.begin(NAMES)
    second = site.terminal.begin(names)
    assert second.request.id != first.request.id
    assert second.request.tap_key == first.request.tap_key
    assert not first.folder.exists()
    assert site.terminal.begin(names).request == second.request


def test_renewal_changes_key_and_certificate_and_keeps_the_signing_key(site: Site) -> None:
    site.enrol()
    old, old_files = site.terminal.in_force(), site.terminal.certificate_files()
    site.now += 300 * 86_400
    site.enrol()
    new, new_files = site.terminal.in_force(), site.terminal.certificate_files()
    assert old is not None
    assert new is not None
    assert new.number == 2
    assert new.kid == old.kid
    assert new.certificate.public_key != old.certificate.public_key
    assert new.certificate.days_left(site.now) == 365
    assert old_files is not None
    assert new_files is not None
    assert all(path.exists() for path in (*old_files, *new_files))  # the last one is kept, until the next
    site.enrol()
    assert not old_files[2].exists()
    assert new_files[2].exists()


def test_a_new_signing_key_is_vouched_for_and_both_are_registered(site: Site) -> None:
    site.enrol()
    old = load_key_file(site.tap_key)
    site.enrol(rotate=True)
    held = site.terminal.in_force()
    assert held is not None
    assert held.kid != old.kid.hex()
    assert {entry.kid for entry in KeySet.load(site.keys).entries} == {held.kid, old.kid.hex()}
    assert load_key_file(site.tap_key).kid == old.kid  # never removed: the taps that wait are its
    site.enrol()  # a renewal after that keeps the new one
    again = site.terminal.in_force()
    assert again is not None
    assert again.kid == held.kid


def test_the_signing_key_does_not_change_over_taps_that_the_cloud_could_not_verify_then(site: Site) -> None:
    site.enrol()
    attempt = site.terminal.begin(NAMES, rotate_tap_key=True)
    answer = site.answered(attempt.request)
    forgetful = replace(answer, tap_kids=(attempt.request.tap_key.kid,))
    with pytest.raises(EnrolError, match="3 taps wait"):
        site.terminal.finish(attempt, forgetful, undelivered=lambda: 3)
    held = site.terminal.in_force()
    assert held is not None
    assert held.number == 1
    site.terminal.finish(attempt, answer, undelivered=lambda: 3)  # the registry holds both: nothing is lost
    assert site.terminal.in_force() != held


def test_an_answer_for_another_terminal_or_request_changes_nothing(site: Site, tmp_path: Path) -> None:
    attempt = site.terminal.begin(NAMES)
    before = tree(site.tap_key.parent)
    answer = site.answered(attempt.request)
    other = Site(tmp_path / "other")
    stranger = other.answered(other.terminal.begin(Names("sh-000999-a", "sh")).request)
    copy = Site(tmp_path / "copy")
    twin = copy.answered(copy.terminal.begin(NAMES).request)
    wrong_ca = Site(tmp_path / "wrong", ca=trustme.CA()).answered(attempt.request)
    for wrong, why in (
        (stranger, "is for request"),
        (replace(stranger, id=answer.id), "is for terminal sh-000999-a"),
        (replace(answer, fleet="gz"), "is for fleet gz"),
        (replace(twin, id=answer.id, tap_kids=answer.tap_kids), "another key than"),
        (replace(answer, ca=wrong_ca.ca), "not of the authority"),
        (replace(answer, certificate=answer.certificate[:300]), "no complete PEM"),
        (replace(answer, ca=answer.certificate), "not of the authority|is no authority"),
        (replace(answer, tap_kids=()), "does not hold this terminal's signing key"),
    ):
        with pytest.raises(EnrolError, match=why) as caught:
            site.terminal.finish(attempt, wrong)
        assert caught.value.remedy, why
    assert tree(site.tap_key.parent) == before
    assert site.terminal.in_force() is None
    site.terminal.finish(attempt, answer)


def test_a_pinned_authority_must_be_the_one(site: Site) -> None:
    attempt = site.terminal.begin(NAMES)
    answer = site.answered(attempt.request)
    with pytest.raises(EnrolError, match="an authority that was not told"):
        site.terminal.finish(attempt, answer, pins=["0" * 64])
    checked = site.terminal.finish(attempt, answer)
    site.terminal.finish(attempt, answer, pins=[checked.authorities[0].fingerprint])


def test_a_pin_is_not_met_by_an_answer_that_carries_the_right_authority_beside_its_own(
    site: Site, tmp_path: Path
) -> None:
    attempt = site.terminal.begin(NAMES)
    right = parse_certificates(CA.cert_pem.bytes())[0].fingerprint
    forged = Site(tmp_path / "forger", ca=trustme.CA()).answered(attempt.request)
    both = replace(forged, ca=forged.ca + CA.cert_pem.bytes().decode())
    with pytest.raises(EnrolError, match="an authority that was not told: OU=Testing CA") as caught:
        site.terminal.finish(attempt, both, pins=[right])
    assert "do not use this answer" in caught.value.remedy
    other = parse_certificates(both.ca.encode())[0].fingerprint
    site.terminal.finish(attempt, both, pins=[right, other])  # a fleet may have two, and tells both


def test_a_pin_covers_what_its_authority_has_issued(site: Site) -> None:
    below = CA.create_child_ca(key_type=trustme.KeyType.ECDSA)
    lowest = below.create_child_ca(key_type=trustme.KeyType.ECDSA)
    attempt = site.terminal.begin(NAMES)
    answer = site.answered(attempt.request)
    more = [found.cert_pem.bytes().decode() for found in (lowest, below)]
    right = parse_certificates(CA.cert_pem.bytes())[0].fingerprint
    leaf = answer.certificate  # its holder must not speak for the broker
    with pytest.raises(EnrolError, match="an authority that was not told: CN=sh-000123-a"):
        site.terminal.finish(attempt, replace(answer, ca=answer.ca + leaf), pins=[right])
    site.terminal.finish(attempt, replace(answer, ca="".join(more) + answer.ca), pins=[right[:16]])


def test_what_openssl_would_trust_and_nobody_has_looked_at_is_not_kept(site: Site) -> None:
    attempt = site.terminal.begin(NAMES)
    answer = site.answered(attempt.request)
    hidden = trustme.CA().cert_pem.bytes().decode().replace("CERTIFICATE", "TRUSTED CERTIFICATE")
    site.terminal.finish(attempt, replace(answer, ca=f"{hidden}{answer.ca}{hidden}"))
    files = site.terminal.certificate_files()
    assert files is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(files[0])
    assert len(context.get_ca_certs()) == 1


def test_an_answer_by_hand_may_not_bring_another_authority_than_the_one_in_force(site: Site, tmp_path: Path) -> None:
    site.enrol()
    attempt = site.terminal.begin(NAMES)
    answer = site.answered(attempt.request)
    other = Site(tmp_path / "other", ca=trustme.CA()).answered(attempt.request)
    for wrong in (other, replace(other, ca=other.ca + answer.ca)):
        with pytest.raises(EnrolError, match="is not the one in force") as caught:
            site.terminal.finish(attempt, wrong, by_hand=True)
        assert "--ca-fingerprint" in caught.value.remedy
    site.terminal.finish(attempt, answer, by_hand=True)
    again = site.terminal.begin(NAMES)
    moved = Site(tmp_path / "moved", ca=trustme.CA()).answered(again.request)
    pins = [found.fingerprint for found in parse_certificates(moved.ca.encode())]
    site.terminal.finish(again, moved, by_hand=True, pins=pins)  # the fleet has a new one, and told it


def test_where_the_authority_in_force_cannot_be_read_an_answer_by_hand_needs_a_pin(site: Site) -> None:
    site.enrol()
    files = site.terminal.certificate_files()
    assert files is not None
    files[0].write_bytes(b"torn")
    attempt = site.terminal.begin(NAMES)
    with pytest.raises(EnrolError, match="is not the one in force"):
        site.terminal.finish(attempt, site.answered(attempt.request), by_hand=True)


def test_an_answer_that_was_long_in_coming_does_not_undo_a_later_enrolment(site: Site) -> None:
    slow = site.terminal.begin(NAMES)
    answer = site.answered(slow.request)
    site.enrol()  # another shell takes the same request's answer,
    site.enrol()  # and renews
    with pytest.raises(EnrolError, match="enrolment 2 has come into force meanwhile"):
        site.terminal.finish(slow, answer)
    held = site.terminal.in_force()
    assert held is not None
    assert held.number == 2


def test_a_pipe_in_place_of_the_key_holds_nobody_up(site: Site) -> None:
    site.enrol()
    files = site.terminal.certificate_files()
    assert files is not None
    files[2].unlink()
    os.mkfifo(files[2])
    with pytest.raises(EnrolConfigError, match="is no regular file"):
        site.terminal.in_force()


def test_the_folder_of_the_drop_in_can_be_read_by_the_agent_under_a_strict_umask_of_root(site: Site) -> None:
    before = os.umask(0o077)
    try:
        site.enrol()
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(before)
    assert stat.S_IMODE(site.drop_ins.stat().st_mode) == 0o755


def test_with_a_clock_that_is_not_set_validity_is_not_looked_at_and_that_is_said(site: Site) -> None:
    attempt = site.terminal.begin(NAMES)
    answer = site.answered(attempt.request)
    site.now = 100.0
    assert not site.terminal.finish(attempt, answer).time_checked
    held = site.terminal.in_force()
    assert held is not None
    assert not held.time_known


def test_a_certificate_that_has_expired_by_then_is_refused(site: Site) -> None:
    attempt = site.terminal.begin(NAMES)
    answer = site.answered(attempt.request)
    site.now += 400 * 86_400
    with pytest.raises(EnrolError, match="has expired"):
        site.terminal.finish(attempt, answer)


def test_what_would_break_the_configuration_is_not_put_in_force(site: Site) -> None:
    attempt = site.terminal.begin(NAMES)

    def refuse(_values: object) -> None:
        raise ConfigError(["no"])

    with pytest.raises(ConfigError):
        site.terminal.finish(attempt, site.answered(attempt.request), try_values=refuse)
    assert site.terminal.in_force() is None


def test_a_damaged_request_is_told_and_only_a_new_beginning_replaces_it(site: Site) -> None:
    attempt = site.terminal.begin(NAMES)
    (attempt.folder / "tls.key").write_bytes(b"-----BEGIN")
    with pytest.raises(EnrolConfigError, match=r"tls\.key cannot be used") as caught:
        site.terminal.begin(NAMES)
    assert "--renew" in caught.value.remedy
    again = site.terminal.begin(NAMES, anew=True)
    assert again.request.id != attempt.request.id
    assert not attempt.folder.exists()


def test_a_lost_drop_in_comes_back_from_what_was_kept(site: Site) -> None:
    site.enrol()
    (site.drop_ins / "50-enrolment.toml").unlink()
    waiting = site.terminal.waiting()
    assert waiting is not None
    assert waiting.answer is not None
    site.terminal.finish(waiting, waiting.answer)
    assert site.terminal.in_force() is not None


def test_a_drop_in_that_somebody_edited_is_told(site: Site) -> None:
    site.enrol()
    (site.drop_ins / "50-enrolment.toml").write_text("[uplink]\nhost = 3\n")
    with pytest.raises(EnrolConfigError, match="not as an enrolment wrote it") as caught:
        site.terminal.in_force()
    assert "move it away" in caught.value.remedy


def test_a_swapped_certificate_is_told(site: Site) -> None:
    site.enrol()
    files = site.terminal.certificate_files()
    site.enrol()
    now_files = site.terminal.certificate_files()
    assert files is not None
    assert now_files is not None
    now_files[1].write_bytes(files[1].read_bytes())
    with pytest.raises(EnrolConfigError, match="is not the certificate of"):
        site.terminal.in_force()


def test_a_folder_of_drop_ins_may_be_a_link_into_the_writable_part(site: Site, tmp_path: Path) -> None:
    writable = tmp_path / "data" / "drop-ins"
    writable.parent.mkdir()
    site.drop_ins.symlink_to(writable)  # dangling, as an image ships it
    site.enrol()
    assert (writable / "50-enrolment.toml").exists()
    assert site.drop_ins.is_symlink()


def test_a_drop_in_that_cannot_be_written_keeps_the_answer_for_the_next_time(site: Site) -> None:
    in_the_way = site.drop_ins / ".50-enrolment.toml.new"
    in_the_way.mkdir(parents=True)
    attempt = site.terminal.begin(NAMES)
    with pytest.raises(EnrolConfigError, match="the answer is kept"):
        site.terminal.finish(attempt, site.answered(attempt.request))
    in_the_way.rmdir()
    waiting = site.terminal.waiting()
    assert waiting is not None
    assert waiting.answer is not None
    site.terminal.finish(waiting, waiting.answer)
    assert site.terminal.in_force() is not None


def test_two_at_once_are_kept_apart(site: Site) -> None:
    attempt = site.terminal.begin(NAMES)
    answer = site.answered(attempt.request)
    with only_one(site.store.folder):
        for second in (lambda: site.terminal.begin(NAMES), lambda: site.terminal.finish(attempt, answer)):
            with pytest.raises(EnrolConfigError, match="another enrolment works"):
                second()
    site.terminal.finish(attempt, answer)
