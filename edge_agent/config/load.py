"""Load the configuration: read all sources, check everything, report every problem at once or return `Loaded`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from edge_agent.config.catalog import holds_text
from edge_agent.config.environment import read_environment
from edge_agent.config.model import Settings
from edge_agent.config.origin import Tree
from edge_agent.config.problems import problem_lines
from edge_agent.config.sources import read_files
from edge_agent.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Loaded:
    """Checked settings, the file that they were asked from, and where each value came from."""

    settings: Settings
    path: Path
    tree: Tree


def load(path: Path, env: Mapping[str, str]) -> Loaded:
    """Read ``path``, its drop-ins and ``EDGE_AGENT__*`` of ``env``. Raises ConfigError with all problems found."""
    tree, problems = read_files(path)
    if problems:
        raise ConfigError(problems)  # without a whole file, everything else would look missing
    problems = read_environment(env, tree, holds_text)
    try:
        settings = Settings.model_validate(tree.values)
    except ValidationError as error:
        raise ConfigError(problems + problem_lines(error, tree, str(path))) from None
    if problems:
        raise ConfigError(problems)
    return Loaded(settings, path, tree)
