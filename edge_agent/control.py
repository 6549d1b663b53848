"""Local control socket, the server: one JSON line asks, one JSON line answers, then the connection ends.

Request ``{"op": "status", ...}``; answer ``{"ok": true, "result": {...}}`` or ``{"ok": false, "code", "error"}``.
Whatever a client sends or fails to read, the server and the tap path go on: sizes, times and clients are bounded.
"""

import asyncio
import contextlib
import json
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import structlog

from edge_agent.errors import ControlError, EdgeAgentError
from edge_agent.sanitize import printable

log = structlog.get_logger(__name__)

Op = Callable[[dict[str, object]], Awaitable[dict[str, object]]]
"""Serves one request (the whole object, ``op`` included); an EdgeAgentError becomes an error answer."""

MAX_REQUEST_BYTES = 4096
SOCKET_MODE = 0o660
# sockaddr_un.sun_path has 108 bytes with the final NUL, unix(7).
_MAX_PATH_BYTES = 107


class ControlServer:
    """Listens from `start` to `close`."""

    def __init__(
        self,
        path: Path,
        ops: Mapping[str, Op],
        *,
        max_clients: int = 8,
        read_timeout_s: float = 2.0,
        op_timeout_s: float = 5.0,
    ) -> None:
        self._path = path
        self._ops = dict(ops)
        self._max_clients = max_clients
        self._read_timeout_s = read_timeout_s
        self._op_timeout_s = op_timeout_s
        self._server: asyncio.Server | None = None
        self._inode: tuple[int, int] | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. Raises ControlError when the folder is missing or another process listens there."""
        sock = _bind(self._path)
        try:
            found = self._path.stat()
            self._inode = (found.st_dev, found.st_ino)
            self._server = await asyncio.start_unix_server(self._accept, sock=sock, limit=MAX_REQUEST_BYTES)
        except BaseException:
            sock.close()
            raise

    async def serve(self) -> None:
        """Listen until cancelled; the form that the supervisor takes."""
        await self.start()
        try:
            await asyncio.Event().wait()
        finally:
            await self.close()

    async def close(self) -> None:
        """Stop listening, cut off clients, remove the socket file if it is still ours. Idempotent."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        for task in list(self._clients):
            task.cancel()
        if self._clients:
            await asyncio.wait(set(self._clients), timeout=1.0)
        await asyncio.sleep(0)  # the transports close in the next turn of the loop
        with contextlib.suppress(FileNotFoundError):
            found = self._path.stat()
            if (found.st_dev, found.st_ino) == self._inode:
                self._path.unlink()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:  # pragma: no cover -- asyncio runs every client in a task
            return
        busy = len(self._clients) >= self._max_clients
        self._clients.add(task)
        answer: dict[str, object] | None = None
        try:
            answer = _error("busy", "too many clients") if busy else await self._serve(reader)
            if answer is not None:
                writer.transport.set_write_buffer_limits(high=0)  # drain waits until the client has it all
                writer.write(json.dumps(answer).encode() + b"\n")
                async with asyncio.timeout(self._read_timeout_s):
                    await writer.drain()
        except (OSError, TimeoutError):
            log.debug("control_client_lost")
            writer.transport.abort()
        except asyncio.CancelledError:
            if self._server is not None:
                raise
            # Cut off by `close`, as everybody who waits for news is; asyncio would log it as a fault of the program.
            if answer is None:
                writer.write(json.dumps(_error("stopping", "the agent is stopping")).encode() + b"\n")
        finally:
            self._clients.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader) -> dict[str, object] | None:
        """Read one request and return its answer; None if the client left without one."""
        try:
            async with asyncio.timeout(self._read_timeout_s):
                line = await reader.readuntil(b"\n")
        except TimeoutError:
            return _error("bad_request", "no complete line in time")
        except asyncio.LimitOverrunError:
            return _error("bad_request", f"a request has at most {MAX_REQUEST_BYTES} bytes")
        except asyncio.IncompleteReadError as error:
            line = error.partial
            if not line:
                return None
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return _error("bad_request", "not a line of JSON")
        name = request.get("op") if isinstance(request, dict) else None
        op = self._ops.get(name) if isinstance(name, str) else None
        if op is None:
            return _error("unknown_op", f"no such op: {printable(str(name))}; known: {', '.join(sorted(self._ops))}")
        return await self._run(str(name), op, request)

    async def _run(self, name: str, op: Op, request: dict[str, object]) -> dict[str, object]:
        task = asyncio.create_task(_await(op, request), name=f"control {name}")
        try:
            done, _ = await asyncio.wait({task}, timeout=self._op_timeout_s)
        finally:
            task.cancel()  # does nothing to one that is done
        if not done:
            log.warning("control_op_timeout", op=name, after_s=self._op_timeout_s)
            return _error("timeout", f"{name} took longer than {self._op_timeout_s:g} s")
        if task.cancelled():
            return _error("cancelled", f"{name} was cancelled")
        error = task.exception()
        if error is None:
            return {"ok": True, "result": task.result()}
        if isinstance(error, EdgeAgentError):
            return _error(error.code, str(error))
        log.error("control_op_failed", op=name, exc_info=error)
        return _error("internal", f"{name} failed: {type(error).__name__}")


async def _await(op: Op, request: dict[str, object]) -> dict[str, object]:
    return await op(request)


def _error(code: str, text: str) -> dict[str, object]:
    return {"ok": False, "code": code, "error": text}


def _bind(path: Path) -> socket.socket:
    """Return a listening socket at ``path``, mode 0660 from its first moment; replaces only one that nobody serves."""
    if len(os.fsencode(path)) > _MAX_PATH_BYTES:
        raise ControlError(
            f"{path} is too long for a socket", remedy=f"[control] socket has at most {_MAX_PATH_BYTES} bytes"
        )
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        # Linux takes the mode of the socket, less the umask, for the file that bind makes: no moment with wider rights.
        os.fchmod(sock.fileno(), SOCKET_MODE)
        sock.bind(str(path))
        path.chmod(SOCKET_MODE)
        sock.listen(16)
    except OSError as error:
        sock.close()
        remedy = f"make {path.parent} (RuntimeDirectory= of the unit does) and let the agent's user write there"
        raise ControlError(f"cannot listen at {path}: {error.strerror}", remedy=remedy) from error
    return sock


def _remove_stale(path: Path) -> None:
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except OSError:
        return  # nothing there, or nothing that we may see: bind will tell
    if not is_socket:
        raise ControlError(f"{path} is in the way and no socket", remedy="move it away or change [control] socket")
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise ControlError(f"cannot probe {path}: {error.strerror or error}", remedy="remove it") from error
    raise ControlError(
        f"another agent answers at {path}",
        remedy="stop it first: systemctl stop edge-agent; or change [control] socket",
    )
