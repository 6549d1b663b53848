"""What a cue looks like in a terminal: a sign of five rows, words in both languages, a colour. Tables only."""

from dataclasses import dataclass
from types import MappingProxyType

from firmware_bridge.cues import CueName, Words

ROWS = 5
COLUMNS = 13


@dataclass(frozen=True, slots=True)
class Look:
    """One cue: ``moves`` are its pictures in turn, each ROWS rows of at most COLUMNS columns; ``plain`` in ASCII."""

    moves: tuple[tuple[str, ...], ...]
    plain: tuple[str, ...]
    colour: tuple[int, int, int]
    sgr: str
    """The nearest of the eight colours that every terminal has."""
    words: Words


def _ring(at: int) -> tuple[str, ...]:
    """A ring of eight dots, half of it lit, that turns."""
    dot = ["●" if (place - at) % 8 < 4 else "·" for place in range(8)]
    return (
        f"     {dot[0]}",
        f"  {dot[7]}     {dot[1]}",
        f" {dot[6]}   ▯   {dot[2]}",
        f"  {dot[5]}     {dot[3]}",
        f"     {dot[4]}",
    )


def _waves(reach: int) -> tuple[str, ...]:
    """A phone, and waves that reach it from both sides."""
    left = ("   )", "  ))", " )))")[reach]
    right = ("(", "((", "(((")[reach]
    return ("    ╭───╮", "    │   │", f"{left}│   │{right}", "    │ ▪ │", "    ╰───╯")


LOOKS = MappingProxyType(
    {
        CueName.INVITE: Look(
            tuple(_waves(reach) for reach in (0, 0, 1, 1, 2, 2, 2, 2)),
            ("    +---+", "    |   |", " )))|   |(((", "    | o |", "    +---+"),
            (70, 220, 230),
            "36",
            Words("手机碰一碰", "tap here"),
        ),
        CueName.READING: Look(
            tuple(_ring(at) for at in range(8)),
            ("     o", "  .     o", " .   #   o", "  .     o", "     ."),
            (90, 150, 255),
            "34",
            Words("请保持不动", "hold still"),
        ),
        CueName.THANKS: Look(
            (("          /", "         /", " \\      /", "  \\    /", "   \\__/"),),
            ("          /", "         /", " \\      /", "  \\    /", "   \\__/"),
            (80, 220, 110),
            "32",
            Words("谢谢", "thank you"),
        ),
        CueName.UNLOCK: Look(
            (("    ╭───╮", "    │   │", "  ╭─┴───┴─╮", "  │   ●   │", "  ╰───────╯"),),
            ("    +---+", "    |   |", "  +-+---+-+", "  |   o   |", "  +-------+"),
            (250, 190, 60),
            "33",
            Words("请先解锁手机", "unlock your phone"),
        ),
        CueName.RETRY: Look(
            (("   ╭────╮", "   │    ▼", "", "   ▲    │", "   ╰────╯"),),
            ("   +----+", "   |    v", "", "   ^    |", "   +----+"),
            (250, 190, 60),
            "33",
            Words("再碰一次", "tap once more"),
        ),
        CueName.RESTING: Look(
            (("    ▄██▀   Z", "   ██▀   z", "   ██", "   ██▄", "    ▀██▄▄▀"),),
            ("     _.._  Z", "   .' .-' z", "  /  /", "  |  |", "   `._`-.."),
            (180, 130, 240),
            "35",
            Words("休息一下", "taking a break"),
        ),
        CueName.FAULT: Look(
            (("      /\\", "     /  \\", "    / ┃┃ \\", "   /  ▪▪  \\", "  /________\\"),),
            ("      /\\", "     /  \\", "    / || \\", "   /  ..  \\", "  /________\\"),
            (250, 90, 80),
            "31",
            Words("暂时无法使用", "invitation withdrawn"),
        ),
        CueName.IDENTIFY: Look(
            (("  ╭───────╮", "  │       │", "  │  <·>  │", "  ╰───┬───╯", "    ──┴──"),),
            ("  +-------+", "  |       |", "  |  <o>  |", "  +---+---+", "    --+--"),
            (180, 130, 240),
            "35",
            Words("就是这块屏幕", "this is the screen"),
        ),
        CueName.QUIET: Look(
            (("", "", "      ·", "", ""),),
            ("", "", "      .", "", ""),
            (140, 140, 140),
            "37",
            Words("此广告无奖励", "no invitation with this advert"),
        ),
    }
)
