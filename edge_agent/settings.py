"""The settings as the running agent holds them: checked, frozen, plain values, without the library that checked them.

The daemon reads its configuration once and then runs for months. The check happens in a short-lived child process
(`python -m edge_agent.config`), so that its models and validators (14 MB of RSS) are not kept for all that time.
This module must not import pydantic, nor anything of ``edge_agent.config`` at run time.
"""

import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from edge_agent.errors import ConfigError

if TYPE_CHECKING:
    from edge_agent.config import Settings

SAMPLE = ("sh-000123-a", "broker.example.net")
"""[terminal] id and [uplink] host of config/edge-agent.toml before anybody has edited it: nobody's identity."""


class Plain(SimpleNamespace):
    """One section: the attributes of its model, properties included. Not to be changed."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"settings are frozen: {name}")


@dataclass(frozen=True, slots=True)
class Checked:
    """What `run` needs: the settings, the file that they were asked from, and a digest that any change changes.

    ``settings`` is a tree of Plain with the attributes of the model of that name.
    """

    settings: "Settings"
    path: Path
    digest: str


class Check:
    """A check under way in a child process; meanwhile the caller may import the agent."""

    def __init__(self, path: Path, env: Mapping[str, str] = os.environ) -> None:
        # The child is this very program, and what it answers is its own pickle, never a user's.
        # It imports from where we do and from nowhere else: -m alone would put the working directory first.
        command = [sys.executable, "-P", "-m", "edge_agent.config", str(path)]
        with_paths = {**env, "PYTHONPATH": os.pathsep.join(sys.path)}
        self._child = subprocess.Popen(command, stdout=subprocess.PIPE, env=with_paths)  # noqa: S603 - see above

    def result(self) -> Checked:
        """Wait for the child; raises ConfigError with all problems found."""
        answer, _ = self._child.communicate()
        if self._child.returncode != 0:
            raise ConfigError([f"the check of the configuration ended with status {self._child.returncode}"])
        found = pickle.loads(answer)  # noqa: S301 - see above
        if isinstance(found, Checked):
            return found
        raise ConfigError(found)
