"""A terminal reduced to its chain: real keys, real tokens, no reader and no outbox."""

import os
from dataclasses import replace

from edge_agent.models import FIRST_PREV, ChainPosition, ClockTrust, TapMode
from edge_agent.tokens.chain import Checkpoint, Gap, seal_record
from edge_agent.tokens.keys import PrivateKey
from edge_agent.tokens.tap_token import Claims, link_hash, seal, stream_aad

NOW = 1_790_000_000


class TappingTerminal:
    """Seals one token after the other with a correct chain."""

    def __init__(
        self, terminal: str = "sh-1-a", fleet: str = "sh", *, key: PrivateKey | None = None, chain: bytes | None = None
    ) -> None:
        self.fleet = fleet
        self.terminal = terminal
        self.key = key or PrivateKey.generate()
        self.chain = chain or os.urandom(8)
        self.seq = 0
        self.prev = FIRST_PREV
        self.links = [FIRST_PREV]
        """Link hash of each seq."""

    def claims(self, **changes: object) -> Claims:
        """Claims of the next tap; keyword arguments replace single claims."""
        position = ChainPosition(self.chain, self.seq + 1, self.prev)
        claims = Claims(
            iss=self.terminal,
            iat=NOW,
            exp=NOW + 90,
            cti=position.cti,
            prev=self.prev,
            mode=TapMode.PHONE_APP,
            clk=ClockTrust.SYNCED,
            boot=b"bootbyte",
            up=100,
            nonce=os.urandom(8),
            campaign="c-1",
            sub=b"somebody",
        )
        return replace(claims, **changes)  # type: ignore[arg-type]  # names are checked by replace itself

    def tap(self, **changes: object) -> bytes:
        """Seal the next token of the chain."""
        token = seal(self.claims(**changes), self.key, stream_aad(self.fleet, self.terminal))
        self.seq += 1
        self.prev = link_hash(token)
        self.links.append(self.prev)
        return token

    def taps(self, count: int, **changes: object) -> list[bytes]:
        """Seal the next tokens of the chain."""
        return [self.tap(**changes) for _ in range(count)]

    def twin(self) -> "TappingTerminal":
        """The cloned card: same key, same chain, same position."""
        clone = TappingTerminal(self.terminal, self.fleet, key=self.key, chain=self.chain)
        clone.seq, clone.prev, clone.links = self.seq, self.prev, list(self.links)
        return clone

    def gap(self, first: int, last: int, /, **changes: object) -> bytes:
        """Seal the gap record of these taps of the chain; keyword arguments replace single claims."""
        record = Gap(self.terminal, NOW, self.chain, first, last, self.links[first - 1], self.links[last], "full")
        changed = replace(record, **changes)  # type: ignore[arg-type]  # names are checked by replace itself
        return seal_record(changed, self.key, self.fleet, self.terminal)

    def checkpoint(self, **changes: object) -> bytes:
        """Seal a checkpoint of the chain as it ends now; keyword arguments replace single claims."""
        record = Checkpoint(self.terminal, NOW, self.chain, self.seq, self.prev, ClockTrust.SYNCED)
        changed = replace(record, **changes)  # type: ignore[arg-type]  # names are checked by replace itself
        return seal_record(changed, self.key, self.fleet, self.terminal)
