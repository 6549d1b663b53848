"""Firmware with one fault each in how it finds frames on the line."""

from collections.abc import Callable

from firmware_bridge.device import DeviceEvent
from firmware_bridge.frames import MAX_ENCODED, CrcError, Frame, FrameDecoder, FrameError, cobs_decode, decode_frame
from firmware_bridge.protocol import Received
from tests.fakes.broken_firmware import Firmware, Out


class RunDecoder(FrameDecoder):
    """Looks at each run between two delimiters with `look`."""

    def __init__(self, look: Callable[[bytes], Frame | None]) -> None:
        super().__init__()
        self.look = look
        self.rest = b""

    def feed(self, data: bytes) -> list[Frame]:
        *runs, self.rest = (self.rest + data).split(b"\x00")
        return [frame for run in runs if (frame := self.look(run))]


def read(run: bytes) -> Frame | None:
    try:
        return decode_frame(run)
    except FrameError:
        return None


class Looking(Firmware):
    def __init__(self, started: float) -> None:
        super().__init__(started)
        self.decoder = RunDecoder(self.look)

    def look(self, run: bytes) -> Frame | None:
        return read(run)


class DoubledDelimiter(Looking):
    """Drops the frame behind an empty run."""

    empty = False

    def look(self, run: bytes) -> Frame | None:
        dropped, self.empty = self.empty, not run
        return None if dropped else read(run)


class TimeBetweenBytes(Firmware):
    """Begins anew after a pause of 50 ms, like a protocol that ends its frames with silence."""

    heard_at = 0.0

    def handle(self, event: DeviceEvent, now: float) -> Out:
        if isinstance(event, Received):
            if now > self.heard_at + 0.05:
                self.decoder = FrameDecoder()
            self.heard_at = now
        return super().handle(event, now)


class FirstFrameOnly(Firmware):
    class Decoder(FrameDecoder):
        def feed(self, data: bytes) -> list[Frame]:
            return super().feed(data)[:1]

    def __init__(self, started: float) -> None:
        super().__init__(started)
        self.decoder = self.Decoder()


class ShortBuffer(Looking):
    def look(self, run: bytes) -> Frame | None:
        return read(run) if len(run) <= 100 else None


class LastZeroLost(Looking):
    """COBS that forgets a 00 at the very end."""

    def look(self, run: bytes) -> Frame | None:
        frame = read(run)
        return None if frame and frame.payload[:2] == b"\0\0" and cobs_decode(run).endswith(b"\0") else frame


class AnyCrc(Looking):
    def look(self, run: bytes) -> Frame | None:
        try:
            return decode_frame(run)
        except CrcError:
            body = cobs_decode(run)
            return Frame(body[1], body[2], body[3:-2]) if body[0] == 1 and body[1] <= 6 else None
        except FrameError:
            return None


class HalfAFrameRefused(Looking):
    def look(self, run: bytes) -> Frame | None:
        try:
            return decode_frame(run)
        except CrcError:
            return None
        except FrameError:
            return Frame(0x7F, 0) if run[1:3] == b"\x01\x03" else None


class NoiseSwallowsAFrame(Looking):
    swallow = False

    def look(self, run: bytes) -> Frame | None:
        frame, swallowed = read(run), self.swallow
        self.swallow = frame is None and 30 < len(run) < MAX_ENCODED - 10
        return None if swallowed else frame


class FrameInsideNoise(Looking):
    """Looks for a frame at each byte instead of behind each 00."""

    def look(self, run: bytes) -> Frame | None:
        whole = len(run) <= MAX_ENCODED
        return next((frame for at in range(len(run)) if (frame := read(run[at:]))), None) if whole else None


class DeafAfterMuchNoise(Looking):
    bytes_of_noise = 0
    deaf_until = 0.0

    def look(self, run: bytes) -> Frame | None:
        frame = read(run)
        self.bytes_of_noise = 0 if frame else self.bytes_of_noise + len(run)
        if self.bytes_of_noise > 3000:
            self.deaf_until, self.bytes_of_noise = self.now + 2.0, 0
        return None if self.now < self.deaf_until else frame


class BufferBeginsAnew(Firmware):
    """When its buffer is full it begins anew, and takes the tail for a frame."""

    class Decoder(RunDecoder):
        def feed(self, data: bytes) -> list[Frame]:
            found = []
            for byte in data:
                if byte == 0:
                    found += [frame] if (frame := self.look(self.rest)) else []
                    self.rest = b""
                else:
                    self.rest = (self.rest if len(self.rest) < MAX_ENCODED else b"") + bytes((byte,))
            return found

    def __init__(self, started: float) -> None:
        super().__init__(started)
        self.decoder = self.Decoder(read)


class OversizeRefused(Looking):
    def look(self, run: bytes) -> Frame | None:
        return read(run) if len(run) <= MAX_ENCODED or 200 < len(run) < 260 else Frame(0x7F, 0)
