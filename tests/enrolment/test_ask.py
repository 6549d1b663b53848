"""Asking over MQTT: a real mosquitto with client certificates and rules, a real desk behind it; and peers that lie."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from edge_agent.cloud.enrol_service import EnrolService
from edge_agent.cloud.enrolling import Desk
from edge_agent.cloud.keyset import KeySet
from edge_agent.enrolment.answer import Answer, Refusal
from edge_agent.enrolment.ask import Pace, ask
from edge_agent.enrolment.checks import EnrolError
from edge_agent.enrolment.request import Request
from edge_agent.uplink.base import LinkSettings, Message, Received, TlsSettings
from edge_agent.uplink.topics import Topics
from tests.fakes.certificates import Certificates, make_certificates
from tests.fakes.enrolment_site import NAMES, Site
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.mqtt_probe import Probe
from tests.fakes.waiting import eventually

PATIENT = Pace(wait_s=60.0, again_s=0.1, pause_s=0.05)
BRIEF = Pace(wait_s=0.3, again_s=0.1, pause_s=0.05)
RULES = """
user claim
topic write tap/v1/+/+/enrol/request
topic read tap/v1/+/+/enrol/answer

user desk
topic read tap/v1/+/+/enrol/request
topic write tap/v1/+/+/enrol/answer

pattern readwrite tap/v1/+/%u/#
"""


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def claim(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("claim"), client="claim", authority=authority)


@pytest.fixture(scope="module")
def desk_files(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("desk"), client="desk", authority=authority)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


@pytest.fixture
def broker(require_system: Callable[[str], str], tmp_path: Path, claim: Certificates) -> Iterator[Mosquitto]:
    rules = tmp_path / "rules"
    rules.write_text(RULES)
    rules.chmod(0o600)
    lines = ("use_identity_as_username true", f"acl_file {rules}")
    made = Mosquitto(require_system("mosquitto"), tmp_path, tls=claim, client_certificates=True, lines=lines)
    made.start()
    yield made
    made.kill()  # a clean end takes a tenth of a second


@pytest.fixture
def open_broker(require_system: Callable[[str], str], tmp_path: Path) -> Iterator[Mosquitto]:
    made = Mosquitto(require_system("mosquitto"), tmp_path)
    made.start()
    yield made
    made.kill()


def settings(broker: Mosquitto, name: str, claim: Certificates | None = None) -> LinkSettings:
    tls = None if claim is None else TlsSettings(claim.ca, claim.client_cert, claim.client_key)
    return LinkSettings(broker.host, broker.port, client_id=name, tls=tls, connect_timeout_s=20.0)


def expect(folder: Path, text: str) -> Path:
    path = folder / "expected.txt"
    path.write_text(text)
    return path


@asynccontextmanager
async def served(desk: Desk, link: LinkSettings, expected: Path, now: float) -> AsyncIterator[EnrolService]:
    service = EnrolService(desk, link, expected=expected, fleet="+", wall=lambda: now)
    task = asyncio.create_task(service.run())
    try:
        yield service
    finally:
        service.stop()
        await task


async def test_a_claim_certificate_brings_a_terminal_in_and_its_key_into_the_registry(
    site: Site, broker: Mosquitto, claim: Certificates, desk_files: Certificates, tmp_path: Path
) -> None:
    attempt = site.terminal.begin(NAMES)
    link = settings(broker, "desk", desk_files)
    expected = expect(tmp_path, f"{NAMES.terminal} {NAMES.serial}  # lift 3\n")
    async with served(site.desk, link, expected, site.now):
        found = await ask(attempt.request, settings(broker, "enrol-x", claim), PATIENT)
        again = await ask(attempt.request, settings(broker, "enrol-x", claim), PATIENT)
    assert isinstance(found, Answer)
    assert again == found  # the same request, the same answer
    checked = site.terminal.finish(attempt, found)
    assert checked.certificate.common_name == NAMES.terminal
    assert KeySet.load(site.keys).lookup(attempt.request.tap_key.kid) is not None


async def test_who_is_not_expected_is_told_so(site: Site, open_broker: Mosquitto, tmp_path: Path) -> None:
    attempt = site.terminal.begin(NAMES)
    expected = expect(tmp_path, f"other\n{NAMES.terminal} another-board\n")
    async with served(site.desk, settings(open_broker, "desk"), expected, site.now):
        found = await ask(attempt.request, settings(open_broker, "enrol-x"), PATIENT)
        assert found == Refusal(attempt.request.id, "wrong_board", found.text)  # type: ignore[union-attr] # it is one
        expect(tmp_path, "other\n")
        found = await ask(attempt.request, settings(open_broker, "enrol-x"), PATIENT)
        assert isinstance(found, Refusal)
        assert found.code == "not_expected"
        expect(tmp_path, f"{NAMES.terminal}\n")  # somebody puts it right, nothing is restarted
        assert isinstance(await ask(attempt.request, settings(open_broker, "enrol-x"), PATIENT), Answer)


async def test_a_desk_that_comes_late_hears_the_request_that_is_repeated(
    site: Site, open_broker: Mosquitto, tmp_path: Path
) -> None:
    attempt = site.terminal.begin(NAMES)
    asking = asyncio.create_task(ask(attempt.request, settings(open_broker, "enrol-x"), PATIENT))
    await open_broker.wait_for_log("enrol/request")
    async with served(site.desk, settings(open_broker, "desk"), expect(tmp_path, NAMES.terminal), site.now):
        assert isinstance(await asking, Answer)


async def test_a_broker_that_dies_meanwhile_is_asked_again(site: Site, open_broker: Mosquitto, tmp_path: Path) -> None:
    attempt = site.terminal.begin(NAMES)
    asking = asyncio.create_task(ask(attempt.request, settings(open_broker, "enrol-x"), PATIENT))
    await open_broker.wait_for_log("enrol/request")
    open_broker.restart()
    async with served(site.desk, settings(open_broker, "desk"), expect(tmp_path, NAMES.terminal), site.now):
        assert isinstance(await asking, Answer)


async def test_what_is_no_answer_to_this_request_is_passed_over(site: Site, open_broker: Mosquitto) -> None:
    attempt = site.terminal.begin(NAMES)
    answer = site.answered(attempt.request)
    topics = Topics(NAMES.fleet, NAMES.terminal)
    probe = Probe(settings(open_broker, "liar"))
    await probe.up(topics.enrol_request)
    asking = asyncio.create_task(ask(attempt.request, settings(open_broker, "enrol-x"), PATIENT))
    await eventually(lambda: probe.of(Received))
    stale = Refusal(b"another.", "conflict", "no")
    for payload in (b"", b"\xff" * 200, b"[]", stale.to_json(), answer.to_json()):
        probe.link.publish(Message(topics.enrol_answer, payload))
    assert await asking == answer
    await probe.link.close()


async def test_nobody_answers_is_told_with_what_to_do(site: Site, open_broker: Mosquitto) -> None:
    request = site.terminal.begin(NAMES).request
    with pytest.raises(EnrolError, match=r"no answer from the fleet within 0\.3 s") as caught:
        await ask(request, settings(open_broker, "enrol-x"), BRIEF)
    assert "the same request" in caught.value.remedy


async def test_a_wrong_authority_ends_at_once(
    site: Site, broker: Mosquitto, claim: Certificates, tmp_path: Path
) -> None:
    other = make_certificates(tmp_path / "other")
    request = site.terminal.begin(NAMES).request
    wrong = LinkSettings(
        broker.host,
        broker.port,
        "x",
        TlsSettings(other.ca, claim.client_cert, claim.client_key),
        connect_timeout_s=20.0,
    )
    with pytest.raises(EnrolError, match="refused") as caught:
        await ask(request, wrong, PATIENT)
    assert "--ca" in caught.value.remedy


async def test_without_a_certificate_the_broker_lets_nobody_ask(
    site: Site, broker: Mosquitto, claim: Certificates
) -> None:
    request = site.terminal.begin(NAMES).request
    bare = LinkSettings(broker.host, broker.port, "x", TlsSettings(claim.ca), connect_timeout_s=20.0)
    with pytest.raises(EnrolError, match=r"certificate required|closed|ended TLS|lost"):
        await ask(request, bare, PATIENT)


async def test_bad_requests_are_answered_by_nothing_and_hold_nobody_up(
    site: Site, open_broker: Mosquitto, tmp_path: Path
) -> None:
    request = site.terminal.begin(NAMES).request
    other = Topics("sh", "sh-000999-a")
    probe = Probe(settings(open_broker, "stranger"))
    await probe.up(other.enrol_answer)
    async with served(site.desk, settings(open_broker, "desk"), expect(tmp_path, NAMES.terminal), site.now) as service:
        assert isinstance(await ask(request, settings(open_broker, "enrol-x"), PATIENT), Answer)
        before = service.answered
        for payload in (b"", b"{}", b"\0" * 3000, request.to_json()):  # the last one: a copy, in another's topic
            probe.link.publish(Message(other.enrol_request, payload))
        assert isinstance(await ask(request, settings(open_broker, "enrol-x"), PATIENT), Answer)
        assert service.answered >= before + 1
    assert probe.payloads(other.enrol_answer) == []
    await probe.link.close()


def test_the_request_of_the_tests_is_one(site: Site) -> None:
    assert isinstance(site.terminal.begin(NAMES).request, Request)
