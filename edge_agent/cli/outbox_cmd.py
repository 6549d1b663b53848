"""`edge-agent outbox stats|list|export|verify|resend`: what waits in a terminal, and what to do about it.

Asks the running agent, or reads its file while none runs; only `resend` changes anything, and only in a running agent.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.cli.commands import COMMANDS, DEFAULT_CONFIG, Commands, add_json, load_config
from edge_agent.cli.render import Paper, counted
from edge_agent.errors import ExitCode

if TYPE_CHECKING:
    from edge_agent.cli.outbox_agent import Source
    from edge_agent.cli.outbox_check import Signed
    from edge_agent.cli.outbox_verify import Verdict
    from edge_agent.outbox.base import RowRange

_STATES = ("pending", "sent", "stored", "parked")
_LIMIT = 50


def add_parser(commands: Commands) -> None:
    """Declare the command and its parts."""
    parser = commands.add_parser(
        "outbox",
        help=COMMANDS["outbox"].help,
        description="Look into the outbox, where every tap is kept until the cloud has it. Asks the running agent; "
        "reads the file itself while none runs. Exit status: 0 healthy, 1 problem, 3 could not look.",
    )
    parts = parser.add_subparsers(dest="part", metavar="PART", required=True, title="parts")
    stats = parts.add_parser("stats", help="count the taps and the bytes, say what is wrong")
    listed = parts.add_parser("list", help="list taps, oldest first")
    listed.add_argument("--state", choices=_STATES, help="only those; parked: refused for good")
    listed.add_argument("--limit", type=_positive, default=_LIMIT, metavar="N", help="at most N (default: %(default)s)")
    export = parts.add_parser("export", help="write what the cloud may not have to a file, to be carried there")
    export.add_argument("out", type=Path, metavar="FILE", help="read there by `edge-agent receive --import FILE`")
    export.add_argument("--all", action="store_true", help="with the taps that the cloud is known to have")
    export.add_argument("--force", action="store_true", help="replace FILE if it is there")
    verify = parts.add_parser("verify", help="check every signature and that no tap is missing")
    verify.add_argument(
        "--key",
        type=Path,
        action="append",
        metavar="FILE",
        help="output of `edge-agent keys show --json`; once for each key that the terminal had",
    )
    resend = parts.add_parser("resend", help="have taps sent again that were sent, stored or parked")
    which = resend.add_mutually_exclusive_group(required=True)
    which.add_argument("--chain", type=_chain, metavar="HEX", help="rows of this chain; needs --from and --to")
    which.add_argument("--parked", action="store_true", help="all that were refused for good")
    which.add_argument("--all-sent", action="store_true", help="all that were sent and not confirmed")
    resend.add_argument("--from", dest="first", type=_positive, metavar="N", help="first seq")
    resend.add_argument("--to", dest="last", type=_positive, metavar="N", help="last seq")
    for part in (stats, listed, export, verify, resend):
        part.add_argument("--socket", type=Path, metavar="PATH", help="control socket, instead of the configured one")
        part.add_argument("--file", type=Path, metavar="DB", help="look into this file, asking no agent")
        part.add_argument(
            "--config", type=Path, metavar="CONF", help=f"configuration that names both (default: {DEFAULT_CONFIG})"
        )
        add_json(part)
    resend.set_defaults(usage_error=resend.error)


def run(args: argparse.Namespace) -> int:
    """Run one part; raises ControlError, CannotLook or OutboxError."""
    if args.part == "resend" and (args.chain is not None) != (args.first is not None and args.last is not None):
        args.usage_error("--chain, --from and --to belong together")
    if args.part == "resend" and args.chain is not None and args.first > args.last:
        args.usage_error("--from is behind --to")

    from edge_agent.cli.outbox_source import find_source  # noqa: PLC0415 -- sqlite3, cryptography: slow to import

    parts = {"stats": _stats, "list": _list, "export": _export, "verify": _verify, "resend": _resend}
    return parts[args.part](args, find_source(args))


def _stats(args: argparse.Namespace, source: "Source") -> int:
    from edge_agent.cli import outbox_view as view  # noqa: PLC0415 -- as above
    from edge_agent.cli.outbox_source import rows_of  # noqa: PLC0415 -- as above

    facts = source.facts()
    first = next((one for one in source.ranges() if one.state in ("pending", "leased")), None)
    row = next(rows_of(source, [first]), None) if first is not None else None
    since = view.seen(row).iat if row is not None else None
    if args.json:
        print(json.dumps(view.stats_json(facts, since, live=source.live)))
    else:
        view.print_stats(Paper(sys.stdout), facts, since, source.where, time.time(), live=source.live)
    return ExitCode.PROBLEM if view.troubles(facts.stats) else ExitCode.OK


def _list(args: argparse.Namespace, source: "Source") -> int:
    from edge_agent.cli import outbox_view as view  # noqa: PLC0415 -- as above
    from edge_agent.cli.outbox_source import rows_of  # noqa: PLC0415 -- as above

    wanted = [one for one in source.ranges() if _is_in(one, args.state)]
    total = sum(one.last - one.first + 1 for one in wanted)
    states = {one.state for one in wanted}
    rows = []
    for row in rows_of(source, wanted):
        if row.state in states:
            rows.append(view.seen(row))
        if len(rows) == args.limit:
            break
    if args.json:
        print(json.dumps({"rows": [row.as_json() for row in rows], "total": total}))
        return ExitCode.OK
    paper, now = Paper(sys.stdout), time.time()
    rows_word = f"{args.state + ' ' if args.state else ''}row{'' if total == 1 else 's'}"
    paper.print(f"{len(rows):,} of {total:,} {rows_word}" if len(rows) < total else f"{total:,} {rows_word}")
    view.print_rows(paper, rows, now)
    paper.print()
    paper.wrapped(f"Next: {_after_list(shown=len(rows), total=total, parked='parked' in states)}")
    return ExitCode.OK


def _after_list(*, shown: int, total: int, parked: bool) -> str:
    if shown < total and not parked:
        return f"see more of them: --limit {total}"
    if parked:
        return "once the cause is gone: edge-agent outbox resend --parked"
    return "nothing to do."


def _is_in(one: "RowRange", state: str | None) -> bool:
    if state == "pending":
        return one.state in ("pending", "leased")
    return one.state == state if state else one.state != "gone"


def _export(args: argparse.Namespace, source: "Source") -> int:
    from edge_agent.cli.outbox_export import export  # noqa: PLC0415 -- as above
    from edge_agent.cli.outbox_verify import progress_line  # noqa: PLC0415 -- as above
    from edge_agent.cli.outbox_view import size_text  # noqa: PLC0415 -- as above

    stats = source.facts().stats
    with progress_line(stats.pending + stats.leased + stats.sent + stats.parked) as progress:
        done = export(source, args.out, whole=args.all, force=args.force, progress=progress)
    if args.json:
        print(json.dumps(done.as_json()))
        return ExitCode.PROBLEM if done.left_out else ExitCode.OK
    paper = Paper(sys.stdout)
    found = ((done.taps, "tap"), (done.gaps, "gap record"), (done.checkpoints, "checkpoint"))
    paper.wrapped(f"{done.file}: {', '.join(counted(*one) for one in found)} ({size_text(done.bytes)})")
    if done.left_out:
        paper.wrapped(f"{done.left_out:,} rows were left out: they hold no token. See: edge-agent outbox verify")
    paper.print()
    paper.wrapped(
        f"Next: carry it to the receiver and run there: edge-agent receive --import {args.out.name}. The taps stay "
        "here, and are sent as well when there is a network: the receiver keeps each once."
    )
    return ExitCode.PROBLEM if done.left_out else ExitCode.OK


def _verify(args: argparse.Namespace, source: "Source") -> int:
    from edge_agent.cli.outbox_verify import progress_line, verify  # noqa: PLC0415 -- as above

    facts = source.facts()
    stats = facts.stats
    total = stats.pending + stats.leased + stats.sent + stats.stored + stats.parked
    with progress_line(total) as progress:
        found = verify(source, _signed(args, facts.fleet, facts.terminal), facts.head, progress)
    if args.json:
        print(json.dumps(found.as_json()))
        return ExitCode.PROBLEM if found.broken else ExitCode.OK
    paper = Paper(sys.stdout)
    looked = f"{counted(found.rows, 'row')} in {counted(found.chains, 'chain')}"
    if found.broken:
        paper.wrapped(f"{facts.terminal}: BROKEN, {found.broken} (chain {found.chain})", kind="bad")
    else:
        told = f", {found.given_up:,} given up and told" if found.given_up else ""
        paper.wrapped(f"{facts.terminal}: HOLDS, {looked}, every signature and link{told}", kind="good")
    paper.print()
    paper.fields(
        [
            ("looked at", looked),
            ("keys" if len(found.kids) > 1 else "key", ", ".join(found.kids)),
            ("read from", source.where),
        ]
    )
    paper.print()
    paper.wrapped(f"Next: {_after_verify(found)}")
    return ExitCode.PROBLEM if found.broken else ExitCode.OK


def _after_verify(found: "Verdict") -> str:
    if found.other_key:
        return "if the terminal had another key before, name all of them: --key FILE --key FILE."
    if found.broken:
        return "keep a copy of the file for whoever looks into it, and look into the kernel log."
    return "nothing to do."


def _signed(args: argparse.Namespace, fleet: str, terminal: str) -> "Signed":
    from edge_agent.cli.outbox_check import Signed  # noqa: PLC0415 -- as above
    from edge_agent.cli.public_key import read_public_key  # noqa: PLC0415 -- as above
    from edge_agent.tokens.keyring import load_key_file  # noqa: PLC0415 -- as above

    if args.key:
        keys = [read_public_key(path) for path in args.key]
    else:
        keys = [load_key_file(load_config(args.config or DEFAULT_CONFIG).settings.keys.path).public]
    return Signed({key.kid: key for key in keys}, fleet, terminal)


def _resend(args: argparse.Namespace, source: "Source") -> int:
    if args.chain is not None:
        wanted = [(args.chain, args.first, args.last)]
    else:
        state = "parked" if args.parked else "sent"
        wanted = [(one.chain, one.first, one.last) for one in source.ranges() if one.state == state]
    requeued = pending = gone = 0
    for chain, first, last in wanted:
        again = source.resend(chain, first, last)
        requeued, pending, gone = requeued + again.requeued, pending + again.pending, gone + again.gone
    if args.json:
        print(json.dumps({"requeued": requeued, "pending": pending, "gone": gone}))
        return ExitCode.OK
    paper = Paper(sys.stdout)
    paper.print(
        f"{counted(requeued, 'row')} to be sent again, {pending:,} waiting anyway, {gone:,} not here (any more)"
    )
    paper.print()
    paper.print(f"Next: {'watch them go: edge-agent outbox stats' if requeued else 'nothing to do.'}")
    return ExitCode.OK


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def _chain(text: str) -> bytes:
    try:
        chain = bytes.fromhex(text)
    except ValueError:
        chain = b""
    if len(chain) != 8:
        raise argparse.ArgumentTypeError("a chain is 16 hex digits, as in `edge-agent outbox list`")
    return chain
