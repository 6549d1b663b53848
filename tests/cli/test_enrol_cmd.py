"""`edge-agent enrol` as a technician, a timer and the fleet's people use it: by hand and over a real broker."""

import io
import json
import os
import pwd
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from edge_agent.cli.main import main
from edge_agent.cloud.keyset import KeySet
from edge_agent.config import load
from edge_agent.enrolment.x509 import parse_certificates, read_certificates
from tests.fakes.camera import read_rows
from tests.fakes.certificates import Certificates, make_certificates
from tests.fakes.enrolment_site import CA, ca_files
from tests.fakes.mosquitto import Mosquitto

ID = "sh-000123-a"


class Desk:
    """A terminal's folders and the fleet's, and the command on them."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        self.config = folder / "etc" / "agent.toml"
        self.config.parent.mkdir()
        self.state = folder / "var"
        self.state.mkdir()
        self.config.write_text(
            f'[outbox]\npath = "{self.state / "outbox.db"}"\n[keys]\npath = "{self.state / "keys" / "tap.key"}"\n'
            f'[control]\nsocket = "{folder / "control.sock"}"\n'
        )
        (folder / "issued").mkdir()
        self.certificate, self.key = ca_files(folder / "ca")
        self.registry = folder / "keys.json"
        self.names = ["--terminal", ID, "--fleet", "sh"]

    def run(self, *words: str, status: int = 0) -> str:
        """Run the command and return what it printed, both streams."""
        assert main(["enrol", *words]) == status
        captured = self._capsys.readouterr()
        return captured.out + captured.err

    def terminal(self, *words: str, status: int = 0) -> str:
        return self.run("--config", str(self.config), *self.names, *words, status=status)

    def status(self, status: int = 0) -> dict[str, Any]:
        shown = self.run("status", "--config", str(self.config), "--json", status=status)
        return dict(json.loads(shown))

    def fleet(self) -> list[str]:
        return [
            "--ca-cert", str(self.certificate), "--ca-key", str(self.key),
            "--keys", str(self.registry), "--issued", str(self.folder / "issued"),
        ]  # fmt: skip

    def sign(self, *words: str, status: int = 0) -> str:
        return self.run("sign", *words, "--broker", "broker.example.net", *self.fleet(), status=status)

    def by_hand(self, *words: str) -> None:
        """Request, answer, done: by files."""
        request, answer = self.folder / "request.json", self.folder / "answer.json"
        self.terminal(*words, "--out", str(request))
        self.sign(str(request), "--out", str(answer))
        self.terminal(*words, "--answer", str(answer))


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path, capsys)


def test_by_hand_from_nothing_to_a_configuration_that_is_right(desk: Desk) -> None:
    assert "NOT ENROLLED" in desk.run("status", "--config", str(desk.config), status=1)
    shown = desk.terminal("--out", str(desk.folder / "request.json"))
    assert "request made" in shown.splitlines()[0]
    assert shown.splitlines()[-1].startswith("FILE, or --paste") or "Next:" in shown
    assert desk.status(1)["state"] == "waiting"
    answer = desk.folder / "answer.json"
    assert "enrolled" in desk.sign(str(desk.folder / "request.json"), "--out", str(answer))
    done = desk.terminal("--answer", str(answer))
    assert done.splitlines()[0] == f"{ID}: ENROLLED"
    assert done.splitlines()[-1] == "Next: let the agent take it up: sudo systemctl restart edge-agent"
    assert "PRIVATE" not in shown + done
    settings = load(desk.config, {}).settings
    assert (settings.terminal.id, settings.terminal.fleet) == (ID, "sh")
    assert (settings.uplink.host, settings.uplink.port) == ("broker.example.net", 8883)
    assert settings.uplink.cert is not None
    assert read_certificates(settings.uplink.cert)[0].common_name == ID
    found = desk.status()
    assert found["state"] == "enrolled"
    assert found["kid"] == KeySet.load(desk.registry).entries[0].kid
    assert main(["config", "check", "--config", str(desk.config)]) == 0


def test_again_says_that_it_is_done_and_changes_nothing(desk: Desk) -> None:
    desk.by_hand()
    before = {path: path.read_bytes() for path in desk.folder.rglob("*") if path.is_file()}
    assert "already enrolled" in desk.terminal()
    assert "already enrolled" in desk.terminal("--answer", str(desk.folder / "answer.json"))
    assert "already enrolled" in desk.terminal("--renew-before", "30")
    assert {path: path.read_bytes() for path in desk.folder.rglob("*") if path.is_file()} == before


def test_the_code_that_is_drawn_is_read_by_a_phone_and_is_the_request(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = desk.terminal("--qr")
    drawn = [line for line in shown.splitlines() if set(line) <= set("█▀▄ ") and "█" in line]
    assert max(map(len, drawn)) <= 80
    (text,) = re.findall(r"(?m)^TAPREQ1:\S+$", shown)
    # What is printed is light.
    dark = {"█": "00", "▀": "01", "▄": "10", " ": "11"}
    rows = tuple("".join(dark[char][half] for char in line) for line in drawn for half in (0, 1))
    assert read_rows(rows[: len(rows[0])]) == [text]
    monkeypatch.setattr(sys, "stdin", _Typed(text))
    assert "enrolled" in desk.sign("-")


class _Typed:
    """Standard input that a person typed."""

    def __init__(self, text: str) -> None:
        self.buffer = io.BytesIO(text.encode())

    def isatty(self) -> bool:
        return False


def test_an_answer_is_pasted_in_folded_lines(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.terminal("--out", str(desk.folder / "request.json"))
    shown = desk.sign(str(desk.folder / "request.json"))
    (line,) = re.findall(r"(?m)^TAPANS1:\S+$", shown)
    folded = "\n".join(line[start : start + 76] for start in range(0, len(line), 76))
    monkeypatch.setattr(sys, "stdin", _Typed(f"\n{folded}\n\nand what comes after it"))
    assert "ENROLLED" in desk.terminal("--paste")


@pytest.mark.parametrize("typed", ["", "\n\n", "TAPANS1:", "TAPANS1:abc", "x" * 200_000, '{"format":1}'])
def test_what_is_no_answer_is_one_line_and_a_remedy(desk: Desk, monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    monkeypatch.setattr(sys, "stdin", _Typed(typed))
    text, remedy = desk.terminal("--paste", status=1).splitlines()
    assert text.startswith("edge-agent: what was pasted is no answer:")
    assert remedy.strip() == "take the answer again, whole"
    assert desk.status(1)["state"] == "waiting"


def test_an_answer_that_is_given_counts_more_than_one_that_was_kept(desk: Desk) -> None:
    """The first one could not be put in force, and proved to be forged."""
    request, answer = desk.folder / "request.json", desk.folder / "answer.json"
    desk.terminal("--out", str(request))
    desk.sign(str(request), "--out", str(answer))
    forged = desk.folder / "forged"
    forged.mkdir()
    forger = Desk(forged, desk._capsys)
    forger.certificate, forger.key = ca_files(forged / "ca", trustme.CA())
    forger.sign(str(request), "--out", str(forged / "answer.json"))
    in_the_way = desk.config.parent / "agent.toml.d" / ".50-enrolment.toml.new"
    in_the_way.mkdir(parents=True)
    assert "the answer is kept" in desk.terminal("--answer", str(forged / "answer.json"), status=78)
    in_the_way.rmdir()
    found = desk.status(1)
    assert (found["state"], found["answered"]) == ("waiting", True)
    shown = desk.run("status", "--config", str(desk.config), status=1)
    assert "is answered, but not in force" in shown
    assert "put the answer in force: sudo edge-agent enrol" in shown
    right = parse_certificates(CA.cert_pem.bytes())[0].fingerprint
    assert "do not use this answer" in desk.terminal("--ca-fingerprint", right, status=1)
    done = desk.terminal("--answer", str(answer), "--ca-fingerprint", right)
    assert "O=Terminals of Example" in done


def test_an_answer_by_hand_may_not_change_the_authority_unless_that_was_told(desk: Desk) -> None:
    desk.by_hand()
    request, answer = desk.folder / "request.json", desk.folder / "answer.json"
    desk.terminal("--renew", "--out", str(request))
    desk.certificate, desk.key = ca_files(desk.folder / "new-ca", trustme.CA())
    shown = desk.sign(str(request), "--out", str(answer))
    said = desk.terminal("--answer", str(answer), status=1)
    assert "is not the one in force" in said
    (told,) = re.findall(r"(?m)^ *authority +([0-9a-f]{64})$", shown)
    assert "ENROLLED" in desk.terminal("--answer", str(answer), "--ca-fingerprint", told)


def test_an_answer_without_a_request_is_told_even_if_the_drop_in_names_files_elsewhere(desk: Desk) -> None:
    desk.by_hand()
    folder = desk.state / "enrolment"
    folder.rename(desk.folder / "elsewhere")
    drop_in = desk.config.parent / "agent.toml.d" / "50-enrolment.toml"
    drop_in.write_text(drop_in.read_text().replace(str(folder), str(desk.folder / "elsewhere")))
    assert "no request waits" in desk.terminal("--answer", str(desk.folder / "answer.json"), status=1)


def test_an_answer_of_another_authority_than_the_one_told_is_refused(desk: Desk) -> None:
    request, answer = desk.folder / "request.json", desk.folder / "answer.json"
    desk.terminal("--out", str(request))
    desk.sign(str(request), "--out", str(answer))
    right = parse_certificates(CA.cert_pem.bytes())[0].fingerprint
    wrong = "0" * 64
    said = desk.terminal("--answer", str(answer), "--ca-fingerprint", wrong, status=1)
    assert "do not use this answer" in said
    colons = ":".join(right[start : start + 2].upper() for start in range(0, 64, 2))
    assert "ENROLLED" in desk.terminal("--answer", str(answer), "--ca-fingerprint", colons)


def test_renewing_and_a_new_signing_key(desk: Desk) -> None:
    desk.by_hand()
    first = desk.status()
    (desk.folder / "request.json").unlink()
    desk.terminal("--renew", "--out", str(desk.folder / "request.json"))
    waiting = desk.status(1)
    assert waiting["state"] == "enrolled"  # the old one holds until the new one does
    assert waiting["certificate"]["fingerprint"] == first["certificate"]["fingerprint"]
    assert "request" in waiting
    desk.sign(str(desk.folder / "request.json"), "--out", str(desk.folder / "answer.json"))
    desk.terminal("--answer", str(desk.folder / "answer.json"))
    second = desk.status()
    assert second["kid"] == first["kid"]
    assert second["certificate"]["fingerprint"] != first["certificate"]["fingerprint"]
    desk.by_hand("--rotate-tap-key")
    third = desk.status()
    assert third["kid"] != second["kid"]
    assert load(desk.config, {}).settings.keys.path.name == "tap-0003.key"
    assert {entry.kid for entry in KeySet.load(desk.registry).entries} == {first["kid"], third["kid"]}


def test_a_timer_renews_only_what_ends_soon(desk: Desk) -> None:
    request, answer = desk.folder / "request.json", desk.folder / "answer.json"
    desk.terminal("--out", str(request))
    desk.sign(str(request), "--days", "20", "--out", str(answer))
    desk.terminal("--answer", str(answer))
    assert desk.status(1)["state"] == "expires_soon"
    assert "already enrolled" in desk.terminal("--renew-before", "10")
    assert "request made" in desk.terminal("--renew-before", "30")


def test_what_wins_over_the_enrolment_is_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.by_hand()
    monkeypatch.setenv("EDGE_AGENT__UPLINK__HOST", "other.example.net")
    assert "other.example.net by environment" in desk.status(1)["overridden"]
    monkeypatch.delenv("EDGE_AGENT__UPLINK__HOST")
    (desk.config.parent / "agent.toml.d" / "90-local.toml").write_text('[terminal]\nid = "sh-7"\n')
    said = desk.run("status", "--config", str(desk.config), status=1)
    assert "90-local.toml:2" in said


@pytest.mark.parametrize(
    ("name", "value"),
    [("uplink.port", "1883"), ("uplink.ca", '"/tmp/ca.pem"'), ("uplink.cert", '"/tmp/t.pem"')],
)
def test_a_part_of_the_enrolment_that_does_not_hold_is_told(desk: Desk, name: str, value: str) -> None:
    desk.by_hand()
    (desk.config.parent / "agent.toml.d" / "90-local.toml").write_text(f"{name} = {value}\n")
    section, key = name.split(".")
    assert desk.status(1)["overridden"].startswith(f"[{section}] {key} is ")


def test_an_answer_with_which_the_configuration_would_be_wrong_is_not_taken(desk: Desk) -> None:
    desk.config.write_text(desk.config.read_text() + "[uplink]\npassword_file = '/x'\nusername = 'u'\n")
    request, answer = desk.folder / "request.json", desk.folder / "answer.json"
    desk.terminal("--out", str(request))
    desk.sign(str(request), "--out", str(answer))
    (desk.config.parent / "agent.toml.d").mkdir()
    (desk.config.parent / "agent.toml.d" / "10-x.toml").write_text("[uplink]\nbackoff_cap_s = 1\n")
    assert "backoff_cap_s" in desk.terminal("--answer", str(answer), status=78)
    assert not (desk.config.parent / "agent.toml.d" / "50-enrolment.toml").exists()


def test_the_id_of_the_sample_is_nobodys(desk: Desk) -> None:
    desk.names = []
    desk.config.write_text(
        '[terminal]\nid = "sh-000123-a"\nfleet = "sh"\n[uplink]\nhost = "broker.example.net"\n'
        + desk.config.read_text()
    )
    said = desk.terminal("--terminal", "sh-7-a", status=78)
    assert "has no fleet" in said
    assert "request made" in desk.terminal("--terminal", "sh-7-a", "--fleet", "gz")


def test_the_sample_says_what_is_taken_for_it(desk: Desk) -> None:
    desk.names = []
    sample = (Path(__file__).parents[2] / "config" / "edge-agent.toml").read_text()
    desk.config.write_text(sample.replace("/var/lib/edge-agent", str(desk.state)))
    assert "has no fleet" in desk.terminal("--terminal", "sh-7-a", status=78)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--paste", "--broker", "x"], "one way"),
        (["--claim-cert", "x", "--broker", "y"], "belong together"),
        (["--ca", "x"], "is for --broker"),
        (["--ca-fingerprint", "xyz"], "expected 16 to 64 digits"),
        (["--broker", "host:port"], "expected HOST or HOST:PORT"),
        (["--broker", ""], "no certificate to ask with"),
        (["--terminal", "A b"], "1 to 24 of a-z"),
        (["--terminal", "../../etc"], "1 to 24 of a-z"),
        (["--answer", "/nowhere/at/all"], "cannot be read"),
        (["--broker", "x", "--claim-cert", "/nowhere", "--claim-key", "/nowhere"], "cannot be read"),
        (["--out", "/nowhere/at/all"], "cannot be written"),
    ],
)
def test_wrong_words_are_told(desk: Desk, words: list[str], why: str) -> None:
    assert main(["enrol", "--config", str(desk.config), *desk.names, *words]) in (1, 3, 78)
    assert why in desk._capsys.readouterr().err


def test_who_asks_with_the_certificate_in_force_gives_the_terminals_password_too(desk: Desk) -> None:
    desk.by_hand()
    secret = desk.folder / "password"
    secret.write_text("x")
    secret.chmod(0o644)
    drop_in = desk.config.parent / "agent.toml.d" / "90-local.toml"
    drop_in.write_text(f'[uplink]\nusername = "u"\npassword_file = "{secret}"\n')
    assert f"chmod 600 {secret}" in desk.terminal("--renew", "--broker", "localhost:1", status=1)


def test_a_claim_certificate_that_has_expired_is_told_before_anybody_is_asked(desk: Desk) -> None:
    import datetime as dt  # noqa: PLC0415 -- only here

    old = trustme.CA().issue_cert("claim@example.org", not_after=dt.datetime(2026, 1, 2, tzinfo=dt.UTC))
    cert, key = desk.folder / "claim.pem", desk.folder / "claim.key"
    old.cert_chain_pems[0].write_to_path(cert)
    old.private_key_pem.write_to_path(key)
    said = desk.terminal("--broker", "localhost:1", "--claim-cert", str(cert), "--claim-key", str(key), status=1)
    assert "claim.pem" in said
    assert "has expired" in said


def test_a_request_that_the_fleet_refuses(desk: Desk) -> None:
    desk.by_hand()
    other = desk.folder / "other"
    other.mkdir()
    again = Desk(other, desk._capsys)
    again.registry = desk.registry
    again.terminal("--out", str(other / "request.json"))
    said = again.sign(str(other / "request.json"), status=1)
    assert "a copy, or a new board" in said
    assert "--replace" in said
    again.sign(str(other / "request.json"), "--replace")
    entry = KeySet.load(desk.registry).entries[-1]
    KeySet.load(desk.registry).with_entry(entry.model_copy(update={"revoked_at": 1})).save(desk.registry)
    said = again.sign(str(other / "request.json"), "--replace", status=1)
    assert "is revoked" in said
    assert "--replace" not in said  # it would not help
    (other / "request.json").write_text("{}")
    assert "is no request" in again.sign(str(other / "request.json"), status=1)


@pytest.mark.usefixtures("as_root")  # only root can act for another user
def test_what_sudo_makes_is_the_agents(capsys: pytest.CaptureFixture[str]) -> None:
    nobody = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders let nobody in
        Path(name).chmod(0o755)
        desk = Desk(Path(name), capsys)
        os.chown(desk.state, nobody.pw_uid, nobody.pw_gid)
        desk.by_hand()
        owners = {(path.stat().st_uid, path.stat().st_gid) for path in desk.state.rglob("*")}
        assert owners == {(nobody.pw_uid, nobody.pw_gid)}
        assert (desk.config.parent / "agent.toml.d" / "50-enrolment.toml").stat().st_uid == 0
        assert (os.geteuid(), os.getegid()) == (0, os.getgid())
        assert desk.status()["state"] == "enrolled"


@pytest.fixture(scope="module")
def claim(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("claim"), client="claim", authority=CA)


@pytest.fixture
def broker(require_system: Callable[[str], str], tmp_path: Path, claim: Certificates) -> Iterator[Mosquitto]:
    with Mosquitto(require_system("mosquitto"), tmp_path, tls=claim, client_certificates=True) as made:
        yield made


def test_over_the_network_and_again_with_the_certificate_that_this_gave(
    desk: Desk, broker: Mosquitto, claim: Certificates
) -> None:
    """`serve` as a process of its own; the renewal needs neither the claim certificate nor the broker's name."""
    expected = desk.folder / "expected"
    expected.write_text(f"{ID}\n")
    address = f"localhost:{broker.port}"
    command = [sys.executable, "-m", "edge_agent", "enrol", "serve", "--expect", str(expected), "--broker", address]
    command += ["--broker-ca", str(claim.ca), "--cert", str(claim.client_cert), "--cert-key", str(claim.client_key)]
    with subprocess.Popen([*command, *desk.fleet()], stderr=subprocess.PIPE, text=True) as serving:
        try:
            asking = ["--broker", address, "--claim-cert", str(claim.client_cert), "--claim-key", str(claim.client_key)]
            done = desk.terminal(*asking, "--ca", str(claim.ca), "--wait", "100")
            assert done.splitlines()[0] == f"{ID}: ENROLLED"
            first = desk.status()
            assert first["broker"] == {"host": "localhost", "port": broker.port}
            desk.names = []
            done = desk.terminal("--renew", "--broker", "--wait", "100")
            assert done.splitlines()[0] == f"{ID}: ENROLLED"
            second = desk.status()
            assert second["certificate"]["fingerprint"] != first["certificate"]["fingerprint"]
            expected.write_text("other\n")
            said = desk.terminal("--renew", "--broker", "--wait", "100", status=1)
            assert "the fleet refuses this terminal" in said
            assert desk.status(1)["certificate"]["fingerprint"] == second["certificate"]["fingerprint"]
        finally:
            serving.terminate()
            _, log = serving.communicate(timeout=30)
    assert serving.returncode == 0, log
    assert "enrol_answered" in log


def test_status_is_quick_to_say_when_a_certificate_is_over(desk: Desk) -> None:
    from edge_agent.cli.enrol_site import EnrolSite  # noqa: PLC0415 -- beside its use
    from edge_agent.cli.enrol_view import Standing  # noqa: PLC0415 -- beside its use

    desk.by_hand()
    for later, verdict in ((0, "enrolled"), (340, "expires_soon"), (366, "expired"), (-2, "not_valid_yet")):
        site = EnrolSite.of(desk.config, {}, root=Path("/"), wall=lambda days=later: time.time() + days * 86_400)
        assert Standing(site.enrolment.in_force(), None, site.now(), "").verdict == verdict
    unset = EnrolSite.of(desk.config, {}, root=Path("/"), wall=lambda: 0.0)
    assert Standing(unset.enrolment.in_force(), None, unset.now(), "").verdict == "enrolled"


def test_the_names_are_told_once_and_not_again_with_the_answer(desk: Desk) -> None:
    request, answer = desk.folder / "request.json", desk.folder / "answer.json"
    here = ("--config", str(desk.config))
    desk.run(*here, *desk.names, "--out", str(request))
    asked = desk.status(1)["request"]["id"]
    desk.run(*here)
    assert desk.status(1)["request"]["id"] == asked, "shown again"
    desk.sign(str(request), "--out", str(answer))
    desk.run(*here, "--answer", str(answer))
    assert desk.status()["terminal"] == ID


def test_an_answer_is_for_the_request_that_waits_whatever_the_configuration_says_by_now(desk: Desk) -> None:
    request, answer = desk.folder / "request.json", desk.folder / "answer.json"
    desk.terminal("--out", str(request))
    desk.sign(str(request), "--out", str(answer))
    desk.config.write_text(f'[terminal]\nid = "another"\nfleet = "sh"\n{desk.config.read_text()}')
    desk.run("--config", str(desk.config), "--answer", str(answer))
    assert desk.status()["terminal"] == ID
