"""How surfaces are joined to the agent: whose key, link and cues; and what a terminal without tags is spared."""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge_agent import surfaces
from edge_agent.clock import SystemClock
from edge_agent.models import Cue, StoredTap, TapFacts, TapMode
from edge_agent.screen import ScreenCues
from edge_agent.settings import Checked
from edge_agent.tags.base import FieldSeen, TicketRead
from edge_agent.tags.service import TagService
from edge_agent.tags.ticket import parse, parse_link
from edge_agent.tokens.keys import PrivateKey
from firmware_bridge.bridge import Bridge
from tests.fakes.fake_surface import FakeSurface
from tests.fakes.waiting import eventually
from tests.test_hardware import configured

KEY = PrivateKey.from_ed25519_seed(bytes(range(32)))
TAGS = """
[tickets]
host = "t.example.net"
ttl = 60
[[screens]]
driver = "web"
[[tags]]
driver = "ntag_i2c"
bus = "/dev/i2c-1"
[[tags]]
driver = "qr"
name = "qr0"
rotate_s = 7
"""


def joined(checked: Checked, *built: FakeSurface) -> tuple[tuple[TagService, ...], Bridge, list[TapFacts]]:
    issued: list[TapFacts] = []

    async def issue(facts: TapFacts) -> StoredTap:
        issued.append(facts)
        return StoredTap(b"chain-id", len(issued), b"token", exp=0, committed_at=time.monotonic())

    bridge = Bridge([], terminal_id="sh-1")
    cues = ScreenCues(bridge, ("tag0", "qr0"))
    clock = SystemClock(assume_synced=True)
    return surfaces.services(built, checked.settings, KEY, issue=issue, cues=cues, clock=clock), bridge, issued


async def test_the_terminals_key_seals_the_tickets_and_a_read_is_a_tap_of_that_surface(tmp_path: Path) -> None:
    surface = FakeSurface()
    (service, _qr), bridge, issued = joined(configured(tmp_path, TAGS), surface, FakeSurface("qr0"))
    task = asyncio.create_task(service.run())
    await eventually(lambda: surface.listeners)
    host, text = parse_link(surface.shown[0])
    parsed = parse(text)
    assert (host, parsed.ticket.ttl, parsed.ticket.kid) == ("t.example.net", 60, KEY.kid)
    assert parsed.verified_by(KEY.public.verify)
    now = time.monotonic()
    surface.tell(FieldSeen(now))
    await eventually(lambda: bridge.current == Cue.READING)
    surface.tell(TicketRead(surface.shown[0], field_at=now, at=now))
    await eventually(lambda: bridge.current == Cue.THANKS)
    assert issued == [TapFacts(TapMode.TAG_READ, "tag0", nonce=parsed.ticket.nonce, seen_at=now)]
    task.cancel()
    await asyncio.wait({task})


def test_a_code_on_the_page_turns_as_often_as_it_is_told(tmp_path: Path) -> None:
    (tag, code), _, _ = joined(configured(tmp_path, TAGS), FakeSurface(), FakeSurface("qr0"))
    assert (tag._rotation._every_s, code._rotation._every_s) == (30.0, 7.0)


def test_no_surface_no_service(tmp_path: Path) -> None:
    assert joined(configured(tmp_path, ""))[0] == ()


@pytest.mark.parametrize("module", ["edge_agent.app", "edge_agent.hardware", "edge_agent.surfaces"])
def test_a_terminal_without_tags_does_not_load_their_room(module: str) -> None:
    code = (
        f"import sys, {module}; "
        "print([name for name in sys.modules if name.startswith('edge_agent.tags') or name in "
        "('segno', 'smbus2', 'gpiod')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
