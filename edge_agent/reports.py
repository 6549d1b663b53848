"""What the agent says of itself: retained state, telemetry, the answer to `edge-agent status`. Reads, never acts."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from edge_agent.clock import Clock
from edge_agent.hardware import people_at
from edge_agent.models import ComponentState
from edge_agent.outbox.base import Outbox
from edge_agent.readers.service import ReaderService, ReaderState
from edge_agent.sanitize import printable
from edge_agent.screen_events import ScreenEvents
from edge_agent.showing.base import Look, Showing
from edge_agent.supervision.health import HealthBoard
from edge_agent.supervision.restart import RestartFile
from edge_agent.tap_gate import TapGate
from edge_agent.trace import TapTimes, Trace
from edge_agent.uplink.publisher import UplinkSnapshot
from edge_agent.uplink.wire import Health, State, StateWord, WireError
from edge_agent.version import VERSION
from firmware_bridge.bridge import Bridge
from firmware_bridge.links.base import LinkState, LinkStatus

if TYPE_CHECKING:
    from edge_agent.config import Settings
    from edge_agent.tags.service import TagService

log = structlog.get_logger(__name__)

RECENT_TAPS = 5

_READER_STATE = {
    ReaderState.STOPPED: ComponentState.STOPPED,
    ReaderState.OPENING: ComponentState.STARTING,
    ReaderState.POLLING: ComponentState.OK,
    ReaderState.SERVING: ComponentState.OK,
    ReaderState.OCCUPIED: ComponentState.OK,
    ReaderState.LOST: ComponentState.FAILED,
    ReaderState.LENT: ComponentState.DEGRADED,
}


def reader_state(state: ReaderState) -> ComponentState:
    """Translate a reader's state for the health board."""
    return _READER_STATE[state]


@dataclass(frozen=True, slots=True)
class Reporter:
    """Collects from the parts; holds nothing itself."""

    settings: "Settings"
    digest: str
    kid: bytes
    clock: Clock
    board: HealthBoard
    outbox: Outbox
    readers: tuple[ReaderService, ...]
    surfaces: "tuple[TagService, ...]"
    bridge: Bridge
    screen_events: ScreenEvents
    showing: Look
    trace: Trace
    gate: TapGate
    uplink: Callable[[], UplinkSnapshot | None]
    restarts: RestartFile
    started_at: float

    def state(self, word: StateWord, session: str) -> State:
        """The retained `state` payload (contract, section 4); the outbox must be open."""
        head = self.outbox.head()
        return State(
            state=word,
            session=session,
            version=VERSION,
            kid=self.kid,
            chain=head.chain,
            next_seq=head.seq + 1,
            config=self.digest,
            screens={link.name: link.state.value for link in self.bridge.snapshot()},
            readers={snap.name: reader_state(snap.state).value for snap in (r.snapshot() for r in self.readers)}
            | {snap.name: snap.condition.value for snap in (surface.snapshot() for surface in self.surfaces)},
            at=self.clock.read().unix,
            restart=self.restarts.news,
        )

    async def telemetry(self) -> Health:
        """The `tele/health` payload; simulated people are no part of a terminal, and there is no room for them.

        If there is no room for what the displays tell, it is left out, and that is logged.
        """
        reading = self.clock.read()
        stats = await self.outbox.stats()
        health = self.board.snapshot(self.clock.monotonic())
        snapshots = [reader.snapshot() for reader in self.readers]
        tags = [surface.snapshot() for surface in self.surfaces]
        links = self.bridge.snapshot()
        people = {people_at(snap.name) for snap in snapshots} | {people_at(tag.name) for tag in tags}
        told = self.screen_events.figures({link.name for link in links if link.state is LinkState.UP})
        lean = Health(
            at=reading.unix,
            up=reading.up,
            components={part.name: part.state.value for part in health.components if part.name not in people},
            figures={
                "clk": int(reading.trust),
                "taps": sum(snap.taps for snap in snapshots) + sum(tag.taps for tag in tags),
                "taps_lost": sum(snap.lost for snap in snapshots),
                "taps_refused": sum(self.gate.refused.values()),
                "reader_reopens": sum(snap.reopens for snap in snapshots) + sum(tag.reopens for tag in tags),
                **({"tag_reads": sum(tag.reads for tag in tags)} if tags else {}),
                "outbox_pending": stats.pending + stats.leased,
                "outbox_unconfirmed": stats.sent,
                "outbox_parked": stats.parked,
                "outbox_evicted": stats.evicted,
                "outbox_bytes": stats.bytes_on_disk,
            },
        )
        full = replace(lean, figures={**lean.figures, **told})
        try:
            full.encode()
        except WireError as error:
            log.warning("screen_figures_left_out", error=error.text, figures=sorted(told))
            return lean
        return full

    async def status(self) -> dict[str, object]:
        """All that `edge-agent status` shows; every text is safe for a terminal."""
        now = self.clock.monotonic()
        reading = self.clock.read()
        stats = await self.outbox.stats()
        uplink = self.uplink()
        return {
            "version": VERSION,
            "terminal": self.settings.terminal.id,
            "fleet": self.settings.terminal.fleet,
            "now_playing": _now_playing(self.showing()),
            "kid": self.kid.hex(),
            "config": self.digest,
            "uptime_s": round(now - self.started_at, 1),
            "restarted_because": self.restarts.before.line if self.restarts.before else "",
            "clock": {"unix": reading.unix, "trust": reading.trust.name.lower()},
            "health": self.board.snapshot(now).as_dict(),
            "readers": [self._reader(reader, now) for reader in self.readers],
            "tags": [_tag(surface, now) for surface in self.surfaces],
            "screens": [self._screen(link, now) for link in self.bridge.snapshot()],
            "cue": self.bridge.current.value,
            "limits": {"resting": self.gate.flooded, "refused": self.gate.refused},
            "outbox": {
                "chain": stats.chain.hex(),
                "next_seq": stats.next_seq,
                "pending": stats.pending,
                "leased": stats.leased,
                "sent": stats.sent,
                "stored": stats.stored,
                "parked": stats.parked,
                "bytes_on_disk": stats.bytes_on_disk,
                "evicted": stats.evicted,
                "gaps": stats.gaps,
                "fault": stats.fault,
                "quarantined": [printable(name, 120) for name in stats.quarantined],
                "salvaging": stats.salvaging,
            },
            "uplink": self._uplink(uplink, now),
            "taps": [_tap(times, now) for times in self.trace.recent(RECENT_TAPS)],
        }

    def _reader(self, reader: ReaderService, now: float) -> dict[str, object]:
        snap = reader.snapshot()
        return {
            "name": snap.name,
            "state": snap.state.value,
            "device": snap.info.device if snap.info else "",
            "chip": snap.info.chip if snap.info else "",
            "taps": snap.taps,
            "lost": snap.lost,
            "reopens": snap.reopens,
            "last_poll_s": round(now - snap.last_poll, 1) if snap.last_poll else None,
            "last_error": printable(snap.last_error, 200),
            "recovery": printable(snap.recovery, 200),
            "fault": snap.fault,
        }

    def _screen(self, link: LinkStatus, now: float) -> dict[str, object]:
        figures, facts, told = link.figures, self.screen_events.of(link.name), link.told
        return {
            "name": link.name,
            "kind": link.kind,
            "state": link.state.value,
            "since_s": round(now - link.since, 1),
            "firmware": printable(link.firmware),
            "last_cue": link.last_cue.value if link.last_cue else None,
            "detail": printable(link.detail, 300),  # behind the name of its port; at its end stands where to look
            "opened": figures.opened,
            "failures": figures.failures,
            "crashes": figures.crashes,
            "cues": figures.sent,
            "confirmed": figures.confirmed,
            "refused": figures.refused,
            "rtt_ms": None if figures.rtt_ms is None else round(figures.rtt_ms, 1),
            "heard_s": None if figures.heard_at is None else round(now - figures.heard_at, 1),
            "uptime_s": told.uptime_ms // 1000 if told else None,
            "temperature_c": told.temperature_c if told else None,
            "faults": told.faults if told else None,
            "lux": facts.lux,
            "buttons": facts.buttons,
            "tampers": facts.tampers,
            "resets": facts.resets,
        }

    def _uplink(self, snap: UplinkSnapshot | None, now: float) -> dict[str, object]:
        to = self.settings.uplink
        where = {"host": to.host, "port": to.effective_port, "tls": to.uses_tls, "confirm": to.confirm}
        if snap is None:
            return {**where, "up": False, "reason": "starting"}
        return {
            **where,
            "up": snap.up,
            "since_s": round(now - snap.since, 1),
            "reason": snap.reason,
            "text": printable(snap.text, 200),
            "identity": printable(snap.identity, 200),
            "in_flight": snap.in_flight,
            "sent": snap.sent,
            "acked": snap.acked,
            "stored": snap.stored,
            "refused": snap.refused,
            "parked": snap.parked,
            "requeued": snap.requeued,
            **_heard(snap, now),
        }


def _heard(snap: UplinkSnapshot, now: float) -> dict[str, object]:
    """What `doctor` wants to know of the other end; ages in seconds."""
    heard, refusal = snap.heard, snap.refusal

    def age(at: float | None) -> float | None:
        return None if at is None else round(now - at, 1)

    return {
        "code": snap.code,
        "identity_code": snap.identity_code,
        "refusal": None if refusal is None else {"topic": refusal.suffix, "code": refusal.code},
        "puback_s": age(heard.puback_at),
        "ack_s": age(heard.ack_at),
        "ahead_s": heard.ahead_s,
    }


def _now_playing(showing: Showing) -> dict[str, object]:
    left_s = None if showing.until_s is None else round(showing.until_s, 1)
    source = None if showing.source is None else showing.source.value
    return {"campaign": showing.campaign, "source": source, "left_s": left_s}


def _tag(surface: "TagService", now: float) -> dict[str, object]:
    snap = surface.snapshot()
    return {
        "name": snap.name,
        "state": snap.state.value,
        "device": snap.info.device if snap.info else "",
        "chip": snap.info.chip if snap.info else "",
        "taps": snap.taps,
        "reads": snap.reads,
        "strays": snap.strays,
        "rotations": snap.rotations,
        "reopens": snap.reopens,
        "last_sign_s": round(now - snap.last_sign, 1),
        "last_error": printable(snap.last_error, 200),
    }


def _tap(times: TapTimes, now: float) -> dict[str, object]:
    return {
        "chain": times.chain.hex(),
        "seq": times.seq,
        "mode": times.mode.name.lower(),
        "reader": times.reader,
        "age_s": round(now - times.seen, 1),
        "latency_ms": times.latency_ms(),
    }
