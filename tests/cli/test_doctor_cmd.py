import io
import json
from pathlib import Path

import pytest

from edge_agent.cli import doctor_cmd, doctor_view
from edge_agent.cli.main import main
from edge_agent.cli.render import Paper
from edge_agent.diag.causes import sort_out
from edge_agent.diag.check import Check, all_checks, all_kinds
from edge_agent.diag.finding import Finding, Fix, Kind, Seen, Severity
from edge_agent.diag.runner import Report, Result
from tests.fakes.control_stub import answering

SAMPLE = Path(__file__).parents[2] / "config/edge-agent.toml"
MISSING = Kind(
    "port-missing", Severity.ERROR, "The port is not there", "Plug it in.", ("edge-agent reader probe",), ("deaf",)
)
DEAF = Kind("deaf", Severity.ERROR, "It is deaf", "Power-cycle it.")
SLOW = Kind("slow", Severity.WARNING, "It is slow", "Set the latency timer.")


def check(name: str, room: str) -> Check:
    return Check(name, f"about {name}", (), lambda _site: (), room)


def report(*findings: Finding, lost: bool = False) -> Report:
    results = [
        Result(check("clock", "host"), seen=(Seen("synchronised"),)),
        Result(check("readers", "devices"), findings=findings, seen=(Seen("PN532 v1.6", "nfc1"),)),
        Result(check("ble", "devices"), skipped="no BLE screen"),
        Result(check("disk", "host"), skipped="no permission", remedy="run it with sudo", lost=lost),
    ]
    return Report(tuple(results), *sort_out(findings), seconds=1.25)


def text_of(shown: Report, **how: bool) -> str:
    stream = io.StringIO()
    doctor_view.show(Paper(stream, {}), shown, [], **how)
    return stream.getvalue()


def test_healthy_is_said_in_the_first_line_and_nothing_is_next() -> None:
    lines = text_of(report()).splitlines()
    assert lines[0] == "HEALTHY: 4 checks in 1.2 s"
    assert lines[-1] == "Next: nothing to do."


def test_the_worst_comes_first_each_with_what_to_do_and_consequences_are_only_named() -> None:
    fix = Fix("set the latency timer to 1 ms", lambda: None)
    text = text_of(
        report(
            Finding(SLOW, "16 ms", "nfc1", fix), Finding(DEAF, "no answer", "nfc0"), Finding(MISSING, "/dev/x", "nfc0")
        )
    )
    assert text.splitlines() == [
        "1 PROBLEM, 1 warning",
        "",
        "  ERROR  port-missing nfc0",
        "    /dev/x.",
        "    Plug it in.",
        "      $ edge-agent reader probe",
        "",
        "  WARNING  slow nfc1",
        "    16 ms.",
        "    Set the latency timer.",
        "    `edge-agent doctor --fix` can set the latency timer to 1 ms.",
        "",
        "  host      1 ok, 1 not here",
        "  devices   1 error, 1 not here",
        "  hidden, as consequences of the above: deaf (nfc0)",
        "",
        "Next: let it repair what it can: sudo edge-agent doctor --fix",
    ]


def test_verbose_has_a_line_for_each_check() -> None:
    text = text_of(report(Finding(DEAF, "no answer", "nfc0")), verbose=True)
    assert "    ok       clock            synchronised" in text
    assert "    not here ble              no BLE screen" in text
    assert "    error    readers          nfc1: PN532 v1.6\n" + " " * 30 + "deaf (nfc0)" in text


def test_what_could_not_be_looked_at_is_told_with_its_remedy() -> None:
    lines = text_of(report(lost=True)).splitlines()
    assert lines[0] == "1 check could not look"
    assert "    no permission. run it with sudo." in lines
    assert lines[-1] == "Next: run it with sudo"


def test_peer_text_cannot_move_the_cursor_and_no_line_is_too_wide() -> None:
    text = text_of(report(Finding(DEAF, "\x1b[2J" + "word " * 60, "\x1b[0m")), verbose=True)
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_wrong_configuration_ends_with_78_and_hides_that_the_agent_is_down(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "edge-agent.toml"
    path.write_text(SAMPLE.read_text().replace("ttl = 90", "ttl = 900"))
    words = ["doctor", "--config", str(path), "--socket", str(tmp_path / "s"), "--only", "configuration"]
    assert main([*words, "--only", "agent", "--json"]) == 78
    answer = json.loads(capsys.readouterr().out)
    assert (answer["state"], answer["exit_status"]) == ("error", 78)
    assert [found["id"] for found in answer["findings"]] == ["config-invalid"]
    assert [found["id"] for found in answer["hidden"]] == ["agent-down"]
    assert {check["id"]: check["state"] for check in answer["checks"]} == {"configuration": "error", "agent": "error"}


def test_a_running_agent_and_a_right_configuration_are_healthy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["doctor", "--config", str(SAMPLE), "--socket", str(tmp_path / "s")]
    with answering(tmp_path / "s", {"version": "1.0"}):
        assert main([*words, "--only", "agent", "--only", "configuration"]) == 0
    assert capsys.readouterr().out.startswith("HEALTHY: 2 checks")


def test_only_and_skip_take_checks_and_rooms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--list-checks", "--only", "host", "--skip", "agent", "--json"]) == 0
    listed = [one["id"] for one in json.loads(capsys.readouterr().out)["checks"]]
    assert listed == [check.id for check in all_checks() if check.room == "host" and check.id != "agent"]


@pytest.mark.parametrize("words", [["--only", "weather"], ["--skip", "nothing"], ["--explain", "weather"]])
def test_a_name_that_does_not_exist_is_wrong_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", *words])
    assert ended.value.code == 2
    assert "--list-checks" in capsys.readouterr().err


def test_the_list_names_every_finding(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--list-checks"]) == 0
    text = capsys.readouterr().out
    for one in all_checks():
        assert f"{one.id}: " in text
        for kind in one.kinds:
            assert f"{kind.severity.value} {kind.id}: " in text


def test_explain_prints_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--explain", "agent-down"]) == 0
    assert capsys.readouterr().out.startswith("# agent-down: The agent does not run\n")


def test_explain_prints_the_page_for_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--explain", "agent-down", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["id"] == "agent-down"
    assert answer["page"].startswith("# agent-down: ")


@pytest.mark.parametrize(
    ("found", "strict", "status"),
    [
        (report(), False, 0),
        (report(Finding(SLOW, "16 ms")), False, 0),
        (report(Finding(SLOW, "16 ms")), True, 1),
        (report(Finding(MISSING, "/dev/x")), False, 1),
        (report(lost=True), False, 3),
        (report(Finding(SLOW, "16 ms"), lost=True), False, 3),
        (report(Finding(MISSING, "/dev/x"), lost=True), False, 1),
        (report(Finding(all_kinds()["config-invalid"], "line 3"), lost=True), False, 78),
    ],
)
def test_the_exit_status_tells_the_worst(found: Report, strict: bool, status: int) -> None:
    assert doctor_cmd._status(found, strict=strict) == status


def test_what_is_hidden_is_not_repaired_before_its_cause_and_the_same_repair_is_done_once() -> None:
    ours, theirs = Fix("mend it", lambda: None), Fix("start it", lambda: None)
    found = report(Finding(MISSING, "", "a", ours), Finding(MISSING, "", "b", ours), Finding(DEAF, "", "a", theirs))
    assert [fix.title for fix in doctor_cmd._fixes(found)] == ["mend it"]
