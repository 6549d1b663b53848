import asyncio

import pytest
from structlog.testing import capture_logs

from edge_agent.errors import OutboxError, OutboxFault
from edge_agent.outbox import troubles as module
from edge_agent.outbox.base import Notice
from edge_agent.outbox.troubles import Troubles
from tests.fakes.waiting import eventually

FULL = OutboxError("no space left", remedy="free space", fault=OutboxFault.FULL)


@pytest.fixture
def heard() -> list[Notice]:
    return []


@pytest.fixture
def troubles(heard: list[Notice]) -> Troubles:
    return Troubles(heard.append)


def test_a_fault_is_told_when_it_begins_and_when_it_ends(troubles: Troubles, heard: list[Notice]) -> None:
    troubles.tap_kept()
    assert heard == []
    for _ in range(3):
        troubles.tap_refused(FULL)
    assert troubles.fault == "full"
    troubles.tap_kept()
    assert troubles.fault == ""
    troubles.tap_kept()
    assert heard == [
        Notice("outbox_full", "taps cannot be kept: no space left; free space", {"fault": "full"}),
        Notice("outbox_works_again", "taps are kept again; 3 were refused", {"fault": "full", "refused": 3}),
    ]


def test_a_tap_that_could_not_be_sealed_is_no_fault_of_the_outbox(troubles: Troubles, heard: list[Notice]) -> None:
    troubles.tap_refused(OutboxError("the key is gone", fault=OutboxFault.REFUSED))
    assert troubles.fault == ""
    assert heard == []


def test_failures_of_a_kind_are_one_warning_and_a_count(troubles: Troubles) -> None:
    with capture_logs() as logs:
        for _ in range(5):
            troubles.failed("flush", FULL)
        troubles.failed("probe", FULL)
        assert troubles.has("flush")
        troubles.worked("flush")
        troubles.worked("flush")
        assert not troubles.has("flush")
    warnings = [line["what"] for line in logs if line["log_level"] == "warning"]
    assert warnings == ["flush", "probe"]
    (end,) = [line for line in logs if line["event"] == "outbox_works_again"]
    assert end["failed"] == 5


async def test_evictions_are_told_at_once_and_then_as_a_sum(
    troubles: Troubles, heard: list[Notice], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EVICTIONS_EVERY_S", 0.05)
    for rows in (256, 300, 400):
        troubles.evicted(rows, in_all=rows)
    assert [notice.data["rows"] for notice in heard] == [256]
    await eventually(lambda: len(heard) == 2)
    assert heard[1].data == {"rows": 700, "in_all": 400}
    assert heard[1].code == "outbox_evicted"
    await asyncio.sleep(0.12)
    assert len(heard) == 2, "nothing was given up since"


async def test_closing_tells_what_was_not_told_yet(troubles: Troubles, heard: list[Notice]) -> None:
    troubles.evicted(1, in_all=1)
    troubles.evicted(2, in_all=3)
    troubles.close()
    troubles.close()
    assert [notice.data["rows"] for notice in heard] == [1, 2]
