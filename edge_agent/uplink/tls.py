"""TLS towards the broker: always verified, chain and host name; and plain words for why a connection failed."""

import socket
import ssl

from edge_agent.sanitize import printable
from edge_agent.uplink.base import DownReason, LinkDown, LinkSettings, TlsSettings


class TlsSocket(ssl.SSLSocket):
    """Keeps what paho throws away: it leaks the socket of a failed handshake and swallows the alert of a read."""

    alert: ssl.SSLError | None = None
    """What the broker's TLS said when it ended the connection, such as `certificate required`."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - signature of the standard library
        """As in the standard library; closes the socket if the handshake fails."""
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """As in the standard library; remembers an alert."""
        try:
            return super().recv(buflen, flags)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            self.alert = error
            raise


def client_context(tls: TlsSettings) -> ssl.SSLContext:
    """Context with verification, TLS 1.2 at least; raises OSError (ssl.SSLError too) naming the file at fault."""
    try:
        # A bundle that is given replaces the system's trust store; it does not widen it.
        context = ssl.create_default_context(cafile=tls.ca)
    except OSError as error:
        raise OSError(f"CA file {tls.ca}: {_plain(error)}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.cert is not None:
        try:
            context.load_cert_chain(tls.cert, tls.key)
        except OSError as error:
            raise OSError(f"client certificate {tls.cert} with key {tls.key or tls.cert}: {_plain(error)}") from error
    context.sslsocket_class = TlsSocket
    return context


def explain(error: OSError | ValueError, settings: LinkSettings) -> LinkDown:
    """Why no connection came about: reason for the remedy, text for the log."""
    where = f"{settings.host}:{settings.port}"
    match error:
        case socket.gaierror():
            reason, text = DownReason.DNS, f"cannot resolve {settings.host}: {_plain(error)}"
        case ssl.SSLCertVerificationError():
            reason, text = DownReason.TLS, f"certificate of {where} refused: {printable(error.verify_message, 120)}"
        case ssl.SSLError():
            reason, text = DownReason.TLS, f"no TLS with {where}: {_plain(error)}"
        case ConnectionRefusedError():
            reason, text = DownReason.REFUSED, f"{where} refuses connections"
        case TimeoutError():
            reason, text = DownReason.TIMEOUT, f"{where} does not answer within {settings.connect_timeout_s:g} s"
        case OSError():
            reason, text = DownReason.NETWORK, f"cannot connect to {where}: {_plain(error)}"
        case _:
            reason, text = DownReason.DNS, f"{where} is no usable address: {printable(str(error))}"
    return LinkDown(reason, text)


def explain_alert(alert: ssl.SSLError, settings: LinkSettings) -> LinkDown:
    """The broker's TLS refused us after the handshake, as TLS 1.3 does with client certificates."""
    return LinkDown(DownReason.TLS, f"{settings.host}:{settings.port} ended TLS: {_plain(alert)}")


def _plain(error: OSError) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return printable(error.reason.replace("_", " ").lower(), 120)
    return printable(error.strerror or str(error), 120)
