"""JSON Schemas (draft 2020-12) of every JSON payload and output of the contract.

Unknown members are allowed and ignored everywhere, so that version 1 can grow; known ones are exact.
"""

from typing import Any

from edge_agent import show_command

Schema = dict[str, Any]

_UNIX_MAX = 2**40
_SEQ_MAX = 2**64 - 1
_LINE = r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$"
_WORD: Schema = {"type": "string", "pattern": "^[a-z][a-z0-9_-]{0,31}$"}
_NAME: Schema = {"type": "string", "pattern": "^[a-z0-9-]{1,24}$"}
_STATE_WORDS = ["online", "lost", "stopped"]
_STATUS_WORDS = ["done", "failed", "refused", "unsupported"]
VERDICTS = [
    "fresh",
    "late",
    "expired",
    "duplicate",
    "conflict",
    "bad_signature",
    "unknown_key",
    "revoked_key",
    "wrong_stream",
    "clock_suspect",
    "malformed",
]


def _hex(size: int, about: str) -> Schema:
    return {"type": "string", "pattern": f"^[0-9a-f]{{{2 * size}}}$", "description": about}


def _int(low: int, high: int, about: str) -> Schema:
    return {"type": "integer", "minimum": low, "maximum": high, "description": about}


def _line(longest: int, about: str, *, shortest: int = 1) -> Schema:
    return {
        "type": "string",
        "minLength": shortest,
        "maxLength": longest,
        "pattern": _LINE,
        "description": about,
    }


def _word(about: str) -> Schema:
    return {**_WORD, "description": about}


def _states(about: str) -> Schema:
    return {"type": "object", "additionalProperties": _line(64, "state"), "description": about}


def _object(about: str, properties: Schema, *, optional: tuple[str, ...] = ()) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"description": about, "type": "object", "required": required, "properties": properties}


_CHAIN = _hex(8, "Chain id: new with each outbox database.")
_AT = _int(0, _UNIX_MAX, "Unix seconds.")


def _ack() -> Schema:
    seq = _int(1, _SEQ_MAX, "A seq.")
    pair = {"type": "array", "items": seq, "minItems": 2, "maxItems": 2}
    return _object(
        "What the receiver has STORED: every seq of the chain up to through, but those in missing.",
        {
            "chain": _CHAIN,
            "through": _int(0, _SEQ_MAX, "0: nothing yet."),
            "missing": {
                "type": "array",
                "items": pair,
                "maxItems": 64,
                "description": "Inclusive ranges [first, last], ascending, within 1 and through.",
            },
            "at": _int(0, _UNIX_MAX, "The receiver's time when it said so, Unix seconds."),
        },
        optional=("at",),
    )


def _result() -> Schema:
    return _object(
        "What became of one tap, for the screen.",
        {
            "cti": _hex(16, "The tap: chain id and seq."),
            "outcome": _word("Stable word of the reward service."),
            "text": _line(160, "Shown to the person."),
            "amount": _int(0, 10**9, "In the smallest unit of what is rewarded."),
        },
        optional=("text", "amount"),
    )


def _state() -> Schema:
    return _object(
        "Retained presence of a terminal; lost is said by the broker (the will), with the same session.",
        {
            "state": {"enum": _STATE_WORDS},
            "session": _hex(8, "New with each connection."),
            "version": _line(64, "Version of the agent."),
            "contract": _int(1, 255, "Version of this contract: 1."),
            "kid": _hex(8, "The signing key."),
            "chain": _CHAIN,
            "next_seq": _int(1, _SEQ_MAX, "The seq that the next tap will get."),
            "config": _line(64, "Fingerprint of the configuration.", shortest=0),
            "screens": _states("Component state by screen."),
            "readers": _states("Component state by reader."),
            "at": _AT,
            "restart": _line(200, "Why the agent restarted itself the last time: told once."),
        },
        optional=("restart",),
    )


def _alarm() -> Schema:
    return _object(
        "Something that a technician must know.",
        {
            "code": _word("Stable."),
            "text": _line(512, "For people."),
            "at": _AT,
            "data": {"type": "object", "description": "Depends on the code."},
        },
    )


def _health() -> Schema:
    return _object(
        "Telemetry, at most 1024 bytes.",
        {
            "at": _AT,
            "up": _int(0, _UNIX_MAX, "Seconds since boot."),
            "components": _states("State by component."),
            "figures": {
                "type": "object",
                "additionalProperties": {"type": "number"},
                "description": "By name; the unit is part of the name.",
            },
        },
    )


def _command() -> Schema:
    return _object(
        "An order to a terminal; its name is the last level of the topic.",
        {
            "id": _line(64, "The same id is not run twice."),
            "exp": _int(0, _UNIX_MAX, "Unix seconds: void afterwards."),
            "args": {"type": "object", "description": "Depends on the command."},
        },
    )


def _resend_args() -> Schema:
    return _object(
        "args of cmd/resend: publish the rows from to to again, and the gap records about them.",
        {
            "chain": _CHAIN,
            "from": _int(1, _SEQ_MAX, "First seq."),
            "to": _int(1, _SEQ_MAX, "Last seq, included; not before from."),
        },
    )


def _show_args() -> Schema:
    resting: Schema = {"properties": {"cue": {"const": "resting"}}, "required": ["cue"]}
    made = _object(
        "args of cmd/show: a cue, a level, or both. text and amount are never shown by command.",
        {
            "cue": {"enum": [cue.value for cue in show_command.CUES], "description": "identify has a time of its own."},
            "level": _int(show_command.LOWEST_LEVEL, show_command.HIGHEST_LEVEL, "Brightness in percent."),
            "for_s": _int(1, show_command.LONGEST_S, "Seconds that resting and the level hold."),
        },
        optional=("cue", "level", "for_s"),
    )
    return {
        **made,
        "anyOf": [{"required": ["cue"]}, {"required": ["level"]}],
        "dependentRequired": {"level": ["for_s"]},
        "if": resting,
        "then": {"required": ["for_s"]},
        "else": {"dependentRequired": {"for_s": ["level"]}},
        "not": {"anyOf": [{"required": ["text"]}, {"required": ["amount"]}]},
    }


def _response() -> Schema:
    return _object(
        "The one final answer to a command.",
        {
            "id": _line(64, "Of the command."),
            "status": {"enum": _STATUS_WORDS},
            "code": _word("Stable."),
            "detail": _line(512, "For people.", shortest=0),
        },
    )


def _keys_show() -> Schema:
    return _object(
        "What `edge-agent keys show --json` prints.",
        {
            "kid": _hex(8, "First 8 bytes of the SHA-256 COSE Key Thumbprint (RFC 9679)."),
            "alg": {"enum": ["EdDSA", "ES256"]},
            "public_jwk": {
                "type": "object",
                "required": ["kty", "crv", "x", "kid", "alg"],
                "properties": {"kty": {"enum": ["OKP", "EC"]}, "crv": {"enum": ["Ed25519", "P-256"]}},
                "not": {"required": ["d"]},
                "description": "RFC 7517, RFC 8037; never with a private part.",
            },
            "public_cose_hex": {
                "type": "string",
                "pattern": "^([0-9a-f]{2}){40,256}$",
                "description": "COSE_Key with kty, kid, alg, crv, x (and y).",
            },
        },
    )


def _key_registry() -> Schema:
    seconds = _int(0, _UNIX_MAX - 1, "Unix seconds.")
    maybe = {"anyOf": [seconds, {"type": "null"}], "default": None}
    entry = _object(
        "One key.",
        {
            "kid": _hex(8, "Must be the key's thumbprint."),
            "alg": {"enum": ["EdDSA", "ES256"]},
            "public_cose_hex": {"type": "string", "pattern": "^([0-9a-f]{2}){40,256}$"},
            "fleet": _NAME,
            "terminal": _NAME,
            "valid_from": {**seconds, "default": 0},
            "valid_to": maybe,
            "revoked_at": maybe,
        },
        optional=("valid_from", "valid_to", "revoked_at"),
    )
    entry["additionalProperties"] = False
    made = _object(
        "The receiver's key registry (`edge-agent receive`).",
        {"version": {"const": 1}, "keys": {"type": "array", "items": entry}},
    )
    return {**made, "additionalProperties": False}


def _enrol_request() -> Schema:
    proof = "Signature over tap-enrol/v1, 00 and the CBOR array [id, created, serial, csr, COSE_Key]."
    key = {"alg": {"const": "EdDSA"}, "public_cose_hex": {"type": "string", "pattern": "^([0-9a-f]{2}){40,256}$"}}
    return _object(
        "A terminal asks for a certificate and for its signing key to be registered (`edge-agent enrol`).",
        {
            "format": {"const": "tap-enrol-request/1"},
            "id": _hex(8, "The same until the request is answered."),
            "terminal": _NAME,
            "fleet": _NAME,
            "serial": _line(64, "Serial number of the board, or empty.", shortest=0),
            "created": _int(0, _UNIX_MAX, "Unix seconds, by a clock that may not be set."),
            "csr": {
                "type": "string",
                "contentEncoding": "base64",
                "maxLength": 2048,
                "description": "PKCS#10 in DER: P-256, subject O=fleet, CN=terminal, no extensions.",
            },
            "tap_key": _object("The signing key.", {"kid": _hex(8, "Its thumbprint."), **key}),
            "proof": _hex(64, f"{proof} By the signing key."),
            "previous": _object(
                "Only where the signing key changes: the one before vouches for the new one.",
                {"kid": _hex(8, "The key before."), "proof": _hex(64, "As above, by that key.")},
            ),
        },
        optional=("previous",),
    )


def _enrol_answer() -> Schema:
    pem = {"type": "string", "minLength": 1, "maxLength": 12 * 1024}
    given = _object(
        "Taken into the fleet.",
        {
            "terminal": _NAME,
            "fleet": _NAME,
            "certificate": {**pem, "description": "PEM: the terminal's, then what leads to an authority of ca."},
            "ca": {**pem, "description": "PEM: the authorities of the broker's and the terminal's certificate."},
            "host": {"type": "string", "minLength": 1, "maxLength": 253},
            "port": _int(1, 65_535, "Of the broker, with TLS."),
            "tap_kids": {
                "type": "array",
                "maxItems": 16,
                "items": _hex(8, "A signing key of this terminal that the registry holds."),
            },
        },
    )
    refused = _object("Not taken.", {"refused": _word("Stable."), "text": _line(512, "For people.")})
    head = {"format": {"const": "tap-enrol-answer/1"}, "id": _hex(8, "Of the request.")}
    return {**_object("The fleet's answer to an enrol-request.", head), "oneOf": [given, refused]}


def _demo_summary() -> Schema:
    number = {"type": "number", "minimum": 0}
    spread = {"type": "object", "required": ["p50", "p99"], "properties": {"p50": number, "p99": number}}
    steps = ("seen_to_reading_cue", "seen_to_committed", "seen_to_puback", "seen_to_stored")
    return _object(
        "The last line of `edge-agent demo --taps N --json`.",
        {
            "taps": _int(0, _SEQ_MAX, "Taps made."),
            "stored": _int(0, _SEQ_MAX, "Taps in the ledger."),
            "verdicts": {
                "type": "object",
                "propertyNames": {"enum": VERDICTS},
                "additionalProperties": _int(0, _SEQ_MAX, "How many."),
            },
            "latency_ms": {"type": "object", "required": list(steps), "properties": dict.fromkeys(steps, spread)},
        },
    )


def all_schemas() -> dict[str, Schema]:
    """Return every schema by its name; the file is ``schemas/{name}.schema.json``."""
    made = {
        "ack": _ack(),
        "result": _result(),
        "state": _state(),
        "alarm": _alarm(),
        "health": _health(),
        "command": _command(),
        "resend-args": _resend_args(),
        "show-args": _show_args(),
        "response": _response(),
        "keys-show": _keys_show(),
        "key-registry": _key_registry(),
        "enrol-request": _enrol_request(),
        "enrol-answer": _enrol_answer(),
        "demo-summary": _demo_summary(),
    }
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {name: {**head, "$id": f"urn:tap:v1:{name}", "title": name, **schema} for name, schema in made.items()}
