"""`edge-agent ticket`: what a ticket that a phone brought is worth, and redeeming it in the receiver's ledger.

The first line is the verdict. It makes no ledger: on a new one every ticket would buy again.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_agent.cli.commands import COMMANDS, Commands, add_json, load_config
from edge_agent.cli.public_key import CannotLook, read_limited
from edge_agent.cli.render import Paper
from edge_agent.errors import ExitCode

if TYPE_CHECKING:
    from edge_agent.cloud.keyset import KeySet
    from edge_agent.cloud.redeeming import Redeemed
    from edge_agent.cloud.tickets import TicketJudgement
    from edge_agent.config.sections import Receiver

_MAX_REGISTRY_BYTES = 512 * 1024 * 1024
_MAX_TICKET_BYTES = 4096
_OPTIONS = ("ledger", "keys", "ticket_quota", "ticket_window_s", "ticket_wait_s")
"""Keys of [receiver] that an option stands for."""
_CALM = {"fresh": "good", "granted": "good", "granted_on_quota": "good", "pending": "warn"}


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "ticket", help=COMMANDS["ticket"].help, description="Tickets that phones read from us."
    )
    parts = parser.add_subparsers(dest="part", metavar="PART", required=True, title="parts")
    verify = parts.add_parser(
        "verify",
        help="check one ticket, without a ledger",
        description="Check the signature and the time of a ticket. Exit status 1 unless it is fresh.",
    )
    _add_ticket(verify)
    verify.add_argument("--keys", type=Path, metavar="FILE", required=True, help="key registry of the receiver (JSON)")
    add_json(verify)
    redeem = parts.add_parser(
        "redeem",
        help="redeem one ticket in the receiver's ledger",
        description="Redeem a ticket for an account, once. Who asked first asks again to learn what became of a "
        "pending one. Exit status 1 unless it is granted.",
    )
    _add_ticket(redeem)
    redeem.add_argument(
        "--who", type=_who, metavar="ID", required=True, help="account that gets the reward, 1-64 characters"
    )
    redeem.add_argument("--config", type=Path, metavar="FILE", help="take [receiver] from this file; an option wins")
    redeem.add_argument("--ledger", type=Path, metavar="FILE", help="ledger of `edge-agent receive`")
    redeem.add_argument("--keys", type=Path, metavar="FILE", help="key registry (JSON)")
    redeem.add_argument(
        "--quota",
        dest="ticket_quota",
        type=_count,
        metavar="N",
        help="grants of one terminal before it has reported the reads (default: 3; 0: always wait for the terminal)",
    )
    redeem.add_argument(
        "--window",
        dest="ticket_window_s",
        type=_seconds,
        metavar="SECONDS",
        help="time that the quota is for (default: 3600)",
    )
    redeem.add_argument(
        "--wait",
        dest="ticket_wait_s",
        type=_seconds,
        metavar="SECONDS",
        help="how late the terminal's report may come (default: 604800)",
    )
    add_json(redeem)


def run(args: argparse.Namespace) -> int:
    """Judge or redeem; 0 for fresh and granted, 1 for everything else."""
    if args.ticket == "-":
        text = read_limited("-", _MAX_TICKET_BYTES).decode("utf-8", "replace").strip()
    else:
        text = args.ticket
    return _verify(args, text) if args.part == "verify" else _redeem(args, text)


def _add_ticket(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ticket", metavar="URL|-", help="the link or its ticket alone; - reads standard input")


def _verify(args: argparse.Namespace, text: str) -> int:
    import time  # noqa: PLC0415 -- the heavy half of the command

    from edge_agent.cloud.tickets import TicketVerdict, verify_ticket  # noqa: PLC0415 -- cryptography is slow to import

    judgement = verify_ticket(text, now=time.time(), keys=_keys(args.keys).lookup)
    _show(args, judgement.verdict.value, judgement.reason, {"verdict": judgement.verdict.value}, judgement)
    return ExitCode.OK if judgement.verdict is TicketVerdict.FRESH else ExitCode.PROBLEM


def _redeem(args: argparse.Namespace, text: str) -> int:
    import asyncio  # noqa: PLC0415 -- the heavy half of the command

    redeemed = asyncio.run(_redeemed(args, text))
    answer = redeemed.answer
    words = {"outcome": answer.outcome.value, "verdict": answer.verdict.value, "who": args.who}
    refused = answer.outcome.value == "refused"
    said = f"refused, {answer.verdict.value}" if refused else answer.outcome.value
    _show(args, said, answer.reason, words, redeemed.judgement)
    return ExitCode.OK if answer.granted else ExitCode.PROBLEM


async def _redeemed(args: argparse.Namespace, text: str) -> "Redeemed":
    import time  # noqa: PLC0415 -- as above

    from edge_agent.cloud.base import LedgerError  # noqa: PLC0415 -- as above
    from edge_agent.cloud.ledger import SqliteLedger  # noqa: PLC0415 -- as above
    from edge_agent.cloud.redeeming import redeem_ticket  # noqa: PLC0415 -- as above
    from edge_agent.cloud.witness import OfflineQuota, WitnessPolicy  # noqa: PLC0415 -- as above

    section = _section(args)
    path = section.ledger
    keys = _keys(section.keys)
    if not _holds_something(path):
        raise CannotLook(f"there is no ledger at {path}", remedy="name the one that `edge-agent receive` writes")
    policy = WitnessPolicy(OfflineQuota(section.ticket_quota, section.ticket_window_s), section.ticket_wait_s)
    ledger = SqliteLedger(path)
    try:
        await ledger.open()
        return await redeem_ticket(text, args.who, now=time.time(), keys=keys.lookup, ledger=ledger, policy=policy)
    except LedgerError as error:
        raise CannotLook(error.text, remedy=error.remedy or "ask again: nothing is known to be granted") from error
    finally:
        await ledger.close()


def _section(args: argparse.Namespace) -> "Receiver":
    """[receiver] with the options, which win over the configuration, which wins over its defaults."""
    from edge_agent.config.sections import Receiver  # noqa: PLC0415 -- pydantic is slow to import

    section = Receiver() if args.config is None else load_config(args.config).settings.receiver
    given = {name: getattr(args, name) for name in _OPTIONS if getattr(args, name) is not None}
    return section.model_copy(update=given)


def _holds_something(path: Path) -> bool:
    """False where the ledger would be made, also out of an empty file; raises CannotLook."""
    try:
        return path.is_file() and path.stat().st_size > 0
    except OSError as error:
        raise CannotLook(f"{path} cannot be read: {error.strerror}") from None


def _keys(path: Path) -> "KeySet":
    """Read the registry; raises CannotLook for a file that cannot be read, ConfigError for a wrong one."""
    from edge_agent.cloud.keyset import KeySet  # noqa: PLC0415 -- pydantic is slow to import

    return KeySet.from_json(read_limited(str(path), _MAX_REGISTRY_BYTES), str(path))


def _show(
    args: argparse.Namespace, said: str, reason: str, words: dict[str, str], judgement: "TicketJudgement"
) -> None:
    ticket = judgement.ticket
    if args.json:
        line: dict[str, Any] = {
            **words,
            "reason": reason,
            "fleet": judgement.fleet,
            "terminal": judgement.terminal,
            "host": judgement.host,
            "kid": None if ticket is None else ticket.kid.hex(),
            "nonce": None if ticket is None else ticket.nonce.hex(),
            "iat": None if ticket is None else ticket.iat,
            "exp": None if ticket is None else ticket.exp,
        }
        print(json.dumps(line))
        return
    paper = Paper(sys.stdout)
    paper.wrapped(f"{said}: {reason}", kind=_CALM.get(said, "bad"))
    if ticket is not None:
        rows = [
            ("terminal", f"{judgement.fleet}/{judgement.terminal}, key {ticket.kid.hex()}"),
            ("issued", f"{_moment(ticket.iat)}, for {ticket.ttl} s"),
            ("nonce", ticket.nonce.hex()),
        ]
        paper.print()
        paper.fields(rows)


def _moment(unix: int) -> str:
    from datetime import UTC, datetime  # noqa: PLC0415 -- only for people

    return f"{datetime.fromtimestamp(unix, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _who(text: str) -> str:
    from edge_agent.cloud.witness import check_who  # noqa: PLC0415 -- the cloud half

    try:
        return check_who(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _count(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 6:
        raise argparse.ArgumentTypeError("expected a number from 0 to 999999")
    return int(text)


def _seconds(text: str) -> int:
    number = _count(text) if len(text) <= 6 else 0
    if number == 0:
        raise argparse.ArgumentTypeError("expected a number of seconds from 1 to 999999")
    return number
