"""What the agent's user may do to a file, told from its mode: doctor may be anybody, and root may everything.

Access lists and mount options are not looked at: who is let in by the mode may still be kept out by those.
"""

import grp
import os
import pwd
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edge_agent.diag.finding import CannotLook, NotHere
from edge_agent.diag.site import Site
from edge_agent.diag.units import unit

READ, WRITE, ENTER = 4, 2, 1


@dataclass(frozen=True, slots=True)
class Account:
    """A user with all his groups."""

    name: str
    uid: int
    gids: frozenset[int]

    def may(self, wanted: int, found: os.stat_result) -> bool:
        """Whether the mode lets him do this (READ, WRITE, ENTER, or several of them) to what was found."""
        if self.uid == 0:
            return True
        if found.st_uid == self.uid:
            bits = found.st_mode >> 6
        elif found.st_gid in self.gids:
            bits = found.st_mode >> 3
        else:
            bits = found.st_mode
        return bits & wanted == wanted

    def keeps_out(self, path: Path, wanted: int) -> Path | None:
        """Return what keeps him from this: ``path``, or the folder above it; None: nothing. Raises OSError."""
        real = Path(os.path.realpath(path))  # resolve() raises RuntimeError for a loop of links
        for folder in reversed(real.parents):
            if not self.may(ENTER, folder.stat()):
                return folder
        return None if self.may(wanted, real.stat()) else real


def agent_account(site: Site) -> Account:
    """Return as whom the service runs; where systemd does not tell, whoever runs this. Raises CannotLook."""
    try:
        service = unit(site)
    except (NotHere, CannotLook):
        return _ourselves()
    if not service.installed:
        return _ourselves()
    name = service["User"] or "root"
    try:
        user = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except KeyError:
        raise CannotLook(f"the service runs as {name!r}, and there is no such user", because="service-failed") from None
    gids = set(os.getgrouplist(user.pw_name, user.pw_gid))
    for group in [service["Group"], *service["SupplementaryGroups"].split()]:
        with suppress(KeyError):
            gids.add(int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid if group else user.pw_gid)
    return Account(user.pw_name, user.pw_uid, frozenset(gids))


def _ourselves() -> Account:
    uid = os.geteuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    return Account(name, uid, frozenset({os.getegid(), *os.getgroups()}))


def mode_of(found: os.stat_result) -> str:
    """Return mode and owner as people read them: ``0640 root:dialout``."""
    try:
        owner = pwd.getpwuid(found.st_uid).pw_name
    except KeyError:
        owner = str(found.st_uid)
    try:
        group = grp.getgrgid(found.st_gid).gr_name
    except KeyError:
        group = str(found.st_gid)
    return f"{stat.S_IMODE(found.st_mode):04o} {owner}:{group}"
