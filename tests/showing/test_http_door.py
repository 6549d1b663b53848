"""`PUT /now-playing`: a program on this machine may, a page in its browser may not; a port that is taken is told."""

import asyncio
import json
import socket

import pytest

from edge_agent.models import ComponentState
from edge_agent.showing.base import LONGEST_S, Showing, Source, Told
from tests.fakes.player_terminal import NOW, PlayerTerminal
from tests.fakes.waiting import eventually


async def test_a_player_tells_and_asks() -> None:
    async with PlayerTerminal().serving() as terminal:
        assert await terminal.ask("PUT", {"campaign": "c-1", "until": NOW + 30}) == (204, "")
        assert await terminal.ask("PUT", {"campaign": None}) == (204, "")
        assert terminal.told == [Told("c-1", 30.0, Source.HTTP), Told(None, LONGEST_S, Source.HTTP)]
        terminal.shown = Showing("夏季五折", Source.HTTP, 12.5)
        status, text = await terminal.ask("GET")
        assert (status, json.loads(text)) == (200, {"campaign": "夏季五折", "until": NOW + 12.5, "source": "http"})
        assert terminal.reports == [(ComponentState.OK, f"http://127.0.0.1:{terminal.door.port}/now-playing")]


@pytest.mark.parametrize(
    ("status", "says", "method", "body", "headers"),
    [
        (400, "until is in the past; send until as", "PUT", {"campaign": "c-1", "until": NOW - 1}, {}),
        (400, "not JSON; send one object like", "PUT", "campaign=c-1", {}),
        (413, "at most 1024 bytes", "PUT", " " * 1025, {}),
        (415, "send Content-Type: application/json", "PUT", {"campaign": None}, {"Content_Type": "text/plain"}),
        (411, "send one with Content-Length", "PUT", None, {"Content_Length": ""}),
        (405, "there is GET, PUT", "POST", {"campaign": None}, {}),
        (405, "there is GET, PUT", "OPTIONS", None, {"Origin": "http://evil.example"}),
        (421, "this server has no such name", "PUT", {"campaign": None}, {"Host": "evil.example"}),
        (403, "no writes from a browser page", "PUT", {"campaign": None}, {"Origin": "http://127.0.0.1:8787"}),
        (403, "no writes from a browser page", "PUT", {"campaign": None}, {"Referer": "http://127.0.0.1:8787/"}),
        (403, "no writes from a browser page", "PUT", {"campaign": None}, {"Sec_Fetch_Site": "none"}),
        (403, "not from this origin", "GET", None, {"Sec_Fetch_Site": "same-site"}),
        (403, "not for a browser page", "GET", None, {"Sec_Fetch_Site": "same-origin"}),
        (403, "not from this origin", "GET", None, {"Origin": "http://127.0.0.1:8787"}),
    ],
)
async def test_what_is_refused_changes_nothing(
    status: int, says: str, method: str, body: object, headers: dict[str, str]
) -> None:
    async with PlayerTerminal().serving() as terminal:
        if headers == {"Content_Length": ""}:
            reader, writer = await asyncio.open_connection("127.0.0.1", terminal.door.port)
            host = f"Host: 127.0.0.1:{terminal.door.port}"
            writer.write(f"PUT /now-playing HTTP/1.1\r\n{host}\r\nContent-Type: application/json\r\n\r\n".encode())
            text = (await reader.read()).decode()
            found = int(text.split()[1])
            writer.close()
            await writer.wait_closed()
        else:
            found, text = await terminal.ask(method, body, **headers)
        assert found == status
        assert says in text
        assert terminal.told == []


async def test_an_address_typed_by_a_person_is_answered() -> None:
    async with PlayerTerminal().serving() as terminal:
        status, _ = await terminal.ask("GET", Sec_Fetch_Site="none", Sec_Fetch_Mode="navigate")
        assert status == 200


async def test_a_taken_port_is_told_in_one_line_and_taken_when_it_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        terminal = PlayerTerminal(other.getsockname()[1])
        async with terminal.serving():
            state, text = terminal.reports[-1]
            assert state is ComponentState.DEGRADED
            assert text == (
                f"cannot listen on 127.0.0.1:{terminal.door.port} for the player: Address already in use; "
                "end the program that has this port (ss -ltnp shows it), or give the agent another one"
            )
            other.close()
            await eventually(lambda: terminal.reports[-1][0] is ComponentState.OK)
            assert await terminal.ask("PUT", {"campaign": None}) == (204, "")
