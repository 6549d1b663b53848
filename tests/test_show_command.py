"""cmd/show: what the cloud may have shown, and why nothing else is."""

import json
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.brightness import FULL
from edge_agent.models import Cue
from edge_agent.show_command import CUES, HIGHEST_LEVEL, LOWEST_LEVEL, NAME, RestByCommand, ShowArgs, told
from edge_agent.strict_json import WireError
from edge_agent.uplink.wire import Command
from firmware_bridge.cues import MIN_LEVEL

for_s = st.integers(1, 86_400)
levels = st.integers(LOWEST_LEVEL, HIGHEST_LEVEL)
wanted = st.one_of(
    st.just(ShowArgs(Cue.IDENTIFY)),
    st.builds(ShowArgs, st.just(Cue.RESTING), st.none(), for_s),
    st.builds(ShowArgs, st.sampled_from([None, *CUES]), levels, for_s),
)


@given(wanted)
def test_arguments_survive_the_way_in_a_command(args: ShowArgs) -> None:
    command = Command(NAME, "1", 1, args.encode())
    assert ShowArgs.decode(Command.decode("cmd/show", command.encode()).args) == args


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        ({}, "there is neither a cue nor a level"),
        ({"for_s": 5}, "there is neither a cue nor a level"),
        ({"cue": "thanks"}, "cue is not identify or resting: the others say what happened at the terminal"),
        ({"cue": "thanks", "amount": 500}, "amount is not shown by command: only a result says what a tap brought"),
        ({"cue": "identify", "text": "call 555"}, "text is not shown by command"),
        ({"cue": "identify", "text": None}, "text is not shown by command"),
        ({"level": 50, "for_s": 5, "amount": 1}, "amount is not shown by command"),
        ({"cue": 7}, "cue is not of type str"),
        ({"cue": None}, "cue is not of type str"),
        ({"cue": "IDENTIFY"}, "cue is not identify or resting"),
        ({"cue": "identify", "for_s": 5}, "for_s is for resting and for a level"),
        ({"cue": "resting"}, "for_s is missing"),
        ({"cue": "resting", "for_s": 0}, "for_s is out of range 1 to 86400"),
        ({"cue": "resting", "for_s": 86_401}, "for_s is out of range 1 to 86400"),
        ({"cue": "resting", "for_s": 1.0}, "for_s is not of type int"),
        ({"level": 50}, "for_s is missing"),
        ({"level": 4, "for_s": 5}, "level is out of range 5 to 100"),
        ({"level": 101, "for_s": 5}, "level is out of range 5 to 100"),
        ({"level": True, "for_s": 5}, "level is not of type int"),
    ],
)
def test_everything_else_is_refused_with_its_reason(args: dict[str, Any], reason: str) -> None:
    with pytest.raises(WireError) as caught:
        ShowArgs.decode(args)
    assert caught.value.text.startswith(reason)


@pytest.mark.parametrize("cue", sorted(set(Cue) - set(CUES)))
def test_no_cue_that_tells_of_a_tap_or_of_the_terminal_is_shown_by_command(cue: Cue) -> None:
    with pytest.raises(WireError, match="say what happened"):
        ShowArgs.decode({"cue": cue.value, "for_s": 5})


values = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40)
names = st.sampled_from(["cue", "level", "for_s", "text", "amount", "other"])


@given(st.dictionaries(names, values | st.sampled_from([*Cue]) | st.integers(0, 100)))
def test_any_arguments_are_understood_or_refused(args: dict[str, Any]) -> None:
    try:
        understood = ShowArgs.decode(json.loads(json.dumps(args)))
    except WireError:
        return
    assert understood.encode() == {name: args[name] for name in ("cue", "level", "for_s") if name in args}
    assert told(understood)


def test_what_a_later_release_may_add_is_ignored() -> None:
    assert ShowArgs.decode({"cue": "identify", "colour": "red"}) == ShowArgs(Cue.IDENTIFY)


@pytest.mark.parametrize(
    ("args", "detail"),
    [
        (ShowArgs(Cue.IDENTIFY), "identify"),
        (ShowArgs(Cue.RESTING, None, 600), "resting for 600 s"),
        (ShowArgs(None, 40, 60), "level 40 for 60 s"),
        (ShowArgs(Cue.IDENTIFY, 100, 60), "identify, level 100 for 60 s"),
    ],
)
def test_the_answer_says_what_is_shown_and_for_how_long(args: ShowArgs, detail: str) -> None:
    assert told(args) == detail


def test_the_levels_are_those_of_the_screens() -> None:
    assert (LOWEST_LEVEL, HIGHEST_LEVEL) == (MIN_LEVEL, FULL)


def test_a_rest_lasts_as_long_as_was_said_last() -> None:
    rest = RestByCommand()
    assert not rest.holds(0.0)
    assert rest.due(0.0) == inf
    rest.begin(86_400, 10.0)
    assert rest.due(10.0) == 86_410.0
    rest.begin(1, 20.0)
    assert [rest.holds(now) for now in (20.0, 20.999, 21.0)] == [True, True, False]
    assert rest.due(21.0) == inf
