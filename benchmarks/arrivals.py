"""A subscriber that only counts, in a process of its own: payload bytes, and when the first and the last of them came.

It stands for the cloud's receiver and is as cheap as can be: it walks over the lengths of the packets and looks into
nothing. ``python -m benchmarks.arrivals PORT FILTER BYTES`` prints one line of JSON when so many bytes have come.
"""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.raw_mqtt import RawMqtt

DEADLINE_S = 120.0


class Arrivals:
    """A counter that is subscribed; ``seconds`` waits for its end."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def seconds(self) -> float:
        """From the first to the last arrival; TimeoutError if not all came in time."""
        try:
            out, _ = self._process.communicate(timeout=DEADLINE_S)
        except subprocess.TimeoutExpired:
            raise TimeoutError("not all that was sent arrived at the subscriber") from None
        if self._process.returncode:
            raise TimeoutError("the counting subscriber ended before all had come")
        first, last = json.loads(out)
        return float(last - first)


@contextmanager
def counting(port: int, topic_filter: str, payload_bytes: int) -> Iterator[Arrivals]:
    """Subscribe to ``topic_filter`` on the plain listener ``port`` and count up to ``payload_bytes``."""
    command = [sys.executable, "-m", "benchmarks.arrivals", str(port), topic_filter, str(payload_bytes)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "subscribed\n":
            raise ConnectionError("the counting subscriber did not start")
        yield Arrivals(process)
    finally:
        process.kill()
        process.wait()
        with contextlib.suppress(ValueError):
            process.stdout.close()


def _count(port: int, topic_filter: str, expected: int) -> tuple[float, float]:
    mqtt = RawMqtt(port, "arrivals")
    mqtt.subscribe(topic_filter)
    print("subscribed", flush=True)
    came, first, now = 0, 0.0, 0.0
    for size in mqtt.payload_sizes(DEADLINE_S):
        now = time.monotonic()
        first = first or now
        came += size
        if came >= expected:  # more, if the sender had to connect again and repeats what was in flight
            mqtt.close()
            return first, now
    raise ConnectionError(f"{came} of {expected} bytes came")


if __name__ == "__main__":
    print(json.dumps(_count(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))
