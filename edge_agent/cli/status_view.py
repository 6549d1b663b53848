"""The answer to `status` as lines for a person. Another version may have given it: what is missing is left out."""

from collections.abc import Iterator, Mapping
from typing import Any

from edge_agent.cli.render import ago
from edge_agent.sanitize import printable

Answer = Mapping[str, Any]


def text_of(value: object, limit: int = 160) -> str:
    """Write one value of the answer; nothing in it can move the cursor."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return printable(str(value), limit=limit)


def tables_in(answer: Answer, name: str) -> list[Answer]:
    """Return the list of tables under ``name``."""
    found = answer.get(name)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def facts(answer: Answer) -> Iterator[tuple[str, str]]:
    """Yield label and text of everything below the parts."""
    yield from _line("agent", _agent(answer))
    for reader in tables_in(answer, "readers"):
        yield from _line(f"reader {text_of(reader.get('name', '?'), 24)}", _reader(reader))
    for screen in tables_in(answer, "screens"):
        yield from _line(f"screen {text_of(screen.get('name', '?'), 24)}", _screen(screen))
    yield from _line("last tap", _last_tap(tables_in(answer, "taps")))
    yield from _line("outbox", _outbox(_table(answer, "outbox")))
    yield from _line("uplink", _uplink(_table(answer, "uplink")))


def _line(label: str, parts: Iterator[str]) -> Iterator[tuple[str, str]]:
    text = ", ".join(parts)
    if text:
        yield label, text


def _table(answer: Answer, name: str) -> Answer:
    found = answer.get(name)
    return found if isinstance(found, dict) else {}


def _number(table: Answer, name: str) -> float | None:
    value = table.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _agent(answer: Answer) -> Iterator[str]:
    if "version" in answer:
        yield f"version {text_of(answer['version'])}"
    if (up := _number(answer, "uptime_s")) is not None:
        yield f"up {ago(up)}"
    if "fleet" in answer:
        yield f"fleet {text_of(answer['fleet'])}"
    if answer.get("campaign"):
        yield f"campaign {text_of(answer['campaign'])}"
    if "kid" in answer:
        yield f"key {text_of(answer['kid'])}"
    if trust := _table(answer, "clock").get("trust"):
        yield f"clock {text_of(trust)}"


def _reader(reader: Answer) -> Iterator[str]:
    for name in ("state", "chip", "device"):
        if reader.get(name):
            yield text_of(reader[name])
    if (taps := _number(reader, "taps")) is not None:
        yield f"{taps:g} taps"
    if lost := _number(reader, "lost"):
        yield f"{lost:g} lost in the middle"
    if reopens := _number(reader, "reopens"):
        yield f"opened again {reopens:g} times"
    if reader.get("last_error"):
        yield f"last error: {text_of(reader['last_error'])}"


def _screen(screen: Answer) -> Iterator[str]:
    for name in ("state", "firmware", "detail"):
        if screen.get(name):
            yield text_of(screen[name])
    if screen.get("last_cue"):
        yield f"shows {text_of(screen['last_cue'])}"


def _last_tap(taps: list[Answer]) -> Iterator[str]:
    ages = [(age, tap) for tap in taps if (age := _number(tap, "age_s")) is not None]
    if not ages:
        return
    age, tap = min(ages, key=lambda item: item[0])
    yield f"{ago(age)} ago on {text_of(tap.get('reader', '?'))}"
    yield f"seq {text_of(tap.get('seq', '?'))}"
    if (kept := _number(_table(tap, "latency_ms"), "seen_to_committed")) is not None:
        yield f"kept {kept:.0f} ms after the phone was seen"


def _outbox(outbox: Answer) -> Iterator[str]:
    waiting = [_number(outbox, name) for name in ("pending", "leased")]
    if any(number is not None for number in waiting):
        yield f"{sum(number or 0 for number in waiting):g} waiting"
    for name, words in (("sent", "sent"), ("stored", "stored by the cloud"), ("parked", "refused for good")):
        if number := _number(outbox, name):
            yield f"{number:g} {words}"
    if (seq := _number(outbox, "next_seq")) is not None:
        yield f"next seq {seq:g}"
    if (size := _number(outbox, "bytes_on_disk")) is not None:
        yield f"{size / 1000:.0f} kB on disk"


def _uplink(uplink: Answer) -> Iterator[str]:
    if not uplink:
        return
    state = "connected" if uplink.get("up") is True else "not connected"
    since = _number(uplink, "since_s")
    yield f"{state} for {ago(since)}" if since is not None else state
    if "host" in uplink:
        secured = "TLS" if uplink.get("tls") is True else "no TLS"
        yield f"{text_of(uplink['host'])}:{text_of(uplink.get('port', '?'))} ({secured})"
    if uplink.get("up") is not True and uplink.get("text"):
        yield text_of(uplink["text"])
