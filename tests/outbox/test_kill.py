"""kill -9 while taps are appended, confirmed and deleted (failure story 23)."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from edge_agent.outbox.database import Database
from edge_agent.outbox.runs import State
from tests.fakes.outbox_taps import PLAIN, place_in, plain_link

KILLS = 20
ROOT = Path(__file__).parents[2]


def run_and_kill(path: Path, promises: int, after_s: float) -> dict[int, bytes]:
    """Start a child, kill it a moment after so many promises; returns all that it promised."""
    command = [sys.executable, "-m", "tests.fakes.outbox_child", str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(promises)]
        time.sleep(after_s)
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.readlines()
    assert child.returncode == -signal.SIGKILL
    whole = [line for line in lines if line.endswith(b"\n")]
    return {int(seq): bytes.fromhex(token.decode()) for seq, token in (line.split() for line in whole)}


def test_no_promised_tap_is_lost_and_the_chain_is_unbroken(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    rnd = random.Random(23)
    known: dict[int, bytes] = {}
    for kill in range(KILLS):
        promised = run_and_kill(path, rnd.randrange(1, 120), rnd.random() * 0.005)
        assert not promised.keys() & known.keys(), f"kill {kill}: a seq was used twice"
        known |= promised
        database = Database(path, PLAIN)
        (chain,) = database.chains()
        on_disk = {tap.seq: tap.token for tap in database.tail(100_000)}
        database.close()
        done = {
            seq
            for span in chain.spans
            if span.state in (State.STORED, State.GONE)
            for seq in range(span.first, span.last + 1)
        }
        lost = {seq for seq in promised if seq >= chain.first_seq} - on_disk.keys() - done
        assert not lost, f"kill {kill}"
        assert all(known.get(seq, token) == token for seq, token in on_disk.items()), f"kill {kill}: bytes changed"
        known |= on_disk
        assert chain.next_seq == max(known) + 1
    assert sorted(known) == list(range(1, max(known) + 1))
    assert len({token[:8] for token in known.values()}) == 1
    for seq, token in known.items():
        prev = plain_link(known[seq - 1]) if seq > 1 else bytes(16)
        assert (place_in(token).seq, place_in(token).prev) == (seq, prev)
