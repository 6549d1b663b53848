import pytest

from edge_agent.readers.profiles.base import ProfileSettings
from edge_agent.readers.profiles.make import make_parser
from tests.fakes.portions import told


def test_the_settings_reach_the_parser() -> None:
    line = make_parser(ProfileSettings("ascii_line", prefix="#", suffix="!"))
    assert told(line, b"#4711!\r") == [b"4711"]
    framed = make_parser(ProfileSettings("aa_bb", head=b"\x02", tail=b"\x03", length="frame", checksum="sum"))
    assert told(framed, bytes.fromhex("02 01 09 16 0F F4 7F A2 03")) == [bytes.fromhex("160FF47F")]
    assert told(make_parser(ProfileSettings("stx_etx_hex")), b"\x020C000621A58E\x03") == [bytes.fromhex("0C000621A5")]


def test_a_dialogue_has_no_such_parser() -> None:
    with pytest.raises(ValueError, match="acs_ccid"):
        make_parser(ProfileSettings("acs_ccid"))
