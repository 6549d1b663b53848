"""Every setting of the agent: name, type, bounds, unit, default and meaning, in one place.

The sample file, the JSON schema, the reference page, `config explain` and the error messages are all made from or
checked against these models. They hold values only: nothing here opens a file or a device.
"""

from collections import Counter
from typing import Annotated, Self

from pydantic import Field, model_validator

from edge_agent.config.sections import (
    Clock,
    Control,
    Exchange,
    Keys,
    Logging,
    Outbox,
    Pn532Reader,
    Receiver,
    Section,
    SerialScreen,
    SimulatedReader,
    SimulatedScreen,
    Terminal,
    Token,
    WebScreen,
)
from edge_agent.config.uplink import Uplink

Reader = Annotated[Pn532Reader | SimulatedReader, Field(discriminator="driver")]
Screen = Annotated[SerialScreen | WebScreen | SimulatedScreen, Field(discriminator="driver")]


class Settings(Section):
    """All sections. Frozen: a changed file takes effect with a restart."""

    terminal: Terminal = Field(description="Which terminal this is.")
    readers: tuple[Reader, ...] = Field(default=(), strict=False, max_length=4, description="The NFC readers.")
    exchange: Exchange = Field(default=Exchange(), description="How the agent talks to a phone.")
    token: Token = Field(default=Token(), description="The tap tokens.")
    keys: Keys = Field(default=Keys(), description="The signing key.")
    outbox: Outbox = Field(default=Outbox(), description="Where taps are kept until the cloud has them.")
    uplink: Uplink = Field(description="The MQTT broker.")
    screens: tuple[Screen, ...] = Field(default=(), strict=False, max_length=4, description="What shows the cues.")
    control: Control = Field(default=Control(), description="The local control socket.")
    clock: Clock = Field(default=Clock(), description="How far the wall clock is trusted.")
    logging: Logging = Field(default=Logging(), description="What is logged, and how.")
    receiver: Receiver = Field(
        default=Receiver(), description="`edge-agent receive`, the cloud half; unused on a terminal."
    )

    @model_validator(mode="after")
    def _hardware_is_used_once(self) -> Self:
        claims = [f"the reader name `{reader.name}`" for reader in self.readers]
        claims += [
            f"the port {screen.port}" for screen in self.screens if isinstance(screen, WebScreen) and screen.port
        ]
        for item in (*self.readers, *self.screens):
            if isinstance(item, Pn532Reader | SerialScreen):
                claims.append(f"the device {item.device}")
        twice = sorted(claim for claim, count in Counter(claims).items() if count > 1)
        if twice:
            raise ValueError(f"[[readers]] and [[screens]] use twice: {', '.join(twice)}; each has one user")
        return self
