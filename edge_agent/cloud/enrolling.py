"""Answers the requests of terminals: who is expected, registers the signing key, issues the certificate, remembers.

The key is in the registry before the answer leaves, so no tap of an enrolled terminal is ever of an unknown key. The
same request gets the same certificate, with the broker of today. A stranger in the name of a terminal that is enrolled
already is refused.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edge_agent.cloud.authority import Authority
from edge_agent.cloud.keyset import KeyEntry, KeySet, entry_from_show
from edge_agent.enrolment.answer import MAX_PEM, Answer, Refusal, parse_answer
from edge_agent.enrolment.files import PRIVATE, only_one, put_file
from edge_agent.enrolment.request import Request
from edge_agent.enrolment.x509 import CertificateError, check_chain, parse_certificates, parse_signing_request
from edge_agent.errors import ConfigError
from edge_agent.small_file import read_small
from edge_agent.strict_json import WireError
from edge_agent.uplink.topics import Topics

_MAX_BYTES = 64 * 1024
_MAX_EXPECTED_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Terms:
    """What every terminal is told, and for how long its certificate is good."""

    host: str
    port: int
    ca: str
    """PEM: authorities of the broker's certificate; the one of the terminals is added."""
    days: int = 365


class Desk:
    """One fleet's or many fleets' enrolments. ``keys`` is the receiver's registry, ``issued`` a folder of answers."""

    def __init__(self, authority: Authority, terms: Terms, *, keys: Path, issued: Path) -> None:
        """Raises ConfigError for more authorities than an answer can hold."""
        mine = authority.chain_pem
        self._authority = authority
        self._terms = terms
        self._ca = terms.ca if mine in terms.ca else terms.ca + mine
        self._keys = keys
        self._issued = issued
        if (length := len(self._ca)) > MAX_PEM:
            raise ConfigError([f"the authorities are {length} characters of PEM, of which an answer holds {MAX_PEM}"])

    def answer(
        self, request: Request, *, now: float, expected: Mapping[str, str] | None = None, replace: bool = False
    ) -> Answer | Refusal:
        """Answer a request that was parsed, so its proofs hold; ``now``: Unix seconds.

        ``expected``: terminal id to serial number (empty: any); None: a person has looked. ``replace``: the terminal
        may come with a signing key for which no earlier one vouches. ConfigError, EnrolError (another one writes the
        registry) or OSError: nothing is answered.
        """
        with only_one(self._keys.absolute().parent):
            return self._answer(request, now, expected, replace=replace)

    def _answer(
        self, request: Request, now: float, expected: Mapping[str, str] | None, *, replace: bool
    ) -> Answer | Refusal:
        known = self._issued / f"{request.id.hex()}.json"
        kept = _kept(known) if known.exists() else None
        certificate = ""
        if kept is not None:
            found = parse_certificates(kept.certificate.encode("ascii"))
            if found[0].public_key != parse_signing_request(request.csr).public_key:
                return Refusal(request.id, "conflict", "another request with this id was answered")
            with suppress(CertificateError):  # expired, or of an authority that is not ours any more
                check_chain(found, parse_certificates(self._ca.encode("ascii")), now)
                certificate = kept.certificate
        registry = self._registry()
        # Whoever has the certificate need not be on the list any more to hear it again.
        refusal = judge(request, registry, expected=None if certificate else expected, replace=replace)
        if refusal is not None:
            return refusal
        entry = entry_from_show(request.tap_key.registration(), fleet=request.fleet, terminal=request.terminal)
        if registry.lookup(request.tap_key.kid) is None:
            registry = registry.with_entry(entry)
            registry.save(self._keys)
        made = self._made(request, registry, certificate or self._issue(request, now))
        if made != kept:
            put_file(known, made.to_json(), PRIVATE)
        return made

    def is_new_board(self, request: Request) -> bool:
        """Whether it is refused only because a person must let the new signing key in (``replace``)."""
        own = self._registry().lookup(request.tap_key.kid)
        return own is None and judge(request, self._registry(), expected=None, replace=False) is not None

    def _registry(self) -> KeySet:
        return KeySet.load(self._keys) if self._keys.exists() else KeySet()

    def _issue(self, request: Request, now: float) -> str:
        asked = parse_signing_request(request.csr)
        return self._authority.issue(asked.public_key, request.terminal, request.fleet, now=now, days=self._terms.days)

    def _made(self, request: Request, registry: KeySet, certificate: str) -> Answer:
        return Answer(
            id=request.id,
            terminal=request.terminal,
            fleet=request.fleet,
            certificate=certificate,
            ca=self._ca,
            host=self._terms.host,
            port=self._terms.port,
            tap_kids=tuple(bytes.fromhex(entry.kid) for entry in _keys_of(request, registry))[-16:],
        )


def judge(request: Request, registry: KeySet, *, expected: Mapping[str, str] | None, replace: bool) -> Refusal | None:
    """Return why this request is not answered with a certificate, or None."""
    why = _not_expected(request, expected) or _wrong_key(request, registry, replace=replace)
    return None if why is None else Refusal(request.id, *why)


def _not_expected(request: Request, expected: Mapping[str, str] | None) -> tuple[str, str] | None:
    if expected is None:
        return None
    if request.terminal not in expected:
        return "not_expected", f"terminal {request.terminal} is not on the list of expected terminals"
    if expected[request.terminal] not in ("", request.serial):
        return "wrong_board", f"terminal {request.terminal} is expected on the board with another serial number"
    return None


def _wrong_key(request: Request, registry: KeySet, *, replace: bool) -> tuple[str, str] | None:
    own = registry.lookup(request.tap_key.kid)
    before = _keys_of(request, registry)
    if own is not None and (own.terminal, own.fleet) != (request.terminal, request.fleet):
        return "conflict", "this signing key belongs to another terminal: a copied card, or a copied request"
    if own is not None and own.revoked_at is not None:
        return "revoked", "this signing key is revoked: make a new one, and have its request signed by hand"
    if own is not None or not before or replace or _vouched_for(request, before):
        return None
    name = request.terminal
    return "conflict", f"{name} has another signing key: this is a copy, or a new board that a person must let in"


def _keys_of(request: Request, registry: KeySet) -> list[KeyEntry]:
    return [
        entry
        for entry in registry.entries
        if (entry.terminal, entry.fleet) == (request.terminal, request.fleet) and entry.revoked_at is None
    ]


def _vouched_for(request: Request, before: list[KeyEntry]) -> bool:
    return any(
        bytes.fromhex(entry.kid) == request.previous and entry.public().verify(request.endorsement, request.signed)
        for entry in before
    )


def read_expected(path: Path) -> dict[str, str]:
    """Read the list of expected terminals: one id a line, then blank and its board's serial where that is known.

    ``#`` begins a comment. Raises ConfigError with one line for each mistake.
    """
    try:
        data, _ = read_small(path, _MAX_EXPECTED_BYTES)
        lines = data.decode("utf-8").splitlines()
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: is not UTF-8 text"]) from None
    found: dict[str, str] = {}
    problems = []
    for number, line in enumerate(lines, start=1):
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        try:
            terminal = Topics("x", words[0]).terminal
        except WireError:
            problems.append(f"{path}:{number}: {words[0][:40]!r} is no terminal id: 1 to 24 of a-z, 0-9 and -")
            continue
        if terminal in found or len(words) > 2:
            problems.append(f"{path}:{number}: {terminal} stands here twice, or more than a serial follows it")
        found[terminal] = words[1] if len(words) > 1 else ""
    if problems:
        raise ConfigError(problems)
    return found


def _kept(path: Path) -> Answer:
    try:
        data, _ = read_small(path, _MAX_BYTES)
        found = parse_answer(data)
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    except WireError as error:
        raise ConfigError([f"{path}: {error.text}"]) from None
    if not isinstance(found, Answer):
        raise ConfigError([f"{path}: is no answer that was given"])
    return found
