"""The folder of the enrolments: one numbered folder for each, and the drop-in that names the one in force.

A folder appears whole, by a rename: with TLS key and request. It is completed by the answer's files, the answer last.
Only the rename of the drop-in puts it in force, so a power cut at any point leaves the old identity or the new one.
Numbers above the one in force wait for their answer; those below are history, of which the last is kept.
"""

import json
import os
import re
import secrets
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path

from edge_agent.durable import sync_directory
from edge_agent.enrolment.answer import Answer, parse_answer
from edge_agent.enrolment.checks import EnrolConfigError
from edge_agent.enrolment.drop_in import NAME, DropIn, read_values
from edge_agent.enrolment.files import PRIVATE, PUBLIC, make_folder, put_file
from edge_agent.enrolment.request import Request, parse_request
from edge_agent.enrolment.x509 import CertificateError, TlsKey, parse_certificates, pem_of
from edge_agent.small_file import read_small
from edge_agent.strict_json import WireError

TLS_KEY, REQUEST, TAP_KEY_PLACE, CERTIFICATE, CA, ANSWER = (
    "tls.key", "request.json", "tap-key.json", "tls.pem", "ca.pem", "answer.json",
)  # fmt: skip
_FOLDER = re.compile(r"([0-9]{4,9})-[0-9a-f]{16}")
_UNFINISHED = ".making-"
_MAX_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Attempt:
    """One enrolment on the disk: what was asked, with which key, and what was answered so far."""

    number: int
    folder: Path
    request: Request
    key: TlsKey
    tap_key: str
    """Path of the signing key that goes with it; empty: where the rest of the configuration says."""
    answer: Answer | None

    def drop_in(self, answer: Answer) -> DropIn:
        """What puts it in force."""
        return DropIn(
            terminal=answer.terminal,
            fleet=answer.fleet,
            host=answer.host,
            port=answer.port,
            ca=str(self.folder / CA),
            cert=str(self.folder / CERTIFICATE),
            key=str(self.folder / TLS_KEY),
            tap_key=self.tap_key,
        )


class Store:
    """``folder`` holds the enrolments and is the agent's alone; ``drop_ins`` is the configuration's FILE.d."""

    def __init__(self, folder: Path, drop_ins: Path) -> None:
        self.folder = folder
        self._drop_ins = drop_ins

    @property
    def drop_in_path(self) -> Path:
        """Where the drop-in is; a link in its place (a read-only /etc) is followed."""
        return Path(os.path.realpath(self._drop_ins)) / NAME

    def in_force(self) -> DropIn | None:
        """Read the drop-in; None before the first enrolment. Raises EnrolConfigError for one that is not ours."""
        path = self.drop_in_path
        try:
            data, _ = read_small(path, _MAX_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise EnrolConfigError(f"{path} cannot be read: {error.strerror}", remedy="look what is there") from None
        try:
            found = read_values(tomllib.loads(data.decode("utf-8")))
        except ValueError:
            found = None
        if found is None:
            raise EnrolConfigError(
                f"{path} is not as an enrolment wrote it", remedy=f"move it away, then enrol again: mv {path} /root/"
            )
        return found

    def numbers(self) -> dict[int, Path]:
        """All enrolments by their number; raises EnrolConfigError."""
        try:
            names = [entry for entry in self.folder.iterdir() if _FOLDER.fullmatch(entry.name)]
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise EnrolConfigError(
                f"{self.folder} cannot be read: {error.strerror}", remedy="run this by sudo, or as the agent's user"
            ) from None
        return {int(entry.name.split("-")[0]): entry for entry in names}

    def current(self) -> int:
        """The number that is in force; 0 for none of ours."""
        drop_in = self.in_force()
        if drop_in is None:
            return 0
        holder = Path(drop_in.key).parent
        found = _FOLDER.fullmatch(holder.name)
        return int(found[1]) if found and holder.parent == self.folder else 0

    def waiting(self) -> Path | None:
        """The enrolment that is not in force yet, if there is one."""
        newer = {number: path for number, path in self.numbers().items() if number > self.current()}
        return newer[max(newer)] if newer else None

    def load(self, folder: Path) -> Attempt:
        """Read one enrolment; raises EnrolConfigError naming the file that is damaged."""
        name = REQUEST
        try:
            request = parse_request(_read(folder / REQUEST))
            name = TLS_KEY
            key = TlsKey.from_pem(_read(folder / TLS_KEY))
            name = TAP_KEY_PLACE
            tap_key = json.loads(_read(folder / TAP_KEY_PLACE))["path"]
            name = ANSWER
            answer = parse_answer(_read(folder / ANSWER)) if (folder / ANSWER).exists() else None
        except OSError as error:
            raise self._damaged(folder / name, str(error.strerror)) from None
        except (WireError, CertificateError) as error:
            raise self._damaged(folder / name, error.text) from None
        except (ValueError, KeyError, TypeError):
            raise self._damaged(folder / name, "not as it was written") from None
        if not isinstance(tap_key, str) or (answer is not None and not isinstance(answer, Answer)):
            raise self._damaged(folder / name, "not as it was written")
        return Attempt(int(folder.name.split("-")[0]), folder, request, key, tap_key, answer)

    def begin(self, number: int, request: Request, key: TlsKey, tap_key: str) -> Attempt:
        """Make a new enrolment, whole and durable; raises OSError."""
        final = self.folder / f"{number:04d}-{request.id.hex()}"
        making = self.folder / f"{_UNFINISHED}{secrets.token_hex(8)}"
        os.mkdir(making, 0o700)  # noqa: PTH102 - beside the other calls of os, for the tests of power cuts
        put_file(making / TLS_KEY, key.pem(), PRIVATE)
        put_file(making / REQUEST, request.to_json() + b"\n", PRIVATE)
        put_file(making / TAP_KEY_PLACE, json.dumps({"path": tap_key}).encode() + b"\n", PRIVATE)
        os.rename(making, final)  # noqa: PTH104 - as above
        sync_directory(self.folder)
        return Attempt(number, final, request, key, tap_key, None)

    def keep_answer(self, attempt: Attempt, answer: Answer) -> None:
        """Keep a checked answer beside its request, durable; raises OSError."""
        for name, pem in ((CERTIFICATE, answer.certificate), (CA, answer.ca)):
            put_file(attempt.folder / name, pem_of(parse_certificates(pem.encode("ascii"))), PRIVATE)
        put_file(attempt.folder / ANSWER, answer.to_json() + b"\n", PRIVATE)

    def put_in_force(self, attempt: Attempt, answer: Answer) -> None:
        """Replace the drop-in: the step that counts. Raises EnrolConfigError."""
        path = self.drop_in_path
        try:
            make_folder(path.parent, 0o755)
            put_file(path, attempt.drop_in(answer).text().encode("utf-8"), PUBLIC)
        except OSError as error:
            raise EnrolConfigError(
                f"{path} cannot be written: {error.strerror}; the answer is kept, nothing has changed",
                remedy=f"run `sudo edge-agent enrol` again; where /etc is read-only, make {self._drop_ins} a link to a "
                "folder that is not",
            ) from None

    def tidy(self) -> None:
        """Remove what is older than the enrolment before the one in force, and what a cut left half made."""
        current = self.current()
        try:
            older = sorted(number for number in self.numbers() if number < current)
            for number in older[:-1]:
                shutil.rmtree(self.numbers()[number])
            for entry in list(self.folder.iterdir()):
                if entry.name.startswith(_UNFINISHED):
                    shutil.rmtree(entry)
        except OSError as error:
            raise EnrolConfigError(
                f"{self.folder} cannot be tidied: {error.strerror}", remedy="the enrolment itself is done; look at it"
            ) from None

    def drop(self, folder: Path) -> None:
        """Remove an enrolment that was never in force."""
        shutil.rmtree(folder)
        sync_directory(self.folder)

    @staticmethod
    def _damaged(path: Path, why: str) -> EnrolConfigError:
        return EnrolConfigError(f"{path} cannot be used: {why}", remedy="begin anew: `edge-agent enrol --renew`")


def _read(path: Path) -> bytes:
    data, _ = read_small(path, _MAX_BYTES)
    return data
