"""What `edge-agent enrol` finds on this terminal: configuration, names, folders, outbox, broker.

The configuration may still lack what the enrolment brings (id, fleet, broker); everything else in it must be right.
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import ValidationError

from edge_agent.config.catalog import holds_text
from edge_agent.config.environment import read_environment
from edge_agent.config.model import Settings
from edge_agent.config.origin import Tree
from edge_agent.config.problems import problem_lines
from edge_agent.config.sources import read_files
from edge_agent.enrolment.board import find_serial, terminal_id_of
from edge_agent.enrolment.checks import EnrolConfigError, EnrolError, clock_or_none
from edge_agent.enrolment.enrol import Enrolment, Names
from edge_agent.enrolment.store import Attempt, Store
from edge_agent.enrolment.x509 import read_certificates
from edge_agent.errors import ConfigError
from edge_agent.settings import SAMPLE

if TYPE_CHECKING:
    from edge_agent.enrolment.answer import Answer, Refusal
    from edge_agent.enrolment.checks import Checked

_STAND_IN = "not-known-yet"


class AskWhere(Protocol):
    """Where to ask over MQTT, and as whom; None: as what is in force says."""

    @property
    def host(self) -> str | None:
        """Host name or address."""

    @property
    def port(self) -> int:
        """Port, where there is a host."""

    @property
    def claim(self) -> tuple[Path, Path] | None:
        """Certificate and key."""

    @property
    def ca(self) -> Path | None:
        """Authorities."""


@dataclass(frozen=True, slots=True)
class EnrolSite:
    """One terminal; ``root`` is where the board's serial is looked for."""

    path: Path
    env: Mapping[str, str]
    root: Path
    settings: Settings
    given: Mapping[str, Any]
    """[terminal] and [uplink] host as they are written, and only where somebody has written them."""
    store: Store
    enrolment: Enrolment
    wall: Callable[[], float]

    @classmethod
    def of(
        cls, path: Path, env: Mapping[str, str], *, root: Path, wall: Callable[[], float] = time.time
    ) -> "EnrolSite":
        """Read the configuration; raises ConfigError with all mistakes that have nothing to do with the enrolment."""
        tree = _tree(path, env)
        terminal, uplink = tree.values.get("terminal", {}), tree.values.get("uplink", {})
        given: dict[str, Any] = {}
        if isinstance(terminal, dict) and isinstance(uplink, dict):
            given = {name: terminal.get(name) for name in ("id", "fleet")}
            origin = tree.origin_of(("terminal", "id"))
            is_sample = (terminal.get("id"), uplink.get("host")) == SAMPLE
            if is_sample and origin is not None and origin.source == str(path):
                given = {}
            tree.values["terminal"] = {"id": _STAND_IN, "fleet": _STAND_IN, **terminal}
            tree.values["uplink"] = {"host": f"{_STAND_IN}.invalid", **uplink}
        settings = _checked(tree, path)
        # Not beside the signing key: that one may be a credential of systemd.
        store = Store(settings.outbox.path.parent / "enrolment", path.with_name(path.name + ".d"))
        enrolment = Enrolment(store, settings.keys.path, wall)
        return cls(path.absolute(), env, root, settings, given, store, enrolment, wall)

    def now(self) -> float | None:
        """Unix seconds; None: the clock is not set."""
        return clock_or_none(self.wall())

    def names(self, terminal: str | None, fleet: str | None) -> Names:
        """Who this is: by the options, else the configuration, else the board's serial. Raises ConfigError."""
        serial = find_serial(self.root)
        id_ = terminal or self.given.get("id") or (serial and terminal_id_of(serial.text))
        if not id_:
            raise ConfigError(
                ["this terminal has no id and its board no serial number: write [terminal] id, or give --terminal ID"]
            )
        its_fleet = fleet or self.given.get("fleet")
        if not its_fleet:
            raise ConfigError(["this terminal has no fleet: write [terminal] fleet, or give --fleet ID"])
        from edge_agent.strict_json import WireError  # noqa: PLC0415 -- only here
        from edge_agent.uplink.topics import Topics  # noqa: PLC0415 -- only here

        try:
            Topics(its_fleet, id_)
        except WireError as error:
            raise ConfigError([f"--terminal, --fleet: {error}"]) from None
        return Names(id_, its_fleet, serial.text if serial is not None else "")

    def finish(
        self, attempt: Attempt, answer: "Answer", *, pins: Sequence[str] = (), by_hand: bool = False
    ) -> "Checked":
        """Check the answer against everything on this terminal and put it in force."""
        return self.enrolment.finish(
            attempt,
            answer,
            pins=pins,
            by_hand=by_hand,
            try_values=self._try_values,
            undelivered=self._undelivered,
        )

    def overridden(self) -> str:
        """What holds in place of the enrolment's word, as one line; empty if nothing does."""
        drop_in = self.store.in_force()
        if drop_in is None:
            return ""
        for section, keys in drop_in.values().items():
            for key, wanted in keys.items():
                value = getattr(getattr(self.settings, section), key)
                if str(value) != str(wanted):
                    origin = _tree(self.path, self.env).origin_of((section, key))
                    return f"[{section}] {key} is {value} by {origin}, the enrolment says {wanted}"
        return ""

    def _try_values(self, values: Mapping[str, object]) -> None:
        tree = _tree(self.path, {})
        tree.merge(dict(values), str(self.store.drop_in_path), {})
        problems = read_environment(self.env, tree, holds_text)
        if problems:
            raise ConfigError(problems)
        _checked(tree, self.path)

    def _undelivered(self) -> int:
        from edge_agent.cli.outbox_source import find_source  # noqa: PLC0415 -- only where a signing key changes

        found = find_source(argparse.Namespace(file=None, socket=None, config=self.path)).facts()
        sent = found.stats.sent if found.confirm == "receiver" else 0
        return found.stats.pending + found.stats.leased + found.stats.parked + sent

    def ask(self, attempt: Attempt, where: AskWhere, *, wait_s: float) -> "Answer | Refusal":
        """Ask over MQTT; raises EnrolError."""
        import asyncio  # noqa: PLC0415 -- only over the network

        from edge_agent.broker import link_settings  # noqa: PLC0415 -- as above
        from edge_agent.enrolment.ask import Pace, ask  # noqa: PLC0415 -- as above
        from edge_agent.uplink.base import TlsSettings  # noqa: PLC0415 -- as above

        files = self.enrolment.certificate_files()
        if where.claim is not None:
            cert, key = where.claim
            ca = where.ca
        elif files is not None:
            ca, cert, key = where.ca or files[0], files[1], files[2]
        else:
            raise EnrolConfigError(
                "this terminal has no certificate to ask with", remedy="give --claim-cert FILE and --claim-key FILE"
            )
        now, shown = self.now(), read_certificates(cert)[0]
        if now is not None and not shown.is_valid_at(now):
            raise EnrolError(
                f"the certificate {cert} ({shown.subject}) is not valid now: it has expired or is not valid yet",
                remedy="take a fresh claim certificate from the fleet's people, and check this machine's clock",
            )
        uplink = self.settings.uplink
        if where.claim is not None:  # user name and password are the terminal's
            uplink = uplink.model_copy(update={"username": None, "password_file": None})
        # Not the terminal's own client id: an agent that runs would be pushed off the broker.
        settings = link_settings(uplink, client_id=f"enrol-{attempt.request.terminal}", env=self.env)
        settings = replace(
            settings,
            host=where.host or uplink.host,
            port=where.port or uplink.effective_port,
            tls=TlsSettings(ca, cert, key),
        )
        return asyncio.run(ask(attempt.request, settings, Pace(wait_s=wait_s)))


def _tree(path: Path, env: Mapping[str, str]) -> Tree:
    tree, problems = read_files(path)
    problems = problems or read_environment(env, tree, holds_text)
    if problems:
        raise ConfigError(problems)
    return tree


def _checked(tree: Tree, path: Path) -> Settings:
    try:
        return Settings.model_validate(tree.values)
    except ValidationError as error:
        raise ConfigError(problem_lines(error, tree, str(path))) from None
