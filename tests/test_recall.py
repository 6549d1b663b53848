"""What a new process takes up: the last good time, and the tokens of phones that come again."""

import asyncio
from pathlib import Path

import pytest

from edge_agent.clock import FakeClock
from edge_agent.issuer import Issuer
from edge_agent.models import ClockTrust, TapFacts, TapMode
from edge_agent.outbox.store import OutboxStore, StoreSettings
from edge_agent.recall import keep_clock, recall_clock, recall_tokens
from edge_agent.sealing import outbox_codec
from edge_agent.tokens.keyring import create_key_file, load_key_file
from tests.fakes.open_gate import open_gate
from tests.fakes.outbox_taps import CLOSE_S

FACTS = TapFacts(TapMode.PHONE_APP, "nfc0", nonce=b"nonce-01")


class Process:
    """One process after the other on the same files."""

    def __init__(self, folder: Path, clock: FakeClock) -> None:
        if not (folder / "tap.key").exists():
            create_key_file(folder / "tap.key")
        codec = outbox_codec(load_key_file(folder / "tap.key"), "sh", "sh-1", clock)
        self.outbox = OutboxStore(folder / "outbox.db", codec, clock=clock, settings=StoreSettings(close_s=CLOSE_S))
        self.issuer = Issuer(
            append=self.outbox.append,
            clock=clock,
            ttl=90,
            campaign=lambda _at: None,
            on_new=lambda *_: None,
            gate=open_gate(clock),
        )


@pytest.mark.parametrize(
    ("step_s", "trust", "passed_s", "again"),
    [
        (0, ClockTrust.SYNCED, 30, True),
        (-14 * 86_400, ClockTrust.UNSET, 30, True),
        (14 * 86_400, ClockTrust.SYNCED, 30, True),
        (-14 * 86_400, ClockTrust.SYNCED, 120, False),
    ],
)
async def test_a_phone_gets_its_token_again_after_a_restart_whatever_happened_to_the_wall_clock(
    tmp_path: Path, step_s: int, trust: ClockTrust, passed_s: int, *, again: bool
) -> None:
    clock = FakeClock()
    first = Process(tmp_path, clock)
    await first.outbox.open()
    given = await first.issuer.issue(FACTS)
    await first.outbox.close()
    clock.advance(passed_s)
    clock.step_wall(step_s)
    clock.trust = trust
    second = Process(tmp_path, clock)
    await second.outbox.open()
    await recall_tokens(second.outbox, second.issuer, clock, 90)
    assert ((await second.issuer.issue(FACTS)).token == given.token) is again
    await second.outbox.close()


async def test_the_last_good_time_comes_back_and_an_unset_one_is_never_kept(tmp_path: Path) -> None:
    clock = FakeClock(trust=ClockTrust.HOLDOVER)
    first = Process(tmp_path, clock)
    await first.outbox.open()
    await recall_clock(first.outbox, clock)
    assert clock.recalled is None
    await keep_clock(first.outbox, clock)
    good = clock.read()
    clock.trust = ClockTrust.UNSET
    clock.step_wall(-1000)
    await keep_clock(first.outbox, clock)
    await first.outbox.close()
    second = Process(tmp_path, clock)
    await second.outbox.open()
    await recall_clock(second.outbox, clock)
    assert clock.recalled == good
    await second.outbox.close()
    await asyncio.sleep(0)
    await keep_clock(second.outbox, FakeClock())  # closed: said, not raised
