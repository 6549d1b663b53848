"""A screen line in virtual time: the host's end and the MCU's end joined by a line that may damage what it carries."""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from firmware_bridge.cues import Cue, CueName
from firmware_bridge.device import DeviceEvent, DeviceSession, Display, Raise, Restart, Send
from firmware_bridge.device import Tick as DeviceTick
from firmware_bridge.links.driving import KeptCue
from firmware_bridge.messages import McuEvent
from firmware_bridge.protocol import Ask, Down, Effect, HostEvent, HostSession, Opened, Received, Tick, Want, Write


@dataclass
class LineKind:
    """What a line does: lose whole writes, put noise before them, deliver byte by byte, late."""

    loss: float = 0.0
    noise: float = 0.0
    bytewise: bool = False
    delay_s: float = 0.0


@dataclass
class JoinedEnds:
    """Both ends and the clock; `effects` and `shown` tell what came out, with the time.

    With `reopen_after_s` a line that the host gave up is opened again so much later, as a link's supervisor does.
    """

    kind: LineKind
    seed: int = 0
    now: float = 1000.0
    host: HostSession = field(default_factory=lambda: HostSession("sh-1"))
    device: DeviceSession = field(default_factory=DeviceSession)
    effects: list[tuple[float, Effect]] = field(default_factory=list)
    shown: list[tuple[float, Display]] = field(default_factory=list)
    restarts: int = 0
    cut: bool = False
    reopen_after_s: float | None = None

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._kept = KeptCue()

    def open(self) -> None:
        self.to_host(Opened())

    def reopen(self) -> None:
        """Another opening of the same line: a new session, and what is left of the newest cue."""
        self.host = HostSession("sh-1")
        if cue := self._kept.left(self.now):
            self.host.handle(Want(cue), self.now)
        self.open()

    def want(self, cue: Cue) -> None:
        self._kept.keep(cue, self.now)
        self.to_host(Want(cue))

    def ask(self, ask: Ask) -> None:
        self.to_host(ask)

    def raise_event(self, event: McuEvent) -> None:
        self.to_device(Raise(event))

    def reboot_device(self) -> None:
        self.device = DeviceSession(started=self.now)
        self.shown.append((self.now, Display(CueName.INVITE, static=True)))

    def to_host(self, event: HostEvent) -> None:
        for effect in self.host.handle(event, self.now):
            self.effects.append((self.now, effect))
            if isinstance(effect, Write):
                self._carry(effect.data, lambda data: self.to_device(Received(data)))
            elif isinstance(effect, Down) and self.reopen_after_s is not None:
                self._at(self.now + self.reopen_after_s, self.reopen)

    def to_device(self, event: DeviceEvent) -> None:
        for effect in self.device.handle(event, self.now):
            match effect:
                case Send(data=data):
                    self._carry(data, lambda data: self.to_host(Received(data)))
                case Display():
                    self.shown.append((self.now, effect))
                case Restart():
                    self.restarts += 1
                    self.reboot_device()

    def _carry(self, data: bytes, deliver: Callable[[bytes], None]) -> None:
        if self.cut or self._random.random() < self.kind.loss:
            return
        if self._random.random() < self.kind.noise:
            data = self._random.randbytes(self._random.randint(1, 60)) + b"\x00" + data
        pieces = [data[i : i + 1] for i in range(len(data))] if self.kind.bytewise else [data]
        for piece in pieces:
            self._at(self.now + self.kind.delay_s, lambda piece=piece: deliver(piece))

    def _at(self, moment: float, call: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._queue, (moment, self._order, call))

    def run(self, seconds: float) -> None:
        """Let time pass, event by event."""
        end = self.now + seconds
        while True:
            moments = [at for at in (self.host.due, self.device.due) if at is not None]
            if self._queue:
                moments.append(self._queue[0][0])
            if not moments or min(moments) > end:
                break
            self.now = max(self.now, min(moments))
            while self._queue and self._queue[0][0] <= self.now:
                heapq.heappop(self._queue)[2]()
            self.to_host(Tick())
            self.to_device(DeviceTick())
        self.now = end

    def of(self, kind: type) -> list[object]:
        """Host effects of one kind, in order."""
        return [effect for _, effect in self.effects if isinstance(effect, kind)]

    @property
    def downs(self) -> list[object]:
        return self.of(Down)
