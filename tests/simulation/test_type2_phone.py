"""The phone must be strict: what it accepts is what our encoder is held to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.simulation.type2_phone import Malformed, NoTag, Record, Seen, Step, parse_message, read_tag

HEAD = bytes.fromhex("04A93512F071800044000000")
URI = bytes.fromhex("D101095504") + b"a.bc/k/x"


def air(area: bytes, container: str = "E1106D00") -> object:
    raw = (HEAD + bytes.fromhex(container) + area).ljust(1024, b"\0")

    def transceive(command: bytes) -> bytes:
        last = command[2] if command[0] == 0x3A else command[1] + 3
        return raw[command[1] * 4 : (last + 1) * 4]

    return transceive


def read(area: bytes, container: str = "E1106D00", step: Step = Step.READ) -> Seen:
    return read_tag(air(area, container), step)  # type: ignore[arg-type] # a closure


@pytest.mark.parametrize("step", Step)
@pytest.mark.parametrize(
    "before",
    [
        b"",
        bytes(7),
        bytes.fromhex("0103A00C34"),  # lock control
        bytes.fromhex("0203000000"),  # memory control
        bytes.fromhex("FD021234"),
        bytes.fromhex("FDFF0100") + b"\x03" * 256,
    ],
)
def test_it_finds_the_message_behind_other_tlvs(before: bytes, step: Step) -> None:
    seen = read(before + bytes((3, len(URI))) + URI + b"\xfe", step=step)
    assert seen == Seen(URI, "https://a.bc/k/x")


def test_it_reads_a_long_length_and_the_application_record() -> None:
    uri = bytes.fromhex("9101F15504") + b"h" * 240
    app = bytes.fromhex("540F03") + b"android.com:pkg" + b"a.b"
    message = uri + app
    seen = read(b"\x03\xff" + len(message).to_bytes(2, "big") + message)
    assert seen.url == "https://" + "h" * 240
    assert seen.app == "a.b"


@pytest.mark.parametrize("area", [bytes.fromhex("0300FE"), b"\xfe", bytes(10) + b"\xfe"])
def test_an_empty_tag_is_empty(area: bytes) -> None:
    assert read(area) == Seen(None)


@pytest.mark.parametrize("container", ["00000000", "E1206D00", "E1106DF0"])
def test_it_refuses_a_container(container: str) -> None:
    with pytest.raises(Malformed, match="container"):
        read(b"", container)


@pytest.mark.parametrize(
    "area",
    [
        b"\x41\x00",
        bytes.fromhex("FDFF0010"),  # a long form for a short length
        bytes.fromhex("03FFFFFE"),
        bytes.fromhex("0303D10105"),
        bytes.fromhex("0304D1010055"),  # no URI in it
        bytes.fromhex("03055101015504"),  # does not begin
    ],
)
def test_what_is_malformed_is_told(area: bytes) -> None:
    with pytest.raises(Malformed):
        read(area)


@pytest.mark.parametrize("answer", [None, b"\x00", b"\x03", bytes(15)])
def test_a_tag_that_refuses_is_no_tag(answer: bytes | None) -> None:
    with pytest.raises(NoTag):
        read_tag(lambda _command: answer)


@given(st.binary(max_size=80), st.sampled_from(Step))
def test_any_memory_is_seen_or_refused(area: bytes, step: Step) -> None:
    try:
        seen = read(area, step=step)
    except Malformed:
        return
    assert seen.message is None or len(seen.message) <= 872


@given(st.binary(max_size=60))
def test_any_bytes_are_records_or_malformed(message: bytes) -> None:
    try:
        records = parse_message(message)
    except Malformed:
        return
    assert records
    assert all(isinstance(record, Record) for record in records)
