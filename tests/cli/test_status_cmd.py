import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.cli.main import main
from tests.fakes.control_stub import answering


def answer(state: str, /, **reader: object) -> dict[str, object]:
    part = {"name": "reader", "state": "ok", "detail": "pn532 1.6", "restarts": 0, "since_s": 75.0} | reader
    return {
        "terminal": "sh-000123-a",
        "version": "0.1.0",
        "uptime_s": 7500,
        "health": {"state": state, "late": [], "components": [part]},
        "clock": {"unix": 1_790_000_000, "trust": "synced"},
        "readers": [{"name": "nfc0", "state": "polling", "chip": "PN532 v1.6", "device": "/dev/nfc", "taps": 12}],
        "screens": [{"name": "web0", "state": "up", "detail": "http://127.0.0.1:8787/", "last_cue": None}],
        "taps": [
            {"seq": 10, "reader": "nfc0", "age_s": 70.0, "latency_ms": {}},
            {"seq": 11, "reader": "nfc0", "age_s": 4.2, "latency_ms": {"seen_to_committed": 61.5}},
        ],
        "outbox": {"pending": 3, "leased": 1, "stored": 8, "parked": 0, "next_seq": 12, "bytes_on_disk": 14440},
        "uplink": {"up": True, "since_s": 100, "host": "broker.example", "port": 8883, "tls": True, "text": ""},
    }


@pytest.fixture
def status(tmp_path: Path) -> Callable[..., int]:
    def ask_for(result: dict[str, object], *words: str) -> int:
        with answering(tmp_path / "s", result):
            return main(["status", "--socket", str(tmp_path / "s"), *words])

    return ask_for


def test_verdict_first_and_next_step_last(status: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert status(answer("ok")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "sh-000123-a: OK, takes taps",
        "",
        "  reader  ok        for 1 min, pn532 1.6",
        "",
        "  agent        version 0.1.0, up 2 h 5 min, clock synced",
        "  reader nfc0  polling, PN532 v1.6, /dev/nfc, 12 taps",
        "  screen web0  up, http://127.0.0.1:8787/",
        "  last tap     4 s ago on nfc0, seq 11, kept 62 ms after the phone was seen",
        "  outbox       4 waiting, 8 stored by the cloud, next seq 12, 14 kB on disk",
        "  uplink       connected for 1 min, broker.example:8883 (TLS)",
        "",
        "Next: nothing to do.",
    ]


@pytest.mark.parametrize("state", ["starting", "degraded", "failed", "stopped", "unheard-of"])
def test_anything_but_ok_is_a_problem(
    state: str, status: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(answer(state, state="failed", detail="un\x1b[2Jplugged", restarts=4)) == 1
    out = capsys.readouterr().out
    assert "restarted 4 times" in out
    assert "\x1b" not in out
    assert out.splitlines()[-1] == "Next: look at reader: edge-agent logs -n 50"


def test_a_display_in_trouble_says_so_in_plain_words_and_a_sound_one_says_nothing(
    status: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    well = {
        "name": "serial0",
        "state": "up",
        "firmware": "LX-7 1.4.2",
        "detail": "/dev/edge-screen",
        "last_cue": "invite",
    }
    figures = {
        "rtt_ms": 4.24,
        "heard_s": 0.4,
        "opened": 1,
        "faults": 0,
        "temperature_c": 69,
        "refused": 0,
        "tampers": 0,
    }
    assert status(answer("ok") | {"screens": [well | figures]}) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "up, LX-7 1.4.2, /dev/edge-screen, shows invite, answers in 4.2 ms last tap" in out

    ill = {"state": "down", "heard_s": 75, "faults": 0x12, "temperature_c": 71, "tampers": 1, "resets": 2}
    more = {"refused": 3, "crashes": 4, "opened": 6}
    status(answer("degraded") | {"screens": [well | figures | ill | more]})
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    for words in (
        "last heard 1 min ago", "its own fault bits 0x0012", "hot: 71 °C", "tampered with once",
        "restarted by itself 2 times", "refused 3 messages", "our own program failed on it 4 times: see the log",
        "came back 5 times",
    ):  # fmt: skip
        assert words in " ".join(" ".join(lines).split())


def test_a_clock_that_nobody_set_is_looked_at_where_clocks_are(
    status: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(answer("degraded", name="clock", state="degraded")) == 1
    assert capsys.readouterr().out.splitlines()[-1].endswith("timedatectl")


def test_a_tag_without_a_ticket_for_want_of_the_time_leads_to_the_clock(
    status: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    trouble = answer("degraded", name="clock", state="degraded")
    health = trouble["health"]
    assert isinstance(health, dict)
    health["components"].append({"name": "tag0", "state": "degraded", "detail": "shows no ticket"})
    trouble["tags"] = [{"name": "tag0", "state": "hidden"}]
    assert status(trouble) == 1
    assert capsys.readouterr().out.splitlines()[-1].endswith("timedatectl")
    trouble["tags"] = [{"name": "tag0", "state": "lost"}]
    assert status(trouble) == 1
    assert "look at clock, tag0" in capsys.readouterr().out


def test_tags_are_told_within_80_columns(status: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    with_tags = answer("ok")
    with_tags["tags"] = [
        {"name": "tag0", "state": "showing", "chip": "NT3H2111", "device": "/dev/i2c-1 at 0x55", "taps": 1234}
        | {"reads": 1236, "strays": 2, "rotations": 56789, "reopens": 3, "last_error": "no answer\x1b[2J" + "y " * 60},
        {"name": "qr0", "state": "hidden", "taps": 0, "rotations": 7},
    ]
    assert status(with_tags) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert max(len(line) for line in out.splitlines()) <= 80
    told = " ".join(out.split())
    assert "tag tag0 showing, NT3H2111, /dev/i2c-1 at 0x55, 1,234 taps, 2 reads of unknown tickets, " in told
    assert "56,789 tickets shown, opened again 3 times, last error: no answer" in told
    assert "tag qr0 hidden, 0 taps, 7 tickets shown" in told


def test_a_reader_and_a_broker_in_trouble_are_told(
    status: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    trouble = answer("degraded")
    reader = {"name": "nfc0", "state": "opening", "lost": 2, "reopens": 7, "last_error": "no answer\n"}
    trouble["readers"] = [{**reader, "recovery": "USB reset, not possible: no permission"}]
    trouble["uplink"] = {"up": False, "host": "b", "port": 1883, "tls": False, "text": "b:1883 refuses connections"}
    status(trouble)
    out = capsys.readouterr().out
    said = " ".join(out.split())
    assert "opening, 2 lost in the middle, opened again 7 times, last error: no answer" in said
    assert "tried last: USB reset, not possible: no permission" in said
    assert "not connected, b:1883 (no TLS), b:1883 refuses connections" in " ".join(out.split())


def test_taps_beyond_the_limits_are_told(status: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    flood = answer("ok")
    flood["limits"] = {"resting": True, "refused": {"cooling": 3, "flood": 1200}}
    status(flood)
    out = " ".join(capsys.readouterr().out.split())
    assert "takes none for a moment: more came than the limits allow" in out
    assert "3 too soon after the last of the same phone, 1,200 beyond taps_per_minute" in out


def test_what_was_lost_or_is_out_of_order_is_told(
    status: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    trouble = answer("degraded", name="outbox", state="degraded")
    trouble["restarted_because"] = "the reader nfc0 gave no sign of life for 30 s\x1b[2J"
    trouble["outbox"] = {
        "pending": 3,
        "evicted": 1200,
        "next_seq": 1_234_567,
        "gaps": 2,
        "fault": "full",
        "quarantined": ["outbox.db.broken-20261122T190000Z", "x\x1b"],
        "salvaging": True,
    }
    assert status(trouble) == 1
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    text = " ".join(" ".join(lines).split())
    assert "restarted the reader nfc0 gave no sign of life for 30 s\\x1b[2J" in text
    assert text.count("gave no sign of life") == 1
    assert "outbox 3 waiting, 1,200 given up undelivered, 2 gap records not confirmed, next seq 1,234,567" in text
    assert "taps cannot be kept: full" in text
    assert "set aside outbox.db.broken-20261122T190000Z, x\\x1b, its rows are being taken over" in text
    assert lines[-1] == "Next: look into the outbox: edge-agent outbox stats"


def test_somebody_with_our_identity_is_looked_for_first(
    status: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    trouble = answer("degraded", name="uplink", state="degraded")
    trouble["uplink"] = {"up": True, "identity": "another terminal uses our identity: session 0011"}
    assert status(trouble) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "  identity     another terminal uses our identity: session 0011" in lines
    assert lines[-1].startswith("Next: find the other terminal")


def test_json_is_the_answer_itself(status: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert status(answer("degraded"), "--json") == 1
    assert json.loads(capsys.readouterr().out) == answer("degraded")


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"health": None},
        {"health": {"components": 5}},
        {"health": {"components": [5]}},
        {"readers": [{}, 5], "screens": "x", "taps": [{"age_s": "x"}], "outbox": [], "uplink": {"up": 5}, "clock": 7},
        {
            "outbox": {"evicted": "x", "quarantined": "y", "salvaging": 1, "gaps": []},
            "restarted_because": [],
            "uplink": [],
        },
    ],
)
def test_an_answer_of_another_version_is_shown_as_far_as_it_goes(
    result: dict[str, object], status: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(result) == 1
    assert capsys.readouterr().out.startswith("agent: UNKNOWN")


def test_a_long_detail_goes_on_in_its_column(status: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    status(answer("degraded", state="degraded", detail="no answer on the line " * 5))
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert lines[3].startswith(" " * 20)


def test_the_socket_is_that_of_the_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "agent.toml"
    path = tmp_path / "control"
    config.write_text(f'[terminal]\nid="t"\nfleet="f"\n[uplink]\nhost="localhost"\n[control]\nsocket="{path}"\n')
    with answering(path, answer("ok")):
        assert main(["status", "--config", str(config)]) == 0
    capsys.readouterr()
    assert main(["status", "--config", str(config)]) == 3
    message, remedy = capsys.readouterr().err.splitlines()
    assert str(path) in message
    assert "systemctl status edge-agent" in remedy
