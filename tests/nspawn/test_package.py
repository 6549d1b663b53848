"""The package on a running terminal: installed, upgraded amid taps, taken back, removed; no tap is lost by it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_agent.version import VERSION
from tests.nspawn.container import booted
from tests.nspawn.terminal import AGENT, DROP_IN, Terminal

pytestmark = [pytest.mark.proof, pytest.mark.system, pytest.mark.timeout(600)]

NEXT = "99.0.1"
SHELF = "/mnt"
OURS = r"""
find / -xdev \( -path /proc -o -path /sys -o -path /run/systemd -o -path /var/log/journal -o -path /mnt \) -prune \
    -o \( -iname '*edge[-_]agent*' -o -iname '*edge[-_]kiosk*' \) -print
"""
COMMANDS = "cat /proc/[0-9]*/cmdline"
"""Of all processes; the witness is known by the path of its Python."""


@pytest.fixture
def shelf(release: int, package_of: Callable[..., Path]) -> Path:
    """The folder with two versions of the package."""
    package_of(release, NEXT)
    return package_of(release).parent


@pytest.fixture
def of(release: int, package_of: Callable[..., Path]) -> Callable[[str], Path]:
    """Where the container sees the package of a version."""
    return lambda version: Path(SHELF) / package_of(release, version).name


@pytest.fixture
def bare(clean_tree: Path, shelf: Path) -> Iterator[Terminal]:
    """A machine without the package, on a shelf beside it."""
    with booted(clean_tree, options=[f"--bind-ro={shelf}:{SHELF}"]) as container:
        yield Terminal(container)


def version_of(terminal: Terminal) -> str:
    return terminal.container.run("edge-agent", "--version").split()[1]


def test_it_is_installed_and_after_a_key_and_a_configuration_it_takes_taps(
    bare: Terminal, of: Callable[[str], Path]
) -> None:
    bare.install(of(VERSION))
    inside = bare.container
    assert inside.run("systemctl", "is-enabled", AGENT).strip() == "enabled"
    for unit in ("edge-kiosk.service", "edge-agent-renew.timer"):
        assert inside.run("systemctl", "is-enabled", unit, check=False).strip() == "disabled"
    status, text = inside.unit(AGENT, "ExecMainStatus", "StatusText")
    assert (status, "`sudo edge-agent enrol`" in text) == ("78", True), "it was started, and says what is missing"
    bare.configure()
    bare.start()
    bare.open_cloud()
    bare.until_stored(1)
    bare.until_healthy()


def test_an_upgrade_and_a_rollback_amid_taps_lose_nothing(bare: Terminal, of: Callable[[str], Path]) -> None:
    bare.install(of(VERSION))
    bare.configure()
    bare.start()
    bare.open_cloud()
    for count, version in enumerate((NEXT, VERSION), start=1):
        bare.until_stored(count)
        before = bare.pid()
        bare.install(of(version))
        bare.until_back(before)
        assert version_of(bare) == version
        bare.until_healthy()
    assert bare.container.unit(AGENT, "NRestarts") == ["0"], "a restart of the package's, none of a crash"
    log = bare.container.journal(AGENT)
    assert log.count('"agent_stopped"') == 2, "the old one came to its end, on the files of the new one"
    assert "Traceback" not in log
    assert bare.container.run("cat", DROP_IN).startswith("\n[terminal]"), "the site's settings are as they were"
    assert bare.all_is_stored() >= 2


def test_a_purge_leaves_nothing_but_the_users(bare: Terminal, of: Callable[[str], Path]) -> None:
    inside = bare.container
    assert inside.shell(OURS) == ""
    bare.install(of(VERSION))
    bare.configure()
    bare.start()
    inside.run("dpkg", "--remove", "edge-agent")
    # The clock's witness is stopped with the agent, and nobody waits for its end.
    inside.until(lambda: "edge-agent" not in inside.run("sh", "-c", COMMANDS, check=False), "the end of all processes")
    assert inside.status("test", "-e", "/var/lib/edge-agent/keys/tap.key") == 0, "a removal keeps the key and the taps"
    inside.run("dpkg", "--purge", "edge-agent")
    assert inside.shell(OURS) == ""
    assert inside.run("systemctl", "list-units", "--all", "--no-legend", "edge-*").strip() == ""
    assert inside.run("getent", "passwd", "edge-agent").startswith("edge-agent:")
