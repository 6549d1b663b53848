"""`edge-agent keys init|show`: makes the signing key once, and prints its public half for the cloud."""

import argparse
import json
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from edge_agent.cli.commands import COMMANDS, Commands, add_config, add_json, load_config
from edge_agent.cli.render import Paper
from edge_agent.credentials import credential_name
from edge_agent.errors import ExitCode


def add_parser(commands: Commands) -> None:
    """Declare the command and its two parts."""
    parser = commands.add_parser(
        "keys", help=COMMANDS["keys"].help, description="The terminal's signing key. Its private half is never shown."
    )
    parts = parser.add_subparsers(dest="part", metavar="PART", required=True, title="parts")
    init = parts.add_parser("init", help="make the key file; refuses when anything is there already")
    init.add_argument(
        "--if-missing", action="store_true", help="succeed, too, when a usable key is there already; for provisioning"
    )
    show = parts.add_parser("show", help="print the public key, to register it with the cloud")
    for part in (init, show):
        part.add_argument("--path", type=Path, metavar="FILE", help="key file, instead of [keys] path")
        add_config(part)
        add_json(part)


def run(args: argparse.Namespace) -> int:
    """Make or read the key; raises KeyFileError. As root it does so as the agent's user, who is to read it."""
    path: Path = args.path or load_config(args.config).settings.keys.path

    from edge_agent.tokens import keyring  # noqa: PLC0415 -- cryptography is slow to import

    made = args.part == "init" and not (args.if_missing and _is_there(path))
    with _as_its_owner(path):
        key = keyring.create_key_file(path) if made else keyring.load_key_file(path)
    if args.json:
        print(json.dumps(key.public.registration()))
        return ExitCode.OK
    paper = Paper(sys.stdout)
    paper.print(f"{path}: " + ("new signing key" if made else "signing key"))
    values = key.public.registration()
    paper.fields([("kid", str(values["kid"])), ("alg", str(values["alg"]))])
    paper.wrapped("Next: register the public half with the cloud: edge-agent keys show --json")
    return ExitCode.OK


def _as_its_owner(path: Path) -> AbstractContextManager[None]:
    """Whose the folder is, his is the key: under `sudo` the agent's, which could not read one of root's."""
    if credential_name(path) is not None:
        return nullcontext()
    from edge_agent.enrolment.files import acting_as_owner_of  # noqa: PLC0415 -- its neighbours are slow to import

    return acting_as_owner_of(path.parent)


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # in a folder that we may not look into: the attempt to read it tells what to do
        return True
