"""A whole tap at a modelled 115200-baud line beside the bare driver, the reaction to a phone, idle CPU, parsers, NDEF.

Both sides drive an emulated PN532 with nfcpy and hand over a token of the same length. The bare driver signs and keeps
nothing: it senses, activates, sends SELECT and the token. Ours is the agent's reader service, issuer, chain and outbox.
"""

import asyncio
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import nfc.clf
import nfc.tag

from benchmarks.agent import Started, cpu_s
from benchmarks.figures import Figure
from edge_agent.clock import SystemClock
from edge_agent.demo.report import percentiles
from edge_agent.demo.stage import config_text
from edge_agent.issuer import Issuer
from edge_agent.models import Cue, TapFacts
from edge_agent.outbox.store import OutboxStore
from edge_agent.readers.apdu import deliver_token, select
from edge_agent.readers.exchange import ExchangeSettings, Outcome
from edge_agent.readers.nfcpy_reader import NfcpyReader
from edge_agent.readers.profiles.base import ProfileSettings, Reading
from edge_agent.readers.profiles.make import make_parser
from edge_agent.readers.pseudonym import Pseudonyms
from edge_agent.readers.service import ReaderService, ReaderState
from edge_agent.readers.tap_runner import TapTimings
from edge_agent.sealing import outbox_codec
from edge_agent.simulation.field import SimulatedField
from edge_agent.simulation.phones import TAP_AID, SimulatedPhone
from edge_agent.simulation.pn532_chip import REALISTIC
from edge_agent.simulation.pn532_line import Pn532Emulator
from edge_agent.simulation.serial_readers import NumberReader, aa_bb, ascii_line, rdm6300
from edge_agent.tags.ndef_message import ticket_message
from edge_agent.tags.ticket import Ticket, link, seal
from edge_agent.tokens.keyring import create_key_file
from firmware_bridge.simulator import McuSimulator
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.open_gate import open_gate
from tests.fakes.pn532_host import open_driver_as_it_wakes, sense
from tests.fakes.waiting import eventually

BAUD = 115_200
TAPS = 60
REACTIONS = 200
IDLE_S = 20.0
MORE_READERS = 3
TAP_BOUND_MS = 150.0
RATIO_BOUND = 1.1
REACTION_BOUND_MS = 120.0
IDLE_BOUND = 1.5

PROFILES: tuple[tuple[str, Literal["ascii_line", "stx_etx_hex", "aa_bb"], Callable[[], NumberReader]], ...] = (
    ("RDM6300", "stx_etx_hex", rdm6300),
    ("AA..BB", "aa_bb", aa_bb),
    ("UID and CR", "ascii_line", ascii_line),
)
TICKETS = (
    ("13-character host", "t.example.net", None),
    ("the same with an app", "t.example.net", "net.example.tap"),
    ("longest host and app", "a" * 44 + ".net", "a" * 60 + ".tap"),
)

READER = '\n[[readers]]\ndriver = "pn532"\nname = "{name}"\ndevice = "{device}"\n'


class _Bare:
    """The driver and nothing else: from the first answer of the phone to its 9000 for the token."""

    def __init__(self, emulator: Pn532Emulator, token: bytes) -> None:
        self._emulator = emulator
        self._frontend = open_driver_as_it_wakes(emulator.device_path)
        self._commands = (select(TAP_AID), deliver_token(token))

    def tap(self) -> float:
        """Seconds of one tap."""
        phone = SimulatedPhone()
        placement = self._emulator.place(phone)
        target = None
        while target is None:
            target = sense(self._frontend)
        tag = nfc.tag.activate(self._frontend, target)
        for command in self._commands:
            tag.transceive(command)
        if not phone.tokens or placement.seen_at is None:
            raise RuntimeError("the bare driver's phone has no token")
        took = time.monotonic() - placement.seen_at
        self._emulator.remove(phone)
        return took

    def close(self) -> None:
        """Release the line."""
        self._frontend.close()


class _Ours:
    """The agent from the reader to the committed token; nobody delivers it."""

    def __init__(self, folder: Path, emulator: Pn532Emulator) -> None:
        clock = SystemClock(assume_synced=True)
        codec = outbox_codec(create_key_file(folder / "tap.key"), "bench", "bench-000001-a", clock)
        self.outbox = OutboxStore(folder / "outbox.db", codec, clock=clock)
        self.reading_at = self.finished_at = 0.0
        issuer = Issuer(
            append=self.outbox.append,
            clock=clock,
            ttl=90,
            campaign=lambda _at: "c-1",
            on_new=lambda _tap, _stored: None,
            gate=open_gate(clock),
        )
        self.service = ReaderService(
            NfcpyReader("nfc0", emulator.device_path, clock=clock, gone_after_s=0.05),
            settings=ExchangeSettings(),
            issue=issuer.issue,
            show=self._show,
            clock=clock,
            pseudonyms=Pseudonyms(),
            observer=self._finished,
        )
        self._field = SimulatedField(emulator, dwell_s=0.1)

    def _show(self, cue: Cue) -> None:
        if cue is Cue.READING:
            self.reading_at = time.monotonic()

    def _finished(self, _outcome: Outcome, _facts: TapFacts | None, timings: TapTimings) -> None:
        self.finished_at = timings.finished_at or 0.0

    async def tap(self) -> tuple[float, float, float, int]:
        """Seconds from the phone's first answer to its 9000, from its arrival to `reading` and to its 9000.

        And the token's length.
        """
        await eventually(lambda: self.service.snapshot().state is ReaderState.POLLING)
        await asyncio.sleep(random.uniform(0.1, 0.2))  # noqa: S311 - people do not step up in time with the poll
        self.finished_at = 0.0
        outcome = await self._field.tap()
        await eventually(lambda: self.finished_at)
        if not isinstance(outcome.card, SimulatedPhone) or outcome.delivered_at is None or outcome.seen_at is None:
            raise RuntimeError(f"a tap ended as {outcome.end}")
        took = self.finished_at - outcome.seen_at
        arrived = outcome.placed_at
        return took, self.reading_at - arrived, self.finished_at - arrived, len(outcome.card.tokens[-1])


async def _taps(folder: Path) -> list[Figure]:
    with ExitStack() as stack:
        ours_chip, bare_chip = (stack.enter_context(Pn532Emulator(baud_model=BAUD, timing=REALISTIC)) for _ in range(2))
        ours = _Ours(folder, ours_chip)
        await ours.outbox.open()
        running = asyncio.create_task(ours.service.run())
        *_, length = await ours.tap()
        bare = _Bare(bare_chip, bytes(length))
        stack.callback(bare.close)
        mine, theirs, reactions, stays = [], [], [], []
        for number in range(max(TAPS, REACTIONS)):
            took, reaction, stay, _ = await ours.tap()
            reactions.append(reaction * 1000)
            stays.append(stay * 1000)
            if number < TAPS:
                mine.append(took * 1000)
                theirs.append(await asyncio.to_thread(bare.tap) * 1000)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await ours.outbox.close()
    whole, bare_ms = statistics.median(mine), statistics.median(theirs)
    reaction_ms = percentiles(reactions)
    p99 = reaction_ms["p99"] or 0.0
    return [
        Figure("phone's first answer to its 9000, 115200 baud, median", whole, "ms", "<= 150", whole <= TAP_BOUND_MS),
        Figure("the bare driver, the same, median", bare_ms, "ms"),
        Figure("whole tap, ours / bare driver", whole / bare_ms, "x", "<= 1.1", whole / bare_ms <= RATIO_BOUND),
        Figure("phone arrives to its 9000, median", statistics.median(stays), "ms"),
        Figure("phone arrives to `reading`, median", reaction_ms["p50"] or 0.0, "ms"),
        Figure("phone arrives to `reading`, p99", p99, "ms", "<= 120", p99 <= REACTION_BOUND_MS),
    ]


def _idle(folder: Path, port: int, readers: int) -> float:
    """CPU of an idle agent in percent of a core."""
    with ExitStack() as stack:
        chips = [stack.enter_context(Pn532Emulator(baud_model=BAUD, timing=REALISTIC)) for _ in range(readers)]
        display = stack.enter_context(McuSimulator())
        first, *others = (chip.device_path for chip in chips)
        text = config_text(folder, reader=first, screen=display.device_path, page_port=0, broker=("127.0.0.1", port))
        text += "".join(READER.format(name=f"nfc{number}", device=device) for number, device in enumerate(others, 1))
        config = folder / "edge-agent.toml"
        config.write_text(text)
        agent = Started(folder, config)
        time.sleep(5)
        cpu, began = cpu_s(agent.process.pid), time.perf_counter()
        time.sleep(IDLE_S)
        idle = (cpu_s(agent.process.pid) - cpu) / (time.perf_counter() - began) * 100
        agent.stop()
    return idle


def _parsers() -> list[Figure]:
    """Good frames in portions of 4 KiB, beside what a 115200-baud line can bring."""
    figures = []
    for name, profile, make in PROFILES:
        stream = make().frame(bytes.fromhex("04a1b2c3d4")) * 20_000
        parser = make_parser(ProfileSettings(profile=profile))
        began = time.perf_counter()
        readings = sum(
            isinstance(event, Reading)
            for at in range(0, len(stream), 4096)
            for event in parser.feed(stream[at : at + 4096])
        )
        rate = len(stream) / (time.perf_counter() - began)
        if readings != 20_000:
            raise RuntimeError(f"{name}: {readings} readings")
        figures.append(Figure(f"parser {profile} ({name})", rate / 1e6, "MB/s"))
        figures.append(Figure(f"parser {profile} ({name}), times a 115200-baud line", rate / (BAUD / 10), "x"))
    return figures


def _tickets() -> list[Figure]:
    """Bytes of the NDEF message that phones read."""
    ticket = Ticket(bytes(8), 1_790_000_000, 120, bytes(8))
    figures = []
    for title, host, app in TICKETS:
        size = float(len(ticket_message(link(host, seal(ticket, lambda _data: bytes(64))), app)))
        figures.append(Figure(f"ticket NDEF, {title}", size, "bytes", "<= 255", size <= 255))
    return figures


def _in(folder: Path, job: Callable[[Path], list[Figure]]) -> list[Figure]:
    folder.mkdir()
    return job(folder)


def run() -> list[Figure]:
    """Needs mosquitto."""
    binary = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if binary is None:
        raise SystemExit("this benchmark needs mosquitto: sudo apt-get install mosquitto")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        figures = [*_parsers(), *_tickets()]
        figures += _in(root / "taps", lambda folder: asyncio.run(_taps(folder)))
        with Mosquitto(binary, root, quiet=True) as broker:
            create_key_file(root / "tap.key")
            one, more = (_idle(root, broker.port, count) for count in (1, MORE_READERS))
    each = (more - one) / (MORE_READERS - 1)
    figures += [
        Figure("idle CPU, one reader, page and display", one, "% of core"),
        Figure("idle CPU of each further PN532", each, "% of core", "<= 1.5", each <= IDLE_BOUND),
    ]
    return figures
