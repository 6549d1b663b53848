"""The screen: show() to the first byte on the line, frame codec rate, what the bridge costs in memory and idle CPU.

The MCU is the simulator in its own process, behind a pty; the bridge, too, is measured in a process of its own.
"""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median, quantiles

from benchmarks.figures import Figure
from firmware_bridge.bridge import Bridge
from firmware_bridge.cues import Cue, CueName
from firmware_bridge.frames import FrameDecoder, decode_frame, encode_frame
from firmware_bridge.links.serial import SerialLink
from firmware_bridge.links.web import WebLink
from firmware_bridge.messages import encode_message, from_host, show_cue

CUES = 1000
FRAMES = 50_000
IDLE_S = 10.0
_STATUS = "/proc/self/status"


def run() -> list[Figure]:
    """Measure everything; about 15 seconds."""
    simulator = subprocess.Popen(
        [sys.executable, "-m", "firmware_bridge", "simulate"], stdout=subprocess.PIPE, text=True
    )
    assert simulator.stdout is not None
    try:
        device = simulator.stdout.readline().split()[3].rstrip(";")
        measured = json.loads(_in_own_process(device))
    finally:
        simulator.terminate()
        simulator.communicate()
    encode_rate, decode_rate = _codec()
    wire, wire_99, call = measured["wire_p50"], measured["wire_p99"], measured["call_p50"]
    idle, grown = measured["idle_percent"], measured["rss_mb"] - _bare_asyncio_mb()
    return [
        Figure("show() to first byte on the line, median", wire * 1000, "ms", "<= 10", ok=wire <= 0.010),
        Figure("show() to first byte on the line, 99 %", wire_99 * 1000, "ms"),
        Figure("show() itself, median", call * 1e6, "us"),
        Figure("cue messages encoded to line bytes", encode_rate, "1/s"),
        Figure("cue messages decoded from a line", decode_rate, "1/s"),
        Figure("bridge with serial line and page: memory over bare asyncio", grown, "MB"),
        Figure("bridge with serial line and page: idle CPU", idle, "% of core", "<= 0.5", ok=idle <= 0.5),
    ]


def _in_own_process(device: str) -> str:
    command = [sys.executable, "-m", "benchmarks.screen", device]
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


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_bridge(sys.argv[1]))))
