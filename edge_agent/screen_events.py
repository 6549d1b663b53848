"""What displays say of themselves: tampering, restarts and faults as alarms; buttons, light, temperature as figures.

It must never flood: of each kind one alarm (or line of the log) a minute and screen, with the count of those that were
left out; the last of them is told when the minute is over. What a peer sent is told as numbers and hex only.
"""

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field

import structlog

from edge_agent.clock import Clock
from edge_agent.outbox.base import Notice
from edge_agent.pace import Pace, Say, left_out
from edge_agent.sanitize import printable
from firmware_bridge.links.base import LinkEvent
from firmware_bridge.messages import EventCode, McuEvent, Status
from firmware_bridge.protocol import Refused, Told

log = structlog.get_logger(__name__)

TAMPER_ALARM, RESET_ALARM, FAULT_ALARM = "screen_tamper", "screen_reset", "screen_fault"
TELL_EVERY_S = 60.0
# A display's clock is poor, and its answer may have been late.
_SLACK_MS = 5_000
_UPTIME_WRAPS_MS = 1 << 32


@dataclass(slots=True)
class ScreenFacts:
    """What one display said since the start of the agent; None is what it never said."""

    buttons: int = 0
    tampers: int = 0
    resets: int = 0
    others: int = 0
    """Events of the maker's own, and of a shape that the protocol does not have."""
    lux: int | None = None
    status: Status | None = None


@dataclass(slots=True)
class _Screen:
    facts: ScreenFacts = field(default_factory=ScreenFacts)
    status_at: float = 0.0
    reset_said_at: float = float("-inf")
    """When it said that its watchdog had restarted it, and no STATUS has shown that restart yet."""
    restart_seen_at: float = float("-inf")
    """When a STATUS showed a restart of which it has said nothing yet."""
    paces: dict[str, Pace] = field(default_factory=dict)


class ScreenEvents:
    """Hears the events of all links (``Bridge``'s ``on_event``); ``tell`` takes the alarms. Runs on the event loop."""

    def __init__(self, tell: Callable[[Notice], None], clock: Clock) -> None:
        self._tell = tell
        self._clock = clock
        self._screens: dict[str, _Screen] = {}

    def of(self, link: str) -> ScreenFacts:
        """What the display of this link said so far."""
        return self._screens[link].facts if link in self._screens else ScreenFacts()

    def figures(self, up: Container[str]) -> Mapping[str, int]:
        """For the telemetry: sums over all displays; the brightest light and highest temperature of the links ``up``.

        Nothing of what no display ever told.
        """
        facts = [screen.facts for screen in self._screens.values()]
        now = [screen.facts for link, screen in self._screens.items() if link in up]
        lux = [fact.lux for fact in now if fact.lux is not None]
        told = [fact.status for fact in now if fact.status is not None]
        sums = {
            "screen_buttons": sum(fact.buttons for fact in facts),
            "screen_tampers": sum(fact.tampers for fact in facts),
            "screen_resets": sum(fact.resets for fact in facts),
        }
        return {
            **{name: count for name, count in sums.items() if count},
            **({"screen_lux": max(lux)} if lux else {}),
            **({"screen_temp": max(status.temperature_c for status in told)} if told else {}),
        }

    def heard(self, link: str, event: LinkEvent) -> None:
        """Take what a display said."""
        screen = self._screens.setdefault(link, _Screen())
        match event:
            case Told(message=Status() as status):
                self._status(link, screen, status)
            case Told(message=McuEvent() as happened):
                self._happened(link, screen, happened)
            case Refused(message=message, reason=reason):
                why = reason.name.lower()
                self._log(link, screen, "screen_refused", message=printable(message, 24), reason=why)
            case _:
                pass  # a cue was confirmed: the bridge counts them

    def look(self) -> None:
        """Say what waited for its minute; wanted about once a second."""
        now = self._clock.monotonic()
        for screen in self._screens.values():
            for pace in screen.paces.values():
                pace.look(now)

    def _happened(self, link: str, screen: _Screen, event: McuEvent) -> None:
        facts = screen.facts
        match event.code, event.data:
            case EventCode.BUTTON, bytes(data) if len(data) == 1:
                facts.buttons += 1
                self._log(link, screen, "screen_button", button=data[0], pressed=facts.buttons)
            case EventCode.TAMPER, b"":
                facts.tampers += 1
                self._alarm(link, screen, TAMPER_ALARM, f"the tamper switch of {link} says that it was opened")
            case EventCode.AMBIENT_LIGHT, bytes(data) if len(data) == 2:
                facts.lux = int.from_bytes(data, "big")
            case EventCode.WATCHDOG_RESET, b"":
                self._count_restart_said(screen)
                self._alarm(link, screen, RESET_ALARM, f"the display of {link} was restarted by its own watchdog")
            case _:
                facts.others += 1
                self._log(link, screen, "screen_event", code=event.code, data=event.data.hex())

    def _status(self, link: str, screen: _Screen, status: Status) -> None:
        before, screen.facts.status = screen.facts.status, status
        now = self._clock.monotonic()
        elapsed_ms, screen.status_at = (now - screen.status_at) * 1000, now
        if before is not None and _went_back(before.uptime_ms, status.uptime_ms, elapsed_ms):
            self._restart_seen(link, screen, status)
        known = before.faults if before else 0
        if new := status.faults & ~known:
            text = f"the display of {link} reports fault bits {status.faults:#06x}, new is {new:#06x}"
            self._alarm(link, screen, FAULT_ALARM, text, bits=status.faults, new=new)
        elif known and not status.faults:
            self._log(link, screen, "screen_faults_over", before=f"{known:#06x}")

    def _restart_seen(self, link: str, screen: _Screen, status: Status) -> None:
        """One restart is told once, whether the display said so first or its STATUS."""
        now = self._clock.monotonic()
        said = screen.reset_said_at >= now - (status.uptime_ms + _SLACK_MS) / 1000
        screen.reset_said_at = float("-inf")
        if said:
            return
        screen.restart_seen_at = now
        screen.facts.resets += 1
        text = f"the display of {link} has restarted: it is up for {status.uptime_ms // 1000} s"
        self._alarm(link, screen, RESET_ALARM, text)

    def _count_restart_said(self, screen: _Screen) -> None:
        now = self._clock.monotonic()
        if now - screen.restart_seen_at <= _SLACK_MS / 1000:
            screen.restart_seen_at = float("-inf")
        else:
            screen.facts.resets += 1
            screen.reset_said_at = now

    def _alarm(self, link: str, screen: _Screen, code: str, text: str, **data: int) -> None:
        def say(count: int) -> None:
            self._tell(Notice(code, text, {"screen": link, **data, **left_out(count)}))

        self._paced(screen, code, say)

    def _log(self, link: str, screen: _Screen, event: str, **fields: object) -> None:
        self._paced(screen, event, lambda count: log.info(event, link=link, **fields, **left_out(count)))

    def _paced(self, screen: _Screen, kind: str, say: Say) -> None:
        screen.paces.setdefault(kind, Pace(TELL_EVERY_S)).say(say, self._clock.monotonic())


def _went_back(before_ms: int, after_ms: int, elapsed_ms: float) -> bool:
    """Whether a display has restarted between two answers: its count went back, or is far less than the time passed.

    The count is of 32 bits: after 49.7 days it begins again without a restart.
    """
    passed = (after_ms - before_ms) % _UPTIME_WRAPS_MS
    if after_ms < before_ms and passed <= 2 * elapsed_ms + _SLACK_MS:
        return False
    return after_ms < before_ms or passed < elapsed_ms / 2 - _SLACK_MS
