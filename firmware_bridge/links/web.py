"""Screen link to a web page on this machine: a loopback server, cues as Server-Sent Events.

Serves a fixed table of files and one stream, and takes nothing: GET only, no bodies. A page that hangs or does not keep
up costs nobody anything.
"""

import asyncio
import errno
import json
import time
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from importlib import resources

from firmware_bridge.cues import Cue, Lang
from firmware_bridge.links.base import Code, LinkError, LinkFault, LinkObserver
from firmware_bridge.links.driving import KeptCue
from firmware_bridge.loopback import HOST, Answer, Call, Endpoint, Limits, Loopback, Routes, Send, Stream

DEFAULT_PORT = 8787
PAGE_LANG = "zh-CN"
"""Language of the page as it stands in the file; ``?lang=`` in the address overrides it and what the link is told."""
HEARTBEAT_S = 1.0
RETRY_MS = 500
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
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self' http://127.0.0.1:* http://localhost:* file:"
)


class _Word(Enum):
    """What a page is told beside cues."""

    BEAT = auto()
    CODE = auto()
    """Look at the QR code of the moment: it is another one, or there is none any more."""


class _Page:
    """What one open page has not been told yet: the newest cues, and whether the QR code is another one."""

    def __init__(self) -> None:
        self._cues: deque[KeptCue] = deque(maxlen=_MAX_CUES_WAITING)
        self._other_code = False
        self._news = asyncio.Event()

    def tell(self, cue: KeptCue) -> None:
        """Keep it until it is sent; a page that does not keep up loses the oldest."""
        self._cues.append(cue)
        self._news.set()

    def tell_code(self) -> None:
        """The code is another one; only the newest will be sent."""
        self._other_code = True
        self._news.set()

    async def next(self) -> KeptCue | _Word:
        """Wait for what is to be told next."""
        try:
            async with asyncio.timeout(HEARTBEAT_S):
                await self._news.wait()
        except TimeoutError:
            return _Word.BEAT
        news: KeptCue | _Word = _Word.CODE
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
        limits = Limits(request_s=_REQUEST_WITHIN_S, drain_s=_DRAIN_WITHIN_S)
        self._terminal_id = terminal_id
        self._lang = lang
        self._server = Loopback(self._routes(), port, policy=_POLICY, limits=limits)
        self._clock = clock
        self._wanted = KeptCue()
        self._code: tuple[Code, float] | None = None
        self._pages: set[_Page] = set()
        self._observer: LinkObserver | None = None

    @property
    def port(self) -> int:
        """The port asked for; with 0 the kernel's choice stands here once the link is up."""
        return self._server.port

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.port}/"

    @property
    def detail(self) -> str:
        """Where the page is and how many windows show it."""
        return f"{self.url}, {len(self._pages)} open"

    def show(self, cue: Cue) -> None:
        """Hand the cue to every open page; one that does not keep up loses the oldest."""
        self._wanted = KeptCue()
        self._wanted.keep(cue, self._clock())
        for page in self._pages:
            page.tell(self._wanted)

    def show_code(self, code: Code | None) -> None:
        """Show a QR code on every open page, or none; a page that comes later gets it for the rest of its life."""
        self._code = (code, self._clock() + code.ttl_ms / 1000) if code else None
        for page in self._pages:
            page.tell_code()

    async def serve(self, observer: LinkObserver) -> None:
        """Listen until cancelled; raises LinkError when the port cannot be had."""
        self._observer = observer
        try:
            await self._server.serve(lambda: observer.link_up(self.name, ""))
        except OSError as error:
            fault = LinkFault.BUSY if error.errno == errno.EADDRINUSE else LinkFault.IO
            raise LinkError(fault, f"cannot listen on {HOST}:{self.port}: {error.strerror}") from error
        finally:
            self._observer = None

    def _routes(self) -> Routes:
        files = {path: Answer(200, self._localised(_read(name)), kind) for path, (name, kind) in _FILES.items()}
        routes: dict[str, Endpoint] = {
            **files,
            "/favicon.ico": Answer(204),
            "/events": Stream(self._stream),
            "/open": Call(lambda _: Answer(200, f"{len(self._pages)}\n".encode())),
        }
        return {path: {"GET": endpoint} for path, endpoint in routes.items()}

    def _localised(self, page: bytes) -> bytes:
        return page.replace(f'<html lang="{PAGE_LANG}"'.encode(), f'<html lang="{self._lang}"'.encode())

    async def _stream(self, send: Send) -> None:
        """The current cue and code, then each new one, and a beat where there is none."""
        page = _Page()
        page.tell(self._wanted)
        if self._code_now()[0]:
            page.tell_code()
        hello = json.dumps({"terminal": self._terminal_id, "beat_ms": int(HEARTBEAT_S * 1000)})
        self._pages.add(page)
        try:
            await send(f"retry: {RETRY_MS}\nevent: hello\ndata: {hello}\n\n")
            while True:
                news = await page.next()
                if isinstance(news, _Word):
                    await send(self._event(news))
                elif cue := news.left(self._clock()):
                    await send(f"event: cue\ndata: {_cue_json(cue)}\n\n")
                    if self._observer:
                        self._observer.cue_on_wire(self.name, cue.name, time.monotonic())
        finally:
            self._pages.discard(page)

    def _event(self, news: _Word) -> str:
        if news is _Word.BEAT:
            return "event: beat\ndata: {}\n\n"
        code, left_ms = self._code_now()
        told = {"rows": code.rows if code else None, "ttl_ms": left_ms}
        return f"event: ticket\ndata: {json.dumps(told)}\n\n"

    def _code_now(self) -> tuple[Code | None, int]:
        if self._code is None:
            return None, 0
        code, until = self._code
        left_ms = max(0, round((until - self._clock()) * 1000))
        return (code if left_ms else None), left_ms


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


def _read(name: str) -> bytes:
    return (resources.files("firmware_bridge") / "web" / name).read_bytes()
