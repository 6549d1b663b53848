"""Story 4: a push of new settings makes the storage anew and drops what waited. Settings never touch rows."""

from pathlib import Path

from edge_agent.tokens.tap_token import link_hash, parse
from tests.fakes.whole_agent import WholeAgent, whole_agent


async def restart_with(terminal: WholeAgent, **settings: object) -> None:
    await terminal.stop()
    terminal._env |= {f"EDGE_AGENT__{name.upper()}": str(value) for name, value in settings.items()}
    await terminal.start()


def state_of(path: Path) -> tuple[int, bytes]:
    return path.stat().st_ino, path.read_bytes()


async def test_changed_settings_leave_file_chain_and_rows(tmp_path: Path) -> None:
    async with whole_agent(tmp_path) as terminal:
        tokens = [await terminal.good_tap() for _ in range(3)]
        inode, _ = state_of(tmp_path / "outbox.db")
        await restart_with(
            terminal,
            terminal__campaign="c-2",
            uplink__confirm="broker",
            uplink__host="127.0.0.9",
            outbox__max_rows=5000,
            outbox__retention_s=86400,
        )
        tokens.append(await terminal.good_tap())
        assert state_of(tmp_path / "outbox.db")[0] == inode
        assert [tap.token for tap in await terminal.issued()] == tokens
        assert parse(tokens[3]).claims.prev == link_hash(tokens[2]), "one chain"
        assert (await terminal.agent.outbox.stats()).pending == 4


async def test_a_changed_path_leaves_the_old_file_as_it_is_and_the_way_back_finds_it(tmp_path: Path) -> None:
    async with whole_agent(tmp_path) as terminal:
        tokens = [await terminal.good_tap() for _ in range(3)]
        await terminal.stop()
        before = state_of(tmp_path / "outbox.db")
        await restart_with(terminal, outbox__path=tmp_path / "other.db")
        assert parse(await terminal.good_tap()).claims.seq == 1
        assert state_of(tmp_path / "outbox.db") == before
        await restart_with(terminal, outbox__path=tmp_path / "outbox.db")
        tokens.append(await terminal.good_tap())
        assert [tap.token for tap in await terminal.issued()] == tokens
