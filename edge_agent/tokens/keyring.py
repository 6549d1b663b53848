"""The key file: made once, atomically, private; read with suspicion. Never repaired, replaced or made up silently.

A torn or unreadable file ends in KeyFileError and not in a new key: a new key would turn a disk fault into a
terminal that the cloud does not know.
"""

import errno
import os
import secrets
import stat
from pathlib import Path

from edge_agent.credentials import credential_name, is_credential, located
from edge_agent.durable import sync_directory
from edge_agent.errors import KeyFileError, TokenError
from edge_agent.tokens.keys import PrivateKey

_MAX_FILE_BYTES = 4096
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def create_key_file(path: Path) -> PrivateKey:
    """Make a new Ed25519 key in a new file (PKCS#8 PEM, 0600), durable when this returns.

    Missing folders are made with mode 0700. Raises KeyFileError if anything is at ``path`` already, whatever it is,
    or if the key cannot be kept; then no file is left behind.
    """
    if (name := credential_name(path)) is not None:
        raise KeyFileError(
            f"{path} comes from systemd, and no key can be made there",
            remedy=f"make it with `--path FILE` and encrypt it, `systemd-creds encrypt FILE"
            f" /etc/credstore.encrypted/edge-agent.{name}.cred`; then shred FILE",
        )
    if os.path.lexists(path):
        raise _in_the_way(path)
    try:
        _make_folder(path.parent)
    except OSError as exc:
        raise KeyFileError(f"cannot make the folder of {path}: {exc.strerror}", remedy=_folder_remedy(path)) from exc
    key = PrivateKey.generate()
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")
    try:
        _write_private(temporary, key.pkcs8_pem())
        try:
            # A hard link, unlike a rename, fails when the name is taken: two creators cannot overwrite each other.
            os.link(temporary, path)
        finally:
            temporary.unlink()
        sync_directory(path.parent)
    except FileExistsError:
        raise _in_the_way(path) from None
    except OSError as exc:
        raise KeyFileError(f"cannot write {path}: {exc.strerror}", remedy=_folder_remedy(path)) from exc
    return key


def load_key_file(path: Path, *, owner: int | None = None) -> PrivateKey:
    """Read the signing key from a file, or from a systemd credential (`credential:NAME`).

    Raises KeyFileError, with one remedy each, if the file is missing, not readable, not a regular file, owned by
    somebody else than root or us, open to group or others, torn, encrypted or no Ed25519 key. A credential is
    guarded by its directory, whatever its owner and mode are. ConfigError if there is none of this name.
    ``owner`` takes the place of us where root looks at the file of the agent's user.
    """
    path = located(path)
    try:
        # O_NONBLOCK: opening a FIFO that somebody put there must not hang the start.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as exc:
        raise _cannot_open(path, exc) from exc
    try:
        _refuse_unless_private(path, os.fstat(descriptor), os.geteuid() if owner is None else owner)
        pem = os.read(descriptor, _MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise _cannot_open(path, exc) from exc
    finally:
        os.close(descriptor)
    if not pem:
        raise KeyFileError(f"{path} is empty", remedy=_restore_remedy(path))
    if len(pem) > _MAX_FILE_BYTES:
        raise KeyFileError(f"{path} is larger than a key file can be", remedy=_restore_remedy(path))
    try:
        return PrivateKey.from_pkcs8_pem(pem)
    except TokenError as exc:
        raise KeyFileError(f"{path}: {exc.text}", remedy=_restore_remedy(path)) from None


def _refuse_unless_private(path: Path, found: os.stat_result, owner: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise KeyFileError(f"{path} is not a regular file", remedy="set [keys] path to the key file itself")
    if is_credential(path):
        return
    if found.st_uid not in (0, owner):
        raise KeyFileError(
            f"{path} belongs to user {found.st_uid}, not to the agent's user {owner} or root",
            remedy=f"find out who put it there, then `chown {owner} {path}`",
        )
    if found.st_mode & _OTHERS:
        raise KeyFileError(
            f"{path} has mode {stat.S_IMODE(found.st_mode):04o}: others may have read or changed the key",
            remedy=f"`chmod 0600 {path}`, and replace the key if anyone else uses this machine",
        )


def _cannot_open(path: Path, exc: OSError) -> KeyFileError:
    if exc.errno == errno.ENOENT:
        return KeyFileError(f"there is no signing key at {path}", remedy="run `edge-agent keys init` once")
    if exc.errno in (errno.EACCES, errno.EPERM):
        me = os.geteuid()
        return KeyFileError(
            f"user {me} may not read {path}",
            remedy=f"run this by sudo or as the agent's user; if user {me} is that one: `chown {me} {path}`",
        )
    return KeyFileError(f"cannot read {path}: {exc.strerror}", remedy="check the disk (dmesg), then restore the key")


def _in_the_way(path: Path) -> KeyFileError:
    return KeyFileError(
        f"there is something at {path} already; a key is never overwritten",
        remedy="use the key that is there, or move the file away by hand and register the new key",
    )


def _folder_remedy(path: Path) -> str:
    return f"give user {os.geteuid()} a writable folder {path.parent} on a file system with hard links and free space"


def _restore_remedy(path: Path) -> str:
    return f"restore {path} from a copy, or move it away, run `edge-agent keys init` and register the new key"


def _make_folder(folder: Path) -> None:
    """Make missing folders one by one with 0700, each entry synced, so that a power cut cannot lose the key's place."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    sync_directory(folder.parent)


def _write_private(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
            os.fchmod(descriptor, 0o600)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
    except OSError:
        path.unlink(missing_ok=True)
        raise
