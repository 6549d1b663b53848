"""``page``: the web page for designers."""

import json
import signal
import urllib.request

import pytest

from firmware_bridge.cli.main import main
from tests.fakes.bridge_command import complaint, line, started


def test_page_serves_until_interrupted() -> None:
    with started("page", "--cue", "thanks") as page:
        url = line(page).split()[-1]
        with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310 - our own loopback page
            assert b'id="stage"' in answer.read()
        page.send_signal(signal.SIGINT)
        assert page.wait(20) == 0


def test_page_on_a_taken_port() -> None:
    with started("page") as first:
        port = line(first).split(":")[-1].split("/")[0]
        with started("page", "--port", port) as second:
            assert second.wait(20) == 1
            assert "cannot listen on 127.0.0.1" in complaint(second)


def first_cue(url: str) -> dict[str, object]:
    with urllib.request.urlopen(f"{url}events", timeout=20) as stream:  # noqa: S310 - our own loopback page
        for raw in stream:
            if raw.startswith(b'data: {"cue"'):
                return dict(json.loads(raw.removeprefix(b"data: ")))
    raise AssertionError("the stream ended without a cue")


@pytest.mark.parametrize("cue", ["invite", "quiet", "fault"])
def test_page_stays_with_a_cue_and_wears_the_advert(cue: str) -> None:
    words = ["--campaign-text", "a free coffee", "--colours", "#0a7bd1,#12b886"]
    with started("page", "--cue", cue, *words) as page:
        told = first_cue(line(page).split()[-1].partition("?")[0])
    assert told["cue"] == cue
    of_the_advert = ({"zh-CN": "a free coffee", "en": "a free coffee"}, ["#0a7bd1", "#12b886"])
    plain = ({"zh-CN": "", "en": ""}, None)
    assert (told["words"], told["colours"]) == (of_the_advert if cue == "invite" else plain)


@pytest.mark.parametrize("colours", ["red,blue", "#0a7bd1", "#0a7bd1,#12b88"])
def test_what_is_no_pair_of_colours(colours: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["page", "--colours", colours])
    assert "is no pair of colours" in capsys.readouterr().err
