"""A terminal with a PC/SC reader: the whole agent above a real pcscd, phones and cards in its virtual reader."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from edge_agent.config import load
from edge_agent.config.plain import checked
from edge_agent.models import TapMode
from edge_agent.readers.service import ReaderState
from edge_agent.settings import Checked
from edge_agent.simulation.odd_phones import Fixed, Silent, Vanishing
from edge_agent.simulation.phones import SW_NOT_FOUND, SimulatedPhone, TapApp
from edge_agent.simulation.vpcd_card import STORAGE_ATR, VirtualCard, VirtualSlot
from edge_agent.tokens.tap_token import parse
from firmware_bridge.cues import CueName
from tests.fakes.pcscd import Pcscd, virtual_reader
from tests.fakes.waiting import eventually
from tests.fakes.whole_agent import QUICK, WholeAgent

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]

UID = bytes.fromhex("04a1b2c3d4e5f6")
STATE_EMPTY = 0x10  # SCARD_STATE_EMPTY of pcsclite.h
NOTICED_WITHIN_S = 0.5
"""pcscd looks every 0.4 s whether a slot is empty."""


class PcscTerminal(WholeAgent):
    """The whole agent with its reader behind pcscd instead of on a serial line."""

    def __init__(self, folder: Path, daemon: Pcscd, slot: VirtualSlot, **options: Any) -> None:
        super().__init__(folder, **options)
        self.daemon = daemon
        self.slot = slot

    def configured(self) -> Checked:
        super().configured()
        path = self.folder / "edge-agent.toml"
        text = path.read_text(encoding="utf-8")
        ours = f'driver = "pn532"\ndevice = "{self.emulator.device_path}"\npoll_ms = 20\n'
        assert ours in text
        text = text.replace(ours, f'driver = "pcsc"\nreader = "{self.daemon.reader}"\n')
        path.write_text(text, encoding="utf-8")
        return checked(load(path, self._env))

    async def hold(self, card: VirtualCard, *, until: ReaderState = ReaderState.OCCUPIED) -> None:
        """Hold something to the reader until the agent is done with it."""
        self.slot.insert(card)
        await self.until(lambda: self.reader.state is until)

    async def let_go(self) -> None:
        """Take it away, and wait until the agent knows: it hears of it from pcscd, which looks now and then only.

        One who comes before that, as no person can, may be taken for the one who was there, or not be seen at all.
        """
        waits_for_it = self.reader.state is ReaderState.OCCUPIED
        self.slot.remove()
        noticed = time.monotonic() + NOTICED_WITHIN_S

        def knows() -> bool:
            snap, link = self.reader, vars(vars(self.agent._readers[0])["_reader"])["_driver"]._link
            empty = bool(link) and snap.last_poll > noticed and bool(link.state & STATE_EMPTY)
            return snap.state is ReaderState.POLLING and (waits_for_it or empty)

        await self.until(knows)

    async def served(self) -> bytes:
        """The token that a new phone gets."""
        app = TapApp(random.Random())
        await self.hold(VirtualCard(app))
        await self.let_go()
        assert len(app.tokens) == 1
        return app.tokens[0]

    async def last_seq(self) -> int:
        """The highest seq that was given out."""
        return (await self.agent.outbox.stats()).next_seq - 1


@asynccontextmanager
async def pcsc_terminal(folder: Path, **options: Any) -> AsyncIterator[PcscTerminal]:
    with ExitStack() as stack:
        daemon = stack.enter_context(virtual_reader(folder))
        terminal = PcscTerminal(folder, daemon, stack.enter_context(VirtualSlot(daemon.port)), **options)
        stack.enter_context(terminal.emulator)
        stack.enter_context(terminal.display)
        await terminal.start()
        try:
            yield terminal
        finally:
            await terminal.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def terminal(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PcscTerminal]:
    async with pcsc_terminal(tmp_path_factory.mktemp("pcsc"), cards="pseudonym", **QUICK) as running:
        yield running


@pytest.fixture(autouse=True)
def _nothing_is_left_in_the_reader(terminal: PcscTerminal) -> Iterator[None]:
    yield
    terminal.slot.remove()


async def test_a_phone_gets_its_token_and_the_screen_thanks(terminal: PcscTerminal) -> None:
    shown = len(terminal.cues)
    app = TapApp(random.Random(1), sub=b"somebody")
    await terminal.hold(VirtualCard(app))
    await eventually(lambda: terminal.showed_tap(shown, CueName.THANKS))
    await terminal.let_go()
    claims = parse(app.tokens[0]).claims
    assert (claims.mode, claims.sub, claims.wtx) == (TapMode.PHONE_APP, b"somebody", 0)
    assert claims.nonce is not None
    assert claims.rtt is not None


async def test_the_status_names_the_reader_behind_pcscd(terminal: PcscTerminal) -> None:
    assert terminal.daemon.reader in str(await terminal.status())


async def test_a_phone_that_is_held_on_is_one_tap(terminal: PcscTerminal) -> None:
    before = await terminal.last_seq()
    await terminal.hold(VirtualCard(TapApp(random.Random(2))))
    last_poll = terminal.reader.last_poll
    await terminal.until(lambda: terminal.reader.last_poll > last_poll + 1.0)
    await terminal.let_go()
    assert await terminal.last_seq() == before + 1


async def test_a_locked_phone_is_told_to_unlock_and_is_no_tap(terminal: PcscTerminal) -> None:
    before = await terminal.last_seq()
    await terminal.hold(VirtualCard(TapApp(random.Random(3), locked=True)))
    await eventually(lambda: terminal.display.showing.cue is CueName.UNLOCK)
    await terminal.let_go()
    assert await terminal.last_seq() == before


async def test_a_phone_that_left_before_its_token_gets_the_same_one_when_it_is_back(terminal: PcscTerminal) -> None:
    before = await terminal.last_seq()
    phone = SimulatedPhone()
    leaving = Vanishing(phone, after=1)
    terminal.slot.insert(VirtualCard(phone.application))
    await terminal.until(lambda: leaving.gone)
    await terminal.let_go()
    assert await terminal.last_seq() == before + 1, "it counts"
    assert phone.tokens == []
    leaving.come_back()
    await terminal.hold(VirtualCard(phone.application))
    await terminal.let_go()
    assert [parse(token).claims.seq for token in phone.tokens] == [before + 1]
    assert await terminal.last_seq() == before + 1, "and it counts once"


@pytest.mark.parametrize(
    ("card", "has_sub"),
    [
        (VirtualCard(Fixed(SW_NOT_FOUND), STORAGE_ATR, UID), True),
        (VirtualCard(Fixed(SW_NOT_FOUND), uid=UID), True),
        (VirtualCard(Fixed(SW_NOT_FOUND), uid=b"\x08\x01\x02\x03"), False),
    ],
    ids=["storage card", "ISO-DEP card", "phone without the app"],
)
async def test_cards_are_taps_under_a_pseudonym(terminal: PcscTerminal, card: VirtualCard, has_sub: bool) -> None:
    subs = []
    for _ in range(2):
        await terminal.hold(card)
        await terminal.let_go()
        claims = parse((await terminal.issued())[-1].token).claims
        assert (claims.mode, claims.nonce) == (TapMode.CARD, None)
        subs.append(claims.sub)
    assert (subs[0] is not None) is has_sub
    assert subs[0] == subs[1]
    assert UID not in b"".join(stored.token for stored in await terminal.issued())


@pytest.mark.parametrize(
    "application",
    [
        Silent(),
        Fixed(b""),
        Fixed(b"\x90"),
        Fixed(b"\xff" * 65_535),
        Fixed(b"\x6f\x00"),
        TapApp(random.Random(), latency_s=2),
    ],
    ids=["silent", "empty", "one byte", "huge", "foreign", "slow"],
)
async def test_the_next_phone_is_served_after(terminal: PcscTerminal, application: Any) -> None:
    before = await terminal.last_seq()
    terminal.slot.insert(VirtualCard(application))
    await asyncio.sleep(1.0)  # whatever it does: longer than the budget for it
    await terminal.let_go()
    assert parse(await terminal.served()).claims.seq == before + 1


async def test_a_phone_that_lay_there_while_pcscd_crashed_is_no_second_tap(terminal: PcscTerminal) -> None:
    before = await terminal.last_seq()
    await terminal.hold(VirtualCard(TapApp(random.Random(5))))
    terminal.daemon.kill()
    await terminal.until(lambda: "pcscd is not running" in terminal.reader.last_error)
    (reader,) = (await terminal.status())["readers"]
    assert (reader["state"], "systemctl enable --now pcscd" in str(reader)) == ("lost", True)
    await eventually(lambda: terminal.display.showing.cue is CueName.FAULT)
    terminal.daemon.start()
    await terminal.until(lambda: terminal.reader.state is ReaderState.OCCUPIED)
    await terminal.let_go()
    assert await terminal.last_seq() == before + 1
    assert parse(await terminal.served()).claims.seq == before + 2


async def test_cards_are_ignored_unless_they_are_wanted(tmp_path: Path) -> None:
    async with pcsc_terminal(tmp_path, **QUICK) as terminal:
        for card in (VirtualCard(Fixed(SW_NOT_FOUND), STORAGE_ATR, UID), VirtualCard(Fixed(SW_NOT_FOUND), uid=UID)):
            await terminal.hold(card)
            await terminal.let_go()
        assert await terminal.last_seq() == 0
        await terminal.served()
