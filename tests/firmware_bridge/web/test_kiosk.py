"""systemd/edge-kiosk.service: its own command line under a cage shows the page and follows the cues."""

import asyncio
import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright

from firmware_bridge.cues import CueName
from firmware_bridge.loopback import Answer, Call, Loopback
from tests.conftest import require_system
from tests.fakes.shown_page import PATIENCE_MS, bridge_with_page
from tests.fakes.waiting import eventually

pytestmark = pytest.mark.system

UNIT = Path(__file__).parents[3] / "systemd" / "edge-kiosk.service"
SCRIPT = UNIT.with_suffix(".sh")
INSTALLED = "/usr/libexec/edge-agent/kiosk"
# What the machine of a test lacks: a screen, input devices, a GPU; and what root needs, and a test to look into it.
NO_SCREEN = {"WLR_BACKENDS": "headless", "WLR_LIBINPUT_NO_DEVICES": "1", "WLR_RENDERER": "pixman"}
# cage refuses root.
NOBODY = 65534
FOR_THE_TEST = ["--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]


def setting(name: str) -> list[str]:
    """The values of a setting of the unit, lines joined and %% undone as systemd does it."""
    lines = UNIT.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    return [line.partition("=")[2].replace("%%", "%") for line in lines if line.startswith(f"{name}=")]


def as_started(name: str, room: Path, url: str) -> tuple[list[str], dict[str, str]]:
    """The command line and the environment of the unit, with its runtime directory in ``room`` and another page."""
    place = {"/run/edge-kiosk": str(room)}
    words = " ".join(setting("Environment")).replace(*next(iter(place.items())))
    told = dict(pair.split("=", 1) for pair in shlex.split(words)) | {"PAGE": url}
    line = setting(name)[0].replace("${PAGE}", url).replace(*next(iter(place.items())))
    return shlex.split(line), {**os.environ, **told, **NO_SCREEN}


@contextmanager
def running(command: list[str], environment: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    other = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, **other
    )
    try:
        yield process
    finally:
        # cage and all of Chromium are one group; what is left of it ends, too, when cage has ended by itself.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


@asynccontextmanager
async def kiosk(room: Path, url: str) -> AsyncIterator[tuple["subprocess.Popen[bytes]", Page]]:
    command, environment = as_started("ExecStart", room, url)
    script = command.index(INSTALLED)
    command[script : script + 1] = ["/bin/sh", shutil.copy(SCRIPT, room)]
    chromium = command.index("/usr/bin/chromium")
    command[0] = require_system("cage")
    command[chromium : chromium + 1] = [require_system("chromium"), *FOR_THE_TEST]
    port = room / "profile" / "DevToolsActivePort"
    with running(command, environment) as process:
        await eventually(lambda: port.exists() or process.poll() is not None, deadline_s=60)
        assert process.poll() is None, "cage ended"
        async with async_playwright() as playwright:
            address = f"http://127.0.0.1:{port.read_text().split()[0]}"
            browser = await playwright.chromium.connect_over_cdp(address)
            await eventually(lambda: browser.contexts[0].pages, deadline_s=60)
            page = browser.contexts[0].pages[0]
            page.set_default_timeout(PATIENCE_MS)
            yield process, page


@pytest.fixture
def room() -> Iterator[Path]:
    """In place of /run/edge-kiosk; not pytest's own directory, into which only root may look."""
    with tempfile.TemporaryDirectory(prefix="edge-kiosk-", ignore_cleanup_errors=True) as name:
        if os.geteuid() == 0:
            os.chown(name, NOBODY, NOBODY)
        yield Path(name)


async def test_the_unit_s_command_shows_the_page_on_the_whole_screen_and_it_follows_a_cue(room: Path) -> None:
    require_system("xwayland")
    async with bridge_with_page() as (bridge, link), kiosk(room, f"{link.url}?bg=%230a1022&lang=en") as (_, page):
        await page.wait_for_selector("[data-cue=invite][data-live=yes]")
        bridge.show(CueName.THANKS, text="a coupon", amount="¥2.00")
        await page.wait_for_selector("[data-cue=thanks][data-live=yes]")
        assert await page.locator("#title").inner_text() == "Thank you!"
        seen = await page.evaluate(
            "[innerWidth, innerHeight, screen.width, screen.height, document.body.dataset.layout]"
        )
        assert seen[:2] == seen[2:4], "the whole screen"
        assert seen[4] == "full", "the address came through as it was written"


async def test_a_page_that_crashed_ends_the_browser_so_that_it_comes_anew(
    room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_system("xwayland")
    require_system("curl")
    monkeypatch.setenv("GONE_S", "3")
    monkeypatch.setenv("LOOK_EVERY_S", "1")
    async with bridge_with_page() as (_, link), kiosk(room, f"{link.url}?lang=en") as (process, page):
        await page.wait_for_selector("[data-cue=invite][data-live=yes]")
        assert "1 open" in link.detail
        crash = asyncio.create_task((await page.context.new_cdp_session(page)).send("Page.crash"))
        await eventually(lambda: process.poll() is not None, deadline_s=60)
        crash.cancel()
        await asyncio.gather(crash, return_exceptions=True)


@pytest.mark.parametrize(
    ("answers", "first_s", "gone_s", "asked_of"),
    [
        pytest.param(["0", "0", "0"], 3, 1, "/?bg=%23123&lang=en", id="never opened"),
        pytest.param(["0", "2", "0", "0"], 3, 2, "", id="closed"),
        pytest.param(["1", "0", "agent, what agent?", "0", "0"], 9, 2, "/#a", id="closed, and no word in between"),
    ],
)
async def test_a_browser_is_ended_when_nobody_has_the_page_open_for_so_long(
    answers: list[str], first_s: int, gone_s: int, asked_of: str
) -> None:
    require_system("curl")
    left = list(answers)
    asked = Call(lambda _: Answer(200, f"{left.pop(0) if left else 'one too many'}\n".encode()))
    server = Loopback({"/open": {"GET": asked}}, 0, policy="")
    serving = asyncio.create_task(server.serve(lambda: None))
    await eventually(lambda: server.port)
    bounds = {"FIRST_S": str(first_s), "GONE_S": str(gone_s), "LOOK_EVERY_S": "1"}
    command = ["/bin/sh", str(SCRIPT), f"http://127.0.0.1:{server.port}{asked_of}", "sleep", "600"]
    process = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, **bounds}, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    assert process.returncode == -signal.SIGTERM
    assert (left, b"has not been open for" in said) == ([], True)


def test_the_unit_waits_for_no_answer_that_never_comes() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        curl = setting("ExecStartPre")[0].replace("${PAGE}", url).replace("--max-time 10", "--max-time 0.2")
        quick = shlex.split(curl.replace("--retry 3600", "--retry 0"))
        done = subprocess.run([require_system("curl"), *quick[1:]], timeout=60, check=False)
    assert done.returncode == 28, "timed out, and not for ever waiting"


async def test_the_unit_waits_until_the_page_is_there(tmp_path: Path) -> None:
    curl = require_system("curl")
    async with bridge_with_page() as (_, link):
        port, url = link.port, link.url
    command, environment = as_started("ExecStartPre", tmp_path, url)
    with running([curl, *command[1:]], environment) as waiting:
        await asyncio.sleep(0.3)
        assert waiting.poll() is None
        async with bridge_with_page(port):
            await eventually(lambda: waiting.poll() is not None)
    assert waiting.returncode == 0


def test_the_unit_keeps_the_browser_on_this_machine_in_memory_and_never_gives_up() -> None:
    assert (setting("IPAddressDeny"), setting("IPAddressAllow")) == (["any"], ["localhost"])
    assert (setting("Restart"), setting("StartLimitIntervalSec")) == (["always"], ["0"])
    assert "--user-data-dir=/run/edge-kiosk/profile" in setting("ExecStart")[0]
    assert setting("RuntimeDirectory") == ["edge-kiosk"]
    assert "--no-sandbox" not in UNIT.read_text(encoding="utf-8")


def test_systemd_understands_the_unit() -> None:
    for program in ("cage", "curl"):  # it looks for what the unit starts
        require_system(program)
    analyze = require_system("systemd-analyze")
    told = subprocess.run(
        [analyze, "verify", "--man=no", "--recursive-errors=no", str(UNIT)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert [line for line in told.stdout.splitlines() if "edge-kiosk" in line] == []
