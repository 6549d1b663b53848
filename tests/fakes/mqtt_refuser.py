"""A TCP server on 127.0.0.1 that answers each CONNECT with one reason code, or takes connections and says nothing."""

import contextlib
import socket
import threading
from typing import Self


class MqttRefuser:
    """``code``: of its CONNACK (MQTT 5, section 3.2.2.2), then it hangs up; None: it never says a word."""

    def __init__(self, code: int | None) -> None:
        self._code = code
        self._server = socket.create_server(("127.0.0.1", 0), backlog=16)
        self._clients: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, name="mqtt-refuser")
        self.port: int = self._server.getsockname()[1]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()
        for client in self._clients:
            client.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return  # closed
            self._clients.append(client)
            if self._code is None:
                continue
            client.settimeout(5)
            with contextlib.suppress(OSError):  # a client that only knocks
                if client.recv(4096):
                    client.sendall(bytes([0x20, 3, 0, self._code, 0]))
                    client.shutdown(socket.SHUT_WR)
