"""NT3H2111 and NT3H2211 (NTAG I2C plus): addresses, bits and layout as in the data sheet NT3H2111_2211. Pure.

A ticket stands in the EEPROM: its 135 to 253 bytes do not fit the 64 bytes of SRAM, and the part that changes (103
characters) does not either. A block bears 500,000 writes (data sheet, table of characteristics), and a rotation each
60 s is 525,600 a year: 0.95 years in one place, 3.8 in four. Writes here are whole blocks, 1 to 54; block 0 only
where its capability container is broken.
"""

from collections.abc import Mapping
from dataclasses import dataclass

BLOCK_BYTES = 16
"""I2C moves whole blocks of 16 bytes, which are four pages of the radio side."""
ENDURANCE = 500_000
WRITE_S = 0.0045
"""EEPROM programming time of a block; EEPROM_WR_BUSY tells when it is over."""
WRITES_PER_PLACE = 4096

FIRST_USER_BLOCK = 1
LAST_USER_BLOCK = 54
"""The last whole block inside the 872 bytes that the capability container tells of (6Dh * 8, from page 4 on)."""
LOCK_BLOCK, ACCESS_BLOCK, CONFIGURATION_BLOCK = 0x38, 0x39, 0x3A
SECOND_SECTOR_BLOCK = 0x40
"""Only the NT3H2211 has blocks 40h to 7Fh; the NT3H2111 answers NAK."""
SESSION = 0xFE

# Session registers (Table 14, 9.8): written by `FEh, register, mask, value`, read by `FEh, register` and one byte.
NC_REG, LAST_NDEF_BLOCK, SM_REG, WDT_LS, WDT_MS, I2C_CLOCK_STR, NS_REG = range(7)

# NC_REG: FD_ON and FD_OFF 00b let the pin follow the field. TRANSFER_DIR 0b without pass-through: "no WRITE access from
# the NFC side", so that nobody puts a link of his own in the place of ours.
NC_WANTED = 0x00
NC_DEFAULT = 0x01

NDEF_DATA_READ = 0x80
"""All of LAST_NDEF_BLOCK was read by a phone; reading NS_REG clears it."""
I2C_LOCKED = 0x40
RF_LOCKED = 0x20
EEPROM_WR_ERR = 0x04
EEPROM_WR_BUSY = 0x02
RF_FIELD_PRESENT = 0x01

WDT_TICK_S = 9.43e-6
WDT_WANTED = 0xFFFF
"""618 ms: longer than a whole rewrite (at most 0.2 s), short enough to heal an agent that died in it."""

NXP_UID0 = 0x04
_SAK_ATQA = bytes.fromhex("004400")
"""Reading byte 0 of block 0 gives the first byte of the UID; writing it sets the I2C address."""
CC = bytes.fromhex("E1106D00")
"""Capability container for 872 bytes, free to read and write: plain EEPROM for I2C, set-only for phones."""
_CC_AT = 12
_STATIC_LOCKS = slice(10, 12)
_DYNAMIC_LOCKS = slice(8, 11)
_AUTH0_AT = 15
_LAST_USER_PAGE = 0xE1
_NFC_PROT = 0x80

TLV_NULL, TLV_NDEF, TLV_PROPRIETARY, TLV_TERMINATOR = 0x00, 0x03, 0xFD, 0xFE

EMPTY = bytes((TLV_NDEF, 0, TLV_TERMINATOR)) + bytes(BLOCK_BYTES - 3)
"""The first block of a tag with no message: an empty NDEF TLV (Type 2 Tag specification, 2.3.4)."""

Memory = Mapping[int, bytes]
Writes = list[tuple[int, bytes]]


@dataclass(frozen=True, slots=True)
class Image:
    """What shall stand on the chip: blocks by address, the block with the last byte of the message, and the byte
    addresses of the ticket's characters: a mix of two tickets there is a ticket whose signature fails.
    """

    blocks: dict[int, bytes]
    last_block: int
    soft: range


def is_ours(block0: bytes) -> bool:
    """Whether block 0 is that of such a chip: NXP's UID, SAK and ATQA; a fuel gauge may have its address."""
    return block0[0] == NXP_UID0 and block0[7:10] == _SAK_ATQA


def locked(block0: bytes, block38: bytes) -> bool:
    """Whether a static or dynamic lock bit is set (8.3.6); phones can set them, and never clear them."""
    return any(block0[_STATIC_LOCKS]) or any(block38[_DYNAMIC_LOCKS])


def read_protected(block38: bytes, block39: bytes) -> bool:
    """Whether somebody set a password without which phones cannot read (AUTH0 and NFC_PROT)."""
    return block38[_AUTH0_AT] <= _LAST_USER_PAGE and bool(block39[0] & _NFC_PROT)


def container_sound(block0: bytes) -> bool:
    """Whether phones take the tag for an NFC Forum Type 2 Tag of at least 872 bytes that may be read."""
    magic, version, size, access = block0[_CC_AT:]
    return magic == CC[0] and version >> 4 == 1 and size >= CC[2] and access >> 4 == 0


def container_repair(block0: bytes, address: int) -> Writes:
    """Return the write that repairs the capability container; the rest of block 0 stays what it is.

    Byte 0 is the I2C address in its upper seven bits, whatever reading it gives. Power that fails in this write mixes
    old and new bytes, and but for the container they are the same.
    """
    return [(0, bytes((address << 1,)) + block0[1:_CC_AT] + CC)]


def places_for(message_bytes: int, wanted: int) -> int:
    """Return how many places a message has room for, at most ``wanted``."""
    return max(1, min(wanted, LAST_USER_BLOCK // _stride(message_bytes)))


def image(message: bytes, *, place: int, soft: range = range(0)) -> Image:
    """Lay a message (up to 255 bytes) out at a place; ``soft`` are the positions of the ticket's characters in it.

    The message ends with the last byte of a block: who has read it all has read all of LAST_NDEF_BLOCK, in whatever
    steps. NULL TLVs fill the block before it, a terminator follows. A place behind the first is reached by a
    proprietary TLV, which a phone skips (Type 2 Tag specification, 2.3).
    """
    if place not in range(places_for(len(message), place + 1)):
        raise ValueError(f"no place {place} for a message of {len(message)} bytes")
    header = _header(TLV_NDEF, len(message))
    body = bytes(-(len(header) + len(message)) % BLOCK_BYTES) + header + message
    first = FIRST_USER_BLOCK + place * _stride(len(message))
    blocks = {first + n: body[n * BLOCK_BYTES :][:BLOCK_BYTES] for n in range(len(body) // BLOCK_BYTES)}
    last = max(blocks)
    blocks[last + 1] = bytes((TLV_TERMINATOR,)) + bytes(BLOCK_BYTES - 1)
    if place:
        way = (first - FIRST_USER_BLOCK) * BLOCK_BYTES
        skip = _header(TLV_PROPRIETARY, way - (2 if way - 2 < 0xFF else 4))
        blocks[FIRST_USER_BLOCK] = skip.ljust(BLOCK_BYTES, bytes(1))
    start = (last + 1) * BLOCK_BYTES - len(message)
    return Image(blocks, last, range(start + soft.start, start + soft.stop))


def rewrite(standing: Memory, wanted: Image) -> Writes:
    """Return the writes, in order, that make of what stands what is wanted; only blocks that differ.

    Where only the ticket's characters differ, power may fail at any point: the phone finds a link whose signature does
    not verify. Everything else begins with an empty first block and ends with the right one, so that a torn layout is
    never a message.
    """
    writes = [(block, data) for block, data in sorted(wanted.blocks.items()) if standing[block] != data]
    if all(_differ_within(standing[block], data, block, wanted.soft) for block, data in writes):
        return writes
    first = wanted.blocks[FIRST_USER_BLOCK]
    rest = [(block, data) for block, data in writes if block != FIRST_USER_BLOCK]
    return erase(standing) + rest + [(FIRST_USER_BLOCK, first)]


def erase(standing: Memory) -> Writes:
    """Return the write after which phones find no message."""
    return [] if standing[FIRST_USER_BLOCK] == EMPTY else [(FIRST_USER_BLOCK, EMPTY)]


def touchstone(block: bytes) -> bytes:
    """Return an empty first block that differs from ``block``: whether it takes shows whether a chip is locked."""
    return EMPTY if block != EMPTY else EMPTY[:-1] + b"\x01"


def _differ_within(old: bytes, new: bytes, block: int, soft: range) -> bool:
    return all(was == now or block * BLOCK_BYTES + n in soft for n, (was, now) in enumerate(zip(old, new, strict=True)))


def _stride(message_bytes: int) -> int:
    """Blocks of a place: the message, and the terminator behind it."""
    return -(-(len(_header(TLV_NDEF, message_bytes)) + message_bytes) // BLOCK_BYTES) + 1


def _header(tag: int, length: int) -> bytes:
    """Tag and length; the form of three bytes is for 255 and more only (Type 2 Tag specification, 2.3)."""
    if length < 0xFF:
        return bytes((tag, length))
    return bytes((tag, 0xFF)) + length.to_bytes(2, "big")
