"""The ad player: from its word, by HTTP, socket or file, to the campaign that the next token would bear.

A whole agent without hardware in this process; the player is another process, as it is on a terminal.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles

from benchmarks.figures import Figure
from tests.fakes.mosquitto import free_port
from tests.fakes.whole_agent import WholeAgent, whole_agent

WORDS = 60
PLAYER = """
import http.client, json, os, sys, time
sys.path.insert(0, sys.argv[4])
from edge_agent.control_client import ask
from pathlib import Path
way, folder, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
for number in range(int(sys.argv[5])):
    time.sleep(0.02)
    word = {"campaign": f"{way}-{number}", "until": time.time() + 60}
    start = time.monotonic()
    if way == "http":
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("PUT", "/now-playing", json.dumps(word), {"Content-Type": "application/json"})
        assert connection.getresponse().status == 204
    elif way == "socket":
        ask(Path(folder) / "control.sock", {"op": "now-playing", **word})
    else:
        Path(folder, "new").write_text(json.dumps(word))
        os.rename(f"{folder}/new", f"{folder}/now.json")
    print(json.dumps([word["campaign"], start]))
"""


def run() -> list[Figure]:
    """Measure each way; about five seconds."""
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(_all(Path(folder)))
    return [
        figure
        for way, took in found.items()
        for figure in (
            Figure(f"told by {way} to the campaign of a tap, median", median(took) * 1000, "ms"),
            _worst(f"told by {way} to the campaign of a tap, 99 %", quantiles(took, n=100)[98]),
        )
    ]


def _worst(name: str, seconds: float) -> Figure:
    return Figure(name, seconds * 1000, "ms", "<= 50", ok=seconds <= 0.050)


async def _all(folder: Path) -> dict[str, list[float]]:
    port = free_port()
    settings = f'\n[player]\nport = {port}\nfile = "{folder}/now.json"\n'
    async with whole_agent(folder, screens=[settings]) as terminal:
        return {way: await _one(terminal, way, folder, port) for way in ("http", "socket", "file")}


async def _one(terminal: WholeAgent, way: str, folder: Path, port: int) -> list[float]:
    """Seconds from each word, before it was said, until `campaign_at` knew it."""
    heard: dict[str | None, float] = {}
    adverts = terminal.agent._adverts  # noqa: SLF001 - where the tokens get it from
    told = adverts._show  # noqa: SLF001 - as above

    def noted(*shown: object) -> None:
        told(*shown)  # type: ignore[arg-type]  # handed on as it came
        heard.setdefault(adverts.campaign_at(time.monotonic()), time.monotonic())

    vars(adverts)["_show"] = noted
    command = [sys.executable, "-c", PLAYER, way, str(folder), str(port), str(Path.cwd()), str(WORDS)]
    try:
        player = await asyncio.to_thread(subprocess.run, command, stdout=subprocess.PIPE, text=True, check=True)
        await asyncio.sleep(0.2)
    finally:
        del vars(adverts)["_show"]
    said = [json.loads(line) for line in player.stdout.splitlines()]
    return [heard[campaign] - start for campaign, start in said]
