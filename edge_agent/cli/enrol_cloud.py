"""`edge-agent enrol sign|serve`: the fleet's side of an enrolment, a reference to run or to learn from.

`sign` answers one request that a person has looked at; `serve` answers those of expected terminals over MQTT.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.cli.render import Paper
from edge_agent.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from edge_agent.cloud.enrolling import Desk
    from edge_agent.uplink.base import LinkSettings

_MAX_REQUEST = 8 * 1024


def add_parts(parts: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the two parts."""
    from edge_agent.cli.enrol_cmd import days  # noqa: PLC0415 -- it imports this module

    sign = parts.add_parser(
        "sign",
        help="fleet: answer one request",
        description="Register the signing key of a request and issue its certificate, because you have looked at it.",
    )
    sign.add_argument("request", metavar="FILE|-", help="the request: its file or its line; - reads standard input")
    sign.add_argument("--broker", required=True, metavar="HOST[:PORT]", help="broker that the terminal shall use")
    sign.add_argument("--broker-ca", type=Path, metavar="FILE", help="PEM file of the authorities of that broker")
    sign.add_argument("--replace", action="store_true", help="let a new board take the place of an enrolled terminal")
    sign.add_argument("--out", type=Path, metavar="FILE", help="write the answer to a file, too")
    sign.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="the answer as one object")
    serve = parts.add_parser(
        "serve",
        help="fleet: answer the requests of expected terminals over MQTT",
        description="Answer requests until told to stop. The list of terminals is read anew for each.",
    )
    serve.add_argument("--expect", type=Path, required=True, metavar="FILE", help="expected terminals, one a line")
    serve.add_argument("--fleet", default=argparse.SUPPRESS, metavar="ID", help="answer in one fleet only")
    serve.add_argument("--broker", required=True, metavar="HOST[:PORT]", help="broker to listen on")
    serve.add_argument("--broker-ca", type=Path, metavar="FILE", help="PEM file of the authorities of the broker")
    serve.add_argument("--cert", type=Path, metavar="FILE", help="PEM file of our certificate for that broker")
    serve.add_argument("--cert-key", type=Path, metavar="FILE", help="PEM file of its private key")
    serve.add_argument(
        "--tell-broker", metavar="HOST[:PORT]", help="broker that the terminals shall use (default: the same)"
    )
    for part in (sign, serve):
        part.add_argument("--ca-cert", type=Path, required=True, metavar="FILE", help="the terminals' authority, PEM")
        part.add_argument("--ca-key", type=Path, required=True, metavar="FILE", help="its private key, mode 0600")
        part.add_argument(
            "--keys", type=Path, required=True, metavar="FILE", help="key registry of the receiver (JSON)"
        )
        part.add_argument("--issued", type=Path, required=True, metavar="FOLDER", help="where given answers are kept")
        part.add_argument("--days", type=days, default=365, help="how long a certificate is good (default: 365)")


def run(args: argparse.Namespace) -> int:
    """Answer one request, or many; 1 for a request that is refused."""
    return _sign(args) if args.part == "sign" else _serve(args)


def _sign(args: argparse.Namespace) -> int:
    from edge_agent.cli.public_key import read_limited  # noqa: PLC0415 -- the heavy half
    from edge_agent.enrolment.answer import Answer  # noqa: PLC0415 -- as above
    from edge_agent.enrolment.checks import EnrolError  # noqa: PLC0415 -- as above
    from edge_agent.enrolment.request import parse_request  # noqa: PLC0415 -- as above
    from edge_agent.enrolment.x509 import parse_certificates  # noqa: PLC0415 -- as above
    from edge_agent.strict_json import WireError  # noqa: PLC0415 -- as above

    try:
        request = parse_request(read_limited(args.request, _MAX_REQUEST))
    except WireError as error:
        raise EnrolError(f"{args.request} is no request: {error.text}", remedy="take it again, whole") from None
    desk = _desk(args, args.broker)
    try:
        answer = desk.answer(request, now=time.time(), replace=args.replace)
    except OSError as error:
        raise EnrolError(
            f"{args.keys} or {args.issued} cannot be written: {error.strerror}",
            remedy="nothing was answered; give this user the right to write there, and the disk free space",
        ) from None
    if not isinstance(answer, Answer):
        new_board = desk.is_new_board(request)
        raise EnrolError(
            answer.text,
            remedy="--replace lets a new board take the place of the old one"
            if new_board
            else "move the terminal's signing key away, and have it ask again with a new one",
        )
    if args.out is not None:
        try:
            args.out.write_bytes(answer.to_json() + b"\n")
        except OSError as error:
            raise EnrolError(
                f"{args.out} cannot be written: {error.strerror}",
                remedy="name a file in a writable folder; the same request gets the same certificate again",
            ) from None
    if args.json:
        print(answer.to_json().decode("utf-8"))
        return ExitCode.OK
    paper = Paper(sys.stdout)
    paper.print(f"{request.terminal}: {paper.paint('enrolled', 'good')}")
    paper.print()
    rows = [("fleet", request.fleet), ("board", request.serial or "says no serial number")]
    rows.append(("signing key", f"{request.tap_key.kid.hex()}, registered in {args.keys}"))
    # For --ca-fingerprint: it is told by another way than the answer.
    rows += [("authority", found.fingerprint) for found in parse_certificates(answer.ca.encode("ascii"))]
    paper.fields(rows)
    paper.print()
    paper.print(answer.to_line())
    paper.print()
    paper.wrapped(
        "Next: have the receiver read its registry (SIGHUP), and give this line or the file of --out to the "
        "technician: edge-agent enrol --paste"
    )
    return ExitCode.OK


def _serve(args: argparse.Namespace) -> int:
    import asyncio  # noqa: PLC0415 -- only to serve

    from edge_agent import logs  # noqa: PLC0415 -- as above
    from edge_agent.cloud.enrolling import read_expected  # noqa: PLC0415 -- as above

    if (args.cert is None) != (args.cert_key is None):
        raise ConfigError(["--cert and --cert-key belong together"])
    read_expected(args.expect)
    desk = _desk(args, args.tell_broker or args.broker)
    logs.configure("info", "auto")
    asyncio.run(_listen(args, desk))
    return ExitCode.OK


async def _listen(args: argparse.Namespace, desk: "Desk") -> None:
    import asyncio  # noqa: PLC0415 -- as above
    import signal  # noqa: PLC0415 -- as above

    from edge_agent.cloud.enrol_service import EnrolService  # noqa: PLC0415 -- as above

    service = EnrolService(
        desk, _link(args), expected=args.expect, fleet=getattr(args, "fleet", None) or "+", wall=time.time
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, service.stop)
    await service.run()


def _link(args: argparse.Namespace) -> "LinkSettings":
    import socket  # noqa: PLC0415 -- as above

    from edge_agent.cli.enrol_cmd import host_and_port  # noqa: PLC0415 -- as above
    from edge_agent.uplink.base import LinkSettings, TlsSettings  # noqa: PLC0415 -- as above

    host, port = host_and_port(args.broker, "--broker")
    tls = TlsSettings(args.broker_ca, args.cert, args.cert_key)
    return LinkSettings(host, port, client_id=f"enrol-desk-{socket.gethostname()}", tls=tls)


def _desk(args: argparse.Namespace, broker: str) -> "Desk":
    from edge_agent.cli.enrol_cmd import host_and_port  # noqa: PLC0415 -- as above
    from edge_agent.cloud.authority import Authority  # noqa: PLC0415 -- as above
    from edge_agent.cloud.enrolling import Desk, Terms  # noqa: PLC0415 -- as above

    authority = Authority.load(args.ca_cert, args.ca_key)
    host, port = host_and_port(broker, "--broker")
    terms = Terms(host, port, _pem(args.broker_ca), days=args.days)
    for folder in (args.issued, args.keys.absolute().parent):
        if not folder.is_dir():
            raise ConfigError([f"{folder}: is no folder, expected one that can be written"])
    return Desk(authority, terms, keys=args.keys, issued=args.issued)


def _pem(path: Path | None) -> str:
    if path is None:
        return ""
    from edge_agent.enrolment.x509 import pem_of, read_certificates  # noqa: PLC0415 -- as above

    return pem_of(read_certificates(path)).decode("ascii")
