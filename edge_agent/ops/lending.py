"""Lends a reader of the running agent to a technician's program, asked for over the control socket.

A loan lasts a few seconds and is renewed while the program lives: one that died has its reader taken back by itself.
"""

import os
from collections.abc import Mapping, Sequence

from edge_agent.control import Op
from edge_agent.errors import ControlError, ReaderError
from edge_agent.readers.loan import LONGEST_S
from edge_agent.readers.service import ReaderService, ReaderState
from edge_agent.sanitize import printable

LEASE_S = 5.0
"""A loan that nobody renews is over after so long."""
FREE_WITHIN_S = 4.0
"""A tap that goes on, and the closing of the reader, take less; the control server gives an op more."""
_MAY_BE_LENT = frozenset({ReaderState.POLLING, ReaderState.SERVING, ReaderState.OCCUPIED})
_LOAN_BYTES = 8


class Lending:
    """The loans of all readers of one agent."""

    def __init__(self, readers: Sequence[ReaderService]) -> None:
        self._readers = {reader.snapshot().name: reader for reader in readers}
        self._loans: dict[str, str] = {}

    def ops(self) -> dict[str, Op]:
        """Names and handlers for the control server."""
        return {"lend-reader": self._lend, "return-reader": self._return}

    async def _lend(self, request: Mapping[str, object]) -> dict[str, object]:
        """``name``, and ``seconds`` (1 to 60, 5 if left out); ``loan`` of the answer before, to renew it.

        Answers when the reader is closed, with ``loan`` and the ``seconds`` that are left. Raises ControlError.
        """
        name, reader = self._named(request)
        lease_s = _seconds(request.get("seconds", LEASE_S))
        loan = request.get("loan")
        if loan is not None:
            if reader.loan.left_s <= 0 or loan != self._loans.get(name):
                raise ControlError(f"the loan of {name} is over", remedy="ask anew")
            return {"name": name, "loan": loan, "seconds": reader.loan.renew(lease_s)}
        snap = reader.snapshot()
        if reader.loan.is_free and snap.state not in _MAY_BE_LENT:
            why = printable(snap.last_error, 200) or "ask again in a second"
            raise ControlError(f"{name} does not work now: {why}", remedy="see what is wrong: edge-agent doctor")
        if reader.loan.is_free:
            self._loans.pop(name, None)  # who had it before cannot end what begins now
        try:
            await reader.loan.borrow(lease_s, FREE_WITHIN_S)
        except ReaderError as error:
            raise ControlError(f"{name}: {error.text}", remedy=error.remedy) from None
        self._loans[name] = os.urandom(_LOAN_BYTES).hex()
        return {"name": name, "loan": self._loans[name], "seconds": reader.loan.left_s}

    async def _return(self, request: Mapping[str, object]) -> dict[str, object]:
        """``name`` and ``loan``: the agent takes its reader back at once. A loan that is over is no error.

        ``empty``: nothing was in the field, so that whoever comes now is new.
        """
        name, reader = self._named(request)
        loan = request.get("loan")
        if loan is not None and loan == self._loans.get(name):
            reader.loan.give_back(empty=request.get("empty") is True)
        return {"name": name}

    def _named(self, request: Mapping[str, object]) -> tuple[str, ReaderService]:
        name = request.get("name")
        reader = self._readers.get(name) if isinstance(name, str) else None
        if reader is None:
            known = ", ".join(self._readers) or "none"
            raise ControlError(f"no such reader: {printable(str(name))}; there are {known}")
        return str(name), reader


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= LONGEST_S:
        raise ControlError(f"seconds is no number from 1 to {LONGEST_S:.0f}")
    return float(value)
