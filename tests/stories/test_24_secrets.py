"""Story 24: secrets and card ids in logs. A search in all that a run at level debug wrote, printed and sent."""

import base64
import json
import os
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from edge_agent.cloud.keyset import KeyEntry, KeySet
from edge_agent.simulation.cards import PlainCard
from edge_agent.simulation.iso_dep import IsoDepCard
from edge_agent.simulation.odd_phones import Fixed, Silent
from edge_agent.simulation.phones import SimulatedPhone
from edge_agent.simulation.pn532_line import Pn532Emulator
from edge_agent.tokens.keyring import load_key_file
from edge_agent.uplink.base import Received
from tests.fakes.agent_process import agent_process, edge_agent
from tests.fakes.journal_file import write_journal
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.mqtt_probe import Probe
from tests.fakes.uplink_terminal import link_settings
from tests.fakes.waiting import eventually
from tests.fakes.whole_agent import FLEET, TERMINAL, write_config

UID = bytes.fromhex("04a1b2c3d4e5f6")
ODD_UID = bytes.fromhex("04e7d6c5b4a392")
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


def left_by_the_run(folder: Path) -> list[Path]:
    """All files but those that are there to hold a secret, or were looked at already."""
    known = {"tap.key", "password", "agent.log", *(path.name for path in outbox_files(folder))}
    return [path for path in folder.rglob("*") if path.is_file() and path.name not in known]


def contents(bundle: Path) -> bytes:
    """All that is in a support archive, unpacked: compressed, a secret would not be found."""
    with tarfile.open(bundle, "r:gz") as archive:
        files = [archive.extractfile(entry) for entry in archive if entry.isfile()]
        return b"\n".join(file.read() for file in files if file is not None)


def register(folder: Path) -> None:
    """A receiver's registry that knows this terminal."""
    public = load_key_file(folder / "tap.key").public
    known = KeyEntry(
        kid=public.kid.hex(), alg="EdDSA", public_cose_hex=public.cose_key().hex(), fleet=FLEET, terminal=TERMINAL
    )
    KeySet([known]).save(folder / "keys.json")


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
            came = [message.payload for message in probe.of(Received) if message.topic.endswith("/evt/tap")]
            return list(dict.fromkeys(came))

        with agent_process(config, tmp_path, env) as agent:
            # Whoever fails is told about the most: a phone that never answers, one that answers nonsense.
            for odd in (Silent(), Fixed(b"\x6f\x03\x84\x7f")):
                strange = IsoDepCard(odd, lambda: ODD_UID)
                ended = agent.log.count("tap_finished")
                emulator.place(strange)
                await eventually(lambda ended=ended: agent.log.count("tap_finished") > ended)
                emulator.remove(strange)
            for number, held in enumerate((card, phone), start=1):
                ended = agent.log.count("tap_finished")
                emulator.place(held)
                await eventually(lambda number=number: len(taps()) == number)
                emulator.remove(held)
                await eventually(lambda ended=ended: agent.log.count("tap_finished") > ended)
            await eventually(lambda: [m for m in probe.of(Received) if m.topic.endswith("/tele/health")])
            said = [edge_agent("status", "--config", config, *more) for more in ([], ["--json"])]
            said.append(edge_agent("config", "show", "--config", config, env=env))
            said.append(edge_agent("bundle", "--config", config, "-o", tmp_path / "bundle", "--json", env=env))
            assert said[-1].returncode == 0, said[-1].stderr
            agent.end()
            log = agent.log
        await probe.link.close()
    store = ["--file", tmp_path / "outbox.db", "--config", config]
    said += [edge_agent("outbox", part, *store) for part in ("stats", "list", "verify")]
    said.append(edge_agent("outbox", "export", tmp_path / "carried.taps", "--all", *store))
    assert said[-1].returncode == 0, said[-1].stderr
    register(tmp_path)
    brought = ["--import", tmp_path / "carried.taps", "--ledger", tmp_path / "ledger.db"]
    said.append(edge_agent("receive", *brought, "--keys", tmp_path / "keys.json", "--json"))
    assert said[-1].returncode == 0, said[-1].stderr
    events = [json.loads(line)["event"] for line in log.splitlines()]
    assert events.count("tap_finished") >= 4, "the search is only worth something if the run told a lot"
    written = {
        "log": log.encode(),
        "broker": b"\n".join(message.topic.encode() + message.payload for message in probe.of(Received)),
        "commands": "".join(run.stdout + run.stderr for run in said).encode(),
        "outbox": b"".join(path.read_bytes() for path in outbox_files(tmp_path)),
        "support archive": contents(tmp_path / "bundle"),
        "everything else": b"".join(path.read_bytes() for path in left_by_the_run(tmp_path)),
    }
    assert taps()[1] in written["everything else"], "it is in the export and in the ledger"
    assert taps()[1] in written["outbox"], "the search finds what is there"
    assert TERMINAL.encode() in written["support archive"], "it has the status of the agent"
    secrets = {
        "card id": UID,
        "odd card's id": ODD_UID,
        "key": private_part(tmp_path / "tap.key"),
        "password": PASSWORD.encode(),
    }
    found = [
        (name, place)
        for name, secret in secrets.items()
        for place, text in written.items()
        for spelled in spellings(secret)
        if spelled in text
    ]
    assert found == []
    assert phone.nonce.hex() not in log
    for secret in (phone.nonce, *taps()):
        assert not any(spelled in written["support archive"] for spelled in spellings(secret))


@pytest.mark.system
def test_what_a_careless_hand_left_beside_the_agent_is_not_in_a_support_archive(
    tmp_path: Path, require_system: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password in a comment, one in a URL, a log line of another program: what no code of the agent ever writes."""
    require_system("journalctl")
    config = write_config(tmp_path, reader="/dev/none", host="localhost", port=1883)
    left = f'# the password is {PASSWORD}\npassword = "{PASSWORD}"\nurl = "mqtt://terminal:{PASSWORD}@broker"\n'
    config.write_text(left + config.read_text(encoding="utf-8"), encoding="utf-8")
    lines = [
        f"mosquitto_pub --pw x --password {PASSWORD}",
        json.dumps({"event": "odd", "uid": UID.hex(), "said": {"nonce": PASSWORD}}),
        f"card {UID.hex(':')} and {UID.hex().upper()} and {UID!r}",
        base64.b64encode(private_part(tmp_path / "tap.key")).decode(),
    ]
    entries = [(1_790_000_000 + number, "edge-agent", line) for number, line in enumerate(lines)]
    journal = write_journal(require_system("systemd-journal-remote"), tmp_path, entries)
    real = require_system("journalctl")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "journalctl").write_text(f'#!/bin/sh\nexec {real} --file={journal} "$@"\n', encoding="utf-8")
    (tmp_path / "bin" / "journalctl").chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    done = edge_agent("bundle", "--config", config, "-o", tmp_path / "bundle", "--json")
    assert done.returncode == 0, done.stderr
    assert "logs/agent.log" not in json.loads(done.stdout)["missing"], "the search is only worth something with it"
    text = contents(tmp_path / "bundle") + done.stdout.encode()
    assert b"mosquitto_pub" in text
    secrets = (PASSWORD.encode(), UID, private_part(tmp_path / "tap.key"))
    assert [spelled for secret in secrets for spelled in spellings(secret) if spelled in text] == []
