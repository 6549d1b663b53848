"""``python -m shell_help``: write systemd/man and systemd/completion, and nothing else."""

from pathlib import Path

from edge_agent.cli.main import whole_parser as agent_parser
from firmware_bridge.cli.main import whole_parser as bridge_parser
from shell_help.completion import script
from shell_help.man import page
from shell_help.texts import EDGE_AGENT, FIRMWARE_BRIDGE

ROOT = Path(__file__).resolve().parents[2]
"""The folder `systemd` of the source tree."""


def files() -> dict[str, str]:
    """Return what every generated file must contain, by its path below ROOT."""
    made = {}
    for whole_parser, about in ((agent_parser, EDGE_AGENT), (bridge_parser, FIRMWARE_BRIDGE)):
        made[f"man/{about.name}.1"] = page(whole_parser(), about)
        made[f"completion/{about.name}.bash"] = script(whole_parser(), "bash")
        made[f"completion/_{about.name}"] = script(whole_parser(), "zsh")
    return made


def main() -> None:
    """Write them all."""
    for name, text in files().items():
        (ROOT / name).parent.mkdir(exist_ok=True)
        (ROOT / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
