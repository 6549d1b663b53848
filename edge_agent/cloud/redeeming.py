"""One call for whoever runs the page behind the link: verify the ticket, redeem it in the ledger, say what came of it.

The signature is checked outside the ledger's transaction, the rest inside: nothing is decided on what another process
may have changed. Of a ticket that nobody registered signed, nothing reaches the ledger.
"""

from dataclasses import dataclass

from edge_agent.cloud.base import Ledger, TicketAsked
from edge_agent.cloud.tickets import TicketJudgement, verify_ticket
from edge_agent.cloud.verifier import KeyLookup
from edge_agent.cloud.witness import Answer, Outcome, RedemptionAsked, WitnessPolicy, check_who


@dataclass(frozen=True, slots=True)
class Redeemed:
    """The answer, and the ticket that it is about."""

    answer: Answer
    judgement: TicketJudgement


async def redeem_ticket(
    text_or_url: str, who: str, *, now: float, keys: KeyLookup, ledger: Ledger, policy: WitnessPolicy
) -> Redeemed:
    """Redeem a ticket for the account ``who`` (1 to 64 visible ASCII characters, chosen by the caller) at ``now``.

    Repeat it to learn what became of a pending one. Raises ValueError for a wrong ``who``, LedgerError when nothing is
    known to be kept; never for anything that a phone can send.
    """
    check_who(who)
    judged = verify_ticket(text_or_url, now=now, keys=keys)
    if judged.ticket is None or judged.fleet is None or judged.terminal is None:
        return Redeemed(Answer(Outcome.REFUSED, judged.verdict, judged.reason), judged)
    ticket = judged.ticket
    event = RedemptionAsked(who, judged.verdict, judged.reason)
    asked = TicketAsked(ticket.kid, ticket.nonce, judged.fleet, judged.terminal, event)
    return Redeemed(await ledger.redeem_ticket(asked, now=now, policy=policy), judged)
