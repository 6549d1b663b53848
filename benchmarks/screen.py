"""The screen: show() to the first byte on the line, frame codec rate, what the bridge costs in memory and idle CPU.

The MCU is the simulator in its own process, behind a pty; the bridge, too, is measured in a process of its own. What
blocked screens cost is the ratio of two bridges that take turns: one MCU alone, and one beside a stuck pty, a
connection that hangs and a link that never returns. The codec's measure is `cobs` (C) with the stdlib's CRC, bare.
"""

import asyncio
import binascii
import json
import os
import socket
import subprocess
import sys
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import median, quantiles

from cobs import cobs

from benchmarks.figures import Figure
from firmware_bridge.bridge import Bridge
from firmware_bridge.cues import Cue, CueName
from firmware_bridge.frames import Frame, FrameDecoder, decode_frame, encode_frame
from firmware_bridge.links.base import LinkObserver, ScreenLink
from firmware_bridge.links.serial import SerialLink
from firmware_bridge.links.web import WebLink
from firmware_bridge.messages import encode_message, from_host, show_cue

CUES = 1000
TURNS = 400
FRAMES = 50_000
ROUNDS = 5
IDLE_S = 10.0
_STATUS = "/proc/self/status"


def run() -> list[Figure]:
    """Measure everything; about 15 seconds."""
    with _simulated() as first, _simulated() as second:
        measured = json.loads(_in_own_process(first, second))
    encode_rate, decode_rate = _codec()
    frames_out, frames_out_bare, frames_in, frames_in_bare = _frames()
    alone, beside = measured["alone_p50"], measured["beside_p50"]
    wire, wire_99, call = measured["wire_p50"], measured["wire_p99"], measured["call_p50"]
    idle, grown = measured["idle_percent"], measured["rss_mb"] - _bare_asyncio_mb()
    return [
        Figure("show() to first byte on the line, median", wire * 1000, "ms", "<= 10", ok=wire <= 0.010),
        Figure("show() to first byte on the line, 99 %", wire_99 * 1000, "ms"),
        Figure("show() itself, median", call * 1e6, "us"),
        Figure("the same with one MCU alone, median", alone * 1000, "ms"),
        Figure("the same beside three blocked screens, median", beside * 1000, "ms", "<= 10", ok=beside <= 0.010),
        Figure("blocked screens beside it / alone", beside / alone, "x"),
        Figure("frames encoded", frames_out, "1/s"),
        Figure("frames encoded / cobs + stdlib CRC bare", frames_out / frames_out_bare, "x"),
        Figure("frames decoded from a line", frames_in, "1/s"),
        Figure("frames decoded / cobs + stdlib CRC bare", frames_in / frames_in_bare, "x"),
        Figure("cue messages encoded to line bytes", encode_rate, "1/s"),
        Figure("cue messages decoded from a line", decode_rate, "1/s"),
        Figure("bridge with serial line and page: memory over bare asyncio", grown, "MB"),
        Figure("bridge with serial line and page: idle CPU", idle, "% of core", "<= 0.5", ok=idle <= 0.5),
    ]


@contextmanager
def _simulated() -> Iterator[str]:
    """A display of its own process; its device."""
    command = [sys.executable, "-m", "firmware_bridge", "simulate"]
    simulator = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert simulator.stdout is not None
    try:
        yield simulator.stdout.readline().split()[3].rstrip(";")
    finally:
        simulator.terminate()
        simulator.communicate()


def _in_own_process(*devices: str) -> str:
    command = [sys.executable, "-m", "benchmarks.screen", *devices]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1]


def _bare_asyncio_mb() -> float:
    code = f"import asyncio, json, statistics, subprocess; print(open({_STATUS!r}).read())"
    return _rss_mb(subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True).stdout)


def _codec() -> tuple[float, float]:
    message = show_cue(Cue(CueName.THANKS, "a coupon is waiting in your account", "¥2.00"), 3000)
    start = time.perf_counter()
    for seq in range(FRAMES):
        encode_message(message, seq % 256)
    encoded = time.perf_counter()
    line = encode_message(message, 7) * FRAMES
    decoder = FrameDecoder()
    begun = time.perf_counter()
    found = sum(
        from_host(frame) == message for at in range(0, len(line), 256) for frame in decoder.feed(line[at : at + 256])
    )
    decoded = time.perf_counter()
    assert found == FRAMES
    assert decode_frame(encode_frame(decode_frame(line[: line.index(0)]))[:-1]).seq == 7
    return FRAMES / (encoded - start), FRAMES / (decoded - begun)


def _frames() -> tuple[float, float, float, float]:
    """Frames a second, ours and bare, out and in; in turns, so that a busy machine is busy for both."""
    payload = bytes(show_cue(Cue(CueName.THANKS, "a coupon is waiting in your account", "¥2.00"), 3000))
    frame = Frame(0x02, 7, payload)
    line = encode_frame(frame) * FRAMES
    pieces = [line[at : at + 256] for at in range(0, len(line), 256)]

    def encode_ours() -> int:
        return sum(len(encode_frame(frame)) for _ in range(FRAMES))

    def encode_bare() -> int:
        sent = 0
        for _ in range(FRAMES):
            body = bytes((1, 0x02, 7)) + payload
            sent += len(cobs.encode(body + binascii.crc_hqx(body, 0xFFFF).to_bytes(2, "big")) + b"\x00")
        return sent

    def decode_ours() -> int:
        decoder = FrameDecoder()
        return len(line) // FRAMES * sum(len(decoder.feed(piece)) for piece in pieces)

    def decode_bare() -> int:
        rest, found = b"", 0
        for piece in pieces:
            *complete, rest = (rest + piece).split(b"\x00")
            found += sum(not binascii.crc_hqx(cobs.decode(encoded), 0xFFFF) for encoded in complete)
        return len(line) // FRAMES * found

    work: tuple[Callable[[], int], ...] = (encode_ours, encode_bare, decode_ours, decode_bare)
    times: list[list[float]] = [[], [], [], []]
    for _ in range(ROUNDS):
        for taken, run_once in zip(times, work, strict=True):
            start = time.perf_counter()
            assert run_once() == len(line)
            taken.append(time.perf_counter() - start)
    rates = [FRAMES / median(taken) for taken in times]
    return rates[0], rates[1], rates[2], rates[3]


def _own_rss_mb() -> float:
    return _rss_mb(Path(_STATUS).read_text(encoding="ascii"))


def _rss_mb(status: str) -> float:
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) / 1024


async def _bridge(device: str) -> dict[str, float]:
    wire: list[tuple[CueName, float]] = []
    arrived = asyncio.Event()

    def on_wire(link: str, cue: CueName, at: float) -> None:
        if link == "line":
            wire.append((cue, at))
            arrived.set()

    links = [SerialLink("line", device, terminal_id="bench"), WebLink("page", 0, terminal_id="bench")]
    bridge = Bridge(links, terminal_id="bench", on_wire=on_wire)
    running = asyncio.create_task(bridge.run())
    await asyncio.wait_for(arrived.wait(), 10)
    to_wire, calls = [], []
    for number in range(CUES):
        await asyncio.sleep(0.003)
        arrived.clear()
        cue = CueName.READING if number % 2 else CueName.THANKS
        start = time.monotonic()
        bridge.show(cue)
        calls.append(time.monotonic() - start)
        await asyncio.wait_for(arrived.wait(), 10)
        to_wire.append(wire[-1][1] - start)
    bridge.show(CueName.INVITE)
    await asyncio.sleep(0.5)
    cpu, start = time.process_time(), time.monotonic()
    await asyncio.sleep(IDLE_S)
    idle = (time.process_time() - cpu) / (time.monotonic() - start) * 100
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return {
        "wire_p50": median(to_wire),
        "wire_p99": quantiles(to_wire, n=100)[98],
        "call_p50": median(calls),
        "idle_percent": idle,
        "rss_mb": _own_rss_mb(),
    }


class _NeverReturns:
    """A link whose serve never comes back."""

    name, kind, detail = "never", "paper", ""

    def show(self, cue: Cue) -> None:
        """Take it, and do nothing."""

    async def serve(self, observer: LinkObserver) -> None:  # noqa: ARG002 - a link's signature
        await asyncio.get_running_loop().create_future()


def _blocked(stack: ExitStack) -> list[ScreenLink]:
    """A line full to the brim that nobody reads, a connection that nobody answers, a link that never comes back."""
    master, slave = os.openpty()
    stack.callback(os.close, master)
    stack.callback(os.close, slave)
    tty.setraw(slave)
    os.set_blocking(slave, False)
    with suppress(BlockingIOError):
        while True:
            os.write(slave, bytes(4096))
    server = stack.enter_context(socket.socket())
    server.bind(("127.0.0.1", 0))
    server.listen(0)
    for _ in range(4):
        waiting = stack.enter_context(socket.socket())
        waiting.settimeout(0)
        waiting.connect_ex(server.getsockname())
    hanging = f"tcp:127.0.0.1:{server.getsockname()[1]}"
    return [
        SerialLink("stuck", os.ttyname(slave), terminal_id="bench"),
        SerialLink("hanging", hanging, terminal_id="bench"),
        _NeverReturns(),
    ]


class _Timed:
    """A bridge and how long show() to the first byte takes on its link ``line``."""

    def __init__(self, device: str, others: Sequence[ScreenLink] = ()) -> None:
        self.taken: list[float] = []
        self._arrived = asyncio.Event()
        self._at = 0.0
        links: list[ScreenLink] = [*others, SerialLink("line", device, terminal_id="bench")]
        self.bridge = Bridge(links, terminal_id="bench", on_wire=self._on_wire)

    def _on_wire(self, link: str, _cue: CueName, at: float) -> None:
        if link == "line":
            self._at = at
            self._arrived.set()

    async def arrived(self) -> None:
        await asyncio.wait_for(self._arrived.wait(), 10)

    async def show(self, cue: CueName) -> None:
        self._arrived.clear()
        start = time.monotonic()
        self.bridge.show(cue)
        await self.arrived()
        self.taken.append(self._at - start)


async def _in_turns(first: str, second: str) -> dict[str, float]:
    with ExitStack() as stack:
        alone, beside = _Timed(first), _Timed(second, _blocked(stack))
        running = [asyncio.create_task(timed.bridge.run()) for timed in (alone, beside)]
        await alone.arrived()
        await beside.arrived()
        for number in range(TURNS):
            for timed in (alone, beside):
                await asyncio.sleep(0.003)
                await timed.show(CueName.READING if number % 2 else CueName.THANKS)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    return {"alone_p50": median(alone.taken), "beside_p50": median(beside.taken)}


async def _measured(first: str, second: str) -> dict[str, float]:
    return await _bridge(first) | await _in_turns(first, second)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_measured(sys.argv[1], sys.argv[2]))))
