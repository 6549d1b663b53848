"""Full-jitter back-off: how long to wait before the next try, so that a fleet never comes back in step.

The delay is drawn uniformly from zero to base * 2^failures, capped. It starts over only after a success that lasted:
a peer that accepts and drops us at once is a failing peer. Never sleeps and never looks at a clock.
"""

import random

from edge_agent.errors import EdgeAgentError


class Backoff:
    """One series of tries; all times are CLOCK_MONOTONIC seconds given by the caller."""

    def __init__(
        self,
        base: float = 5.0,
        cap: float = 300.0,
        stable_after: float = 60.0,
        rng: random.Random | None = None,
    ) -> None:
        if not 0 < base <= cap or stable_after < 0:
            msg = f"back-off needs 0 < base <= cap and stable_after >= 0, not {base}, {cap}, {stable_after}"
            raise EdgeAgentError(msg)
        self._base = base
        self._cap = cap
        self._stable_after = stable_after
        self._rng = rng or random.SystemRandom()
        self._failures = 0
        self._up_since: float | None = None

    @property
    def failures(self) -> int:
        """Failures since the last stable success."""
        return self._failures

    def succeeded(self, now: float) -> None:
        """The try worked at ``now``; that counts only if it lasts for ``stable_after`` seconds."""
        if self._up_since is None:
            self._up_since = now

    def next_delay(self, now: float) -> float:
        """Count one failure at ``now`` and return the seconds to wait, in [0, min(cap, base * 2^(failures - 1))]."""
        if self._up_since is not None and now - self._up_since >= self._stable_after:
            self._failures = 0
        self._up_since = None
        self._failures += 1
        # ldexp of a large exponent overflows; beyond 2^62 the cap rules anyway.
        ceiling = min(self._cap, self._base * 2.0 ** min(self._failures - 1, 62))
        return self._rng.uniform(0.0, ceiling)

    def spread(self, width_s: float) -> float:
        """Draw from [0, width_s]: added to a fixed pause it keeps many peers from returning in step."""
        return self._rng.uniform(0.0, width_s)
