"""Every setting of the agent: name, type, bounds, unit, default and meaning, in one place.

The sample file, the JSON schema, the reference page, `config explain` and the error messages are all made from or
checked against these models. They hold values only: nothing here opens a file or a device.
"""

from collections import Counter
from itertools import permutations
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from edge_agent.config.adverts import BrightnessTable, CampaignTable, Player
from edge_agent.config.readers import PcscReader, Pn532Reader, SerialReader, SimulatedReader
from edge_agent.config.section import Section, problem_at
from edge_agent.config.sections import (
    BleScreen,
    Clock,
    Control,
    Exchange,
    Keys,
    Limits,
    Logging,
    Outbox,
    Receiver,
    SerialScreen,
    SimulatedScreen,
    Terminal,
    Token,
    WebScreen,
)
from edge_agent.config.tags import NtagI2cTag, QrTag, SimulatedTag, Tickets
from edge_agent.config.uplink import Uplink

Reader = Annotated[Pn532Reader | PcscReader | SerialReader | SimulatedReader, Field(discriminator="driver")]
Tag = Annotated[NtagI2cTag | QrTag | SimulatedTag, Field(discriminator="driver")]
Screen = Annotated[SerialScreen | BleScreen | WebScreen | SimulatedScreen, Field(discriminator="driver")]


class Settings(Section):
    """All sections. Frozen: a changed file takes effect with a restart."""

    terminal: Terminal = Field(description="Which terminal this is.")
    readers: tuple[Reader, ...] = Field(default=(), strict=False, max_length=8, description="The NFC readers.")
    exchange: Exchange = Field(default=Exchange(), description="How the agent talks to a phone.")
    tickets: Tickets = Field(default=Tickets(), description="Tickets that phones read from us (mode 2).")
    tags: tuple[Tag, ...] = Field(default=(), strict=False, max_length=4, description="What shows the tickets.")
    limits: Limits = Field(default=Limits(), description="How many taps are taken, and how often from one phone.")
    token: Token = Field(default=Token(), description="The tap tokens.")
    keys: Keys = Field(default=Keys(), description="The signing key.")
    outbox: Outbox = Field(default=Outbox(), description="Where taps are kept until the cloud has them.")
    uplink: Uplink = Field(description="The MQTT broker.")
    screens: tuple[Screen, ...] = Field(default=(), strict=False, max_length=4, description="What shows the cues.")
    brightness: tuple[BrightnessTable, ...] = Field(
        default=(), strict=False, max_length=8, description="How bright the screens are, and when; else 100."
    )
    campaigns: tuple[CampaignTable, ...] = Field(
        default=(),
        strict=False,
        max_length=64,
        description="The adverts. Of several whose time it is the first one counts; with none it is `campaign` of "
        "[terminal]. What the player tells stands over both.",
    )
    player: Player = Field(default=Player(), description="How the ad player tells what is on the screen.")
    control: Control = Field(default=Control(), description="The local control socket.")
    clock: Clock = Field(default=Clock(), description="How far the wall clock is trusted.")
    logging: Logging = Field(default=Logging(), description="What is logged, and how.")
    receiver: Receiver = Field(
        default=Receiver(), description="`edge-agent receive`, the cloud half; unused on a terminal."
    )

    @model_validator(mode="after")
    def _hardware_is_used_once(self) -> Self:
        claims = [f"the name `{item.name}`" for item in (*self.readers, *self.tags)]
        claims += [
            f"the port {screen.port}" for screen in self.screens if isinstance(screen, WebScreen) and screen.port
        ]
        for item in (*self.readers, *self.screens):
            if isinstance(item, Pn532Reader | SerialReader | SerialScreen):
                claims.append(f"the device {item.device}")
        claims += [f"the chip {tag.address:#04x} at {tag.bus}" for tag in self.tags if isinstance(tag, NtagI2cTag)]
        claims += [
            f"the BLE screen {screen.address or screen.name}"
            for screen in self.screens
            if isinstance(screen, BleScreen)
        ]
        claims += ["the QR code of the page" for tag in self.tags if isinstance(tag, QrTag)]
        twice = sorted(claim for claim, count in Counter(claims).items() if count > 1)
        if twice:
            raise ValueError(f"[[readers]], [[tags]] and [[screens]] use twice: {', '.join(twice)}; each has one user")
        return self

    @field_validator("campaigns")
    @classmethod
    def _campaigns_are_told_apart(cls, campaigns: tuple[CampaignTable, ...]) -> tuple[CampaignTable, ...]:
        first: dict[str, int] = {}
        for index, campaign in enumerate(campaigns):
            if first.setdefault(campaign.name, index) != index:
                told = f"`{campaign.name}` is the name of campaigns[{first[campaign.name]}] already: each has its own"
                raise problem_at(index, "name", text=told)
        return campaigns

    @model_validator(mode="after")
    def _the_player_has_a_port_of_its_own(self) -> Self:
        pages = {screen.port for screen in self.screens if isinstance(screen, WebScreen)}
        if self.player.port and self.player.port in pages:
            told = f"{self.player.port} is the port of a page in [[screens]] already: write another one"
            raise problem_at("player", "port", text=told)
        return self

    @model_validator(mode="after")
    def _pcsc_readers_are_told_apart(self) -> Self:
        wanted = [item.reader for item in self.readers if isinstance(item, PcscReader)]
        if len(wanted) > 1 and None in wanted:
            raise ValueError('[[readers]] use driver = "pcsc" twice: each of them needs `reader`, a part of its name')
        for part, whole in permutations((name for name in wanted if name is not None), 2):
            if part.casefold() in whole.casefold():
                raise ValueError(
                    f'[[readers]] cannot be told apart: what `reader = "{whole}"` fits, `reader = "{part}"` fits, too; '
                    "write more of the name"
                )
        return self

    @model_validator(mode="after")
    def _tickets_lead_somewhere(self) -> Self:
        if self.tags and self.tickets.host is None:
            raise ValueError("[[tags]] need `host` in [tickets]: the host of the link that phones open")
        slow = [tag for tag in self.tags if isinstance(tag, QrTag) and 2 * tag.rotate_s > self.tickets.ttl]
        if slow:
            raise ValueError("[[tags]] `rotate_s` is more than half of `ttl` in [tickets]: nobody could use its end")
        if any(isinstance(tag, QrTag) for tag in self.tags) and not any(
            isinstance(screen, WebScreen) for screen in self.screens
        ):
            raise ValueError('[[tags]] with driver = "qr" need a page to stand on: [[screens]] with driver = "web"')
        return self
