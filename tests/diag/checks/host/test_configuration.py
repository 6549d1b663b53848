from pathlib import Path

from edge_agent.diag.checks.host.configuration import CHECK, INVALID
from edge_agent.diag.finding import Finding, Seen
from edge_agent.diag.site import Site

SAMPLE = Path(__file__).parents[4] / "config/edge-agent.toml"


def test_the_sample_is_right() -> None:
    (seen,) = CHECK.look(Site(SAMPLE, env={}))
    assert seen == Seen(f"{SAMPLE}: sh-000123-a of fleet sh")


def test_each_mistake_is_a_finding_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "edge-agent.toml"
    path.write_text(SAMPLE.read_text().replace("baud = 115200", "baud = 1").replace("ttl = 90", "ttl = 900"))
    found = list(CHECK.look(Site(path, env={})))
    assert len(found) == 3
    for one in found:
        assert isinstance(one, Finding)
        assert one.kind is INVALID
        assert str(path) in one.text


def test_a_missing_file_is_a_finding(tmp_path: Path) -> None:
    (found,) = CHECK.look(Site(tmp_path / "none.toml", env={}))
    assert isinstance(found, Finding)
    assert "none.toml" in found.text
