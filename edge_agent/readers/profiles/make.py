"""Makes the parser of a profile that only tells numbers. Pure."""

from edge_agent.readers.profiles.aa_bb import AaBb
from edge_agent.readers.profiles.ascii_line import AsciiLine
from edge_agent.readers.profiles.base import Parser, ProfileSettings
from edge_agent.readers.profiles.stx_etx_hex import StxEtxHex


def make_parser(settings: ProfileSettings) -> Parser:
    """Return a new parser; raises ValueError for acs_ccid, which is a dialogue and has a codec of its own."""
    match settings.profile:
        case "ascii_line":
            return AsciiLine(prefix=settings.prefix, suffix=settings.suffix, min_length=settings.min_length)
        case "stx_etx_hex":
            return StxEtxHex()
        case "aa_bb":
            return AaBb(head=settings.head, tail=settings.tail, length=settings.length, checksum=settings.checksum)
        case _:
            raise ValueError(f"{settings.profile} does not only tell numbers")
