"""What somebody would use instead of an agent: mosquitto on the terminal, bridged over TLS to mosquitto in the cloud.

Tuned as well as its manual allows: no limit of the queue, a large window on both sides, no Nagle, MQTT 5. Its queue is
filled over a plain loopback listener while the cloud's broker is down.
"""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.arrivals import counting
from benchmarks.raw_mqtt import RawMqtt
from tests.fakes.certificates import Certificates
from tests.fakes.mosquitto import Mosquitto, free_port

TOPIC = "up"
FIRST, LAST = f"{TOPIC}/first", f"{TOPIC}/last"
COUNT = "$SYS/broker/publish/messages/received"
WINDOW = 1000
"""In flight between the brokers. 20, 100, 1,000 and 10,000 are equally fast; with 65,535 nothing arrives at all."""
TUNED = ("max_queued_messages 0", f"max_inflight_messages {WINDOW}")
DEADLINE_S = 60.0


def bridge_lines(port: int, ca: Path | None = None) -> tuple[str, ...]:
    """Settings of a bridge to the broker on this port: over verified TLS with MQTT 5, or without ``ca`` as it comes."""
    lines = (
        "connection cloud",
        f"address localhost:{port}",
        f"topic {TOPIC}/# out 1",
        "cleansession false",
        "restart_timeout 1",
        "notifications false",
    )
    return lines if ca is None else (*lines, "bridge_protocol_version mqttv50", f"bridge_cafile {ca}")


@dataclass(frozen=True, slots=True)
class CloudBroker:
    """A broker with a TLS listener for terminals and a plain one for whoever counts; not started."""

    broker: Mosquitto
    plain_port: int


def cloud_broker(binary: str, folder: Path, certificates: Certificates) -> CloudBroker:
    """Both listeners on loopback, tuned."""
    plain = free_port()
    lines = (
        f"cafile {certificates.ca}",
        f"certfile {certificates.server_cert}",
        f"keyfile {certificates.server_key}",
        f"listener {plain} 127.0.0.1",
        "sys_interval 1",
        *TUNED,
    )
    return CloudBroker(Mosquitto(binary, folder, quiet=True, lines=lines), plain)


@dataclass(frozen=True, slots=True)
class Load:
    """So many messages of so many bytes."""

    messages: int
    size: int

    @property
    def payload_bytes(self) -> int:
        """Of all of them."""
        return self.messages * self.size


def seconds_to_subscriber(binary: str, folder: Path, certificates: Certificates, load: Load) -> float:
    """From the first to the last arrival at a subscriber of the cloud's broker that hears all messages."""
    with (
        _queued(binary, folder, certificates, load) as (terminal, cloud),
        cloud.broker,
        counting(cloud.plain_port, f"{TOPIC}/#", load.payload_bytes) as arrivals,
    ):
        terminal.resume()
        return arrivals.seconds()


def seconds_to_broker(binary: str, folder: Path, certificates: Certificates, load: Load) -> float:
    """As above, but nobody hears more than the first and the last one; the broker's own counter proves the rest."""
    with (
        _queued(binary, folder, certificates, load) as (terminal, cloud),
        cloud.broker,
        closing(RawMqtt(cloud.plain_port, "counter")) as counter,
    ):
        for topic in (FIRST, LAST, COUNT):
            counter.subscribe(topic)
        terminal.resume()
        return _watch(counter, load.messages)


@contextmanager
def _queued(
    binary: str, folder: Path, certificates: Certificates, load: Load
) -> Iterator[tuple[Mosquitto, CloudBroker]]:
    """The terminal's broker with a full queue, frozen until there is somebody who counts; the cloud's is down."""
    cloud = cloud_broker(binary, folder, certificates)
    lines = (
        *TUNED,
        "persistence true",
        f"persistence_location {folder}/",
        *bridge_lines(cloud.broker.port, certificates.ca),
    )
    with Mosquitto(binary, folder, quiet=True, lines=lines) as terminal:
        with closing(RawMqtt(terminal.port, "taps")) as taps:
            last = load.messages - 1
            topics = ({0: FIRST, last: LAST}.get(number, f"{TOPIC}/tap") for number in range(load.messages))
            taps.publish_all((topic, bytes(load.size)) for topic in topics)
        terminal.pause()
        yield terminal, cloud


def _watch(counter: RawMqtt, messages: int) -> float:
    """Seconds from the first to the last arrival; returns when the broker has counted all messages."""
    at: dict[str, float] = {}
    count = 0
    for publish in counter.received(DEADLINE_S):
        at[publish.topic] = time.perf_counter()
        if publish.topic == COUNT:
            count = int(publish.payload)
        if count >= messages and LAST in at:
            return at[LAST] - at[FIRST]
    raise TimeoutError(f"the bridge delivered {count} of {messages} messages, then {DEADLINE_S:g} s of silence")
