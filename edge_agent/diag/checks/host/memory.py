"""There is memory left, and the kernel has killed nothing of the agent for the lack of it."""

from collections.abc import Iterator

from edge_agent.diag.check import Check
from edge_agent.diag.figures import whole
from edge_agent.diag.finding import CannotLook, Finding, Kind, NotHere, Seen, Severity
from edge_agent.diag.site import Site
from edge_agent.diag.units import unit, values

STALLED_PERCENT = 10.0
"""Share of the last minute in which everything waited for memory."""
FREE_MB = 32

KILLED = Kind(
    "memory-killed",
    Severity.ERROR,
    "The kernel killed the agent for lack of memory",
    "The agent needs 50 MB and has a bound of 160 MB. If it was that bound, make a bundle for its makers; else find "
    "what else takes the memory.",
    ("journalctl -k --grep 'out of memory|oom' -n 20", "edge-agent bundle"),
    hides=("memory-short",),
)
SHORT = Kind(
    "memory-short",
    Severity.WARNING,
    "This board is short of memory",
    "Programs wait for memory, taps get slow. Find what takes it; often it is the browser of an advert player.",
    ("ps -eo rss,comm --sort=-rss | head", "grep avg /proc/pressure/memory"),
)


def look(site: Site) -> Iterator[Finding | Seen]:
    """Ask the kernel: its pressure figures, what is available, and the agent's control group."""
    kills = _kills(site)
    if kills:
        yield Finding(KILLED, f"{kills} times since the service was started")
    info = values((site.read("/proc/meminfo") or "").replace(":", "="))
    stalled = _stalled(site.read("/proc/pressure/memory") or "")
    free_kb = whole(info.get("MemAvailable", "").strip().partition(" ")[0])
    free_mb = free_kb // 1024 if free_kb is not None else None
    if free_mb is None and stalled is None:
        raise NotHere("this kernel does not tell how much memory is left")
    told = [f"{free_mb:,} MiB available"] if free_mb is not None else []
    told += [f"{stalled:.0f} % of the last minute spent waiting for memory"] if stalled else []
    text = ", ".join(told) or "nobody waits for memory"
    if (stalled or 0) > STALLED_PERCENT or (free_mb is not None and free_mb < FREE_MB):
        yield Finding(SHORT, text)
    else:
        yield Seen(text)


def _kills(site: Site) -> int:
    """Processes of the agent's control group that the kernel killed; 0 where nobody tells."""
    try:
        service = unit(site)
    except (NotHere, CannotLook):
        return 0
    events = site.read(f"/sys/fs/cgroup{service['ControlGroup']}/memory.events") or ""
    killed = whole(values(events.replace(" ", "=")).get("oom_kill")) if service["ControlGroup"] else 0
    return max(killed or 0, int(service["Result"] == "oom-kill"))


def _stalled(pressure: str) -> float | None:
    """Percent of the last minute in which all tasks stalled: ``full avg10=0.00 avg60=1.23 ...``."""
    for line in pressure.splitlines():
        if line.startswith("full "):
            try:
                return float(values(line.replace(" ", "\n"))["avg60"])
            except (KeyError, ValueError):
                return None
    return None


CHECK = Check("memory", "there is memory left", (KILLED, SHORT), look)
