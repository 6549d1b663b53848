import errno
import io
import json
import logging
import os
import pty
import subprocess
import sys
import warnings
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from pathlib import Path

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from edge_agent import logs
from edge_agent.logs import REDACTED, Repeats, redact
from edge_agent.models import TapFacts, TapMode
from edge_agent.readers.base import RawUid


def lines_of(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_pipe_gets_one_json_object_a_line() -> None:
    stream = io.StringIO()
    logs.configure("info", "auto", stream=stream, env={})
    log = structlog.get_logger("x")
    log.debug("hidden")
    log.warning("reader_lost", reader="nfc0", after_s=1.5)
    [line] = lines_of(stream)
    assert line.pop("timestamp")
    assert line == {"event": "reader_lost", "level": "warning", "reader": "nfc0", "after_s": 1.5}


def test_a_forged_line_feed_stays_in_its_line() -> None:
    for form in ("json", "console"):
        stream = io.StringIO()
        logs.configure("info", form, stream=stream, env={})
        structlog.get_logger().info("said", text="a\n\x1b[2Jforged level=error")
        assert len(stream.getvalue().splitlines()) == 1
        assert "\x1b" not in stream.getvalue()


def test_a_terminal_gets_colours_unless_no_color() -> None:
    main, side = pty.openpty()
    with os.fdopen(main, "rb", buffering=0) as screen, os.fdopen(side, "w") as terminal:

        def shown(env: dict[str, str], event: str) -> bytes:
            logs.configure("info", "auto", stream=terminal, env=env)
            structlog.get_logger().info(event, last="END")
            text = b""
            while b"\n" not in text.partition(b"END")[2]:  # a terminal may hand over a line in pieces
                text += screen.read(4096)
            return text

        assert b"\x1b[" in shown({"TERM": "xterm"}, "first")
        plain = shown({"TERM": "xterm", "NO_COLOR": "1"}, "second")
        assert b"second" in plain
        assert b"\x1b[" not in plain


def test_the_journal_gets_the_priority_before_the_json(tmp_path: Path) -> None:
    with (tmp_path / "journal").open("w+") as stream:
        status = os.fstat(stream.fileno())
        logs.configure("info", "auto", stream=stream, env={"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
        structlog.get_logger().error("bad")
        logs.configure("info", "auto", stream=stream, env={"JOURNAL_STREAM": "1:2"})
        structlog.get_logger().error("bad")
        stream.flush()
        first, second = (tmp_path / "journal").read_text().splitlines()
    assert first.startswith('<3>{"')
    assert second.startswith('{"')


@pytest.mark.parametrize("form", ["json", "console"])
def test_an_exception_is_logged_without_the_values_of_variables(form: str) -> None:
    stream = io.StringIO()
    logs.configure("info", form, stream=stream, env={})
    geheim = "04a1" * 4
    try:
        int(geheim[:1] + "x")
    except ValueError:
        structlog.get_logger().exception("crashed")
    assert "ValueError: invalid literal" in stream.getvalue()
    assert geheim not in stream.getvalue()


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_ticket_passes_whatever_text_it_stands_in(form: str) -> None:
    url = f"https://t.example.net/k/{'AQ' + 'x_9-' * 28 + 'E'}"
    stream = io.StringIO()
    logs.configure("info", form, stream=stream, env={})
    log = structlog.get_logger()
    log.warning("lost", error=OSError(f"cannot write {url}"), list=[url], long="y " * 230 + url, ticket="AQ")
    if form == "json":
        try:
            raise ValueError(f"bad {url}")  # noqa: TRY301 - what is logged is a traceback
        except ValueError:
            log.exception("crashed")
    assert "x_9-x_9-" not in stream.getvalue()
    assert f"cannot write https://t.example.net/k/{REDACTED}" in stream.getvalue()


def test_libraries_speak_in_our_form_and_nfcpy_not_at_all() -> None:
    stream = io.StringIO()
    logs.configure("debug", "json", stream=stream, env={})
    logs.configure("debug", "json", stream=stream, env={})
    logging.getLogger("asyncio").warning("slow %s", "callback\n")
    logging.getLogger("paho").info("chatter")
    logging.getLogger("nfc.clf").critical("UID 04a1b2c3")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    first, second = lines_of(stream)
    assert (first["event"], first["source"], first["text"]) == ("library", "asyncio", r"slow callback\n")
    assert second["source"] == "py.warnings"


class Word(StrEnum):
    YES = "yes"


class Number(IntEnum):
    TWO = 2


@dataclass
class Unknown:
    secret: str = "geheim"


UID = bytes.fromhex("04a1b2c3d4e5f6")


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("reader", "nfc0", "nfc0"),
        ("count", 3, 3),
        ("ratio", 0.5, 0.5),
        ("ok", True, True),
        ("none", None, None),
        ("word", Word.YES, "yes"),
        ("number", Number.TWO, 2),
        ("file", Path("/x/y"), "/x/y"),
        ("error", ValueError("no\n"), r"no\n"),
        ("tokens", 64, 64),
        ("seen", RawUid(UID), REDACTED),
        ("given", SecretStr("geheim"), REDACTED),
        ("data", UID, "[7 bytes]"),
        ("data", bytearray(UID), "[7 bytes]"),
        ("data", memoryview(UID), "[7 bytes]"),
        ("password", "geheim", REDACTED),
        ("mqtt_password", "geheim", REDACTED),
        ("privateKey", "geheim", REDACTED),
        ("card-uid", UID.hex(), REDACTED),
        ("token", UID.hex(), REDACTED),
        ("keyboard", "qwerty", "qwerty"),
        ("items", ["a", UID, {"uid": UID.hex(), "n": 1}], ["a", "[7 bytes]", {"uid": REDACTED, "n": 1}]),
        ("secrets", ["a", "b"], REDACTED),
        ("facts", TapFacts(TapMode.CARD, "nfc0", nonce=UID, sub=UID), "<TapFacts>"),
        ("thing", Unknown(), "<Unknown>"),
        ("deep", [[[[["x"]]]]], [[[["<list>"]]]]),
        ("long", "x" * 1000, "x" * 497 + "..."),
    ],
)
def test_redacts_by_type_and_by_name(name: str, value: object, shown: object) -> None:
    assert redact(None, "info", {name: value}) == {name: shown}


secrets = st.one_of(st.builds(RawUid, st.just(UID)), st.just(UID), st.just(SecretStr("geheim")), st.just(Unknown()))
trees = st.recursive(
    secrets,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.tuples(inner), st.dictionaries(st.sampled_from(["a", "key"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(trees)
def test_no_nesting_lets_a_secret_through(tree: object) -> None:
    text = json.dumps(redact(None, "info", {"tree": tree}))
    assert "geheim" not in text
    assert UID.hex() not in text
    assert "04" not in text


class Recorder:
    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, object]]] = []

    def warning(self, event: str, **fields: object) -> None:
        self.lines.append(("warning", event, fields))

    def debug(self, event: str, **fields: object) -> None:
        self.lines.append(("debug", event, fields))

    def info(self, event: str, **fields: object) -> None:
        self.lines.append(("info", event, fields))


def test_repeats_warn_first_then_whisper_and_tell_the_end() -> None:
    log = Recorder()
    repeats = Repeats(log, "broker_lost", "broker_back")
    repeats.recovered()
    repeats.failed("refused", port=1883)
    repeats.failed("refused")
    repeats.failed("timeout")
    repeats.failed("timeout")
    repeats.recovered(port=1883)
    repeats.recovered()
    repeats.failed("timeout")
    assert log.lines == [
        ("warning", "broker_lost", {"reason": "refused", "count": 1, "port": 1883}),
        ("debug", "broker_lost", {"reason": "refused", "count": 2}),
        ("warning", "broker_lost", {"reason": "timeout", "count": 3}),
        ("debug", "broker_lost", {"reason": "timeout", "count": 4}),
        ("info", "broker_back", {"failures": 4, "port": 1883}),
        ("warning", "broker_lost", {"reason": "timeout", "count": 1}),
    ]


class FullDisk(io.StringIO):
    """A file that takes nothing for as long as it is told to."""

    full = False

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, "no space left")
        return super().write(text)


def test_a_log_that_cannot_be_written_fails_nobody_and_says_later_what_is_missing() -> None:
    disk = FullDisk()
    logs.configure("info", "json", stream=disk, env={})
    log = structlog.get_logger()
    log.warning("first")
    disk.full = True
    log.warning("second")
    log.warning("third")
    disk.full = False
    log.warning("fourth")
    log.warning("fifth")
    lines = lines_of(disk)
    assert [line["event"] for line in lines] == ["first", "fourth", "log_lines_lost", "fifth"]
    assert lines[2]["count"] == 2


def test_a_closed_log_fails_nobody() -> None:
    stream = io.StringIO()
    logs.configure("info", "json", stream=stream, env={})
    stream.close()
    structlog.get_logger().warning("unheard")


def test_importing_the_logs_stays_lean() -> None:
    code = "import sys, edge_agent.logs; print(sorted({'rich', 'pydantic', 'nfc', 'cryptography'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
