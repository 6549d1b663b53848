"""The technician's commands on a real systemd: doctor and its repairs, logs, a test tap, a report, a bundle."""

import json

import pytest

from tests.nspawn.terminal import AGENT, DROP_IN, WRONG_SITE, Terminal

pytestmark = [pytest.mark.proof, pytest.mark.system, pytest.mark.timeout(600)]

# The root of a container in tests lies in memory, and no browser has the page open: doctor says so, rightly.
AS_IN_A_CONTAINER = ("--skip", "disk", "--skip", "page")


def doctor(terminal: Terminal, *words: str) -> tuple[str, list[str], list[str]]:
    """Its verdict and the ids of what it shows and hides."""
    command = ("edge-agent", "doctor", "--json", *AS_IN_A_CONTAINER, *words)
    said = json.loads(terminal.container.run(*command, check=False))
    return said["state"], *([one["id"] for one in said[which]] for which in ("findings", "hidden"))


def test_doctor_names_what_systemd_knows_and_repairs_what_needs_no_decision(terminal: Terminal) -> None:
    inside = terminal.container
    terminal.configure()
    terminal.start()
    terminal.open_cloud()
    terminal.until_stored(1)
    terminal.until_healthy()
    assert doctor(terminal) == ("ok", [], [])

    inside.run("systemctl", "stop", AGENT)
    assert doctor(terminal) == ("error", ["service-stopped"], ["agent-down"])
    inside.run("edge-agent", "doctor", "--fix", check=False)
    terminal.until_healthy()
    assert doctor(terminal) == ("ok", [], [])

    inside.run("systemctl", "disable", AGENT)
    assert doctor(terminal) == ("warning", ["service-disabled"], [])
    assert doctor(terminal, "--fix") == ("ok", [], [])

    inside.write(DROP_IN, WRONG_SITE)
    inside.run("systemctl", "restart", AGENT, check=False)
    assert inside.status("edge-agent", "doctor") == 78
    # Without a configuration doctor takes the clock for the kernel's to judge, which is not synchronised here.
    state, shown, hidden = doctor(terminal, "--skip", "clock")
    assert (state, shown) == ("error", ["config-invalid"])
    assert "agent-down" in hidden


def test_logs_a_test_tap_a_report_and_a_bundle_come_out_of_the_real_journal_and_agent(terminal: Terminal) -> None:
    inside = terminal.container
    terminal.configure()
    terminal.start()
    terminal.open_cloud()
    terminal.until_healthy()
    arrived = "ARRIVED: 1 test tap in the cloud"  # unless a phone is being served at that moment
    inside.until(lambda: arrived in inside.run("edge-agent", "tap", "simulate", check=False), "a test tap")
    look = ("edge-agent", "logs", "--grep", "tap_finished", "-n", "5")
    inside.until(lambda: "tap_finished" in inside.run(*look, check=False), "a person's tap in the journal")
    inside.run("edge-agent", "report", "-o", "/root/day.html")
    assert "<svg" in inside.run("cat", "/root/day.html")
    inside.run("edge-agent", "bundle", "-o", "/root/report.tar.gz")
    assert inside.run("stat", "-c", "%a", "/root/report.tar.gz").strip() == "600"
    names = inside.run("tar", "--list", "--file=/root/report.tar.gz")
    everything = inside.run("tar", "--extract", "--to-stdout", "--file=/root/report.tar.gz")
    assert "agent/doctor.json" in names
    assert "ActiveState=active" in everything
    assert "PRIVATE KEY" not in everything
