"""`edge-agent run` where it cannot start: the exit status, and the line that `systemctl status` shows."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.cli.main import main
from edge_agent.errors import ExitCode


@pytest.fixture
def notified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The receiving end of sd_notify(3)."""
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield sock


def test_a_wrong_configuration_is_told_to_systemd_in_one_line(
    tmp_path: Path, notified: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "edge-agent.toml"
    path.write_text('[terminal]\nid = "A"\nfleet = "sh"\n[uplink]\nhost = "b"\n[outbox]\nmax_mb = 1\n')
    assert main(["run", "--config", str(path)]) == ExitCode.CONFIG
    status = notified.recv(4096).decode()
    assert status.startswith(f"STATUS={path}:2: [terminal.id] got ")
    assert status.endswith(" (and 1 more)")
    assert len(capsys.readouterr().err.splitlines()) == 2, "the journal has them all"


def test_a_missing_key_is_told_to_systemd(tmp_path: Path, notified: socket.socket) -> None:
    path = tmp_path / "edge-agent.toml"
    path.write_text(
        f'[terminal]\nid = "a"\nfleet = "sh"\n[uplink]\nhost = "b"\n[keys]\npath = "{tmp_path}/k"\n'
        f'[outbox]\npath = "{tmp_path}/o.db"\n[control]\nsocket = "{tmp_path}/c"\n'
    )
    assert main(["run", "--config", str(path)]) == ExitCode.CONFIG
    assert notified.recv(4096).decode() == f"STATUS=there is no signing key at {tmp_path}/k"


def test_the_sample_is_nobody_even_with_a_key(tmp_path: Path, notified: socket.socket) -> None:
    # A key is there from the request of an enrolment on; the answer may take days, and a reboot comes before it.
    path = tmp_path / "edge-agent.toml"
    sample = (Path(__file__).parents[2] / "config" / "edge-agent.toml").read_text(encoding="utf-8")
    path.write_text(sample)
    assert main(["run", "--config", str(path)]) == ExitCode.CONFIG
    assert notified.recv(4096).decode().startswith("STATUS=this terminal has no identity yet, only the sample's: ")
