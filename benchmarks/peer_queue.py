"""A queue of messages as a process of its own, made to be killed.

``python -m benchmarks.peer_queue KIND FOLDER PORT N`` takes N messages, prints ``taken``, sends what its queue holds to
the broker on PORT, prints ``empty`` and waits for its end. They are what people write around paho in an afternoon;
``ours`` only takes, since the agent itself sends.
"""

import asyncio
import contextlib
import logging
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import paho.mqtt.client as mqtt

TOPIC = "up/tap"
SIZE = 240
KEEP_TRYING_S = 60.0


def message(number: int) -> bytes:
    """240 bytes that begin with the number."""
    return number.to_bytes(4, "big").ljust(SIZE, b"\x5a")


class _Sender:
    """paho, which connects and connects again by itself, with a session that lasts."""

    def __init__(self, port: int) -> None:
        self._acked = 0
        self._sent = 0
        self._changed = threading.Condition()
        self._connected = threading.Event()
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="peer", clean_session=False)
        self._client.reconnect_delay_set(1, 1)
        self._client.max_inflight_messages_set(100)
        self._client.on_connect = lambda *_: self._connected.set()
        self._client.on_publish = self._on_publish
        self._client.connect_async("127.0.0.1", port)
        self._client.loop_start()

    def wait_connected(self) -> None:
        self._connected.wait(KEEP_TRYING_S)

    def publish(self, body: bytes) -> None:
        self._client.publish(TOPIC, body, qos=1)
        self._sent += 1

    def wait_acked(self) -> None:
        """Until there is a PUBACK for all that was published."""
        with self._changed:
            self._changed.wait_for(lambda: self._acked >= self._sent, KEEP_TRYING_S)

    def _on_publish(self, *_: object) -> None:
        with self._changed:
            self._acked += 1
            self._changed.notify()


def _paho(_folder: Path, port: int, taken: Iterable[bytes], told: Callable[[str], None]) -> None:
    """paho's own queue: what publish() took is taken."""
    sender = _Sender(port)
    for body in taken:
        sender.publish(body)
    told("taken")
    sender.wait_acked()
    told("empty")


def _sqlite(*, wait: bool) -> Callable[[Path, int, Iterable[bytes], Callable[[str], None]], None]:
    """A table; a row is published, then deleted: at once, or (``wait``) after its PUBACK, one by one."""

    def run(folder: Path, port: int, taken: Iterable[bytes], told: Callable[[str], None]) -> None:
        db = sqlite3.connect(folder / "queue.db", isolation_level=None)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("CREATE TABLE IF NOT EXISTS queue (id INTEGER PRIMARY KEY, body BLOB)")
        for body in taken:
            db.execute("INSERT INTO queue (body) VALUES (?)", (body,))
        told("taken")
        sender = _Sender(port)
        sender.wait_connected()
        while row := db.execute("SELECT id, body FROM queue ORDER BY id LIMIT 1").fetchone():
            sender.publish(row[1])
            if wait:
                sender.wait_acked()
            db.execute("DELETE FROM queue WHERE id = ?", (row[0],))
        sender.wait_acked()
        db.close()
        told("empty")

    return run


def _persist_queue(folder: Path, port: int, taken: Iterable[bytes], told: Callable[[str], None]) -> None:
    """The file queue of persist-queue, as in its first example."""
    from persistqueue import Empty, Queue  # noqa: PLC0415 - in nobody's environment unless asked for

    queue = Queue(str(folder / "queue"))
    for body in taken:
        queue.put(body)
    told("taken")
    sender = _Sender(port)
    sender.wait_connected()
    with contextlib.suppress(Empty):
        while True:
            sender.publish(queue.get(block=False))
            sender.wait_acked()
            queue.task_done()
    told("empty")


def _ours(folder: Path, _port: int, taken: Iterable[bytes], told: Callable[[str], None]) -> None:
    """The outbox, with as many signed tokens."""
    import structlog  # noqa: PLC0415 - as below

    from benchmarks.restart import fill  # noqa: PLC0415 - the agent is in no peer's environment

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    asyncio.run(fill(folder, sum(1 for _ in taken)))
    told("taken")


KINDS: dict[str, Callable[[Path, int, Iterable[bytes], Callable[[str], None]], None]] = {
    "paho": _paho,
    "sqlite": _sqlite(wait=False),
    "sqlite-wait": _sqlite(wait=True),
    "persist-queue": _persist_queue,
    "ours": _ours,
}

if __name__ == "__main__":
    kind, where, port_text, count = sys.argv[1:]
    KINDS[kind](Path(where), int(port_text), map(message, range(int(count))), lambda word: print(word, flush=True))
    time.sleep(KEEP_TRYING_S)
