from typing import Any

import pytest

from edge_agent.cli.stuck import Findings, advice_for, said
from edge_agent.readers.exchange import Outcome

UP = {"uplink": {"up": True}, "screens": [{"name": "serial0"}]}


def of(*steps: tuple[str, dict[str, Any]], visit: int = 1) -> Findings:
    found = Findings()
    for name, facts in steps:
        found.take({"visit": visit, "where": "nfc0", "step": name, **facts})
    return found


SEEN = ("seen", {"technology": "iso_dep", "sak": 32, "uid_bytes": 4})
ATS = ("ats", {"ats": "0578807002"})
YES = ("answered", {"aid": "f05441504544474501", "sw": "9000", "ms": 12.0})
TOKEN = ("token", {"seq": 7})
CUE = ("cue", {"cue": "thanks", "screen": "serial0"})


def end(outcome: str) -> tuple[str, dict[str, Any]]:
    return "ended", {"outcome": outcome, "why": ""}


@pytest.mark.parametrize(
    ("found", "status", "advice"),
    [
        (of(), UP, "nobody"),
        (of(SEEN, end("lost")), UP, "no_ats"),
        (of(SEEN, ATS, end("timeout")), UP, "app_silent"),
        (of(SEEN, ATS, YES, end("lost")), UP, "app_slow"),
        (of(SEEN, ATS, end("no_app")), UP, "no_app"),
        (of(SEEN, ATS, end("locked")), UP, "locked"),
        (of(SEEN, end("ignored")), UP, "plain_card"),
        (of(SEEN, ATS, YES, end("refused")), UP, "refused"),
        (of(SEEN, ATS, YES, TOKEN, end("accepted")), {"uplink": {"up": False}}, "not_sent"),
        (of(SEEN, ATS, YES, TOKEN, end("accepted"), ("sent", {})), UP, "not_stored"),
        (of(SEEN, ATS, YES, TOKEN, end("unconfirmed"), ("sent", {}), ("stored", {})), UP, "not_taken"),
        (of(SEEN, ATS, YES, TOKEN, end("accepted"), ("sent", {}), ("stored", {})), UP, "no_cue"),
        (of(SEEN, ATS, YES, TOKEN, CUE, end("accepted"), ("sent", {}), ("stored", {})), UP, "ok"),
        (of(SEEN, TOKEN, end("accepted"), ("stored", {})), {"screens": []}, "ok"),
        (of(SEEN), UP, "unfinished"),
    ],
)
def test_where_it_got_stuck_has_an_id_a_meaning_and_a_next_step(
    found: Findings, status: dict[str, Any], advice: str
) -> None:
    told = advice_for(found, status)
    assert told.id == advice
    assert told.ok is (advice == "ok")
    assert told.text
    assert told.next


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.ACCEPTED])
def test_every_end_without_a_token_has_its_advice(outcome: Outcome) -> None:
    told = advice_for(of(SEEN, ATS, end(outcome.value)), UP)
    assert told.id != "unfinished" or outcome is Outcome.UNCONFIRMED  # which has a token
    assert not told.ok


def test_a_lost_phone_that_comes_again_is_followed_anew_and_others_are_not() -> None:
    found = of(SEEN, ATS, end("lost"))
    assert not found.over
    assert found.take({"visit": 2, "step": "seen", "technology": "iso_dep"})
    assert (found.visit, found.seen) == (2, {"seen"})
    assert not found.take({"visit": 1, "step": "stored"})
    found.take({"visit": 2, "step": "token"})
    assert not found.take({"visit": 3, "step": "seen", "technology": "iso_dep"})


def test_where_there_is_a_screen_its_cue_is_waited_for() -> None:
    found = of(SEEN, TOKEN, end("accepted"), ("stored", {}))
    assert found.over
    found.wants_cue = True
    assert not found.over
    found.take({"visit": 1, "step": CUE[0], **CUE[1]})
    assert found.over


def test_a_test_tap_is_no_phone() -> None:
    assert not Findings().take({"visit": 1, "step": "seen", "technology": "simulated"})


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (
            {"step": SEEN[0], "where": "nfc0", **SEEN[1]},
            "field: a phone or a chip card, SAK 20, UID of 4 bytes at nfc0",
        ),
        ({"step": "seen", "where": "tag0", "technology": "reads_us"}, "field: a phone that reads at tag0"),
        ({"step": YES[0], **YES[1]}, "AID f05441504544474501: 9000 (yes) in 12.0 ms"),
        ({"step": "answered", "aid": "f0", "sw": "6a82", "ms": 1}, "AID f0: 6a82 (no such app here) in 1 ms"),
        ({"step": "delivered", "sw": "9000", "receipt": 1}, "phone: answers the token with 9000 (yes), with a receipt"),
        ({"step": "ended", "outcome": "refused", "why": "too soon"}, "end: refused (too soon)"),
        ({"step": "token", "seq": 7, "again": 1}, "token: signed and on disk, seq 7, the one it already had"),
        ({"step": "of a later version"}, ""),
        ({"step": "ats"}, "ATS: ?: it speaks ISO/IEC 14443-4, as phones do"),
    ],
)
def test_each_step_is_a_sentence(step: dict[str, Any], text: str) -> None:
    assert said(step) == text


def test_nothing_that_a_peer_says_moves_the_cursor_or_is_a_template() -> None:
    hostile = "\x1b[2J{0}{seq.__class__}"
    for name in ("seen", "ats", "answered", "token", "cue", "ended", "delivered"):
        text = said(
            {
                "step": name,
                "where": hostile,
                "ats": hostile,
                "aid": hostile,
                "sw": hostile,
                "why": hostile,
                "cue": hostile,
                "screen": hostile,
                "outcome": hostile,
                "technology": hostile,
                "seq": hostile,
            }
        )
        assert text.isprintable()
