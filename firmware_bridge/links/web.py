"""Screen link to a web page on this machine: asyncio and h11 on 127.0.0.1, cues as Server-Sent Events.

The only importer of h11. Serves a fixed table of files and one stream, takes nothing: GET only, no bodies, names and
origins other than this machine's are refused (DNS rebinding), headers, connections and buffers are capped.
"""

import asyncio
import contextlib
import errno
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from enum import Enum, auto
from importlib import resources

import h11

from firmware_bridge.cues import Cue, Lang
from firmware_bridge.links.base import Code, LinkError, LinkFault, LinkObserver

DEFAULT_PORT = 8787
PAGE_LANG = "zh-CN"
"""Language of the page as it stands in the file; ``?lang=`` in the address overrides it and what the link is told."""
HEARTBEAT_S = 1.0
RETRY_MS = 500
_HOST = "127.0.0.1"
_MAX_HEAD_BYTES = 8192
_MAX_CONNECTIONS = 16
_READ_BYTES = 4096
_REQUEST_WITHIN_S = 10.0
# A page that takes nothing for this long is gone; EventSource comes back by itself if it is not.
_DRAIN_WITHIN_S = 3.0
_MAX_CUES_WAITING = 8

_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/static/style.css": ("style.css", "text/css; charset=utf-8"),
    "/static/tap.js": ("tap.js", "text/javascript; charset=utf-8"),
}
# The player on this machine may lay the page over an advert in a frame; a page from elsewhere may not.
_HEADERS = (
    (
        "Content-Security-Policy",
        (
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'self' http://127.0.0.1:* http://localhost:* file:"
        ),
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    extra: tuple[tuple[str, str], ...] = ()


class _Word(Enum):
    """What a page is told beside cues."""

    BEAT = auto()
    CODE = auto()
    """Look at the QR code of the moment: it is another one, or there is none any more."""


class _Page:
    """What one open page has not been told yet: the newest cues, and whether the QR code is another one."""

    def __init__(self) -> None:
        self._cues: deque[Cue] = deque(maxlen=_MAX_CUES_WAITING)
        self._other_code = False
        self._news = asyncio.Event()

    def tell(self, cue: Cue) -> None:
        """Keep it until it is sent; a page that does not keep up loses the oldest."""
        self._cues.append(cue)
        self._news.set()

    def tell_code(self) -> None:
        """The code is another one; only the newest will be sent."""
        self._other_code = True
        self._news.set()

    async def next(self) -> Cue | _Word:
        """Wait for what is to be told next."""
        try:
            async with asyncio.timeout(HEARTBEAT_S):
                await self._news.wait()
        except TimeoutError:
            return _Word.BEAT
        news: Cue | _Word = _Word.CODE
        if self._cues:
            news = self._cues.popleft()
        else:
            self._other_code = False
        if not self._cues and not self._other_code:
            self._news.clear()
        return news


class WebLink:
    """The page at ``http://127.0.0.1:port/``; any number of windows (up to a cap) show the same cue."""

    kind = "web"

    def __init__(
        self,
        name: str,
        port: int = DEFAULT_PORT,
        *,
        terminal_id: str = "",
        lang: str = PAGE_LANG,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.port = port
        """The port asked for; with 0 the kernel's choice stands here once the link is up."""
        self._terminal_id = terminal_id
        self._lang = lang
        self._clock = clock
        self._cue: tuple[Cue, float] | None = None
        self._code: tuple[Code, float] | None = None
        self._pages: set[_Page] = set()
        self._connections: set[asyncio.Task[None]] = set()
        self._observer: LinkObserver | None = None

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{_HOST}:{self.port}/"

    @property
    def detail(self) -> str:
        """Where the page is and how many windows show it."""
        return f"{self.url}, {len(self._pages)} open"

    def show(self, cue: Cue) -> None:
        """Hand the cue to every open page; one that does not keep up loses the oldest."""
        self._cue = (cue, self._clock() + cue.ttl_ms / 1000)
        for page in self._pages:
            page.tell(cue)

    def show_code(self, code: Code | None) -> None:
        """Show a QR code on every open page, or none; a page that comes later gets it for the rest of its life."""
        self._code = (code, self._clock() + code.ttl_ms / 1000) if code else None
        for page in self._pages:
            page.tell_code()

    async def serve(self, observer: LinkObserver) -> None:
        """Listen until cancelled; raises LinkError when the port cannot be had."""
        files = {path: _Answer(200, self._localised(_read(name)), kind) for path, (name, kind) in _FILES.items()}
        files["/favicon.ico"] = _Answer(204)
        self._observer = observer

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            # Counted here: all who come at once are accepted before the first of them is answered.
            full = len(self._connections) >= _MAX_CONNECTIONS
            # A task of our own: asyncio's would report each one that we cancel.
            task = asyncio.create_task(self._connection(reader, writer, files, full=full), name=f"page-{self.name}")
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)

        try:
            server = await asyncio.start_server(connected, _HOST, self.port, limit=_MAX_HEAD_BYTES)
        except OSError as error:
            fault = LinkFault.BUSY if error.errno == errno.EADDRINUSE else LinkFault.IO
            raise LinkError(fault, f"cannot listen on {_HOST}:{self.port}: {error.strerror}") from error
        self.port = server.sockets[0].getsockname()[1]
        observer.link_up(self.name, "")
        try:
            # Not serve_forever: from Python 3.12 on its end would wait for pages that never hang up.
            await asyncio.get_running_loop().create_future()
        finally:
            server.close()
            connections = list(self._connections)
            for task in connections:
                task.cancel()
            await asyncio.gather(*connections, return_exceptions=True)
            await server.wait_closed()
            self._observer = None

    def _localised(self, page: bytes) -> bytes:
        return page.replace(f'<html lang="{PAGE_LANG}"'.encode(), f'<html lang="{self._lang}"'.encode())

    async def _connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, files: dict[str, _Answer], *, full: bool
    ) -> None:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD_BYTES)
        try:
            if full:
                await _respond(http, writer, _Answer(503, b"too many connections\n"), close=True)
                return
            await self._requests(http, reader, writer, files)
        except (ConnectionError, TimeoutError):
            pass  # the page went away or does not take what it asked for
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _requests(
        self,
        http: h11.Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        files: dict[str, _Answer],
    ) -> None:
        while True:
            try:
                async with asyncio.timeout(_REQUEST_WITHIN_S):
                    request = await _next_request(http, reader)
            except h11.RemoteProtocolError as error:
                await _respond(http, writer, _Answer(error.error_status_hint, b"bad request\n"), close=True)
                return
            if request is None:
                return
            path = request.target.decode("ascii", errors="replace").partition("?")[0]
            refusal = self._refusal(request)
            if refusal is None and path == "/events":
                await self._stream(http, writer)
                return
            answer = refusal or files.get(path) or _Answer(404, b"not found\n")
            await _respond(http, writer, answer, close=refusal is not None)
            if http.our_state is not h11.DONE or http.their_state is not h11.DONE:
                return
            http.start_next_cycle()

    def _refusal(self, request: h11.Request) -> _Answer | None:
        """Why a request is not served; None when it is."""
        headers: dict[bytes, list[bytes]] = {}
        for name, value in request.headers:
            headers.setdefault(name, []).append(value)
        names = [f"{host}:{self.port}".encode() for host in (_HOST, "localhost")]
        if request.method != b"GET":
            return _Answer(405, extra=(("Allow", "GET"),))
        if headers.get(b"host", []) not in [[name] for name in names]:
            return _Answer(421, b"this server has no such name\n")
        if any(origin not in [b"http://" + name for name in names] for origin in headers.get(b"origin", [])):
            return _Answer(403, b"not from this origin\n")
        if b"transfer-encoding" in headers or headers.get(b"content-length", [b"0"]) != [b"0"]:
            return _Answer(400, b"no body, please\n")
        return None

    async def _stream(self, http: h11.Connection, writer: asyncio.StreamWriter) -> None:
        head = h11.Response(status_code=200, headers=[("Content-Type", "text/event-stream; charset=utf-8"), *_HEADERS])
        page = _Page()
        if cue := self._cue_now():
            page.tell(cue)
        if self._code_now()[0]:
            page.tell_code()
        hello = json.dumps({"terminal": self._terminal_id, "beat_ms": int(HEARTBEAT_S * 1000)})
        self._pages.add(page)
        try:
            await _send(
                writer, http.send(head), http.send(_data(f"retry: {RETRY_MS}\nevent: hello\ndata: {hello}\n\n"))
            )
            async for news in self._news_for(page):
                await _send(writer, http.send(_data(self._event(news))))
                if isinstance(news, Cue) and self._observer:
                    self._observer.cue_on_wire(self.name, news.name, time.monotonic())
        finally:
            self._pages.discard(page)

    async def _news_for(self, page: _Page) -> AsyncIterator[Cue | _Word]:
        """The current cue and code, then each new one, and a beat where there is none."""
        while True:
            yield await page.next()

    def _cue_now(self) -> Cue | None:
        if self._cue is None:
            return None
        cue, until = self._cue
        left_ms = _left_ms(until, self._clock())
        return replace(cue, ttl_ms=left_ms) if left_ms else None

    def _event(self, news: Cue | _Word) -> str:
        if isinstance(news, Cue):
            return f"event: cue\ndata: {_cue_json(news)}\n\n"
        if news is _Word.BEAT:
            return "event: beat\ndata: {}\n\n"
        code, left_ms = self._code_now()
        told = {"rows": code.rows if code else None, "ttl_ms": left_ms}
        return f"event: ticket\ndata: {json.dumps(told)}\n\n"

    def _code_now(self) -> tuple[Code | None, int]:
        if self._code is None:
            return None, 0
        code, until = self._code
        left_ms = _left_ms(until, self._clock())
        return (code if left_ms else None), left_ms


def _left_ms(until: float, now: float) -> int:
    return max(0, round((until - now) * 1000))


def _cue_json(cue: Cue) -> str:
    told = {
        "cue": cue.name,
        "text": cue.text,
        "amount": cue.amount,
        "ttl_ms": cue.ttl_ms,
        "level": cue.level,
        "words": {lang: cue.words.said_in(lang) for lang in Lang},
        "colours": cue.colours,
    }
    return json.dumps(told, ensure_ascii=False)


def _data(text: str) -> h11.Data:
    return h11.Data(data=text.encode("utf-8"))


def _read(name: str) -> bytes:
    return (resources.files("firmware_bridge") / "web" / name).read_bytes()


async def _next_request(http: h11.Connection, reader: asyncio.StreamReader) -> h11.Request | None:
    """Return the next request with its (empty) end taken; None when the other side has closed."""
    request: h11.Request | None = None
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await reader.read(_READ_BYTES))
        elif isinstance(event, h11.Request):
            request = event
            if any(name in (b"transfer-encoding", b"content-length") for name, _ in event.headers):
                return request  # refused without reading the body
        elif isinstance(event, h11.EndOfMessage):
            return request
        else:
            return None


async def _respond(http: h11.Connection, writer: asyncio.StreamWriter, answer: _Answer, *, close: bool) -> None:
    headers = [
        ("Content-Type", answer.content_type),
        ("Content-Length", str(len(answer.body))),
        *answer.extra,
        *_HEADERS,
    ]
    if close:
        headers.append(("Connection", "close"))
    head = h11.Response(status_code=answer.status, headers=headers)
    await _send(writer, http.send(head), http.send(h11.Data(data=answer.body)), http.send(h11.EndOfMessage()))


async def _send(writer: asyncio.StreamWriter, *parts: bytes | None) -> None:
    writer.write(b"".join(part for part in parts if part))
    async with asyncio.timeout(_DRAIN_WITHIN_S):
        await writer.drain()
