import base64
import json
import random
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.diag.bundle.redact import redact_line, redact_text, redact_toml, redact_value

SECRET = "correct-horse-battery"
PEM = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA\nabc\n-----END PRIVATE KEY-----"


def spelled(secret: bytes) -> list[str]:
    joints = ["", ":", "-"] if len(secret) == 4 else ["", ":", " ", "-"]
    found = [secret.hex(joint) if joint else secret.hex() for joint in joints]
    if len(secret) == 4:
        found = found[1:]  # eight digits may be anything: docs and code say so
    return [*found, *(text.upper() for text in found)]


@given(
    st.sampled_from([4, 7, 10, 16, 32]).flatmap(lambda size: st.binary(min_size=size, max_size=size)),
    st.sampled_from(["{}", "card {} seen", "id={}.", "(0x{})", '"{}"', "a,{},b", "[{}]", "\t{}\n"]),
)
def test_bytes_of_the_length_of_a_secret_are_hidden_however_they_are_spelled(secret: bytes, around: str) -> None:
    for text in spelled(secret):
        if "0x" in around and not text.isalnum():
            continue
        assert text not in redact_text(around.format(text)), text


def test_keys_and_tokens_in_base64_are_hidden() -> None:
    rng = random.Random(24)
    for _ in range(500):
        secret = rng.randbytes(rng.choice([32, 48, 64, 180]))
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode(secret).decode()
            assert text.rstrip("=") not in redact_text(f"said {text}, went")


@pytest.mark.parametrize(
    "text",
    [
        f"password={SECRET}",
        f'password = "{SECRET}"',
        f"broker_password: '{SECRET}'",
        f"mosquitto_pub -u me --password {SECRET} -t x",
        f"Authorization: Bearer {SECRET}",
        f"mqtt://terminal:{SECRET}@broker.example:8883/x",
        f'{{\\"psk\\": \\"{SECRET}\\"}}',
        f'{{"a": 1, "clientSecret": "{SECRET}", "b": 2}}',
        f"wpa_passphrase={SECRET};ssid=x",
        f"mount -o credentials={SECRET},uid=1000",
        f"x\n{PEM.replace('abc', SECRET)}\ny",
        f"-----BEGIN EC PRIVATE KEY-----\n{SECRET}",
        "see https://p.example/t/AQ" + "correct-horse-battery" * 5 + "abcdefgh",
        repr(bytes.fromhex("04a1b2c3d4e5f6")) + SECRET[:0],
    ],
)
def test_what_is_said_to_be_a_secret_is_hidden(text: str) -> None:
    said = redact_text(text)
    assert SECRET not in said
    assert "xa1" not in said
    assert "[redacted]" in said


@pytest.mark.parametrize(
    "text",
    [
        "/dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A50285BI-if00-port0",
        "/dev/serial/by-id/usb-Silicon_Labs_CP2102N_USB_to_UART_Bridge_Controller_8e4d3c2b1a0f8e4d3c2b1a0f8e4d3c2b-if00",
        "kid 147bb5dbdc97dc69 chain 92b3ce2e6b6d428a seq 121",
        'password_file = "/run/credentials/mqtt"',
        "key = /etc/edge-agent/tls/terminal.key",
        'password_file = "credential:mqtt-password"',
        "credential:mqtt-password is not there",
        "00:1a:2b:3c:4d:5e eth0 up",
        "the password was refused by the broker",
        "uid=1000(edge-agent) gid=1000",
        "2026-11-23T06:14:02Z 12:34:56 2026-11-23",
        "[    3.141592] usb 1-1.4: new full-speed USB device number 5 using xhci_hcd",
        "/dev/mmcblk0p2 ext4 7.2G 3.1G 3.8G 46% /",
        "fe80::21a:2bff:fe3c:4d5e 192.168.10.20 255.255.255.0",
        "NetworkManager-wait-online.service systemd-networkd-wait-online.service",
    ],
)
def test_what_helps_stays(text: str) -> None:
    assert redact_text(text) == text


def test_values_go_by_their_names() -> None:
    told = {
        "password": SECRET,
        "uplink": {
            "username": "terminal",
            "credentials": {"user": "x", "why": SECRET},
            "password_file": "/run/p",
            "key": "credential:k",
        },
        "tokens": 12,
        "key": None,
        "nonce": [1, 2, 3],
        "uids": ["04a1b2c3d4e5f6"],
        "private_key": True,
        "text": f"password={SECRET}",
        "bytes": b"x",
        "empty": {"token": ""},
        f"token={SECRET}": 1,
    }
    assert redact_value(told) == {
        "password": "[redacted]",
        "uplink": {
            "username": "terminal",
            "credentials": {"user": "[redacted]", "why": "[redacted]"},
            "password_file": "/run/p",
            "key": "credential:k",
        },
        "tokens": 12,
        "key": None,
        "nonce": "[redacted]",
        "uids": ["[redacted]"],
        "private_key": True,
        "text": "password=[redacted]",
        "bytes": "[redacted]",
        "empty": {"token": ""},
        "token=[redacted]": 1,
    }


def test_a_value_without_an_end_is_cut_off() -> None:
    deep: list[object] = []
    deep.append(deep)
    assert "[redacted]" in json.dumps(redact_value(deep))


def test_a_line_of_the_log_goes_by_its_names() -> None:
    line = json.dumps({"event": "x", "sub": SECRET, "reader": "nfc0", "n": 3})
    assert json.loads(redact_line(line)) == {"event": "x", "sub": "[redacted]", "reader": "nfc0", "n": 3}
    assert redact_line(f'{{"torn": "password={SECRET}') == '{"torn": "password=[redacted]'
    assert redact_line("plain") == "plain"


CONFIG = f'''\
# the old password was {SECRET}
[uplink]
host = "broker.example"  # where
password = "{SECRET}"
password_file = "/run/credentials/mqtt"  # a path
key = "credential:tls-key"
secret_words = """
{SECRET}
"""
tokens = ["{SECRET}",
  "{SECRET}",
]
ttl = 60
url = "mqtt://me:{SECRET}@broker.example"
'''


def test_a_configuration_keeps_its_lines_and_loses_its_secrets() -> None:
    told = redact_toml(CONFIG)
    assert SECRET not in told
    assert len(told.splitlines()) == len(CONFIG.splitlines())
    parsed = tomllib.loads(told)["uplink"]
    assert parsed["password_file"] == "/run/credentials/mqtt"
    assert parsed["key"] == "credential:tls-key"
    assert parsed["host"] == "broker.example"
    assert parsed["ttl"] == 60
    assert parsed["password"] == parsed["secret_words"] == "[redacted]"


@given(st.text(max_size=300))
def test_no_text_breaks_the_gate_and_nothing_harmless_is_added(text: str) -> None:
    redact_text(text)
    redact_line(text)
    redact_toml(text)


def test_a_long_line_takes_no_long_time() -> None:
    for text in ("a" * 50_000, "a-" * 25_000, "key " * 12_000, "00:" * 16_000, "b'" * 25_000, "://" * 16_000):
        redact_text(text)
