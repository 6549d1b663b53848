"""The ledger's tickets in SQL: reads what is known, has ``witness`` decide, writes what it says, in one transaction.

The second witness is looked up when somebody asks, never written by ``store``: two tables that say the same thing
could differ, a tap of an import or of another receiver would be missed, and every tap would pay for it. The write
lock orders an ask and the report that it misses, so the next ask sees it.
"""

from edge_agent.cloud.base import Settled, TicketAsked
from edge_agent.cloud.ledger_sql import Database
from edge_agent.cloud.witness import Answer, Kept, Known, Outcome, TapReported, WitnessPolicy, ask, settle

_KEPT = "SELECT kid, fleet, terminal, who, asked_at, outcome, matched_at FROM ticket WHERE nonce = ?"
# By terminal and not by kid: its key may change between the ticket and the report. Expired taps count for nothing.
_TAP = """
SELECT received_at, test FROM tap JOIN stream ON stream.id = tap.stream
WHERE nonce = ? AND mode = 2 AND terminal = ? AND fleet = ? AND verdict <> 'expired' ORDER BY test, received_at LIMIT 1
"""
_ON_QUOTA = """
SELECT kid, nonce, who, asked_at FROM ticket
WHERE outcome = 'granted_on_quota' AND matched_at IS NULL AND terminal = ? AND fleet = ? AND asked_at > ?
"""
# Most of what waits are QR codes, which nobody reports; passed over here, they hold the write lock for no time.
_PENDING = """
SELECT kid, nonce, fleet, terminal, who, asked_at FROM ticket WHERE outcome = 'pending' AND asked_at >= ?
AND EXISTS (SELECT 1 FROM tap WHERE tap.nonce = ticket.nonce AND mode = 2)
"""
_INSERT = """
INSERT INTO ticket (kid, nonce, fleet, terminal, who, asked_at, outcome, matched_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_UPDATE = "UPDATE ticket SET outcome = ?, matched_at = ? WHERE kid = ? AND nonce = ?"


def redeem_ticket(db: Database, asked: TicketAsked, now: float, policy: WitnessPolicy) -> Answer:
    """Answer somebody who asks for a ticket's reward; see ``Ledger.redeem_ticket``."""
    kept, spent = _kept(db, asked)
    unmatched = _unmatched(db, asked.fleet, asked.terminal, now, policy) if kept is None else 0
    known = Known(kept, _tap(db, asked.nonce, asked.fleet, asked.terminal), unmatched, spent)
    decision = ask(asked.asked, now, known, policy)
    new = decision.kept
    if new is not None and kept is None:
        place = (asked.kid, asked.nonce, asked.fleet, asked.terminal)
        db.execute(_INSERT, (*place, new.who, new.asked_at, new.outcome.value, new.matched_at))
    elif new is not None and new != kept:
        _update(db, asked.kid, asked.nonce, new)
    return decision.answer


def settle_tickets(db: Database, now: float, policy: WitnessPolicy) -> list[Settled]:
    """Grant what waits and is witnessed by now; see ``Ledger.settle_tickets``.

    Twice the time that a report may take: one that came in its last moment is found, too, and what nobody reported is
    not looked at for ever.
    """
    granted = []
    for kid, nonce, fleet, terminal, who, asked_at in db.execute(_PENDING, (now - 2 * policy.match_s,)).fetchall():
        kept = Kept(who, asked_at, Outcome.PENDING)
        decision = settle(kept, _tap(db, nonce, fleet, terminal), now, policy)
        if decision.kept is not None and decision.kept != kept:
            _update(db, kid, nonce, decision.kept)
            granted.append(Settled(kid, nonce, fleet, terminal, who, asked_at))
    return granted


def _kept(db: Database, asked: TicketAsked) -> tuple[Kept | None, bool]:
    """Return the ticket's redemption, and whether its nonce was redeemed under another key of the terminal."""
    mine, spent = None, False
    for kid, fleet, terminal, who, asked_at, outcome, matched_at in db.execute(_KEPT, (asked.nonce,)):
        if kid == asked.kid:
            mine = Kept(who, asked_at, Outcome(outcome), matched_at)
        else:
            spent = spent or (fleet, terminal) == (asked.fleet, asked.terminal)
    return mine, spent


def _tap(db: Database, nonce: bytes, fleet: str, terminal: str) -> TapReported | None:
    found = db.execute(_TAP, (nonce, terminal, fleet)).fetchone()
    return None if found is None else TapReported(found[0], bool(found[1]))


def _unmatched(db: Database, fleet: str, terminal: str, now: float, policy: WitnessPolicy) -> int:
    """Count grants of the terminal that wait for their report; those whose report has come give their place back.

    At most the quota's number and what came since the last look.
    """
    waiting = 0
    since = now - policy.quota.window_s
    for kid, nonce, who, asked_at in db.execute(_ON_QUOTA, (terminal, fleet, since)).fetchall():
        kept = Kept(who, asked_at, Outcome.ON_QUOTA)
        matched = settle(kept, _tap(db, nonce, fleet, terminal), now, policy).kept
        if matched is not None and matched != kept:
            _update(db, kid, nonce, matched)
        else:
            waiting += 1
    return waiting


def _update(db: Database, kid: bytes, nonce: bytes, kept: Kept) -> None:
    db.execute(_UPDATE, (kept.outcome.value, kept.matched_at, kid, nonce))
