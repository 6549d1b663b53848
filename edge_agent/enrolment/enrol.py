"""The enrolment of one terminal, step by step, each of which may be the last before a power cut; the next call goes on.

It makes keys once, asks with one request until that is answered, and puts nothing in force that was not checked whole.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_agent.credentials import credential_name
from edge_agent.enrolment.answer import Answer
from edge_agent.enrolment.checks import Checked, EnrolConfigError, EnrolError, check_answer, clock_or_none
from edge_agent.enrolment.files import acting_as_owner_of, make_folder, only_one
from edge_agent.enrolment.request import ID_BYTES, Request
from edge_agent.enrolment.store import Attempt, Store
from edge_agent.enrolment.x509 import MAX_PEM_BYTES, Certificate, CertificateError, TlsKey, read_certificates
from edge_agent.errors import KeyFileError
from edge_agent.small_file import read_small
from edge_agent.tokens.keyring import create_key_file, load_key_file
from edge_agent.tokens.keys import PrivateKey

TryValues = Callable[[Mapping[str, object]], None]
"""Raises ConfigError if the configuration would not be right with these values laid over it."""


@dataclass(frozen=True, slots=True)
class Names:
    """Who asks; ``serial`` is empty where the board has none."""

    terminal: str
    fleet: str
    serial: str = ""


@dataclass(frozen=True, slots=True)
class InForce:
    """The enrolment that the configuration names."""

    number: int
    terminal: str
    fleet: str
    host: str
    port: int
    kid: str
    """Signing key, hex."""
    certificate: Certificate
    time_known: bool


class Enrolment:
    """One terminal's. ``tap_key``: the signing key that the configuration names; ``wall``: Unix seconds.

    As root all files of ``store`` are made by their folder's owner, so that the agent can read them.
    """

    def __init__(self, store: Store, tap_key: Path, wall: Callable[[], float]) -> None:
        self._store = store
        self._tap_key = tap_key
        self._wall = wall

    def in_force(self) -> InForce | None:
        """What holds now; None before the first enrolment. Raises EnrolConfigError or KeyFileError for damage."""
        drop_in = self._store.in_force()
        if drop_in is None:
            return None
        with acting_as_owner_of(self._store.folder):
            key_path = Path(drop_in.tap_key) if drop_in.tap_key else self._tap_key
            kid = load_key_file(key_path).kid.hex()
            try:
                certificate = read_certificates(Path(drop_in.cert))[0]
                key = TlsKey.from_pem(read_small(Path(drop_in.key), MAX_PEM_BYTES)[0])
            except OSError as error:
                raise _broken(f"{drop_in.key} cannot be read: {error.strerror}") from None
            except CertificateError as error:
                raise _broken(error.text) from None
            if certificate.public_key != key.public_key:
                raise _broken(f"{drop_in.cert} is not the certificate of {drop_in.key}")
            number = self._store.current()
        known = clock_or_none(self._wall()) is not None
        return InForce(
            number, drop_in.terminal, drop_in.fleet, drop_in.host, drop_in.port, kid, certificate, time_known=known
        )

    def waiting(self) -> Attempt | None:
        """The request that is not in force yet; raises EnrolConfigError if it is damaged."""
        with acting_as_owner_of(self._store.folder):
            folder = self._store.waiting()
            return None if folder is None else self._store.load(folder)

    def begin(self, names: Names, *, anew: bool = False, rotate_tap_key: bool = False) -> Attempt:
        """Return the request that waits for these names, or make one. ``anew``: even if the one that waits is damaged.

        ``rotate_tap_key``: with a new signing key, for which the old one vouches. Raises EnrolConfigError and
        KeyFileError.
        """
        with acting_as_owner_of(self._store.folder):
            try:
                make_folder(self._store.folder, 0o700)
                with only_one(self._store.folder):
                    return self._begin(names, anew=anew, rotate=rotate_tap_key)
            except OSError as error:
                raise EnrolConfigError(
                    f"{self._store.folder} cannot be written: {error.strerror}",
                    remedy="run this by sudo or as the agent's user, on a disk with free space",
                ) from None

    def _begin(self, names: Names, *, anew: bool, rotate: bool) -> Attempt:
        key = _load_or_make(self._tap_key)
        found = self._fitting(names, key, anew=anew, rotate=rotate)
        if found is None:
            number = max(self._store.numbers(), default=0) + 1
            held = self._store.in_force()
            new_key, place = key, "" if held is None else held.tap_key
            if rotate and credential_name(self._tap_key) is not None:
                raise EnrolError(
                    f"the signing key is {self._tap_key}: it does not change here",
                    remedy="make a new one where that credential comes from, then enrol again",
                )
            if rotate:
                path = self._tap_key.with_name(f"tap-{number:04d}.key")
                new_key, place = _load_or_make(path), str(path)
            tls = TlsKey.generate()
            request = _request(names, tls, new_key, int(self._wall()))
            if rotate:
                request = request.endorsed(key.kid, key.sign)
            found = self._store.begin(number, request, tls, place)
        for number, folder in self._store.numbers().items():
            if number > self._store.current() and number != found.number:
                self._store.drop(folder)
        return found

    def _fitting(self, names: Names, key: PrivateKey, *, anew: bool, rotate: bool) -> Attempt | None:
        folder = self._store.waiting()
        if folder is None:
            return None
        try:
            attempt = self._store.load(folder)
        except EnrolConfigError:
            if anew:
                return None
            raise
        asked = attempt.request
        if rotate and not asked.endorsement:
            return None
        wanted = load_key_file(Path(attempt.tap_key)).kid if asked.endorsement else key.kid
        same = (asked.terminal, asked.fleet, asked.tap_key.kid) == (names.terminal, names.fleet, wanted)
        return attempt if same else None

    def finish(
        self,
        attempt: Attempt,
        answer: Answer,
        *,
        pins: Sequence[str] = (),
        by_hand: bool = False,
        try_values: TryValues = lambda _values: None,
        undelivered: Callable[[], int] = lambda: 0,
    ) -> Checked:
        """Check the answer whole, keep it, put it in force, tidy up. Raises EnrolError, EnrolConfigError, ConfigError.

        ``by_hand``: anybody may have brought the answer; without ``pins`` it may then bring no authority but the ones
        in force, once there are any. ``undelivered`` counts the taps that the cloud may not have: asked only where the
        signing key changes to one beside which the registry no longer holds the old one.
        """
        now = clock_or_none(self._wall())
        trusted = self._trusted() if by_hand else None
        checked = check_answer(answer, attempt.request, attempt.key, now, pins=pins, trusted=trusted)
        before = attempt.request.previous
        if before and before not in answer.tap_kids and (taps := undelivered()):
            raise EnrolError(
                f"{taps} taps wait that the signing key {before.hex()} signed, and the fleet's "
                "registry no longer holds it: they would be lost",
                remedy="have that key put back into the registry, or deliver the taps first; then enrol again",
            )
        try_values(attempt.drop_in(answer).values())
        with only_one(self._store.folder):
            if attempt.number < (current := self._store.current()):
                raise EnrolError(
                    f"enrolment {current} has come into force meanwhile, this answer is for {attempt.number}",
                    remedy="see `edge-agent enrol status`; there is nothing more to be done with this answer",
                )
            with acting_as_owner_of(self._store.folder):
                try:
                    self._store.keep_answer(attempt, answer)
                except OSError as error:
                    raise EnrolConfigError(
                        f"{attempt.folder} cannot be written: {error.strerror}",
                        remedy="free some space, then enrol again",
                    ) from None
            # As root again: the drop-in is the administrator's.
            self._store.put_in_force(attempt, answer)
            with acting_as_owner_of(self._store.folder):
                self._store.tidy()
        return checked

    def _trusted(self) -> tuple[Certificate, ...] | None:
        """Return the authorities in force; None before the first enrolment, none at all if they cannot be read."""
        drop_in = self._store.in_force()
        if drop_in is None:
            return None
        with acting_as_owner_of(self._store.folder):
            try:
                return read_certificates(Path(drop_in.ca))
            except CertificateError:
                return ()

    def certificate_files(self) -> tuple[Path, Path, Path] | None:
        """CA, certificate and TLS key in force, to ask for the next ones with; None before the first enrolment."""
        drop_in = self._store.in_force()
        return None if drop_in is None else (Path(drop_in.ca), Path(drop_in.cert), Path(drop_in.key))


def _request(names: Names, tls: TlsKey, tap_key: PrivateKey, now: int) -> Request:
    csr = tls.request(names.terminal, names.fleet)
    made = Request(
        id=secrets.token_bytes(ID_BYTES),
        terminal=names.terminal,
        fleet=names.fleet,
        serial=names.serial,
        created=max(now, 0),
        csr=csr,
        tap_key=tap_key.public,
        proof=b"",
    )
    return made.proven(tap_key.sign)


def _load_or_make(path: Path) -> PrivateKey:
    if credential_name(path) is not None:
        return load_key_file(path)  # systemd's: made and kept elsewhere
    try:
        return load_key_file(path)
    except KeyFileError:
        if path.is_symlink() or path.exists():
            raise
    return create_key_file(path)


def _broken(text: str) -> EnrolConfigError:
    return EnrolConfigError(text, remedy="make new ones: `edge-agent enrol --renew`")
