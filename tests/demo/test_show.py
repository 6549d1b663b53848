"""What the demo prints, for people and for programs, when taps arrive and when they do not."""

import io
import json

import pytest

from edge_agent.cli.render import Paper
from edge_agent.demo import show
from edge_agent.demo.report import Report
from edge_agent.demo.show import DemoOptions, _Lines, _tap
from edge_agent.simulation.field import TapEnd, TapOutcome
from edge_agent.simulation.phones import SimulatedPhone


class Nobody:
    """People whose phones never get a token, or get one that is never stored."""

    def __init__(self, *, token: bytes | None = None) -> None:
        self._token = token

    async def tap(self) -> TapOutcome:
        phone = SimulatedPhone()
        if self._token is not None:
            phone.tokens.append(self._token)
        end = TapEnd.UNANSWERED if self._token is None else TapEnd.DELIVERED
        return TapOutcome(phone, end, 1.0, None, None, 4.0)

    async def outcome_of(self, _token: bytes) -> None:
        raise TimeoutError("could not store the tap within 10 s")


@pytest.mark.parametrize(
    ("token", "why"), [(None, "the phone got no token (unanswered)"), (b"t", "could not store the tap within 10 s")]
)
@pytest.mark.parametrize("as_json", [False, True])
async def test_a_lost_tap_is_told_and_makes_the_demo_fail(
    capsys: pytest.CaptureFixture[str], token: bytes | None, why: str, as_json: bool
) -> None:
    report, people, paper = Report(), Nobody(token=token), io.StringIO()
    lines = _Lines(Paper(paper), as_json=as_json)
    await _tap(people, people, DemoOptions(taps=2, as_json=as_json), report, lines)  # type: ignore[arg-type]  # stand-ins
    lines.summary(report)
    assert not report.all_fresh
    assert (report.taps, report.stored) == (2, 0)
    if as_json:
        said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert said[:2] == [{"event": "lost", "tap": number, "reason": why} for number in (1, 2)]
        assert said[-1]["taps"] == 2
    else:
        assert paper.getvalue().count(why) == 2
        assert "0 of 2 taps stored: none" in paper.getvalue()


def test_the_page_takes_another_port_when_the_usual_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with show.socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(show, "DEFAULT_PORT", taken.getsockname()[1])
        other = show._page_port()
        assert other not in {0, show.DEFAULT_PORT}, "the address that is printed must be the page's"
    assert show._page_port() == show.DEFAULT_PORT
