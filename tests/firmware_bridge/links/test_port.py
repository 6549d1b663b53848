"""Opening a line: a pty, a TCP peer, and all that is neither; closing never waits."""

import os
import select
import socket
import time
import tty
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from firmware_bridge.links.base import LinkError, LinkFault
from firmware_bridge.links.port import Port, open_port


@pytest.fixture
def pty() -> Iterator[tuple[int, str]]:
    """The MCU's end, and the path of ours."""
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    yield master, os.ttyname(slave)
    os.close(slave)
    with suppress(OSError):
        os.close(master)


def listening(host: str) -> tuple[socket.socket, int]:
    server = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    return server, server.getsockname()[1]


def fault_of(device: str, baud: int = 115200) -> tuple[LinkFault, str]:
    with pytest.raises(LinkError) as caught:
        open_port(device, baud)
    return caught.value.fault, caught.value.text


def heard(port: Port) -> bytes:
    assert select.select([port], [], [], 10)[0]
    return port.read()


def test_bytes_go_both_ways_over_a_pty_and_nothing_blocks(pty: tuple[int, str]) -> None:
    master, path = pty
    with open_port(path, 115200) as port:
        assert not os.get_blocking(port.fileno())
        assert port.read() == b""
        os.write(master, b"\x00\xff\n\r")
        assert heard(port) == b"\x00\xff\n\r"
        assert port.write(b"\x00\x01\n\r") == 4
        assert select.select([master], [], [], 10)[0]
        assert os.read(master, 16) == b"\x00\x01\n\r"


def test_a_pty_whose_mcu_reads_nothing_takes_no_more_and_closes_at_once(pty: tuple[int, str]) -> None:
    with open_port(pty[1], 115200) as port:
        taken = [port.write(bytes(4096)) for _ in range(1000)]
        # The kernel passes on what it has when it comes to it, and then takes a little more.
        assert sum(taken) < 1_000_000
        assert 0 in taken
        begun = time.monotonic()
    assert time.monotonic() - begun < 20, "a drain takes 30 s"
    port.close()


def test_a_pulled_cable_is_told_by_read(pty: tuple[int, str]) -> None:
    with open_port(pty[1], 115200) as port:
        os.close(pty[0])
        with pytest.raises(LinkError, match="was unplugged") as caught:
            heard(port)
        assert caught.value.fault is LinkFault.UNPLUGGED


def test_a_port_has_one_owner(pty: tuple[int, str]) -> None:
    with open_port(pty[1], 115200):
        assert fault_of(pty[1]) == (LinkFault.BUSY, f"{pty[1]}: Resource temporarily unavailable")
    open_port(pty[1], 115200).close()


@pytest.mark.parametrize(
    ("host", "written"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("127.0.0.1", "localhost")]
)
def test_bytes_go_both_ways_over_tcp_at_once(host: str, written: str) -> None:
    server, number = listening(host)
    with server, open_port(f"tcp:{written}:{number}") as port:
        peer, _ = server.accept()
        with peer:
            line = socket.socket(fileno=os.dup(port.fileno()))
            with line:
                assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert not os.get_blocking(port.fileno())
            assert port.read() == b""
            peer.sendall(b"\x00\xff")
            assert heard(port) == b"\x00\xff"
            assert port.write(b"ab") == 2
            assert peer.recv(16) == b"ab"
        with pytest.raises(LinkError, match="closed by the other end") as caught:
            heard(port)
        assert caught.value.fault is LinkFault.UNPLUGGED


def test_a_tcp_peer_that_reads_nothing_takes_no_more_and_closes_at_once() -> None:
    server, number = listening("127.0.0.1")
    with server, open_port(f"tcp:127.0.0.1:{number}") as port:
        # The kernel makes room for a little more a moment later, until not a byte has any.
        while port.write(bytes(65536)) or port.write(b"x"):
            pass
        port.close()
        port.close()


def test_nobody_there_is_not_found(tmp_path: Path) -> None:
    assert fault_of(str(tmp_path / "none")) == (
        LinkFault.NOT_FOUND,
        f"{tmp_path / 'none'}: No such file or directory",
    )
    with socket.socket() as held:  # nobody listens, and nobody else can take it meanwhile
        held.bind(("127.0.0.1", 0))
        number = held.getsockname()[1]
        fault, text = fault_of(f"tcp:127.0.0.1:{number}")
    assert (fault, text) == (LinkFault.NOT_FOUND, f"tcp:127.0.0.1:{number}: Connection refused")


def test_what_is_no_serial_port_is_said_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no port")
    os.mkfifo(tmp_path / "fifo")
    for name in ("file", "fifo"):
        fault, text = fault_of(str(tmp_path / name))
        assert fault is LinkFault.IO
        assert name in text
    assert (tmp_path / "file").read_text() == "no port"


def test_a_speed_that_no_port_has_is_said(pty: tuple[int, str]) -> None:
    fault, text = fault_of(pty[1], -5)
    assert fault is LinkFault.IO
    assert "-5" in text


def test_a_peer_that_never_answers_is_given_up_in_time() -> None:
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        where = server.getsockname()
        # Whoever comes when the queue is full is not answered at all.
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(where)
        with pytest.raises(LinkError, match=r"no answer for 0\.2 s") as caught:
            open_port(f"tcp:127.0.0.1:{where[1]}", within_s=0.2)
        assert caught.value.fault is LinkFault.NO_ANSWER


@pytest.mark.parametrize(
    "wrong",
    [
        "tcp:", "tcp::1", "tcp:127.0.0.1", "tcp:127.0.0.1:0", "tcp:127.0.0.1:65536", "tcp:127.0.0.1:1x", "tcp:::1:80",
        "tcp:[127.0.0.1]:80", "tcp:[localhost]:80", "tcp:example.net:80", "tcp:127.1:80", "tcp:127.0.0.1:٣",
    ],
)  # fmt: skip
def test_an_address_that_is_none_is_said(wrong: str) -> None:
    fault, text = fault_of(wrong)
    assert fault is LinkFault.IO
    assert "of tcp:HOST:PORT" in text
