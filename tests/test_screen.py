from edge_agent.models import Cue
from edge_agent.screen import ScreenCues
from edge_agent.uplink.wire import Result
from firmware_bridge.bridge import Bridge
from firmware_bridge.cues import CueName


def make(*readers: str) -> tuple[Bridge, ScreenCues]:
    bridge = Bridge([], terminal_id="sh-1")
    return bridge, ScreenCues(bridge, readers)


def result(outcome: str = "accepted") -> Result:
    return Result(cti=bytes(16), outcome=outcome, text="Red packet", amount=188)


def test_a_readers_cues_reach_the_screens() -> None:
    bridge, cues = make("r0")
    cues.for_reader("r0")(Cue.READING)
    assert bridge.current == Cue.READING


def test_the_invitation_is_withdrawn_while_no_reader_works() -> None:
    bridge, cues = make("left", "right")
    left, right = cues.for_reader("left"), cues.for_reader("right")
    left(Cue.FAULT)
    assert bridge.current == Cue.INVITE
    right(Cue.FAULT)
    assert bridge.current == Cue.FAULT
    left(Cue.INVITE)
    assert bridge.current == Cue.INVITE
    right(Cue.READING)
    left(Cue.FAULT)
    assert bridge.current == Cue.READING


def test_an_accepted_result_is_shown_with_its_amount() -> None:
    bridge, cues = make("r0")
    cues.result(result())
    shown = bridge._machine.current
    assert (shown.name, shown.text, shown.amount) == (CueName.THANKS, "Red packet", "¥1.88")


def test_a_result_that_is_quicker_than_the_phone_is_told_with_the_thanks_of_its_tap() -> None:
    bridge, cues = make("r0")
    show = cues.for_reader("r0")
    show(Cue.READING)
    cues.committed("r0", bytes(16))
    cues.result(result())
    assert bridge.current == Cue.READING
    show(Cue.THANKS)
    assert bridge._machine.current.amount == "¥1.88"
    show(Cue.READING)
    show(Cue.THANKS)
    assert bridge._machine.current.amount is None


def test_a_result_does_not_disturb_the_next_phone_and_a_refusal_is_not_shown() -> None:
    bridge, cues = make("r0")
    show = cues.for_reader("r0")
    show(Cue.READING)
    cues.result(result())
    assert bridge.current == Cue.READING
    cues.committed("r0", b"another tap's id")
    show(Cue.THANKS)
    assert bridge._machine.current.amount is None
    bridge, cues = make("r0")
    cues.result(result("refused"))
    assert bridge.current == Cue.INVITE


def test_identify() -> None:
    bridge, cues = make("r0")
    cues.identify()
    assert bridge._machine.current.text == "sh-1"


def test_while_taps_cannot_be_kept_the_screens_rest_and_then_invite_again() -> None:
    bridge, cues = make("r0")
    cues.outbox_fault("")
    assert bridge.current == Cue.INVITE
    for fault in ("full", "failing", "full"):
        cues.outbox_fault(fault)
        assert bridge.current == Cue.RESTING
    cues.outbox_fault("")
    assert bridge.current == Cue.INVITE


def test_two_reasons_to_rest_do_not_take_each_other_back() -> None:
    bridge, cues = make("r0")
    cues.outbox_fault("full")
    cues.flooded(on=True)
    cues.outbox_fault("")
    assert bridge.current == Cue.RESTING
    cues.flooded(on=False)
    assert bridge.current == Cue.INVITE
    cues.flooded(on=True)
    cues.outbox_fault("full")
    cues.flooded(on=False)
    cues.flooded(on=False)
    assert bridge.current == Cue.RESTING
    cues.outbox_fault("")
    assert bridge.current == Cue.INVITE


def test_while_there_is_nowhere_to_tap_the_screens_rest() -> None:
    bridge, cues = make("tag0")
    cues.nowhere_to_tap(on=True)
    cues.outbox_fault("")
    assert bridge.current == Cue.RESTING
    cues.nowhere_to_tap(on=False)
    assert bridge.current == Cue.INVITE


def test_who_takes_back_his_cue_leaves_that_of_another() -> None:
    bridge, cues = make("left", "right")
    left, right = cues.for_reader("left"), cues.for_reader("right")
    left(Cue.READING)
    right(Cue.THANKS)
    left(Cue.INVITE)
    assert bridge.current == Cue.THANKS
    right(Cue.INVITE)
    assert bridge.current == Cue.INVITE


def test_while_the_only_reader_is_lent_the_screens_rest() -> None:
    bridge, cues = make("left", "right")
    cues.lent("left", on=True)
    assert bridge.current == Cue.INVITE
    cues.for_reader("right")(Cue.FAULT)
    assert bridge.current == Cue.RESTING  # one is lost, the other lent: nobody takes a tap, and that will pass
    cues.for_reader("right")(Cue.INVITE)
    assert bridge.current == Cue.INVITE
    cues.lent("right", on=True)
    assert bridge.current == Cue.RESTING
    cues.lent("left", on=False)
    assert bridge.current == Cue.INVITE
