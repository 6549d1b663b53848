"""When to ask a silent peer whether it is still there, and when to believe that it is not. Pure.

Only what was heard counts: a dead link takes what is written until its buffers are full. It must never end a slow
link that lives: nobody is called dead who was not asked and had time to answer.
"""

from enum import StrEnum

# MQTT 5, section 3.1.2.10 gives the server one and a half keep-alives to call us dead; we are sooner.
ASK_AFTER = 0.5
DEAD_AFTER = 1.25
ANSWER_WITHIN = 0.5


class Look(StrEnum):
    """What to do now."""

    WAIT = "wait"
    ASK = "ask"
    """Send PINGREQ; said once for each silence."""
    DEAD = "dead"


class Silence:
    """The silence on one connection; all times are CLOCK_MONOTONIC seconds."""

    def __init__(self, now: float) -> None:
        self._heard_at = now
        self._asked_at: float | None = None

    def heard(self, now: float) -> None:
        """Something came, or nobody listened until now: the silence begins here."""
        self._heard_at = now
        self._asked_at = None

    def lasts(self, now: float) -> float:
        """Seconds since something came."""
        return now - self._heard_at

    def look(self, keepalive_s: float, now: float) -> Look:
        """Decide at ``now``; a keep-alive of 0 switches it off."""
        if not keepalive_s:
            return Look.WAIT
        if self._asked_at is None:
            if self.lasts(now) < ASK_AFTER * keepalive_s:
                return Look.WAIT
            self._asked_at = now
            return Look.ASK
        return Look.DEAD if now >= self._dead_at(keepalive_s, self._asked_at) else Look.WAIT

    def next_look(self, keepalive_s: float, now: float) -> float | None:
        """Seconds until ``look`` has something else to say than "wait"; None: never."""
        if not keepalive_s:
            return None
        due = self._heard_at + ASK_AFTER * keepalive_s
        if self._asked_at is not None:
            due = self._dead_at(keepalive_s, self._asked_at)
        return max(0.0, due - now)

    def _dead_at(self, keepalive_s: float, asked_at: float) -> float:
        # A thread that slept too long asks late; the answer then has its time all the same.
        return max(self._heard_at + DEAD_AFTER * keepalive_s, asked_at + ANSWER_WITHIN * keepalive_s)
