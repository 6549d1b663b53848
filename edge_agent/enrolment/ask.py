"""Ask for an enrolment over MQTT, with a claim certificate that many terminals share, or with the one in force.

Bounded in time. The same request is published again until its answer comes; whatever else is said on the topic is
passed over. Nothing is decided here: the answer is held against the request by ``checks``.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from edge_agent.enrolment.answer import Answer, Refusal, parse_answer
from edge_agent.enrolment.checks import EnrolError
from edge_agent.enrolment.request import Request
from edge_agent.errors import UplinkError
from edge_agent.sanitize import printable
from edge_agent.strict_json import WireError
from edge_agent.uplink.base import (
    DownReason,
    Link,
    LinkDown,
    LinkEvent,
    LinkFactory,
    LinkSettings,
    LinkUp,
    Message,
    Received,
    Subscribed,
)
from edge_agent.uplink.connection import REMEDIES
from edge_agent.uplink.paho_link import PahoLink
from edge_agent.uplink.topics import Topics

_REFUSED = 0x80
_FINAL = frozenset({DownReason.TLS, DownReason.AUTH, DownReason.DNS})
"""Asking again does not help before a person has done something."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long to ask, in seconds: in all, between two publications of the request, between two connections.

    The second publication comes after ``again_s``, each further one after twice as long, up to ``again_most_s``.
    """

    wait_s: float = 60.0
    again_s: float = 1.0
    again_most_s: float = 10.0
    pause_s: float = 2.0


@dataclass(slots=True)
class _Heard:
    """What came so far that is no answer to our request."""

    said: str = ""
    down: LinkDown | None = None
    events: asyncio.Queue[LinkEvent] = field(default_factory=asyncio.Queue)


async def ask(
    request: Request, settings: LinkSettings, pace: Pace, *, link_factory: LinkFactory = PahoLink
) -> Answer | Refusal:
    """Publish the request and return the answer to it; raises EnrolError (nobody answers, no connection, no right)."""
    heard = _Heard()
    try:
        async with asyncio.timeout(pace.wait_s):
            while True:
                heard.events = asyncio.Queue()
                link = link_factory(settings, heard.events.put_nowait)
                link.start()
                try:
                    found = await _one_connection(link, request, heard, pace)
                finally:
                    await link.close()
                if found is not None:
                    return found
                await asyncio.sleep(pace.pause_s)
    except TimeoutError:
        where = f"{settings.host}:{settings.port}"
        if heard.down is not None:
            raise _no_connection(heard.down) from None
        raise EnrolError(
            f"no answer from the fleet within {pace.wait_s:g} s over {where}{heard.said}",
            remedy="see that its service runs and expects this terminal, then run the same command again: it asks with "
            "the same request",
        ) from None


async def _one_connection(link: Link, request: Request, heard: _Heard, pace: Pace) -> Answer | Refusal | None:
    """None: the connection has ended, another one may do better."""
    topics = Topics(request.fleet, request.terminal)
    asking = Message(topics.enrol_request, request.to_json(), qos=1, content_type="application/json")
    loop = asyncio.get_running_loop()
    subscribed, next_time, step = False, loop.time(), pace.again_s
    while True:
        if subscribed and loop.time() >= next_time:
            with suppress(UplinkError):  # the link has just ended: its LinkDown is on the way
                link.publish(asking)
            next_time = loop.time() + step
            step = min(2 * step, pace.again_most_s)
        try:
            async with asyncio.timeout_at(next_time if subscribed else None):
                event = await heard.events.get()
        except TimeoutError:
            continue
        match event:
            case LinkUp():
                heard.down = None
                link.subscribe([topics.enrol_answer])
            case Subscribed(codes=codes):
                _refuse_unless_heard(codes, topics)
                subscribed = True
            case Received(payload=payload) if (found := _taken(payload, request, heard)) is not None:
                return found
            case LinkDown():
                heard.down = event
                if event.reason in _FINAL:
                    raise _no_connection(event)
                return None
            case _:
                pass


def _refuse_unless_heard(codes: Sequence[int], topics: Topics) -> None:
    if any(code >= _REFUSED for code in codes):
        raise EnrolError(
            f"the broker refuses to let this certificate hear {topics.enrol_answer}",
            remedy="give the claim certificate its right there: docs/enrolment.md",
        )


def _taken(payload: bytes, request: Request, heard: _Heard) -> Answer | Refusal | None:
    try:
        found = parse_answer(payload)
    except WireError as error:
        heard.said = f"; one came that cannot be read: {printable(error.text, 120)}"
        return None
    if found.id != request.id:
        heard.said = "; answers to other requests came"
        return None
    return found


def _no_connection(down: LinkDown) -> EnrolError:
    remedies = {
        DownReason.TLS: "check --ca, --broker against the broker's certificate, the claim certificate's validity and "
        "this machine's clock",
        DownReason.AUTH: "see that the broker knows the authority of this certificate and lets it in",
        DownReason.DNS: "check --broker and the name servers of this machine",
    }
    return EnrolError(down.text, remedy=remedies.get(down.reason) or REMEDIES[down.reason])
