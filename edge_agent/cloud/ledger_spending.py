"""Spending a tap in SQL, within a transaction of the ledger's owner: once, in time, and never what a ticket buys."""

from edge_agent.cloud.base import Redemption
from edge_agent.cloud.ledger_sql import Database
from edge_agent.cloud.verifier import SKEW_S
from edge_agent.models import CHAIN_ID_BYTES, TapMode

_BY_CTI = """
SELECT tap.id, nonce, redeemable, exp, redeemed_at, mode FROM tap JOIN stream ON stream.id = tap.stream
WHERE chain = ? AND seq = ? ORDER BY redeemable DESC, tap.id
"""
# A phone chooses its nonce: one that it copied from a ticket must find its own tap, not the read of that ticket.
_BY_NONCE = """
SELECT id, nonce, redeemable, exp, redeemed_at, mode FROM tap
WHERE nonce = ? AND redeemable = 1 ORDER BY mode = 2, exp DESC, id
"""


def redeem(db: Database, now: float, cti: bytes | None, nonce: bytes | None) -> Redemption:
    """Spend a tap; see ``Ledger.redeem``."""
    if cti is not None:
        place = (cti[:CHAIN_ID_BYTES], _signed(cti[CHAIN_ID_BYTES:]))
        found = db.execute(_BY_CTI, place).fetchone()
    else:
        found = db.execute(_BY_NONCE, (nonce,)).fetchone()
    if found is None:
        return Redemption.UNKNOWN
    tap_id, its_nonce, redeemable, exp, redeemed_at, mode = found
    if not redeemable:
        return Redemption.NOT_REDEEMABLE
    if mode == TapMode.TAG_READ:
        return Redemption.BY_TICKET
    if redeemed_at is not None or _nonce_is_spent(db, its_nonce):
        return Redemption.ALREADY
    if now > exp + SKEW_S:
        return Redemption.EXPIRED
    db.execute("UPDATE tap SET redeemed_at = ? WHERE id = ?", (now, tap_id))
    return Redemption.REDEEMED


def _nonce_is_spent(db: Database, nonce: bytes | None) -> bool:
    """One nonce buys once, even if a phone got tokens for it from two terminals."""
    query = "SELECT 1 FROM tap WHERE nonce = ? AND redeemable = 1 AND redeemed_at IS NOT NULL"
    return nonce is not None and db.execute(query, (nonce,)).fetchone() is not None


def _signed(seq: bytes) -> int:
    """A uint64 as the column could hold it; one that no row can have becomes 0, which no row has."""
    value = int.from_bytes(seq, "big")
    return value if value < 2**63 else 0
