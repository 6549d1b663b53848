"""`edge-agent receive`: the cloud half as a command; it verifies taps, keeps them in a ledger and acknowledges them.

Settings come from [uplink] and [receiver] of a configuration file, from options, or from both: an option wins.
SIGHUP reads the key registry again; SIGTERM and Ctrl-C finish the batch in work, say the last acks and end.
With --import it reads files instead of a broker.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_agent.cli.commands import COMMANDS, Commands, load_config
from edge_agent.cli.render import Paper
from edge_agent.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from edge_agent.cloud.ingest import TapEvent
    from edge_agent.cloud.keyset import KeySet
    from edge_agent.cloud.rewards import RewardPolicy
    from edge_agent.cloud.stream_events import StreamEvent
    from edge_agent.cloud.verifier import KeyRecord
    from edge_agent.config.sections import Receiver as ReceiverSection
    from edge_agent.config.uplink import Uplink

_CALM = {"gap_closed": "good", "gap_record": "warn", "checkpoint": "dim", "rebased": "dim"}
_KINDS = {"fresh": "good", "late": "warn", "duplicate": "dim", "expired": "warn", "clock_suspect": "warn"}


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "receive",
        help=COMMANDS["receive"].help,
        description="Subscribe to the taps of a fleet, verify them, keep each once in a ledger, acknowledge what is "
        "kept. One line for each tap; logs go to standard error.",
        epilog="SIGHUP reads the key registry again.",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="take [uplink] and [receiver] from this file")
    broker = parser.add_argument_group("broker")
    broker.add_argument("--host", help="host name or IP address")
    broker.add_argument("--port", type=int, help="default: 8883 with TLS, else 1883")
    broker.add_argument("--no-tls", action="store_true", help="speak in the clear; the default on loopback only")
    broker.add_argument("--ca", type=Path, metavar="FILE", help="PEM file of the authorities to trust")
    broker.add_argument("--cert", type=Path, metavar="FILE", help="PEM file of our certificate; needs --cert-key")
    broker.add_argument("--cert-key", type=Path, metavar="FILE", help="PEM file of its private key")
    broker.add_argument("--username", help="MQTT user name")
    broker.add_argument("--password-file", type=Path, metavar="FILE", help="file with the MQTT password, mode 0600")
    broker.add_argument("--client-id", help="MQTT client id, the same after a restart (default: GROUP-HOSTNAME)")
    taps = parser.add_argument_group("taps")
    taps.add_argument("--ledger", type=Path, metavar="FILE", help="SQLite ledger; made on first use")
    taps.add_argument("--keys", type=Path, metavar="FILE", help="key registry (JSON)")
    taps.add_argument("--group", help="receivers of one group share the work")
    taps.add_argument("--fleet", default="+", help="receive one fleet only")
    taps.add_argument(
        "--results",
        nargs="?",
        const=True,
        metavar="FILE",
        help="tell the screen what a tap earned, by a TOML file with [default] and [campaigns.NAME]; "
        "without FILE only that it was accepted",
    )
    taps.add_argument(
        "--no-resend",
        action="store_true",
        help="neither report holes nor ask terminals for what is missing: for receivers that share a group, each with "
        "a ledger of its own",
    )
    taps.add_argument(
        "--import",
        dest="files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="take in files in which outboxes were carried home, and end; needs no broker",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object for each tap, a summary as the last line")


def run(args: argparse.Namespace) -> int:
    """Receive until told to stop, or import; raises ConfigError before anything is touched."""
    if args.files:
        return _run_import(args)
    plan = _plan(args)

    import asyncio  # noqa: PLC0415 -- a wrong command line is told before the heavy parts are imported

    from edge_agent import logs  # noqa: PLC0415 -- as above

    logs.configure(plan.log_level, plan.log_format)
    asyncio.run(_receive(plan))
    return ExitCode.OK


def _run_import(args: argparse.Namespace) -> int:
    from edge_agent.cli.receive_import import ImportPlan, run_import  # noqa: PLC0415 -- only for --import
    from edge_agent.config.sections import Receiver as ReceiverSection  # noqa: PLC0415 -- pydantic is slow to import

    receiver: dict[str, Any] = {}
    if args.config is not None:
        receiver = load_config(args.config).settings.receiver.model_dump(exclude_unset=True)
    checked = _checked(ReceiverSection, receiver | _given(args, "ledger", "keys"), {})
    return run_import(ImportPlan(tuple(args.files), checked.ledger, checked.keys, args.json))


@dataclass(frozen=True, slots=True)
class _Plan:
    """Options and configuration, checked and put together."""

    uplink: "Uplink"
    receiver: "ReceiverSection"
    client_id: str
    fleet: str
    rewards: "RewardPolicy | None"
    json: bool
    watch_holes: bool
    log_level: str = "info"
    log_format: str = "auto"


def _plan(args: argparse.Namespace) -> _Plan:
    from edge_agent.cloud.rewards import CampaignRewards, Reward, load_rewards  # noqa: PLC0415 -- the cloud half
    from edge_agent.config.sections import Receiver as ReceiverSection  # noqa: PLC0415 -- pydantic is slow to import
    from edge_agent.config.uplink import Uplink  # noqa: PLC0415 -- as above

    uplink: dict[str, Any] = {}
    receiver: dict[str, Any] = {}
    logging: dict[str, str] = {}
    if args.config is not None:
        settings = load_config(args.config).settings
        uplink = settings.uplink.model_dump(exclude_unset=True)
        receiver = settings.receiver.model_dump(exclude_unset=True)
        logging = {"log_level": settings.logging.level, "log_format": settings.logging.format}
    uplink |= _given(args, "host", "port", "ca", "cert", "username", "password_file")
    if args.cert_key is not None:
        uplink["key"] = str(args.cert_key.absolute())
    if args.no_tls:
        uplink["tls"] = False
    if "host" not in uplink:
        raise ConfigError(["--host: is missing, expected the broker's host name, or --config FILE with [uplink]"])
    receiver |= _given(args, "ledger", "keys", "group")
    checked = _checked(ReceiverSection, receiver, {})
    rewards: RewardPolicy | None = None
    if isinstance(args.results, str):
        rewards = load_rewards(Path(args.results))
    elif args.results or checked.results:
        rewards = CampaignRewards(default=Reward())
    return _Plan(
        uplink=_checked(Uplink, uplink, {"key": "cert_key", "tls": "no_tls"}),
        receiver=checked,
        client_id=args.client_id or _client_id(checked.group),
        fleet=_checked_fleet(args.fleet),
        rewards=rewards,
        json=args.json,
        watch_holes=not args.no_resend,
        **logging,
    )


def _given(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Options that were given and are called like the key of the configuration that they stand for."""
    values = {name: getattr(args, name) for name in names}
    return {
        name: str(value.absolute()) if isinstance(value, Path) else value
        for name, value in values.items()
        if value is not None
    }


def _checked(section: Any, values: dict[str, Any], options: dict[str, str]) -> Any:
    """Build a section; raises ConfigError with one line for each problem, named by its option."""
    from pydantic import ValidationError  # noqa: PLC0415 -- slow to import

    from edge_agent.config.catalog import key_at  # noqa: PLC0415 -- as above
    from edge_agent.config.problems import show  # noqa: PLC0415 -- as above

    try:
        return section.model_validate(values)
    except ValidationError as error:
        problems = []
        for detail in error.errors(include_url=False):
            name = str(detail["loc"][0]) if detail["loc"] else ""
            key = key_at((section.__name__.lower(), name))
            if key is None:
                problems.append(detail["msg"].removeprefix("Value error, "))
            else:
                option = options.get(name, name).replace("_", "-")
                problems.append(f"--{option}: got {show(detail['input'])}, expected {key.expects}")
        raise ConfigError(problems) from None


def _checked_fleet(fleet: str) -> str:
    from edge_agent.uplink.wire import Topics, WireError  # noqa: PLC0415 -- only after the command line was read

    try:
        return fleet if fleet == "+" else Topics(fleet, "x").fleet
    except WireError as error:
        raise ConfigError([f"--fleet: {error}"]) from None


def _client_id(group: str) -> str:
    """Stable over restarts, so that the broker hands back what was not acknowledged; different on each machine."""
    import socket  # noqa: PLC0415 -- only here

    return f"{group}-{socket.gethostname()}"


async def _receive(plan: _Plan) -> None:
    import asyncio  # noqa: PLC0415 -- the heavy half of the command
    import os  # noqa: PLC0415 -- as above
    import signal  # noqa: PLC0415 -- as above

    from edge_agent.broker import link_settings  # noqa: PLC0415 -- as above
    from edge_agent.clock import SystemClock  # noqa: PLC0415 -- as above
    from edge_agent.cloud.keyset import KeySet  # noqa: PLC0415 -- as above
    from edge_agent.cloud.ledger import SqliteLedger  # noqa: PLC0415 -- as above
    from edge_agent.cloud.receiver import Receiver, ReceiverSettings  # noqa: PLC0415 -- as above

    registry = _Registry(plan.receiver.keys, KeySet.load(plan.receiver.keys))
    ledger = SqliteLedger(plan.receiver.ledger)
    lines = _Lines()
    try:
        await ledger.open()
        receiver = Receiver(
            lambda: link_settings(plan.uplink, client_id=plan.client_id, env=os.environ),
            ledger,
            registry.lookup,
            clock=SystemClock(assume_synced=True),  # a server's clock; trust is a question of terminals
            settings=ReceiverSettings(group=plan.receiver.group, fleet=plan.fleet, watch_holes=plan.watch_holes),
            on_event=_print_json if plan.json else lines.print,
            on_stream=_print_json if plan.json else lines.print_stream,
            rewards=plan.rewards,
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, receiver.stop)
        loop.add_signal_handler(signal.SIGHUP, registry.reload)
        await receiver.run()
        if plan.json:
            print(json.dumps({"event": "summary", "counts": dict(receiver.counts)}), flush=True)
    finally:
        await ledger.close()


class _Registry:
    """The keys in force; a registry that cannot be read leaves the one before in force."""

    def __init__(self, path: Path, keys: "KeySet") -> None:
        self._path = path
        self._keys = keys

    def lookup(self, kid: bytes) -> "KeyRecord | None":
        return self._keys.lookup(kid)

    def reload(self) -> None:
        import structlog  # noqa: PLC0415 -- only here

        from edge_agent.cloud.keyset import KeySet  # noqa: PLC0415 -- only here

        log = structlog.get_logger(__name__)
        try:
            self._keys = KeySet.load(self._path)
        except ConfigError as error:
            log.warning("key_registry_refused", problem=error.problems[0], problems=len(error.problems))
        else:
            log.info("key_registry_read", count=len(self._keys))


def _print_json(event: "TapEvent | StreamEvent") -> None:
    print(json.dumps(event.as_json()), flush=True)


class _Lines:
    """One line for each tap and each event of a chain, for people."""

    def __init__(self) -> None:
        self._paper = Paper(sys.stdout)

    def print(self, event: "TapEvent") -> None:
        verdict = self._paper.paint(f"{event.verdict.value:<13}", _KINDS.get(event.verdict.value, "bad"))
        who = f"{event.fleet or '?'}/{event.terminal or '?'}"
        seq = "" if event.seq is None else f" #{event.seq}"
        extra = " · chain break" if event.chain_break else ""
        why = "" if event.verdict.value == "fresh" and event.redeemable else f" · {event.reason}"
        self._paper.print(f"{verdict} {who}{seq} · {event.lane.value} · {event.latency_ms:.1f} ms{why}{extra}")
        sys.stdout.flush()

    def print_stream(self, event: "StreamEvent") -> None:
        word = self._paper.paint(f"{event.word.value:<13}", _CALM.get(event.word.value, "bad"))
        who = f"{event.fleet or '?'}/{event.terminal or '?'}"
        chain = "" if event.chain is None else f" · chain {event.chain.hex()}"
        self._paper.print(f"{word} {who}{chain} · {event.text}")
        sys.stdout.flush()
