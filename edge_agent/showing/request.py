"""The JSON in which a player tells what is showing: ``{"campaign": "c-1", "until": UNIX}``, on all three ways. Pure.

Never guessed at and never repaired: what comes out is a word of the player, or a PlayerError that says what to send.
"""

from collections.abc import Mapping

from edge_agent.errors import PlayerError
from edge_agent.showing.base import LONGEST_S, Showing, Source, Told
from edge_agent.strict_json import WireError, load_object

MAX_BYTES = 1024
EXAMPLE = '{"campaign": "c-1", "until": 1790000030}'
MAX_CAMPAIGN_BYTES = 16
"""The token's room for it, contract section 2; the rule of `campaign` in the configuration."""

_FIELDS = {"campaign", "until"}
# A clock in milliseconds is past this since 1970, one in seconds is not before the year 5138.
_LEAST_MS = 10**11
_UNTIL = "send until as the unix time in seconds at which the advert ends, a day from now at most"


def read_told(payload: bytes, *, now: float, source: Source) -> Told:
    """Decode what a player wrote; ``now`` is the unix time, ``source`` the way it came. Raises PlayerError."""
    if len(payload) > MAX_BYTES:
        raise PlayerError(f"more than {MAX_BYTES} bytes", remedy=f"send one object like {EXAMPLE}")
    try:
        value = load_object(payload, max_bytes=MAX_BYTES)
    except WireError as error:
        raise PlayerError(error.text, remedy=f"send one object like {EXAMPLE}") from error
    return told_of(value, now=now, source=source)


def told_of(value: Mapping[str, object], *, now: float, source: Source) -> Told:
    """Check an object that was decoded already; see `read_told`."""
    if not value.keys() <= _FIELDS:
        raise PlayerError("there are fields other than campaign and until", remedy=f"send one object like {EXAMPLE}")
    if "campaign" not in value:
        raise PlayerError("campaign is missing", remedy="send null as the campaign to take your word back")
    campaign = value["campaign"]
    if campaign is not None and not (isinstance(campaign, str) and is_campaign(campaign)):
        raise PlayerError(
            f"campaign is not 1 to {MAX_CAMPAIGN_BYTES} bytes of printable text",
            remedy="send the name that the cloud knows it by, or null to take your word back",
        )
    until = value.get("until")
    if until is None:
        if campaign is not None:
            raise PlayerError("until is missing", remedy=_UNTIL)
        return Told(None, LONGEST_S, source)
    return Told(campaign, _life_s(until, now), source)


def is_campaign(text: str) -> bool:
    """Whether a campaign can have this name."""
    return text.isprintable() and 1 <= len(text.encode()) <= MAX_CAMPAIGN_BYTES


def as_json(showing: Showing, *, now: float) -> dict[str, object]:
    """Return what is showing as a player would tell it, with who told it as ``source``; ``now`` is the unix time."""
    until = None if showing.until_s is None else round(now + showing.until_s, 3)
    return {
        "campaign": showing.campaign,
        "until": until,
        "source": None if showing.source is None else showing.source.value,
    }


def _life_s(until: object, now: float) -> float:
    # type() and not isinstance(): True is an int to Python, but not to JSON.
    if type(until) is not int and type(until) is not float:
        raise PlayerError("until is not a number", remedy=_UNTIL)
    if until >= _LEAST_MS:
        raise PlayerError("until is far ahead: in milliseconds?", remedy=_UNTIL)
    # Not by its opposite: NaN is neither before nor after anything.
    if not until > now:
        raise PlayerError("until is in the past", remedy=_UNTIL, over=True)
    life_s = until - now
    if life_s > LONGEST_S:
        raise PlayerError("until is more than a day ahead", remedy=f"{_UNTIL}; tell it again before that")
    return life_s
