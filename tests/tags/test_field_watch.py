from hypothesis import given
from hypothesis import strategies as st

from edge_agent.tags.base import FieldGone, FieldSeen, TicketRead
from edge_agent.tags.field_watch import GONE_AFTER_S, FieldWatch

looks = st.lists(st.tuples(st.booleans(), st.sampled_from([None, None, "a", "b"]), st.floats(0.001, 1.0)), max_size=60)


@given(looks)
def test_each_presence_is_seen_read_at_most_once_and_gone(told: list[tuple[bool, str | None, float]]) -> None:
    watch, now, events = FieldWatch(), 100.0, []
    for field, read, pause in told:
        now += pause
        before = watch.present
        new = watch.observe(field=field, read=read, now=now)
        events += new
        if read is not None and not before:
            assert [e.url for e in new if isinstance(e, TicketRead)] == [read]
    presence = "".join(type(event).__name__[-4:] for event in events)
    for one in presence.split("Gone"):
        assert one in ("", "Seen", "SeenRead")
    assert watch.present is not presence.endswith("Gone") or not presence


def test_a_phone_that_came_and_went_between_two_looks_is_told_whole() -> None:
    watch = FieldWatch()
    assert watch.observe(field=False, read="a", now=5.0) == [FieldSeen(5.0), TicketRead("a", 5.0, 5.0)]
    assert watch.observe(field=False, read=None, now=5.0 + GONE_AFTER_S) == [FieldGone(5.0 + GONE_AFTER_S)]


def test_a_blink_is_no_departure() -> None:
    watch = FieldWatch()
    watch.observe(field=True, read=None, now=1.0)
    assert watch.observe(field=False, read=None, now=1.4) == []
    assert watch.observe(field=True, read=None, now=1.45) == []
    assert watch.observe(field=False, read=None, now=1.9) == []
    assert watch.observe(field=False, read=None, now=1.96) == [FieldGone(1.96)]


def test_what_is_read_beside_the_told_read_is_told_when_the_field_is_gone() -> None:
    watch = FieldWatch()
    watch.observe(field=True, read="a", now=1.0)
    assert watch.observe(field=True, read="a", now=1.5) == []
    assert watch.observe(field=True, read="b", now=2.0) == []
    assert watch.observe(field=False, read=None, now=3.0) == [FieldGone(3.0, also_read="b")]
    watch.observe(field=True, read="b", now=4.0)
    assert watch.observe(field=False, read=None, now=5.0) == [FieldGone(5.0)]
