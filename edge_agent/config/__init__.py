"""Configuration: a TOML file, its drop-ins and the environment become one checked, frozen `Settings`."""

from edge_agent.config.load import Loaded, load
from edge_agent.config.model import Settings

__all__ = ["Loaded", "Settings", "load"]
