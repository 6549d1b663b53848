"""Story 24: secrets and card ids in logs. A search in all that a run at level debug wrote, printed and sent."""

import base64
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from edge_agent.simulation.cards import PlainCard
from edge_agent.simulation.phones import SimulatedPhone
from edge_agent.simulation.pn532_line import Pn532Emulator
from edge_agent.tokens.keyring import load_key_file
from edge_agent.uplink.base import Received
from tests.fakes.agent_process import agent_process, edge_agent
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.mqtt_probe import Probe
from tests.fakes.uplink_terminal import link_settings
from tests.fakes.waiting import eventually
from tests.fakes.whole_agent import write_config

UID = bytes.fromhex("04a1b2c3d4e5f6")
PASSWORD = "correct-horse-battery"


def spellings(secret: bytes) -> Iterable[bytes]:
    """The ways in which a program writes bytes down."""
    yield secret
    text = secret.hex()
    for joint in ("", ":", " ", "-"):
        spelled = joint.join(text[place : place + 2] for place in range(0, len(text), 2))
        yield spelled.encode()
        yield spelled.upper().encode()
    yield base64.b64encode(secret).rstrip(b"=")
    yield base64.urlsafe_b64encode(secret).rstrip(b"=")
    yield repr(secret)[2:-1].encode()


def private_part(key_file: Path) -> bytes:
    """The secret of the key file, 32 bytes."""
    secret: bytes = load_key_file(key_file)._key.private_bytes_raw()
    assert len(secret) == 32
    return secret


def outbox_files(folder: Path) -> list[Path]:
    """The database, and its WAL if it was left behind."""
    return sorted(folder.glob("outbox.db*"))


@pytest.mark.system
async def test_no_key_password_or_card_id_is_in_anything_that_a_run_left(
    tmp_path: Path, require_system: Callable[[str], str]
) -> None:
    password = tmp_path / "password"
    password.write_text(PASSWORD + "\n", encoding="utf-8")
    password.chmod(0o600)
    card, phone = PlainCard(UID), SimulatedPhone(sub=b"somebody")
    with Pn532Emulator() as emulator, Mosquitto(require_system("mosquitto"), tmp_path, quiet=True) as broker:
        config = write_config(
            tmp_path, reader=emulator.device_path, host="localhost", port=broker.port, cards="pseudonym"
        )
        probe = Probe(link_settings(broker.port, client_id="observer"))
        await probe.up("#")
        env = {
            "EDGE_AGENT__LOGGING__LEVEL": "debug",
            "EDGE_AGENT__UPLINK__USERNAME": "terminal",
            "EDGE_AGENT__UPLINK__PASSWORD_FILE": str(password),
            "EDGE_AGENT__UPLINK__HEALTH_S": "1",
        }

        def taps() -> list[bytes]:
            return [message.payload for message in probe.of(Received) if message.topic.endswith("/evt/tap")]

        with agent_process(config, tmp_path, env) as agent:
            for number, held in enumerate((card, phone), start=1):
                emulator.place(held)
                await eventually(lambda number=number: len(taps()) == number)
                emulator.remove(held)
                await eventually(lambda number=number: agent.log.count("tap_finished") == number)
            await eventually(lambda: [m for m in probe.of(Received) if m.topic.endswith("/tele/health")])
            said = [edge_agent("status", "--config", config, *more) for more in ([], ["--json"])]
            said.append(edge_agent("config", "show", "--config", config, env=env))
            agent.end()
            log = agent.log
        await probe.link.close()
    events = [json.loads(line)["event"] for line in log.splitlines()]
    assert events.count("tap_finished") == 2, "the search is only worth something if the run told a lot"
    written = {
        "log": log.encode(),
        "broker": b"\n".join(message.topic.encode() + message.payload for message in probe.of(Received)),
        "commands": "".join(run.stdout + run.stderr for run in said).encode(),
        "outbox": b"".join(path.read_bytes() for path in outbox_files(tmp_path)),
    }
    assert taps()[1] in written["outbox"], "the search finds what is there"
    secrets = {"card id": UID, "key": private_part(tmp_path / "tap.key"), "password": PASSWORD.encode()}
    found = [
        (name, place)
        for name, secret in secrets.items()
        for place, text in written.items()
        for spelled in spellings(secret)
        if spelled in text
    ]
    assert found == []
    assert phone.nonce.hex() not in log
