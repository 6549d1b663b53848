"""HTTP/1.1 on 127.0.0.1 by asyncio and h11: a fixed table of paths, each with the methods that it has.

The only importer of h11. For this machine's own programs: names and origins other than its own are refused (DNS
rebinding), writes from any browser page too; heads, bodies, times, connections and buffers are capped.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import h11

HOST = "127.0.0.1"
TEXT = "text/plain; charset=utf-8"
_READ_BYTES = 4096
# Who was refused in the middle of a body may finish it, so that the answer is read and no reset overtakes it.
_LINGER_BYTES = 65_536
_LINGER_S = 1.0
# What a browser says of a page's request, and no other program does. A write of a page always bears `Origin`, and no
# script can take it off: it is a forbidden request-header (Fetch standard, 2.2.2 and 3.2). The others are for safety.
_PAGE_MARKS = ("origin", "referer", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest", "sec-fetch-user")
_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one server spends on its clients."""

    connections: int = 16
    """More are told 503."""
    head_bytes: int = 8192
    body_bytes: int = 1024
    """Of a request whose path takes a body at all."""
    request_s: float = 10.0
    """For a whole head, and again for a whole body. A connection that says nothing ends then, too."""
    drain_s: float = 3.0
    """Who takes nothing of an answer or a stream for this long is hung up on."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request that passed all checks: ``headers`` by lower-case name, ``path`` without its query."""

    method: str
    path: str
    headers: Mapping[str, tuple[str, ...]]
    body: bytes = b""

    @property
    def from_page(self) -> bool:
        """Whether a browser says that a page asks, and not a person who typed the address (Fetch Metadata, 2.4)."""
        if self.headers.get("sec-fetch-site") == ("none",) and "origin" not in self.headers:
            return False
        return any(mark in self.headers for mark in _PAGE_MARKS)

    @property
    def from_elsewhere(self) -> bool:
        """Whether a browser says that a page of another origin asks: blindly it cannot read, but take up a place."""
        return self.headers.get("sec-fetch-site", ("none",)) not in {("none",), ("same-origin",)}

    @property
    def navigates(self) -> bool:
        """Whether the answer is to be a window or a frame of its own."""
        return self.headers.get("sec-fetch-mode") == ("navigate",)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; as an endpoint it is the same for every request."""

    status: int
    body: bytes = b""
    content_type: str = TEXT
    extra: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """An endpoint that answers by a function, which must not wait.

    ``takes`` is the media type of the body that a request must bring; "" refuses every body.
    """

    run: Callable[[Request], Answer]
    takes: str = ""


Send = Callable[[str], Awaitable[None]]
"""Sends a piece of a stream; raises ConnectionError or TimeoutError when the other side is gone or takes nothing."""


@dataclass(frozen=True, slots=True)
class Stream:
    """An endpoint that goes on until the other side goes away."""

    run: Callable[[Send], Awaitable[None]]
    content_type: str = "text/event-stream; charset=utf-8"


Endpoint = Answer | Call | Stream
Routes = Mapping[str, Mapping[str, Endpoint]]
"""Path -> method -> endpoint. Everything else is refused."""


def line(status: int, text: str, *extra: tuple[str, str]) -> Answer:
    """Make an answer of one line that says what is wrong and what to send instead."""
    return Answer(status, f"{text}\n".encode(), extra=extra)


class Loopback:
    """One server. ``policy`` is the Content-Security-Policy of all that it serves."""

    def __init__(self, routes: Routes, port: int, *, policy: str, limits: Limits | None = None) -> None:
        self.port = port
        """The port asked for; with 0 the kernel's choice stands here while it listens."""
        self.connections: set[asyncio.Task[None]] = set()
        self._routes = routes
        self._methods = sorted({method for methods in routes.values() for method in methods})
        self._limits = limits or Limits()
        self._headers = (("Content-Security-Policy", policy), *_HEADERS)

    async def serve(self, on_up: Callable[[], None]) -> None:
        """Listen until cancelled, then hang up on everybody; raises OSError when the port cannot be had."""
        server = await asyncio.start_server(self._connected, HOST, self.port, limit=self._limits.head_bytes)
        self.port = server.sockets[0].getsockname()[1]
        try:
            on_up()
            # Not serve_forever: from Python 3.12 on its end would wait for clients that never hang up.
            await asyncio.get_running_loop().create_future()
        finally:
            server.close()
            connections = list(self.connections)
            for task in connections:
                task.cancel()
            await asyncio.gather(*connections, return_exceptions=True)
            await server.wait_closed()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Counted here: all who come at once are accepted before the first of them is answered.
        full = len(self.connections) >= self._limits.connections
        client = _Client(reader, writer, self._limits, self._headers)
        # A task of our own: asyncio's would report each one that we cancel.
        task = asyncio.create_task(self._connection(client, full=full), name=f"loopback-{self.port}")
        self.connections.add(task)
        task.add_done_callback(self.connections.discard)

    async def _connection(self, client: "_Client", *, full: bool) -> None:
        try:
            if full:
                await client.respond(line(503, "too many connections; close some, or come back later"), close=True)
                return
            while await self._exchange(client):
                pass
        except (ConnectionError, TimeoutError):
            pass  # the other side went away or does not take what it asked for
        except asyncio.CancelledError:
            client.abort()  # the end of the server waits for nobody
            raise
        finally:
            await client.close()

    async def _exchange(self, client: "_Client") -> bool:
        """One request and its answer; whether another may follow on this connection."""
        try:
            request = await client.head()
            if request is None:
                return False
            endpoint = self._find(request)
            if isinstance(endpoint, Stream):
                await client.stream(endpoint)
                return False
            takes_body = isinstance(endpoint, Call) and endpoint.takes
            body = await client.body(self._limits.body_bytes if takes_body else 0)
        except _Refused as refused:
            answer = refused.answer
        except h11.RemoteProtocolError as error:
            text = "the head is too long" if error.error_status_hint == 431 else "this is no HTTP/1.1 request"
            answer = line(error.error_status_hint, text)
        else:
            if isinstance(endpoint, Call):
                endpoint = endpoint.run(Request(request.method, request.path, request.headers, body))
            return await client.respond(endpoint, close=False)
        return await client.respond(answer, close=True)

    def _find(self, request: Request) -> Endpoint:
        """What serves a request, from its head alone; raises _Refused."""
        self._check_asker(request)
        methods = self._routes.get(request.path)
        if methods is None:
            raise _Refused(line(404, f"nothing is here; there is {', '.join(sorted(self._routes))}"))
        endpoint = methods.get(request.method)
        if endpoint is None:
            raise _Refused(_not_this_method(sorted(methods)))
        if request.from_elsewhere and (isinstance(endpoint, Stream) or not request.navigates):
            raise _Refused(_from_elsewhere())
        self._check_body(request, endpoint.takes if isinstance(endpoint, Call) else "")
        return endpoint

    def _check_asker(self, request: Request) -> None:
        names = [f"{host}:{self.port}" for host in (HOST, "localhost")]
        if request.method not in self._methods:
            raise _Refused(_not_this_method(self._methods))
        if request.headers.get("host", ()) not in [(name,) for name in names]:
            raise _Refused(line(421, f"this server has no such name; ask for http://{names[0]}/"))
        if request.method != "GET" and any(mark in request.headers for mark in _PAGE_MARKS):
            raise _Refused(line(403, "no writes from a browser page; send this from a program, not from a page"))
        if any(origin not in [f"http://{name}" for name in names] for origin in request.headers.get("origin", ())):
            raise _Refused(_from_elsewhere())

    def _check_body(self, request: Request, takes: str) -> None:
        """See that a body comes where one is taken, and nowhere else, before any of it is read."""
        chunked, sizes = "transfer-encoding" in request.headers, request.headers.get("content-length", ())
        if not takes:
            if chunked or sizes not in {(), ("0",)}:
                raise _Refused(line(400, "no body, please"))
            return
        if chunked and sizes:
            raise _Refused(line(400, "Content-Length and Transfer-Encoding contradict each other; send one of them"))
        if not chunked and not sizes:
            raise _Refused(line(411, "a body is missing; send one with Content-Length"))
        given = request.headers.get("content-type", ())
        if len(given) != 1 or given[0].partition(";")[0].strip().lower() != takes:
            raise _Refused(line(415, f"the body is of another type; send Content-Type: {takes}"))
        # h11 has seen to it that it is a number.
        if sizes and int(sizes[0]) > self._limits.body_bytes:
            raise _Refused(_too_large(self._limits.body_bytes))


class _Refused(Exception):
    """An answer after which the connection ends: what follows on it is not looked at."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


def _from_elsewhere() -> Answer:
    return line(403, "not from this origin; pages from elsewhere have no business here")


def _too_large(most: int) -> Answer:
    return line(413, f"the body is too large; send at most {most} bytes")


def _not_this_method(methods: list[str]) -> Answer:
    allowed = ", ".join(methods)
    return line(405, f"not with this method; there is {allowed}", ("Allow", allowed))


class _Client:
    """One connection: reads requests, writes answers, within the limits."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        limits: Limits,
        headers: tuple[tuple[str, str], ...],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._limits = limits
        self._headers = headers
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.head_bytes)
        self._method = ""

    async def head(self) -> Request | None:
        """Return the next request without its body; None when the other side has closed."""
        self._method = ""
        async with asyncio.timeout(self._limits.request_s):
            event = await self._event()
        if not isinstance(event, h11.Request):
            return None
        headers: dict[str, tuple[str, ...]] = {}
        for name, value in event.headers:
            key = name.decode("ascii")
            headers[key] = (*headers.get(key, ()), value.decode("latin-1"))
        self._method = event.method.decode("ascii")
        return Request(self._method, event.target.decode("ascii", errors="replace").partition("?")[0], headers)

    async def body(self, most: int) -> bytes:
        """Return the whole body; raises _Refused where it is longer than ``most``, or does not come in time."""
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.request_s):
                while not isinstance(event := await self._event(), h11.EndOfMessage):
                    if not isinstance(event, h11.Data):
                        raise ConnectionResetError
                    body += event.data
                    if len(body) > most:
                        raise _Refused(_too_large(most))
        except TimeoutError:
            raise _Refused(line(408, "the body did not come in time; send it at once")) from None
        return bytes(body)

    async def _event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                await self._send(self._http.send(h11.InformationalResponse(status_code=100, headers=[])))
            self._http.receive_data(await self._reader.read(_READ_BYTES))
        return event

    async def respond(self, answer: Answer, *, close: bool) -> bool:
        """Answer the request; whether another may follow on this connection."""
        headers = [*answer.extra, *self._headers]
        if answer.status != 204:  # which has neither a body nor a length, RFC 9110, 8.6
            headers.append(("Content-Type", answer.content_type))
            if self._method != "HEAD":
                headers.append(("Content-Length", str(len(answer.body))))
        if close:
            headers.append(("Connection", "close"))
        parts = [self._http.send(h11.Response(status_code=answer.status, headers=headers))]
        if answer.body and self._method != "HEAD":
            parts.append(self._http.send(h11.Data(data=answer.body)))
        await self._send(*parts, self._http.send(h11.EndOfMessage()))
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            return True
        if self._http.their_state in {h11.SEND_BODY, h11.ERROR}:
            await self._linger()
        return False

    async def stream(self, endpoint: Stream) -> None:
        """Answer by a stream, until one of the two ends it."""
        headers = [("Content-Type", endpoint.content_type), *self._headers]
        await self._send(self._http.send(h11.Response(status_code=200, headers=headers)))

        async def send(text: str) -> None:
            await self._send(self._http.send(h11.Data(data=text.encode("utf-8"))))

        await endpoint.run(send)

    async def close(self) -> None:
        """Hang up as soon as the other side has all that was sent, or takes no more of it."""
        self._writer.close()
        try:
            async with asyncio.timeout(self._limits.drain_s):
                await self._writer.wait_closed()
        except ConnectionError:
            pass  # it was faster
        except TimeoutError:
            self.abort()

    def abort(self) -> None:
        """Hang up at once."""
        self._writer.transport.abort()

    async def _linger(self) -> None:
        """Take the rest of a body that nobody wants: closing on unread bytes resets, and the answer would be lost."""
        left = _LINGER_BYTES
        with contextlib.suppress(OSError, TimeoutError):
            self._writer.write_eof()
            async with asyncio.timeout(_LINGER_S):
                while left > 0 and (piece := await self._reader.read(_READ_BYTES)):
                    left -= len(piece)

    async def _send(self, *parts: bytes | None) -> None:
        self._writer.write(b"".join(part for part in parts if part))
        async with asyncio.timeout(self._limits.drain_s):
            await self._writer.drain()
