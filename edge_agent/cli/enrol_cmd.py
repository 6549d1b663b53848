"""`edge-agent enrol`: gives this terminal its identity, or renews it; `enrol sign|serve` are the fleet's side.

Every run goes on where the last one ended, whatever ended it. It works without the agent, and never prints a secret.
"""

import argparse
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.cli.commands import COMMANDS, DEFAULT_CONFIG, Commands, add_config, add_json
from edge_agent.cli.render import Paper
from edge_agent.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from edge_agent.cli.enrol_site import EnrolSite
    from edge_agent.enrolment.answer import Answer, Refusal
    from edge_agent.enrolment.enrol import InForce, Names
    from edge_agent.enrolment.store import Attempt

_MAX_PASTE = 64 * 1024
_ALREADY = "already enrolled"


def add_parser(commands: Commands) -> None:
    """Declare the command and its parts."""
    parser = commands.add_parser(
        "enrol",
        help=COMMANDS["enrol"].help,
        description="Make this terminal's keys and its request once, hand the request over, take the answer back. "
        "Run it again as often as you like: it goes on where it was.",
    )
    add_config(parser)
    who = parser.add_argument_group("who")
    who.add_argument("--terminal", metavar="ID", help="terminal id, instead of [terminal] id or the board's serial")
    who.add_argument("--fleet", metavar="ID", help="fleet, instead of [terminal] fleet")
    by_hand = parser.add_argument_group("by hand")
    by_hand.add_argument("--out", type=Path, metavar="FILE", help="write the request to a file, too")
    by_hand.add_argument("--qr", action="store_true", help="draw the request as a QR code where no terminal is, too")
    by_hand.add_argument("--answer", type=Path, metavar="FILE", help="take the answer from a file")
    by_hand.add_argument("--paste", action="store_true", help="take the answer from lines pasted here")
    by_hand.add_argument(
        "--ca-fingerprint",
        action="append",
        default=[],
        metavar="HEX",
        help="refuse an answer that brings another authority than this one; once for each",
    )
    network = parser.add_argument_group("over MQTT")
    network.add_argument(
        "--broker", nargs="?", const="", metavar="HOST[:PORT]", help="ask here; without a name: the broker in force"
    )
    network.add_argument("--claim-cert", type=Path, metavar="FILE", help="PEM file of the claim certificate")
    network.add_argument("--claim-key", type=Path, metavar="FILE", help="PEM file of its private key")
    network.add_argument("--ca", type=Path, metavar="FILE", help="PEM file of the authorities of this broker")
    network.add_argument(
        "--wait", type=_seconds, default=60.0, metavar="SECONDS", help="how long to wait for the answer (default: 60)"
    )
    again = parser.add_argument_group("again")
    again.add_argument("--renew", action="store_true", help="new TLS key and certificate")
    again.add_argument("--renew-before", type=days, metavar="DAYS", help="the same, if fewer days than these are left")
    again.add_argument("--rotate-tap-key", action="store_true", help="the same, with a new signing key")
    add_json(parser)
    parts = parser.add_subparsers(dest="part", metavar="PART", title="parts")
    status = parts.add_parser("status", help="tell what holds, and for how long; exit status 1 if that is not enough")
    # SUPPRESS: a default of the part would win over what stands before it.
    status.add_argument(
        "--config",
        type=Path,
        default=argparse.SUPPRESS,
        metavar="FILE",
        help=f"configuration file (default: {DEFAULT_CONFIG})",
    )
    status.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="one JSON object for a program")

    from edge_agent.cli import enrol_cloud  # noqa: PLC0415 -- only when this command is asked for

    enrol_cloud.add_parts(parts)


def run(args: argparse.Namespace) -> int:
    """Go as far as it goes; 0 when it is done, or the request is out."""
    if args.part in ("sign", "serve"):
        from edge_agent.cli import enrol_cloud  # noqa: PLC0415 -- the fleet's side

        return enrol_cloud.run(args)

    from edge_agent.cli.enrol_site import EnrolSite  # noqa: PLC0415 -- pydantic and cryptography are slow to import

    site = EnrolSite.of(args.config, os.environ, root=Path("/"))
    if args.part == "status":
        return _status(args, site)
    _check_usage(args)
    return _enrol(args, site)


def _status(args: argparse.Namespace, site: "EnrolSite") -> int:
    from edge_agent.cli import enrol_view  # noqa: PLC0415 -- as above

    held, waiting = site.enrolment.in_force(), site.enrolment.waiting()
    found = enrol_view.Standing(held, waiting, site.now(), site.overridden())
    if args.json:
        print(enrol_view.as_json(found))
    else:
        enrol_view.show(Paper(sys.stdout), found)
    return ExitCode.OK if found.is_well else ExitCode.PROBLEM


def _check_usage(args: argparse.Namespace) -> None:
    ways = [name for name in ("answer", "paste", "broker") if getattr(args, name) not in (None, False)]
    if len(ways) > 1:
        raise ConfigError([f"--{ways[0]} and --{ways[1]}: take one way for the answer"])
    if (args.claim_cert is None) != (args.claim_key is None):
        raise ConfigError(["--claim-cert and --claim-key belong together"])
    for name in ("claim_cert", "ca", "wait"):
        if args.broker is None and getattr(args, name) not in (None, 60.0):
            raise ConfigError([f"--{name.replace('_', '-')}: is for --broker"])
    args.ca_fingerprint = [pin.replace(":", "").lower() for pin in args.ca_fingerprint]
    if any(not 16 <= len(pin) <= 64 or set(pin) - set("0123456789abcdef") for pin in args.ca_fingerprint):
        raise ConfigError(["--ca-fingerprint: expected 16 to 64 digits of a SHA-256 in hexadecimal"])


def _enrol(args: argparse.Namespace, site: "EnrolSite") -> int:
    from edge_agent.enrolment.checks import EnrolError  # noqa: PLC0415 -- as above

    held, waiting = _found(args, site)
    names = _names(args, site, waiting)
    who = (names.terminal, names.fleet)
    renew = _is_due(args, site, held) or (held is not None and (held.terminal, held.fleet) != who)
    asked = None if waiting is None else (waiting.request.terminal, waiting.request.fleet)
    by_hand = args.answer is not None or args.paste
    # What is kept was checked when it came; an answer that is given now counts more.
    if waiting is not None and waiting.answer is not None and asked == who and not by_hand:
        try:
            site.finish(waiting, waiting.answer, pins=args.ca_fingerprint)
        except EnrolError:
            if not args.renew:
                raise
        else:
            return _done(args, site, "went on where the last run ended")
    elif held is not None and waiting is None and not renew:
        return _nothing_to_do(args, site, held)
    attempt = site.enrolment.begin(names, anew=args.renew, rotate_tap_key=args.rotate_tap_key)
    if args.out is not None:
        _write_out(args.out, attempt.request.to_json() + b"\n")
    found = _answer(args, site, attempt)
    if found is None:
        return _show_request(args, site, attempt)
    site.finish(attempt, found, pins=args.ca_fingerprint, by_hand=by_hand)
    return _done(args, site, "")


def _names(args: argparse.Namespace, site: "EnrolSite", waiting: "Attempt | None") -> "Names":
    """Who this is. An answer is for whoever asked; else the request that waits tells what nobody has written down."""
    if waiting is None:
        return site.names(args.terminal, args.fleet)
    asked, by_hand = waiting.request, args.answer is not None or args.paste
    written = {} if by_hand else site.given
    return site.names(
        args.terminal or written.get("id") or asked.terminal, args.fleet or written.get("fleet") or asked.fleet
    )


def _found(args: argparse.Namespace, site: "EnrolSite") -> "tuple[InForce | None, Attempt | None]":
    """What holds and what waits; with --renew what is damaged counts for nothing."""
    from edge_agent.enrolment.checks import EnrolConfigError  # noqa: PLC0415 -- as above

    held: InForce | None = None
    waiting: Attempt | None = None
    try:
        held = site.enrolment.in_force()
        waiting = site.enrolment.waiting()
    except EnrolConfigError:
        if not args.renew:
            raise
    return held, waiting


def _is_due(args: argparse.Namespace, site: "EnrolSite", held: "InForce | None") -> bool:
    if held is None or args.renew or args.rotate_tap_key:
        return True
    now = site.now()
    if now is None:
        return False
    return held.certificate.days_left(now) < (args.renew_before or 0)


def _nothing_to_do(args: argparse.Namespace, site: "EnrolSite", held: "InForce") -> int:
    from edge_agent.enrolment.checks import EnrolError  # noqa: PLC0415 -- as above

    if args.answer is not None or args.paste:
        found = _read_answer(args)
        folder = site.store.numbers().get(held.number)
        if folder is None or found.id != site.store.load(folder).request.id:
            raise EnrolError(
                "no request waits for an answer, and this one is not to the last",
                remedy="ask first: `edge-agent enrol --renew`",
            )
    return _done(args, site, _ALREADY)


def _answer(args: argparse.Namespace, site: "EnrolSite", attempt: "Attempt") -> "Answer | None":
    from edge_agent.enrolment.answer import Refusal  # noqa: PLC0415 -- as above
    from edge_agent.enrolment.checks import EnrolError  # noqa: PLC0415 -- as above
    from edge_agent.sanitize import printable  # noqa: PLC0415 -- as above

    if args.answer is None and not args.paste and args.broker is None:
        return None
    found = _read_answer(args) if args.broker is None else site.ask(attempt, _Broker.of(args), wait_s=args.wait)
    if isinstance(found, Refusal):
        raise EnrolError(
            f"the fleet refuses this terminal: {printable(found.text, 200)} ({printable(found.code)})",
            remedy="tell the fleet's people; once they have put it right, run the same command again",
        )
    return found


@dataclass(frozen=True, slots=True)
class _Broker:
    """Where to ask, and as whom; None: as the certificate in force says."""

    host: str | None
    port: int
    claim: tuple[Path, Path] | None
    ca: Path | None

    @classmethod
    def of(cls, args: argparse.Namespace) -> "_Broker":
        host, port = host_and_port(args.broker, "--broker") if args.broker else (None, 0)
        claim = None if args.claim_cert is None else (args.claim_cert, args.claim_key)
        return cls(host, port, claim, args.ca)


def host_and_port(text: str, option: str) -> tuple[str, int]:
    """Take HOST, HOST:PORT or [IPV6]:PORT apart; the port is 8883 where none is given. Raises ConfigError."""
    host, _, port = text.rpartition(":") if text.count(":") == 1 or "]:" in text else (text, "", "8883")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65_535:
        raise ConfigError([f"{option}: got {text[:80]!r}, expected HOST or HOST:PORT"])
    return host, int(port)


def _read_answer(args: argparse.Namespace) -> "Answer | Refusal":
    from edge_agent.cli.paste import read_pasted  # noqa: PLC0415 -- as above
    from edge_agent.cli.public_key import read_limited  # noqa: PLC0415 -- as above
    from edge_agent.enrolment.answer import parse_answer  # noqa: PLC0415 -- as above
    from edge_agent.enrolment.checks import EnrolError  # noqa: PLC0415 -- as above
    from edge_agent.strict_json import WireError  # noqa: PLC0415 -- as above

    if args.paste:
        data = read_pasted("Paste the answer, then an empty line:", _MAX_PASTE)
    else:
        data = read_limited(str(args.answer), _MAX_PASTE)
    try:
        return parse_answer(data)
    except WireError as error:
        what = "what was pasted" if args.paste else str(args.answer)
        raise EnrolError(f"{what} is no answer: {error.text}", remedy="take the answer again, whole") from None


def _write_out(path: Path, content: bytes) -> None:
    from edge_agent.cli.public_key import CannotLook  # noqa: PLC0415 -- as above

    try:
        path.write_bytes(content)
    except OSError as error:
        raise CannotLook(
            f"{path} cannot be written: {error.strerror}", remedy="name a file in a writable folder"
        ) from None


def _show_request(args: argparse.Namespace, site: "EnrolSite", attempt: "Attempt") -> int:
    from edge_agent.cli import enrol_view  # noqa: PLC0415 -- as above

    if args.json:
        print(enrol_view.as_json(enrol_view.Standing(None, attempt, site.now(), "")))
    else:
        enrol_view.show_request(Paper(sys.stdout), attempt, qr=args.qr or sys.stdout.isatty(), out=args.out)
    return ExitCode.OK


def _done(args: argparse.Namespace, site: "EnrolSite", remark: str) -> int:
    from edge_agent.cli import enrol_view  # noqa: PLC0415 -- as above
    from edge_agent.cli.enrol_site import EnrolSite  # noqa: PLC0415 -- as above

    site = EnrolSite.of(args.config, os.environ, root=Path("/"))  # as the configuration is now
    held = site.enrolment.in_force()
    fresh = remark != _ALREADY
    found = enrol_view.Standing(held, None, site.now(), site.overridden(), remark, fresh)
    if args.json:
        print(enrol_view.as_json(found))
    else:
        enrol_view.show(Paper(sys.stdout), found)
    return ExitCode.OK


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value <= 86_400:
        raise argparse.ArgumentTypeError("expected 1 to 86400 seconds")
    return value


def days(text: str) -> int:
    """Take the number of days of an option; raises ArgumentTypeError."""
    if not re.fullmatch("[0-9]{1,4}", text) or not 1 <= int(text) <= 3650:
        raise argparse.ArgumentTypeError("expected 1 to 3650 days")
    return int(text)
