"""From a fresh package to a terminal that the broker lets in, by the README's commands; and the renewal at night."""

import json

import pytest
import trustme

from tests.nspawn.container import Container
from tests.nspawn.terminal import AGENT, CLOUD, ID, Terminal

pytestmark = [pytest.mark.proof, pytest.mark.system, pytest.mark.timeout(600)]

DROP_INS = "/etc/edge-agent/edge-agent.toml.d"
# What has nothing to do with an identity.
SITE = """
[[readers]]
name = "sim0"
driver = "simulated"
tap_every_s = 1.0

[[screens]]
driver = "web"

[uplink]
backoff_base_s = 0.2
backoff_cap_s = 0.5

[clock]
trust = "assume-synced"
"""
DESK = "/root/desk"
FLEET = (
    f"--ca-cert={DESK}/ca.pem", f"--ca-key={DESK}/ca.key", f"--keys={DESK}/keys.json", f"--issued={DESK}/issued",
    f"--broker-ca={DESK}/ca.pem",
)  # fmt: skip
RENEW = "edge-agent-renew.service"


def open_desk(inside: Container) -> None:
    """The fleet's authority and registry, and its broker, which lets in whoever has a certificate of it."""
    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1")
    ca, chain = authority.cert_pem.bytes().decode(), b"".join(one.bytes() for one in server.cert_chain_pems).decode()
    inside.write(f"{DESK}/ca.pem", ca)
    inside.write(f"{DESK}/ca.key", authority.private_key_pem.bytes().decode(), mode=0o600)
    inside.write(f"{DESK}/keys.json", json.dumps({"version": 1, "keys": []}))
    inside.run("mkdir", f"{DESK}/issued", CLOUD)
    desk = authority.issue_cert("desk@example.org", common_name="desk")
    inside.write(f"{DESK}/desk.pem", b"".join(one.bytes() for one in desk.cert_chain_pems).decode())
    inside.write(f"{DESK}/desk.key", desk.private_key_pem.bytes().decode(), mode=0o600)
    place = "/etc/mosquitto/certs"
    inside.write(f"{place}/ca.pem", ca)
    inside.write(f"{place}/server.pem", chain)
    inside.write(f"{place}/server.key", server.private_key_pem.bytes().decode())
    inside.run("chown", "mosquitto", f"{place}/server.key")
    inside.write(
        "/etc/mosquitto/conf.d/fleet.conf",
        "per_listener_settings true\nlistener 1883 127.0.0.1\nallow_anonymous true\nlistener 8883 127.0.0.1\n"
        f"cafile {place}/ca.pem\ncertfile {place}/server.pem\nkeyfile {place}/server.key\n"
        "require_certificate true\nuse_identity_as_username true\n",
    )
    inside.run("systemctl", "restart", "mosquitto")


def enrolled(inside: Container) -> str:
    """Go the README's way; returns the fingerprint of the certificate that holds."""
    inside.write(f"{DROP_INS}/40-site.toml", SITE)
    open_desk(inside)
    inside.run("edge-agent", "enrol", "--fleet", "sh", "--terminal", ID, "--out", "/root/request.json")
    inside.run(
        *("edge-agent", "enrol", "sign", "/root/request.json", "--broker", "127.0.0.1", *FLEET),
        *("--out", "/root/answer.json"),
    )
    inside.run("edge-agent", "enrol", "--answer", "/root/answer.json")
    inside.run("systemctl", "restart", AGENT)
    return fingerprint(inside)


def fingerprint(inside: Container) -> str:
    return str(json.loads(inside.run("edge-agent", "enrol", "status", "--json"))["certificate"]["fingerprint"])


def test_the_readmes_commands_make_a_terminal_of_a_machine(terminal: Terminal) -> None:
    inside = terminal.container
    enrolled(inside)
    inside.run(
        *("systemd-run", "--quiet", "--unit=receiver", "/usr/bin/edge-agent", "receive", "--host=127.0.0.1"),
        *(f"--ledger={CLOUD}/ledger.db", f"--keys={DESK}/keys.json"),
    )
    terminal.until_stored(1)
    terminal.until_healthy()
    status = json.loads(inside.run("edge-agent", "status", "--json"))
    assert (status["terminal"], status["uplink"]["tls"], status["uplink"]["up"]) == (ID, True, True)
    # The root of a container lies in memory, and no browser has the page open.
    doctor = inside.run("edge-agent", "doctor", "--json", "--skip", "disk", "--skip", "page", check=False)
    assert json.loads(doctor)["findings"] == []
    owners = inside.run("find", "/var/lib/edge-agent", "-not", "-user", "edge-agent")
    assert owners == "", "root made nothing that the agent could not read"
    assert inside.run("edge-agent", "keys", "show", "--json") == inside.run(
        *(
            "setpriv",
            "--reuid=edge-agent",
            "--regid=edge-agent",
            "--init-groups",
            "edge-agent",
            "keys",
            "show",
            "--json",
        )
    )


@pytest.mark.parametrize("release", [12], indirect=True)
def test_the_certificate_is_renewed_at_night_and_the_agent_starts_anew_only_then(terminal: Terminal) -> None:
    inside = terminal.container
    inside.run("systemctl", "start", RENEW)
    assert inside.unit(RENEW, "ConditionResult", "Result") == ["no", "success"], "never enrolled: nothing to do"
    first = enrolled(inside)
    terminal.until_healthy()
    pid = terminal.pid()
    # Long after the agent's start, or else it cannot be told from what it has taken up.
    inside.run("touch", "--date=yesterday", f"{DROP_INS}/50-enrolment.toml")
    inside.run("systemctl", "start", RENEW)
    assert (fingerprint(inside), terminal.pid()) == (first, pid), "it is good for a year"

    inside.write(f"/etc/systemd/system/{RENEW}.d/test.conf", "[Service]\nEnvironment=BEFORE_DAYS=400\n")
    inside.run("systemctl", "daemon-reload")
    inside.write(f"{DESK}/expected", f"{ID}\n")
    inside.run(
        *(
            "systemd-run",
            "--quiet",
            "--unit=desk",
            "/usr/bin/edge-agent",
            "enrol",
            "serve",
            f"--expect={DESK}/expected",
        ),
        *("--fleet=sh", "--broker=127.0.0.1", *FLEET, f"--cert={DESK}/desk.pem", f"--cert-key={DESK}/desk.key"),
    )
    inside.run("systemctl", "start", RENEW)
    assert fingerprint(inside) != first
    terminal.until_back(pid)
    terminal.until_healthy()
