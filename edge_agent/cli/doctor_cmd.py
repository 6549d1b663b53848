"""`edge-agent doctor`: looks at everything that can be wrong with a terminal, and says what to do about it.

It works while the agent does not run and without a network, and changes nothing without ``--fix``.
"""

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.cli.commands import COMMANDS, Commands, add_config, add_json
from edge_agent.cli.render import Paper
from edge_agent.errors import ExitCode

if TYPE_CHECKING:
    from edge_agent.diag.check import Check
    from edge_agent.diag.finding import Fix
    from edge_agent.diag.runner import Report
    from edge_agent.diag.site import Site


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "doctor",
        help=COMMANDS["doctor"].help,
        description="Look at the host, the devices and the delivery of this terminal; say what is wrong and what to "
        "do. Exit status: 0 healthy, 1 problem, 3 something could not be looked at, 78 configuration.",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--list-checks", action="store_true", help="print the checks and what each may find")
    what.add_argument("--explain", metavar="FINDING", help="print the page of a finding")
    what.add_argument(
        "--interactive", action="store_true", help="follow a phone that is held to the screen, step by step"
    )
    parser.add_argument("--only", action="append", metavar="CHECK", help="only this check or room; may be repeated")
    parser.add_argument("--skip", action="append", metavar="CHECK", help="not this check or room; may be repeated")
    parser.add_argument("--strict", action="store_true", help="a warning is a problem, too")
    parser.add_argument("--fix", action="store_true", help="do the repairs that can do no harm, then look again")
    parser.add_argument("-v", "--verbose", action="store_true", help="a line for each check, with what it saw")
    parser.add_argument("--socket", type=Path, metavar="PATH", help="control socket, instead of the configured one")
    add_config(parser)
    add_json(parser)
    parser.set_defaults(usage_error=parser.error)


def run(args: argparse.Namespace) -> int:
    """Look and print; raises nothing but what main prints."""
    from edge_agent.diag.check import all_checks  # noqa: PLC0415 -- not for --help
    from edge_agent.diag.site import Site  # noqa: PLC0415 -- not for --help

    paper = Paper(sys.stdout)
    if args.explain is not None:
        return _explain(args, paper)
    checks = _chosen(args, all_checks())
    if args.list_checks:
        from edge_agent.cli.doctor_view import list_checks  # noqa: PLC0415 -- for this alone

        list_checks(paper, checks, as_json=args.json)
        return ExitCode.OK
    site = Site(args.config, socket=args.socket)
    if args.interactive:
        from edge_agent.cli.interactive import walk  # noqa: PLC0415 -- for this alone

        return walk(paper, site.socket, as_json=args.json)
    return _look(args, paper, checks, site)


def _look(args: argparse.Namespace, paper: Paper, checks: "tuple[Check, ...]", site: "Site") -> int:
    from edge_agent.cli.doctor_view import as_dict, show  # noqa: PLC0415 -- not for --help
    from edge_agent.diag.runner import run_checks  # noqa: PLC0415 -- as above
    from edge_agent.diag.site import Site  # noqa: PLC0415 -- as above

    report = run_checks(checks, site)
    fixed: list[tuple[str, str]] = []
    if args.fix:
        fixed = [_repaired(fix) for fix in _fixes(report)]
        if fixed:
            report = run_checks(checks, Site(args.config, socket=args.socket))
    status = _status(report, strict=args.strict)
    if args.json:
        print(json.dumps(as_dict(report, fixed, status)))
    else:
        show(paper, report, fixed, strict=args.strict, verbose=args.verbose, fixing=args.fix)
    return status


def _status(report: "Report", *, strict: bool) -> ExitCode:
    from edge_agent.diag.finding import Severity  # noqa: PLC0415 -- not for --help
    from edge_agent.diag.site import CONFIG_INVALID  # noqa: PLC0415 -- as above

    if any(finding.kind.id == CONFIG_INVALID for finding in report.shown):
        return ExitCode.CONFIG
    if report.count(Severity.ERROR) or (strict and report.shown):
        return ExitCode.PROBLEM
    return ExitCode.COULD_NOT_LOOK if report.lost else ExitCode.OK


def _chosen(args: argparse.Namespace, checks: "tuple[Check, ...]") -> "tuple[Check, ...]":
    """The checks that ``--only`` and ``--skip`` leave; wrong names are wrong usage."""
    known = {check.id for check in checks} | {check.room for check in checks}
    for word in (*(args.only or ()), *(args.skip or ())):
        if word not in known:
            args.usage_error(f"there is no check or room {word!r}; see --list-checks")
    only, skip = set(args.only or known), set(args.skip or ())
    chosen = tuple(check for check in checks if {check.id, check.room} & only and not {check.id, check.room} & skip)
    if not chosen:
        args.usage_error("no check is left")
    return chosen


def _fixes(report: "Report") -> "Iterable[Fix]":
    """Each repair once: two findings may have the same one. What is hidden waits until its cause is mended."""
    titles: set[str] = set()
    for finding in report.shown:
        if finding.fix is not None and finding.fix.title not in titles:
            titles.add(finding.fix.title)
            yield finding.fix


def _repaired(fix: "Fix") -> tuple[str, str]:
    """Run one repair; returns its title and why it failed, which is empty if it did not."""
    from edge_agent.diag.finding import CannotLook  # noqa: PLC0415 -- not for --help
    from edge_agent.errors import EdgeAgentError  # noqa: PLC0415 -- as above

    try:
        fix.run()
    except CannotLook as error:
        return fix.title, error.why
    except EdgeAgentError as error:
        return fix.title, error.text
    except OSError as error:
        return fix.title, error.strerror or str(error)
    return fix.title, ""


def _explain(args: argparse.Namespace, paper: Paper) -> int:
    from edge_agent.diag.check import all_kinds  # noqa: PLC0415 -- for this alone
    from edge_agent.diag.pages import page_of  # noqa: PLC0415 -- for this alone

    if args.explain not in all_kinds():
        args.usage_error(f"there is no finding {args.explain!r}; see --list-checks")
    page = page_of(args.explain)
    if args.json:
        print(json.dumps({"id": args.explain, "page": page}))
        return ExitCode.OK
    for line in page.splitlines():
        paper.print(line)
    return ExitCode.OK
