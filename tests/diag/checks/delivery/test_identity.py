from pathlib import Path

import pytest

from edge_agent.diag.check import all_checks
from edge_agent.diag.checks.delivery.identity import CHECK, SAMPLE_ID
from edge_agent.diag.checks.host import agent
from edge_agent.diag.finding import CannotLook, Finding
from edge_agent.diag.runner import run_checks
from edge_agent.diag.site import Site
from tests.diag.checks.delivery.site import STATUS, Place

SAMPLE = Path(__file__).parents[4] / "config/edge-agent.toml"


def test_the_samples_id_is_the_samples() -> None:
    assert f'\nid = "{SAMPLE_ID}"\n' in SAMPLE.read_text()


def test_nobody_else_is_well(tmp_path: Path) -> None:
    place = Place(tmp_path, 'host = "localhost"')
    with place.agent():
        assert place.kinds(CHECK) == []


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("identity_conflict", "identity-conflict"),
        ("identity_suspected", "identity-suspected"),
        ("", "identity-conflict"),
    ],
)
def test_a_twin_is_told_in_the_agents_words(tmp_path: Path, code: str, kind: str) -> None:
    place = Place(tmp_path, 'host = "localhost"')
    uplink = STATUS["uplink"] | {"identity": "another \x1b terminal", "identity_code": code}
    with place.agent(status=STATUS | {"uplink": uplink}):
        (one,) = place.look(CHECK)
    assert isinstance(one, Finding)
    assert one.kind.id == kind
    assert "\x1b" not in one.text


@pytest.mark.parametrize(("host", "kinds"), [("broker.lift.invalid", ["sample-identity"]), ("127.0.0.1", [])])
def test_the_samples_id_at_a_real_broker_is_told(tmp_path: Path, host: str, kinds: list[str]) -> None:
    place = Place(tmp_path, f'host = "{host}"')
    place.config.write_text(place.config.read_text().replace("sh-000777-b", SAMPLE_ID))
    with place.agent():
        assert place.kinds(CHECK) == kinds


def test_a_terminal_out_of_the_box_is_told_to_enrol_and_nothing_else(tmp_path: Path) -> None:
    place = Place(tmp_path, 'host = "broker.example.net"')
    place.config.write_text(place.config.read_text().replace("sh-000777-b", SAMPLE_ID))
    place.put("/sys/class/net/eth0/carrier", "1\n")
    place.put("/proc/net/route", "eth0\t00000000\t016433C6\t0003\t0\t0\t0\t00000000\t0\t0\t0\n")
    site = Site(place.config, root=place.root, env={})
    site.lookup = lambda _host: []
    of_delivery = [check for check in all_checks() if check.room == "delivery"]
    report = run_checks([*of_delivery, agent.CHECK], site, check_s=60, all_s=90)
    assert [one.kind.id for one in report.shown] == ["not-enrolled"]
    assert {"signing-key-unusable", "sample-broker", "agent-down"} <= {one.kind.id for one in report.hidden}


def test_without_an_agent_nobody_knows_of_a_twin(tmp_path: Path) -> None:
    with pytest.raises(CannotLook) as lost:
        Place(tmp_path, 'host = "localhost"').look(CHECK)
    assert lost.value.because == "agent-down"
