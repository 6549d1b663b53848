import asyncio
import contextlib
import json
import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.control import MAX_REQUEST_BYTES, ControlServer
from edge_agent.control_client import ask
from edge_agent.errors import ControlError, ExitCode, OutboxError


async def echo(request: dict[str, object]) -> dict[str, object]:
    return {"echo": request}


async def refuse(_request: dict[str, object]) -> dict[str, object]:
    raise OutboxError("disk full", remedy="make room")


async def crash(_request: dict[str, object]) -> dict[str, object]:
    raise ZeroDivisionError


async def hang(_request: dict[str, object]) -> dict[str, object]:
    await asyncio.Event().wait()
    return {}


async def big(_request: dict[str, object]) -> dict[str, object]:
    return {"text": "x" * 900_000}


OPS = {"echo": echo, "refuse": refuse, "crash": crash, "hang": hang, "big": big}


@pytest.fixture
async def path(tmp_path: Path) -> AsyncIterator[Path]:
    server = ControlServer(tmp_path / "s", OPS, max_clients=3, read_timeout_s=30, op_timeout_s=0.3)
    await server.start()
    yield tmp_path / "s"
    await server.close()
    await server.close()
    assert not (tmp_path / "s").exists()


@pytest.fixture
async def hasty(tmp_path: Path) -> AsyncIterator[Path]:
    """One that has time for one client only, and little."""
    server = ControlServer(tmp_path / "hasty", OPS, max_clients=1, read_timeout_s=0.2)
    await server.start()
    yield tmp_path / "hasty"
    await server.close()


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def asked(path: Path, request: dict[str, object]) -> dict[str, object]:
    return await asyncio.to_thread(ask, path, request, 30.0)


async def raw(path: Path, data: bytes, *, half_close: bool = True) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(data)
        if half_close:
            writer.write_eof()
        async with asyncio.timeout(30):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_one_line_asks_and_one_line_answers(path: Path) -> None:
    assert await asked(path, {"op": "echo", "n": 1}) == {"echo": {"op": "echo", "n": 1}}
    assert len((await asked(path, {"op": "big"}))["text"]) == 900_000  # type: ignore[arg-type] # a str, as sent


async def test_only_owner_and_group_may_ask(path: Path) -> None:
    assert mode_of(path) == 0o660


async def test_the_socket_never_has_wider_rights_not_even_for_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_modes: list[int] = []
    chmod = Path.chmod

    def watched(self: Path, mode: int) -> None:
        first_modes.append(mode_of(self))
        chmod(self, mode)

    monkeypatch.setattr(Path, "chmod", watched)
    before = os.umask(0)
    try:
        server = ControlServer(tmp_path / "s", OPS)
        await server.start()
    finally:
        os.umask(before)
    await server.close()
    assert first_modes == [0o660]


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({"op": "refuse"}, "disk full; make room"),
        ({"op": "crash"}, "crash failed: ZeroDivisionError"),
        ({"op": "hang"}, "hang took longer than 0.3 s"),
        ({"op": "nope\n"}, r"no such op: nope\\n; known: big, crash"),
        ({"op": ["echo"]}, "no such op"),
        ({}, "no such op: None"),
    ],
)
async def test_a_refusal_reaches_the_client_and_the_server_goes_on(
    path: Path, request_: dict[str, object], text: str
) -> None:
    with pytest.raises(ControlError) as caught:
        await asked(path, request_)
    assert text in str(caught.value)
    assert await asked(path, {"op": "echo"})


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"not json\n", "bad_request"),
        (b"\xff\xfe\n", "bad_request"),
        (b"[" * 4000 + b"\n", "bad_request"),
        (b'"text"\n', "unknown_op"),
        (b'{"op": "echo"}', None),
        (b'{"op": "echo"}\n{"op": "crash"}\n', None),
    ],
)
async def test_odd_requests_get_an_answer(path: Path, data: bytes, code: str | None) -> None:
    answer = json.loads(await raw(path, data))
    assert answer.get("code") == code
    assert answer["ok"] is (code is None)


async def test_an_oversize_request_is_cut_off(path: Path) -> None:
    answer = await raw(path, b'{"op": "echo", "x": "' + b"x" * 3 * MAX_REQUEST_BYTES + b'"}\n')
    assert not answer or json.loads(answer)["error"] == "a request has at most 4096 bytes"
    assert await asked(path, {"op": "echo"})


async def test_a_silent_client_is_let_go_and_an_empty_one_gets_nothing(path: Path, hasty: Path) -> None:
    answer = json.loads(await raw(hasty, b'{"op": ', half_close=False))
    assert answer["error"] == "no complete line in time"
    assert await raw(path, b"") == b""


async def test_clients_are_bounded_and_the_next_one_is_served_when_they_left(path: Path) -> None:
    idle = [await asyncio.open_unix_connection(path) for _ in range(3)]
    with pytest.raises(ControlError):
        await asked(path, {"op": "echo"})
    for reader, writer in idle:
        writer.write_eof()
        await reader.read()
        writer.close()
        await writer.wait_closed()
    assert await asked(path, {"op": "echo"})


async def test_a_client_that_never_reads_is_dropped(hasty: Path) -> None:
    deaf = socket.socket(socket.AF_UNIX)
    with contextlib.closing(deaf):
        deaf.setblocking(False)
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await asyncio.get_running_loop().sock_connect(deaf, str(hasty))
        deaf.send(b'{"op": "big"}\n')
        answer: dict[str, object] = {}  # nobody else is served before it is dropped
        async with asyncio.timeout(30):
            while not answer:
                with contextlib.suppress(ControlError):
                    answer = await asked(hasty, {"op": "echo"})


@settings(max_examples=40)
@given(st.binary(max_size=200))
def test_no_bytes_stop_the_server(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    async def scenario() -> None:
        path = tmp_path_factory.getbasetemp() / "fuzz.sock"
        server = ControlServer(path, OPS, read_timeout_s=30)
        await server.start()
        try:
            answer = await raw(path, data + b"\n")
            assert json.loads(answer)["ok"] is False
            assert await asked(path, {"op": "echo"})
        finally:
            await server.close()

    asyncio.run(scenario())


# --- start and stop ---


async def test_a_stale_socket_is_replaced_and_a_living_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(str(path))
    server = ControlServer(path, OPS)
    await server.start()
    with pytest.raises(ControlError, match="another agent answers"):
        await ControlServer(path, OPS).start()
    assert await asked(path, {"op": "echo"})
    await server.close()


async def test_close_leaves_the_socket_of_a_successor_alone(tmp_path: Path) -> None:
    first, second = ControlServer(tmp_path / "s", OPS), ControlServer(tmp_path / "s", OPS)
    await first.start()
    (tmp_path / "s").unlink()
    await second.start()
    await first.close()
    assert await asked(tmp_path / "s", {"op": "echo"})
    await second.close()


async def test_serve_listens_until_cancelled(tmp_path: Path) -> None:
    serving = asyncio.create_task(ControlServer(tmp_path / "s", OPS).serve())
    async with asyncio.timeout(30):
        while not (tmp_path / "s").exists():  # noqa: ASYNC110 -- a file appears without a signal
            await asyncio.sleep(0.001)
    assert await asked(tmp_path / "s", {"op": "echo"})
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert not (tmp_path / "s").exists()


async def test_close_cuts_off_a_running_request(tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def begin(request: dict[str, object]) -> dict[str, object]:
        begun.set()
        return await hang(request)

    server = ControlServer(tmp_path / "s", {"hang": begin}, op_timeout_s=30)
    await server.start()
    asking = asyncio.create_task(raw(tmp_path / "s", b'{"op": "hang"}\n'))
    await begun.wait()
    await server.close()
    assert b"the agent is stopping" in await asking


async def test_what_is_in_the_way_or_missing_is_said_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for path, text in {
        tmp_path / "file": "is in the way",
        tmp_path / "none" / "s": "RuntimeDirectory",
        tmp_path / ("x" * 120): "too long",
    }.items():
        with pytest.raises(ControlError, match=text):
            await ControlServer(path, OPS).start()
    assert (tmp_path / "file").read_text() == "mine"


def test_the_client_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ControlError) as caught:
        ask(tmp_path / "s", {"op": "status"})
    assert caught.value.remedy == "is it running? systemctl status edge-agent"
    assert caught.value.exit_code == ExitCode.COULD_NOT_LOOK
    with pytest.raises(ControlError, match="too long"):
        ask(tmp_path / ("x" * 200), {"op": "status"})


@pytest.mark.parametrize("answer", [b"", b"junk\n", b"[]\n", b'{"ok": true}\n', b'{"ok": 1, "result": {}}\n'])
async def test_a_senseless_answer_is_a_control_error(tmp_path: Path, answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        writer.close()

    server = await asyncio.start_unix_server(serve, tmp_path / "s")
    with pytest.raises(ControlError, match="makes no sense"):
        await asked(tmp_path / "s", {"op": "status"})
    server.close()


async def test_a_silent_agent_is_a_control_error(tmp_path: Path) -> None:
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as mute:
        mute.bind(str(tmp_path / "s"))
        mute.listen()
        with pytest.raises(ControlError, match="no answer"):
            await asyncio.to_thread(ask, tmp_path / "s", {"op": "status"}, 0.1)


async def test_an_agent_that_dribbles_cannot_hold_a_command(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.01)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        ended.set()

    server = await asyncio.start_unix_server(serve, tmp_path / "s")
    with pytest.raises(ControlError, match="no answer"):
        await asyncio.to_thread(ask, tmp_path / "s", {"op": "status"}, 0.2)
    await ended.wait()
    server.close()


async def test_who_waits_for_an_answer_when_the_server_ends_is_told_so_and_nothing_is_logged_as_a_fault(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    begun = asyncio.Event()

    async def wait(_request: dict[str, object]) -> dict[str, object]:
        begun.set()
        return await asyncio.get_running_loop().create_future()

    server = ControlServer(tmp_path / "s", {"wait": wait})
    await server.start()
    asked = asyncio.create_task(asyncio.to_thread(ask, tmp_path / "s", {"op": "wait"}))
    await begun.wait()
    await server.close()
    with pytest.raises(ControlError, match="the agent is stopping"):
        await asked
    assert caplog.records == []
