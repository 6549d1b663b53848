"""Vectors for the exchange with the phone (contract, section 2): commands, answers, outcome and cue."""

from dataclasses import dataclass, field
from typing import Any

from edge_agent.contract.samples import AID, PHONE_NONCE, SUB
from edge_agent.contract.token_cases import sealed

OTHER_AID = bytes.fromhex("f0544150454447450a")
"""A second, configured AID: tried when the first one is answered with 6A82."""
RECEIPT = b"R-2026-09-21-000042"


def tlv(tag: int, *values: bytes) -> bytes:
    """Return a BER-TLV data object with a one-byte tag (ISO/IEC 7816-4, 5.2.2)."""
    value = b"".join(values)
    length = bytes((len(value),)) if len(value) < 0x80 else bytes((0x81, len(value)))
    return bytes((tag,)) + length + value


def select(aid: bytes) -> bytes:
    """Return SELECT by DF name."""
    return b"\x00\xa4\x04\x00" + bytes((len(aid),)) + aid + b"\x00"


def deliver(token: bytes) -> bytes:
    """Return the command that brings the token."""
    return b"\x80\x54\x00\x00" + bytes((len(token),)) + token + b"\x00"


def fci(*inner: bytes, aid: bytes = AID) -> bytes:
    """Return the answer to SELECT with these objects in A5, and 9000."""
    return tlv(0x6F, tlv(0x84, aid), tlv(0xA5, *inner)) + OK


OK = b"\x90\x00"
VERSION, NONCE, SUBJECT, ABILITIES = tlv(0x80, b"\x01"), tlv(0x81, PHONE_NONCE), tlv(0x85, SUB), tlv(0x82, b"\x00")
FULL = fci(VERSION, NONCE, SUBJECT, ABILITIES)
TOKEN = sealed()


@dataclass(frozen=True, slots=True)
class Transcript:
    """One exchange: (command, answer) in order, what is issued after SELECT, how it ended and the last cue.

    An answer of None: the phone left the field.
    """

    name: str
    about: str
    steps: tuple[tuple[bytes, bytes | None], ...]
    outcome: str
    cue: str
    nonce: bytes | None = None
    sub: bytes | None = None
    aids: tuple[bytes, ...] = field(default=(AID,))


def transcripts() -> list[Transcript]:
    """Return all exchanges."""
    return [*_accepted(), *_token_refused(), *_not_ours(), *_bad_answers()]


def document() -> dict[str, Any]:
    """Return the vector file."""
    return {
        "about": "Exchanges between terminal and phone app. After the answer to SELECT the terminal signs and commits "
        "a tap with this nonce and sub; token_hex stands for what it committed. A null answer: the phone left.",
        "aid": AID.hex(),
        "token_hex": TOKEN.hex(),
        "transcripts": [
            {
                "name": one.name,
                "about": one.about,
                "aids": [aid.hex() for aid in one.aids],
                "steps": [
                    {"command_hex": command.hex(), "answer_hex": None if answer is None else answer.hex()}
                    for command, answer in one.steps
                ],
                "issued": None
                if one.nonce is None
                else {"nonce": one.nonce.hex(), "sub": None if one.sub is None else one.sub.hex()},
                "outcome": one.outcome,
                "cue": one.cue,
            }
            for one in transcripts()
        ],
    }


def _both(answer: bytes | None) -> tuple[tuple[bytes, bytes | None], ...]:
    return ((select(AID), FULL), (deliver(TOKEN), answer))


def _accepted() -> list[Transcript]:
    bare = fci(VERSION, tlv(0x81, bytes(range(8))))
    later = fci(VERSION, tlv(0x9E, b"later"), NONCE, SUBJECT)
    second = ((select(AID), b"\x6a\x82"), (select(OTHER_AID), fci(VERSION, NONCE, aid=OTHER_AID)), (deliver(TOKEN), OK))
    ids: dict[str, Any] = {"nonce": PHONE_NONCE, "sub": SUB}
    return [
        Transcript("accepted", "the usual tap", _both(OK), "accepted", "thanks", **ids),
        Transcript(
            "accepted-with-receipt",
            "the app answers with a receipt of at most 32 bytes",
            _both(tlv(0x86, RECEIPT) + OK),
            "accepted",
            "thanks",
            **ids,
        ),
        Transcript(
            "accepted-without-optional-objects",
            "version and a nonce of 8 bytes are enough",
            ((select(AID), bare), (deliver(TOKEN), OK)),
            "accepted",
            "thanks",
            nonce=bytes(range(8)),
        ),
        Transcript(
            "unknown-object-is-skipped",
            "a later version of the app may say more",
            ((select(AID), later), (deliver(TOKEN), OK)),
            "accepted",
            "thanks",
            **ids,
        ),
        Transcript(
            "second-aid",
            "the first AID is not there, the second one is",
            second,
            "accepted",
            "thanks",
            nonce=PHONE_NONCE,
            aids=(AID, OTHER_AID),
        ),
    ]


def _token_refused() -> list[Transcript]:
    ids: dict[str, Any] = {"nonce": PHONE_NONCE, "sub": SUB}
    return [
        Transcript("locked-at-token", "the tap is committed", _both(b"\x69\x85"), "locked", "unlock", **ids),
        Transcript("refused-at-token", "the tap is committed", _both(b"\x6f\x00"), "unconfirmed", "retry", **ids),
        Transcript("left-after-commit", "the tap counts; hold longer", _both(None), "unconfirmed", "retry", **ids),
    ]


def _not_ours() -> list[Transcript]:
    return [
        Transcript(name, about, ((select(AID), sw),), outcome, cue)
        for name, about, sw, outcome, cue in (
            ("locked-6985", "conditions of use not satisfied", b"\x69\x85", "locked", "unlock"),
            ("locked-6982", "security status not satisfied", b"\x69\x82", "locked", "unlock"),
            ("no-app", "no application with this AID", b"\x6a\x82", "no_app", "invite"),
            ("foreign-6f00", "no precise diagnosis", b"\x6f\x00", "foreign", "invite"),
            ("foreign-6d00", "instruction not supported", b"\x6d\x00", "foreign", "invite"),
            ("foreign-6e00", "class not supported", b"\x6e\x00", "foreign", "invite"),
            ("left-before-commit", "nothing was issued", None, "lost", "retry"),
        )
    ]


def _bad_answers() -> list[Transcript]:
    answers = {
        "no-status-word": b"\x90",
        "no-nonce": fci(VERSION),
        "nonce-of-7-bytes": fci(VERSION, tlv(0x81, bytes(7))),
        "nonce-of-17-bytes": fci(VERSION, tlv(0x81, bytes(17))),
        "nonce-twice": fci(VERSION, NONCE, NONCE),
        "sub-of-13-bytes": fci(VERSION, NONCE, tlv(0x85, bytes(13))),
        "version-2": fci(tlv(0x80, b"\x02"), NONCE),
        "another-aid-selected": fci(VERSION, NONCE, aid=OTHER_AID),
        "object-cut-off": FULL[:-5] + OK,
        "indefinite-length": b"\x6f\x80" + FULL[2:],
        "no-fci": OK,
    }
    return [
        Transcript(name, "an answer that is not the contract's", ((select(AID), answer),), "malformed", "invite")
        for name, answer in answers.items()
    ]
