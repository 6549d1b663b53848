"""`edge-agent bundle`: one redacted archive of all that support needs, with a report id that the screens show, too.

Works with the agent down and without root: what cannot be had is left out, and the archive says so. Changes nothing.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edge_agent.cli.commands import COMMANDS, DEFAULT_CONFIG, Commands, add_json, load_config
from edge_agent.cli.identify_cmd import shown
from edge_agent.cli.new_file import appearing, give_to_who_asked
from edge_agent.cli.render import Paper, counted
from edge_agent.cli.status_cmd import socket_of
from edge_agent.control_client import ask
from edge_agent.diag.bundle import machine
from edge_agent.diag.bundle.collect import DEFAULT_BYTES, Collector, Part, gather
from edge_agent.errors import ConfigError, ControlError, EdgeAgentError, ExitCode
from edge_agent.report_id import RANDOM_BYTES, ReportId
from edge_agent.sanitize import printable
from edge_agent.version import VERSION

_DOCTOR_S = 25.0
_MOST_LOG_BYTES = 3 * 1024 * 1024
_MOST_FILES = 20


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "bundle",
        help=COMMANDS["bundle"].help,
        description="Write one archive for support, without passwords, keys, tokens or ids of cards, and show its "
        "id on the screens. Exit status: 0 written, 1 not written.",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="the archive (default: edge-agent-ID.tar.gz, in this folder)"
    )
    parser.add_argument("--force", action="store_true", help="replace FILE if it is there")
    parser.add_argument("--no-identify", action="store_true", help="do not show the report id on the screens")
    parser.add_argument("--no-doctor", action="store_true", help="leave out what doctor finds: up to 20 s faster")
    parser.add_argument("--socket", type=Path, metavar="PATH", help="control socket, instead of the configured one")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help=f"configuration of the agent (default: {DEFAULT_CONFIG})"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Gather, write, show the id; raises NotWritten."""
    from edge_agent.diag.bundle.archive import folder_of, write_archive  # noqa: PLC0415 -- tarfile, not for --help

    report = ReportId.of(os.urandom(RANDOM_BYTES))
    file: Path = args.output or Path(f"{folder_of(report)}.tar.gz")
    config: Path = args.config or DEFAULT_CONFIG
    socket = _socket(args)
    with appearing(file, force=args.force) as out:  # first: a folder that cannot be written to is told at once
        if sys.stderr.isatty():
            print("looking at everything, half a minute at most ...", file=sys.stderr)
        give_to_who_asked(out)
        parts = gather(collectors(config, socket, doctor=not args.no_doctor))
        status = next((part.data for part in parts if part.name == "agent/status.json"), b"")
        parts = write_archive(out, report, parts, terminal=_terminal(status), version=VERSION, made=int(time.time()))
    made = _Made(report, file, file.stat().st_size, parts, "" if args.no_identify else _identify(socket, report))
    if args.json:
        print(json.dumps(made.as_json()))
    else:
        made.tell(Paper(sys.stdout))
    return ExitCode.OK


def collectors(config: Path, socket: Path, *, doctor: bool) -> list[Collector]:
    """Return all parts of a report, the ones that support looks at first in front."""
    said = partial(Collector, gate="json")
    return [
        said("agent/status.json", "what the running agent says: edge-agent status", partial(_asked, socket, "status")),
        *(
            [
                said(
                    "agent/doctor.json",
                    "what edge-agent doctor finds",
                    partial(_doctor, config, socket),
                    within_s=_DOCTOR_S + 2,
                )
            ]
            if doctor
            else []
        ),
        said("agent/outbox.json", "counts and bounds of the outbox", partial(_asked, socket, "outbox.stats")),
        said("agent/history.json", "what the agent noted of the last 24 h", partial(_asked, socket, "history")),
        said("versions.json", "versions of agent, libraries and system", machine.versions),
        said("config/settings.json", "every setting in effect, and where it comes from", partial(_settings, config)),
        *_config_files(config),
        Collector("systemd/unit.txt", "what systemd knows of the service", machine.unit),
        Collector("systemd/failed.txt", "other services that failed", machine.failed_units),
        said("machine/serial_ports.json", "serial ports with names, USB ids and rights", machine.serial_ports),
        Collector("machine/disk.txt", "space, inodes and mounts", machine.disk),
        Collector("machine/clock.txt", "the clock, and who sets it", machine.clock),
        said("machine/network.json", "network interfaces, without addresses", machine.network),
        Collector("machine/load.txt", "load, memory, temperatures", machine.load),
        Collector("machine/kernel.txt", "the kernel on ports, USB, disks, power, memory", machine.kernel, newest=True),
        Collector(
            "logs/agent.log",
            "the agent's newest log lines; to read them: edge-agent logs --file agent.log",
            machine.log_lines,
            gate="lines",
            limit=_MOST_LOG_BYTES,
            within_s=25.0,
            newest=True,
        ),
    ]


@dataclass(frozen=True, slots=True)
class _Made:
    report: ReportId
    file: Path
    size: int
    parts: list[Part]
    not_shown: str

    @property
    def missing(self) -> list[Part]:
        return [part for part in self.parts if part.problem]

    def as_json(self) -> dict[str, object]:
        return {
            "report": self.report,
            "file": str(self.file.absolute()),
            "bytes": self.size,
            "parts": len(self.parts) - len(self.missing),
            "missing": {part.name: part.problem for part in self.missing},
            "not_shown": self.not_shown,
        }

    def tell(self, paper: Paper) -> None:
        paper.print(paper.paint(f"report {self.report}: written", "good"))
        paper.print()
        rows = [("file", str(self.file.absolute())), ("size", f"{max(1, self.size // 1000):,} kB")]
        if self.not_shown:
            rows.append(("screens", self.not_shown))
        # What fails for one reason, such as an agent that does not run, is told once.
        reasons = dict.fromkeys(part.problem for part in self.missing)
        for reason in reasons:
            names = ", ".join(part.name for part in self.missing if part.problem == reason)
            rows.append(("missing", f"{names}: {reason}"))
        rows.append(
            ("contents", f"{counted(len(self.parts) - len(self.missing), 'part')}, redacted; README.txt says what")
        )
        paper.fields(rows)
        paper.print()
        paper.wrapped(f"Next: carry it to support and tell them {self.report}; from a laptop on this network:")
        paper.print(f"  scp {_user()}@{os.uname().nodename}:{self.file.absolute()} .")


def _identify(socket: Path, report: ReportId) -> str:
    """Empty when the screens show the id, else why they do not."""
    try:
        shown(socket, report)
    except ControlError as error:
        return f"the id is not on them: {error.text}"
    return ""


def _user() -> str:
    return printable(os.environ.get("SUDO_USER") or os.environ.get("USER") or "root", 32)


def _socket(args: argparse.Namespace) -> Path:
    try:
        return socket_of(args.socket, args.config)
    except ConfigError:  # of --config: a broken file is a reason for a report, not against one
        return socket_of(None, None)


def _terminal(status: bytes) -> str:
    try:
        found = json.loads(status)
    except ValueError:
        return ""
    return printable(str(found.get("terminal", ""))) if isinstance(found, dict) else ""


def _asked(socket: Path, op: str) -> dict[str, object]:
    return ask(socket, {"op": op})


def _doctor(config: Path, socket: Path) -> object:
    """The findings of a doctor that is a process of its own: whatever becomes of it, the report goes on."""
    words = ["-m", "edge_agent", "doctor", "--json", "--config", str(config), "--socket", str(socket)]
    done = subprocess.run(  # noqa: S603 -- our own words, no shell
        [sys.executable, *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=_DOCTOR_S, check=False
    )
    try:
        return json.loads(done.stdout)
    except ValueError:
        said = printable(done.stderr.decode("utf-8", "replace").strip()[-300:], 300)
        raise EdgeAgentError(f"doctor ended with status {done.returncode}: {said}") from None


def _settings(config: Path) -> list[dict[str, object]]:
    from edge_agent.config.explain import explain_all  # noqa: PLC0415 -- pydantic is needed for this alone
    from edge_agent.diag.bundle.redact import redact_value  # noqa: PLC0415 -- as above

    return [
        {"setting": item.key, "value": redact_value(item.value, item.key), "from": str(item.origin)}
        for item in explain_all(load_config(config))
    ]


def _config_files(config: Path) -> list[Collector]:
    """The file and its drop-ins, each in a part of its own, so that the numbers of their lines are right."""
    folder = config.with_name(f"{config.name}.d")
    try:
        more = sorted(path for path in folder.iterdir() if path.suffix == ".toml")[:_MOST_FILES]
    except OSError:
        more = []
    names = [f"config/{config.name}", *(f"config/{folder.name}/{path.name}" for path in more)]
    return [
        Collector(printable(name, 120), f"{path}, without its comments", partial(_config_text, path), gate="toml")
        for name, path in zip(names, [config, *more], strict=True)
    ]


def _config_text(path: Path) -> str:
    from edge_agent.small_file import read_small  # noqa: PLC0415 -- for this alone

    data, _mode = read_small(path, DEFAULT_BYTES)
    return data.decode("utf-8", "replace")
