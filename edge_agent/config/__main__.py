"""Checks one configuration for `edge_agent.settings.Check`, our parent, and answers on standard output by pickle."""

import os
import pickle
import sys
from pathlib import Path

from edge_agent.config.load import load
from edge_agent.config.plain import checked
from edge_agent.errors import ConfigError

try:
    answer: object = checked(load(Path(sys.argv[1]), os.environ))
except ConfigError as error:
    answer = error.problems
sys.stdout.buffer.write(pickle.dumps(answer))
