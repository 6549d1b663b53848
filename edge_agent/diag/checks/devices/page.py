"""The page for the browser is served on this machine, by the agent, and somebody has it open."""

import re
from collections.abc import Iterator

from edge_agent.diag.check import Check
from edge_agent.diag.finding import Finding, Kind, NotHere, Seen, Severity
from edge_agent.diag.lines import number, text, told_of
from edge_agent.diag.site import Site

TAKEN = Kind(
    "page-port-taken",
    Severity.WARNING,
    "Another program has the port of the page",
    "End it, or write another `port` for the page in [[screens]] and in the address that the browser opens.",
    ("sudo ss -ltnp", "edge-agent config explain screens"),
    hides=("page-down", "page-not-shown", "kiosk-down"),
)
DOWN = Kind(
    "page-down",
    Severity.WARNING,
    "The page is not served",
    "The agent serves it as long as it runs: see what it says of it, then start it again.",
    ("edge-agent status", "sudo systemctl restart edge-agent"),
    hides=("page-not-shown", "kiosk-down"),
)
UNSEEN = Kind(
    "page-not-shown",
    Severity.WARNING,
    "Nobody has the page open",
    "Taps are taken, but nobody sees it. Start the browser, or let the player of the adverts lay the page over them.",
    ("systemctl status edge-kiosk", "edge-agent screen test"),
)
HOST = "127.0.0.1"
WITHIN_S = 2.0
_OURS = b"/static/tap.js"
_OPEN = re.compile(r"\b(\d+) open\b")
_ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)/")
_MOST = 256 * 1024
COMES_BACK_S = 5.0
"""A page that was open comes back so soon after the agent's start."""


def look(site: Site) -> Iterator[Finding | Seen]:
    """Ask for it as a browser does; the agent says who has it open."""
    wanted = [(f"web{index}", screen) for index, screen in enumerate(site.settings.screens) if screen.driver == "web"]
    if not wanted:
        raise NotHere("no page is configured")
    status = site.status
    for name, screen in wanted:
        told = told_of(status, "screens", name)
        detail = text(told, "detail")
        address = _ADDRESS.search(detail)
        port = screen.port or (int(address[1]) if address else 0)
        what, said = _get(port)
        if what is None and told.get("state") != "down":
            opened = _OPEN.search(detail)
            if opened is not None and int(opened[1]) == 0 and (number(told, "since_s") or 0) >= COMES_BACK_S:
                yield Finding(UNSEEN, f"no browser has http://{HOST}:{port}/ open", name)
            yield Seen(f"http://{HOST}:{port}/, {opened[1] if opened else '?'} open", name)
        elif what is TAKEN or "Address already in use" in detail:
            yield Finding(TAKEN, said or f"port {port} is taken: {detail}", name)
        else:
            yield Finding(DOWN, said or detail, name)


def _get(port: int) -> tuple[Kind | None, str]:
    """Return what is wrong with the page at this port, and what was seen; (None, "") if it is ours."""
    import http.client  # noqa: PLC0415 -- not for --list-checks

    where = f"http://{HOST}:{port}/"
    connection = http.client.HTTPConnection(HOST, port, timeout=WITHIN_S)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        body = answer.read(_MOST)
    except (http.client.HTTPException, UnicodeDecodeError):
        return TAKEN, f"what answers at {where} speaks no HTTP"
    except OSError as error:
        return DOWN, f"{where}: {error.strerror or 'no answer in time'}"
    finally:
        connection.close()
    if _OURS in body:
        return None, ""
    return TAKEN, f"another page answers at {where} (status {answer.status})"


CHECK = Check("page", "the page is served and shown", (TAKEN, DOWN, UNSEEN), look)
