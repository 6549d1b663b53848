import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_agent.diag.check import Check
from edge_agent.diag.finding import CannotLook, Finding, Kind, NotHere, Seen, Severity
from edge_agent.diag.runner import CRASHED, SIDE_BY_SIDE, TIMED_OUT, run_checks
from edge_agent.diag.site import Site
from edge_agent.errors import OutboxError

BROKEN = Kind("broken", Severity.ERROR, "It is broken", "Mend it.")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "edge-agent.toml", root=tmp_path, env={})


def check(name: str, look: Callable[[Site], Iterator[Finding | Seen]], room: str = "host") -> Check:
    return Check(name, f"about {name}", (BROKEN,), look, room)


def well(_site: Site) -> Iterator[Finding | Seen]:
    yield Seen("all is well")


def broken(_site: Site) -> Iterator[Finding | Seen]:
    yield Seen("half of it is well", "left")
    yield Finding(BROKEN, "no", "right")


def test_it_keeps_the_order_of_the_checks_and_what_each_saw(site: Site) -> None:
    report = run_checks([check("a", broken), check("b", well)], site)
    assert [result.check.id for result in report.results] == ["a", "b"]
    assert report.results[0].seen == (Seen("half of it is well", "left"),)
    assert report.shown == (Finding(BROKEN, "no", "right"),)
    assert report.count(Severity.ERROR) == 1
    assert report.count(Severity.WARNING) == 0


def test_a_person_begins_where_most_of_the_rest_hangs_on(site: Site) -> None:
    root = Kind("root", Severity.ERROR, "It is the root", "Mend it.", hides=("broken",))
    wrong = Kind("wrong", Severity.ERROR, "It is wrong", "Mend it.")

    def of(kind: Kind) -> Callable[[Site], Iterator[Finding | Seen]]:
        return lambda _site: iter([Finding(kind, kind.id)])

    def blind(_site: Site) -> Iterator[Finding | Seen]:
        raise CannotLook("see above", because="wrong")
        yield

    checks = [check("a", of(BROKEN)), check("b", of(wrong)), check("c", of(root))]
    assert [one.kind.id for one in run_checks(checks, site).shown] == ["root", "wrong"]
    checks += [check("d", blind), check("e", blind)]
    assert [one.kind.id for one in run_checks(checks, site).shown] == ["wrong", "root"]


def test_a_check_that_crashes_is_a_finding_and_the_others_go_on(site: Site) -> None:
    def crash(_site: Site) -> Iterator[Finding | Seen]:
        yield Seen("first")
        raise ZeroDivisionError("by \x1b[31mzero")

    report = run_checks([check("a", crash), check("b", well)], site)
    (found,) = report.shown
    assert found.kind is CRASHED
    assert found.subject == "a"
    assert found.text.startswith("ZeroDivisionError: by ")
    assert "\x1b" not in found.text
    assert "test_runner.py:" in found.text
    assert report.results[1].seen == (Seen("all is well"),)


def test_a_check_that_hangs_is_a_finding_and_the_others_are_not_kept_waiting(site: Site) -> None:
    free, workers = threading.Event(), list[threading.Thread]()

    def hang(_site: Site) -> Iterator[Finding | Seen]:
        free.wait(60)
        yield Seen("too late")

    def quick(_site: Site) -> Iterator[Finding | Seen]:
        workers.append(threading.current_thread())
        yield Seen("all is well")

    def clock() -> float:
        """The time of the check that hangs is over once the other one has come to its end, however long that took."""
        return 1.0 if workers and not workers[0].is_alive() else 0.0

    try:
        report = run_checks([check("a", hang), check("b", quick)], site, check_s=0.05, clock=clock)
    finally:
        free.set()
    assert [finding.kind for finding in report.shown] == [TIMED_OUT]
    assert report.results[1].seen == (Seen("all is well"),)


def test_when_all_time_is_spent_the_rest_could_not_look(site: Site) -> None:
    free, begun = threading.Event(), list[str]()

    def hang(_site: Site) -> Iterator[Finding | Seen]:
        begun.append("once")
        free.wait(60)
        yield Seen("too late")

    def clock() -> float:
        """All time is spent once as many hang as may run."""
        return 1.0 if len(begun) == SIDE_BY_SIDE else 0.0

    checks = [check(f"hang{n}", hang) for n in range(SIDE_BY_SIDE)] + [check("late", well)]
    try:
        report = run_checks(checks, site, check_s=60, all_s=0.1, clock=clock)
    finally:
        free.set()
    assert [finding.kind for finding in report.shown] == [TIMED_OUT] * SIDE_BY_SIDE
    assert [result.check.id for result in report.lost] == ["late"]


@pytest.mark.parametrize(
    ("error", "skipped", "lost"),
    [
        (NotHere("no BLE screen"), "no BLE screen", False),
        (CannotLook("no `dmesg`", remedy="install it"), "no `dmesg`", True),
        (OutboxError("the port is busy", remedy="free it"), "the port is busy", True),
        (PermissionError(13, "Permission denied", "/dev/x"), "no permission for /dev/x", True),
        (OSError(5, "Input/output error", "/sys/\x1bx"), "/sys/\\x1bx: Input/output error", True),
        (TimeoutError(), "TimeoutError", True),
    ],
)
def test_a_check_that_does_not_look_says_why(site: Site, error: Exception, skipped: str, lost: bool) -> None:
    def look(_site: Site) -> Iterator[Finding | Seen]:
        yield Seen("first")
        raise error

    report = run_checks([check("a", look)], site)
    assert report.shown == ()
    assert report.results[0].skipped == skipped
    assert [result.check.id for result in report.lost] == (["a"] if lost else [])


def test_who_cannot_look_for_a_reason_that_is_told_is_not_told_again(site: Site) -> None:
    def blind(_site: Site) -> Iterator[Finding | Seen]:
        raise CannotLook("see above", because="broken")
        yield

    def closed(_site: Site) -> Iterator[Finding | Seen]:
        raise CannotLook("no permission")
        yield

    def closed_too(_site: Site) -> Iterator[Finding | Seen]:
        raise CannotLook("no permission", because="c")
        yield

    assert run_checks([check("a", broken), check("b", blind)], site).lost == ()
    assert [result.check.id for result in run_checks([check("b", blind)], site).lost] == ["b"]
    both = run_checks([check("c", closed), check("d", closed_too)], site)
    assert [result.check.id for result in both.lost] == ["c"]
