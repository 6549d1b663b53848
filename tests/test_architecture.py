"""The house rules, read off the syntax trees: who may import whom, one importer per I/O library, small modules.

A rule that is broken fails with file and line. A new part of the agent gets the strictest rule until it is written
into `MAY_IMPORT` below.
"""

import ast
import re
import statistics
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from edge_agent.models import Cue
from firmware_bridge.cues import CueName

ROOT = Path(__file__).parent.parent
PACKAGES = ("edge_agent", "firmware_bridge")

# What every part may use: values, errors, time, text.
BASE = {
    "errors", "models", "clock", "sanitize", "backoff", "logs", "version", "durable", "owner_thread", "strict_json",
    "credentials",
}  # fmt: skip
# The composition root and the pieces that it is cut into; they may know every part but the cloud half and the commands.
COMPOSITION = {
    "app", "adverts", "alarms", "guardian", "hardware", "monitor", "recall", "reports", "screen",
    "screen_events", "sealing", "surfaces",
}  # fmt: skip
# part of edge_agent -> what it may import beside itself: parts, or single modules of parts
MAY_IMPORT = {
    "version": set(),
    "durable": set(),
    "owner_thread": set(),
    "errors": set(),
    "models": set(),
    "strict_json": {"errors"},
    "sanitize": set(),
    "holdover": {"models"},
    "clock": {"models", "holdover"},
    "clock_witness": {"clock"},
    "backoff": {"errors"},
    "logs": {"sanitize", "readers.base", "redaction"},
    "redaction": set(),
    "control": {"errors", "sanitize"},
    "control_client": {"errors", "sanitize"},
    "small_file": set(),
    "report_id": set(),
    # What the control socket can be asked: each takes the parts that it needs, and app.py hands them over.
    "ops": BASE
    | {"control", "live", "limits", "outbox", "readers", "report_id", "reports", "screen", "screen_events", "tap_gate"}
    | {"tags", "trace", "uplink", "firmware_bridge"},
    "limits": set(),
    "windows": {"sanitize"},
    "brightness": {"windows"},
    "show_command": {"models", "strict_json"},
    "showing": BASE | {"windows", "small_file", "firmware_bridge.loopback"},
    "tap_gate": {"errors", "models", "clock", "limits", "outbox.base"},
    "issuer": {"errors", "models", "clock", "tap_gate"},
    "credentials": {"errors"},
    "password": {"errors", "small_file", "credentials"},
    # The [uplink] settings become a link; its types only come from config.
    "broker": {"errors", "password", "credentials", "uplink.base", "config.uplink"},
    "config": {"errors", "sanitize", "readers.aids", "readers.port_names", "settings", "small_file", "windows"}
    | {"credentials"},
    "settings": {"errors", "config"},  # config for its types only; at run time it must do without pydantic
    "supervision": BASE | {"small_file"},
    # What the running agent tells of itself: readers and tags tell their steps to its port.
    "live": BASE | {"small_file"},
    "readers": BASE | {"live.steps"},
    "tags": BASE | {"readers.base", "live.steps"},
    "tokens": BASE,
    "outbox": BASE,
    "uplink": BASE | {"outbox.base"},
    "enrolment": BASE | {"tokens", "uplink", "small_file", "credentials"},
    "cloud": BASE | {"tokens", "uplink", "tags.ticket", "enrolment", "small_file"},
    "simulation": BASE | {"readers.base"},
    "contract": BASE
    | {"tokens", "tags.ticket", "uplink", "readers", "cloud", "simulation", "firmware_bridge", "show_command"},
    # Both halves in one process, for people to look at: the only part beside `contract` that knows the cloud.
    "demo": BASE
    | COMPOSITION
    | {"config", "supervision", "control", "issuer", "trace", "readers", "tokens", "outbox", "uplink"}
    | {"cloud", "simulation", "firmware_bridge", "cli.render"},
    # Looks at everything, from outside: what it needs of a part it does itself, beside an agent that runs or does not.
    "diag": BASE
    | {"config", "control_client", "password", "broker", "readers", "tokens", "outbox", "uplink", "sealing"}
    | {"enrolment", "firmware_bridge", "tags", "small_file", "redaction", "report_id", "holdover"},
    "cli": {"version", "durable", "errors", "sanitize", "config", "control_client", "tokens", "logs", "diag"}
    | {"password", "credentials", "report_id"},
    "__main__": {"cli"},
}
# Commands that are themselves a composition, and what they may import beyond MAY_IMPORT["cli"].
COMMANDS_THAT_COMPOSE = {
    "cli.run_cmd": {"app", "settings", "supervision.systemd"},
    "cli.config_cmd": {"uplink.base", "uplink.tls"},  # tries the certificates as the link will; no connection
    # The configuration, the outbox and the network around an enrolment; `sign` and `serve` are the cloud half.
    "cli.keys_cmd": {"enrolment.files"},  # as root it makes the key as the agent's user
    "cli.enrol_cmd": {"enrolment", "strict_json"},
    "cli.enrol_site": {"settings", "enrolment", "strict_json", "uplink", "broker"},
    "cli.enrol_view": {"enrolment", "tags.qr"},
    "cli.enrol_cloud": BASE | {"cloud", "uplink", "enrolment"},
    "cli.receive": BASE | {"cloud", "uplink", "broker"},
    "cli.receive_import": BASE | {"cloud"},
    "cli.ticket_cmd": {"cloud"},
    "cli.demo_cmd": {"demo"},
    "cli.now_playing_cmd": {"showing.base", "showing.request", "showing.ops"},
    # The only command that opens a reader: the agent need not run for it.
    "cli.reader_cmd": {"readers", "clock"},
    "cli.reader_read": {"readers", "clock", "hardware"},
    "cli.reader_list": {"readers"},
    "cli.reader_machine": {"readers"},
    "cli.reader_view": {"readers"},
    # One outbox, seen through the control socket or in its file.
    "cli.outbox_agent": {"outbox.base"},
    "cli.outbox_source": {"outbox", "sealing"},
    "cli.outbox_check": {"outbox.base", "models"},
    "cli.outbox_verify": {"outbox.base"},
    "cli.outbox_view": {"outbox.base", "models"},
    "cli.outbox_export": {"uplink.export_file"},
    "cli.bundle_cmd": {"small_file"},
    "cli.socket_path": {"small_file"},
    "cli.outbox_cmd": {"outbox.base"},
}

# Decisions and codecs: (event, now) in, effects out. No I/O, no clock of their own, no threads.
PURE = {
    "edge_agent": {
        "errors", "models", "sanitize", "backoff", "holdover", "limits", "supervision.health", "supervision.healing",
        "windows", "brightness", "pace", "show_command", "report_id", "redaction",
        "showing.base", "showing.campaigns", "showing.now_playing", "showing.request",
        "readers.base", "readers.aids", "readers.apdu", "readers.exchange", "readers.iso_dep", "readers.presence",
        "readers.pcsc_status",
        "readers.port_names", "readers.escalation", "readers.profiles.base", "readers.profiles.make",
        "readers.profiles.ascii_line",
        "readers.profiles.stx_etx_hex", "readers.profiles.aa_bb", "readers.profiles.acs_ccid",
        "readers.profiles.acs_dialogue", "readers.stays", "readers.noise",
        "readers.probe_plan", "readers.probe_lines", "readers.raw_picture", "simulation.uart",
        "tags.base", "tags.rotation", "tags.nt3h", "tags.field_watch",
        "tags.ticket", "tokens.tap_token", "tokens.chain", "tokens.sign1", "tokens.cbor", "tokens.inspect",
        "live.steps", "live.history",
        "outbox.base", "outbox.gaps", "outbox.policy", "outbox.rows", "outbox.runs", "outbox.listing",
        "outbox.carve", "outbox.seams", "outbox.wal",
        "uplink.base", "uplink.wire", "uplink.session", "uplink.topics", "uplink.batch", "strict_json",
        "uplink.lanes", "uplink.refusals", "uplink.silence", "uplink.reasons",
        "uplink.checkpoints", "uplink.identity", "uplink.echo", "uplink.resend", "uplink.export_file",
        "cloud.base", "cloud.tickets", "cloud.witness",
        "cli.live_screen", "cli.report_chart", "cli.report_style",
        "cli.outbox_check", "diag.finding", "diag.causes", "diag.log_lines", "diag.bundle.redact",
        "cloud.verifier", "cloud.continuity", "cloud.pacing", "cloud.holes", "cloud.records", "cloud.stream_events",
        "simulation.antenna",
        "simulation.picc", "simulation.iso_dep", "simulation.pn532_chip", "simulation.pn532_frames",
        "simulation.nt3h_chip", "simulation.type2_phone",
    },
    "firmware_bridge": {
        "cues", "frames", "messages", "protocol", "device", "printable", "trace", "replay", "replay_mcu",
        "links.base", "links.driving",
        "conformance.base", "conformance.talk", "conformance.runner", "conformance.hello", "conformance.framing",
        "conformance.noise", "conformance.cues", "conformance.limits", "conformance.sequence", "conformance.status",
        "conformance.time_to_live", "conformance.brightness", "conformance.reset", "conformance.timing",
        "conformance.events", "conformance.look",
    },
}  # fmt: skip
IMPURE_MODULES = {
    "asyncio", "concurrent", "ctypes", "fcntl", "http", "logging", "multiprocessing", "os", "pty", "queue", "select",
    "selectors", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "tempfile", "termios", "threading",
    "time", "tty", "urllib", "structlog",
}  # fmt: skip

# The only importer of each I/O library in each package; sqlite3 has one in each room that keeps a database, and
# cryptography one in each room that has keys of a kind of its own: tokens (COSE), enrolment and cloud (X.509).
ONE_IMPORTER = {
    "nfc", "ndef", "smartcard", "smbus2", "gpiod", "segno", "paho", "serial", "bleak", "h11", "iotcore", "cbor2",
    "dbus_fast", "inotify_simple", "cryptography", "sqlite3",
}  # fmt: skip
PER_ROOM = {"sqlite3", "cryptography"}
MAY_HOLD_KEYS = {"tokens", "enrolment", "cloud"}
OTHER_LIBRARIES = {"pydantic", "pydantic_core", "annotated_types", "structlog", "yaml"}


class Import(NamedTuple):
    """One import statement: who, line, and the dotted name that it reaches."""

    module: str
    line: int
    target: str


@cache
def modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[dotted.removesuffix(".__init__")] = path
    return found


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text(encoding="utf-8"))


@cache
def imports_of(module: str) -> tuple[Import, ...]:
    return tuple(_imports(module))


def _imports(module: str) -> Iterator[Import]:
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno} is a relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield Import(module, node.lineno, full if full in modules() else str(node.module))


def own_imports(package: str) -> Iterator[Import]:
    for module in modules():
        if module.split(".")[0] == package:
            yield from (found for found in imports_of(module) if found.target.split(".")[0] in PACKAGES)


def allowed_for(module: str) -> set[str]:
    name = module.removeprefix("edge_agent.")
    part = name.split(".")[0]
    if part in COMPOSITION:
        parts = {found.removeprefix("edge_agent.").split(".")[0] for found in modules() if found != "edge_agent"}
        return (parts | {"firmware_bridge"}) - {"cli", "cloud", "__main__", "contract", "demo"}
    return MAY_IMPORT.get(part, BASE) | {part} | COMMANDS_THAT_COMPOSE.get(name, set())


def test_parts_import_only_what_is_below_them() -> None:
    wrong = []
    for found in own_imports("edge_agent"):
        target = found.target.removeprefix("edge_agent.")
        allowed = allowed_for(found.module)
        names = {target, target.split(".")[0]}
        if target != "edge_agent" and not names & allowed:
            wrong.append(f"{found.module}:{found.line} imports {found.target}")
    assert wrong == []


def test_the_daemon_does_not_import_the_library_that_checks_its_settings() -> None:
    code = "import sys, edge_agent.app; print(sorted({'pydantic', 'rich', 'iotcore'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_terminal_without_a_ble_screen_loads_nothing_of_bluetooth() -> None:
    code = "import sys, edge_agent.app; print(sorted({'bleak', 'dbus_fast'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_only_run_and_demo_import_the_composition_root() -> None:
    importers = {found.module for found in own_imports("edge_agent") if found.target == "edge_agent.app"}
    assert {module.removeprefix("edge_agent.").split(".")[0] for module in importers} <= {"cli", "demo"}


def test_the_bridge_could_be_lifted_out() -> None:
    assert [found for found in own_imports("firmware_bridge") if found.target.startswith("edge_agent")] == []


def test_pure_modules_touch_nothing_but_values() -> None:
    wrong = []
    for package, names in PURE.items():
        pure = {f"{package}.{name}" for name in names}
        for module in pure & set(modules()):
            for found in imports_of(module):
                root = found.target.split(".")[0]
                impure_own = root in PACKAGES and found.target not in pure | {
                    "edge_agent.clock",
                    "edge_agent.tokens.keys",
                }
                if impure_own or root in IMPURE_MODULES:
                    wrong.append(f"{module}:{found.line} imports {found.target}")
    assert wrong == []


def test_the_pure_modules_of_the_design_exist_under_their_names() -> None:
    design = ["readers.apdu", "readers.exchange", "tokens.tap_token", "tokens.chain", "uplink.wire", "uplink.session"]
    for name in [f"edge_agent.{name}" for name in design] + [
        f"firmware_bridge.{n}" for n in ("cues", "frames", "protocol")
    ]:
        assert name in modules(), name


def test_each_io_library_has_one_importer() -> None:
    importers: dict[tuple[str, str], set[str]] = {}
    for module in modules():
        for found in imports_of(module):
            library = found.target.split(".")[0]
            if library in ONE_IMPORTER:
                room = ".".join(module.split(".")[: 2 if library in PER_ROOM else 1])
                importers.setdefault((library, room), set()).add(module)
    assert {key: found for key, found in importers.items() if len(found) > 1} == {}


def test_only_three_rooms_talk_to_the_library_of_the_keys() -> None:
    found = {f.module.split(".")[1] for m in modules() for f in imports_of(m) if f.target.startswith("cryptography")}
    assert found <= MAY_HOLD_KEYS


def test_no_library_comes_in_unnoticed() -> None:
    known = ONE_IMPORTER | OTHER_LIBRARIES | set(PACKAGES) | set(sys.stdlib_module_names)
    used = {found.target.split(".")[0] for module in modules() for found in imports_of(module)}
    assert used - known == set()


def test_a_raw_uid_is_revealed_in_one_place_only() -> None:
    places = {
        module
        for module in modules()
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "reveal"
    }
    assert places <= {"edge_agent.readers.pseudonym"}


@cache
def sizes() -> dict[str, int]:
    counted = {module: len(path.read_text(encoding="utf-8").splitlines()) for module, path in modules().items()}
    return {module: lines for module, lines in counted.items() if lines}


def test_no_module_is_large_and_most_are_small() -> None:
    lines = sizes()
    largest = max(lines, key=lines.__getitem__)
    median = statistics.median(lines.values())
    p90 = statistics.quantiles(lines.values(), n=10)[-1]
    shown = f"{len(lines)} modules, median {median:.0f} lines, p90 {p90:.0f}, largest {largest} {lines[largest]}"
    assert lines[largest] <= 500, shown
    assert 60 <= median <= 170, shown
    assert p90 <= 350, shown


def test_every_module_says_what_it_is_for() -> None:
    wrong = []
    for module in sizes():
        text = ast.get_docstring(tree_of(module))
        if not text or (len([line for line in text.splitlines() if line.strip()]) > 6 and not _draws(text)):
            wrong.append(module)
    assert wrong == []


def _draws(text: str) -> bool:
    """Whether a docstring holds a drawing (reStructuredText's literal block) or an ordered list; it may be longer."""
    return "::" in text or re.search(r"(?m)^1\. ", text) is not None


def test_everything_that_switches_a_check_off_says_why() -> None:
    wrong = []
    for folder in (*PACKAGES, "tests", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            with path.open("rb") as stream:
                comments = [found for found in tokenize.tokenize(stream.readline) if found.type == tokenize.COMMENT]
            for found in comments:
                switch = re.search(
                    r"#\s*(?:ruff:\s*)?noqa(?::\s*[A-Z0-9, ]+)?|#\s*type:\s*ignore(?:\[[a-z, -]+\])?", found.string
                )
                if switch and not re.search(r"[a-z]{3}", found.string[switch.end() :]):
                    wrong.append(f"{path.relative_to(ROOT)}:{found.start[0]} {found.string}")
    assert wrong == []


def test_agent_and_bridge_speak_of_the_same_cues() -> None:
    of_the_bridge_alone = {CueName.QUIET}  # it follows from the advert, no tap asks for it
    assert {cue.value for cue in Cue} == {name.value for name in CueName} - of_the_bridge_alone


@pytest.mark.parametrize("name", sorted(MAY_IMPORT))
def test_the_rules_name_only_parts_that_can_exist(name: str) -> None:
    later = {"diag"}
    assert f"edge_agent.{name}" in modules() or name in later
