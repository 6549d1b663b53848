"""The answer to `status` as lines for a person. Another version may have given it: what is missing is left out."""

from collections.abc import Iterator, Mapping
from typing import Any

from edge_agent.cli.render import ago
from edge_agent.sanitize import printable

Answer = Mapping[str, Any]

_MOST = 1e15
HOT_C = 70
"""A display of consumer parts is specified up to here."""


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
    if answer.get("restarted_because"):
        yield "restarted", text_of(answer["restarted_because"], 200)
    for reader in tables_in(answer, "readers"):
        yield from _line(f"reader {text_of(reader.get('name', '?'), 24)}", _reader(reader))
    for tag in tables_in(answer, "tags"):
        yield from _line(f"tag {text_of(tag.get('name', '?'), 24)}", _tag(tag))
    for screen in tables_in(answer, "screens"):
        yield from _line(f"screen {text_of(screen.get('name', '?'), 24)}", _screen(screen))
    yield from _line("last tap", _last_tap(tables_in(answer, "taps")))
    yield from _line("refused", _refused(_table(answer, "limits")))
    outbox, uplink = _table(answer, "outbox"), _table(answer, "uplink")
    yield from _line("outbox", _outbox(outbox))
    if outbox.get("fault"):
        yield "taps", f"cannot be kept: {text_of(outbox['fault'])}"
    yield from _line("set aside", _set_aside(outbox))
    yield from _line("uplink", _uplink(uplink))
    if uplink.get("identity"):
        yield "identity", text_of(uplink["identity"], 200)


def _line(label: str, parts: Iterator[str]) -> Iterator[tuple[str, str]]:
    text = ", ".join(parts)
    if text:
        yield label, text


def _table(answer: Answer, name: str) -> Answer:
    found = answer.get(name)
    return found if isinstance(found, dict) else {}


def _number(table: Answer, name: str) -> float | None:
    value = table.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return value if -_MOST < value < _MOST else None  # NaN is in no order, and falls out


def _agent(answer: Answer) -> Iterator[str]:
    if "version" in answer:
        yield f"version {text_of(answer['version'])}"
    if (up := _number(answer, "uptime_s")) is not None:
        yield f"up {ago(up)}"
    if "fleet" in answer:
        yield f"fleet {text_of(answer['fleet'])}"
    if (showing := _table(answer, "now_playing")).get("campaign"):
        yield f"campaign {text_of(showing['campaign'])} ({_who_told(showing)})"
    if "kid" in answer:
        yield f"key {text_of(answer['kid'])}"
    if trust := _table(answer, "clock").get("trust"):
        yield f"clock {text_of(trust)}"


def _who_told(showing: Answer) -> str:
    source, left_s = text_of(showing.get("source") or ""), _number(showing, "left_s")
    return source if left_s is None else f"{source}, for {ago(left_s)}"


def _reader(reader: Answer) -> Iterator[str]:
    for name in ("state", "chip", "device"):
        if reader.get(name):
            yield text_of(reader[name])
    if (taps := _number(reader, "taps")) is not None:
        yield f"{taps:,.0f} taps"
    if lost := _number(reader, "lost"):
        yield f"{lost:,.0f} lost in the middle"
    if reopens := _number(reader, "reopens"):
        yield f"opened again {reopens:,.0f} times"
    if reader.get("last_error"):
        yield f"last error: {text_of(reader['last_error'])}"
    if reader.get("recovery"):
        yield f"tried last: {text_of(reader['recovery'])}"


def _tag(tag: Answer) -> Iterator[str]:
    for name in ("state", "chip", "device"):
        if tag.get(name):
            yield text_of(tag[name])
    if (taps := _number(tag, "taps")) is not None:
        yield f"{taps:,.0f} taps"
    if strays := _number(tag, "strays"):
        yield f"{strays:,.0f} reads of unknown tickets"
    if (shown := _number(tag, "rotations")) is not None:
        yield f"{shown:,.0f} tickets shown"
    if reopens := _number(tag, "reopens"):
        yield f"opened again {reopens:,.0f} times"
    if tag.get("last_error"):
        yield f"last error: {text_of(tag['last_error'])}"


def _screen(screen: Answer) -> Iterator[str]:
    for name in ("state", "firmware", "detail"):
        if screen.get(name):
            yield text_of(screen[name])
    if screen.get("last_cue"):
        yield f"shows {text_of(screen['last_cue'])}"
    if (rtt := _number(screen, "rtt_ms")) is not None:
        yield f"answers in {rtt:.1f} ms"
    if (heard := _number(screen, "heard_s")) is not None and screen.get("state") == "down":
        yield f"last heard {ago(heard)} ago"
    yield from _screen_trouble(screen)


def _times(count: float) -> str:
    return "once" if count == 1 else f"{count:,.0f} times"


def _screen_trouble(screen: Answer) -> Iterator[str]:
    """What somebody at the display should look at; nothing while all is well."""
    if faults := _number(screen, "faults"):
        yield f"its own fault bits {int(faults):#06x}"
    if (temperature := _number(screen, "temperature_c")) is not None and temperature >= HOT_C:
        yield f"hot: {temperature:.0f} °C"
    if tampers := _number(screen, "tampers"):
        yield f"tampered with {_times(tampers)}"
    if resets := _number(screen, "resets"):
        yield f"restarted by itself {_times(resets)}"
    if refused := _number(screen, "refused"):
        yield f"refused {refused:,.0f} messages"
    if crashes := _number(screen, "crashes"):
        yield f"our own program failed on it {_times(crashes)}: see the log"
    if (opened := _number(screen, "opened")) is not None and opened > 1:
        yield f"came back {_times(opened - 1)}"


def _last_tap(taps: list[Answer]) -> Iterator[str]:
    ages = [(age, tap) for tap in taps if (age := _number(tap, "age_s")) is not None]
    if not ages:
        return
    age, tap = min(ages, key=lambda item: item[0])
    yield f"{ago(age)} ago on {text_of(tap.get('reader', '?'))}"
    yield f"seq {text_of(tap.get('seq', '?'))}"
    if (kept := _number(_table(tap, "latency_ms"), "seen_to_committed")) is not None:
        yield f"kept {kept:.0f} ms after the phone was seen"


def _refused(limits: Answer) -> Iterator[str]:
    if limits.get("resting") is True:
        yield "takes none for a moment: more came than the limits allow"
    counts = _table(limits, "refused")
    if cooling := _number(counts, "cooling"):
        yield f"{cooling:,.0f} too soon after the last of the same phone"
    if flood := _number(counts, "flood"):
        yield f"{flood:,.0f} beyond taps_per_minute"


def _outbox(outbox: Answer) -> Iterator[str]:
    waiting = [_number(outbox, name) for name in ("pending", "leased")]
    if any(number is not None for number in waiting):
        yield f"{sum(number or 0 for number in waiting):,.0f} waiting"
    for name, words in (("sent", "sent"), ("stored", "stored by the cloud"), ("parked", "refused for good")):
        if number := _number(outbox, name):
            yield f"{number:,.0f} {words}"
    if evicted := _number(outbox, "evicted"):
        yield f"{evicted:,.0f} given up undelivered"
    if gaps := _number(outbox, "gaps"):
        yield f"{gaps:,.0f} gap records not confirmed"
    if (seq := _number(outbox, "next_seq")) is not None:
        yield f"next seq {seq:,.0f}"
    if (size := _number(outbox, "bytes_on_disk")) is not None:
        yield f"{size / 1000:.0f} kB on disk"


def _set_aside(outbox: Answer) -> Iterator[str]:
    names = outbox.get("quarantined")
    if isinstance(names, list) and names:
        yield ", ".join(text_of(name) for name in names)
    if outbox.get("salvaging") is True:
        yield "its rows are being taken over"


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
