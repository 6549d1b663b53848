"""A root that cannot be written, and one that forgets: the paths that docs/terminal.md names are enough."""

import re
from pathlib import Path

import pytest

from tests.nspawn.container import booted
from tests.nspawn.terminal import AGENT, DROP_IN, SITE, Terminal

pytestmark = [pytest.mark.proof, pytest.mark.system, pytest.mark.timeout(600)]

STATE = "/var/lib/edge-agent"
PAGE = (Path(__file__).parents[2] / "docs" / "terminal.md").read_text(encoding="utf-8")
# What the fstab of that page has in memory; /tmp and /run are so in a container anyhow.
IN_MEMORY = [path for path in re.findall(r"(?m)^tmpfs +(/\S+)", PAGE) if path != "/tmp"]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The layer of the image with the site's settings."""
    drop_in = tmp_path / "site" / DROP_IN.lstrip("/")
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text(SITE)
    return tmp_path / "site"


@pytest.mark.parametrize("root", ["read-only", "overlay"])
def test_taps_outlive_the_power_where_only_the_state_is_kept(
    image: Path, site: Path, tmp_path: Path, root: str
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    options = [f"--bind={data}:{STATE}"]
    if root == "read-only":
        options += ["--read-only", *(f"--tmpfs={path}" for path in IN_MEMORY)]
    with booted(site, image, options=options) as container:
        for folder in ("/etc", "/usr", "/var", "/var/lib", "/var/cache"):
            assert container.status("touch", f"{folder}/x") == (1 if root == "read-only" else 0)
        assert container.unit(AGENT, "ExecMainStatus") == ["78"], "no key yet; and nothing else was missing"
        said = container.run("stat", "--format=%U %a", STATE)
        assert said == "edge-agent 700\n", "the service took the empty partition over"
        container.run("edge-agent", "keys", "init")
        terminal = Terminal(container)
        terminal.start()
        container.until(lambda: terminal.outbox()["next_seq"] != 1, "a tap")
        container.run("systemctl", "stop", AGENT)
        kept = terminal.outbox()
        assert "Read-only" not in container.journal(AGENT)
    with booted(site, image, options=options) as container:
        assert container.status("test", "-e", "/etc/x") == 1, "the root has forgotten"
        terminal = Terminal(container)
        terminal.until_back(0)
        container.until(lambda: terminal.outbox()["next_seq"] != kept["next_seq"], "one tap more")
        now = terminal.outbox()
        assert (now["chain"], now["terminal"]) == (kept["chain"], kept["terminal"])
        assert int(str(now["next_seq"])) > int(str(kept["next_seq"]))
        assert now["quarantined"] == []
