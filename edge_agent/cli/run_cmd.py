"""`edge-agent run`: the agent itself. Everything happens in edge_agent.app; this checks the configuration first."""

import argparse

from edge_agent.cli.commands import COMMANDS, Commands, add_config, load_config


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "run",
        help=COMMANDS["run"].help,
        description="Run the agent until SIGTERM or Ctrl-C. Logs go to standard error.",
    )
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Run until told to stop; raises ConfigError before anything is touched."""
    loaded = load_config(args.config)

    from edge_agent import app, logs  # noqa: PLC0415 -- a wrong configuration is told before the agent is imported

    logs.configure(loaded.settings.logging.level, loaded.settings.logging.format)
    return app.run(loaded)
