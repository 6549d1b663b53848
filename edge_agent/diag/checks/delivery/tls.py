"""TLS with the broker: its certificate is trusted, is for this host, and holds for a while."""

import ssl
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from edge_agent.diag import way
from edge_agent.diag.check import Check
from edge_agent.diag.checks.delivery import certificate
from edge_agent.diag.finding import CannotLook, Finding, Kind, NotHere, Seen, Severity
from edge_agent.sanitize import printable

if TYPE_CHECKING:
    from edge_agent.diag.site import Site
    from edge_agent.enrolment.x509 import Certificate

SOON_DAYS = 21

UNTRUSTED = Kind(
    "broker-certificate-untrusted",
    Severity.ERROR,
    "The broker's certificate is of no authority that this terminal trusts",
    "Put the authority of this broker into the file of [uplink] ca. If you do not expect its name, somebody answers in "
    "place of the broker: trust nothing, and ask the operators.",
    ("edge-agent config explain uplink.ca",),
    hides=way.AFTER_TLS,
)
OTHER_HOST = Kind(
    "broker-certificate-other-host",
    Severity.ERROR,
    "The broker's certificate is for another host",
    "Write the name that stands in the certificate into [uplink] host, or let the broker have a certificate for this "
    "one.",
    ("edge-agent config explain uplink.host",),
    hides=way.AFTER_TLS,
)
EXPIRED = Kind(
    "broker-certificate-expired",
    Severity.ERROR,
    "The broker's certificate has expired",
    "If the date of this machine is right, the broker's operators must renew it; nothing can be done here.",
    ("date -u", "timedatectl"),
    hides=way.AFTER_TLS,
)
NOT_YET_VALID = Kind(
    "broker-certificate-not-yet-valid",
    Severity.ERROR,
    "The broker's certificate is not valid yet: this clock is wrong",
    "A certificate from the future is nearly always a clock in the past. Set the clock, and see why it was lost: no "
    "network time, an empty battery.",
    ("date -u", "timedatectl"),
    hides=way.AFTER_TLS,
)
EXPIRING = Kind(
    "broker-certificate-expiring",
    Severity.WARNING,
    "The broker's certificate expires soon",
    "Tell the operators of the broker: on that day all terminals lose it.",
)
FAILED = Kind(
    "tls-failed",
    Severity.ERROR,
    "The broker refuses TLS",
    "Another service may listen at this port, or one without TLS; or the broker wants a certificate that this terminal "
    "does not have. The broker's log tells which.",
    ("edge-agent config explain uplink.port",),
    hides=way.AFTER_TLS,
)
SILENT = Kind(
    "tls-silent",
    Severity.ERROR,
    "The broker takes the connection, but does not answer",
    "It hangs, it is overloaded, or a firewall lets the connection through and nothing more. Ask its operators.",
    hides=way.AFTER_TLS,
)
OFF = Kind(
    "tls-off",
    Severity.WARNING,
    "Taps go to the broker in the clear",
    "`tls = false` sends taps, commands and the password unprotected over the network. Remove it.",
    ("edge-agent config explain uplink.tls",),
)
# X509_V_ERR_* of OpenSSL, x509_vfy.h.
_BY_CODE = {9: NOT_YET_VALID, 10: EXPIRED, 62: OTHER_HOST, 64: OTHER_HOST}


def look(site: "Site") -> Iterator[Finding | Seen]:
    """Shake hands as the agent does; no MQTT follows."""
    uplink = way.uplink_of(site)
    if not uplink.uses_tls:
        if uplink.tls is False and not way.is_this_machine(uplink.host):
            yield Finding(OFF, f"to {uplink.host}:{uplink.effective_port} without TLS")
            return
        raise NotHere("the broker is this machine, without TLS")
    done = way.handshake(site)
    if done.own_files:
        raise CannotLook(done.own_files, because=certificate.kind_of(done.own_files).id)
    shown = _parsed(done.leaf)
    if done.error is not None:
        if lacks_own(done):
            raise CannotLook(done.anonymous, because=_of_own(done), remedy="run it with sudo")
        yield _refused(site, done.error, shown)
        return
    told = f"{done.version}, {_whose(shown)}" if shown else done.version
    yield Seen(told + (f"; tried without the terminal's certificate: {done.anonymous}" if done.anonymous else ""))
    if shown is not None and (left := shown.days_left(time.time())) < SOON_DAYS:
        yield Finding(EXPIRING, f"{_whose(shown)}: {left} days left")


def kind_of(error: OSError) -> Kind:
    """Which kind of trouble the end of a handshake is."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _BY_CODE.get(error.verify_code, UNTRUSTED)
    return SILENT if isinstance(error, TimeoutError) else FAILED


def lacks_own(done: way.Handshake) -> bool:
    """Whether it may have ended only because the terminal's certificate could not be shown, as TLS 1.2 does."""
    return bool(done.anonymous) and done.error is not None and kind_of(done.error) is FAILED


def _of_own(done: way.Handshake) -> str:
    return certificate.kind_of(done.anonymous).id if done.wrong_pair else certificate.CHECK.id


def _refused(site: "Site", error: OSError, shown: "Certificate | None") -> Finding:
    uplink = way.uplink_of(site)
    where = f"{printable(uplink.host, 100)}:{uplink.effective_port}"
    kind = kind_of(error)
    if kind is SILENT:
        return Finding(SILENT, f"{where} does not answer the first message of TLS")
    if not isinstance(error, ssl.SSLCertVerificationError):
        plain = (getattr(error, "reason", None) or error.strerror or str(error)).replace("_", " ").lower()
        return Finding(FAILED, f"{where}: {printable(plain, 120)}")
    whose = f"{_whose(shown)}; " if shown else ""
    if kind is OTHER_HOST:
        return Finding(kind, f"asked for {printable(uplink.host, 100)}, shown: {_hosts(shown)}")
    if kind is UNTRUSTED:
        said = printable(error.verify_message, 100)
        return Finding(kind, f"{whose}trusted are {_trusted(site)}; OpenSSL says: {said}")
    return Finding(kind, f"{whose}this machine's date is {_day(time.time())}")


def _parsed(der: bytes | None) -> "Certificate | None":
    from edge_agent.enrolment.x509 import CertificateError, parse_certificates  # noqa: PLC0415 -- slow to import

    if der is None:
        return None
    try:
        return parse_certificates(ssl.DER_cert_to_PEM_cert(der).encode())[0]
    except CertificateError:
        return None


def _whose(shown: "Certificate | None") -> str:
    if shown is None:
        return "a certificate that cannot be read"
    return (
        f"{shown.subject or 'a certificate without a name'}, issued by {shown.issuer}, "
        f"valid from {_day(shown.not_before)} to {_day(shown.not_after)}"
    )


def _hosts(shown: "Certificate | None") -> str:
    from edge_agent.enrolment.x509 import hosts_of  # noqa: PLC0415 -- slow to import

    found = hosts_of(shown) if shown is not None else ()
    return f"a certificate for {', '.join(found[:5])}" if found else "a certificate that names no host"


def _trusted(site: "Site") -> str:
    from edge_agent.enrolment.x509 import CertificateError, read_certificates  # noqa: PLC0415 -- slow to import

    file = way.uplink_of(site).ca
    if file is None:
        return "the authorities of the system"
    try:
        names = [found.subject for found in read_certificates(file)]
    except CertificateError as error:
        return error.text
    return f"{' and '.join(names[:3])} ({file})"


def _day(unix: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(unix))


CHECK = Check(
    "tls",
    "TLS with the broker",
    (UNTRUSTED, OTHER_HOST, EXPIRED, NOT_YET_VALID, EXPIRING, FAILED, SILENT, OFF),
    look,
)
