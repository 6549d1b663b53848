"""Break a healthy terminal in every known way, and put the table of what doctor said into docs/technician.md.

`python -m tests.diag.faults [PART OF A NAME]`; with a part of a name only those faults are tried, and only printed.
"""

# ruff: noqa: T201 -- a script that talks to the developer

import logging
import sys
from pathlib import Path

import structlog

from tests.diag.faults.table import BEGIN, END, FAULTS, markdown, measured

PAGE = Path(__file__).parents[3] / "docs" / "technician.md"


def main() -> None:
    """Measure, print, write."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    part = " ".join(sys.argv[1:])
    rows = []
    for row in measured(fault for fault in FAULTS if part in fault.name):
        rows.append(row)
        print(row, flush=True)
    if part:
        return
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + markdown(rows) + after, encoding="utf-8")


if __name__ == "__main__":
    main()
