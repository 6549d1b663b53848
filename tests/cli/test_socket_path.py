"""The quick reading of one key must never tell anything else than the reading of the whole configuration."""

from pathlib import Path

import pytest

from edge_agent.cli.socket_path import plain_socket
from edge_agent.config import load

REST = '[terminal]\nid = "t"\nfleet = "f"\n[uplink]\nhost = "localhost"\n'


def write(folder: Path, text: str, **drop_ins: str) -> Path:
    config = folder / "edge-agent.toml"
    config.write_text(text, encoding="utf-8")
    for name, more in drop_ins.items():
        config.with_name("edge-agent.toml.d").mkdir(exist_ok=True)
        (config.with_name("edge-agent.toml.d") / f"{name}.toml").write_text(more, encoding="utf-8")
    return config


@pytest.mark.parametrize(
    ("text", "drop_ins", "env"),
    [
        (REST, {}, {}),
        (f'{REST}[control]\nsocket = "/x/a.sock"\n', {}, {}),
        (f"{REST}[control]\nsocket = '/x/a.sock'  # why\n", {}, {"EDGE_AGENT__TERMINAL__ID": "u"}),
        (f"{REST}[control]\n", {"a": '[control]\nsocket = "/x/b.sock"\n'}, {}),
        (REST, {"b": 'control.socket = "/x/2.sock"\n', "a": 'control.socket = "/x/1.sock"\n'}, {}),
        (REST, {name: f'control.socket = "/x/{name}.sock"\n' for name in "fbhdagce"}, {}),
        (REST, {"b": 'control.socket = "/x/2.sock"\n'}, {"EDGE_AGENT__CONTROL__SOCKET": "/x/env.sock"}),
    ],
)
def test_what_it_tells_is_what_the_whole_configuration_tells(
    text: str, drop_ins: dict[str, str], env: dict[str, str], tmp_path: Path
) -> None:
    config = write(tmp_path, text, **drop_ins)
    assert plain_socket(config, env) == load(config, env).settings.control.socket


@pytest.mark.parametrize(
    ("text", "env"),
    [
        ("[control\n", {}),
        ("control = 7\n", {}),
        ('[control]\nsocket = "relative"\n', {}),
        ('[control]\nsocket = "/x/../y"\n', {}),
        ("[control]\nsocket = 7\n", {}),
        ('[[control]]\nsocket = "/x"\n', {}),
        (REST, {"EDGE_AGENT__CONTROL__SOCKET": '"/x"'}),
        (REST, {"EDGE_AGENT__CONTROL": "x"}),
        (REST, {"edge_agent__control__socket": "/x"}),
        (REST, {"EDGE_AGENT__CONTROL__SOCKET": "/x", "EDGE_AGENT__CONTROL__OTHER": "/x"}),
        ("x" * 300_000, {}),
    ],
)
def test_what_is_not_plain_is_left_to_the_whole_reading(text: str, env: dict[str, str], tmp_path: Path) -> None:
    assert plain_socket(write(tmp_path, text), env) is None


def test_a_file_that_cannot_be_read_is_left_to_it_too(tmp_path: Path) -> None:
    assert plain_socket(tmp_path / "none.toml", {}) is None
    assert plain_socket(tmp_path, {}) is None


def test_another_setting_that_is_wrong_keeps_nobody_from_asking(tmp_path: Path) -> None:
    config = write(tmp_path, '[terminal]\nid = 7\n[control]\nsocket = "/x/a.sock"\n')
    assert plain_socket(config, {}) == Path("/x/a.sock")
