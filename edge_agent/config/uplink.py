"""The [uplink] section: where the broker is and how a connection is secured and paced."""

import ipaddress
from typing import Literal, Self

from pydantic import Field, model_validator

from edge_agent.config.section import Section
from edge_agent.config.values import AbsolutePath, Host, Secret, Text


def is_loopback(host: str) -> bool:
    """Whether ``host`` can only be this machine: there, and nowhere else, TLS is off unless it is asked for."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


class Uplink(Section):
    """MQTT connection. TLS is on unless the host is loopback or ``tls = false`` is written."""

    host: Host = Field(description="Broker's host name or IP address.")
    port: int | None = Field(
        default=None, ge=1, le=65535, description="Broker's port; left out: 8883 with TLS, else 1883."
    )
    tls: bool | None = Field(
        default=None,
        description="TLS; left out: on, but off where the host is loopback. false sends taps in the clear.",
    )
    ca: AbsolutePath | None = Field(
        default=None, description="PEM file of the authorities to trust; left out: the system's."
    )
    cert: AbsolutePath | None = Field(default=None, description="PEM file of the terminal's certificate; needs `key`.")
    key: Secret | None = Field(default=None, description="PEM file of the certificate's private key.")
    username: Text | None = Field(default=None, description="MQTT user name.")
    password_file: Secret | None = Field(
        default=None,
        description="File with the MQTT password, readable by its owner only.",
    )
    protocol: Literal[5, 4] = Field(default=5, description="MQTT protocol level: 5, or 4 for MQTT 3.1.1.")
    confirm: Literal["receiver", "broker"] = Field(
        default="receiver",
        description="A tap is done when the receiver has stored it, or already when the broker has taken it.",
    )
    keepalive_s: int = Field(default=60, ge=5, le=3600, description="MQTT keep-alive, in seconds.")
    connect_timeout_s: float = Field(
        default=10.0, ge=0.5, le=120, description="Time for one attempt to connect, in seconds."
    )
    window: int = Field(default=20, ge=1, le=100, description="Unacknowledged publications at most.")
    resend_after_s: int = Field(
        default=600,
        ge=5,
        le=86_400,
        description='With `confirm = "receiver"`: a tap that stays unconfirmed is sent again after so many seconds.',
    )
    backoff_base_s: float = Field(
        default=5.0, ge=0.05, le=60, description="First reconnect delay at most, in seconds; doubles with each failure."
    )
    backoff_cap_s: float = Field(default=300.0, ge=0.1, le=3600, description="Longest reconnect delay, in seconds.")
    stable_after_s: float = Field(
        default=60.0, ge=0.1, le=3600, description="A connection that lasted this long, in seconds, resets the delay."
    )
    health_s: float = Field(default=60.0, ge=1, le=3600, description="Time between two `tele/health`, in seconds.")

    @property
    def uses_tls(self) -> bool:
        """What ``tls`` comes to."""
        return not is_loopback(self.host) if self.tls is None else self.tls

    @property
    def effective_port(self) -> int:
        """What ``port`` comes to."""
        return self.port or (8883 if self.uses_tls else 1883)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.cert is None) != (self.key is None):
            raise ValueError("`cert` and `key` belong together: write both or none")
        if not self.uses_tls and (self.ca or self.cert):
            raise ValueError("`ca`, `cert` and `key` are for TLS, which is off here: write `tls = true` or remove them")
        if self.password_file is not None and self.username is None:
            raise ValueError("`password_file` needs `username`")
        if self.backoff_cap_s < self.backoff_base_s:
            raise ValueError("`backoff_cap_s` is smaller than `backoff_base_s`")
        return self
