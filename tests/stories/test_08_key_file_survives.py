"""Story 8: a torn key file, and a program that goes on with defaults. Ours ends, and touches nothing."""

from pathlib import Path

from tests.fakes.agent_process import agent_process, edge_agent
from tests.fakes.mosquitto import free_port
from tests.fakes.whole_agent import write_config


def test_a_torn_key_file_stops_the_agent_and_is_never_replaced(tmp_path: Path) -> None:
    config = write_config(tmp_path, reader="/dev/no-such-reader", host="127.0.0.1", port=free_port())
    key = tmp_path / "tap.key"
    whole = key.read_bytes()
    for torn in (whole[: len(whole) // 2], b""):
        key.write_bytes(torn)
        for command in (["run", "--config", config], ["keys", "init", "--config", config]):
            run = edge_agent(*command)
            assert run.returncode in {1, 78}, run.stderr
            assert "Traceback" not in run.stderr
            assert key.read_bytes() == torn
    key.write_bytes(whole)
    with agent_process(config, tmp_path) as agent:
        assert agent.end()[0] == 0
