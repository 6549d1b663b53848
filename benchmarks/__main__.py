"""Run all benchmarks, or those named: ``python -m benchmarks [NAME ...]``; ``make bench ARGS="path uplink"``.

Prints one line per figure: name, value, the bound that it is held to, and whether it holds on this machine now.
The exit status is 1 if a bound was missed; no test depends on it, because a busy machine can miss any of them.
"""

import importlib
import logging
import sys

import structlog

from benchmarks.figures import Figure

_SCREEN = ("screen", "page", "player")
MODULES = ("cli", "tokens", "outbox", *_SCREEN, "readers", "path", "uplink", "agent", "restart", "storm", "peers")


def show(figure: Figure) -> str:
    """One line of at most 100 columns."""
    verdict = {None: "", True: "ok", False: "MISSED"}[figure.ok]
    return f"  {figure.name:<58} {figure.value:>12,.3f} {figure.unit:<10} {figure.bound:<14} {verdict}".rstrip()


def main(names: list[str]) -> int:
    """Run and print; returns the exit status."""
    unknown = sorted(set(names) - set(MODULES))
    if unknown:
        print(f"no benchmark named {', '.join(unknown)}; there are {', '.join(MODULES)}", file=sys.stderr)
        return 2
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    missed = 0
    for name in names or MODULES:
        print(f"{name}", flush=True)
        for figure in importlib.import_module(f"benchmarks.{name}").run():
            print(show(figure), flush=True)
            missed += figure.ok is False
    print("all bounds hold" if not missed else f"{missed} bound(s) missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
