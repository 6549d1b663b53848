"""Both ends of an enrolment in one folder: a terminal that asks, a fleet that answers, and moments to ask at."""

from pathlib import Path

import trustme

from edge_agent.cloud.authority import Authority
from edge_agent.cloud.enrolling import Desk, Terms
from edge_agent.enrolment.answer import Answer
from edge_agent.enrolment.enrol import Enrolment, Names
from edge_agent.enrolment.request import Request
from edge_agent.enrolment.store import Store

NOW = 1_800_000_000.0
NAMES = Names("sh-000123-a", "sh", "10000000abcdef01")
CA = trustme.CA(organization_name="Terminals of Example", key_type=trustme.KeyType.ECDSA)


def ca_files(folder: Path, ca: trustme.CA = CA) -> tuple[Path, Path]:
    """Write an authority's certificate and key; return the two paths."""
    folder.mkdir(parents=True, exist_ok=True)
    certificate, key = folder / "fleet-ca.pem", folder / "fleet-ca.key"
    ca.cert_pem.write_to_path(certificate)
    ca.private_key_pem.write_to_path(key)
    key.chmod(0o600)
    return certificate, key


class Site:
    """A terminal and its fleet. ``now`` is the wall clock of both."""

    def __init__(self, folder: Path, *, ca: trustme.CA = CA) -> None:
        self.now = NOW
        self.keys = folder / "cloud" / "keys.json"
        self.issued = folder / "cloud" / "issued"
        self.issued.mkdir(parents=True, exist_ok=True)
        self.authority = Authority(ca.cert_pem.bytes(), ca.private_key_pem.bytes())
        self.desk = Desk(
            self.authority,
            Terms("broker.example.net", 8883, ca.cert_pem.bytes().decode(), days=365),
            keys=self.keys,
            issued=self.issued,
        )
        self.tap_key = folder / "terminal" / "keys" / "tap.key"
        self.drop_ins = folder / "terminal" / "etc" / "edge-agent.toml.d"
        (folder / "terminal" / "etc").mkdir(parents=True, exist_ok=True)
        self.store = Store(self.tap_key.parent / "enrolment", self.drop_ins)

    @property
    def terminal(self) -> Enrolment:
        """As a fresh process sees it: with the signing key that the configuration names now."""
        drop_in = self.store.in_force()
        tap_key = Path(drop_in.tap_key) if drop_in is not None and drop_in.tap_key else self.tap_key
        return Enrolment(self.store, tap_key, lambda: self.now)

    def answered(self, request: Request) -> Answer:
        """What the fleet answers; a refusal fails the test."""
        answer = self.desk.answer(request, now=self.now)
        assert isinstance(answer, Answer), answer
        return answer

    def enrol(self, names: Names = NAMES, *, rotate: bool = False) -> None:
        """The whole way, by hand."""
        attempt = self.terminal.begin(names, rotate_tap_key=rotate)
        self.terminal.finish(attempt, self.answered(attempt.request))
