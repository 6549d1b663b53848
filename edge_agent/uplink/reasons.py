"""What the reason codes of CONNACK and DISCONNECT (MQTT 5, section 2.4) mean to a terminal: kind and words. Pure.

A busy broker, one that has moved and one that finds us too greedy each call for another remedy; none is a riddle.
"""

from edge_agent.uplink.base import DownReason

_REASONS = {
    # paho maps the codes 3, 4 and 5 of MQTT 3.1.1 to 0x88, 0x86 and 0x87.
    0x86: DownReason.AUTH,  # bad user name or password
    0x87: DownReason.AUTH,  # not authorised
    0x88: DownReason.BUSY,  # server unavailable
    0x89: DownReason.BUSY,  # server busy
    0x8A: DownReason.AUTH,  # banned
    0x8C: DownReason.AUTH,  # bad authentication method
    0x8E: DownReason.TAKEN_OVER,
    0x93: DownReason.LIMIT,  # receive maximum exceeded
    0x95: DownReason.LIMIT,  # packet too large
    0x96: DownReason.BUSY,  # message rate too high
    0x97: DownReason.BUSY,  # quota exceeded
    0x9C: DownReason.MOVED,  # use another server
    0x9D: DownReason.MOVED,  # server moved
    0x9F: DownReason.BUSY,  # connection rate exceeded
}


def reason_of(code: int) -> DownReason:
    """What kind of end a code of CONNACK or DISCONNECT is."""
    return _REASONS.get(code, DownReason.BROKER)


def words_of(name: str, code: int, *, why: str = "", elsewhere: str = "") -> str:
    """One line: the code's name, the peer's Reason String and Server Reference (both made printable by the caller)."""
    parts = [f"{name} ({code})", why, f"it names {elsewhere}" if elsewhere else ""]
    return ", ".join(part for part in parts if part)
