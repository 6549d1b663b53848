"""At each serial port the reader answers that the configuration expects, at its speed, and its field comes on.

The running agent is believed; where it does not have its reader, or does not run, the port itself is asked.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edge_agent.diag.check import Check
from edge_agent.diag.finding import Finding, Fix, Kind, NotHere, Seen, Severity
from edge_agent.diag.lines import Line, holders, reader_lines, text, told_of
from edge_agent.diag.site import Site

_UNSTEADY = ("reader-unsteady",)
WRONG = Kind(
    "reader-port-wrong",
    Severity.ERROR,
    "Something else is at the port of a reader",
    "The configuration names the wrong port, or two plugs were swapped. The probe tells what is where, and prints the "
    "right lines.",
    ("sudo edge-agent reader probe", "edge-agent reader list"),
    hides=("reader-deaf", *_UNSTEADY),
)
WRONG_BAUD = Kind(
    "reader-wrong-baud",
    Severity.ERROR,
    "A reader speaks at another speed",
    "Write the speed at which it answers as `baud` of this reader, then start the agent again. A PN532 is set back by "
    "--fix.",
    ("sudo edge-agent reader probe", "sudo systemctl restart edge-agent"),
    hides=("reader-deaf", *_UNSTEADY),
)
DEAF = Kind(
    "reader-deaf",
    Severity.ERROR,
    "A reader does not answer",
    "Its port is there, and it says nothing at any speed. Power-cycle it; check RX to TX, ground, supply, and the mode "
    "switches of a PN532 (HSU). If it stays deaf, replace it.",
    ("sudo edge-agent reader probe", "edge-agent logs --level warning"),
    hides=_UNSTEADY,
)
FIELD_OFF = Kind(
    "reader-field-off",
    Severity.ERROR,
    "A reader cannot switch its field on",
    "No phone is seen. Power-cycle the reader; look for metal on the antenna, a broken antenna wire, a weak supply.",
    ("edge-agent logs --level warning",),
    hides=_UNSTEADY,
)
_WORKS = frozenset({"polling", "serving", "occupied", "lent"})
_FIELD = "cannot switch its field on"
_TALKS_ALONE = frozenset({"ascii_line", "stx_etx_hex", "aa_bb"})
_AGAIN_AFTER_S = 0.4
_LAST_TRY_S, _GREET_BEFORE_S, _GREET_S = 1.0, 3.6, 0.8
"""Asking takes two and a half seconds where nothing answers, and a check has five."""
_DEAF_BY_THE_AGENT = frozenset({"no_answer", "io", "hangs", "not_understood"})


def look(site: Site) -> Iterator[Finding | Seen]:
    """Ask the agent first, then the silent ports, all at once."""
    lines = reader_lines(site)
    if not lines:
        raise NotHere("no reader on a serial port is configured")
    to_ask: list[Line] = []
    for line in lines:
        told = told_of(site.running, "readers", line.user)
        known = _by_the_agent(line, told)
        if known is None:
            known = _left_alone(site, line, told)
        if known is None:
            to_ask.append(line)
        else:
            yield from known
    if to_ask:
        yield from _ask(site, to_ask)


def _by_the_agent(line: Line, told: Mapping[str, Any]) -> list[Finding | Seen] | None:
    """What the running agent, or the look at the ports, tells already; None: it is to be found out."""
    if told.get("state") in _WORKS:
        return [Seen(f"{text(told, 'chip')} at {text(told, 'device')}, {text(told, 'state')}", line.user)]
    if not line.path:
        return []  # the check of the ports tells it
    if _FIELD in text(told, "last_error"):
        return [Finding(FIELD_OFF, text(told, "last_error"), line.user)]
    if not line.is_there:
        return [Finding(WRONG, f"{line.path} is no port", line.user)]
    return [] if told.get("fault") in ("taken", "no_permission") else None


def _left_alone(site: Site, line: Line, told: Mapping[str, Any]) -> list[Finding | Seen] | None:
    """What can be said of a port to which nothing may be sent; None: it may be asked."""
    if others := ", ".join(str(holder) for holder in holders(site, line)):
        return [Seen(f"could not be asked: {line.path} is open in {others}", line.user)]
    if line.profile not in _TALKS_ALONE:
        return None
    if told.get("fault") in _DEAF_BY_THE_AGENT:
        return [_deaf(line, told)]
    # Its maker alone knows what it would take for a command.
    return [Seen(f"{line.path} is not asked: such a reader speaks only when a card comes", line.user)]


def _ask(site: Site, lines: Sequence[Line]) -> Iterator[Finding | Seen]:
    from edge_agent.clock import SystemClock  # noqa: PLC0415 -- with the drivers, which a well terminal does not need
    from edge_agent.readers.probe import PortState, Probe  # noqa: PLC0415 -- as above

    began = time.monotonic()
    probe = Probe([line.path for line in lines], clock=SystemClock(), keep_speed=True)
    reports = probe.ask()
    while any(report.state is PortState.TAKEN for report in reports) and time.monotonic() - began < _LAST_TRY_S:
        time.sleep(_AGAIN_AFTER_S)  # the agent may just be trying it itself
        reports = probe.ask()
    for line, report in zip(lines, reports, strict=True):
        told = told_of(site.running, "readers", line.user)
        if report.reader is not None:
            yield from _answers(line, report.reader)
        elif report.state is PortState.SILENT:
            yield from _silent(line, told, ask=time.monotonic() - began < _GREET_BEFORE_S)
        elif report.state is PortState.TAKEN and told.get("fault") in _DEAF_BY_THE_AGENT:
            yield _deaf(line, told)  # the agent is at it, as it is every few seconds
        else:
            yield Seen(f"could not be asked: {report.text or report.state.value}", line.user)


def _answers(line: Line, found: Any) -> Iterator[Finding | Seen]:
    """What was found (``readers.probe.FoundReader``) against what is configured."""
    profile = found.settings.profile if found.settings is not None else ""
    was_at = found.was_at or found.baud
    said = f"{found.about} answers at {line.path} at {was_at} baud"
    if found.driver != line.driver or profile != line.profile:
        configured = f"{line.driver} {line.profile}".strip()
        yield Finding(WRONG, f"{said}, and the configuration expects {configured}", line.user)
    elif line.driver == "serial" and found.baud != line.baud:
        yield Finding(WRONG_BAUD, f"{said}, and the configuration says {line.baud}", line.user)
    elif line.driver == "pn532" and was_at not in (found.baud, line.baud):
        fix = Fix(f"set the PN532 at {line.path} back to {found.baud} baud", lambda: _set_back(line.path))
        yield Finding(WRONG_BAUD, f"{said}, where nobody expects it", line.user, fix=fix)
    else:
        yield Seen(said, line.user)


def _set_back(device: str) -> None:
    from edge_agent.clock import SystemClock  # noqa: PLC0415 -- as above
    from edge_agent.readers.nfcpy_reader import look_for_chip  # noqa: PLC0415 -- as above

    look_for_chip(device, clock=SystemClock())


def _silent(line: Line, told: Mapping[str, Any], *, ask: bool) -> Iterator[Finding | Seen]:
    from edge_agent.diag.screen_talk import greet  # noqa: PLC0415 -- only where a reader is silent

    if ask and (screen := greet(line.path, within_s=_GREET_S)).answers:
        yield Finding(WRONG, f"a screen answers at {line.path} ({screen.firmware})", line.user)
        return
    yield _deaf(line, told)


def _deaf(line: Line, told: Mapping[str, Any]) -> Finding:
    why = text(told, "last_error") or f"nothing answers at {line.path}"
    tried = f"; tried last: {text(told, 'recovery')}" if told.get("recovery") else ""
    return Finding(DEAF, f"{why}{tried}", line.user)


CHECK = Check(
    "reader-chip",
    "each reader answers, at its speed, with its field on",
    (WRONG, WRONG_BAUD, DEAF, FIELD_OFF),
    look,
)
