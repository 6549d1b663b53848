"""`edge-agent config check|show|explain`: the configuration as the agent would take it, and where it comes from."""

import argparse
import json
import sys
from typing import TYPE_CHECKING

from edge_agent.cli.commands import COMMANDS, Commands, add_config, add_json, load_config
from edge_agent.cli.render import Paper
from edge_agent.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from edge_agent.config import Loaded


def add_parser(commands: Commands) -> None:
    """Declare the command and its three parts."""
    parser = commands.add_parser(
        "config",
        help=COMMANDS["config"].help,
        description="Look at the configuration: the file, FILE.d/*.toml and EDGE_AGENT__SECTION__KEY.",
    )
    parts = parser.add_subparsers(dest="part", metavar="PART", required=True, title="parts")
    check = parts.add_parser("check", help="tell all mistakes; exit status 78 if there are any")
    show = parts.add_parser("show", help="list every setting in effect and where it comes from")
    explain = parts.add_parser("explain", help="tell what a key means, what it is and why")
    explain.add_argument("key", metavar="KEY", help="a key such as uplink.host or readers[0].device, or a section")
    for part in (check, show, explain):
        add_config(part)
    add_json(show)


def run(args: argparse.Namespace) -> int:
    """Load, then print the part asked for; raises ConfigError with all mistakes."""
    loaded = load_config(args.config)
    if args.part == "explain":
        return _explain(loaded, args.key)
    if args.part == "show":
        return _show(loaded, as_json=args.json)
    return _check(loaded)


def _check(loaded: "Loaded") -> int:
    import os  # noqa: PLC0415 -- only here

    from edge_agent.credentials import located  # noqa: PLC0415 -- lazy as all of the configuration
    from edge_agent.password import read_password  # noqa: PLC0415 -- lazy as all of the configuration
    from edge_agent.uplink.base import TlsSettings  # noqa: PLC0415 -- as above
    from edge_agent.uplink.tls import client_context  # noqa: PLC0415 -- as above

    uplink = loaded.settings.uplink
    if uplink.password_file is not None:
        read_password(uplink.password_file, os.environ)
    if uplink.uses_tls:
        try:
            key = None if uplink.key is None else located(uplink.key)
            client_context(TlsSettings(uplink.ca, uplink.cert, key))
        except OSError as error:
            raise ConfigError([f"{loaded.path}: [uplink] {error}"]) from None
    Paper(sys.stdout).print(f"{loaded.path}: the configuration is right")
    return ExitCode.OK


def _show(loaded: "Loaded", *, as_json: bool) -> int:
    from edge_agent.config.explain import explain_all  # noqa: PLC0415 -- lazy as all of the configuration

    items = explain_all(loaded)
    if as_json:
        print(json.dumps({item.key: {"value": item.value, "from": str(item.origin)} for item in items}, indent=2))
        return ExitCode.OK
    paper = Paper(sys.stdout)
    section = ""
    for item in items:
        above, _, key = item.key.rpartition(".")
        if above != section:
            paper.print(("\n" if section else "") + paper.paint(f"[{above}]", "bold"))
            section = above
        value = "(left out)" if item.value is None else json.dumps(item.value, ensure_ascii=False)
        # A line for each in a pipe, to be searched; on a terminal nothing runs over its edge.
        fits = not sys.stdout.isatty() or len(f"  {key} = {value}  # {item.origin}") <= paper.width
        paper.print(f"  {key} = {value}" + ("  " if fits else "\n      ") + paper.paint(f"# {item.origin}", "dim"))
    return ExitCode.OK


def _explain(loaded: "Loaded", name: str) -> int:
    from edge_agent.config.explain import explain, known_names  # noqa: PLC0415 -- lazy as all of the configuration
    from edge_agent.config.problems import show as shown  # noqa: PLC0415 -- as above

    items = explain(loaded, name)
    if not items:
        import difflib  # noqa: PLC0415 -- only for a typing error

        close = difflib.get_close_matches(name, known_names(), n=1)
        hint = f"did you mean {close[0]}?" if close else "`edge-agent config show` lists all keys in effect"
        print(f"edge-agent: there is no setting {shown(name)} here: {hint}", file=sys.stderr)
        return ExitCode.USAGE
    paper = Paper(sys.stdout)
    for item in items:
        value = "(left out)" if item.value is None else json.dumps(item.value, ensure_ascii=False)
        paper.print(f"{paper.paint(item.key, 'bold')} = {value}")
        paper.wrapped(item.description, indent="  ")
        if item.required:
            default = "must be set"
        else:
            default = "default: " + ("left out" if item.default is None else json.dumps(item.default))
        rows = [("from", str(item.origin))]
        rows += [("replaces", f"{shown(old)} from {origin}") for origin, old in reversed(item.replaced)]
        rows.append(("expected", f"{item.expects}; {default}"))
        paper.fields(rows)
    return ExitCode.OK
