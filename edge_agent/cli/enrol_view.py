"""What `edge-agent enrol` says: the verdict first, the next step last; the request as text and as a QR code."""

import datetime as dt
import json
from dataclasses import dataclass
from pathlib import Path

from edge_agent.cli.render import Paper
from edge_agent.enrolment.enrol import InForce
from edge_agent.enrolment.store import Attempt

SOON_DAYS = 30
_MARGIN = 2
_RESTART = "sudo systemctl restart edge-agent"


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stand; ``now`` is None where the clock is not set."""

    held: InForce | None
    waiting: Attempt | None
    now: float | None
    overridden: str
    remark: str = ""
    fresh: bool = False
    """Put in force just now: an agent that runs does not know of it."""

    @property
    def days(self) -> int | None:
        """Days left of the certificate; None if that is not known."""
        return None if self.held is None or self.now is None else self.held.certificate.days_left(self.now)

    @property
    def verdict(self) -> str:
        """One stable word."""
        if self.held is None:
            return "not_enrolled" if self.waiting is None else "waiting"
        if self.now is None or self.days is None:
            return "enrolled"
        if not self.held.certificate.is_valid_at(self.now):
            return "expired" if self.now > self.held.certificate.not_after else "not_valid_yet"
        return "expires_soon" if self.days < SOON_DAYS else "enrolled"

    @property
    def is_well(self) -> bool:
        """Nothing is to be done."""
        return self.verdict == "enrolled" and self.waiting is None and not self.overridden


def as_json(found: Standing) -> str:
    """Return one object: state, who, certificate, and the request that waits."""
    value: dict[str, object] = {"state": found.verdict, "clock_set": found.now is not None}
    if found.held is not None:
        held, certificate = found.held, found.held.certificate
        value |= {
            "terminal": held.terminal,
            "fleet": held.fleet,
            "kid": held.kid,
            "broker": {"host": held.host, "port": held.port},
            "certificate": {
                "subject": certificate.subject,
                "issuer": certificate.issuer,
                "not_before": certificate.not_before,
                "not_after": certificate.not_after,
                "fingerprint": certificate.fingerprint,
                "days_left": found.days,
            },
        }
    if found.overridden:
        value["overridden"] = found.overridden
    if found.waiting is not None:
        value["request"] = json.loads(found.waiting.request.to_json())
        value["line"] = found.waiting.request.to_line()
        value["answered"] = found.waiting.answer is not None
    return json.dumps(value)


def show(paper: Paper, found: Standing) -> None:
    """Print how things stand."""
    words = {
        "not_enrolled": ("NOT ENROLLED", "bad"),
        "waiting": ("NOT ENROLLED, a request is under way", "warn"),
        "enrolled": ("ENROLLED", "good"),
        "expires_soon": ("ENROLLED, the certificate ends soon", "warn"),
        "expired": ("EXPIRED: the broker will not let this terminal in", "bad"),
        "not_valid_yet": ("NOT VALID YET, by this machine's clock", "bad"),
    }
    text, kind = words[found.verdict]
    who = found.held.terminal if found.held is not None else found.waiting.request.terminal if found.waiting else "this"
    remark = f" ({found.remark})" if found.remark else ""
    paper.print(f"{who}: {paper.paint(text, kind)}{remark}")
    paper.print()
    rows: list[tuple[str, str]] = []
    if found.held is not None:
        held, certificate = found.held, found.held.certificate
        left = "the clock is not set, validity was not looked at" if found.days is None else _left(found.days)
        rows += [
            ("fleet", held.fleet),
            ("broker", f"{held.host}:{held.port}"),
            ("signing key", held.kid),
            ("certificate", certificate.subject),
            ("issued by", certificate.issuer),
            ("valid until", f"{_date(certificate.not_after)}, {left}"),
        ]
    if found.waiting is not None:
        how = "waits for its answer" if found.waiting.answer is None else "is answered, but not in force"
        rows.append(("request", f"{found.waiting.request.id.hex()} {how}"))
    if found.overridden:
        rows.append(("but", found.overridden))
    paper.fields(rows)
    if rows:
        paper.print()
    paper.wrapped(f"Next: {_next(found)}")


def _next(found: Standing) -> str:
    if found.overridden:
        return "take that out, then " + _RESTART
    if found.waiting is not None and found.waiting.answer is not None:
        return "put the answer in force: sudo edge-agent enrol"
    if found.waiting is not None:
        return "bring the answer: edge-agent enrol --answer FILE, --paste, or --broker HOST"
    steps = {
        "not_enrolled": "sudo edge-agent enrol",
        "expires_soon": "sudo edge-agent enrol --renew --broker",
        "expired": "sudo edge-agent enrol --renew, and hand the request over",
        "not_valid_yet": "set this machine's clock",
    }
    if found.verdict in steps:
        return steps[found.verdict]
    return f"let the agent take it up: {_RESTART}" if found.fresh else "nothing to do."


def show_request(paper: Paper, attempt: Attempt, *, qr: bool, out: Path | None) -> None:
    """Print the request to be handed over: who asks, the line, and the code if it can be drawn."""
    request = attempt.request
    paper.print(f"{request.terminal}: {paper.paint('request made', 'good')}, it waits for its answer")
    paper.print()
    paper.fields(
        [
            ("request", request.id.hex()),
            ("fleet", request.fleet),
            ("board", request.serial or "says no serial number"),
            ("signing key", request.tap_key.kid.hex()),
            *([("written to", str(out))] if out is not None else []),
        ]
    )
    paper.print()
    line = request.to_line()
    if qr:
        _draw(paper, line)
    # Whole, whatever the width: it is there to be copied.
    paper.print(line)
    paper.print()
    paper.wrapped(
        "Next: give this line, the code or the file of --out to the fleet's people; nothing in it is secret. Then "
        "bring their answer: edge-agent enrol --answer FILE, or --paste"
    )


def _draw(paper: Paper, line: str) -> None:
    from edge_agent.tags.qr import load_encoder  # noqa: PLC0415 -- only where it is drawn

    rows = load_encoder()(line)
    side = len(rows) + 2 * _MARGIN
    if paper.ascii or side > paper.width:
        why = "this terminal shows no block characters" if paper.ascii else f"it needs {side} columns"
        paper.print(paper.paint(f"(no QR code: {why})", "dim"))
        paper.print()
        return
    empty = "0" * side
    framed = [empty] * _MARGIN + ["0" * _MARGIN + row + "0" * _MARGIN for row in rows] + [empty] * _MARGIN
    framed += [empty] * (len(framed) % 2)
    # Two rows to a line, and what is light drawn: a terminal is dark, a code stands on light ground.
    glyphs = {("0", "0"): "█", ("0", "1"): "▀", ("1", "0"): "▄", ("1", "1"): " "}
    for upper, lower in zip(framed[::2], framed[1::2], strict=True):
        paper.print("".join(glyphs[pair] for pair in zip(upper, lower, strict=True)))
    paper.print()


def _date(unix: int) -> str:
    return dt.datetime.fromtimestamp(unix, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")


def _left(days: int) -> str:
    if days < 0:
        return "that is over"
    return "less than a day left" if days == 0 else f"{days} day{'' if days == 1 else 's'} left"
