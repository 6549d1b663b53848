"""Renders CBOR as an annotated hex listing for the documentation: what a reader sees in a dump, explained."""

from collections.abc import Mapping

from edge_agent.tokens import cbor

_WIDTH = 62
_LABELS: Mapping[str, Mapping[int, str]] = {
    "header": {1: "alg", 4: "kid"},
    "claims": {1: "iss", 4: "exp", 6: "iat", 7: "cti: chain id, seq", 10: "eat_nonce", -65537: "tap"},
    "tap": {
        1: "prev",
        2: "mode",
        3: "clk",
        4: "boot",
        5: "up",
        6: "campaign",
        7: "sub",
        8: "rtt",
        9: "wtx",
        10: "test",
    },
}


def sign1(token: bytes) -> str:
    """Return the listing of a whole tap token."""
    outer = cbor.decode(token, len(token))
    assert isinstance(outer, cbor.Tagged)  # noqa: S101 - generator input is our own
    assert isinstance(outer.value, list)  # noqa: S101 - as above
    protected, _, payload, signature = outer.value
    header, claims = cbor.decode(protected, 64), cbor.decode(payload, 248)
    lines = [
        _line(0, b"\xd2", "tag 18: COSE_Sign1"),
        _line(0, b"\x84", "array of 4"),
        _line(1, cbor.bstr(protected)[: -len(protected)], f"protected header, {len(protected)} bytes"),
        *_map(2, header, "header"),
        _line(1, b"\xa0", "unprotected header: empty"),
        _line(1, cbor.bstr(payload)[: -len(payload)], f"payload, {len(payload)} bytes"),
        *_map(2, claims, "claims"),
        _line(1, cbor.bstr(signature)[:2], "signature, 64 bytes"),
        *(_line(2, signature[at : at + 16], "") for at in range(0, 64, 16)),
    ]
    return "\n".join(line.rstrip() for line in lines)


def _map(depth: int, value: object, kind: str) -> list[str]:
    assert isinstance(value, dict)  # noqa: S101 - generator input is our own
    lines = [_line(depth, bytes((0xA0 | len(value),)), f"map of {len(value)}")]
    for key, inner in value.items():
        label = f"{key}: {_LABELS[kind][key]}"
        if isinstance(inner, dict):
            lines.append(_line(depth + 1, cbor.encode(key), label))
            lines += _map(depth + 2, inner, "tap")
        else:
            shown = "" if isinstance(inner, bytes) else f" = {inner!r}".replace("'", '"')
            lines.append(_line(depth + 1, cbor.encode(key) + cbor.encode(inner), f"{label}{shown}"))
    return lines


def _line(depth: int, data: bytes, about: str) -> str:
    indent = "  " * depth
    text = data.hex(" ")
    room = _WIDTH - len(indent)
    if len(text) <= room:
        return f"{indent}{text:<{room}}  {about}"
    return f"{indent}{text}\n{'':<{_WIDTH}}  {about}" if about else f"{indent}{text}"


def apdu(data: bytes) -> str:
    """Return an APDU in hex, 24 bytes a line."""
    return "\n".join(data[at : at + 24].hex(" ").upper() for at in range(0, len(data), 24))
