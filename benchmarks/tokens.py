"""Sealing and verifying tokens and tickets, on one core, beside the bare signature and the bare verification."""

import time
from collections.abc import Callable

from benchmarks.figures import Figure
from edge_agent.clock import FakeClock
from edge_agent.cloud.keyset import KeySet, entry_from_show
from edge_agent.cloud.tickets import TicketVerdict, verify_ticket
from edge_agent.cloud.verifier import Verdict, verify
from edge_agent.models import ChainPosition, Tap, TapFacts, TapMode
from edge_agent.tags import ticket
from edge_agent.tokens.keys import PrivateKey
from edge_agent.tokens.tap_token import make_sealer

FLEET, TERMINAL = "bench", "bench-000001-a"
ROUNDS = 2000


def _us(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    for _ in range(ROUNDS):
        call()
    return (time.perf_counter() - began) / ROUNDS * 1e6


def run() -> list[Figure]:
    """Needs nothing."""
    key = PrivateKey.generate()
    clock = FakeClock()
    sealer = make_sealer(key, FLEET, TERMINAL)
    facts = TapFacts(TapMode.PHONE_APP, "nfc0", nonce=bytes(12), sub=bytes(10), rtt_ms=20, wtx=0)
    tap = Tap(facts=facts, at=clock.read(), ttl=90, campaign="c-1")
    token = sealer(tap, ChainPosition(bytes(8), 1))
    keys = KeySet([entry_from_show(key.public.registration(), fleet=FLEET, terminal=TERMINAL)])
    now = clock.read().unix

    def judge() -> None:
        judgement = verify(token, fleet=FLEET, terminal=TERMINAL, now=now, keys=keys.lookup)
        assert judgement.verdict is Verdict.FRESH, judgement

    url = ticket.link("t.example.com", ticket.seal(ticket.Ticket(key.kid, now, 120, bytes(8)), key.sign))

    def judge_ticket() -> None:
        found = verify_ticket(url, now=now, keys=keys.lookup)
        assert found.verdict is TicketVerdict.FRESH, found

    data = token[:-64]
    signature = key.sign(data)
    seal, sign = _us(lambda: sealer(tap, ChainPosition(bytes(8), 1))), _us(lambda: key.sign(data))
    check, bare = _us(judge), _us(lambda: key.public.verify(signature, data))
    ticket_check = _us(judge_ticket)
    return [
        Figure("a token", len(token), "bytes", "<= 248", len(token) <= 248),
        Figure("seal", seal, "us"),
        Figure("seal / bare signature", seal / sign, "x"),
        Figure("verify and judge", check, "us"),
        Figure("verify and judge / bare verification", check / bare, "x"),
        Figure("verified a second and core", 1e6 / check, "tokens/s"),
        Figure("verify a ticket / bare verification", ticket_check / bare, "x"),
        Figure("tickets verified a second and core", 1e6 / ticket_check, "tickets/s"),
    ]
