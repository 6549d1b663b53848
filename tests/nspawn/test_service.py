"""systemd/edge-agent.service in a real systemd: notify, watchdog, restarts, exit 78, sandbox; no tap is lost by it."""

import pytest

from edge_agent.supervision.restart import FILE_NAME
from tests.nspawn.terminal import AGENT, DROP_IN, SITE, WRONG_SITE, Terminal

pytestmark = [pytest.mark.proof, pytest.mark.system, pytest.mark.timeout(600)]

# The service's own take half a minute and ten seconds.
QUICK_STOP = "TimeoutStopSec=3"
QUICK = f"WatchdogSec=4\n{QUICK_STOP}"


def test_a_tap_goes_from_the_reader_through_the_service_and_the_broker_into_the_ledger(terminal: Terminal) -> None:
    terminal.configure()
    terminal.start()
    inside = terminal.container
    assert inside.unit(AGENT, "Type", "ActiveState", "WatchdogUSec", "User", "NRestarts") == [
        *("notify", "active", "30s", "edge-agent", "0")
    ]
    terminal.open_cloud()
    terminal.until_stored(3)
    terminal.until_healthy()
    inside.until(lambda: inside.unit(AGENT, "StatusText") == ["ok"], "the status line to be ok")
    assert inside.run("systemctl", "--failed", "--no-legend").split()[1:2] in ([], ["edge-agent-clock.service"])
    assert terminal.all_is_stored() >= 3


def test_a_killed_agent_is_back_and_nothing_is_lost(terminal: Terminal) -> None:
    terminal.configure()
    terminal.start()
    terminal.open_cloud()
    for kills in range(1, 3):
        terminal.until_stored(kills)
        before = terminal.pid()
        terminal.signal("KILL")
        terminal.until_back(before)
    assert terminal.container.unit(AGENT, "NRestarts") == ["2"]
    assert terminal.all_is_stored() >= 2


def test_an_agent_that_stands_still_misses_the_watchdog_and_is_back(terminal: Terminal) -> None:
    terminal.service(QUICK)
    terminal.configure()
    terminal.start()
    terminal.open_cloud()
    terminal.until_stored(1)
    before = terminal.pid()
    terminal.signal("STOP")
    terminal.until_back(before)
    assert "Watchdog timeout" in terminal.container.journal(AGENT)
    assert terminal.all_is_stored() >= 1


def test_an_agent_that_hangs_at_the_stop_is_killed_and_what_it_kept_is_delivered_later(terminal: Terminal) -> None:
    terminal.service(QUICK_STOP)  # with a quick watchdog it would be that one's as soon as the stop comes late
    terminal.configure()
    terminal.start()
    terminal.container.until(lambda: terminal.outbox()["next_seq"] != 1, "a tap")
    terminal.nail()
    terminal.container.run("systemctl", "stop", AGENT)
    assert terminal.container.unit(AGENT, "ActiveState", "Result") == ["failed", "timeout"]
    terminal.open_cloud()
    terminal.start()
    assert terminal.all_is_stored() >= 1


def test_a_wrong_configuration_stays_down_and_says_why(terminal: Terminal) -> None:
    terminal.configure()
    inside = terminal.container
    inside.write(DROP_IN, WRONG_SITE)
    inside.run("systemctl", "start", AGENT, check=False)
    state, status, restarts, text = inside.unit(AGENT, "ActiveState", "ExecMainStatus", "NRestarts", "StatusText")
    assert (state, status, restarts) == ("failed", "78", "0")
    assert text.startswith(f"{DROP_IN}:9: [readers[0].tap_every_s] got ")
    assert text in inside.run("systemctl", "status", "--no-pager", AGENT, check=False)
    inside.write(DROP_IN, SITE)
    terminal.start()
    assert inside.unit(AGENT, "ActiveState") == ["active"]


def test_without_a_key_it_stays_down_and_says_so(terminal: Terminal) -> None:
    terminal.configure(key=False)
    terminal.container.run("systemctl", "start", AGENT, check=False)
    assert terminal.container.unit(AGENT, "ActiveState", "ExecMainStatus", "StatusText") == [
        *("failed", "78", "there is no signing key at /var/lib/edge-agent/keys/tap.key")
    ]


def test_the_sandbox_is_what_the_unit_says(terminal: Terminal) -> None:
    terminal.configure()
    terminal.start()
    inside = terminal.container
    pid = terminal.pid()
    status = dict(line.split(":\t", 1) for line in inside.run("cat", f"/proc/{pid}/status").splitlines())
    assert (status["CapBnd"], status["CapEff"], status["NoNewPrivs"], status["Seccomp"]) == (
        "0" * 16,
        "0" * 16,
        "1",
        "2",
    )
    assert status["Uid"].split()[0] == inside.run("id", "--user", "edge-agent").strip()
    groups = inside.run("id", "--groups", "--name", "edge-agent").split()
    assert set(groups) == {"edge-agent", "dialout", "i2c", "gpio"}
    assert set(status["Groups"].split()) == set(inside.run("id", "--groups", "edge-agent").split())
    cores = inside.run("grep", "Max core file size", f"/proc/{pid}/limits").split()[4:6]
    assert cores == ["0", "0"], "a core has the keys in it, and the agent cannot allow itself one"
    # Within its namespaces, as the agent sees the machine.
    seen = ("nsenter", f"--target={pid}", "--mount", "--user", "--preserve-credentials", "--")
    assert inside.status(*seen, "test", "-w", "/etc/edge-agent") == 1
    assert inside.status(*seen, "test", "-e", "/proc/sys/kernel/random/boot_id") == 1
    assert "boot_id" not in inside.journal(AGENT)
    for unit in (AGENT, "edge-agent-clock.service"):
        told = inside.run("systemd-analyze", "security", "--no-pager", unit)
        assert float(told.split("Overall exposure level for")[1].split()[1]) <= 1.5, told


def test_what_the_service_leaves_is_what_the_configuration_names(terminal: Terminal) -> None:
    terminal.configure()
    terminal.start()
    inside = terminal.container
    said = inside.run("stat", "--format=%U %a %n", "/var/lib/edge-agent", "/run/edge-agent", "/var/log/edge-agent")
    assert said.splitlines() == [
        "edge-agent 700 /var/lib/edge-agent",
        "edge-agent 750 /run/edge-agent",
        "edge-agent 750 /var/log/edge-agent",
    ]
    inside.run("systemctl", "stop", AGENT)
    assert inside.unit(AGENT, "ActiveState", "Result") == ["inactive", "success"]
    assert inside.status("test", "-e", "/run/edge-agent") == 1
    assert FILE_NAME not in inside.run("ls", "/var/lib/edge-agent").split(), "a stop is no restart for a reason"
