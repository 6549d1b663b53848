"""A TLS server on 127.0.0.1 that shakes hands and hangs up: what a look at a certificate needs of a broker."""

import contextlib
import socket
import ssl
import threading
from pathlib import Path
from typing import Self


class TlsListener:
    """Shows the chain in ``cert``; with ``wants`` it takes clients of that authority only, and says so in TLS 1.2."""

    def __init__(self, cert: Path, key: Path, *, wants: Path | None = None) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(cert, key)
        if wants is not None:
            self._context.maximum_version = ssl.TLSVersion.TLSv1_2
            self._context.verify_mode = ssl.CERT_REQUIRED
            self._context.load_verify_locations(wants)
        self._server = socket.create_server(("127.0.0.1", 0), backlog=16)
        self._thread = threading.Thread(target=self._serve, name="tls-listener")
        self.port: int = self._server.getsockname()[1]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return  # closed
            client.settimeout(5)
            with client, contextlib.suppress(OSError), self._context.wrap_socket(client, server_side=True) as shaken:
                shaken.recv(1)  # until the client hangs up
