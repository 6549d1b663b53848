import pytest

from edge_agent.clock import FakeClock
from edge_agent.errors import ReaderError, ReaderFault
from edge_agent.models import ClockTrust
from edge_agent.uplink.commands import REMEMBERED_IDS, Commands
from edge_agent.uplink.wire import Command, ResponseStatus


@pytest.fixture(name="ran")
def _ran() -> list[str]:
    return []


@pytest.fixture(name="clock")
def _clock() -> FakeClock:
    return FakeClock(unix=1_790_000_000)


@pytest.fixture(name="commands")
def _commands(ran: list[str], clock: FakeClock) -> Commands:
    def fail(_command: Command) -> None:
        raise ReaderError(ReaderFault.UNPLUGGED, "no reader\nhere")

    return Commands({"identify": lambda command: ran.append(command.id), "fail": fail}, clock=clock)


def command(name: str = "identify", id_: str = "1", exp: int = 1_790_000_000) -> Command:
    return Command(name, id_, exp)


def test_done_once(commands: Commands, ran: list[str]) -> None:
    answer = commands.handle(command())
    assert answer is not None
    assert (answer.id, answer.status, answer.code) == ("1", ResponseStatus.DONE, "ok")
    assert commands.handle(command()) is None
    assert ran == ["1"]


def test_an_expired_command_is_refused_and_stays_refused(commands: Commands, ran: list[str], clock: FakeClock) -> None:
    clock.advance(1)
    answer = commands.handle(command())
    assert answer is not None
    assert (answer.status, answer.code) == (ResponseStatus.REFUSED, "expired")
    clock.step_wall(-100)
    assert commands.handle(command()) is None
    assert ran == []


def test_an_unset_clock_cannot_expire_anything(commands: Commands, ran: list[str], clock: FakeClock) -> None:
    clock.trust = ClockTrust.UNSET
    commands.handle(command(exp=1))
    assert ran == ["1"]


def test_unknown_and_failing_commands_are_answered(commands: Commands) -> None:
    unknown = commands.handle(command("dance", "1"))
    failed = commands.handle(command("fail", "2"))
    assert unknown is not None
    assert failed is not None
    assert unknown.status is ResponseStatus.UNSUPPORTED
    assert (failed.status, failed.code, failed.detail) == (ResponseStatus.FAILED, "reader", "no reader\\nhere")


def test_the_memory_of_ids_is_bounded(commands: Commands, ran: list[str]) -> None:
    for number in range(REMEMBERED_IDS + 1):
        commands.handle(command(id_=str(number)))
    assert commands.handle(command(id_="1")) is None
    assert commands.handle(command(id_="0")) is not None
    assert len(ran) == REMEMBERED_IDS + 2
