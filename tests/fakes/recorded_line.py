"""Lines in virtual time for traces: one that records what its ends say, and a run of a replay against a real end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from firmware_bridge.device import DeviceEvent, DeviceSession, Send
from firmware_bridge.device import Tick as DeviceTick
from firmware_bridge.protocol import HostEvent, HostSession, Opened, Received, Tick, Write
from firmware_bridge.replay import Difference, HostReplay, Note, Play, ReplayEffect, ReplayEvent
from firmware_bridge.replay import Opened as ReplayOpened
from firmware_bridge.replay_mcu import McuReplay
from firmware_bridge.trace import Direction, Pieces, Record
from tests.fakes.screen_line import JoinedEnds, LineKind

LONGEST_RUN = 20_000


@dataclass
class RecordedEnds(JoinedEnds):
    """Both ends, and the trace of what each of them was told."""

    kind: LineKind = field(default_factory=LineKind)
    records: list[Record] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._began = self.now
        self._pieces = {direction: Pieces() for direction in Direction}

    def to_host(self, event: HostEvent) -> None:
        self._record(event, Direction.TO_HOST)
        super().to_host(event)

    def to_device(self, event: DeviceEvent) -> None:
        self._record(event, Direction.TO_MCU)
        super().to_device(event)

    def _record(self, event: HostEvent | DeviceEvent, direction: Direction) -> None:
        if isinstance(event, Received):
            at_us = round((self.now - self._began) * 1_000_000)
            self.records += [Record(at_us, direction, piece) for piece in self._pieces[direction].feed(event.data)]


def _run(
    replay: HostReplay | McuReplay,
    end: Callable[[bytes | None, float], bytes],
    due: Callable[[], float | None],
    *,
    begin: float = 1000.0,
    steps: Sequence[tuple[float, Callable[[], None]]] = (),
) -> list[ReplayEffect]:
    """Join a replay to ``end(data or None for a tick, now)``, which returns what it says; ``steps`` happen in time."""
    now, effects, said = begin, [], b""
    event: ReplayEvent = ReplayOpened()
    later = [*steps]
    for _ in range(LONGEST_RUN):
        found = replay.handle(event, now)
        effects += [effect for effect in found if not isinstance(effect, Play)]
        for effect in found:
            if isinstance(effect, Play):
                said += end(effect.data, now)
        if replay.done:
            return effects
        if not said:
            moments = [replay.due, due(), later[0][0] if later else None]
            now = max(now, min((moment for moment in moments if moment is not None), default=now + 60.0))
            while later and later[0][0] <= now:
                later.pop(0)[1]()
            said += end(None, now)
        event, said = (Received(said) if said else Tick()), b""
    raise AssertionError("the replay never ended")


def replayed_to(
    device: DeviceSession, records: Sequence[Record], speed: float = 1.0
) -> tuple[HostReplay, list[ReplayEffect]]:
    """Play the host's side of a trace to an MCU; return what was found."""

    def end(data: bytes | None, now: float) -> bytes:
        event = DeviceTick() if data is None else Received(data)
        return b"".join(effect.data for effect in device.handle(event, now) if isinstance(effect, Send))

    replay = HostReplay(records, speed)
    return replay, _run(replay, end, lambda: device.due)


def host_against(
    records: Sequence[Record], host: HostSession, wants: Sequence[tuple[float, HostEvent]], speed: float = 1.0
) -> tuple[McuReplay, list[ReplayEffect]]:
    """Play the MCU's side of a trace to a host that is opened at once and told ``wants`` (seconds, event)."""
    waiting: list[HostEvent] = []

    def end(data: bytes | None, now: float) -> bytes:
        events = [*waiting, Tick() if data is None else Received(data)]
        waiting.clear()
        effects = [effect for event in events for effect in host.handle(event, now)]
        return b"".join(effect.data for effect in effects if isinstance(effect, Write))

    steps = [(1000.0 + at, lambda event=event: waiting.append(event)) for at, event in [(0.0, Opened()), *wants]]
    replay = McuReplay(records, speed)
    return replay, _run(replay, end, lambda: host.due, steps=steps)


def differences(effects: Sequence[ReplayEffect]) -> list[tuple[str, str]]:
    """What the trace has and what came instead."""
    return [(effect.trace, effect.now) for effect in effects if isinstance(effect, Difference)]


def notes(effects: Sequence[ReplayEffect]) -> list[str]:
    """What is worth knowing."""
    return [effect.text for effect in effects if isinstance(effect, Note)]
