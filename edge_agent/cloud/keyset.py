"""The receiver's key registry: a JSON file of public keys, whose they are and when they count.

Read as a whole or not at all, with one line for each problem: a registry that was understood by halves would turn
good taps into ``unknown_key``. It holds public keys only.
"""

import os
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from edge_agent.cloud.verifier import KeyRecord
from edge_agent.durable import sync_directory
from edge_agent.errors import ConfigError, TokenError
from edge_agent.tokens.keys import PublicKey

_MAX_FILE_BYTES = 512 * 1024 * 1024
_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True)
_ALG_WORDS = {-8: "EdDSA", -7: "ES256"}

Name = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,24}$")]
Seconds = Annotated[int, Field(ge=0, lt=2**40)]


def _lowercase_hex(value: str) -> str:
    if value.lower() != value:
        raise ValueError("hex must be lowercase")
    bytes.fromhex(value)
    return value


class KeyEntry(BaseModel):
    """One registered key. Times are Unix seconds; ``alg`` is the word that ``keys show`` prints."""

    model_config = _STRICT

    kid: Annotated[str, Field(min_length=16, max_length=16), AfterValidator(_lowercase_hex)]
    alg: Literal["EdDSA", "ES256"]
    public_cose_hex: Annotated[str, Field(max_length=512), AfterValidator(_lowercase_hex)]
    fleet: Name
    terminal: Name
    valid_from: Seconds = 0
    valid_to: Seconds | None = None
    revoked_at: Seconds | None = None
    # `keys show --json` prints the key in this form, too; it may stay in the file that a person makes.
    public_jwk: dict[str, str] | None = Field(default=None, exclude=True)

    @model_validator(mode="after")
    def _is_one_key(self) -> Self:
        try:
            public = self.public()
        except TokenError as exc:
            raise ValueError(f"public_cose_hex: {exc.text}") from None
        if public.kid.hex() != self.kid:
            raise ValueError(f"kid: the key's thumbprint begins with {public.kid.hex()}")
        if _ALG_WORDS[public.alg] != self.alg:
            raise ValueError(f"alg: the key is for {_ALG_WORDS[public.alg]}")
        if self.public_jwk is not None and self.public_jwk != public.jwk():
            raise ValueError("public_jwk: is another key than public_cose_hex")
        if self.valid_to is not None and self.valid_to <= self.valid_from:
            raise ValueError("valid_to: must be later than valid_from")
        return self

    def public(self) -> PublicKey:
        """Return the key itself; raises TokenError."""
        return PublicKey.from_cose(bytes.fromhex(self.public_cose_hex))

    def record(self) -> KeyRecord:
        """Return what the verifier wants."""
        return KeyRecord(
            public=self.public(),
            fleet=self.fleet,
            terminal=self.terminal,
            valid_from=self.valid_from,
            valid_to=self.valid_to,
            revoked_at=self.revoked_at,
        )


class _File(BaseModel):
    model_config = _STRICT

    version: Literal[1]
    keys: list[KeyEntry]


class KeySet:
    """Keys by kid; ``lookup`` is the verifier's ``KeyLookup``."""

    def __init__(self, entries: Iterable[KeyEntry] = ()) -> None:
        self._entries: dict[str, KeyEntry] = {}
        self._records: dict[bytes, KeyRecord] = {}
        for entry in entries:
            self._entries[entry.kid] = entry
            self._records[bytes.fromhex(entry.kid)] = entry.record()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def entries(self) -> tuple[KeyEntry, ...]:
        """All entries, in the order of the file."""
        return tuple(self._entries.values())

    def lookup(self, kid: bytes) -> KeyRecord | None:
        """Return the record of a kid, None if it is not registered."""
        return self._records.get(kid)

    def with_entry(self, entry: KeyEntry) -> "KeySet":
        """Return a copy with this entry added, or put in the place of the one with its kid."""
        return KeySet([*(old for old in self._entries.values() if old.kid != entry.kid), entry])

    def to_json(self) -> str:
        """Return the text of the registry file."""
        return _File(version=1, keys=list(self._entries.values())).model_dump_json(indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, source: str = "the key registry") -> Self:
        """Read the text of a registry; raises ConfigError with one line for each problem."""
        try:
            entries = _File.model_validate_json(text).keys
        except ValidationError as exc:
            raise ConfigError([_line(source, problem) for problem in exc.errors()]) from None
        times = Counter(entry.kid for entry in entries)
        twice = sorted(kid for kid, count in times.items() if count > 1)
        if twice:
            raise ConfigError([f"{source}: keys: {kid} is registered twice" for kid in twice])
        return cls(entries)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a registry file; raises ConfigError."""
        try:
            if path.stat().st_size > _MAX_FILE_BYTES:
                raise ConfigError([f"{path}: larger than {_MAX_FILE_BYTES} bytes"])
            text = path.read_bytes()
        except OSError as exc:
            raise ConfigError([f"{path}: {exc.strerror}"]) from exc
        return cls.from_json(text, str(path))

    def save(self, path: Path) -> None:
        """Put the registry in place of the file, atomically and durably; raises OSError."""
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")
        try:
            with temporary.open("x", encoding="utf-8") as file:
                file.write(self.to_json())
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_directory(path.parent)


def entry_from_show(
    shown: Mapping[str, Any],
    *,
    fleet: str,
    terminal: str,
    valid_from: int = 0,
    valid_to: int | None = None,
) -> KeyEntry:
    """Make the registry entry of a terminal from what ``edge-agent keys show --json`` printed there.

    Raises ConfigError with one line for each problem.
    """
    wanted = {name: shown.get(name) for name in ("kid", "alg", "public_cose_hex")}
    place = {"fleet": fleet, "terminal": terminal, "valid_from": valid_from, "valid_to": valid_to}
    try:
        return KeyEntry.model_validate({**wanted, **place})
    except ValidationError as exc:
        raise ConfigError([_line("keys show", problem) for problem in exc.errors()]) from None


def _line(source: str, problem: Any) -> str:
    # The input itself is left out: a registry may be a wrong file, with anything in it.
    place = ".".join(str(part) for part in problem["loc"])
    text = problem["msg"].removeprefix("Value error, ")
    return f"{source}: {place}: {text}" if place else f"{source}: {text}"
