"""`edge-agent ticket` as a person, a script and two racing servers use it: on a real registry and a real ledger."""

import asyncio
import io
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.cli.main import main
from edge_agent.cloud.keyset import KeySet, entry_from_show
from edge_agent.cloud.ledger import SqliteLedger
from edge_agent.cloud.witness import WitnessPolicy
from edge_agent.config.sections import Receiver
from edge_agent.tags.ticket import Ticket, link, seal
from edge_agent.tokens.keys import PrivateKey
from tests.cloud.test_ledger_tickets import read_of

KEY = PrivateKey.from_ed25519_seed(bytes(range(32)))
STRANGER = PrivateKey.from_ed25519_seed(bytes(range(1, 33)))


def ticket(number: int = 1, *, age: int = 0, key: PrivateKey = KEY) -> str:
    made = Ticket(key.kid, int(time.time()) - age, 120, b"nonce%03d" % number)
    return link("t.example.net", seal(made, key.sign))


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    KeySet([entry_from_show(KEY.public.registration(), fleet="sh", terminal="sh-1-a")]).save(path)
    return path


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.db"

    async def make() -> None:
        ledger = SqliteLedger(path)
        await ledger.open()
        await ledger.close()

    asyncio.run(make())
    return path


def report(ledger: Path, number: int) -> None:
    """The receiver stores the terminal's report of a read."""

    async def store() -> None:
        opened = SqliteLedger(ledger)
        await opened.open()
        await opened.store([read_of(number, received_at=time.time())])
        await opened.close()

    asyncio.run(store())


class Stdin:
    def __init__(self, data: bytes) -> None:
        self.buffer = io.BytesIO(data)


def test_a_fresh_ticket_is_told_first_in_80_columns(keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ticket", "verify", ticket(), "--keys", str(keys)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "fresh: in time"
    assert any("sh/sh-1-a" in line and KEY.kid.hex() in line for line in lines)
    assert any(re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, for 120 s", line) for line in lines)
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("made", "verdict"),
    [
        (lambda: ticket(age=900), "expired"),
        (lambda: ticket(age=-900), "clock_suspect"),
        (lambda: ticket(key=STRANGER), "unknown_key"),
        (lambda: ticket()[:-1], "malformed"),
        (lambda: "\x1b[2Jevil", "malformed"),
    ],
)
def test_every_other_ticket_ends_with_1(
    made: Callable[[], str], verdict: str, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = made()  # of this moment: the tests were collected long ago
    assert main(["ticket", "verify", text, "--keys", str(keys)]) == 1
    out = capsys.readouterr().out
    assert out.startswith(f"{verdict}: ")
    assert "\x1b" not in out
    assert main(["ticket", "verify", text, "--keys", str(keys), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["verdict"] == verdict


def test_a_ticket_comes_in_on_standard_input_too(
    keys: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = ticket(7)
    monkeypatch.setattr("sys.stdin", Stdin(url.encode() + b"\n"))
    assert main(["ticket", "verify", "-", "--keys", str(keys), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["verdict"], told["fleet"], told["terminal"], told["host"]) == (
        "fresh",
        "sh",
        "sh-1-a",
        "t.example.net",
    )
    assert bytes.fromhex(told["nonce"]) == b"nonce007"
    assert told["exp"] == told["iat"] + 120


def test_a_registry_that_cannot_be_read_is_3_and_a_wrong_one_78(tmp_path: Path) -> None:
    assert main(["ticket", "verify", ticket(), "--keys", str(tmp_path / "none")]) == 3
    wrong = tmp_path / "wrong.json"
    wrong.write_text("{}")
    assert main(["ticket", "verify", ticket(), "--keys", str(wrong)]) == 78


def redeem(url: str, who: str, ledger: Path, keys: Path, *more: str) -> list[str]:
    return ["ticket", "redeem", url, "--who", who, "--ledger", str(ledger), "--keys", str(keys), *more]


def test_redeeming_goes_its_way(keys: Path, ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def told(number: int, who: str, *more: str) -> tuple[int, str, str]:
        status = main(redeem(ticket(number), who, ledger, keys, "--json", *more))
        found = json.loads(capsys.readouterr().out)
        assert found["who"] == who
        return status, found["outcome"], found["verdict"]

    assert told(1, "anna") == (0, "granted_on_quota", "fresh")
    assert told(1, "anna") == (0, "granted_on_quota", "fresh")
    assert told(1, "bert") == (1, "refused", "used")
    assert told(2, "anna", "--quota", "1") == (1, "pending", "fresh")
    report(ledger, 2)
    assert told(2, "anna", "--quota", "1") == (0, "granted", "fresh")
    report(ledger, 3)
    assert told(3, "cleo", "--quota", "0") == (0, "granted", "fresh")
    assert told(4, "cleo", "--quota", "1", "--window", "999", "--wait", "60") == (1, "pending", "fresh")


def test_the_outcome_is_the_first_line(keys: Path, ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(redeem(ticket(1), "anna", ledger, keys, "--quota", "0")) == 1
    assert capsys.readouterr().out.splitlines()[0] == "pending: waits for the terminal's report of the read"
    assert main(redeem(ticket(age=900), "anna", ledger, keys)) == 1
    assert capsys.readouterr().out.startswith("pending: "), "the same ticket at a later time"
    assert main(redeem(ticket(9, age=900), "anna", ledger, keys)) == 1
    assert capsys.readouterr().out.startswith("refused, expired: ")


def test_ledger_and_keys_come_from_the_configuration_too(
    tmp_path: Path, keys: Path, ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "edge-agent.toml"
    text = (Path(__file__).parents[2] / "config/edge-agent.toml").read_text(encoding="utf-8")
    text = re.sub(r"(?m)^#? *(ledger) = .*$", f'ledger = "{ledger}"', text)
    receiver, rest = text.split("[receiver]", 1)
    rest = re.sub(r"(?m)^#? *keys = .*$", f'keys = "{keys}"', rest, count=1)
    config.write_text(f"{receiver}[receiver]{rest}")
    words = ["--who", "anna", "--config", str(config)]
    assert main(["ticket", "redeem", ticket(), *words]) == 0
    assert capsys.readouterr().out.startswith("granted_on_quota: ")
    config.write_text(re.sub(r"(?m)^ticket_quota = .*$", "ticket_quota = 1", config.read_text()))
    assert main(["ticket", "redeem", ticket(2), *words]) == 1
    assert capsys.readouterr().out.startswith("pending: ")
    assert main(["ticket", "redeem", ticket(3), "--quota", "2", *words]) == 0, "an option wins"
    config.write_text(re.sub(r"(?m)^ticket_window_s = .*$", "ticket_window_s = 1", config.read_text()))
    time.sleep(1.1)
    assert main(["ticket", "redeem", ticket(4), *words]) == 0


def test_the_defaults_of_the_configuration_are_those_of_the_rules() -> None:
    section, rules = Receiver(), WitnessPolicy()
    assert (section.ticket_quota, section.ticket_window_s) == (rules.quota.per_terminal, rules.quota.window_s)
    assert section.ticket_wait_s == rules.match_s


def test_a_ledger_that_is_not_there_is_not_made(tmp_path: Path, keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On an empty ledger every ticket buys once more."""
    path = tmp_path / "typo.db"
    assert main(redeem(ticket(), "anna", path, keys)) == 3
    assert not path.exists()
    assert "edge-agent receive" in capsys.readouterr().err
    path.touch()
    assert main(redeem(ticket(), "anna", path, keys)) == 3
    assert not path.stat().st_size, "nor is an empty file made one"
    assert main(redeem(ticket(), "anna", tmp_path / ("x" * 300), keys)) == 3
    assert "cannot be read: File name too long" in capsys.readouterr().err


def test_what_is_no_ledger_ends_with_3(tmp_path: Path, keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "text.db"
    path.write_text("not a database, certainly not one of ours " * 40)
    assert main(redeem(ticket(), "anna", path, keys)) == 3
    assert "text.db" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["ticket"],
        ["ticket", "verify", "x"],
        ["ticket", "redeem", "x"],
        ["ticket", "redeem", "x", "--who", ""],
        ["ticket", "redeem", "x", "--who", "a b"],
        ["ticket", "redeem", "x", "--who", "x" * 65],
        ["ticket", "redeem", "x", "--who", "a", "--quota", "-1"],
        ["ticket", "redeem", "x", "--who", "a", "--window", "0"],
        ["ticket", "redeem", "x", "--who", "a", "--wait", "12345678"],
    ],
)
def test_wrong_usage_ends_with_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2


def test_of_processes_that_ask_at_once_one_gets_it(keys: Path, ledger: Path) -> None:
    url = ticket()
    people = ["anna", "bert", "cleo", "dora"]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "edge_agent", *redeem(url, who, ledger, keys, "--json")],
            stdout=subprocess.PIPE,
            text=True,
        )
        for who in people
    ]
    answers = [json.loads(process.communicate(timeout=60)[0]) for process in running]
    assert sorted(answer["outcome"] for answer in answers) == ["granted_on_quota", "refused", "refused", "refused"]
    assert sorted(process.returncode for process in running) == [0, 1, 1, 1]
    assert [answer["verdict"] for answer in answers].count("used") == 3
