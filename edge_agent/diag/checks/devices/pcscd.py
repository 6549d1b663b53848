"""Readers that pcscd knows: the daemon answers, lets the agent in, and has the reader that is configured."""

import socket
from collections.abc import Iterator
from contextlib import closing

from edge_agent.diag.check import Check
from edge_agent.diag.finding import Finding, Kind, NotHere, Seen, Severity
from edge_agent.diag.lines import text, told_of
from edge_agent.diag.site import Site

DOWN = Kind(
    "pcscd-down",
    Severity.ERROR,
    "pcscd does not run",
    "Install and start it: its socket starts it at the first use.",
    ("sudo apt install pcscd", "sudo systemctl enable --now pcscd.socket", "journalctl -u pcscd -n 30"),
    hides=("pcscd-no-permission", "pcsc-reader-missing", "reader-unsteady"),
)
FORBIDDEN = Kind(
    "pcscd-no-permission",
    Severity.ERROR,
    "pcscd does not let the agent in",
    "polkit must allow the agent's user: the package brings that rule. docs/readers.md, PC/SC, tells how by hand.",
    ("ls /usr/share/polkit-1/rules.d", "journalctl -u pcscd -u polkit -n 30"),
    hides=("pcsc-reader-missing", "reader-unsteady"),
)
MISSING = Kind(
    "pcsc-reader-missing",
    Severity.ERROR,
    "pcscd does not have the reader",
    "Plug it in. If it is plugged in and lsusb shows it: install the driver libccid, and keep the kernel's own pn533 "
    "module away from it.",
    ("edge-agent reader list", "lsusb", "lsmod | grep pn533"),
    hides=("reader-unsteady",),
)
SOCKET = "/run/pcscd/pcscd.comm"
SOCKET_VARIABLE = "PCSCLITE_CSOCK_NAME"
_FORBIDDEN, _DOWN = "no_permission", "no_service"


def look(site: Site) -> Iterator[Finding | Seen]:
    """The socket, then what the agent says of each of its readers."""
    names = [reader.name for reader in site.settings.readers if reader.driver == "pcsc"]
    if not names:
        raise NotHere("no PC/SC reader is configured")
    listens = _listens(site)
    for name in names:
        told = told_of(site.running, "readers", name)
        fault, why = told.get("fault"), text(told, "last_error")
        if not listens or fault == _DOWN:
            where = site.env.get(SOCKET_VARIABLE, SOCKET)
            yield Finding(DOWN, f"nobody listens at {where}" if not listens else why, name)
        elif fault == _FORBIDDEN:
            yield Finding(FORBIDDEN, why, name)
        elif fault:
            yield Finding(MISSING, why, name)
        else:
            yield Seen(text(told, "chip") or "pcscd listens", name)


def _listens(site: Site) -> bool:
    """Whether somebody takes connections there; never waits."""
    given = site.env.get(SOCKET_VARIABLE)
    with closing(socket.socket(socket.AF_UNIX)) as line:
        line.settimeout(0.0)
        try:
            line.connect(given or str(site.path(SOCKET)))
        except BlockingIOError:  # so many wait there that it is full
            return True
        except OSError:
            return False
    return True


CHECK = Check("pcscd", "pcscd answers the agent and has its readers", (DOWN, FORBIDDEN, MISSING), look)
