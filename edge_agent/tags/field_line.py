"""The chip's field-detect pin on a GPIO line, by gpiod (version 2): the only module that imports it.

The pin is open drain and pulled low while a phone's field is there. Nobody blocks on it: the event loop watches the
line's file descriptor.
"""

import asyncio
from typing import TYPE_CHECKING, Protocol

from edge_agent.errors import ReaderError, ReaderFault

if TYPE_CHECKING:
    import gpiod

_CONSUMER = "edge-agent"


class FieldPin(Protocol):
    """An open line; lives on the event loop."""

    def present(self) -> bool:
        """Whether a field is there now; raises OSError."""

    async def wait(self, timeout_s: float) -> None:
        """Return at the next edge, or after ``timeout_s`` seconds; cancellable. Raises OSError."""

    def close(self) -> None:
        """Release the line. Idempotent, never raises."""


def open_field_line(line: str) -> FieldPin:
    """Open a line such as "gpiochip0:17" for both edges; raises ReaderError."""
    chip, _, offset = line.partition(":")
    path = f"/dev/{chip}"
    try:
        import gpiod  # noqa: PLC0415 - a terminal without a tag chip does not have it
        from gpiod.line import Bias, Direction, Edge, Value  # noqa: PLC0415 - as above
    except ImportError as error:
        raise ReaderError(
            ReaderFault.NOT_FOUND,
            "the library gpiod is not installed",
            remedy="install it: pip install 'edge-agent[ntag]', or leave `field_line` out",
        ) from error
    settings = gpiod.LineSettings(
        direction=Direction.INPUT, edge_detection=Edge.BOTH, bias=Bias.PULL_UP, active_low=True
    )
    try:
        request = gpiod.request_lines(path, {int(offset): settings}, consumer=_CONSUMER)
    except PermissionError as error:
        raise ReaderError(
            ReaderFault.NO_PERMISSION,
            f"{path} may not be opened",
            remedy="add the agent's user to the group gpio: usermod --append --groups gpio edge-agent",
        ) from error
    except (OSError, ValueError) as error:
        raise ReaderError(
            ReaderFault.NOT_FOUND,
            f"line {line} cannot be used ({error})",
            remedy="see gpioinfo for a free line, correct `field_line` in [[tags]] or leave it out",
        ) from error
    return _Gpiod(request, int(offset), Value.ACTIVE)


class _Gpiod:
    def __init__(self, request: "gpiod.LineRequest", offset: int, active: "gpiod.line.Value") -> None:
        self._request = request
        self._offset = offset
        self._active = active

    def present(self) -> bool:
        return self._request.get_value(self._offset) is self._active

    async def wait(self, timeout_s: float) -> None:
        loop, fd = asyncio.get_running_loop(), self._request.fd
        edge = asyncio.Event()
        loop.add_reader(fd, edge.set)
        try:
            async with asyncio.timeout(timeout_s):
                await edge.wait()
            self._request.read_edge_events()
        except TimeoutError:
            return
        finally:
            loop.remove_reader(fd)

    def close(self) -> None:
        if self._request:  # gpiod: false once it is released
            self._request.release()
