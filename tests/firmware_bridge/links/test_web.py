"""The page's server: what it serves, what it refuses, and that a page that hangs or floods costs nobody anything."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from firmware_bridge.cues import Cue, CueName
from firmware_bridge.links import web
from firmware_bridge.links.base import Code, LinkError, LinkFault
from firmware_bridge.links.web import WebLink
from tests.fakes.link_recorder import LinkRecorder
from tests.fakes.waiting import eventually


@asynccontextmanager
async def serving(link: WebLink | None = None) -> AsyncIterator[tuple[WebLink, LinkRecorder]]:
    link = link or WebLink("page", 0, terminal_id="sh-1")
    recorder = LinkRecorder()
    task = asyncio.create_task(link.serve(recorder))
    try:
        await eventually(lambda: recorder.ups or task.done())
        yield link, recorder
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class Client:
    """A raw connection: says exactly what a test wants said."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def head(self) -> tuple[int, dict[str, str]]:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = (line.split(": ", 1) for line in lines[1:] if line)
        return int(lines[0].split()[1]), {name.lower(): value for name, value in pairs}

    async def event(self) -> tuple[str, dict[str, object]]:
        """The next Server-Sent Event, out of its chunk."""
        while True:
            line = (await self.reader.readline()).decode()
            if line.startswith("event: "):
                data = (await self.reader.readline()).decode()
                return line[7:].strip(), json.loads(data.removeprefix("data: "))

    async def cue(self) -> dict[str, object]:
        while True:
            name, data = await self.event()
            if name == "cue":
                return data


@asynccontextmanager
async def connected(link: WebLink) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def ask(link: WebLink, request: str, *headers: str) -> tuple[int, dict[str, str], bytes]:
    """One request with the right Host (unless given), one answer."""
    lines = [request, *headers]
    if not any(header.lower().startswith("host:") for header in headers):
        lines.append(f"Host: 127.0.0.1:{link.port}")
    async with connected(link) as client:
        client.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        status, answer = await client.head()
        return status, answer, await client.reader.readexactly(int(answer.get("content-length", 0)))


async def test_it_tells_programs_how_many_windows_are_open() -> None:
    async with serving() as (link, _):
        assert (await ask(link, "GET /open HTTP/1.1"))[2] == b"0\n"
        async with connected(link) as client:
            client.writer.write(f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{link.port}\r\n\r\n".encode())
            assert (await client.event())[0] == "hello"
            assert (await ask(link, "GET /open HTTP/1.1"))[2] == b"1\n"
        await eventually(lambda: "0 open" in link.detail)
        assert (await ask(link, "GET /open HTTP/1.1"))[2] == b"0\n"


@pytest.mark.parametrize(
    ("path", "kind", "has"),
    [
        ("/", "text/html", b'id="stage"'),
        ("/?lang=en&bg=black", "text/html", b'id="stage"'),
        ("/static/style.css", "text/css", b"prefers-reduced-motion"),
        ("/static/tap.js", "text/javascript", b"EventSource"),
    ],
)
async def test_serves_the_page_strictly(path: str, kind: str, has: bytes) -> None:
    async with serving() as (link, _):
        status, headers, body = await ask(link, f"GET {path} HTTP/1.1")
        assert status == 200
        assert has in body
        assert headers["content-type"].startswith(kind)
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"


async def test_the_page_asks_nothing_of_the_outside() -> None:
    async with serving() as (link, _):
        for path in ("/", "/static/style.css", "/static/tap.js"):
            _, _, body = await ask(link, f"GET {path} HTTP/1.1")
            assert b"http://" not in body.replace(b"http://www.w3.org", b"")
            assert b"https://" not in body


@pytest.mark.parametrize(
    ("status", "request_line", "headers"),
    [
        (404, "GET /static/../cli.py HTTP/1.1", []),
        (404, "GET /static/%2e%2e/cli.py HTTP/1.1", []),
        (404, "GET /nothing HTTP/1.1", []),
        (204, "GET /favicon.ico HTTP/1.1", []),
        (405, "POST / HTTP/1.1", ["Content-Length: 0"]),
        (405, "POST /events HTTP/1.1", ["Content-Length: 3"]),
        (405, "HEAD / HTTP/1.1", []),
        (405, "PUT /now-playing HTTP/1.1", ["Content-Length: 2"]),
        (405, "OPTIONS / HTTP/1.1", []),
        (421, "GET / HTTP/1.1", ["Host: evil.example"]),
        (421, "GET / HTTP/1.1", ["Host: evil.example:{port}"]),
        (421, "GET /events HTTP/1.1", ["Host: 127.0.0.1.evil.example:{port}"]),
        (421, "GET / HTTP/1.1", ["Host: 127.0.0.1"]),
        (421, "GET / HTTP/1.0", ["Host: "]),
        (400, "GET / HTTP/1.1", ["Host: 127.0.0.1:{port}", "Host: evil.example"]),
        (403, "GET /events HTTP/1.1", ["Origin: http://evil.example"]),
        (403, "GET /events HTTP/1.1", ["Origin: null"]),
        (403, "GET /events HTTP/1.1", ["Origin: https://127.0.0.1:{port}"]),
        (400, "GET / HTTP/1.1", ["Content-Length: 5"]),
        (400, "GET / HTTP/1.1", ["Transfer-Encoding: chunked"]),
        (431, "GET / HTTP/1.1", ["X-Long: " + "a" * 20_000]),
        (400, "nonsense", []),
        (200, "GET / HTTP/1.1", ["Host: localhost:{port}"]),
        (200, "GET / HTTP/1.1", ["Origin: http://localhost:{port}"]),
        (200, "GET / HTTP/1.1", ["Upgrade: websocket", "Connection: Upgrade"]),
    ],
)
async def test_refusals(status: int, request_line: str, headers: list[str]) -> None:
    async with serving() as (link, _):
        answer, _, _ = await ask(link, request_line, *[header.format(port=link.port) for header in headers])
        assert answer == status
        assert (await ask(link, "GET / HTTP/1.1"))[0] == 200


async def test_listens_on_loopback_only() -> None:
    async with serving() as (link, _):
        with socket.socket() as probe:
            probe.settimeout(5)
            with pytest.raises(OSError, match="refused"):
                probe.connect(("127.0.0.2", link.port))


async def test_a_connection_is_used_again() -> None:
    async with serving() as (link, _), connected(link) as client:
        for _ in range(3):
            client.writer.write(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{link.port}\r\n\r\n".encode())
            status, headers = await client.head()
            await client.reader.readexactly(int(headers["content-length"]))
            assert status == 200


async def stream(client: Client, link: WebLink) -> None:
    client.writer.write(f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{link.port}\r\n\r\n".encode())
    status, headers = await client.head()
    assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")


async def test_the_stream_tells_the_cue_at_once_then_each_new_one_and_beats() -> None:
    async with serving(WebLink("page", 0, terminal_id="sh-1", clock=lambda: 100.0)) as (link, recorder):
        link.show(Cue(CueName.RESTING, "full", ttl_ms=12_000))
        async with connected(link) as client:
            await stream(client, link)
            assert await client.event() == ("hello", {"terminal": "sh-1", "beat_ms": 1000})
            first = await client.cue()
            assert (first["cue"], first["text"]) == ("resting", "full")
            assert first["ttl_ms"] == 12_000
            link.show(Cue(CueName.THANKS, "谢谢", "¥2.00", ttl_ms=3500, level=80))
            assert await client.cue() == {
                "cue": "thanks",
                "text": "谢谢",
                "amount": "¥2.00",
                "ttl_ms": 3500,
                "level": 80,
                "words": {"zh-CN": "", "en": ""},
                "colours": None,
            }
            assert (await client.event())[0] == "beat"
            assert [cue for _, cue, _ in recorder.wire] == [CueName.RESTING, CueName.THANKS]
            assert link.detail == f"http://127.0.0.1:{link.port}/, 1 open"
        await eventually(lambda: link.detail.endswith("0 open"))


async def test_a_cue_whose_time_is_over_is_not_told() -> None:
    now = [100.0]
    link = WebLink("page", 0, clock=lambda: now[0])
    link.show(Cue(CueName.THANKS, ttl_ms=3500))
    now[0] += 4
    async with serving(link), connected(link) as client:
        await stream(client, link)
        assert (await client.event())[0] == "hello"
        assert (await client.event())[0] == "beat"


async def test_a_page_that_is_told_late_is_told_what_time_is_left_and_nothing_that_is_over() -> None:
    now = [100.0]
    link = WebLink("page", 0, clock=lambda: now[0])
    async with serving(link), connected(link) as client:
        await stream(client, link)
        assert (await client.event())[0] == "hello"
        link.show(Cue(CueName.THANKS, "over", ttl_ms=3500))
        now[0] += 1
        link.show(Cue(CueName.RETRY, "half over", ttl_ms=5000))
        now[0] += 2.5
        told = await client.cue()
        assert (told["text"], told["ttl_ms"]) == ("half over", 2500)


async def test_a_page_that_does_not_keep_up_gets_the_newest() -> None:
    async with serving() as (link, _), connected(link) as client:
        await stream(client, link)
        await client.event()
        for number in range(100):
            link.show(Cue(CueName.THANKS, str(number), ttl_ms=60_000))
        texts = [(await client.cue())["text"] for _ in range(8)]
        assert texts == [str(number) for number in range(92, 100)]


CODE = Code(("010", "101", "010"), ttl_ms=60_000)


async def ticket(client: Client) -> dict[str, object]:
    while True:
        name, data = await client.event()
        if name == "ticket":
            return data


async def test_a_code_is_told_at_once_and_to_a_page_that_comes_later_for_the_rest_of_its_life() -> None:
    now = [100.0]
    async with serving(WebLink("page", 0, clock=lambda: now[0])) as (link, _):
        link.show(Cue(CueName.INVITE))
        async with connected(link) as early:
            await stream(early, link)
            await early.cue()
            link.show_code(CODE)
            assert await ticket(early) == {"rows": ["010", "101", "010"], "ttl_ms": 60_000}
            now[0] += 20
            async with connected(link) as late:
                await stream(late, link)
                assert (await late.event())[0] == "hello"
                assert await ticket(late) == {"rows": ["010", "101", "010"], "ttl_ms": 40_000}
                link.show_code(None)
                for client in (early, late):
                    assert await ticket(client) == {"rows": None, "ttl_ms": 0}


@pytest.mark.parametrize("passed_s", [60.0, 3600.0])
async def test_a_page_that_comes_when_a_codes_life_is_over_never_hears_of_it(passed_s: float) -> None:
    now = [100.0]
    link = WebLink("page", 0, clock=lambda: now[0])
    link.show_code(CODE)
    now[0] += passed_s
    async with serving(link), connected(link) as client:
        await stream(client, link)
        assert (await client.event())[0] == "hello"
        assert (await client.event())[0] == "beat"


async def test_a_page_that_does_not_keep_up_hears_that_a_code_was_taken_back() -> None:
    async with serving() as (link, _), connected(link) as client:
        await stream(client, link)
        await client.event()
        link.show_code(CODE)
        link.show_code(None)
        for number in range(100):
            link.show(Cue(CueName.THANKS, str(number), ttl_ms=60_000))
        texts = [(await client.cue())["text"] for _ in range(8)]
        assert texts == [str(number) for number in range(92, 100)], "cues first: a person waits for them"
        assert await client.event() == ("ticket", {"rows": None, "ttl_ms": 0})


@pytest.mark.parametrize(
    ("rows", "ttl_ms"),
    [((), 1000), (("01", "0"), 1000), (("0",) * 2, 1000), (("0x", "10"), 1000), (("1" * 178,) * 178, 1), (("1",), 0)],
)
def test_what_is_no_code_or_has_no_life_is_refused(rows: tuple[str, ...], ttl_ms: int) -> None:
    with pytest.raises(ValueError, match=r"code|ttl_ms"):
        Code(rows, ttl_ms)


async def test_a_page_that_takes_nothing_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "_DRAIN_WITHIN_S", 0.1)
    async with serving() as (link, _), connected(link) as client:
        client.writer.write(f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{link.port}\r\n\r\n".encode())
        await eventually(lambda: link.detail.endswith("1 open"))

        def flooded() -> bool:
            link.show(Cue(CueName.THANKS, "x" * 100_000, ttl_ms=3500))
            return link.detail.endswith("0 open")

        await eventually(flooded)


async def test_a_seventeenth_connection_is_told_to_come_back() -> None:
    async with serving() as (link, _):
        idle = [await asyncio.open_connection("127.0.0.1", link.port) for _ in range(16)]
        await eventually(lambda: len(link._server.connections) == 16)
        async with connected(link) as client:
            assert (await client.head())[0] == 503
        for _, writer in idle:
            writer.close()
            await writer.wait_closed()
        await eventually(lambda: not link._server.connections)
        assert (await ask(link, "GET / HTTP/1.1"))[0] == 200


async def test_a_crowd_that_comes_at_once_takes_no_more_places_than_there_are_and_no_fewer() -> None:
    async with serving() as (link, _):
        crowd = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", link.port) for _ in range(20)))
        for _, writer in crowd:
            writer.write(f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{link.port}\r\n\r\n".encode())
        answers = sorted([await reader.readuntil(b" ") + await reader.readexactly(3) for reader, _ in crowd])
        assert answers == [b"HTTP/1.1 200"] * 16 + [b"HTTP/1.1 503"] * 4
        for _, writer in crowd:
            writer.close()
            await writer.wait_closed()


async def test_who_never_finishes_a_request_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "_REQUEST_WITHIN_S", 0.1)
    async with serving() as (link, _), connected(link) as client:
        client.writer.write(b"GET / HT")
        with suppress(ConnectionError):  # hung up on before its bytes were read
            assert await client.reader.read() == b""


async def test_a_taken_port_is_said() -> None:
    async with serving() as (link, _):
        second = WebLink("second", link.port)
        with pytest.raises(LinkError, match=f"127.0.0.1:{link.port}") as caught:
            await second.serve(LinkRecorder())
        assert caught.value.fault is LinkFault.BUSY


async def test_ending_hangs_up_on_open_pages() -> None:
    async with serving() as (link, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        client = Client(reader, writer)
        await stream(client, link)
    while await reader.read(4096):
        pass
    writer.close()
    await writer.wait_closed()
