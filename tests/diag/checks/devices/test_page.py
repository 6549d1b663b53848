import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from edge_agent.diag.checks.devices import page as module
from edge_agent.diag.checks.devices.page import CHECK
from edge_agent.diag.finding import CannotLook, NotHere, Seen
from firmware_bridge.bridge import Bridge
from firmware_bridge.links.web import WebLink
from tests.fakes.device_site import DeviceSite, ids
from tests.fakes.mosquitto import free_port

PAGE = '[[screens]]\ndriver = "web"\nport = {port}\n'


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is at the port here answers, and be it late."""
    monkeypatch.setattr(module, "WITHIN_S", 30.0)


def site(folder: Path, port: int, **told: object) -> DeviceSite:
    screen = {"name": "web0", "state": "up", "since_s": 60.0, "detail": f"http://127.0.0.1:{port}/, 1 open", **told}
    return DeviceSite(folder, PAGE.format(port=port), {"screens": [screen]})


@contextmanager
def page(port: int) -> Iterator[None]:
    """The agent's page, served by another thread."""
    loop = asyncio.new_event_loop()
    up = threading.Event()

    async def serve() -> None:
        bridge = Bridge([WebLink("web0", port)], terminal_id="sh-1")
        task = asyncio.create_task(bridge.run())
        while bridge.snapshot()[0].state.value != "up":  # noqa: ASYNC110 -- there is no event for it
            await asyncio.sleep(0.01)
        up.set()
        await done.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    done = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert up.wait(20)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join()
        loop.close()


@contextmanager
def something_else(port: int, answer: bytes) -> Iterator[None]:
    with closing(socket.create_server(("127.0.0.1", port))) as server:
        server.settimeout(20)

        def serve() -> None:
            client, _ = server.accept()
            client.recv(4096)
            client.sendall(answer)
            client.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join()


def test_a_page_that_is_served_and_shown_is_well(tmp_path: Path) -> None:
    port = free_port()
    with page(port):
        assert list(CHECK.look(site(tmp_path, port))) == [Seen(f"http://127.0.0.1:{port}/, 1 open", "web0")]
        unseen = f"http://127.0.0.1:{port}/, 0 open"
        assert ids(CHECK.look, site(tmp_path, port, detail=unseen)) == ["page-not-shown"]
        assert ids(CHECK.look, site(tmp_path, port, detail=unseen, since_s=1.0)) == []  # it comes back in a moment


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"SSH-2.0-OpenSSH\r\n", b""])
def test_something_else_at_the_port_is_told(tmp_path: Path, answer: bytes) -> None:
    port = free_port()
    with something_else(port, answer):
        assert ids(CHECK.look, site(tmp_path, port)) == ["page-port-taken"]


def test_a_page_that_is_not_served_is_down(tmp_path: Path) -> None:
    port = free_port()
    assert ids(CHECK.look, site(tmp_path, port)) == ["page-down"]
    in_use = f"cannot listen on 127.0.0.1:{port}: Address already in use"
    assert ids(CHECK.look, site(tmp_path, port, state="down", detail=in_use)) == ["page-port-taken"]


def test_without_an_agent_its_absence_explains_it(tmp_path: Path) -> None:
    with pytest.raises(CannotLook):
        list(CHECK.look(DeviceSite(tmp_path, PAGE.format(port=8787))))
    with pytest.raises(NotHere):
        list(CHECK.look(DeviceSite(tmp_path, "")))
