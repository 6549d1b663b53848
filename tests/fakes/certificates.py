"""Certificates for tests: an authority, a server certificate for a host name, a client certificate."""

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files of one authority."""

    ca: Path
    server_cert: Path
    server_key: Path
    client_cert: Path
    client_key: Path


def make_certificates(
    folder: Path, *, host: str = "localhost", client: str = "terminal", authority: trustme.CA | None = None
) -> Certificates:
    """Write an authority (a new one), with a certificate for ``host`` and one for the client, into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = authority or trustme.CA()
    made = Certificates(
        ca=folder / "ca.pem",
        server_cert=folder / "server.pem",
        server_key=folder / "server.key",
        client_cert=folder / "client.pem",
        client_key=folder / "client.key",
    )
    authority.cert_pem.write_to_path(made.ca)
    for issued, cert, key in (
        (authority.issue_cert(host), made.server_cert, made.server_key),
        (authority.issue_cert(f"{client}@example.org", common_name=client), made.client_cert, made.client_key),
    ):
        cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
    return made
