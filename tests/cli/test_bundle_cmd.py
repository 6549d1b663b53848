import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.cli.main import main
from edge_agent.ops.identify import identify_ops
from edge_agent.report_id import ReportId
from tests.fakes.control_stub import serving
from tests.fakes.whole_agent import write_config


def parts(file: Path) -> dict[str, bytes]:
    with tarfile.open(file, "r:gz") as archive:
        return {
            entry.name.split("/", 1)[1]: (archive.extractfile(entry) or io.BytesIO()).read()
            for entry in archive
            if entry.isfile()
        }


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = write_config(tmp_path, reader="/dev/nfc-reader0", host="broker.example", port=8883)
    path.with_name("edge-agent.toml.d").mkdir()
    (path.with_name("edge-agent.toml.d") / "10-site.toml").write_text("# hunter2\n[limits]\nburst = 7\n")
    (path.with_name("edge-agent.toml.d") / "10-site.toml~").write_text("not read: hunter2")
    return path


@pytest.fixture
def screens(tmp_path: Path) -> Iterator[list[str]]:
    """An agent that answers, and what its screens show."""
    texts: list[str] = []

    async def status(_: object) -> dict[str, object]:
        return {"terminal": "sh-000123-a", "health": {"state": "ok"}, "password": "hunter2"}

    async def stats(_: object) -> dict[str, object]:
        return {"stats": {"pending": 3}}

    ops = {"status": status, "outbox.stats": stats, **identify_ops(texts.append, "sh-000123-a")}
    with serving(tmp_path / "control.sock", ops):
        yield texts


def bundle(config: Path, *words: str | Path) -> int:
    return main(["bundle", "--no-doctor", "--config", str(config), *map(str, words)])


def test_a_report_is_written_and_its_id_stands_on_the_screens(
    config: Path, tmp_path: Path, screens: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "report.tar.gz"
    assert bundle(config, "-o", file) == 0
    out = capsys.readouterr().out.splitlines()
    report = ReportId.parse(out[0].removeprefix("report ").removesuffix(": written"))
    assert screens == [f"sh-000123-a · {report}"]
    assert out[-1].startswith("  scp ")
    assert out[-1].endswith(f":{file} .")
    assert file.stat().st_mode & 0o777 == 0o600
    found = parts(file)
    assert report in found["README.txt"].decode()
    assert json.loads(found["manifest.json"])["terminal"] == "sh-000123-a"
    assert json.loads(found["agent/status.json"])["password"] == "[redacted]"
    assert json.loads(found["agent/outbox.json"]) == {"stats": {"pending": 3}}
    assert "burst = 7" in found["config/edge-agent.toml.d/10-site.toml"].decode()
    settings = {item["setting"]: item["value"] for item in json.loads(found["config/settings.json"])}
    assert (settings["terminal.id"], settings["limits.burst"]) == ("sh-000123-a", 7)
    assert settings["keys.path"] == str(tmp_path / "tap.key")
    assert not any(b"hunter2" in data for data in found.values())


def test_no_identify_leaves_the_screens_alone(
    config: Path, tmp_path: Path, screens: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert bundle(config, "-o", tmp_path / "r", "--no-identify", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert screens == []
    assert (told["file"], told["not_shown"]) == (str(tmp_path / "r"), "")
    assert told["bytes"] == (tmp_path / "r").stat().st_size
    assert "agent/status.json" not in told["missing"]


def test_without_an_agent_and_with_a_broken_configuration_there_is_a_report_all_the_same(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text("[terminal\nid = 7")
    monkeypatch.chdir(tmp_path)
    assert bundle(config, "--socket", tmp_path / "none", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["file"] == str(tmp_path / f"edge-agent-{told['report']}.tar.gz")
    assert "cannot reach the agent" in told["not_shown"]
    assert {"agent/status.json", "config/settings.json"} <= set(told["missing"])
    assert parts(Path(told["file"]))["config/edge-agent.toml"] == b"[terminal\nid = 7\n"


def test_the_same_reason_is_told_once(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bundle(config, "-o", tmp_path / "r") == 0
    out = capsys.readouterr().out
    assert "agent/status.json, agent/outbox.json, agent/history.json:" in " ".join(out.split())
    assert all(len(line) <= 80 or "scp " in line or str(tmp_path) in line for line in out.splitlines())


def test_what_is_there_is_not_overwritten_unless_asked_for(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "r"
    file.write_text("mine")
    assert bundle(config, "-o", file) == 1
    assert file.read_text() == "mine"
    assert "is there already" in capsys.readouterr().err
    assert bundle(config, "-o", file, "--force") == 0
    assert "README.txt" in parts(file)


def test_a_folder_that_cannot_be_written_to_is_told(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bundle(config, "-o", tmp_path / "none" / "r") == 1
    assert "No such file or directory" in capsys.readouterr().err


def test_the_findings_of_doctor_are_in_it(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundle", "--config", str(config), "-o", str(tmp_path / "r"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert "agent/doctor.json" not in told["missing"]
    assert "findings" in json.loads(parts(tmp_path / "r")["agent/doctor.json"])
