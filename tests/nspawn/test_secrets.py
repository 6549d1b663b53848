"""The three secrets out of systemd's credential stores, plain and encrypted with the machine's key, for real."""

import json
from pathlib import Path

import pytest

from edge_agent.tokens.keys import PrivateKey
from tests.fakes.certificates import make_certificates
from tests.nspawn.container import Container
from tests.nspawn.terminal import AGENT, DROP_IN, ID, Terminal

pytestmark = [pytest.mark.proof, pytest.mark.system, pytest.mark.timeout(600)]

PASSWORD = "correct horse"
# The receiver's door as Debian has it, and one for the terminal: only with its certificate and its password.
BROKER = """
per_listener_settings true
listener 1883 127.0.0.1
allow_anonymous true
listener 8883 127.0.0.1
cafile /etc/mosquitto/certs/ca.pem
certfile /etc/mosquitto/certs/server.pem
keyfile /etc/mosquitto/certs/server.key
require_certificate true
allow_anonymous false
password_file /etc/mosquitto/passwords
"""
SETTINGS = f"""
[keys]
path = "credential:tap-key"

[uplink]
tls = true
ca = "/etc/edge-agent/broker-ca.pem"
cert = "/etc/edge-agent/terminal.pem"
key = "credential:tls-key"
username = "{ID}"
password_file = "credential:mqtt-password"
"""


def keep(inside: Container, name: str, secret: str, *, encrypted: bool) -> None:
    """Put a secret into the store, as docs/terminal.md says."""
    if encrypted:
        goal = f"/etc/credstore.encrypted/edge-agent.{name}.cred"
        inside.run("systemd-creds", "encrypt", "--with-key=host", "-", goal, stdin=secret)
    else:
        inside.write(f"/etc/credstore/edge-agent.{name}", secret, mode=0o600)


def serve_tls(inside: Container, folder: Path) -> str:
    """Have the broker ask for a certificate and a password; returns the private key of the terminal's certificate."""
    made = make_certificates(folder, host="127.0.0.1", client=ID)
    inside.write("/etc/mosquitto/certs/ca.pem", made.ca.read_text())
    inside.write("/etc/mosquitto/certs/server.pem", made.server_cert.read_text())
    inside.write("/etc/mosquitto/certs/server.key", made.server_key.read_text())
    inside.write("/etc/edge-agent/broker-ca.pem", made.ca.read_text())
    inside.write("/etc/edge-agent/terminal.pem", made.client_cert.read_text())
    inside.run("mosquitto_passwd", "-b", "-c", "/etc/mosquitto/passwords", ID, PASSWORD)
    inside.run("chown", "mosquitto", "/etc/mosquitto/passwords", "/etc/mosquitto/certs/server.key")
    inside.write("/etc/mosquitto/conf.d/terminal.conf", BROKER)
    inside.run("systemctl", "restart", "mosquitto")
    return made.client_key.read_text()


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
def test_key_password_and_certificate_come_from_the_store(terminal: Terminal, tmp_path: Path, encrypted: bool) -> None:
    inside = terminal.container
    tls_key = serve_tls(inside, tmp_path)
    signing = PrivateKey.generate()
    terminal.configure(key=False)
    inside.write(f"{DROP_IN.removesuffix('50-site.toml')}60-secrets.toml", SETTINGS)
    for name, secret in (
        ("tap-key", signing.pkcs8_pem().decode()),
        ("mqtt-password", f"{PASSWORD}\n"),
        ("tls-key", tls_key),
    ):
        keep(inside, name, secret, encrypted=encrypted)
    terminal.start()
    assert f"edge-agent.tap-key{'.cred' if encrypted else ''}" in inside.run("ls", f"/run/credentials/{AGENT}").split()
    terminal.open_cloud()
    terminal.until_stored(1)
    terminal.until_healthy()
    status = json.loads(inside.run("edge-agent", "status", "--json"))
    assert (status["uplink"]["tls"], status["uplink"]["port"], status["uplink"]["up"]) == (True, 8883, True)
    assert status["kid"] == signing.public.registration()["kid"]
    assert inside.status("test", "-e", "/var/lib/edge-agent/keys") == 1, "no key in the clear"
    if encrypted:
        assert "PRIVATE KEY" not in inside.run("sh", "-c", "cat /etc/credstore.encrypted/*")
    assert inside.run("edge-agent", "config", "check").endswith("the configuration is right\n"), "root looks, too"


def test_a_credential_that_this_machine_cannot_decrypt_is_told_and_tried_again(terminal: Terminal) -> None:
    terminal.configure()
    inside = terminal.container
    keep(inside, "mqtt-password", "x", encrypted=True)
    inside.run("rm", "/var/lib/systemd/credential.secret")
    inside.run("systemctl", "start", AGENT, check=False)

    def tried_again() -> bool:
        restarts, status = inside.unit(AGENT, "NRestarts", "ExecMainStatus")
        return int(restarts) >= 1 and status == "243"  # 0 while an attempt is on its way

    inside.until(tried_again, "another attempt, which fails, too")
    inside.run("rm", "/etc/credstore.encrypted/edge-agent.mqtt-password.cred")
    inside.until(lambda: inside.unit(AGENT, "ActiveState") == ["active"], "the agent to be up by itself")
