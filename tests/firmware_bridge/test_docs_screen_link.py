"""docs/screen-link.md says what the code does: generated parts, the sample report, clauses, links, files."""

import io
import json
import re
from pathlib import Path

import pytest

from firmware_bridge import manual
from firmware_bridge.cli.commands import COMMANDS
from firmware_bridge.conformance.report import Report
from firmware_bridge.conformance.runner import CHECKS, chosen, run
from firmware_bridge.conformance.talk import Talk
from firmware_bridge.cues import CueName
from firmware_bridge.messages import CUE_CODES, Capability, EventCode, NakReason, encode_message
from tests.fakes.broken_firmware import RunAgain
from tests.fakes.virtual_wire import VirtualWire

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "screen-link.md").read_text(encoding="utf-8")
HEADINGS = re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)


def test_the_generated_parts_are_the_generators() -> None:
    assert manual.with_generated_parts(PAGE) == PAGE, "run `make contract`"


@pytest.mark.parametrize("names", [CueName, NakReason, EventCode, Capability])
def test_every_name_of_the_protocol_is_on_the_page(names: type) -> None:
    for one in names:  # type: ignore[attr-defined]  # an enum
        assert one.name in PAGE or f"`{one}`" in PAGE


def test_every_cue_has_its_row() -> None:
    for name, code in CUE_CODES.items():
        assert f"\n| {code} | `{name}` | " in PAGE


def test_every_example_is_a_vector() -> None:
    document = json.loads((ROOT / "config/contract/vectors/screen-link.json").read_text(encoding="utf-8"))
    lines = {vector["line_hex"] for vector in document["frames"]}
    for name, _, seq, message in manual.EXAMPLES:
        data = encode_message(message, seq)
        assert data.hex() in lines, name
        assert f"| {seq} | `{data.hex(' ')}` |" in PAGE


def test_the_clause_of_each_check_is_a_heading_or_a_rule_of_it() -> None:
    rules = PAGE.partition("### What the MCU must do\n")[2].partition("\n#")[0]
    for check in CHECKS:
        heading, _, number = check.clause.partition(", ")
        assert heading in HEADINGS, check.id
        assert not number or re.search(rf"^{number}\. ", rules, re.MULTILINE), check.id


def test_every_rule_for_the_mcu_has_a_check() -> None:
    rules = PAGE.partition("### What the MCU must do\n")[2].partition("\n#")[0]
    numbers = set(re.findall(r"^(\d)\. ", rules, re.MULTILINE))
    assert numbers == {check.clause[-1] for check in CHECKS if check.clause.startswith("What the MCU must do")}


def test_the_sample_report_is_what_the_command_prints() -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    report, talk, checks = Report(out), Talk(VirtualWire(RunAgain)), chosen(["sequence.once"])
    report.begin("/dev/ttyUSB0", len(checks))
    report.end(run(talk, checks, report.tell), talk.hello, talk.unreadable)
    out.seek(0)
    command = "$ firmware-bridge conformance --port /dev/ttyUSB0 --only sequence.once\n"
    assert PAGE.partition(command)[2].partition("```")[0] == out.read()


def test_every_command_on_the_page_exists() -> None:
    named = set(re.findall(r"firmware-bridge ([a-z]+)", PAGE))
    assert named <= set(COMMANDS)
    assert "conformance" in named


def test_every_file_that_the_page_names_is_there() -> None:
    for name in re.findall(r"`((?:firmware_bridge|config|tests|docs)/[\w./-]+)`", PAGE):
        assert (ROOT / name).exists(), name


def test_links_inside_the_page_lead_somewhere() -> None:
    anchors = {re.sub(r"[^a-z0-9 -]", "", head.lower()).replace(" ", "-") for head in HEADINGS}
    assert set(re.findall(r"\]\(#([^)]*)\)", PAGE)) <= anchors
