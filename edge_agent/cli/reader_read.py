"""`edge-agent reader read`: what is in the field of a reader, for a phone "that does nothing". No tap comes of it.

The running agent lends its reader meanwhile. Neither a UID nor a nonce is shown, and no payment application selected.
"""

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from edge_agent.cli.commands import Commands, add_config, add_json, load_config
from edge_agent.cli.render import Paper
from edge_agent.errors import EdgeAgentError, ExitCode
from edge_agent.sanitize import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.cli.borrowing import Borrowed
    from edge_agent.readers.base import ReaderInfo
    from edge_agent.readers.raw_picture import Picture, Selected, Verdict

WAIT_S, LONGEST_WAIT_S = 20.0, 45.0
"""The agent lends its reader for a minute at most."""


def add_part(parts: Commands) -> None:
    """Declare it."""
    parser = parts.add_parser(
        "read",
        help="say what is in the field: for a phone that does nothing",
        description="Wait for a phone or card and say what it is and what it answers: technology, ATQA, SAK, ATS, the "
        "answer to SELECT of each configured application. It makes no tap. The running agent lends its reader "
        "meanwhile, and the screens rest. Exit status: 0 a phone with the tap app, 1 anything else, 3 the agent does "
        "not let the reader go.",
    )
    parser.add_argument("--reader", metavar="NAME", help="which reader (default: the first)")
    parser.add_argument(
        "--wait",
        type=_seconds,
        default=WAIT_S,
        metavar="SECONDS",
        help=f"how long to wait for it, 1 to {LONGEST_WAIT_S:.0f} (default: %(default)g)",
    )
    add_config(parser)
    add_json(parser)
    parser.set_defaults(usage_error=parser.error)


def run(args: argparse.Namespace) -> int:
    """Wait, ask, print. Raises ControlError, ReaderError, ConfigError."""
    import asyncio  # noqa: PLC0415 -- with the drivers, for this part alone

    from edge_agent.readers.raw_picture import verdict_of  # noqa: PLC0415 -- as above

    picture, info, loan = asyncio.run(_read(args))
    verdict = verdict_of(picture)
    if args.json:
        print(json.dumps(_as_dict(picture, verdict)))
    else:
        _show(Paper(sys.stdout), picture, verdict, info, loan)
    return ExitCode.OK if verdict.good else ExitCode.PROBLEM


async def _read(args: argparse.Namespace) -> "tuple[Picture | None, ReaderInfo, Borrowed]":
    from edge_agent.cli.borrowing import borrowed  # noqa: PLC0415 -- as above
    from edge_agent.clock import SystemClock  # noqa: PLC0415 -- as above
    from edge_agent.hardware import real_reader  # noqa: PLC0415 -- as above
    from edge_agent.readers.raw_read import look  # noqa: PLC0415 -- as above

    settings = load_config(args.config).settings
    wanted = _chosen(args, settings)
    clock = SystemClock()
    reader = real_reader(wanted, clock)
    if reader is None:
        raise EdgeAgentError(f"{wanted.name} is simulated: nothing is in its field", remedy="edge-agent tap simulate")
    aids = tuple(bytes.fromhex(aid) for aid in settings.exchange.aids)
    async with borrowed(settings.control.socket, wanted.name) as loan:
        try:
            info = await reader.open()
            _say(f"hold the phone to {wanted.name} now, and keep it there: {args.wait:.0f} s at most")
            picture = await look(reader, aids, args.wait, clock)
            loan.empty = picture is None
        finally:
            await reader.close()
    return picture, info, loan


def _chosen(args: argparse.Namespace, settings: Any) -> Any:
    readers = {reader.name: reader for reader in settings.readers}
    if not readers:
        raise EdgeAgentError("no reader is configured", remedy="find one: edge-agent reader probe")
    name = args.reader or next(iter(readers))
    if name not in readers:
        args.usage_error(f"there is no reader {name!r}; there are {', '.join(readers)}")
    return readers[name]


def _show(paper: Paper, picture: "Picture | None", verdict: "Verdict", info: "ReaderInfo", loan: "Borrowed") -> None:
    for line in _wrapped(paper, verdict.text):
        paper.print(paper.paint(line, "good" if verdict.good else "warn"))
    paper.print()
    lent = ", lent by the running agent, which has it back" if loan.of_agent else ""
    rows = [("reader", f"{printable(info.chip, 60)} at {printable(info.device, 80)}{lent}")]
    paper.fields(rows + list(_rows(picture)))
    paper.print()
    paper.wrapped(f"Next: {verdict.next}.")


def _wrapped(paper: Paper, text: str) -> list[str]:
    import textwrap  # noqa: PLC0415 -- for the one line that may be too long

    return textwrap.wrap(printable(text, limit=300), paper.width, break_on_hyphens=False)


def _rows(picture: "Picture | None") -> "Iterator[tuple[str, str]]":
    from edge_agent.readers.raw_picture import ats_words, sak_words, uid_words  # noqa: PLC0415 -- as above

    if picture is None:
        return
    yield "technology", "ISO/IEC 14443 Type A" + (", ISO-DEP" if picture.kind == "iso_dep" else "")
    if picture.atqa is not None:
        yield "ATQA", f"{picture.atqa:04X}"
    yield "SAK", f"{picture.sak:02X}: {sak_words(picture.sak)}"
    yield "UID", uid_words(picture.uid_bytes, random=picture.uid_random)
    if picture.ats:
        yield "ATS", f"{picture.ats.hex().upper()}: {ats_words(picture.ats)}"
    for one in picture.selects:
        yield "SELECT", f"{one.aid.hex().upper()}: {_answer(one)}"
    if picture.ndef is not None:
        what = "it behaves as a Type 4 tag, too" if picture.ndef.sw == 0x9000 else _answer(picture.ndef)
        yield "NDEF", what


def _answer(one: "Selected") -> str:
    if one.sw is None:
        return printable(one.words, limit=200)
    version = f", contract version {one.version}" if one.version is not None else ""
    return f"{one.sw:04X} {printable(one.words, limit=200)}{version}, in {one.ms:.1f} ms"


def _as_dict(picture: "Picture | None", verdict: "Verdict") -> dict[str, object]:
    told: dict[str, object] = {"verdict": verdict.id, "text": verdict.text, "next": verdict.next, "good": verdict.good}
    if picture is None:
        return told | {"seen": None}
    return told | {
        "seen": {
            "technology": picture.kind.value,
            "atqa": None if picture.atqa is None else f"{picture.atqa:04X}",
            "sak": f"{picture.sak:02X}",
            "uid_bytes": picture.uid_bytes or None,
            "uid_random": picture.uid_random,
            "ats": picture.ats.hex().upper() or None,
            "selects": [_select_dict(one) for one in picture.selects],
            "ndef": None if picture.ndef is None else _select_dict(picture.ndef),
            "lost": picture.lost or None,
        }
    }


def _select_dict(one: "Selected") -> dict[str, object]:
    sw = None if one.sw is None else f"{one.sw:04X}"
    return {"aid": one.aid.hex().upper(), "sw": sw, "text": one.words, "version": one.version, "ms": one.ms}


def _say(text: str) -> None:
    """For the person who waits; nothing where nobody looks."""
    if sys.stderr.isatty():
        Paper(sys.stderr).wrapped(text, kind="dim")
        sys.stderr.flush()


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 1 <= value <= LONGEST_WAIT_S:  # NaN is not
        raise argparse.ArgumentTypeError(f"a number of seconds, 1 to {LONGEST_WAIT_S:.0f}")
    return value
