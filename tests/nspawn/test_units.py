"""What else the package brings for systemd: users, journal, rules, the clock's witness, marking an update good."""

import json
import re
from pathlib import Path

import pytest

from edge_agent.clock import WITNESS_FILE, ask_kernel
from tests.nspawn.container import booted
from tests.nspawn.terminal import AGENT, DROP_IN, SITE, Terminal

pytestmark = [pytest.mark.proof, pytest.mark.system, pytest.mark.timeout(600)]

WITNESS = "edge-agent-clock.service"
MARK = "edge-agent-update-good.service"
HOOKS = "/etc/edge-agent/update-good.d"


def stamped(journal: str) -> list[tuple[float, str]]:
    """The lines of a journal with the seconds since the boot."""
    found = (re.match(r"\[ *(\d+\.\d+)\] (.*)", line) for line in journal.splitlines())
    return [(float(match[1]), match[2]) for match in found if match]


def test_users_journal_rules_and_units_are_as_systemd_wants_them(terminal: Terminal, release: int) -> None:
    inside = terminal.container
    for user, groups in (("edge-agent", {"dialout", "i2c", "gpio"}), ("edge-kiosk", {"video", "render"})):
        assert set(inside.run("id", "--groups", "--name", user).split()) == {user} | groups
        assert inside.run("getent", "passwd", user).strip().endswith("nologin")
    told = inside.run("systemd-analyze", "cat-config", "systemd/journald.conf")
    assert "SystemMaxUse=128M" in told.splitlines()
    if release > 12:
        assert "Fail:    0" in inside.run("udevadm", "verify", "/usr/lib/udev/rules.d/60-edge-agent.rules")
    assert "blacklist pn533_usb" in inside.run("modprobe", "--showconfig").splitlines()
    units = [AGENT, "edge-agent-clock.service", MARK, "edge-agent-renew.service", "edge-agent-renew.timer"]
    said = inside.run("systemd-analyze", "verify", "--man=no", *units, check=False)
    assert [line for line in said.splitlines() if "edge-" in line] == []
    assert inside.shell("systemd-tmpfiles --create edge-agent.conf; stat --format='%a %U %n' /etc/credstore*").split(
        "\n"
    )[:2] == ["700 root /etc/credstore", "700 root /etc/credstore.encrypted"]


@pytest.mark.parametrize("may_ask", [True, False], ids=["as on a terminal", "as in a container"])
def test_the_agent_learns_from_the_witness_what_the_kernel_says_of_the_clock(image: Path, may_ask: bool) -> None:
    # nspawn forbids adjtimex(2) with the right to set the clock, which nothing in here does.
    with booted(image, options=["--capability=CAP_SYS_TIME"] if may_ask else []) as inside:
        terminal = Terminal(inside)
        terminal.configure()
        inside.write(DROP_IN, SITE.replace("assume-synced", "kernel"))
        terminal.start()
        if may_ask:
            inside.until(lambda: inside.status("test", "-e", WITNESS_FILE.as_posix()) == 0, "the witness's word")

        def trusts() -> bool:
            clock = json.loads(inside.run("edge-agent", "status", "--json", check=False))["clock"]
            return bool(clock["trust"] == "synced")

        # The agent looks once a second.
        inside.until(lambda: trusts() is (may_ask and ask_kernel() is True), "the agent to think as the kernel")
        if may_ask:
            assert inside.run("cat", WITNESS_FILE.as_posix()).split()[0] == ("synced" if ask_kernel() else "unsynced")
        else:
            inside.until(lambda: inside.unit(WITNESS, "ActiveState") == ["failed"], "the end of the witness")
            assert inside.unit(WITNESS, "NRestarts") == ["0"]


@pytest.mark.parametrize("release", [13], indirect=True)  # a shell script: the release does not matter
def test_an_update_is_marked_good_after_the_agent_was_healthy_for_the_whole_window(terminal: Terminal) -> None:
    inside = terminal.container
    assert inside.unit(MARK, "ActiveState", "ConditionResult") == ["inactive", "no"], "no programs, no deed"
    marks = "/run/marked"
    inside.write(f"{HOOKS}/10-mark", f"#!/bin/sh\necho good >>{marks}\n", mode=0o755)
    inside.write(f"{HOOKS}/20-other.dpkg-old", "#!/bin/sh\nexit 1\n", mode=0o755)
    window_s = 10  # from the first look on there is so much time to stop the agent again
    environment = f"Environment=WINDOW_S={window_s} LOOK_EVERY_S=1"
    inside.write(f"/etc/systemd/system/{MARK}.d/test.conf", f"[Service]\n{environment}\n")
    inside.run("systemctl", "daemon-reload")
    inside.run("systemctl", "start", MARK)
    terminal.configure()
    terminal.start()
    terminal.until_healthy()
    inside.until(lambda: "is healthy" in inside.journal(MARK), "the first look")
    inside.run("systemctl", "stop", AGENT)
    inside.until(lambda: "is not healthy" in inside.journal(MARK), "the next look")
    assert inside.status("test", "-e", marks) == 1
    terminal.start()
    inside.until(lambda: inside.unit(MARK, "SubState") == ["exited"], "the mark")
    assert inside.run("cat", marks) == "good\n"
    healthy_at = [at for at, line in stamped(inside.journal(MARK)) if "the agent is healthy" in line]
    marked_at = [at for at, line in stamped(inside.journal(MARK)) if "10-mark: done" in line]
    assert (len(healthy_at) >= 2, len(marked_at)) == (True, 1), "from the start, after each break"
    assert marked_at[0] - healthy_at[-1] > window_s - 1.5, "whole seconds are counted"
    assert inside.unit(MARK, "Result") == ["success"]


@pytest.mark.parametrize("release", [13], indirect=True)  # a shell script: the release does not matter
def test_a_program_that_fails_is_told_and_the_update_is_not_taken_for_marked(terminal: Terminal) -> None:
    inside = terminal.container
    inside.write(f"{HOOKS}/10-fails", "#!/bin/sh\nexit 3\n", mode=0o755)
    inside.write(f"{HOOKS}/20-forgotten", "#!/bin/sh\n", mode=0o644)
    inside.write(f"/etc/systemd/system/{MARK}.d/test.conf", "[Service]\nEnvironment=WINDOW_S=0 LOOK_EVERY_S=1\n")
    inside.run("systemctl", "daemon-reload")
    terminal.configure()
    terminal.start()
    inside.run("systemctl", "start", MARK)
    inside.until(lambda: inside.unit(MARK, "Result") == ["exit-code"], "the failure")
    log = inside.journal(MARK)
    assert f"{HOOKS}/10-fails: failed with status 3" in log
    assert f"{HOOKS}/20-forgotten: not run, it is not executable" in log
