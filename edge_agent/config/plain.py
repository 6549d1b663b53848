"""From checked models to the plain values that the running agent holds (see ``edge_agent.settings``)."""

import hashlib
import json

from pydantic import BaseModel

from edge_agent.config.load import Loaded
from edge_agent.config.model import Settings
from edge_agent.settings import Checked, Plain


def checked(loaded: Loaded) -> Checked:
    """Strip the models off ``loaded``."""
    return Checked(settings=_plain(loaded.settings), path=loaded.path, digest=digest(loaded.settings))  # type: ignore[arg-type]  # has the model's attributes


def digest(settings: Settings) -> str:
    """Return 12 hex digits that change with any setting, for the cloud to see who runs what."""
    canonical = json.dumps(settings.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        kind = type(value)
        names = [*kind.model_fields, *(name for name, item in vars(kind).items() if isinstance(item, property))]
        return Plain(**{name: _plain(getattr(value, name)) for name in names})
    if isinstance(value, tuple):
        return tuple(_plain(item) for item in value)
    return value
