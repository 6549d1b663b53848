"""What the manual pages tell that no parser knows: exit statuses, files, environment, examples."""

from edge_agent.cli.commands import COMMANDS
from edge_agent.version import VERSION
from firmware_bridge.cli.commands import COMMANDS as BRIDGE_COMMANDS
from shell_help.man import About

# Of the texts in this module, not of the making: a page is the same on every day.
_DATE = "2026-11-23"
_COLOURS = (
    ("NO_COLOR", "Set and not empty: no colours. A colour never says more than the word beside it."),
    ("TERM", "dumb: no colours, as on a serial console."),
    ("LANG, LC_ALL", "Where the terminal's character set is not UTF-8, all is written in ASCII."),
    ("COLUMNS", "Width of the terminal where it cannot be asked; no text is wider than 80 columns."),
)

EDGE_AGENT = About(
    name="edge-agent",
    version=VERSION,
    date=_DATE,
    summary="NFC tap agent of an elevator screen",
    description="The agent reads phones that are held to a screen, signs and keeps each tap, delivers it over MQTT, "
    "and drives the screen. The service runs it; the other commands ask the running agent over its control socket, or "
    "look at the machine themselves while none runs.\n\nThe first line of an answer is the verdict, the last one the "
    "next step. With --json a command prints one object for programs. Begin with: edge-agent doctor.",
    purposes={name: command.help for name, command in COMMANDS.items()},
    statuses=(
        ("0", "Healthy, or done."),
        ("1", "A problem was found."),
        ("2", "Wrong usage."),
        ("3", "Could not look: the agent does not answer, a file cannot be read."),
        ("75", "run ended itself, because only a new process can heal it; systemd starts it again."),
        ("78", "The configuration or the key file is wrong; systemd does not start it again."),
        ("130", "Ended by Ctrl-C."),
        ("141", "Whoever read the output has gone."),
    ),
    environment=(
        ("EDGE_AGENT__SECTION__KEY", "Value of a key of the configuration, over that of all files."),
        *_COLOURS,
    ),
    files=(
        ("/etc/edge-agent/edge-agent.toml", "The configuration; every key is in it, with a comment."),
        ("/etc/edge-agent/edge-agent.toml.d/*.toml", "Drop-ins, laid over it in the order of their names."),
        ("/var/lib/edge-agent/", "The outbox, the signing key, what must survive a restart."),
        ("/run/edge-agent/control.sock", "Where the running agent is asked; root and the group edge-agent may."),
    ),
    examples=(
        ("What is wrong with this terminal?", "edge-agent doctor"),
        ("What did the agent say in the last hour, of what matters?", "edge-agent logs --since 1h --level warning"),
        ("Which of these screens is it?", "edge-agent identify"),
        ("All that support needs, without a secret:", "sudo edge-agent bundle"),
    ),
    see_also=(("firmware-bridge", 1), ("journalctl", 1), ("systemctl", 1)),
    documents="All commands with examples: /usr/share/doc/edge-agent/commands.md",
)

FIRMWARE_BRIDGE = About(
    name="firmware-bridge",
    version=VERSION,
    date=_DATE,
    summary="drive, be and check a tap screen",
    description="For makers and testers of screens; it needs no agent. It shows cues on a screen over a serial port or "
    "Bluetooth LE, is a screen itself, writes down what is said on the line, and runs the whole protocol against a "
    "maker's firmware.",
    purposes=dict(BRIDGE_COMMANDS),
    statuses=(("0", "Done."), ("1", "A problem was found."), ("2", "Wrong usage."), ("130", "Ended by Ctrl-C.")),
    environment=_COLOURS,
    files=(),
    examples=(
        ("Show a cue on a screen:", "firmware-bridge play thanks --port /dev/ttyUSB0"),
        ("Check a firmware:", "firmware-bridge conformance --port /dev/ttyUSB0"),
    ),
    see_also=(("edge-agent", 1),),
    documents="The link of a screen: /usr/share/doc/edge-agent/screen-link.md",
)
