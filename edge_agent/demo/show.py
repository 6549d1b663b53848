"""Runs the demo for people or for programs: one line for each tap as it arrives, a summary at the end."""

import asyncio
import contextlib
import json
import signal
import socket
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edge_agent import logs
from edge_agent.cli.render import Paper
from edge_agent.cloud.ingest import TapEvent
from edge_agent.demo.report import LATENCIES, Report, percentiles
from edge_agent.demo.stage import Stage
from edge_agent.errors import ExitCode, UplinkError
from edge_agent.simulation.field import SimulatedField, TapOutcome
from edge_agent.simulation.phones import SimulatedPhone
from edge_agent.trace import TapTimes
from edge_agent.version import VERSION
from firmware_bridge.links.web import DEFAULT_PORT

PAUSE_S = 4.0
"""Between two phones when nobody said how many: `thanks` ends after three seconds, and the invitation is seen."""
SHORT_PAUSE_S = 0.8
"""Nobody steps up faster; and a phone that is gone for less is the same phone, still held."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """``taps`` None: until Ctrl-C."""

    taps: int | None = None
    as_json: bool = False
    verbose: bool = False


def run(options: DemoOptions) -> int:
    """Run the demo; returns the exit status: 0 only if every tap was stored as fresh."""
    logs.configure("info" if options.verbose else "error", "auto")
    return asyncio.run(_run(options))


async def _run(options: DemoOptions) -> int:
    report = Report()
    show = _Lines(Paper(sys.stdout), as_json=options.as_json)
    loop = asyncio.get_running_loop()
    with tempfile.TemporaryDirectory(prefix="edge-agent-demo-") as folder:
        stage = Stage(Path(folder), _page_port())
        async with stage.raised() as people:
            show.opening(stage)
            tapping = asyncio.ensure_future(_tap(people, stage, options, report, show))
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, tapping.cancel)
            with contextlib.suppress(asyncio.CancelledError):
                await tapping
    show.summary(report)
    return ExitCode.OK if report.all_fresh else ExitCode.PROBLEM


async def _tap(people: SimulatedField, stage: Stage, options: DemoOptions, report: Report, show: "_Lines") -> None:
    pause_s = PAUSE_S if options.taps is None else SHORT_PAUSE_S
    while options.taps is None or report.taps < options.taps:
        outcome = await people.tap()
        phone = outcome.card
        if not isinstance(phone, SimulatedPhone) or not phone.tokens:
            report.add_lost()
            show.lost(report.taps, f"the phone got no token ({outcome.end.value})")
            continue
        try:
            times, event = await stage.outcome_of(phone.tokens[-1])
        except TimeoutError as error:
            report.add_lost()
            show.lost(report.taps, str(error))
            continue
        report.add(event.verdict.value, times.latency_ms())
        show.tap(report.taps, outcome, times, event)
        await asyncio.sleep(pause_s)


def _page_port() -> int:
    """The usual port of the page, or a free one if somebody has it: the address is shown before the page is there."""
    for port in (DEFAULT_PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return int(probe.getsockname()[1])
    raise UplinkError("no TCP port is free on 127.0.0.1")


class _Lines:
    """Prints for a person (80 columns) or, one JSON object a line, for a program."""

    def __init__(self, paper: Paper, *, as_json: bool) -> None:
        self._paper = paper
        self._as_json = as_json

    def opening(self, stage: Stage) -> None:
        if self._as_json:
            self._json({"event": "started", "version": VERSION, "page": stage.page, "broker": stage.broker})
            return
        paper = self._paper
        paper.print(
            paper.paint(f"edge-agent {VERSION} demo", "bold") + ": no hardware, no root, nothing leaves this machine"
        )
        paper.fields(
            [
                ("page", f"{stage.page}  (open it: it follows the taps)"),
                ("broker", f"{stage.broker}  (embedded, MQTT 5)"),
                ("reader", "emulated PN532 at 115200 baud under the real nfcpy driver"),
            ]
        )
        paper.print()
        heads = "  ".join(f"{head:>6}" for head in ("cue", "commit", "PUBACK", "stored"))
        paper.print(paper.paint(f"{'tap':>5}  {heads}  verdict   (ms since the phone was seen)", "dim"))

    def tap(self, number: int, outcome: TapOutcome, times: TapTimes, event: TapEvent) -> None:
        latency = times.latency_ms()
        if self._as_json:
            held_ms = (
                None if outcome.delivered_at is None else round((outcome.delivered_at - outcome.placed_at) * 1e3, 1)
            )
            self._json(
                {
                    "event": "tap",
                    "tap": number,
                    "chain": times.chain.hex(),
                    "seq": times.seq,
                    "verdict": event.verdict.value,
                    "phone_held_ms": held_ms,
                    "latency_ms": latency,
                }
            )
            return
        cells = "  ".join(f"{latency[name]:>6.1f}" if name in latency else f"{'-':>6}" for name in LATENCIES)
        verdict = event.verdict.value
        painted = self._paper.paint(verdict, "good" if event.redeemable else "warn")
        self._paper.print(f"{number:>5}  {cells}  {painted}  seq {times.seq}")

    def lost(self, number: int, why: str) -> None:
        if self._as_json:
            self._json({"event": "lost", "tap": number, "reason": why})
        else:
            self._paper.print(f"{number:>5}  {self._paper.paint('lost', 'bad')}: {why}")

    def summary(self, report: Report) -> None:
        if self._as_json:
            self._json(report.as_json())
            return
        paper = self._paper
        said = ", ".join(f"{count} {verdict}" for verdict, count in report.verdicts.items()) or "none"
        paper.print()
        paper.print(
            paper.paint(f"{report.stored} of {report.taps} taps stored: {said}", "good" if report.all_fresh else "bad")
        )
        for name, values in report.latencies.items():
            measured = percentiles(values)
            if measured["p50"] is not None:
                label = name.replace("_", " ")
                paper.print(f"  {label:<20} {measured['p50']:>7.1f} ms median {measured['p99']:>7.1f} ms p99")

    def _json(self, value: dict[str, object]) -> None:
        print(json.dumps(value), flush=True)  # noqa: T201 - this is the command's output
