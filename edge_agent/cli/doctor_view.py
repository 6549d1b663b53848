"""What `doctor` found, for people and for programs: verdict first, the worst next, the next step last."""

import json
from collections.abc import Iterator, Sequence

from edge_agent.cli.render import Paper, counted
from edge_agent.diag.check import ROOMS, Check
from edge_agent.diag.finding import Finding, Severity
from edge_agent.diag.runner import Report, Result
from edge_agent.sanitize import printable

_KIND = {Severity.ERROR: "bad", Severity.WARNING: "warn"}
_INDENT = "    "


def show(
    paper: Paper,
    report: Report,
    fixed: Sequence[tuple[str, str]],
    *,
    strict: bool = False,
    verbose: bool = False,
    fixing: bool = False,
) -> None:
    """Print it all."""
    kind, words = _verdict(report, strict=strict)
    paper.print(paper.paint(words, kind))
    paper.print()
    for title, why in fixed:
        paper.wrapped(f"tried to {title}, but: {why}" if why else f"done: {title}", "  ", "warn" if why else "good")
    if fixed:
        paper.print()
    for finding in report.shown:
        _finding(paper, finding, fixing=fixing)
    for result in report.lost:
        paper.print(f"  {paper.paint('could not look', 'warn')}  {result.check.id}")
        paper.wrapped(_sentence(result.skipped) + (_sentence(f" {result.remedy}") if result.remedy else ""), _INDENT)
        paper.print()
    for room in ROOMS:
        _room(paper, room, [result for result in report.results if result.check.room == room], verbose=verbose)
    if report.hidden:
        names = ", ".join(_named(finding) for finding in report.hidden)
        paper.wrapped(f"hidden, as consequences of the above: {names}", "  ")
    paper.print()
    paper.wrapped(f"Next: {_next_step(report, fixing=fixing)}")


def list_checks(paper: Paper, checks: Sequence[Check], *, as_json: bool) -> None:
    """Print what there is to look at, and what each check may find."""
    if as_json:
        print(json.dumps({"checks": [_declared(check) for check in checks]}))
        return
    for room in ROOMS:
        mine = [check for check in checks if check.room == room]
        if not mine:
            continue
        paper.print(paper.paint(room, "bold"))
        for check in mine:
            paper.wrapped(f"{check.id}: {check.about}", "  ")
            for kind in check.kinds:
                paper.wrapped(f"{kind.severity.value} {kind.id}: {kind.title}", _INDENT + "  ", "dim")


def as_dict(report: Report, fixed: Sequence[tuple[str, str]], status: int) -> dict[str, object]:
    """Return all of it for a program; ``state`` is ok, warning, error or unknown, as Report says it."""
    return {
        "state": _state(report),
        "exit_status": int(status),
        "seconds": round(report.seconds, 3),
        "findings": [finding_dict(finding) for finding in report.shown],
        "hidden": [finding_dict(finding) for finding in report.hidden],
        "fixed": [{"title": title, "error": why or None} for title, why in fixed],
        "checks": [_result_dict(result) for result in report.results],
    }


def finding_dict(finding: Finding) -> dict[str, object]:
    """Return one finding for a program."""
    return {
        "id": finding.kind.id,
        "severity": finding.kind.severity.value,
        "subject": finding.subject or None,
        "title": finding.kind.title,
        "text": finding.text,
        "remedy": finding.kind.remedy,
        "commands": list(finding.commands or finding.kind.commands),
        "fix": finding.fix.title if finding.fix else None,
    }


def _result_dict(result: Result) -> dict[str, object]:
    return {
        "id": result.check.id,
        "room": result.check.room,
        "state": _word(result),
        "seen": [{"subject": seen.subject or None, "text": seen.text} for seen in result.seen],
        "skipped": result.skipped or None,
        "seconds": round(result.seconds, 3),
    }


def _declared(check: Check) -> dict[str, object]:
    kinds = [{"id": kind.id, "severity": kind.severity.value, "title": kind.title} for kind in check.kinds]
    return {"id": check.id, "room": check.room, "about": check.about, "findings": kinds}


def _state(report: Report) -> str:
    if report.count(Severity.ERROR):
        return "error"
    if report.shown:
        return "warning"
    return "unknown" if report.lost else "ok"


def _verdict(report: Report, *, strict: bool) -> tuple[str, str]:
    errors, warnings = report.count(Severity.ERROR), report.count(Severity.WARNING)
    parts = [counted(errors, "problem").upper()] if errors else []
    if warnings:
        parts.append(counted(warnings, "warning").upper() if not errors else counted(warnings, "warning"))
    lost = len(report.lost)
    if lost:
        parts.append(f"{counted(lost, 'check')} could not look")
    if not parts:
        return "good", f"HEALTHY: {counted(len(report.results), 'check')} in {report.seconds:.1f} s"
    return "bad" if errors or (strict and warnings) else "warn", ", ".join(parts)


def _finding(paper: Paper, finding: Finding, *, fixing: bool) -> None:
    kind = finding.kind
    subject = f" {printable(finding.subject, limit=60)}" if finding.subject else ""
    word = paper.paint(kind.severity.value.upper(), _KIND[kind.severity])
    paper.print(f"  {word}  {paper.paint(kind.id, 'bold')}{subject}")
    paper.wrapped(_sentence(printable(finding.text, limit=400)), _INDENT)
    paper.wrapped(kind.remedy, _INDENT)
    for command in finding.commands or kind.commands:
        paper.print(f"{_INDENT}  $ {printable(command, limit=200)}")
    if finding.fix is not None and not fixing:
        paper.wrapped(f"`edge-agent doctor --fix` can {finding.fix.title}.", _INDENT)
    paper.print()


def _room(paper: Paper, room: str, results: Sequence[Result], *, verbose: bool) -> None:
    if not results:
        return
    if not verbose:
        words = [_word(result) for result in results]
        counts = [(words.count(word), word) for word in ("ok", "warning", "error", "unknown", "not here")]
        paper.print(f"  {room:<10}" + ", ".join(f"{count} {word}" for count, word in counts if count))
        return
    paper.print(f"  {paper.paint(room, 'bold')}")
    for result in results:
        word = _word(result)
        colour = {"ok": "good", "error": "bad", "not here": "dim"}.get(word, "warn")
        about = list(_lines(result))
        paper.print(
            f"    {paper.paint(f'{word:<9}', colour)}{result.check.id:<16} {about[0] if about else ''}".rstrip()
        )
        for line in about[1:]:
            paper.wrapped(line, " " * 30)


def _lines(result: Result) -> Iterator[str]:
    if result.skipped:
        yield printable(result.skipped, limit=200)
    for seen in result.seen:
        yield printable(f"{seen.subject}: {seen.text}" if seen.subject else seen.text, limit=200)
    for finding in result.findings:
        yield _named(finding)


def _word(result: Result) -> str:
    if any(finding.kind.severity is Severity.ERROR for finding in result.findings):
        return "error"
    if result.findings:
        return "warning"
    if result.lost:
        return "unknown"
    return "not here" if result.skipped else "ok"


def _named(finding: Finding) -> str:
    return f"{finding.kind.id} ({printable(finding.subject, limit=60)})" if finding.subject else finding.kind.id


def _next_step(report: Report, *, fixing: bool) -> str:
    if not report.shown:
        if report.lost:
            return next((result.remedy for result in report.lost if result.remedy), "see why it could not look.")
        return "nothing to do."
    if not fixing and any(finding.fix for finding in report.shown):
        return "let it repair what it can: sudo edge-agent doctor --fix"
    worst = report.shown[0]
    return f"begin with {_named(worst)}; more about it: edge-agent doctor --explain {worst.kind.id}"


def _sentence(text: str) -> str:
    return text if text.endswith((".", ":", "?", "!")) else f"{text}."
