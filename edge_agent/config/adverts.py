"""[[campaigns]], [player] and [[brightness]]: what is on the screen, who tells, how bright; names are fixed, too."""

from typing import Annotated

from pydantic import AfterValidator, Field

from edge_agent.config.section import Section
from edge_agent.config.values import AbsolutePath, Campaign, Expects, short_text
from edge_agent.windows import parse

MAX_WINDOWS = 16


def _checked_window(value: str) -> str:
    return str(parse(value))


WindowText = Annotated[str, AfterValidator(_checked_window), Expects('a window such as "mon-fri 07:00-09:30"')]
ScreenText = Annotated[str, *short_text(60, shortest=0)]
Colour = Annotated[str, Field(pattern="^#[0-9a-fA-F]{6}$"), AfterValidator(str.lower), Expects('"#rrggbb"')]


class CampaignTable(Section):
    """One advert: when it is on the screen, what a tap is worth meanwhile, and what the screens say."""

    name: Campaign = Field(description="Name of the campaign, as it is written into tokens; unique.")
    enabled: bool = Field(
        default=True,
        description="false: never scheduled; where the player shows it nevertheless, nobody is invited and nothing is "
        "rewarded.",
    )
    reward: bool = Field(default=True, description="false: an advert without a reward, so without an invitation.")
    windows: tuple[WindowText, ...] = Field(
        default=(),
        strict=False,
        max_length=MAX_WINDOWS,
        description="When it is on the screen, in local time: days, a time or both, such as `sat,sun 10:00-22:00` or "
        "`22:00-06:30`, which ends on the next day; at most 16. Empty: always. While the clock is not trusted a "
        "campaign with windows is not scheduled.",
    )
    text_zh: ScreenText = Field(default="", description="Invitation in Chinese; empty: the screen's own words.")
    text_en: ScreenText = Field(default="", description="Invitation in English; empty: the screen's own words.")
    thanks_zh: ScreenText = Field(
        default="", description="Thanks in Chinese, where the cloud sends no text; empty: the screen's own words."
    )
    thanks_en: ScreenText = Field(
        default="", description="Thanks in English, where the cloud sends no text; empty: the screen's own words."
    )
    colours: (
        Annotated[
            tuple[Colour, Colour],
            Field(strict=False),
            Expects('two colours, such as ["#ff5a36", "#ffb347"]'),
        ]
        | None
    ) = Field(default=None, description="From which colour to which the page goes; left out: the page's own.")


class Player(Section):
    """The program that plays the adverts says which one is on the screen; over the control socket it always may."""

    port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="TCP port on 127.0.0.1 for `PUT /now-playing`; 0 takes a free one. Left out: no HTTP.",
    )
    file: AbsolutePath | None = Field(
        default=None, description="File that is watched, for a player that can only write files. Left out: none."
    )


class BrightnessTable(Section):
    """A level for some time of the week; of several windows that hold the first one counts."""

    window: WindowText = Field(description="When it holds, as `windows` of [[campaigns]].")
    level: int = Field(ge=5, le=100, description="Brightness in percent; a dark screen looks broken.")
