"""An MQTT 5 broker in a child process, for the demo, training and tests; the only importer of iotcore.

It listens on 127.0.0.1 without TLS or passwords and keeps nothing: it must never serve a real terminal.
"""

import socket
import tempfile
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from edge_agent.errors import UplinkError

if TYPE_CHECKING:
    from iotcore import Broker

HOST = "127.0.0.1"

_ATTEMPTS = 5
_START_S = 10.0
_STOP_S = 2.0

# rumqttd keeps what subscribers have not read yet in segments of memory: 32 MiB for each topic filter at most.
_CONFIG = """
id = 0
[router]
id = 0
max_connections = 1000
max_outgoing_packet_count = 200
max_segment_size = 4194304
max_segment_count = 8
[v5.1]
name = "v5"
listen = "{host}:{port}"
next_connection_delay_ms = 0
[v5.1.connections]
connection_timeout_ms = 5000
max_payload_size = 131072
max_inflight_count = 100
dynamic_filters = true
"""


class EmbeddedBroker:
    """``with EmbeddedBroker() as broker: broker.host, broker.port``. Starting takes a fraction of a second and blocks.

    The child ends with this process, however that ends. Ctrl-C does not end it: whoever uses it stops it last.
    A receiver on it needs ``ReceiverSettings(session_expiry_s=0)``: this broker (rumqttd 0.20) dies when the last
    member of a share leaves a session behind.
    """

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._broker: Broker | None = None
        self._port = 0

    @property
    def host(self) -> str:
        """Loopback address."""
        return HOST

    @property
    def port(self) -> int:
        """Where it listens; 0 before the start."""
        return self._port

    @property
    def is_running(self) -> bool:
        """Whether the child process lives."""
        return self._broker is not None and self._broker.is_running

    def start(self) -> Self:
        """Start on a free port and return when it accepts connections; raises UplinkError."""
        try:
            from iotcore import Broker  # noqa: PLC0415 (an extra that a terminal does not have)
        except ImportError as error:
            raise UplinkError(
                "the embedded broker is not installed", remedy="pip install 'edge-agent[cloud]', or name a broker"
            ) from error
        self._folder = tempfile.TemporaryDirectory(prefix="edge-agent-broker-")
        config = Path(self._folder.name) / "broker.toml"
        failure = ""
        for _ in range(_ATTEMPTS):
            port = _free_port()
            config.write_text(_CONFIG.format(host=HOST, port=port), encoding="ascii")
            broker = Broker(config_path=str(config))
            try:
                broker.start(timeout=_START_S)
            except (OSError, RuntimeError) as error:
                failure = str(error)  # most likely somebody else took the port meanwhile
                continue
            self._broker, self._port = broker, port
            return self
        self.stop()
        raise UplinkError(f"the embedded broker does not start: {failure}")

    def stop(self) -> None:
        """End the child process. Idempotent."""
        if self._broker is not None:
            self._broker.stop(timeout=_STOP_S)
            self._broker = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
