"""A gate that lets everybody pass, for tests and benchmarks of what is behind it."""

from edge_agent.clock import Clock
from edge_agent.tap_gate import TapGate


def open_gate(clock: Clock) -> TapGate:
    """More taps than any machine signs, no cool-down."""
    return TapGate(
        taps_per_minute=10**9, burst=10**9, cooldown_s=0, clock=clock, rest=lambda _on: None, tell=lambda _notice: None
    )
