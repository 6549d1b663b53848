import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from edge_agent.config.values import Campaign
from edge_agent.errors import PlayerError
from edge_agent.showing.base import LONGEST_S, Showing, Source, Told
from edge_agent.showing.request import EXAMPLE, as_json, is_campaign, read_told, told_of

NOW = 1_790_000_000.0


def read(text: str | bytes) -> Told:
    return read_told(text if isinstance(text, bytes) else text.encode(), now=NOW, source=Source.HTTP)


@pytest.mark.parametrize(
    ("text", "campaign", "life_s"),
    [
        (EXAMPLE, "c-1", 30.0),
        ('{"campaign":"c-1","until":1790000000.5}', "c-1", 0.5),
        ('{"until": 1790086400, "campaign": "茶饮夏季五折"}', None, None),
        ('{"until": 1790086400, "campaign": "夏季五折"}', "夏季五折", LONGEST_S),
        (' {"campaign": null}\r\n', None, LONGEST_S),
        ('{"campaign": null, "until": null}', None, LONGEST_S),
        ('{"campaign": null, "until": 1790000002}', None, 2.0),
    ],
)
def test_a_players_word(text: str, campaign: str | None, life_s: float | None) -> None:
    if life_s is None:
        with pytest.raises(PlayerError, match="1 to 16 bytes"):
            read(text)
    else:
        assert read(text) == Told(campaign, life_s, Source.HTTP)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "not JSON"),
        (b"c-1", "not JSON"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8"),
        (b'["c-1", 1790000030]', "not a JSON object"),
        (b"{}", "campaign is missing"),
        (b'{"campaign": "c-1"}', "until is missing"),
        (b'{"campaign": "c-1", "until": null}', "until is missing"),
        (b'{"campaign": "c-1", "campaign": "c-2", "until": 1790000030}', "duplicate keys"),
        (b'{"campaign": "c-1", "untill": 1790000030}', "other than campaign and until"),
        (b'{"campaign": "", "until": 1790000030}', "1 to 16 bytes"),
        (b'{"campaign": "12345678901234567", "until": 1790000030}', "1 to 16 bytes"),
        (b'{"campaign": "a\\u0000", "until": 1790000030}', "printable"),
        (b'{"campaign": "\\ud800", "until": 1790000030}', "printable"),
        (b'{"campaign": 1, "until": 1790000030}', "printable"),
        (b'{"campaign": ["c-1"], "until": 1790000030}', "printable"),
        (b'{"campaign": "c-1", "until": "1790000030"}', "not a number"),
        (b'{"campaign": "c-1", "until": true}', "not a number"),
        (b'{"campaign": "c-1", "until": [1]}', "not a number"),
        (b'{"campaign": "c-1", "until": NaN}', "NaN"),
        (b'{"campaign": "c-1", "until": 1e999}', "too large"),
        (b'{"campaign": "c-1", "until": 1790000000}', "in the past"),
        (b'{"campaign": "c-1", "until": 30}', "in the past"),
        (b'{"campaign": "c-1", "until": -1}', "in the past"),
        (b'{"campaign": null, "until": -1}', "in the past"),
        (b'{"campaign": "c-1", "until": 1790086401}', "more than a day"),
        (b'{"campaign": "c-1", "until": 1790000030000}', "milliseconds"),
        (b'{"campaign": "c-1", "until": 1' + b"0" * 900 + b"}", "milliseconds"),
        (b'{"campaign": ' + b"[" * 400 + b"]" * 400 + b"}", "deep"),
        (b"[" * 1024, ""),
        (EXAMPLE.encode() + b" " * 1024, "more than 1024 bytes"),
    ],
)
def test_what_makes_no_sense_is_answered_by_what_to_send(text: bytes, says: str) -> None:
    with pytest.raises(PlayerError) as caught:
        read(text)
    assert says in caught.value.text
    assert caught.value.remedy.startswith("send ")
    assert str(caught.value).isprintable()
    assert caught.value.code == "player"


def test_an_object_that_was_decoded_less_strictly_is_checked_all_the_same() -> None:
    for until in (float("nan"), float("inf"), float("-inf")):
        with pytest.raises(PlayerError, match="until"):
            told_of({"campaign": "c-1", "until": until}, now=NOW, source=Source.SOCKET)


@given(st.text(max_size=20))
def test_a_campaign_of_a_player_is_one_of_the_configuration(text: str) -> None:
    try:
        TypeAdapter(Campaign).validate_python(text)
        known = True
    except (ValidationError, UnicodeEncodeError):
        known = False
    assert is_campaign(text) is known


campaigns = st.text(max_size=16).filter(is_campaign)


@given(st.none() | campaigns, st.floats(min_value=0.001, max_value=LONGEST_S - 1), st.booleans())
def test_what_is_well_told_is_understood(campaign: str | None, life_s: float, ascii_only: bool) -> None:
    text = json.dumps({"campaign": campaign, "until": NOW + life_s}, ensure_ascii=ascii_only)
    assert read(text) == Told(campaign, (NOW + life_s) - NOW, Source.HTTP)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)


@given(
    st.binary(max_size=1100)
    | values.map(lambda value: json.dumps(value).encode())
    | st.fixed_dictionaries({"campaign": values, "until": values}).map(lambda value: json.dumps(value).encode())
)
def test_whatever_comes_is_a_word_within_its_bounds_or_refused(payload: bytes) -> None:
    with suppress(PlayerError):
        told = read(payload)
        assert 0 < told.life_s <= LONGEST_S
        assert told.campaign is None or is_campaign(told.campaign)


def test_what_is_showing_is_told_as_a_player_would() -> None:
    shown = as_json(Showing("c-1", Source.FILE, 12.25), now=NOW)
    assert shown == {"campaign": "c-1", "until": NOW + 12.25, "source": "file"}
    assert told_of({key: shown[key] for key in ("campaign", "until")}, now=NOW, source=Source.FILE).life_s == 12.25
    assert as_json(Showing(None, None, None), now=NOW) == {"campaign": None, "until": None, "source": None}
