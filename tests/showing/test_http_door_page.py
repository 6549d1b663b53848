"""The door and a real Chromium: no page can tell what is showing, none can read it, from whatever origin it comes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from playwright.async_api import Page, async_playwright

from firmware_bridge.links.web import WebLink
from tests.conftest import require_system
from tests.fakes.link_recorder import LinkRecorder
from tests.fakes.player_terminal import PlayerTerminal
from tests.fakes.waiting import eventually

pytestmark = pytest.mark.system

READABLE = ("put", "get", "getSilent")
# What a page can try, each told as the status it sees, or "blocked" where the browser keeps even that from it.
TRIES = """async ([url, until]) => {
    const word = JSON.stringify({ campaign: "evil", until });
    const json = { "Content-Type": "application/json" };
    const tries = {
        put: { method: "PUT", headers: json, body: word },
        putBlind: { method: "PUT", mode: "no-cors", headers: json, body: word },
        post: { method: "POST", headers: { "Content-Type": "text/plain" }, body: word },
        postBlind: { method: "POST", mode: "no-cors", body: word },
        overridden: { method: "POST", headers: { "X-HTTP-Method-Override": "PUT" }, body: word },
        get: {},
        getBlind: { mode: "no-cors" },
        getSilent: { referrerPolicy: "no-referrer", credentials: "omit" },
    };
    const seen = {};
    for (const [name, how] of Object.entries(tries)) {
        try {
            const answer = await fetch(url, how);
            seen[name] = answer.type + " " + answer.status + " " + await answer.text();
        } catch (error) {
            seen[name] = "blocked";
        }
    }
    seen.beacon = navigator.sendBeacon(url, word);
    await new Promise((done) => {
        const frame = document.createElement("iframe");
        frame.name = "target";
        frame.onload = done;
        const form = document.createElement("form");
        Object.assign(form, { action: url, method: "post", enctype: "text/plain", target: "target" });
        form.innerHTML = `<input name='${word.slice(0, -1)},"x":"' value='"}'>`;
        document.body.append(frame, form);
        form.submit();
        setTimeout(done, 3000);
    });
    return seen;
}"""


@asynccontextmanager
async def foreign_page() -> AsyncIterator[int]:
    """A server of plain pages without any policy, under any name: what a hostile site is."""
    blank = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<!doctype html><p>x\n"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):  # a browser opens more than it needs
                await reader.readuntil(b"\r\n\r\n")
                writer.write(blank)
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@asynccontextmanager
async def agents_page() -> AsyncIterator[str]:
    link, recorder = WebLink("page", 0), LinkRecorder()
    task = asyncio.create_task(link.serve(recorder))
    try:
        await eventually(lambda: recorder.ups)
        yield link.url
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def tried(page: Page, address: str, url: str) -> dict[str, object]:
    await page.goto(address)
    seen: dict[str, object] = await page.evaluate(TRIES, [url, 1_790_000_030])
    return seen


async def test_no_page_of_any_origin_tells_or_reads_what_is_showing() -> None:
    arguments = ["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP evil.example 127.0.0.1"]
    async with (
        PlayerTerminal().serving() as terminal,
        foreign_page() as foreign,
        agents_page() as own,
        async_playwright() as playwright,
    ):
        browser = await playwright.chromium.launch(executable_path=require_system("chromium"), args=arguments)
        try:
            page = await browser.new_page(bypass_csp=True)  # as if a page of the agent had no policy
            answers: list[tuple[str, int]] = []
            page.on("response", lambda answer: answers.append((answer.request.method, answer.status)))
            url, port = terminal.door.url, terminal.door.port
            for address in (
                own,  # the agent's own page: same host, another port
                f"http://127.0.0.1:{foreign}/",
                f"http://localhost:{foreign}/",
                f"http://evil.example:{foreign}/",
            ):
                seen = await tried(page, address, url)
                assert {name: told for name, told in seen.items() if told not in {"blocked", True}} == {}, address
            # On the door's own origin nothing is cross-origin any more; its policy, which stops all scripts, is off.
            rebound = f"http://evil.example:{port}/now-playing"
            seen = await tried(page, rebound, rebound)
            assert [str(seen[name])[:22] for name in READABLE] == ["basic 421 this server "] * 3, "a rebound name"
            seen = await tried(page, url, url)
            assert [str(seen[name])[:12] for name in READABLE] == ["basic 403 no"] * 3, "as if some fault let it in"
            assert terminal.told == []
            assert {("PUT", 421), ("PUT", 403), ("POST", 405), ("GET", 403)} <= set(answers), (
                "the browser did send them"
            )
            # The person who types the address may look; nothing that the door serves can run a script.
            answer = await page.goto(url)
            assert answer is not None
            assert answer.status == 200
            assert await answer.json() == {"campaign": "c-0", "until": None, "source": "schedule"}
            assert await terminal.ask("PUT", {"campaign": None}) == (204, ""), "a program may"
        finally:
            await browser.close()
