import asyncio
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.clock import FakeClock
from edge_agent.errors import ReaderError
from edge_agent.tags import qr, ticket
from edge_agent.tags.base import TicketSurface
from edge_agent.tags.qr import QrSurface, Rows
from tests.fakes.camera import read_rows


class Page:
    """Stands where the bridge is."""

    def __init__(self) -> None:
        self.rows: Rows | None = None
        self.ttl_ms = 0
        self.calls = 0

    def show(self, rows: Rows | None, ttl_ms: int) -> None:
        self.rows, self.ttl_ms = rows, ttl_ms
        self.calls += 1


def surface(page: Page) -> QrSurface:
    return QrSurface("qr0", page.show, life_s=60, clock=FakeClock())


def url_of(body: bytes, host: str = "t.example.net") -> str:
    made = ticket.Ticket(kid=body[:8], iat=1_790_000_000, ttl=120, nonce=body[8:16])
    return ticket.link(host, ticket.seal(made, lambda _data: body[16:80]))


URL = url_of(bytes(range(80)))


async def test_a_camera_reads_the_link_that_is_shown() -> None:
    page = Page()
    port: TicketSurface = surface(page)
    await port.open()
    assert page.rows is None
    assert await port.show(URL) is None
    assert page.rows is not None
    assert read_rows(page.rows) == [URL]
    assert page.ttl_ms == 60_000


async def test_hidden_and_closed_shows_no_code() -> None:
    page = Page()
    port = surface(page)
    await port.open()
    for withdraw in (port.hide, port.close, port.close):
        await port.show(URL)
        await withdraw()
        assert (page.rows, page.ttl_ms) == (None, 0)
    await port.open()
    await port.show(URL)
    assert page.rows is not None


async def test_what_is_not_open_shows_nothing() -> None:
    page = Page()
    with pytest.raises(ReaderError, match="not open"):
        await surface(page).show(URL)
    assert page.calls == 0


async def test_nobody_tells_of_a_read_but_the_wait_gives_a_sign_of_life_and_can_be_cancelled() -> None:
    clock = FakeClock()
    port = QrSurface("qr0", Page().show, life_s=60, clock=clock)
    assert not port.tells_reads
    clock.advance(5)
    waiting = asyncio.create_task(port.next_event())
    await asyncio.sleep(0)
    assert port.last_sign == clock.monotonic()
    assert not waiting.done()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=80, max_size=80), st.sampled_from(["a.cn", "t.example.net", "t." + "long" * 11 + ".cn"]))
def test_every_ticket_is_read_back_whatever_its_bytes_are(body: bytes, host: str) -> None:
    url = url_of(body, host)
    assert read_rows(qr.load_encoder()(url)) == [url]


def test_the_code_is_a_small_one() -> None:
    encode = qr.load_encoder()
    assert len(encode(URL)) == 45, "version 7"
    assert len(encode(url_of(bytes(80), "t." + "long" * 11 + ".cn"))) <= 49, "version 8 for the longest host"


def test_a_terminal_without_the_surface_does_not_load_the_encoder() -> None:
    code = "import sys, edge_agent.tags.qr; print('segno' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
