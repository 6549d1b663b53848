"""From the [uplink] settings to what one connection attempt needs; the agent and the receiver share it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edge_agent.credentials import located
from edge_agent.errors import ConfigError, UplinkError
from edge_agent.password import read_password
from edge_agent.uplink.base import LinkSettings, Message, TlsSettings

if TYPE_CHECKING:
    from edge_agent.config.uplink import Uplink


def link_settings(
    uplink: "Uplink", *, client_id: str, env: Mapping[str, str], will: Message | None = None
) -> LinkSettings:
    """Read the password file anew, it may have changed; raises UplinkError, which is one failed attempt."""
    try:
        key = None if uplink.key is None else located(uplink.key, env)
        password = None if uplink.password_file is None else read_password(uplink.password_file, env)
    except ConfigError as error:
        raise UplinkError(error.text) from error
    return LinkSettings(
        host=uplink.host,
        port=uplink.effective_port,
        client_id=client_id,
        tls=TlsSettings(uplink.ca, uplink.cert, key) if uplink.uses_tls else None,
        username=uplink.username,
        password=password,
        protocol=uplink.protocol,
        keepalive_s=uplink.keepalive_s,
        connect_timeout_s=uplink.connect_timeout_s,
        will=will,
    )
