import pytest

from edge_agent.errors import PlayerError
from edge_agent.showing.base import LONGEST_S, Showing, Source, Told
from edge_agent.showing.ops import OP, now_playing_ops

NOW = 1_790_000_000.0


async def test_it_tells_what_is_showing_and_takes_a_players_word() -> None:
    told: list[Told] = []
    shown = Showing(None, None, None)
    (name, ask), *others = now_playing_ops(told.append, lambda: shown, wall=lambda: NOW).items()
    assert (name, others) == (OP, [])
    assert await ask({"op": OP}) == {"campaign": None, "until": None, "source": None}
    assert told == []
    shown = Showing("c-1", Source.SOCKET, 30.0)
    answer = await ask({"op": OP, "campaign": "c-1", "until": NOW + 30})
    assert told == [Told("c-1", 30.0, Source.SOCKET)]
    assert answer == {"campaign": "c-1", "until": NOW + 30, "source": "socket"}
    await ask({"op": OP, "campaign": None})
    assert told[1:] == [Told(None, LONGEST_S, Source.SOCKET)]


@pytest.mark.parametrize(
    "word", [{"until": NOW + 1}, {"campaign": "c-1"}, {"campaign": "c-1", "until": float("nan")}, {"campain": "c-1"}]
)
async def test_half_a_word_is_no_question(word: dict[str, object]) -> None:
    told: list[Told] = []
    ops = now_playing_ops(told.append, lambda: Showing(None, None, None), wall=lambda: NOW)
    with pytest.raises(PlayerError):
        await ops[OP]({"op": OP, **word})
    assert told == []
