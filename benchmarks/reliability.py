"""Writes the tables of docs/reliability.md from what the proofs and ``benchmarks.peers`` reported. Measures nothing.

``PROOF_REPORT=/tmp/report.jsonl make proof``, the same with ``make bench ARGS=peers``, then
``python -m benchmarks.reliability /tmp/report.jsonl``. Lines with a ``peer`` make the second table, all others the
first; a table without lines stays as it is. Of several reports of one fault the one with the most repetitions counts.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent.parent / "docs" / "reliability.md"
PROOFS, PEERS = "proofs", "peers"
Report = dict[str, Any]


def proof_table(reports: Iterable[Report]) -> list[str]:
    """One line for each fault. What is in the ledger beyond what belongs there is there twice."""
    heads = ("Fault", "How it was provoked", "Times", "Promised", "Lost", "Twice in the ledger", "Given up, signed")
    lines = [
        _row([*heads, "Sent again", "Recovered in s: least, median, most"]),
        _row(["---", "---", *["---:"] * 7]),
    ]
    chosen: dict[tuple[str, bool], Report] = {}
    for report in reports:
        key = (report["fault"], report["given_up"] > 0)  # with and without evictions are two proofs
        if key not in chosen or report["times"] >= chosen[key]["times"]:
            chosen[key] = report
    for report in sorted(chosen.values(), key=lambda report: str(report["fault"])):
        kept = report["promised"] - report["lost"] - report["given_up"]
        cells = [
            report["fault"],
            report["how"],
            f"{report['times']:,}",
            f"{report['promised']:,}",
            f"{report['lost']:,}",
            f"{report['stored'] - report['unpromised'] - kept:,}",
            f"{report['given_up']:,}",
            f"{report['duplicates']:,}",
            _spread(report["recovery_s"]),
        ]
        lines.append(_row(cells))
    return lines


def peer_table(reports: Iterable[Report]) -> list[str]:
    """One line for each fault and queue, in the order of the run."""
    lines = [
        "| Fault | Queue | Taken | Lost | Arrived twice | Recovered in s |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    chosen = {(report["fault"], report["peer"]): report for report in reports}
    for report in chosen.values():
        recovered = "-" if report["recover_s"] is None else f"{report['recover_s']:.1f}"
        cells = [
            report["fault"],
            report["peer"],
            f"{report['taken']:,}",
            f"{report['lost']:,}",
            f"{report['duplicates']:,}",
            recovered,
        ]
        lines.append(_row(cells))
    return lines


def with_table(page: str, name: str, lines: Sequence[str]) -> str:
    """The page with this table between its markers; ValueError if they are not there once."""
    begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
    before, found, rest = page.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end or begin in after:
        raise ValueError(f"the page needs {begin.strip()} and {end} once each")
    return f"{before}{begin}\n" + "\n".join(lines) + f"\n\n{end}{after}"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def _spread(recovery: dict[str, float] | None) -> str:
    if recovery is None:
        return "-"
    return ", ".join(f"{recovery[key]:.2f}" for key in ("min", "median", "max"))


def main(paths: Sequence[str]) -> int:
    """Rewrite the page; returns the exit status."""
    reports: list[Report] = [json.loads(line) for path in paths for line in Path(path).read_text("utf-8").splitlines()]
    if not reports:
        print("no reports: name files that were written with PROOF_REPORT", file=sys.stderr)
        return 2
    page = PAGE.read_text(encoding="utf-8")
    proofs = [report for report in reports if "peer" not in report]
    peers = [report for report in reports if "peer" in report]
    if proofs:
        page = with_table(page, PROOFS, proof_table(proofs))
    if peers:
        page = with_table(page, PEERS, peer_table(peers))
    PAGE.write_text(page, encoding="utf-8")
    print(f"{PAGE.name}: {len(proofs)} reports of proofs, {len(peers)} of peers")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
