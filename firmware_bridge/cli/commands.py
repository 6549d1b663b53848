"""The commands of ``firmware-bridge`` and what each is for. ``NAME`` stands in the module ``cli/NAME_cmd.py``."""

from types import MappingProxyType

COMMANDS = MappingProxyType(
    {
        "play": "show cues on a screen and say what its MCU answered",
        "status": "ask a screen's MCU how it is",
        "simulate": "be a screen: an MCU on a pty that draws its cues here",
        "page": "serve the web page and go through its cues, for designers",
        "record": "stand between host and MCU and write down every frame",
        "replay": "play one side of a recorded trace and compare the answers",
        "conformance": "run the whole protocol against a maker's firmware and report",
    }
)
