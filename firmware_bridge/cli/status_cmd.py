"""``firmware-bridge status``: ask a screen's MCU who it is and how it is. Changes nothing that a person sees."""

import argparse
import asyncio
import json
import statistics
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from firmware_bridge.cli.arguments import OK, PROBLEM, add_command
from firmware_bridge.cli.target import Conversation, add_target, complain_of, remedy_for, talking, target_of
from firmware_bridge.links.base import LinkError
from firmware_bridge.messages import AskStatus, McuHello, Status
from firmware_bridge.paper import Paper
from firmware_bridge.printable import printable
from firmware_bridge.protocol import Ask, Refused, Told
from firmware_bridge.trace import ability_names

if TYPE_CHECKING:
    from firmware_bridge.cli.arguments import Commands

_ROUNDS = 5
_STATUS_WITHIN_S = 2.0
_ABILITIES = {
    "text": "shows texts",
    "brightness": "can be dimmed",
    "button": "has a button",
    "light_sensor": "measures the light",
    "tamper": "notices when it is opened",
    "quiet": "knows the cue quiet",
}


@dataclass(frozen=True, slots=True)
class _Report:
    hello: McuHello
    status: Status | None
    round_trips_ms: list[float]
    """From asking for STATUS to having it."""

    @property
    def verdict(self) -> str:
        if self.status is None:
            return "it answers, but has no STATUS to give: see docs/screen-link.md, rule 2 for the MCU"
        if self.status.faults:
            return f"it answers and reports faults {self.status.faults:#06x}: the bits are the maker's, ask there"
        return "it answers and reports no fault"

    @property
    def healthy(self) -> bool:
        return self.status is not None and not self.status.faults


def add(commands: "Commands") -> None:
    """Add the command and its arguments."""
    parser = add_command(commands, "status", lambda arguments: asyncio.run(_status(arguments)))
    add_target(parser)
    parser.add_argument("--json", action="store_true", help="for a program")


async def _status(arguments: argparse.Namespace) -> int:
    target = target_of(arguments)
    try:
        async with talking(arguments) as conversation:
            report = await _look(conversation)
    except LinkError as error:
        if arguments.json:
            told = {"target": target, "answers": False, "fault": error.fault, "reason": error.text}
            print(json.dumps(told | {"remedy": remedy_for(error, arguments)}))
        else:
            complain_of(error, remedy_for(error, arguments))
        return PROBLEM
    if arguments.json:
        print(json.dumps(_as_json(target, report)))
    else:
        Paper(sys.stdout).rows(_rows(target, report))
    return OK if report.healthy else PROBLEM


async def _look(conversation: Conversation) -> _Report:
    assert conversation.hello is not None  # noqa: S101 - every MCU link tells it before it is up
    status: Status | None = None
    round_trips: list[float] = []
    for _ in range(_ROUNDS):
        began = time.monotonic()
        conversation.link.ask(Ask(AskStatus()))
        found = await _answer(conversation)
        if found is None:
            break
        status = found
        round_trips.append((time.monotonic() - began) * 1000)
    return _Report(conversation.hello, status, round_trips)


async def _answer(conversation: Conversation) -> Status | None:
    """Return the STATUS that comes next; None when the MCU refuses it or stays silent about it."""
    deadline = time.monotonic() + _STATUS_WITHIN_S
    while (left_s := deadline - time.monotonic()) > 0 and (event := await conversation.event(left_s)):
        if isinstance(event, Told) and isinstance(event.message, Status):
            return event.message
        if isinstance(event, Refused) and event.message == AskStatus.__name__:
            return None
    return None


def _as_json(target: str, report: _Report) -> dict[str, object]:
    hello, status, times = report.hello, report.status, report.round_trips_ms
    told: dict[str, object] = {
        "target": target,
        "answers": True,
        "firmware": ".".join(str(part) for part in hello.firmware),
        "serial": printable(hello.serial),
        "protocol": hello.version,
        "capabilities": ability_names(hello.capabilities),
        "healthy": report.healthy,
        "verdict": report.verdict,
    }
    if status:
        told |= {
            "cue": status.cue,
            "uptime_ms": status.uptime_ms,
            "temperature_c": status.temperature_c,
            "faults": status.faults,
            "round_trip_ms": {"median": round(statistics.median(times), 3), "worst": round(max(times), 3)},
        }
    return told


def _rows(target: str, report: _Report) -> list[tuple[str, str]]:
    hello, status, times = report.hello, report.status, report.round_trips_ms
    able = [_ABILITIES.get(name, f"bit {name}, not of this version") for name in ability_names(hello.capabilities)]
    rows = [
        ("screen", target),
        ("firmware", ".".join(str(part) for part in hello.firmware)),
        ("serial", printable(hello.serial) or "none told"),
        ("able", ", ".join(able) or "nothing beside the cues"),
    ]
    if status:
        rows += [
            ("shows", status.cue or "nothing yet"),
            ("up for", _duration(status.uptime_ms // 1000)),
            ("temperature", f"{status.temperature_c} °C"),
            ("faults", f"{status.faults:#06x}" if status.faults else "none"),
            ("round trip", f"{statistics.median(times):.1f} ms, worst of {len(times)}: {max(times):.1f} ms"),
        ]
    return [*rows, ("verdict", report.verdict)]


def _duration(seconds: int) -> str:
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"
