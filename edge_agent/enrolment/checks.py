"""Whether an answer is the one that was asked for, and whether it holds: before a single byte of it is kept."""

from collections.abc import Sequence
from dataclasses import dataclass

from edge_agent.enrolment.answer import Answer
from edge_agent.enrolment.request import Request
from edge_agent.enrolment.x509 import (
    Certificate,
    CertificateError,
    TlsKey,
    check_chain,
    is_issued_by,
    parse_certificates,
)
from edge_agent.errors import EdgeAgentError, ExitCode

# 2026-01-01: a clock that is earlier was never set since the board has its power.
EARLIEST_CLOCK = 1_767_225_600


class EnrolError(EdgeAgentError):
    """The enrolment cannot go on; text and remedy say why and what to do."""

    code = "enrol"


class EnrolConfigError(EnrolError):
    """What is on the disk or in the configuration stands in the way."""

    exit_code = ExitCode.CONFIG


@dataclass(frozen=True, slots=True)
class Checked:
    """An answer that may be taken: its certificates read."""

    answer: Answer
    certificate: Certificate
    authorities: tuple[Certificate, ...]
    time_checked: bool
    """False: this machine's clock is not set, and the validity was not looked at."""


def clock_or_none(wall: float) -> float | None:
    """Unix seconds, or None for a clock that nobody has set yet."""
    return wall if wall >= EARLIEST_CLOCK else None


def check_answer(
    answer: Answer,
    request: Request,
    key: TlsKey,
    now: float | None,
    *,
    pins: Sequence[str] = (),
    trusted: Sequence[Certificate] | None = None,
) -> Checked:
    """Refuse unless the answer is for this request, this key and this terminal, and its chain holds at ``now``.

    ``pins``: the first hex digits, 16 at least, of the SHA-256 fingerprints of authorities, told by another way. Every
    authority of the answer must be one of them, or below one: the broker will be trusted by each. ``trusted`` are taken
    for it where no pin is given; None: whoever brings the answer is trusted himself. Raises EnrolError.
    """
    if answer.id != request.id:
        raise EnrolError(
            f"the answer is for request {answer.id.hex()}, this terminal asked with {request.id.hex()}",
            remedy="take the answer to this terminal's request: `edge-agent enrol` shows it again",
        )
    for what, said, ours in (
        ("terminal", answer.terminal, request.terminal),
        ("fleet", answer.fleet, request.fleet),
    ):
        if said != ours:
            raise EnrolError(
                f"the answer is for {what} {said}, this is {ours}", remedy="take the answer that was made for this one"
            )
    chain = _read(answer.certificate, "certificate")
    authorities = _read(answer.ca, "ca")
    leaf = chain[0]
    if leaf.public_key != key.public_key:
        raise EnrolError(
            "the certificate in the answer is for another key than this terminal's",
            remedy="have this terminal's request signed: `edge-agent enrol` shows it again",
        )
    if leaf.common_name != request.terminal:
        raise EnrolError(
            f"the certificate in the answer names {leaf.subject}, expected CN={request.terminal}",
            remedy="have the request signed as it is",
        )
    try:
        check_chain(chain, authorities, now)
    except CertificateError as error:
        raise EnrolError(error.text, remedy=error.remedy or "tell the fleet's people: the answer cannot work") from None
    _check_authorities(authorities, pins, trusted)
    if request.tap_key.kid not in answer.tap_kids:
        raise EnrolError(
            f"the fleet's registry does not hold this terminal's signing key {request.tap_key.kid.hex()}",
            remedy="have the request registered where the receiver reads its keys, and answered again",
        )
    return Checked(answer, leaf, authorities, time_checked=now is not None)


def _check_authorities(
    authorities: Sequence[Certificate], pins: Sequence[str], trusted: Sequence[Certificate] | None
) -> None:
    if pins:
        good = [found for found in authorities if found.fingerprint.startswith(tuple(pins))]
        remedy = "do not use this answer; find out who made it. A fleet with two authorities tells both fingerprints"
    elif trusted is not None:
        good = [found for found in authorities if found in trusted]
        remedy = "find out who made this answer; if the fleet's people tell the same fingerprint, give --ca-fingerprint"
    else:
        return
    others = [found for found in authorities if found not in good]
    while below := [found for found in others if any(is_issued_by(found, above) for above in good)]:
        good += below
        others = [found for found in others if found not in below]
    if others:
        raise EnrolError(
            f"the answer brings an authority that {'was not told' if pins else 'is not the one in force'}: "
            f"{others[0].subject}, {others[0].fingerprint}",
            remedy=remedy,
        )


def _read(pem: str, what: str) -> tuple[Certificate, ...]:
    try:
        return parse_certificates(pem.encode("ascii"))
    except CertificateError as error:
        raise EnrolError(f"{what} of the answer {error.text}", remedy="take the answer again, whole") from None
