import json
from pathlib import Path

import pytest

from edge_agent.cli.main import main
from tests.fakes.certificates import make_certificates

SAMPLE = Path(__file__).parents[2] / "config" / "edge-agent.toml"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGE_AGENT__UPLINK__KEEPALIVE_S", "30")
    path = tmp_path / "agent.toml"
    path.write_text('[terminal]\nid = "t-1"\nfleet = "f"\n[uplink]\nhost = "localhost"\nkeepalive_s = 20\n')
    return path


def test_check_says_that_all_is_right(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check", "--config", str(config)]) == 0
    assert capsys.readouterr().out == f"{config}: the configuration is right\n"


def test_check_tells_every_mistake_and_ends_with_78(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text('[terminal]\nid = "T"\n[uplink]\nhots = "x"\n')
    assert main(["config", "check", "--config", str(config)]) == 78
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition("]")[0] for line in lines] == [
        f"{config}:2: [terminal.id",
        f"{config}:1: [terminal.fleet",
        f"{config}:3: [uplink.host",
        f"{config}:4: [uplink.hots",
    ]


def test_check_looks_at_the_password_file_too(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    password = config.with_name("password")
    password.write_text("geheim")
    password.chmod(0o644)
    config.write_text(config.read_text() + f'username = "u"\npassword_file = "{password}"\n')
    assert main(["config", "check", "--config", str(config)]) == 78
    assert "expected 0600" in capsys.readouterr().err
    password.chmod(0o600)
    assert main(["config", "check", "--config", str(config)]) == 0


def test_check_looks_at_the_certificates_too(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = make_certificates(config.parent / "certificates")
    before = config.read_text()
    for ca, cert, key, problem in (
        (config.with_name("none.pem"), made.client_cert, made.client_key, "none.pem: No such file or directory"),
        (config, made.client_cert, made.client_key, f"CA file {config}: "),
        (made.ca, made.client_cert, made.ca, "client certificate "),
    ):
        config.write_text(before + f'tls = true\nca = "{ca}"\ncert = "{cert}"\nkey = "{key}"\n')
        assert main(["config", "check", "--config", str(config)]) == 78
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"{config}: [uplink] ")
        assert problem in line
    config.write_text(
        before + f'tls = true\nca = "{made.ca}"\ncert = "{made.client_cert}"\nkey = "{made.client_key}"\n'
    )
    assert main(["config", "check", "--config", str(config)]) == 0


def test_show_lists_each_value_with_its_source(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "--config", str(config)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "[uplink]" in lines
    assert f'  host = "localhost"  # {config}:5' in lines
    assert "  keepalive_s = 30  # environment EDGE_AGENT__UPLINK__KEEPALIVE_S" in lines
    assert "  ca = (left out)  # default" in lines


def test_show_json_is_for_a_program(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "--json", "--config", str(config)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["uplink.host"] == {"value": "localhost", "from": f"{config}:5"}
    assert shown["exchange.aids"]["value"] == ["F05441504544474501"]


def test_explain_tells_value_source_and_what_it_replaced(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "explain", "uplink.keepalive_s", "--config", str(config)]) == 0
    words = capsys.readouterr().out.split()  # a long path may be wrapped
    expected = f"""uplink.keepalive_s = 30 MQTT keep-alive, in seconds.
        from environment EDGE_AGENT__UPLINK__KEEPALIVE_S replaces 20 from {config}:6
        expected a whole number from 5 to 3600; default: 60"""
    assert "".join(words) == "".join(expected.split())


def test_explain_a_section_and_an_unknown_key(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "explain", "token", "--config", str(config)]) == 0
    assert capsys.readouterr().out.startswith("token.ttl = 90\n")
    assert main(["config", "explain", "uplink.hots", "--config", str(config)]) == 2
    assert "did you mean uplink.host?" in capsys.readouterr().err
