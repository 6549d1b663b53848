import asyncio
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from edge_agent.cli.main import main
from edge_agent.clock import ClockTrust
from edge_agent.control_client import ask
from edge_agent.outbox.base import Bounds
from edge_agent.outbox.store import OutboxStore, StoreSettings
from edge_agent.tokens.chain import Checkpoint, Gap, parse_checkpoint, parse_gap
from edge_agent.tokens.keyring import create_key_file
from edge_agent.tokens.keys import PrivateKey
from edge_agent.tokens.sign1 import link_hash
from edge_agent.uplink.export_file import GAP, read_export
from tests.fakes.outbox_site import FLEET, TERMINAL, OutboxSite, leased, parked, sent
from tests.fakes.outbox_taps import CLOSE_S
from tests.fakes.whole_agent import whole_agent

Cli = Callable[..., int]


@pytest.fixture
def site(tmp_path: Path) -> OutboxSite:
    return OutboxSite(tmp_path)


@pytest.fixture
def cli(site: OutboxSite) -> Cli:
    return lambda *words: main(["outbox", *words, "--config", str(site.config)])


@pytest.fixture
def told(cli: Cli, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    def ask_for(*words: str, status: int = 0) -> dict[str, Any]:
        capsys.readouterr()
        assert cli(*words, "--json") == status
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return ask_for


def filled(site: OutboxSite) -> None:
    """Rows 1-20 sent, 21-22 refused for good, 23-40 waiting."""

    async def fill(store: OutboxStore) -> None:
        await site.taps(store, 40)
        await sent(store, 20)
        await parked(store, 2, "payload format invalid \x1b[2J")

    site.stopped(fill)


@pytest.fixture(params=["stopped", "running"])
def either(request: pytest.FixtureRequest, site: OutboxSite) -> Iterator[OutboxSite]:
    """The same outbox, with and without its agent."""
    filled(site)
    with site.running() if request.param == "running" else nullcontext():
        yield site


def paper(capsys: pytest.CaptureFixture[str]) -> list[str]:
    out = capsys.readouterr().out
    # The store's log goes here, too, where it runs in this process.
    lines = [line for line in out.splitlines() if not re.match(r"20\d\d-\d\d-\d\d ", line)]
    assert "\x1b" not in "".join(lines)
    assert all(len(line) <= 80 for line in lines), out
    return lines


@pytest.mark.usefixtures("either")
def test_stats_begin_with_the_trouble_and_end_with_the_next_step(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("stats") == 1
    lines = paper(capsys)
    assert lines[0] == "sh-000123-a: 2 taps refused for good"
    assert lines[2].startswith("  waiting    18, the oldest for ")
    assert lines[3] == "  sent       20, not confirmed by the receiver yet"
    assert lines[-1] == "Next: see why: edge-agent outbox list --state parked"


def test_an_outbox_without_trouble_is_healthy(site: OutboxSite, cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    with site.running() as agent:
        assert cli("stats") == 0
        assert paper(capsys)[0] == "sh-000123-a: OK, no tap waits"
        agent.do(lambda store: site.taps(store, 1))
        assert cli("stats") == 0
        assert paper(capsys)[0] == "sh-000123-a: OK, 1 tap waits"
        agent.do(lambda store: leased(store, 1))
        assert cli("stats") == 0
        assert any("1 of them on their way" in line for line in paper(capsys))


def test_stats_for_a_program(either: OutboxSite, told: Callable[..., dict[str, Any]]) -> None:
    found = told("stats", status=1)
    assert (found["pending"], found["sent"], found["parked"], found["next_seq"]) == (18, 20, 2, 41)
    assert (found["terminal"], found["fleet"]) == (TERMINAL, FLEET)
    assert found["head"]["seq"] == 40
    assert found["oldest_waiting_iat"] == int(either.clock.unix)


@pytest.mark.usefixtures("either")
def test_parked_rows_are_listed_with_the_reason_made_fit_for_a_terminal(
    cli: Cli, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli("list", "--state", "parked") == 0
    lines = paper(capsys)
    assert lines[0] == "2 parked rows"
    rows = [line.split()[:2] for line in lines if line.strip()[:1].isdigit()][1:]
    assert rows == [["21", "parked"], ["22", "parked"]]
    assert sum("why: payload format invalid \\x1b[2J" in line for line in lines) == 1
    assert lines[-1] == "Next: once the cause is gone: edge-agent outbox resend --parked"


@pytest.mark.parametrize(
    ("state", "seqs"),
    [
        (None, range(1, 41)),
        ("sent", range(1, 21)),
        ("parked", range(21, 23)),
        ("pending", range(23, 41)),
        ("stored", range(0)),
    ],
)
@pytest.mark.usefixtures("either")
def test_rows_of_each_state_are_listed(state: str | None, seqs: range, told: Callable[..., dict[str, Any]]) -> None:
    found = told("list", *(["--state", state] if state else []))
    assert [row["seq"] for row in found["rows"]] == list(seqs)
    assert found["total"] == len(seqs)
    assert {row["mode"] for row in found["rows"]} <= {"phone"}
    assert all(row["exp"] == row["iat"] + 90 for row in found["rows"])


@pytest.mark.usefixtures("either")
def test_a_limit_is_kept_and_the_rest_is_counted(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("list", "--state", "sent", "--limit", "3") == 0
    lines = paper(capsys)
    assert lines[0] == "3 of 20 sent rows"
    assert lines[-1] == "Next: see more of them: --limit 20"


def test_a_tap_of_an_unset_clock_has_no_age(site: OutboxSite, cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    site.stopped(lambda store: store.append(site.tap(trust=ClockTrust.UNSET)))
    assert cli("list") == 0
    assert any(line.split()[:4] == ["1", "pending", "unknown", "no"] for line in paper(capsys))


# Carrying taps home.


@pytest.mark.usefixtures("either")
def test_the_exported_file_holds_what_the_cloud_may_not_have(
    tmp_path: Path, told: Callable[..., dict[str, Any]], site: OutboxSite
) -> None:
    file = tmp_path / "taps.cbor"
    said = told("export", str(file))
    header, items = read_export(io.BytesIO(file.read_bytes()))
    found = list(items)
    assert (header.fleet, header.terminal) == (FLEET, TERMINAL)
    tokens = [item.content for item in found if item.suffix == "evt/tap"]
    assert len(tokens) == said["taps"] == 40
    assert said["bytes"] == file.stat().st_size
    assert file.stat().st_mode & 0o777 == 0o600
    records = [parse_checkpoint(item.content) for item in found if item.suffix == "evt/chk"]
    assert len(records) == said["checkpoints"] == (site.folder / "control.sock").exists()
    for parsed in records:
        assert parsed.verified_by(site.key.public, FLEET, TERMINAL)
        assert isinstance(parsed.record, Checkpoint)
        assert (parsed.record.seq, parsed.record.head) == (40, link_hash(tokens[-1]))


def test_what_the_cloud_has_is_exported_only_with_all(
    tmp_path: Path, site: OutboxSite, told: Callable[..., dict[str, Any]]
) -> None:
    with site.running() as agent:
        agent.do(lambda store: site.taps(store, 5))
        chain = agent.store.head().chain

        async def acked(store: OutboxStore) -> None:
            await sent(store, 5)
            store.confirm_stored(chain, 3, [])

        agent.do(acked)
        assert told("export", str(tmp_path / "a"))["taps"] == 2
        assert told("export", str(tmp_path / "b"), "--all")["taps"] == 5


def test_a_file_that_is_there_is_replaced_only_by_force(
    tmp_path: Path, site: OutboxSite, cli: Cli, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(site)
    file = tmp_path / "taps.cbor"
    file.write_bytes(b"precious")
    assert cli("export", str(file)) == 1
    assert "--force" in capsys.readouterr().err
    assert file.read_bytes() == b"precious"
    assert cli("export", str(file), "--force") == 0
    assert len(list(read_export(io.BytesIO(file.read_bytes()))[1])) == 40
    assert "edge-agent receive --import" in " ".join(capsys.readouterr().out.split())


def test_an_export_that_fails_leaves_nothing_behind(tmp_path: Path, site: OutboxSite, cli: Cli) -> None:
    filled(site)
    site.database.write_bytes(site.database.read_bytes()[:8192] + bytes(4096) + site.database.read_bytes()[12288:])
    target = tmp_path / "stick"
    target.mkdir()
    assert cli("export", str(target / "taps.cbor")) == 1
    assert list(target.iterdir()) == []
    assert cli("export", str(tmp_path / "none" / "taps.cbor")) == 1


def test_nothing_leaves_the_outbox_by_an_export(tmp_path: Path, site: OutboxSite, cli: Cli) -> None:
    filled(site)
    before = site.database.read_bytes()
    assert cli("export", str(tmp_path / "taps.cbor")) == 0
    assert site.database.read_bytes() == before


def test_a_folder_that_is_not_there_is_no_question_of_room(
    site: OutboxSite, cli: Cli, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(site)
    assert cli("export", "/no/stick/x.tap") == 1
    assert "is the stick mounted?" in capsys.readouterr().err


# Sending again.


def test_resend_takes_a_running_agent(site: OutboxSite, cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    filled(site)
    assert cli("resend", "--parked") == 3
    assert "systemctl start edge-agent" in capsys.readouterr().err


@pytest.mark.parametrize(("which", "rows"), [("--parked", 2), ("--all-sent", 20)])
def test_all_rows_of_a_kind_are_sent_again(
    which: str, rows: int, site: OutboxSite, told: Callable[..., dict[str, Any]]
) -> None:
    filled(site)
    with site.running():
        assert told("resend", which) == {"requeued": rows, "pending": 0, "gone": 0}
        assert told("stats", status=0 if which == "--parked" else 1)["pending"] == 18 + rows
        assert site.pokes == 1
        assert told("resend", which)["requeued"] == 0


def test_a_range_is_sent_again(site: OutboxSite, told: Callable[..., dict[str, Any]]) -> None:
    filled(site)
    with site.running() as agent:
        chain = agent.store.head().chain.hex()
        found = told("resend", "--chain", chain, "--from", "19", "--to", "45")
        assert found == {"requeued": 4, "pending": 18, "gone": 5}


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["resend"],
        ["resend", "--chain", "00" * 8],
        ["resend", "--chain", "00" * 8, "--from", "1"],
        ["resend", "--parked", "--from", "1", "--to", "2"],
        ["resend", "--parked", "--all-sent"],
        ["resend", "--chain", "xy", "--from", "1", "--to", "2"],
        ["resend", "--chain", "00" * 8, "--from", "9", "--to", "5"],
        ["list", "--limit", "0"],
        ["list", "--limit", "many"],
        ["list", "--state", "gone"],
        ["export"],
    ],
)
def test_wrong_usage_ends_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["outbox", *words])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert "edge-agent outbox" in error
    assert "_" not in error, "names of functions are no words for people"


# Where it looks.


def test_a_damaged_file_is_told_and_left_to_the_agent(
    site: OutboxSite, cli: Cli, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(site)
    whole = site.database.read_bytes()
    site.database.write_bytes(whole[:100] + b"\xff" * 4000 + whole[4100:])
    for part in ("stats", "list", "verify"):
        assert cli(part) == 1
        message, remedy = capsys.readouterr().err.splitlines()
        assert "is damaged" in message
        assert remedy.startswith("  start the agent: it sets the file aside")
    assert [path.name for path in site.folder.glob("outbox.db*") if "broken" in path.name] == []


def test_what_was_given_up_is_the_verdict_and_with_nothing_to_carry_nobody_is_sent_for_a_stick(
    site: OutboxSite, cli: Cli, capsys: pytest.CaptureFixture[str]
) -> None:
    site.stopped(lambda store: site.taps(store, 0))
    assert cli("stats") == 0
    assert paper(capsys)[-1] == "Next: start the agent: systemctl start edge-agent"
    settings = StoreSettings(close_s=CLOSE_S, keep_newest=4, bounds=Bounds(max_rows=1_000))
    site.stopped(lambda store: site.taps(store, 1_100), settings)
    assert cli("stats") == 1
    lines = paper(capsys)
    assert lines[0] == "sh-000123-a: TAPS WERE GIVEN UP, 1 gap record not confirmed yet"
    assert "edge-agent outbox export" in " ".join(lines[-2:])


def test_without_an_outbox_it_could_not_look(cli: Cli, site: OutboxSite, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("stats") == 3
    message, remedy = capsys.readouterr().err.splitlines()
    assert str(site.database) in message
    assert remedy.strip()
    assert not site.database.exists()


def test_a_copy_is_read_wherever_it_is(tmp_path: Path, site: OutboxSite, told: Callable[..., dict[str, Any]]) -> None:
    filled(site)
    copy = tmp_path / "copy.db"
    copy.write_bytes(site.database.read_bytes())
    with site.running() as agent:
        agent.do(lambda store: site.taps(store, 1))
        assert told("stats", "--file", str(copy), status=1)["next_seq"] == 41
        assert told("stats", status=1)["next_seq"] == 42


def test_an_agent_that_listens_elsewhere_is_told_from_none(
    site: OutboxSite, cli: Cli, capsys: pytest.CaptureFixture[str]
) -> None:
    with site.running():
        assert cli("stats", "--file", str(site.database)) == 3
        assert "--socket" in capsys.readouterr().err
    assert main(["outbox", "stats", "--socket", str(site.folder / "control.sock")]) == 3


def test_a_wrong_configuration_ends_with_78(tmp_path: Path) -> None:
    assert main(["outbox", "stats", "--config", str(tmp_path / "none.toml")]) == 78


@pytest.mark.parametrize("answer", ["{}", '{"stats": 5}', '{"head": {"chain": "xy", "seq": 1, "hash": ""}}'])
def test_the_answer_of_another_program_makes_no_sense(answer: str) -> None:
    from edge_agent.cli.outbox_agent import AgentSource  # noqa: PLC0415 - beside its only use
    from edge_agent.errors import ControlError  # noqa: PLC0415 - as above

    source = AgentSource(Path("nowhere"))
    vars(source)["_ask"] = lambda *_what, **_request: json.loads(answer)
    with pytest.raises(ControlError, match="no sense"):
        source.facts()


# Checking the chain.


@pytest.mark.usefixtures("either")
def test_a_sound_outbox_holds(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("verify") == 0
    lines = paper(capsys)
    assert lines[0] == "sh-000123-a: HOLDS, 40 rows in 1 chain, every signature and link"


def test_rows_that_were_delivered_and_deleted_are_no_holes(
    site: OutboxSite, told: Callable[..., dict[str, Any]]
) -> None:
    async def fill(store: OutboxStore) -> None:
        await site.taps(store, 30)
        await sent(store, 10)
        await parked(store, 1, "why")
        await sent(store, 10)
        store.confirm_stored(store.head().chain, 20, [(11, 11)])
        await store.flush()

    site.stopped(fill)
    assert told("verify") == told("verify") | {"holds": True, "rows": 11}
    with site.running():
        assert told("verify")["rows"] == 11


@pytest.mark.parametrize("running", [False, True], ids=["stopped", "running"])
def test_what_was_given_up_is_told_and_carried_home(
    running: bool, tmp_path: Path, site: OutboxSite, told: Callable[..., dict[str, Any]]
) -> None:
    settings = StoreSettings(close_s=CLOSE_S, keep_newest=4, bounds=Bounds(max_rows=1_000))
    site.stopped(lambda store: site.taps(store, 1_500), settings)
    with site.running() if running else nullcontext():
        stats = told("stats", status=1)
        lost = stats["evicted"]
        assert 0 < lost < 1_500
        assert stats["gaps"] >= 1
        assert told("verify") | {"kids": []} == {
            "holds": True,
            "chains": 1,
            "rows": 1_500 - lost,
            "given_up": lost,
            "kids": [],
            "broken": "",
            "chain": "",
            "other_key": False,
        }
        assert told("export", str(tmp_path / "x"))["gaps"] == stats["gaps"]
    records = [item.content for item in read_export(io.BytesIO((tmp_path / "x").read_bytes()))[1] if item.suffix == GAP]
    gaps = [parsed.record for parsed in map(parse_gap, records) if isinstance(parsed.record, Gap)]
    assert sum(gap.last - gap.first + 1 for gap in gaps) == lost


def test_the_public_key_is_enough(site: OutboxSite, tmp_path: Path, cli: Cli) -> None:
    filled(site)
    public = tmp_path / "public.json"
    public.write_text(json.dumps(site.key.public.registration()))
    (tmp_path / "tap.key").unlink()
    assert cli("verify", "--key", str(public)) == 0
    assert cli("verify") == 78
    public.write_text(json.dumps(PrivateKey.generate().public.registration()))
    assert cli("verify", "--key", str(public)) == 1


def test_a_terminal_that_had_two_keys_holds_when_both_are_given(
    site: OutboxSite, tmp_path: Path, cli: Cli, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = StoreSettings(close_s=CLOSE_S, keep_newest=4, bounds=Bounds(max_rows=1_000))
    site.stopped(lambda store: site.taps(store, 1_100), settings)
    older = site.key
    (tmp_path / "older.json").write_text(json.dumps(older.public.registration()))
    (tmp_path / "tap.key").unlink()
    site.key = create_key_file(tmp_path / "tap.key")
    (tmp_path / "newer.json").write_text(json.dumps(site.key.public.registration()))
    site.stopped(lambda store: site.taps(store, 10), settings)
    assert cli("verify") == 1
    lines = paper(capsys)
    assert f"is signed by key {older.kid.hex()}" in " ".join(lines[:3])
    assert "--key FILE --key FILE" in " ".join(lines[-2:])
    assert cli("verify", "--key", str(tmp_path / "older.json"), "--key", str(tmp_path / "newer.json")) == 0
    assert f"  keys       {', '.join(sorted(key.kid.hex() for key in (older, site.key)))}" in paper(capsys)


ROW_7 = (1 << 40) + 7


def edited(site: OutboxSite, sql: str) -> None:
    import sqlite3  # noqa: PLC0415 - only here

    with sqlite3.connect(site.database) as db:
        assert db.execute(sql).rowcount > 0
    db.close()


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("DELETE FROM rows WHERE key = {}", "row 7 is missing"),
        ("DELETE FROM rows WHERE key BETWEEN {0} AND {0} + 2", "row 7 is missing"),
        ("UPDATE rows SET token = x'd284' WHERE key = {}", "row 7 is no token"),
        (
            "UPDATE rows SET token = (SELECT token FROM rows AS r WHERE r.key = rows.key + 1) WHERE key = {}",
            "row 7 holds the token of another place",
        ),
        (
            "UPDATE rows SET token = CAST(substr(token, 1, length(token) - 1) || x'7f' AS BLOB) WHERE key = {}",
            "row 7 has a wrong signature",
        ),
    ],
)
def test_it_says_where_a_chain_breaks_first(
    sql: str, why: str, site: OutboxSite, cli: Cli, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(site)
    edited(site, sql.format(ROW_7))
    assert cli("verify") == 1
    first = paper(capsys)[0]
    assert first.startswith(f"sh-000123-a: BROKEN, {why}")


def test_a_thousand_pages_are_not_held_in_memory(site: OutboxSite) -> None:
    """Twenty thousand rows cost the command no more than two thousand do."""
    peaks = []
    code = (
        "import re, sys\nfrom edge_agent.cli.main import main\n"
        "status = main(sys.argv[1:])\n"
        # Its own: ru_maxrss begins with what the process had that started it.
        "print(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1], file=sys.stderr)\nsys.exit(status)"
    )
    for count in (2_000, 18_000):
        site.stopped(lambda store, count=count: site.taps(store, count))  # type: ignore[misc] # a default binds it
        words = ["outbox", "export", str(site.folder / f"{count}"), "--config", str(site.config)]
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
        peaks.append(int(done.stderr.split()[-1]))
    assert peaks[1] - peaks[0] < 3_000  # kB; the file is 4 MB


def test_the_agents_answers_stay_small(site: OutboxSite) -> None:
    site.stopped(lambda store: site.taps(store, 1_000))
    with site.running():
        page = ask(site.folder / "control.sock", {"op": "outbox.page"})
        assert len(json.dumps(page)) < 1024 * 1024


def test_help_costs_no_heavy_import() -> None:
    script = (
        "import sys; from edge_agent.cli.main import main\ntry: main(['outbox', '--help'])\nexcept SystemExit: pass\n"
        "print([m for m in ('paho', 'sqlite3', 'pydantic', 'cryptography', 'asyncio') if m in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, env=dict(os.environ))
    assert ended.stdout.decode().splitlines()[-1] == "[]"


async def test_it_asks_the_whole_agent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with whole_agent(tmp_path) as terminal:
        token = await terminal.good_tap()
        words = ["--config", str(tmp_path / "edge-agent.toml")]
        for part, status in (["stats"], 0), (["list"], 0), (["verify"], 0), (["export", str(tmp_path / "x")], 0):
            assert await asyncio.to_thread(main, ["outbox", *part, *words]) == status
        assert "HOLDS, 1 row in 1 chain" in capsys.readouterr().out
        _, items = read_export(io.BytesIO((tmp_path / "x").read_bytes()))
        found = list(items)
        assert found[0].content == token
        assert [item.suffix for item in found] == ["evt/tap", "evt/chk"]
        chain = (await terminal.agent.outbox.stats()).chain.hex()
        resend = ["resend", "--chain", chain, "--from", "1", "--to", "1", "--json"]
        assert await asyncio.to_thread(main, ["outbox", *resend, *words]) == 0
        assert '{"requeued": 0, "pending": 1, "gone": 0}' in capsys.readouterr().out
