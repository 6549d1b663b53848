"""`edge-agent run`: the agent itself. Everything happens in edge_agent.app; this checks the configuration first."""

import argparse

from edge_agent.cli.commands import COMMANDS, Commands, add_config


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "run",
        help=COMMANDS["run"].help,
        description="Run the agent until SIGTERM or Ctrl-C. Logs go to standard error.",
    )
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Run until told to stop; raises ConfigError before anything is touched. `systemctl status` shows why it ended."""
    from edge_agent.errors import EdgeAgentError  # noqa: PLC0415 -- only this command needs it

    try:
        return _run(args)
    except EdgeAgentError as error:
        from edge_agent.supervision.systemd import Notifier  # noqa: PLC0415 -- as above

        more = len(getattr(error, "problems", ())) - 1
        Notifier().status(error.text.partition("\n")[0] + (f" (and {more} more)" if more > 0 else ""))
        raise


def _run(args: argparse.Namespace) -> int:
    from edge_agent.errors import ConfigError  # noqa: PLC0415 -- as above
    from edge_agent.settings import SAMPLE, Check  # noqa: PLC0415 -- as above

    check = Check(args.config)
    from edge_agent import app, logs  # noqa: PLC0415 -- imported while the child checks

    found = check.result()
    if (found.settings.terminal.id, found.settings.uplink.host) == SAMPLE:
        # Its taps would be of a terminal that is not this one, and lost once it gets a name of its own.
        raise ConfigError(
            ["this terminal has no identity yet, only the sample's: `sudo edge-agent enrol` gives it one"]
        )
    logs.configure(found.settings.logging.level, found.settings.logging.format)
    return app.run(found)
