"""Story 11: a broker restarts and all terminals knock at the same moment. Full jitter spreads them."""

import random
from collections import Counter

from edge_agent.backoff import Backoff

TERMINALS = 1000


def test_a_thousand_terminals_spread_over_the_whole_delay_at_every_attempt() -> None:
    terminals = [Backoff(1.0, 300.0, 60.0, random.Random(number)) for number in range(TERMINALS)]
    for attempt in range(10):
        longest = min(300.0, 2.0**attempt)
        delays = [terminal.next_delay(0.0) for terminal in terminals]
        assert max(delays) <= longest
        per_tenth = Counter(min(9, int(10 * delay / longest)) for delay in delays)
        assert len(per_tenth) == 10
        assert max(per_tenth.values()) < TERMINALS / 5, "no tenth of the time gets twice its share"


def test_a_broker_that_drops_everybody_again_at_once_is_not_hammered() -> None:
    terminal = Backoff(1.0, 300.0, 60.0, random.Random(11))
    now = 0.0
    for _ in range(12):
        now += terminal.next_delay(now)
        terminal.succeeded(now)
        now += 1.0  # accepted, and dropped a second later
    mean = sum(terminal.next_delay(now) for _ in range(200)) / 200
    assert mean > 100
