"""What only one test of a whole machine may have at a time: runs of the suite go side by side."""

import os
import socket

_claimed: dict[str, int] = {}


def claim(name: str) -> bool:
    """Whether nobody else on this machine has it; if so it is ours until ``give_back``, or the end of the process."""
    claiming = socket.socket(socket.AF_UNIX)
    try:
        claiming.bind(f"\0edge-agent-tests/{name}")  # the kernel gives it back, however the process ends
    except OSError:
        claiming.close()
        return False
    _claimed[name] = claiming.detach()
    return True


def give_back(name: str) -> None:
    """Let others claim it."""
    os.close(_claimed.pop(name))
