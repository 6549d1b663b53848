"""Story 10: a poison message blocks all others. A row that the broker never takes is parked; the others go on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.uplink.wire import decode_batch
from tests.fakes.refusing_broker import RefusingBroker
from tests.fakes.uplink_terminal import TOPICS, link_settings, running_terminal, seq_of
from tests.fakes.waiting import eventually

POISON = 5
PAYLOAD_FORMAT_INVALID = 0x99


def refusing(poison: set[int]) -> Callable[[str, bytes], int]:
    """A broker's opinion: these rows, and each batch with one of them, have the wrong format."""

    def code_for(topic: str, payload: bytes) -> int:
        return PAYLOAD_FORMAT_INVALID if poison & set(seqs(topic, payload)) else 0

    return code_for


def seqs(topic: str, payload: bytes) -> list[int]:
    if topic == TOPICS.evt_tap:
        return [seq_of(payload)]
    return [seq_of(token) for token in decode_batch(payload)] if topic == TOPICS.evt_batch else []


@pytest.mark.parametrize("live", [False, True])
async def test_it_is_parked_with_its_reason_and_can_be_sent_again(tmp_path: Path, live: bool) -> None:
    poison = {POISON}
    async with RefusingBroker(refusing(poison)) as broker:
        settings = link_settings(broker.port)
        async with running_terminal(tmp_path, settings, backlog=0 if live else 12) as terminal:

            def arrived() -> set[int]:
                return {seq for topic, payload in broker.taken for seq in seqs(topic, payload)}

            if live:
                await eventually(lambda: terminal.publisher.snapshot().up)
                await terminal.taps(12)
            await eventually(lambda: arrived() == set(range(1, 13)) - {POISON}, deadline_s=20)
            await eventually(lambda: terminal.publisher.snapshot().parked == 1, deadline_s=20)
            (parked,) = [row for row in await terminal.outbox.page(None, 0, 100) if row.state == "parked"]
            assert (parked.seq, parked.note) == (POISON, "refused by the broker with code 153")

            asked = len(broker.refused)
            await terminal.tap()
            await eventually(lambda: 13 in arrived())
            assert len(broker.refused) == asked, "what is parked is not tried again by itself"

            poison.clear()  # somebody mended the broker
            assert terminal.outbox.resend(parked.chain, POISON, POISON).requeued == 1
            await eventually(lambda: POISON in arrived(), deadline_s=20)
