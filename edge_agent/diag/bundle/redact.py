"""The last gate of a support archive: hides what is named like a secret and what looks like one. Pure.

It is told nothing of the secrets themselves: no key, password or token file is ever read for a report. What no pattern
can know, a card's id of four bytes written without joints, is hidden by its name alone.
"""

import json
import re
from collections.abc import Mapping
from functools import lru_cache

from edge_agent.redaction import REDACTED, TICKET, names_a_secret

_PEM = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_USER_INFO = re.compile(r"(?<=://)([^\s/:@]{1,256}):[^\s/@]{1,256}@")
# "name = value", "name: value", "--password value"; the value may be in quotes, and stand in JSON that is no line.
_NAMED = re.compile(
    r"""(?ix) (?P<name> [\w.-]{0,40} (?: passw(?:or)?d | passphrase | secret | psk | token | credential(?!s?:\S)
        | private | nonce | authorization | cookie | pseudonym | (?<![a-z]) (?:uid|jwk|pem|pin|key|ticket) (?![a-z]) )
        [\w.-]{0,40} )
        (?P<joint> \\? ["']? \s* [=:] \s* | (?<=\S) [ ] (?=[^\s=:-]) )
        (?P<value> (?:bearer|basic) \s+ \S+ | \\? "(?:[^"\\]|\\.)*" | '[^']*' | [^\s,;}\]]+ )"""
)
_BYTES_REPR = re.compile(r"""b(?:'[^'\n]*\\x[^'\n]*'|"[^"\n]*\\x[^"\n]*")|(?:\\{1,2}x[0-9A-Fa-f]{2}){4,}""")
# A card's id has 4, 7 or 10 bytes, a nonce 16, a key 32; a MAC address has 6, a key id or chain 8.
_JOINED = re.compile(r"(?<![0-9A-Za-z_])(?:0x)?(?:[0-9A-Fa-f]{14}|[0-9A-Fa-f]{20}|[0-9A-Fa-f]{32,})(?![0-9A-Za-z_])")
_PAIRS = re.compile(
    r"(?<![0-9A-Za-z_:.-])[0-9A-Fa-f]{2}(?P<by>[: -])[0-9A-Fa-f]{2}(?:(?P=by)[0-9A-Fa-f]{2})+(?![0-9A-Za-z_])"
)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{40,}={0,2}")
_TURN = re.compile(r"(?<=[a-z])[A-Z]|(?<=[A-Z])[a-z]")
# Too short for any of these, and most of a log: it saves half of the time.
_HARMLESS = re.compile(r"[A-Za-z_ ]{0,13}")
_PLACES = ("/dev/", "/etc/", "/var/", "/run/", "/usr/", "/sys/", "/proc/", "/home/", "/opt/", "/lib/")
_DEEPEST = 16
_PATH = re.compile(r"""['"]?(?:/[^\s'"]*|credential:[\w.-]+)['"]?""")
"""Where a secret is: a file, or a credential of systemd."""


def redact_text(text: str) -> str:
    """Return ``text`` without what looks like a secret, whatever it is part of."""
    if _HARMLESS.fullmatch(text):
        return text
    text = _PEM.sub(REDACTED, text)
    text = TICKET.sub(REDACTED, text)
    text = _USER_INFO.sub(rf"\1:{REDACTED}@", text)
    text = _NAMED.sub(_named, text)
    text = _BYTES_REPR.sub(REDACTED, text)
    text = _JOINED.sub(REDACTED, text)
    text = _PAIRS.sub(_pairs, text)
    return _BASE64.sub(_base64, text)


def redact_value(value: object, name: str = "", depth: int = 0, *, secret: bool = False) -> object:
    """Return what JSON can hold, with every text gone through, and gone altogether under a name of a secret.

    Numbers, booleans and paths stay: they are counts and places.
    """
    secret = secret or names_a_secret(name)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return REDACTED if secret and value and not _is_path(value) else redact_text(value)
    if isinstance(value, Mapping) and depth < _DEEPEST:
        told = {str(key): redact_value(item, str(key), depth + 1, secret=secret) for key, item in value.items()}
        return {_key(key): item for key, item in told.items()}
    bytes_as_numbers = secret and isinstance(value, list | tuple) and any(isinstance(item, int) for item in value)
    if isinstance(value, list | tuple) and depth < _DEEPEST and not bytes_as_numbers:
        return [redact_value(item, "", depth + 1, secret=secret) for item in value]
    return REDACTED


@lru_cache(1024)
def _key(name: str) -> str:
    """A name, of which there are few: the same ones on every line."""
    return redact_text(name)


def redact_line(line: str) -> str:
    """Return one line of a log; one that is a JSON object is gone through by its names."""
    if line.startswith("{"):
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict):
            return json.dumps(redact_value(found), ensure_ascii=False)
    return redact_text(line)


def redact_toml(text: str) -> str:
    """Return the text of a configuration, line for line: comments are left out, what is named like a secret is hidden.

    Where a comment stood, and where the further lines of a long value stood, an empty one stands: numbers keep.
    """
    out: list[str] = []
    until = ""
    for line in _PEM.sub(lambda found: REDACTED + "\n" * found[0].count("\n"), text).splitlines():
        if until:
            until = "" if until in line else until
            out.append("")
            continue
        stripped = line.strip()
        assigned = re.match(r"\s*([\w.\"' -]+?)\s*=\s*(.*)", line)
        if stripped.startswith("#"):
            out.append("#")
        elif assigned and names_a_secret(assigned[1]) and not _harmless(assigned[2]):
            out.append(f'{assigned[1]} = "{REDACTED}"')
            until = _opened(assigned[2])
        else:
            out.append(redact_text(line))
    return "\n".join(out) + "\n"


def _harmless(value: str) -> bool:
    """A path, a number, a truth value; with or without a comment behind it."""
    return (
        re.fullmatch(
            r"""(?:"(?:/|credential:)[^\s"\\]*"|'(?:/|credential:)[^\s']*'|[0-9_]{1,12}|true|false)\s*(?:\#.*)?""",
            value,
        )
        is not None
    )


def _opened(value: str) -> str:
    """What ends a value that goes on in further lines; empty where this line is all of it."""
    for mark in ('"""', "'''"):
        if value.startswith(mark):
            return "" if mark in value[3:] else mark
    return "]" if value.startswith("[") and "]" not in value else ""


def _is_path(value: str) -> bool:
    return _PATH.fullmatch(value) is not None


def _named(found: re.Match[str]) -> str:
    value = found["value"]
    if _is_path(value) or re.fullmatch(
        r"[\"']?[0-9]{1,10}[\"']?(?:\([\w.-]*\))?|true|false|null|none", value, re.IGNORECASE
    ):
        return found[0]
    if found["joint"] == " " and not found["name"].startswith("-"):
        return found[0]  # "the password was refused" is a sentence
    return f"{found['name']}{found['joint']}{REDACTED}"


def _pairs(found: re.Match[str]) -> str:
    count = (len(found[0]) + 1) // 3
    spaced = found["by"] == " "
    hidden = count in {7, 10} or count >= 16 or (count == 4 and not spaced)
    return REDACTED if hidden else found[0]


def _base64(found: re.Match[str]) -> str:
    """Random characters change between large and small letters all the time; names and paths do not."""
    text = found[0]
    letters = re.sub(r"[^A-Za-z]", "", text)
    turns = len(_TURN.findall(letters))
    odd = turns >= 7 and turns >= len(letters) / 5 and len(re.findall(r"[0-9]", text)) >= 1
    return REDACTED if odd and not text.startswith(_PLACES) else text
