"""``page``: the web page for designers."""

import signal
import urllib.request

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
