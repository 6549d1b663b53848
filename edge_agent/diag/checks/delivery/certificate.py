"""The files of TLS on this terminal: its own certificate and key, and the authorities that it trusts."""

import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.diag import way
from edge_agent.diag.check import Check
from edge_agent.diag.finding import CannotLook, Finding, Kind, NotHere, Seen, Severity
from edge_agent.sanitize import printable

if TYPE_CHECKING:
    from edge_agent.diag.site import Site
    from edge_agent.enrolment.x509 import Certificate

SOON_DAYS = 21
_RENEW = ("edge-agent enrol --help",)

UNUSABLE = Kind(
    "certificate-unusable",
    Severity.ERROR,
    "A file that TLS needs is missing or damaged",
    "Put the file that is named back from where it came, or let the terminal enrol again.",
    ("edge-agent config check", *_RENEW),
    hides=("own-certificate-other-key", *way.AFTER_TLS),
)
OTHER_KEY = Kind(
    "own-certificate-other-key",
    Severity.ERROR,
    "The terminal's certificate and its key do not belong together",
    "One of the two files was replaced alone. Put the right pair there, or let the terminal enrol again.",
    _RENEW,
    hides=way.AFTER_TLS,
)
EXPIRED = Kind(
    "own-certificate-expired",
    Severity.ERROR,
    "The terminal's own certificate has expired",
    "The broker refuses it. If the date of this machine is right, renew it: enrol again.",
    ("date -u", *_RENEW),
    hides=("tls-failed", *way.AFTER_TLS),
)
NOT_YET_VALID = Kind(
    "own-certificate-not-yet-valid",
    Severity.ERROR,
    "The terminal's own certificate is not valid yet: this clock is wrong",
    "A certificate from the future is nearly always a clock in the past. Set the clock, and see why it was lost.",
    ("date -u", "timedatectl"),
    hides=("tls-failed", *way.AFTER_TLS),
)
EXPIRING = Kind(
    "own-certificate-expiring",
    Severity.WARNING,
    "The terminal's own certificate expires soon",
    "Renew it before that day: enrol again; the terminal stays where it is.",
    _RENEW,
)
OTHER_NAME = Kind(
    "own-certificate-other-name",
    Severity.WARNING,
    "The terminal's certificate is for another terminal",
    "It was copied from there, or terminal.id was changed. A broker that goes by the certificate takes this terminal "
    "for the other one: let it enrol under its own name.",
    ("edge-agent config explain terminal.id", *_RENEW),
)
AUTHORITY_EXPIRED = Kind(
    "authority-expired",
    Severity.ERROR,
    "The authority in [uplink] ca has expired",
    "Get the authority's new certificate from the broker's operators, and put it into that file.",
    ("date -u", "edge-agent config explain uplink.ca"),
    hides=("broker-certificate-untrusted", "broker-certificate-expired", *way.AFTER_TLS),
)
AUTHORITY_EXPIRING = Kind(
    "authority-expiring",
    Severity.WARNING,
    "The authority in [uplink] ca expires soon",
    "Ask the broker's operators for the next one, and add it to that file before.",
    ("edge-agent config explain uplink.ca",),
)


def kind_of(text: str) -> Kind:
    """Which kind of trouble it is when the files cannot be loaded for this reason."""
    return OTHER_KEY if "key values mismatch" in text else UNUSABLE


def look(site: "Site") -> Iterator[Finding | Seen]:
    """Read them all; the key is only tried, never shown."""
    uplink = way.uplink_of(site)
    if not uplink.uses_tls:
        raise NotHere("TLS is off")
    if uplink.ca is None and uplink.cert is None:
        raise NotHere("no certificate of its own, and the system's authorities")
    if uplink.ca is not None:
        yield from _authorities(uplink.ca)
    if uplink.cert is not None and uplink.key is not None:
        yield from _own(site, uplink.cert, uplink.key)


def _authorities(file: Path) -> Iterator[Finding | Seen]:
    from edge_agent.enrolment.x509 import CertificateError, read_certificates  # noqa: PLC0415 -- slow to import

    if not way.may_read(file):
        raise CannotLook(f"no permission for {file}", remedy="run it with sudo")
    try:
        found = read_certificates(file)
    except CertificateError as error:
        yield Finding(UNUSABLE, error.text, str(file))
        return
    newest = max(found, key=lambda one: one.not_after)
    now = time.time()
    text = f"{newest.subject} ends {_day(newest.not_after)}"
    if newest.days_left(now) < 0:
        yield Finding(AUTHORITY_EXPIRED, f"{text}; today is {_day(now)}", str(file))
    elif newest.days_left(now) < SOON_DAYS:
        yield Finding(AUTHORITY_EXPIRING, f"{text}, in {newest.days_left(now)} days", str(file))
    else:
        yield Seen(f"trusts {text}")


def _own(site: "Site", cert: Path, key: Path) -> Iterator[Finding | Seen]:
    from edge_agent.enrolment.x509 import CertificateError, read_certificates  # noqa: PLC0415 -- slow to import

    if not way.may_read(cert):
        raise CannotLook(f"no permission for {cert}", remedy="run it with sudo")
    try:
        own = read_certificates(cert)[0]
    except CertificateError as error:
        yield Finding(UNUSABLE, error.text, str(cert))
        return
    yield from _facts(site, own, cert)
    yield from _pair(site, cert, key)


def _facts(site: "Site", own: "Certificate", cert: Path) -> Iterator[Finding | Seen]:
    now, terminal = time.time(), site.settings.terminal.id
    left = own.days_left(now)
    if now < own.not_before:
        text = f"it begins {_day(own.not_before)}; this machine's date is {_day(now)}"
        yield Finding(NOT_YET_VALID, text, str(cert))
    elif left < 0:
        yield Finding(EXPIRED, f"{own.subject} ended {_day(own.not_after)}; today is {_day(now)}", str(cert))
    elif left < SOON_DAYS:
        yield Finding(EXPIRING, f"{own.subject} ends {_day(own.not_after)}, in {left} days", str(cert))
    else:
        yield Seen(f"its own, {own.subject}, ends {_day(own.not_after)}")
    if own.common_name and own.common_name != terminal:
        yield Finding(OTHER_NAME, f"its name is {printable(own.common_name)}, terminal.id is {terminal}", str(cert))


def _pair(site: "Site", cert: Path, key: Path) -> Iterator[Finding | Seen]:
    """Whether the key is the certificate's, as TLS finds out; raises CannotLook without the right to read it."""
    from edge_agent.credentials import folder, located  # noqa: PLC0415 -- for this alone
    from edge_agent.errors import ConfigError  # noqa: PLC0415 -- as above

    try:
        file = located(key, site.env)
    except ConfigError as error:
        if not way.may_read(folder(site.env)):
            raise CannotLook(error.problems[0], remedy="run it with sudo") from None
        yield Finding(UNUSABLE, error.problems[0], str(key))
        return
    if not way.may_read(file):
        raise CannotLook(f"no permission for {file}", remedy="run it with sudo")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(cert, file, password=_refuse)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            yield Finding(OTHER_KEY, f"{cert} is not the certificate of the key in {file}", str(cert))
        else:
            yield Finding(UNUSABLE, f"{file} is no unencrypted PEM key, or is damaged", str(file))
    except OSError as error:
        yield Finding(UNUSABLE, f"{file}: {error.strerror}", str(file))
    except ValueError:
        yield Finding(UNUSABLE, f"{file} is encrypted, and nobody can type its password", str(file))


def _refuse() -> str:
    """OpenSSL would ask at the terminal; raising here makes it an encrypted key that cannot be used."""
    raise ValueError


def _day(unix: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(unix))


CHECK = Check(
    "certificate",
    "this terminal's certificate and authorities",
    (UNUSABLE, OTHER_KEY, EXPIRED, NOT_YET_VALID, EXPIRING, OTHER_NAME, AUTHORITY_EXPIRED, AUTHORITY_EXPIRING),
    look,
)
