"""Local control socket, the client side of the commands. Plain blocking code: a command must start fast."""

import contextlib
import json
import socket
import time
from pathlib import Path

from edge_agent.errors import ControlError
from edge_agent.sanitize import printable

_MAX_ANSWER_BYTES = 1024 * 1024


class NotRunning(ControlError):
    """Nobody listens at the socket: no agent runs there."""


class NotAllowed(ControlError):
    """The socket is there, but not for us."""


def ask(path: Path, request: dict[str, object], timeout_s: float = 5.0) -> dict[str, object]:
    """Send one request, e.g. ``{"op": "status"}``, and return the result; ``timeout_s`` bounds it all.

    Raises NotRunning when nobody listens, ControlError when nobody answers or with the text of the agent's own refusal.
    """
    deadline = time.monotonic() + timeout_s
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as sock:
        sock.settimeout(timeout_s)
        try:
            sock.connect(str(path))
            sock.sendall(json.dumps(request).encode() + b"\n")
            data = _receive(sock, deadline)
        except (OSError, ValueError) as error:
            raise _unreachable(path, error) from None
    return _result(data)


def _receive(sock: socket.socket, deadline: float) -> bytes:
    data = b""
    while not data.endswith(b"\n") and len(data) <= _MAX_ANSWER_BYTES:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        sock.settimeout(left)
        piece = sock.recv(65536)
        if not piece:
            break
        data += piece
    return data


def _unreachable(path: Path, error: OSError | ValueError) -> ControlError:
    if isinstance(error, PermissionError):
        return NotAllowed(f"no permission for {path}", remedy="use sudo, or join the group of the socket")
    if isinstance(error, TimeoutError):
        return ControlError(f"no answer at {path} in time", remedy="look at: edge-agent logs -n 50")
    what = getattr(error, "strerror", None) or str(error)
    kind = NotRunning if isinstance(error, FileNotFoundError | ConnectionRefusedError) else ControlError
    return kind(f"cannot reach the agent at {path}: {what}", remedy="is it running? systemctl status edge-agent")


def _result(data: bytes) -> dict[str, object]:
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        answer = None
    if isinstance(answer, dict):
        result = answer.get("result")
        if answer.get("ok") is True and isinstance(result, dict):
            return result
        if answer.get("ok") is False:
            text = printable(str(answer.get("error")), limit=300)
            raise ControlError(f"the agent refused: {text}")
    raise ControlError("the answer makes no sense", remedy="is another program listening there?")
