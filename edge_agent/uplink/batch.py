"""The backlog payload ``evt/batch``: a CBOR sequence (RFC 8742) of tap tokens, at most 64 tokens and 16 KiB.

It finds where each token ends and looks no deeper: whether a token is good is the verifier's business.
"""

from collections.abc import Sequence

from edge_agent.strict_json import WireError

MAX_TOKENS = 64
MAX_BATCH_BYTES = 16 * 1024
# Contract, section 1: "at most 248 bytes, so that it fits one short APDU".
MAX_TOKEN_BYTES = 248
# RFC 9052, section 4.2: COSE_Sign1_Tagged = #6.18(COSE_Sign1), and COSE_Sign1 is an array of four.
COSE_SIGN1_HEAD = b"\xd2\x84"

_BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = 2, 3, 4, 5, 6, 7


def encode_batch(tokens: Sequence[bytes]) -> bytes:
    """Join tokens into one payload; raises WireError if there are none, too many or too large ones."""
    if not 1 <= len(tokens) <= MAX_TOKENS:
        raise WireError(f"{len(tokens)} tokens, 1 to {MAX_TOKENS} are allowed")
    for token in tokens:
        _check_token(token)
    payload = b"".join(tokens)
    if len(payload) > MAX_BATCH_BYTES:
        raise WireError(f"{len(payload)} bytes, at most {MAX_BATCH_BYTES} are allowed")
    return payload


def decode_batch(payload: bytes) -> list[bytes]:
    """Split a payload into its tokens, each a tagged COSE_Sign1; raises WireError."""
    if not 1 <= len(payload) <= MAX_BATCH_BYTES:
        raise WireError(f"{len(payload)} bytes, 1 to {MAX_BATCH_BYTES} are allowed")
    tokens: list[bytes] = []
    start = 0
    while start < len(payload):
        if len(tokens) == MAX_TOKENS:
            raise WireError(f"more than {MAX_TOKENS} tokens")
        end = _item_end(payload, start)
        token = payload[start:end]
        _check_token(token)
        tokens.append(token)
        start = end
    return tokens


def _check_token(token: bytes) -> None:
    if not token.startswith(COSE_SIGN1_HEAD):
        raise WireError("an item is no tagged COSE_Sign1")
    if len(token) > MAX_TOKEN_BYTES:
        raise WireError(f"a token has {len(token)} bytes, at most {MAX_TOKEN_BYTES} are allowed")


def _item_end(data: bytes, start: int) -> int:
    """Index after the item that starts at ``start``: counts what is still owed instead of recursing."""
    position, owed = start, 1
    while owed:
        # Every owed item takes a byte at least, so a forged count ends here and not in a long loop.
        if owed > len(data) - position:
            raise WireError("the CBOR sequence is cut short")
        major, argument, position = _head(data, position)
        owed -= 1
        if major in {_BYTES, _TEXT}:
            position += argument
        elif major == _ARRAY:
            owed += argument
        elif major == _MAP:
            owed += 2 * argument
        elif major == _TAG:
            owed += 1
    if position > len(data):
        raise WireError("the CBOR sequence is cut short")
    return position


def _head(data: bytes, position: int) -> tuple[int, int, int]:
    """Major type, argument and the index behind the head (RFC 8949, section 3)."""
    first = data[position]
    major, info = first >> 5, first & 0x1F
    position += 1
    if info < 24:
        return major, info, position
    if info > 27:
        raise WireError("reserved or indefinite length in the CBOR sequence")
    size = 1 << (info - 24)
    argument = data[position : position + size]
    if len(argument) < size:
        raise WireError("the CBOR sequence is cut short")
    return major, int.from_bytes(argument, "big"), position + size
