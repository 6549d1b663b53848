"""The loopback server: what it takes, what it refuses with which words, and that nobody can occupy it."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.loopback import Answer, Call, Limits, Loopback, Request, Send, Stream
from tests.fakes.waiting import eventually

POLICY = "default-src 'none'"


def echo(request: Request) -> Answer:
    return Answer(200, json.dumps([request.method, request.path, request.body.decode("latin-1")]).encode(), "x/y")


async def ticks(send: Send) -> None:
    while True:
        await send("x" * 50_000)
        await asyncio.sleep(0)


ROUTES = {
    "/page": {"GET": Answer(200, b"page", "text/html")},
    "/echo": {"GET": Call(echo), "PUT": Call(echo, takes="application/json")},
    "/bare": {"POST": Call(echo)},
    "/ticks": {"GET": Stream(ticks)},
}


@asynccontextmanager
async def serving(**limits: float) -> AsyncIterator[Loopback]:
    server = Loopback(ROUTES, 0, policy=POLICY, limits=Limits(**limits))  # type: ignore[arg-type] # ints where ints are
    up = asyncio.Event()
    task = asyncio.create_task(server.serve(up.set))
    try:
        await up.wait()
        yield server
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def say(server: Loopback, data: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send these bytes, {port} filled in, and read one answer; what follows it must be nothing or an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(data.replace(b"{port}", str(server.port).encode()))
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("ascii").split("\r\n")
        headers = dict(text.lower().split(": ", 1) for text in lines[1:] if text)
        return int(lines[0].split()[1]), headers, await reader.readexactly(int(headers.get("content-length", 0)))
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@asynccontextmanager
async def told_at_once(server: Loopback, data: bytes) -> AsyncIterator[asyncio.StreamReader]:
    """A connection whose first bytes are there before the server sees it: what is timed is what it does with them."""
    client = socket.create_connection(("127.0.0.1", server.port))
    client.sendall(data.replace(b"{port}", str(server.port).encode()))
    client.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=client)
    try:
        yield reader
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def request(line: str, *headers: str, body: bytes = b"", sized: bool = True) -> bytes:
    lines = [f"{line} HTTP/1.1", *headers]
    if not any(header.lower().startswith("host:") for header in headers):
        lines.append("Host: 127.0.0.1:{port}")
    if body and sized:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


JSON = "Content-Type: application/json"


@pytest.mark.parametrize(
    "put",
    [
        request("PUT /echo", JSON, body=b'{"a":1}'),
        request("PUT /echo?x=1", "Content-Type: Application/JSON; charset=utf-8", body=b'{"a":1}'),
        request(
            "PUT /echo", JSON, "Transfer-Encoding: chunked", body=b'3\r\n{"a\r\n4\r\n":1}\r\n0\r\n\r\n', sized=False
        ),
        request("PUT /echo", JSON, "Host: localhost:{port}", body=b'{"a":1}'),
    ],
)
async def test_a_program_on_this_machine_may_write(put: bytes) -> None:
    async with serving() as server:
        status, headers, body = await say(server, put)
        assert (status, json.loads(body)) == (200, ["PUT", "/echo", '{"a":1}'])
        assert headers["content-security-policy"] == POLICY
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert not any(name.startswith("access-control-") for name in headers)


async def test_the_largest_body_is_taken_and_one_byte_more_is_not() -> None:
    async with serving() as server:
        for size, status in ((1024, 200), (1025, 413)):
            chunks = f"{size:x}\r\n".encode() + b"x" * size + b"\r\n0\r\n\r\n"
            assert (await say(server, request("PUT /echo", JSON, body=b"x" * size)))[0] == status
            chunked = request("PUT /echo", JSON, "Transfer-Encoding: chunked", body=chunks, sized=False)
            assert (await say(server, chunked))[0] == status


@pytest.mark.parametrize(
    ("status", "says", "data"),
    [
        (405, "GET, POST, PUT", request("DELETE /echo")),
        (405, "GET, POST, PUT", request("OPTIONS /echo", "Origin: http://evil.example")),
        (405, "GET, PUT", request("POST /echo", JSON, body=b"{}")),
        (405, "there is GET", request("PUT /page", JSON, body=b"{}")),
        (404, "/bare, /echo, /page, /ticks", request("GET /nothing")),
        (404, "nothing is here", request("PUT /echo/", JSON, body=b"{}")),
        (404, "nothing is here", request("GET http://127.0.0.1:{port}/page")),
        (411, "Content-Length", request("PUT /echo", JSON)),
        (413, "at most 1024 bytes", request("PUT /echo", JSON, "Content-Length: 1025")),
        (413, "at most 1024 bytes", request("PUT /echo", JSON, "Content-Length: 18446744073709551616")),
        (413, "at most 1024 bytes", request("PUT /echo", JSON, body=b"x" * 200_000)),
        (415, "application/json", request("PUT /echo", body=b"{}")),
        (415, "application/json", request("PUT /echo", "Content-Type: text/plain", body=b"{}")),
        (415, "application/json", request("PUT /echo", JSON, "Content-Type: text/plain", body=b"{}")),
        (415, "application/json", request("PUT /echo", "Content-Type: application/json, text/plain", body=b"{}")),
        (400, "no body", request("POST /bare", body=b"{}")),
        (400, "no body", request("GET /page", body=b"{}")),
        (400, "one of them", request("PUT /echo", JSON, "Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\n\r\n")),
        (400, "no HTTP/1.1", request("PUT /echo", JSON, "Content-Length: -1")),
        (400, "no HTTP/1.1", request("PUT /echo", JSON, "Content-Length: 2", "Content-Length: 3")),
        (400, "no HTTP/1.1", request("PUT /echo", JSON, "Content-Length: " + "9" * 5000)),
        (400, "no HTTP/1.1", request("PUT /echo", JSON, "Transfer-Encoding: chunked", body=b"zz\r\n", sized=False)),
        (501, "no HTTP/1.1", request("PUT /echo", JSON, "Transfer-Encoding: gzip", body=b"x", sized=False)),
        (431, "too long", request("PUT /echo", JSON, "X-Long: " + "a" * 50_000)),
        (421, "http://127.0.0.1:", request("PUT /echo", JSON, "Host: evil.example:{port}", body=b"{}")),
        (421, "no such name", request("PUT /echo", JSON, "Host: 127.0.0.1", body=b"{}")),
        (421, "no such name", request("PUT /echo", JSON, "Host: 127.0.0.1:1", body=b"{}")),
        (421, "no such name", request("PUT /echo", JSON, "Host: 127.0.0.1.:{port}", body=b"{}")),
        (421, "no such name", request("PUT /echo", JSON, "Host: [::1]:{port}", body=b"{}")),
        (403, "not from this origin", request("GET /echo", "Origin: http://127.0.0.1:1")),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_said_in_one_line(status: int, says: str, data: bytes) -> None:
    async with serving() as server:
        found, headers, body = await say(server, data)
        assert found == status
        assert says in body.decode()
        assert headers["content-type"] == "text/plain; charset=utf-8"
        assert body.count(b"\n") == 1
        assert body.endswith(b"\n")
        assert headers["connection"] == "close"
        assert not any(name.startswith("access-control-") for name in headers)
        assert (headers.get("allow") is not None) == (status == 405)
        assert (await say(server, request("GET /page")))[2] == b"page"


@pytest.mark.parametrize(
    "mark",
    [
        "Origin: http://evil.example",
        "Origin: null",
        "Origin: http://127.0.0.1:{port}",
        "Referer: http://127.0.0.1:{port}/",
        "Sec-Fetch-Site: same-origin",
        "Sec-Fetch-Site: none",
        "Sec-Fetch-Mode: cors",
        "Sec-Fetch-Dest: empty",
        "sec-fetch-user: ?1",
    ],
)
async def test_no_page_may_write_not_even_one_of_its_own(mark: str) -> None:
    async with serving() as server:
        status, _, body = await say(server, request("PUT /echo", JSON, mark, body=b"{}"))
        assert (status, body[:14]) == (403, b"no writes from")
        assert (await say(server, request("POST /bare", mark)))[0] == 403
        assert (await say(server, request("POST /bare")))[0] == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_a_page_from_elsewhere_may_frame_a_page_and_take_up_no_place_else(site: str) -> None:
    marks = f"Sec-Fetch-Site: {site}"
    async with serving() as server:
        for blind in ("GET /page", "GET /echo", "GET /ticks"):
            status, _, body = await say(server, request(blind, marks, "Sec-Fetch-Mode: no-cors"))
            assert (status, body[:20]) == (403, b"not from this origin")
        assert (await say(server, request("GET /ticks", marks, "Sec-Fetch-Mode: navigate")))[0] == 403, (
            "a stream ends never"
        )
        assert (await say(server, request("GET /page", marks, "Sec-Fetch-Mode: navigate")))[0] == 200
        assert (await say(server, request("GET /page", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors")))[
            0
        ] == 200


@pytest.mark.parametrize(
    ("headers", "from_page"),
    [
        ({}, False),
        ({"accept": ("*/*",)}, False),
        ({"sec-fetch-site": ("none",), "sec-fetch-mode": ("navigate",)}, False),
        ({"sec-fetch-site": ("none",), "origin": ("null",)}, True),
        ({"sec-fetch-site": ("none", "cross-site")}, True),
        ({"sec-fetch-site": ("same-site",)}, True),
        ({"referer": ("http://127.0.0.1:8787/",)}, True),
    ],
)
def test_an_address_that_a_person_typed_is_no_page(headers: dict[str, tuple[str, ...]], from_page: bool) -> None:
    assert Request("GET", "/", headers).from_page is from_page


async def test_a_body_that_does_not_come_is_told_so_and_a_head_that_does_not_is_hung_up_on() -> None:
    async with serving(request_s=0.1) as server:
        async with told_at_once(server, request("PUT /echo", JSON, "Content-Length: 9")) as reader:
            answer = await reader.read()
            assert (answer[:13], b"in time" in answer) == (b"HTTP/1.1 408 ", True)
        async with told_at_once(server, b"PUT /echo HT") as reader:
            assert await reader.read() == b""


async def test_a_client_that_waits_to_be_asked_for_its_body_is_asked() -> None:
    async with serving() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        head = request("PUT /echo", JSON, "Expect: 100-continue", "Content-Length: 2")
        writer.write(head.replace(b"{port}", str(server.port).encode()))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        writer.write(b"{}")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()
        await writer.wait_closed()


async def test_answers_come_one_after_the_other_on_one_connection() -> None:
    async with serving() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        both = request("PUT /echo", JSON, body=b"1") + request("GET /page") + request("GET /nothing")
        writer.write(both.replace(b"{port}", str(server.port).encode()))
        answers = await reader.read()
        assert [text[:3] for text in answers.split(b"HTTP/1.1 ")[1:]] == [b"200", b"200", b"404"]
        writer.close()
        await writer.wait_closed()


async def test_who_is_refused_in_the_middle_of_a_body_may_finish_it_and_reads_why() -> None:
    def talk(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            head = request("PUT /echo", JSON, "Content-Length: 50000")
            client.sendall(head.replace(b"{port}", str(port).encode()))
            client.recv(1, socket.MSG_PEEK)  # it has answered
            for _ in range(5):
                client.sendall(b"x" * 10_000)
                time.sleep(0.005)  # a reset would come in between
            return b"".join(iter(lambda: client.recv(4096), b""))

    async with serving() as server:
        assert (await asyncio.to_thread(talk, server.port)).startswith(b"HTTP/1.1 413")


async def test_who_takes_nothing_of_a_stream_is_dropped_and_makes_room() -> None:
    async with serving(drain_s=0.1, connections=1) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(request("GET /ticks").replace(b"{port}", str(server.port).encode()))
        await eventually(lambda: server.connections)
        await eventually(lambda: not server.connections)
        assert (await say(server, request("GET /page")))[0] == 200
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_one_too_many_is_told_so() -> None:
    async with serving(connections=2) as server:
        idle = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)]
        await eventually(lambda: len(server.connections) == 2)
        status, _, body = await say(server, request("GET /page"))
        assert (status, b"too many" in body) == (503, True)
        for _, writer in idle:
            writer.close()
            await writer.wait_closed()


@given(
    st.lists(st.one_of(st.binary(max_size=200), st.sampled_from([b"\r\n", b"PUT /echo HTTP/1.1", b": ", b"\r\n\r\n"])))
)
def test_noise_ends_its_own_connection_and_nothing_else(pieces: list[bytes]) -> None:
    async def run() -> None:
        async with serving() as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"".join(pieces))
            with suppress(ConnectionError):
                writer.write_eof()
                answer = await reader.read()
                assert answer[:5] in {b"", b"HTTP/"}
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            async with told_at_once(server, request("GET /page")) as after:
                assert await after.readline() == b"HTTP/1.1 200 \r\n"

    asyncio.run(run())
