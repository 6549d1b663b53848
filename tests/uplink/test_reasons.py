import pytest

from edge_agent.uplink.base import DownReason
from edge_agent.uplink.connection import REMEDIES
from edge_agent.uplink.reasons import reason_of, words_of


@pytest.mark.parametrize(
    ("codes", "reason"),
    [
        ((0x86, 0x87, 0x8A, 0x8C), DownReason.AUTH),
        ((0x88, 0x89, 0x96, 0x97, 0x9F), DownReason.BUSY),
        ((0x9C, 0x9D), DownReason.MOVED),
        ((0x93, 0x95), DownReason.LIMIT),
        ((0x8E,), DownReason.TAKEN_OVER),
        ((0x80, 0x8B, 0x8D, 0xA2, 0xFF), DownReason.BROKER),
    ],
)
def test_each_code_has_its_kind(codes: tuple[int, ...], reason: DownReason) -> None:
    assert {reason_of(code) for code in codes} == {reason}


def test_every_kind_of_end_has_a_remedy() -> None:
    assert {reason for reason, text in REMEDIES.items() if text} == set(DownReason) - {DownReason.STOPPED}


def test_the_words_say_what_the_broker_said_and_no_more() -> None:
    assert words_of("Server moved", 157) == "Server moved (157)"
    said = words_of("Server moved", 157, why="maintenance", elsewhere="b.example:8883")
    assert said == "Server moved (157), maintenance, it names b.example:8883"
