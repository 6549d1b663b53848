"""The bare script that the agent is measured against: sign, commit to SQLite (WAL, FULL), publish with paho, wait.

What somebody would write in an afternoon with the same libraries: no reader, no chain, no retry, no second thread of
its own, SQLite's default page size. Ratios to it in the same run say what the agent's care costs.
"""

import sqlite3
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import paho.mqtt.client as mqtt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

TOKEN_BYTES = 210
SIGNATURE_BYTES = 64


@dataclass(frozen=True, slots=True)
class Step:
    """Seconds from the start of one tap to its commit and to its PUBACK."""

    committed: float
    acked: float


class Reference:
    """One connection to the database and one to the broker, used tap by tap."""

    def __init__(self, folder: Path, port: int) -> None:
        self._key = Ed25519PrivateKey.generate()
        self._db = sqlite3.connect(folder / "reference.db", isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("CREATE TABLE outbox (id INTEGER PRIMARY KEY, token BLOB NOT NULL)")
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        connected = threading.Event()
        self._client.on_connect = lambda *_: connected.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        if not connected.wait(10):
            raise TimeoutError("the reference got no CONNACK")

    def tap(self) -> Step:
        """Do one tap and time it."""
        start = time.perf_counter()
        body = bytes(TOKEN_BYTES - SIGNATURE_BYTES)
        token = body + self._key.sign(body)
        self._db.execute("INSERT INTO outbox (token) VALUES (?)", (token,))
        committed = time.perf_counter()
        self._client.publish("reference/tap", token, qos=1).wait_for_publish(10)
        return Step(committed=committed - start, acked=time.perf_counter() - start)

    def close(self) -> None:
        """Disconnect and close."""
        self._client.disconnect()
        self._client.loop_stop()
        self._db.close()
