"""The serial link over a real pty: cues arrive, a cable is pulled, an MCU is deaf or stuck; nobody else waits."""

import asyncio
import os
import select
import socket
import threading
import time
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest

from firmware_bridge.cues import Cue, CueName, Words
from firmware_bridge.device import DeviceSession, Send
from firmware_bridge.frames import FrameDecoder
from firmware_bridge.links.base import LinkError, LinkFault
from firmware_bridge.links.serial import SerialLink
from firmware_bridge.messages import (
    Ack,
    AskStatus,
    Capability,
    HostMessage,
    McuEvent,
    McuHello,
    ShowCue,
    Status,
    encode_message,
    from_host,
)
from firmware_bridge.protocol import Ask, Received, Shown, Told, Want
from firmware_bridge.simulator import McuSimulator
from tests.fakes.link_recorder import LinkRecorder, recorded
from tests.fakes.waiting import eventually

pytestmark = pytest.mark.usefixtures("patient_host")

GIVEN_UP_S = 3.0


@pytest.fixture
def impatient_host(patient_host: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """For what happens after three seconds of silence."""
    monkeypatch.setattr("firmware_bridge.protocol.SILENCE_S", GIVEN_UP_S)


@pytest.fixture
def simulator() -> Iterator[McuSimulator]:
    with McuSimulator() as running:
        yield running
    assert "mcu-simulator" not in {thread.name for thread in threading.enumerate()}


@asynccontextmanager
async def serving(link: SerialLink) -> AsyncIterator[tuple[LinkRecorder, asyncio.Task[None]]]:
    try:
        async with recorded(link) as served:
            yield served
    finally:
        await eventually(lambda: f"screen-{link.name}" not in {thread.name for thread in threading.enumerate()})


async def fill(slave: int) -> None:
    """Write to a line that nobody reads until it takes not a byte more, also not a moment later."""
    os.set_blocking(slave, False)
    in_vain = 0
    while in_vain < 5:
        in_vain += 1
        for size in (4096, 16, 1):
            with suppress(BlockingIOError):
                while True:
                    os.write(slave, bytes(size))
                    in_vain = 0
        await asyncio.sleep(0.02)


def link_to(simulator: McuSimulator) -> SerialLink:
    return SerialLink("door", simulator.device_path, terminal_id="sh-1")


async def test_a_cue_reaches_the_mcu_and_is_confirmed(simulator: McuSimulator) -> None:
    link = link_to(simulator)
    async with serving(link) as (recorder, _):
        await eventually(lambda: recorder.ups)
        assert simulator.greeted_by == "sh-1"
        before = time.monotonic()
        link.show(Cue(CueName.THANKS, "coupon", "¥2.00", ttl_ms=60_000))
        await eventually(lambda: recorder.events)
        name, cue, at = recorder.wire[-1]
        assert (name, cue) == ("door", CueName.THANKS)
        assert before <= at <= time.monotonic()
        (shown,) = recorder.events
        assert isinstance(shown, Shown)
        assert simulator.cues[-1][1:] == (CueName.THANKS, "¥2.00\ncoupon")
        assert link.detail == simulator.device_path


async def test_the_newest_cue_of_before_is_shown_on_opening(simulator: McuSimulator) -> None:
    link = link_to(simulator)
    link.show(Cue(CueName.INVITE, ttl_ms=60_000))
    link.show(Cue(CueName.FAULT, "reader", ttl_ms=60_000))
    async with serving(link):
        await asyncio.to_thread(simulator.wait_for, CueName.FAULT, 30)
    assert [cue for _, cue, _ in simulator.cues] == [CueName.FAULT]


async def test_a_cue_of_before_keeps_the_words_of_its_advert(simulator: McuSimulator) -> None:
    link = link_to(simulator)
    link.show(Cue(CueName.INVITE, words=Words("碰一碰", "tap for tea")))
    async with serving(link):
        await asyncio.to_thread(simulator.wait_for, CueName.INVITE, 30)
    assert simulator.cues[-1][2] == "tap for tea"


async def test_firmware_text_is_made_safe() -> None:
    with McuSimulator(hello=McuHello((2, 0, 1), Capability.NONE, "A\x1b[31m\n")) as simulator:
        async with serving(link_to(simulator)) as (recorder, _):
            await eventually(lambda: recorder.ups)
            assert recorder.ups == ["A?[31m? 2.0.1"]


async def test_what_the_mcu_tells_arrives(simulator: McuSimulator) -> None:
    link = link_to(simulator)
    async with serving(link) as (recorder, _):
        await eventually(lambda: recorder.ups)
        simulator.raise_event(McuEvent(1, b"\x01"))
        link.ask(Ask(AskStatus()))

        def told() -> list[Status | McuEvent]:
            return [event.message for event in recorder.events if isinstance(event, Told)]

        # A question that a loaded machine repeats is answered twice.
        await eventually(lambda: {type(message) for message in told()} == {Status, McuEvent})
        assert [message for message in told() if isinstance(message, McuEvent)] == [McuEvent(1, b"\x01")]


async def test_a_pulled_cable_is_noticed_and_the_link_can_be_served_again(simulator: McuSimulator) -> None:
    link = link_to(simulator)
    link.show(Cue(CueName.RESTING, ttl_ms=60_000))
    async with serving(link) as (recorder, task):
        await eventually(lambda: recorder.ups)
        simulator.unplug()
        await eventually(task.done)
        with pytest.raises(LinkError) as caught:
            await task
        assert caught.value.fault is LinkFault.UNPLUGGED
    async with serving(link) as (_, task):
        await eventually(task.done)
        with pytest.raises(LinkError) as caught:
            await task
        assert caught.value.fault is LinkFault.NOT_FOUND
    simulator.replug()
    count = len(simulator.cues)
    async with serving(link) as (recorder, _):
        await asyncio.to_thread(simulator.wait_for, CueName.RESTING, 30, since=count)


@pytest.mark.usefixtures("impatient_host")
async def test_a_deaf_mcu_is_given_up_after_three_seconds(simulator: McuSimulator) -> None:
    simulator.faults.deaf = True
    async with serving(link_to(simulator)) as (_, task):
        start = time.monotonic()
        await eventually(task.done)
        with pytest.raises(LinkError) as caught:
            await task
        assert caught.value.fault is LinkFault.NO_ANSWER
        assert time.monotonic() - start >= 3


async def test_noise_costs_no_cue(simulator: McuSimulator) -> None:
    simulator.faults.noise = 0.5
    simulator.faults.slow_s = 0.01
    link = link_to(simulator)
    async with serving(link) as (recorder, _):
        await eventually(lambda: recorder.ups)
        for _ in range(20):
            link.show(Cue(CueName.READING, ttl_ms=2500))
            await asyncio.sleep(0.005)
        link.show(Cue(CueName.THANKS, ttl_ms=60_000))
        await eventually(lambda: any(isinstance(e, Shown) and e.cue is CueName.THANKS for e in recorder.events))
        assert "unreadable frames" in link.detail


async def test_a_port_in_use_by_another_process_is_busy(simulator: McuSimulator) -> None:
    async with serving(link_to(simulator)) as (recorder, _):
        await eventually(lambda: recorder.ups)
        async with serving(SerialLink("second", simulator.device_path, terminal_id="sh-2")) as (_, task):
            await eventually(task.done)
            with pytest.raises(LinkError) as caught:
                await task
            assert caught.value.fault is LinkFault.BUSY


async def test_what_is_no_serial_port_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no port")
    async with serving(SerialLink("door", str(tmp_path / "file"), terminal_id="sh-1")) as (_, task):
        await eventually(task.done)
        with pytest.raises(LinkError, match="file"):
            await task


@pytest.mark.usefixtures("impatient_host")
async def test_a_line_that_takes_nothing_delays_nobody() -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    link = SerialLink("door", os.ttyname(slave), terminal_id="sh-1")
    try:
        # The MCU reads nothing and the line is full to the brim.
        await fill(slave)
        async with serving(link) as (recorder, task):
            await asyncio.sleep(0)
            line = link._line
            assert line is not None
            await asyncio.sleep(0.2)
            for _ in range(2000):
                link.show(Cue(CueName.READING, ttl_ms=2500))
            assert len(line._events) <= 8
            assert len(line._writes) <= 8
            # The loop runs on: it sees the link give up after three silent seconds, and the thread ends.
            await eventually(task.done)
            with pytest.raises(LinkError) as caught:
                await task
            assert caught.value.fault is LinkFault.NO_ANSWER
            assert recorder.wire == []
        start = time.monotonic()
        link.show(Cue(CueName.READING, ttl_ms=2500))
        assert time.monotonic() - start < 10, "it would wait for ever"
    finally:
        os.close(master)
        os.close(slave)


async def test_only_the_newest_cue_waits_for_a_full_line() -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    link = SerialLink("door", os.ttyname(slave), terminal_id="sh-1")
    decoder = FrameDecoder()

    def heard() -> list[tuple[int, HostMessage]]:
        try:
            return [(frame.seq, from_host(frame)) for frame in decoder.feed(os.read(master, 65536))]
        except BlockingIOError:
            return []

    try:
        async with serving(link) as (recorder, _):
            greeting: list[tuple[int, HostMessage]] = []
            await eventually(lambda: greeting.extend(heard()) or greeting)
            os.write(master, encode_message(Ack(greeting[0][0]), 0) + encode_message(McuHello((1, 0, 0)), 0))
            await eventually(lambda: recorder.ups)
            await fill(slave)
            for number in range(200):
                link.show(Cue(CueName.THANKS, str(number), ttl_ms=3500))
                await asyncio.sleep(0.001)
            link.show(Cue(CueName.RETRY, "the last", ttl_ms=20_000))
            await asyncio.sleep(0.05)
            texts: list[str] = []

            def drained() -> bool:
                texts.extend(message.text for _, message in heard() if isinstance(message, ShowCue))
                os.write(master, encode_message(Status(None, 1, 20), 0))  # heard again: say what was not confirmed
                return texts[-1:] == ["the last"]

            await eventually(drained)
            # One frame may have been begun before the line was full, and is finished.
            assert len(set(texts) - {"the last"}) <= 1
    finally:
        os.close(master)
        os.close(slave)


def thread_cpu_s(name: str) -> float:
    """Processor time of one of our threads so far; raises OSError when it has just ended."""
    thread = next((thread for thread in threading.enumerate() if thread.name == name), None)
    if thread is None:
        raise ProcessLookupError(name)
    # Of the kernel by its number: the clock of a thread that has just ended may end the process.
    of_it = Path(f"/proc/self/task/{thread.native_id}/stat").read_text(encoding="ascii")
    user, system = of_it.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@pytest.mark.usefixtures("impatient_host")
async def test_a_device_that_speaks_garbage_for_ever_costs_little_and_ends_with_a_reason() -> None:
    garbage = b"\x55" * 2048 + bytes(range(256)) * 8 + b"\x01\x00" * 2048
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    ended = threading.Event()
    sent = 0

    def speak() -> None:
        nonlocal sent
        while not ended.is_set():
            if select.select([], [master], [], 0.1)[1]:
                with suppress(OSError):
                    sent += os.write(master, garbage)
            with suppress(OSError):
                os.read(master, 65536)

    speaking = threading.Thread(target=speak)
    link = SerialLink("door", os.ttyname(slave), terminal_id="sh-1")
    try:
        async with serving(link) as (recorder, task):
            speaking.start()
            spent = 0.0
            while not task.done():
                await asyncio.sleep(0.05)
                with suppress(OSError):
                    spent = thread_cpu_s("screen-door")
            with pytest.raises(LinkError, match="unreadable frames: look at the baud rate") as caught:
                await task
        assert caught.value.fault is LinkFault.NO_ANSWER
        assert (recorder.ups, recorder.events) == ([], [])
        # Twice the line for three seconds, what was read at once, and what waits in the pty; unbounded it is 100 MB.
        assert sent < 2 * 11_520 * 6 + 65_536 + 4096 * 4
        assert spent < 1.0
    finally:
        ended.set()
        speaking.join()
        os.close(master)
        os.close(slave)


async def test_an_mcu_that_reads_nothing_for_long_costs_no_memory_and_sees_the_newest_cue_when_it_does() -> None:
    """Several openings of a line that takes nothing; then it reads again."""
    with McuSimulator() as simulator:
        link = link_to(simulator)
        async with serving(link) as (recorder, _):
            await eventually(lambda: recorder.ups)
            simulator.faults.stuck = True
            for number in range(3000):
                link.show(Cue(CueName.THANKS, str(number), ttl_ms=60_000))
                if number % 100 == 0:
                    await asyncio.sleep(0.01)
            line = link._line
            assert line is not None
            assert len(line._events) <= 8
            assert len(line._writes) <= 8
            link.show(Cue(CueName.RETRY, "the last", ttl_ms=60_000))
            shown = len(simulator.cues)
            simulator.faults.stuck = False
            await asyncio.to_thread(simulator.wait_for, CueName.RETRY, 30, since=shown)
            # The line itself had taken a few before: they were written while it still took bytes.
            assert simulator.cues[-1][2] == "the last"


async def test_a_line_opens_over_tcp_too() -> None:
    """A simulated MCU behind a TCP port, as a bench has it."""
    session = DeviceSession()
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.settimeout(0.05)
            while True:
                try:
                    data = connection.recv(4096)
                except TimeoutError:
                    continue
                except OSError:
                    return
                if not data:
                    return
                for effect in session.handle(Received(data), time.monotonic()):
                    if isinstance(effect, Send):
                        connection.sendall(effect.data)

    mcu = threading.Thread(target=serve)
    mcu.start()
    link = SerialLink("door", f"tcp:127.0.0.1:{server.getsockname()[1]}", terminal_id="sh-1")
    async with serving(link) as (recorder, _):
        await eventually(lambda: recorder.ups)
        link.show(Cue(CueName.THANKS, ttl_ms=60_000))
        await eventually(lambda: recorder.events)
        assert session.showing.cue is CueName.THANKS
    mcu.join(30)
    server.close()
    assert not mcu.is_alive()


async def test_an_opening_that_hangs_keeps_the_newest_cue_and_holds_nobody() -> None:
    """Nobody answers the connection: the thread hangs in open, the loop does not."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        link = SerialLink("door", f"tcp:127.0.0.1:{server.getsockname()[1]}", terminal_id="sh-1")
        async with serving(link) as (recorder, task):
            await eventually(lambda: link._line)
            for number in range(1000):
                link.show(Cue(CueName.READING, str(number), ttl_ms=2500))
            line = link._line
            assert line is not None
            assert len(line._events) <= 8
            newest = line._events[-1]
            assert isinstance(newest, Want)
            assert newest.asked_at is not None, "its time to live does not wait for the opening"
            await eventually(task.done)
            with pytest.raises(LinkError, match="no answer for 3 s"):
                await task
        assert recorder.wire == []


async def test_a_fault_in_the_thread_is_raised_by_serve_with_its_traceback(simulator: McuSimulator) -> None:
    link = link_to(simulator)
    async with serving(link) as (recorder, task):
        await eventually(lambda: recorder.ups)
        line = link._line
        assert line is not None
        line.session.handle = None  # type: ignore[method-assign,assignment]  # a bug
        await eventually(task.done)
        with pytest.raises(TypeError, match="NoneType") as caught:
            await task
        assert "_handle" in str(caught.getrepr())
