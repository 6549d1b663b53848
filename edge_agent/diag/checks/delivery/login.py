"""The broker lets this terminal in, under its name, to its topics.

While an agent runs, it is asked, and tries at once if it is not connected: a second client with its name would push it
out. While none runs, nor holds the outbox, this logs in as the agent would, without a will, says nothing and leaves.
"""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from edge_agent.diag import way
from edge_agent.diag.check import Check
from edge_agent.diag.checks.delivery import certificate, tls
from edge_agent.diag.finding import CannotLook, Finding, Kind, Seen, Severity
from edge_agent.diag.outbox_look import Held, outbox_of
from edge_agent.diag.round import round_trip
from edge_agent.errors import ConfigError, UplinkError
from edge_agent.sanitize import printable

if TYPE_CHECKING:
    from edge_agent.diag.site import Site
    from edge_agent.uplink.base import LinkEvent, LinkSettings
    from edge_agent.uplink.topics import Topics

REFUSED = Kind(
    "login-refused",
    Severity.ERROR,
    "The broker does not let this terminal in",
    "User name, password or certificate is wrong, or the broker does not know this terminal. Compare with what its "
    "operators gave out; the broker's log tells which it is.",
    ("edge-agent config explain uplink.username", "edge-agent config explain uplink.password_file"),
    hides=way.AFTER_LOGIN,
)
PASSWORD = Kind(
    "password-unusable",
    Severity.ERROR,
    "The file with the broker's password cannot be used",
    "It must be there, hold one line, and be the agent's alone (mode 0600).",
    ("edge-agent config explain uplink.password_file",),
    hides=("login-refused", *way.AFTER_LOGIN),
)
CERTIFICATE = Kind(
    "login-certificate-refused",
    Severity.ERROR,
    "The broker does not accept this terminal's certificate",
    "It wants one and got none, or it does not trust the authority of this one, or it was withdrawn. The broker's log "
    "tells which; enrol again for a new one.",
    ("edge-agent config explain uplink.cert", "edge-agent enrol --help"),
    hides=way.AFTER_LOGIN,
)
CLIENT_ID = Kind(
    "login-client-id-refused",
    Severity.ERROR,
    "The broker does not accept this terminal's id",
    "The client id is terminal.id. Compare it with what the broker's operators gave out.",
    ("edge-agent config explain terminal.id",),
    hides=way.AFTER_LOGIN,
)
PROTOCOL = Kind(
    "login-protocol-refused",
    Severity.ERROR,
    "The broker does not speak this version of MQTT",
    "Write `protocol = 4` into [uplink] for a broker that knows only MQTT 3.1.1.",
    ("edge-agent config explain uplink.protocol",),
    hides=way.AFTER_LOGIN,
)
BUSY = Kind(
    "broker-busy",
    Severity.ERROR,
    "The broker is too busy to let terminals in",
    "The agent comes back by itself. If it lasts, the broker's operators must look at its load and quotas.",
    hides=way.AFTER_LOGIN,
)
MOVED = Kind(
    "broker-moved",
    Severity.ERROR,
    "The broker says that it has moved",
    "Write the server that it names into [uplink] host.",
    ("edge-agent config explain uplink.host",),
    hides=way.AFTER_LOGIN,
)
HANGS_UP = Kind(
    "broker-hangs-up",
    Severity.ERROR,
    "The broker does not answer the login",
    "Another service may listen at this port, or the broker hangs, or it hangs up on versions of MQTT that it does not "
    "speak. The broker's log tells.",
    ("edge-agent config explain uplink.port", "edge-agent config explain uplink.protocol"),
    hides=way.AFTER_LOGIN,
)
TOPICS = Kind(
    "topics-refused",
    Severity.ERROR,
    "The broker lets this terminal in, but not to its topics",
    "Its access rules must let the terminal write and read below tap/v1/FLEET/TERMINAL/. Compare fleet and id with "
    "them.",
    ("edge-agent config explain terminal.fleet", "edge-agent config explain terminal.id"),
    hides=way.AFTER_LOGIN,
)
DOWN = Kind(
    "uplink-down",
    Severity.ERROR,
    "The agent is not connected to the broker",
    "Taps are kept until it is. It tries again by itself; its log tells how the attempts end.",
    ("edge-agent status", "edge-agent logs -n 30"),
    hides=("receiver-silent", "receiver-unheard", "broker-slow", *way.BACKLOG),
)
KINDS = (REFUSED, PASSWORD, CERTIFICATE, CLIENT_ID, PROTOCOL, BUSY, MOVED, HANGS_UP, TOPICS, DOWN)

CONNACK_S, LEAST_S = 2.5, 1.0
LOOK_S = 4.0
"""When a login has to be over, in seconds since the check began; to leave may take a second more."""
_ALONE = "see what the checks name, tcp and tls say of it: edge-agent doctor -v --only delivery"
_BY_REASON = {"busy": BUSY, "moved": MOVED}
# MQTT 5, section 3.2.2.2.
_BY_CODE = {0x84: PROTOCOL, 0x85: CLIENT_ID, 0x01: PROTOCOL, 0x02: CLIENT_ID}


def kind_of(reason: str, code: int, text: str) -> Kind:
    """Which kind of trouble an end of the connection is, by its DownReason, reason code and text."""
    from edge_agent.uplink.session import SUBSCRIBE_REFUSED  # noqa: PLC0415 -- not for --list-checks

    found = _BY_REASON.get(reason, DOWN)
    if text.startswith(SUBSCRIBE_REFUSED):
        found = TOPICS
    elif reason == "auth":
        found = REFUSED if code else PASSWORD
    elif reason == "tls" and ("ended TLS" in text or "alert" in text):
        found = CERTIFICATE
    elif reason == "broker":
        found = _BY_CODE.get(code, DOWN if code else HANGS_UP)
    elif reason in {"network", "timeout"} and "CONNACK" in text:
        found = HANGS_UP
    return found


def look(site: "Site") -> Iterator[Finding | Seen]:
    """Ask the agent, or log in."""
    began = time.monotonic()
    wrong = _password(site)
    if wrong:
        yield Finding(PASSWORD, wrong, str(way.uplink_of(site).password_file))
    if site.runs:
        found = round_trip(site)
        if not found.up:
            kind = kind_of(found.reason, found.code, found.text)
            if not (wrong and kind is PASSWORD):
                yield Finding(kind, found.text or "its attempt to connect has no outcome yet")
            return
        if found.refused is not None:
            yield Finding(TOPICS, f"it refuses {found.refused[0]} with code {found.refused[1]}")
            return
        yield Seen("the agent is connected")
        return
    if wrong:
        return
    _leave_to_its_agent(site)
    yield from _log_in(site, began + LOOK_S)


def _leave_to_its_agent(site: "Site") -> None:
    """Raise CannotLook where an agent runs that does not answer here: it would be pushed out."""
    try:
        outbox_of(site)
    except Held:
        raise
    except CannotLook:  # what is wrong with the outbox, its own check tells
        return


def _password(site: "Site") -> str:
    """What is wrong with the password's file; raises CannotLook without the right to read it."""
    from edge_agent.credentials import located  # noqa: PLC0415 -- for this alone
    from edge_agent.password import read_password  # noqa: PLC0415 -- as above

    wanted = way.uplink_of(site).password_file
    if wanted is None:
        return ""
    try:
        path = located(wanted, site.env)
    except ConfigError as error:
        if site.runs:  # it was given to the service, not to us
            return ""
        raise CannotLook(error.problems[0], because="agent-down") from None
    if not way.may_read(path):
        if site.runs:
            return ""
        raise CannotLook(f"no permission for {path}", remedy="run it with sudo")
    try:
        read_password(path, site.env)
    except ConfigError as error:
        return printable(error.problems[0], 200)
    return ""


def _log_in(site: "Site", ends: float) -> Iterator[Finding | Seen]:
    uplink = way.uplink_of(site)
    if uplink.uses_tls:
        shaken = way.handshake(site)
        if shaken.own_files or shaken.wrong_pair:
            raise CannotLook("TLS cannot begin", because=certificate.kind_of(shaken.own_files or shaken.anonymous).id)
        if shaken.error is not None and not tls.lacks_own(shaken):
            raise CannotLook("TLS with the broker does not come about", because=tls.kind_of(shaken.error).id)
        if shaken.anonymous:
            raise CannotLook(shaken.anonymous, remedy="run it with sudo", because="certificate")
    elif (trouble := way.reached(site).trouble) != "":
        raise CannotLook("the broker cannot be reached", because=trouble)
    from edge_agent.broker import link_settings  # noqa: PLC0415 -- only where no agent runs
    from edge_agent.uplink.topics import Topics  # noqa: PLC0415 -- as above

    terminal = site.settings.terminal
    try:
        settings = link_settings(uplink, client_id=terminal.id, env=site.env)
    except UplinkError as error:
        raise CannotLook(error.text, remedy="run it with sudo") from None
    topics = Topics(terminal.fleet, terminal.id)
    left = ends - time.monotonic()
    if left < LEAST_S:
        raise CannotLook("the way to the broker is too slow for a login within the time of one check", remedy=_ALONE)
    import asyncio  # noqa: PLC0415 -- as above

    with asyncio.Runner() as runner:
        yield from runner.run(_visit(settings, topics, min(CONNACK_S, left)))


async def _visit(settings: "LinkSettings", topics: "Topics", wait_s: float) -> tuple[Finding | Seen, ...]:
    """Connect, ask for the topics, leave. The agent keeps no session at the broker, so there is none to lose."""
    import asyncio  # noqa: PLC0415 -- only where no agent runs

    from edge_agent.uplink.base import LinkDown, LinkUp, Subscribed  # noqa: PLC0415 -- only where no agent runs
    from edge_agent.uplink.paho_link import PahoLink  # noqa: PLC0415 -- as above

    events: asyncio.Queue[LinkEvent] = asyncio.Queue()
    link = PahoLink(settings, events.put_nowait)
    link.start()
    try:
        async with asyncio.timeout(wait_s):
            while True:
                match await events.get():
                    case LinkUp():
                        link.subscribe(topics.subscriptions)
                    case Subscribed() as answer:
                        pairs = zip(answer.filters, answer.codes, strict=False)
                        refused = [
                            name for name, code in pairs if code >= 0x80 and name not in topics.optional_subscriptions
                        ]
                        if refused:
                            return (Finding(TOPICS, f"it does not let us read {', '.join(refused)}"),)
                        return (Seen(f"the broker lets {settings.client_id} in; no agent runs"),)
                    case LinkDown() as down:
                        text = printable(down.text, 200)
                        return (Finding(kind_of(down.reason.value, down.code, text), text),)
                    case _:
                        pass
    except TimeoutError:
        return (Finding(HANGS_UP, f"no answer to CONNECT or SUBSCRIBE within {wait_s:.1f} s"),)
    finally:
        await link.close()


CHECK = Check("login", "the broker lets this terminal in", KINDS, look)
