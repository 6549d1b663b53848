import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import TicketError
from edge_agent.simulation.type2_phone import parse_message
from edge_agent.tags.ndef_message import MAX_BYTES, ticket_message
from edge_agent.tags.ticket import TICKET_CHARS, link

CHARS = string.ascii_letters + string.digits + "-_"
HOST = "t.example.net"
APP = "net.example.tap"

hosts = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=45).map(lambda text: f"{text}.io")
packages = st.text(string.ascii_letters, min_size=1, max_size=61).map(lambda text: f"a.{text}")
texts = st.text(CHARS, min_size=TICKET_CHARS, max_size=TICKET_CHARS)


def test_the_sizes_are_those_of_the_configuration() -> None:
    url = link(HOST, "A" * TICKET_CHARS)
    assert len(ticket_message(url, None)) == 123 + len(HOST)
    assert len(ticket_message(url, APP)) == 123 + len(HOST) + 18 + len(APP)


@given(hosts, packages | st.none(), texts)
def test_an_independent_parser_reads_what_was_written_in_255_bytes(host: str, app: str | None, text: str) -> None:
    url = link(host, text)
    message = ticket_message(url, app)
    assert len(message) <= MAX_BYTES
    records = parse_message(message)
    assert (records[0].tnf, records[0].type, records[0].payload) == (1, b"U", b"\x04" + url[8:].encode())
    assert [(r.tnf, r.type, r.payload) for r in records[1:]] == ([(4, b"android.com:pkg", app.encode())] if app else [])


def test_a_host_that_begins_with_www_takes_the_shorter_prefix() -> None:
    records = parse_message(ticket_message(link("www.example.net", "A" * TICKET_CHARS), None))
    assert records[0].payload[:1] == b"\x02"


@pytest.mark.parametrize(
    ("url", "app", "text"),
    [
        ("https://t.example.net/k/" + "A" * 250, None, "255 at most"),
        ("https://t.ex\u00e4mple.net/k/A", None, "ASCII"),
        (link(HOST, "A" * TICKET_CHARS), "net.\u00e4.b", "ASCII"),
    ],
)
def test_what_does_not_fit_is_refused(url: str, app: str | None, text: str) -> None:
    with pytest.raises(TicketError, match=text):
        ticket_message(url, app)
