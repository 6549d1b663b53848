"""What links do alike: what waits for the line of a HostSession, which cue a new opening or a late page begins with.

Pure: no I/O, no clock. It must never keep more than a few frames: a cue that is late is a cue that is wrong.
"""

from collections import deque
from dataclasses import replace

from firmware_bridge.cues import Cue
from firmware_bridge.links.base import HearsHello, LinkObserver
from firmware_bridge.printable import printable
from firmware_bridge.protocol import Down, Effect, Up, Write

MAX_WRITES = 8


class UnsentWrites:
    """Frames that the line has not taken yet: at most one cue, the newest, and seven others; the oldest goes first.

    A frame of which the line took the first byte is always finished.
    """

    def __init__(self) -> None:
        self._waiting: deque[Write] = deque(maxlen=MAX_WRITES)
        self._half_taken = b""

    def __len__(self) -> int:
        return len(self._waiting) + bool(self._half_taken)

    def put(self, write: Write) -> None:
        """Add a frame. A cue takes the place of one that was not begun; frames of other kinds stay in their order.

        A repeat of a frame that still waits is not needed: the line has not taken the first.
        """
        if write.repeat and any(waiting.data == write.data for waiting in self._waiting):
            return
        if write.cue is not None:
            kept = [waiting for waiting in self._waiting if waiting.cue is None]
            self._waiting = deque(kept, maxlen=MAX_WRITES)
        self._waiting.append(write)

    def piece(self, limit: int | None = None) -> bytes:
        """Return what the line gets next, at most ``limit`` bytes of one frame; b"" when nothing waits."""
        data = self._half_taken or (self._waiting[0].data if self._waiting else b"")
        return data[:limit]

    def took(self, count: int) -> Write | None:
        """Note that the line took ``count`` bytes of what ``piece`` gave; return the frame that this began."""
        if self._half_taken:
            self._half_taken = self._half_taken[count:]
            return None
        if not count:
            return None
        begun = self._waiting.popleft()
        self._half_taken = begun.data[count:]
        return begun


class KeptCue:
    """The newest cue that was asked for, for the next opening of the line; times in monotonic seconds."""

    def __init__(self) -> None:
        self._kept: tuple[Cue, float] | None = None

    def keep(self, cue: Cue, now: float) -> None:
        """Keep this cue in the place of the one before."""
        self._kept = (cue, now + cue.ttl_ms / 1000)

    def left(self, now: float) -> Cue | None:
        """Return the cue with the time to live that is left; None when there is none, or none left."""
        if self._kept is None:
            return None
        cue, until = self._kept
        left_ms = round((until - now) * 1000)
        return replace(cue, ttl_ms=left_ms) if left_ms > 0 else None


def tell_observer(observer: LinkObserver, link: str, effect: Effect, at: float) -> None:
    """Tell what an effect of the session means; a Write when its first byte was taken, ``at`` this moment."""
    match effect:
        case Write(cue=cue):
            if cue is not None and not effect.repeat:
                observer.cue_on_wire(link, cue, at)
        case Up(hello=hello):
            if isinstance(observer, HearsHello):
                observer.hello_heard(link, hello)
            version = ".".join(str(part) for part in hello.firmware)
            observer.link_up(link, f"{printable(hello.serial)} {version}".strip())
        case Down():
            pass
        case _:
            observer.link_event(link, effect)
