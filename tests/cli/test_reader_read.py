"""`reader read` over the emulated chip: alone, and with a running agent that lends its reader."""

import asyncio
import json
import random
from pathlib import Path

import pytest

from edge_agent.cli.borrowing import borrowed
from edge_agent.cli.main import main
from edge_agent.errors import ControlError
from edge_agent.readers.service import ReaderState
from edge_agent.simulation.odd_phones import ODD_PHONES
from edge_agent.simulation.phones import SimulatedPhone
from edge_agent.simulation.pn532_line import Pn532Emulator
from firmware_bridge.cues import CueName
from tests.cli.test_reader_list import CONFIG, READER
from tests.fakes.whole_agent import WholeAgent, whole_agent


def config(folder: Path, tables: str) -> str:
    path = folder / "edge-agent.toml"
    path.write_text(CONFIG.format(folder=folder) + tables, encoding="utf-8")
    return str(path)


def read(path: str, *words: str) -> int:
    return main(["reader", "read", "--config", path, *words])


async def read_beside(agent: WholeAgent, *words: str) -> int:
    return await asyncio.to_thread(read, str(agent.folder / "edge-agent.toml"), *words)


def test_a_phone_with_the_app_is_status_0_and_nothing_of_it_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    phone = SimulatedPhone(rng=random.Random(7))
    with Pn532Emulator() as emulator:
        emulator.place(phone)
        assert read(config(tmp_path, READER.format(name="nfc0", device=emulator.device_path))) == 0
    out, err = capsys.readouterr()
    assert out.startswith("a phone is there, and its tap app answers\n")
    assert "SELECT      F05441504544474501: 9000 yes, contract version 1" in out
    assert "UID         4 bytes, random" in out
    assert "ATS " in out
    assert max(map(len, out.splitlines())) <= 80
    assert phone.nonce.hex() not in out.casefold()
    assert (phone.tokens, err) == ([], "")


def test_a_phone_without_the_app_is_status_1_and_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Pn532Emulator() as emulator:
        emulator.place(ODD_PHONES["no_app"](random.Random(7)))
        path = config(tmp_path, READER.format(name="nfc0", device=emulator.device_path))
        assert read(path) == 1
        out = " ".join(capsys.readouterr().out.split())
        assert "has no app for F05441504544474501" in out
        assert "6A82 no such application here" in out
        assert "Next: install the tap app" in out
        assert read(path, "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["verdict"], told["good"]) == ("no-app", False)
    assert told["seen"]["selects"][0]["sw"] == "6A82"
    assert told["seen"]["uid_random"] is True
    assert "uid" not in told["seen"]


def test_an_empty_field_is_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Pn532Emulator() as emulator:
        path = config(tmp_path, READER.format(name="nfc0", device=emulator.device_path))
        assert read(path, "--wait", "1") == 1
        assert capsys.readouterr().out.startswith("nothing is in the field\n")


def test_a_reader_that_cannot_be_read_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert read(config(tmp_path, "")) == 1
    assert "no reader is configured" in capsys.readouterr().err
    assert read(config(tmp_path, '[[readers]]\ndriver = "simulated"\n')) == 1
    assert "edge-agent tap simulate" in capsys.readouterr().err
    path = config(tmp_path, READER.format(name="nfc0", device="/dev/no-such-port"))
    assert read(path) == 1
    assert "no reader at /dev/no-such-port" in capsys.readouterr().err
    for words in (["--reader", "nfc9"], ["--wait", "0"], ["--wait", "46"], ["--wait", "nan"]):
        with pytest.raises(SystemExit) as ended:
            read(path, *words)
        assert ended.value.code == 2


async def test_a_running_agent_lends_its_reader_and_the_next_tap_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with whole_agent(tmp_path) as agent:
        await agent.good_tap()
        phone = SimulatedPhone()
        agent.emulator.place(phone)
        await agent.until(lambda: agent.reader.state is ReaderState.OCCUPIED)
        served = len(phone.tokens)
        assert await read_beside(agent) == 0
        assert "lent by the running agent" in " ".join(capsys.readouterr().out.split())
        await agent.until(lambda: agent.reader.state is ReaderState.OCCUPIED)
        assert len(phone.tokens) == served  # it lay there all the time: no second tap
        agent.emulator.remove(phone)
        await agent.field_clear()
        await agent.good_tap()
        assert (agent.reader.taps, agent.reader.reopens) == (3, 0)


async def test_an_empty_field_leaves_the_reader_to_whoever_comes_next(tmp_path: Path) -> None:
    async with whole_agent(tmp_path) as agent:
        reading = asyncio.create_task(read_beside(agent, "--wait", "1"))
        await agent.until(lambda: agent.reader.state is ReaderState.LENT)
        await agent.until(lambda: agent.agent.bridge.current is CueName.RESTING)
        assert await reading == 1
        await agent.good_tap()
        assert agent.agent.bridge.current is not CueName.RESTING


async def test_a_program_that_dies_gives_the_reader_back_by_not_renewing(tmp_path: Path) -> None:
    async with whole_agent(tmp_path) as agent:
        assert (await agent.ask("lend-reader", name="nfc0", seconds=1))["loan"]
        await agent.field_clear()
        await asyncio.sleep(0.6)  # so long what is there may have lain there before
        await agent.good_tap()


async def test_a_long_reading_is_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_agent.cli.borrowing.LEASE_S", 30)
    monkeypatch.setattr("edge_agent.cli.borrowing.RENEW_EVERY_S", 0.1)
    async with whole_agent(tmp_path) as agent:
        (service,) = agent.agent._readers
        async with borrowed(tmp_path / "control.sock", "nfc0") as mine:
            mine.empty = True
            first = service.loan._until
            await agent.until(lambda: service.loan._until > first + 0.3)  # renewed, and again
            assert agent.reader.state is ReaderState.LENT
        await agent.field_clear()
        await agent.good_tap()


async def test_a_reader_that_is_lent_already_is_status_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with whole_agent(tmp_path) as agent:
        await agent.ask("lend-reader", name="nfc0", seconds=60)
        assert await read_beside(agent) == 3
        assert "lent already" in capsys.readouterr().err
        with pytest.raises(ControlError, match="no such reader"):
            async with borrowed(tmp_path / "control.sock", "nfc9"):
                pass
