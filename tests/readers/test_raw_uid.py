"""A raw UID has no way into a text, a file or a log: every one that Python knows of is tried."""

import copy
import dataclasses
import io
import json
import logging
import pickle
import pprint
import reprlib
import traceback
from collections.abc import Callable
from typing import Any

import pytest
import structlog

from edge_agent import logs
from edge_agent.readers.base import RawUid, Target, TargetKind
from edge_agent.sanitize import printable

UID = bytes.fromhex("04a1b2c3d4e5f6")
RAW = RawUid(UID)
TARGET = Target(TargetKind.PLAIN, RAW, 0x08)

TEXTS: dict[str, Callable[[object], str]] = {
    "str": str,
    "repr": repr,
    "ascii": ascii,
    "format": lambda value: f"{value}",
    "format_repr": lambda value: f"{value!r:>40}",
    "percent_s": lambda value: "%s" % (value,),  # noqa: UP031 - one of the ways that are tried
    "percent_r": lambda value: "%r" % (value,),  # noqa: UP031 - as above
    "str_format": "{}".format,
    "pprint": pprint.pformat,
    "reprlib": reprlib.repr,
    "printable": lambda value: printable(str(value)),
    "in_a_list": lambda value: str([value, {"k": value}, (value,)]),
    "exception": lambda value: "".join(traceback.format_exception(ValueError("card", value))),
    "json_default": lambda value: json.dumps({"uid": value}, default=str),
}
REFUSED: dict[str, Callable[[Any], object]] = {
    "json": json.dumps,
    "pickle": pickle.dumps,
    "pickle_0": lambda value: pickle.dumps(value, protocol=0),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "hex_format": lambda value: format(value, "x"),
    "iteration": list,
    "int": int,
    "vars": vars,
}


def shows(text: str) -> bool:
    """Whether anything in it could be the UID: hexadecimal, the repr of bytes, or numbers."""
    flat = text.lower().replace(" ", "").replace(":", "").replace("-", "")
    forms = (UID.hex(), repr(UID).lower()[2:-1], ",".join(map(str, UID)), UID.hex()[::-1])
    return any(form in flat for form in forms)


@pytest.mark.parametrize("value", [RAW, TARGET], ids=["uid", "target"])
@pytest.mark.parametrize("way", TEXTS)
def test_no_text_of_it_says_the_uid(way: str, value: object) -> None:
    assert not shows(TEXTS[way](value))


@pytest.mark.parametrize("way", REFUSED)
def test_it_is_neither_copied_nor_turned_into_bytes_or_a_file(way: str) -> None:
    with pytest.raises(TypeError):
        REFUSED[way](RAW)


def test_a_target_is_not_taken_apart_into_plain_values() -> None:
    with pytest.raises(TypeError):
        dataclasses.asdict(TARGET)
    with pytest.raises(TypeError):
        pickle.dumps(TARGET)


@pytest.fixture
def log_text() -> io.StringIO:
    return io.StringIO()


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_way_through_the_log_says_the_uid(log_text: io.StringIO, form: str) -> None:
    logs.configure("debug", form, stream=log_text, env={})
    log = structlog.get_logger().bind(bound=RAW)
    for name in ("uid", "seen", "target", "x"):
        log.info("card", **{name: RAW})
        log.info("card", **{name: TARGET})
        log.info("card", **{name: [RAW, {"deep": (RAW, TARGET)}]})
        log.info("card", **{name: {RAW: 1}})
    event = f"card {RAW} {TARGET}"
    log.info(event)
    log.info("card %s", RAW)
    logging.getLogger("library").warning("card %s %r", RAW, TARGET)

    def crash() -> None:
        raise ValueError("card", RAW, TARGET)

    try:
        crash()
    except ValueError as error:
        log.exception("crashed", error=error)
        logging.getLogger("library").exception("crashed")
    text = log_text.getvalue()
    assert text.count("card") > 10
    assert not shows(text)
