"""The layout, read by the simulated phone through a memory that needs no chip."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.simulation.type2_phone import Malformed, NoTag, Seen, Step, read_tag
from edge_agent.tags import nt3h
from edge_agent.tags.ndef_message import ticket_message
from edge_agent.tags.ticket import TICKET_CHARS, link

CHARS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
SEEDS = st.integers(0, 2**32)
FACTORY = bytes.fromhex("04A93512F07180004400 0000 E1106D00".replace(" ", ""))

Memory = dict[int, bytes]


def blank(fill: int = 0) -> Memory:
    return {0: FACTORY} | {block: bytes([fill]) * 16 for block in range(1, 56)}


def phone(memory: Memory, step: Step = Step.READ) -> Seen:
    raw = b"".join(memory[block] for block in range(56))

    def transceive(command: bytes) -> bytes:
        last = command[2] if command[0] == 0x3A else command[1] + 3
        return raw[command[1] * 4 : (last + 1) * 4]

    return read_tag(transceive, step)


def url_of(seed: int, host: str = "t.example.net") -> str:
    return link(host, "".join(random.Random(seed).choices(CHARS, k=TICKET_CHARS)))


def image_of(url: str, place: int = 0, app: str | None = None) -> nt3h.Image:
    message = ticket_message(url, app)
    text = url.rpartition("/")[2].encode()
    start = message.find(text)
    return nt3h.image(message, place=place, soft=range(start, start + len(text)))


def apply(memory: Memory, writes: nt3h.Writes) -> Memory:
    return memory | dict(writes)


places = st.integers(0, 4)


@given(st.binary(min_size=1, max_size=252), places, st.sampled_from(Step))
def test_a_message_at_any_place_ends_with_a_block_and_is_found(payload: bytes, place: int, step: Step) -> None:
    message = bytes((0xD5, 0, len(payload))) + payload  # one record of unknown type
    place %= nt3h.places_for(len(message), 5)
    image = nt3h.image(message, place=place)
    assert all(nt3h.FIRST_USER_BLOCK <= block <= nt3h.LAST_USER_BLOCK for block in image.blocks)
    assert image.blocks[image.last_block][-1] == message[-1]
    memory = apply(blank(0x5A), nt3h.rewrite(blank(0x5A), image))
    assert phone(memory, step).message == message


def test_places_do_not_overlap() -> None:
    for length in range(1, 256):
        taken = [
            block for p in range(nt3h.places_for(length, 9)) for block in nt3h.image(b"x" * length, place=p).blocks
        ]
        assert len([block for block in taken if block != 1]) == len({block for block in taken if block != 1})


@pytest.mark.parametrize(("length", "places"), [(136, 5), (169, 4), (253, 3), (255, 3)])
def test_five_places_at_most_for_a_ticket(length: int, places: int) -> None:
    assert nt3h.places_for(length, 5) == places
    assert nt3h.places_for(length, 1) == 1
    with pytest.raises(ValueError, match="no place"):
        nt3h.image(b"x" * length, place=places + 1)


@given(SEEDS, SEEDS, st.sampled_from([None, "net.example.tap"]))
def test_the_next_ticket_writes_only_the_blocks_that_differ(one: int, other: int, app: str | None) -> None:
    memory = apply(blank(), nt3h.rewrite(blank(), image_of(url_of(one), 1, app)))
    writes = nt3h.rewrite(memory, image_of(url_of(other), 1, app))
    assert len(writes) <= 9
    assert 1 not in dict(writes)
    assert all(memory[block] != data for block, data in writes)
    assert phone(apply(memory, writes)).url == url_of(other)
    assert nt3h.rewrite(apply(memory, writes), image_of(url_of(other), 1, app)) == []


def test_a_new_layout_begins_empty_and_ends_with_its_first_block() -> None:
    memory = apply(blank(), nt3h.rewrite(blank(), image_of(url_of(1))))
    writes = nt3h.rewrite(memory, image_of(url_of(1, "u.example.net")))
    assert writes[0] == (1, nt3h.EMPTY)
    assert writes[-1][0] == 1
    assert phone(apply(memory, writes[:-1])) == Seen(None)


@given(
    st.tuples(SEEDS, places, st.sampled_from(["t.example.net", "evil.example", "u.example.net"])),
    st.tuples(SEEDS, places, st.sampled_from(["t.example.net", "u.example.net"])),
    st.booleans(),
    st.data(),
)
def test_power_that_fails_at_any_byte_never_leaves_a_third_link(
    old: tuple[int, int, str], new: tuple[int, int, str], hidden: bool, data: st.DataObject
) -> None:
    before, after = url_of(old[0], old[2]), url_of(new[0], new[2])
    memory = apply(blank(), nt3h.rewrite(blank(), image_of(before, old[1])))
    if hidden:
        memory = apply(memory, nt3h.erase(memory))
    writes = nt3h.rewrite(memory, image_of(after, new[1]))
    cut = data.draw(st.integers(0, len(writes)))
    torn = apply(memory, writes[:cut])
    if cut < len(writes):
        block, wanted = writes[cut]
        kept = data.draw(st.lists(st.booleans(), min_size=16, max_size=16))
        torn[block] = bytes(o if keep else n for o, n, keep in zip(torn[block], wanted, kept, strict=True))
    try:
        seen = phone(torn)
    except (Malformed, NoTag):
        seen = Seen(None)
    if seen.url not in (None, before, after):
        # Then only characters of the ticket are mixed: host and form are sound, and the signature does not verify.
        assert seen.url is not None
        assert seen.url[:-TICKET_CHARS] == before[:-TICKET_CHARS] == after[:-TICKET_CHARS]
        assert all(c in (a, b) for c, a, b in zip(seen.url, before, after, strict=True))
    assert phone(apply(torn, nt3h.rewrite(torn, image_of(after, new[1])))).url == after


def test_hiding_is_one_write_and_once() -> None:
    memory = apply(blank(), nt3h.rewrite(blank(), image_of(url_of(1), 2)))
    writes = nt3h.erase(memory)
    assert writes == [(1, nt3h.EMPTY)]
    assert nt3h.erase(apply(memory, writes)) == []
    assert phone(apply(memory, writes)) == Seen(None)


@pytest.mark.parametrize(
    ("container", "sound"),
    [
        ("E1106D00", True),
        ("E1116D00", True),
        ("E1106D0F", True),  # phones may not write: as it should be
        ("E110EA00", True),
        ("00000000", False),
        ("E1201200", False),
        ("E1101200", False),
        ("E1106DF0", False),
        ("FFFFFFFF", False),
    ],
)
def test_a_container_that_phones_refuse_is_known(container: str, sound: bool) -> None:
    assert nt3h.container_sound(FACTORY[:12] + bytes.fromhex(container)) is sound


def test_the_repair_writes_the_address_where_it_reads_the_uid_and_nothing_else_new() -> None:
    broken = FACTORY[:10] + b"\x12\x34" + bytes(4)
    [(block, data)] = nt3h.container_repair(broken, 0x55)
    assert block == 0
    assert data == b"\xaa" + broken[1:12] + nt3h.CC


def test_lock_bits_passwords_and_foreign_chips_are_known() -> None:
    free = bytes(15) + b"\xff"
    assert not nt3h.locked(FACTORY, free)
    assert nt3h.locked(FACTORY[:10] + b"\x08\x00" + nt3h.CC, free)
    assert nt3h.locked(FACTORY, bytes(8) + b"\x01" + bytes(6) + b"\xff")
    assert not nt3h.read_protected(free, b"\x80" + bytes(15))
    assert nt3h.read_protected(bytes(15) + b"\x04", b"\x80" + bytes(15))
    assert not nt3h.read_protected(bytes(15) + b"\x04", bytes(16))
    assert nt3h.is_ours(FACTORY)
    assert not nt3h.is_ours(b"\x04" + bytes(15))


def test_the_chip_outlives_its_ticket_plan() -> None:
    rotations_a_year = 365 * 24 * 3600 / 60
    assert 0.9 < nt3h.ENDURANCE / rotations_a_year < 1
    assert 3.7 < 4 * nt3h.ENDURANCE / rotations_a_year < 3.9
