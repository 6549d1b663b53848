"""Which findings are worth a person's time: a consequence is hidden behind its cause. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from edge_agent.diag.finding import Finding, Severity


class Sorted(NamedTuple):
    """Findings to show, worst first, and those that will go away with them."""

    shown: tuple[Finding, ...]
    hidden: tuple[Finding, ...]


def sort_out(findings: Sequence[Finding]) -> Sorted:
    """Hide what another finding explains, also over several steps.

    Two that explain each other are both shown: nothing is ever hidden without its cause being in sight.
    """
    shown = [finding for finding in findings if not _explained(finding, findings)]
    sight = list(shown)
    hidden: list[Finding] = []
    waiting = [finding for finding in findings if finding not in shown]
    while waiting:
        explained = [finding for finding in waiting if any(cause.explains(finding) for cause in sight)]
        if not explained:
            shown += waiting
            break
        hidden += explained
        sight += explained
        waiting = [finding for finding in waiting if finding not in explained]
    shown.sort(key=lambda finding: finding.kind.severity is not Severity.ERROR)
    return Sorted(tuple(shown), tuple(hidden))


def _explained(finding: Finding, findings: Sequence[Finding]) -> bool:
    return any(cause.explains(finding) for cause in findings if cause is not finding)
