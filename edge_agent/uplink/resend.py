"""``cmd/resend``: its arguments and the words of its answer (contract, section 5). Pure; strict as all of the wire."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from edge_agent.outbox.base import Resent
from edge_agent.strict_json import take_hex, take_int
from edge_agent.uplink.wire import CHAIN_BYTES, MAX_SEQ

NAME = "resend"


@dataclass(frozen=True, slots=True)
class ResendArgs:
    """Rows ``first`` to ``last`` of ``chain``, both included."""

    chain: bytes
    first: int
    last: int

    def encode(self) -> dict[str, Any]:
        """``args`` of the command."""
        return {"chain": self.chain.hex(), "from": self.first, "to": self.last}

    @classmethod
    def decode(cls, args: Mapping[str, Any]) -> Self:
        """Raises WireError."""
        first = take_int(args, "from", lowest=1, highest=MAX_SEQ)
        last = take_int(args, "to", lowest=first, highest=MAX_SEQ)
        return cls(take_hex(args, "chain", size=CHAIN_BYTES), first, last)


def told(resent: Resent) -> str:
    """``detail`` of the answer: what is sent again, what was going to be sent anyway, what is not here any more."""
    return f"{resent.requeued} again, {resent.pending} pending, {resent.gone} gone"
