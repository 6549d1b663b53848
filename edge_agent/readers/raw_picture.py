"""What is in the field of a reader, and what that means for a phone "that does nothing": facts, words, a verdict. Pure.

A UID is never among the facts, only its length and whether it is random; nor is a nonce.
"""

from dataclasses import dataclass

from edge_agent.errors import LostReason
from edge_agent.readers import iso_dep
from edge_agent.readers.base import TargetKind

SW_OK = 0x9000
_FSC = (16, 24, 32, 40, 48, 64, 96, 128, 256)  # ISO/IEC 14443-4, 5.2.3, by FSCI
_INTERFACE_BYTES = (0x10, 0x20, 0x40)  # T0: TA(1), TB(1), TC(1) follow
_NO_APP = frozenset({0x6A82, 0x6A81, 0x6A86, 0x6D00, 0x6E00, 0x6999})
_NOT_NOW = frozenset({0x6985, 0x6982, 0x6283})

# ISO/IEC 7816-4, 5.6, and what phones mean by them.
_STATUS_WORDS = {
    0x9000: "yes",
    0x6283: "the application is switched off",
    0x6700: "wrong length",
    0x6982: "not now: it wants to be unlocked",
    0x6985: "not now: locked, or the app wants to be opened",
    0x6999: "no such application here",
    0x6A81: "it knows no such function",
    0x6A82: "no such application here",
    0x6A86: "it knows no SELECT by name",
    0x6D00: "it does not know SELECT",
    0x6E00: "it does not know this class of commands",
    0x6F00: "its application failed",
}


@dataclass(frozen=True, slots=True)
class Selected:
    """What SELECT of one application brought; ``sw`` is None where no answer came, and ``trouble`` says why.

    With ``sw`` 9000, ``trouble`` is what is wrong with the answer of a tap app; ``version`` is the contract's.
    """

    aid: bytes
    sw: int | None = None
    ms: float = 0.0
    version: int | None = None
    trouble: str = ""
    lost: LostReason | None = None

    @property
    def words(self) -> str:
        """The answer in a few words."""
        if self.sw is None:
            return f"no answer: {self.trouble}"
        if self.sw == SW_OK and self.trouble:
            return f"an app answers, but not as a tap app: {self.trouble}"
        return status_words(self.sw)


@dataclass(frozen=True, slots=True)
class Picture:
    """One phone, card or tag, as the reader saw it; ``lost`` is why the conversation broke off, "" if it did not.

    ``uid_bytes`` is 0, and ``atqa`` None, where the reader keeps that to itself; ``ats`` is without its checksum.
    """

    kind: TargetKind
    sak: int
    atqa: int | None
    uid_bytes: int
    uid_random: bool
    ats: bytes = b""
    selects: tuple[Selected, ...] = ()
    ndef: Selected | None = None
    lost: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A stable id, what it is, and what to do next; ``good``: it is a phone that the terminal takes a tap from."""

    id: str
    text: str
    next: str
    good: bool = False


def status_words(sw: int) -> str:
    """Say what a status word means."""
    return _STATUS_WORDS.get(sw, "an answer that says nothing to us")


def sak_words(sak: int) -> str:
    """Say what SAK tells (ISO/IEC 14443-3, 6.5.3; NXP AN10833 for what the makers put there)."""
    if sak & 0x20:
        return "ISO-DEP (ISO/IEC 14443-4)" + (" and NFC-DEP" if sak & 0x40 else "")
    if sak & 0x08:
        return "MIFARE Classic, or a card that behaves as one"
    return "NFC-DEP" if sak & 0x40 else "a Type 2 tag: NTAG, MIFARE Ultralight" if sak == 0 else "no ISO-DEP"


def uid_words(length: int, *, random: bool) -> str:
    """Say what the length of a UID tells, without it."""
    if not length:
        return "not told by this reader"
    return f"{length} bytes, " + ("random: another one each time, as phones do" if random else "fixed, as cards have")


def ats_words(ats: bytes) -> str:
    """Read an ATS in words: frame size, waiting time, guard time, how many historical bytes."""
    try:
        read = iso_dep.parse_ats(ats)
    except ValueError as error:
        return f"it makes no sense: {error}"
    words = [f"frames of {_FSC[read.fsci]} bytes", f"answers within {read.waiting_s * 1000:.0f} ms"]
    if read.guard_s:
        words.append(f"needs {read.guard_s * 1000:.1f} ms before the first")
    t0 = ats[1] if ats[0] > 1 else 0
    history = max(ats[0] - 2 - sum(1 for bit in _INTERFACE_BYTES if t0 & bit), 0)
    return ", ".join([*words, f"{history} historical byte{'' if history == 1 else 's'}"])


def verdict_of(picture: Picture | None) -> Verdict:
    """Say what it is; None: nothing came into the field."""
    if picture is None:
        return Verdict(
            "nothing",
            "nothing is in the field",
            "on the phone, switch NFC on and its screen, take it out of a thick or metal case, and try with its upper "
            "half; try a card, too: where a card is not seen either, look at the antenna",
        )
    return _plain(picture) if picture.kind is TargetKind.PLAIN else _iso_dep(picture)


def _plain(picture: Picture) -> Verdict:
    what = "a MIFARE Classic card" if picture.sak & 0x08 else "a Type 2 tag" if picture.sak == 0 else "a plain card"
    return Verdict(
        "plain",
        f"{what} is there, no phone",
        'it is a tap only with cards = "pseudonym" in [[readers]]; a phone that shows itself so emulates a card: '
        "choose the tap app in its NFC settings",
    )


def _iso_dep(picture: Picture) -> Verdict:
    who = "a phone" if picture.uid_random else "a phone or chip card" if not picture.uid_bytes else "a chip card"
    good = next((one for one in picture.selects if one.sw == SW_OK and not one.trouble), None)
    if good is not None:
        return Verdict(
            "app", f"{who} is there, and its tap app answers", "nothing to do: hold it there again for a tap", good=True
        )
    strange = next((one for one in picture.selects if one.sw == SW_OK), None)
    if strange is not None:
        return Verdict(
            "foreign-app",
            f"{who} is there, and what answers as {strange.aid.hex().upper()} is no tap app of this contract",
            "bring the app up to date; see whether another app has taken its application id",
        )
    return _lost(picture, who) if picture.lost else _without_app(picture, who)


def _without_app(picture: Picture, who: str) -> Verdict:
    aids = ", ".join(one.aid.hex().upper() for one in picture.selects)
    if any(one.sw in _NOT_NOW for one in picture.selects):
        return Verdict(
            "locked",
            f"{who} is there and has the app, which does not answer now",
            "unlock the phone, open the app once",
        )
    if any(one.sw not in _NO_APP for one in picture.selects):
        return Verdict(
            "app-fails", f"{who} is there, and fails at {aids}", "close the app and open it again; restart the phone"
        )
    if picture.uid_bytes and not picture.uid_random:
        return Verdict(
            "card",
            "a chip card is there, as banks and gates give them, no phone with the app",
            "take it away and hold the phone alone to the reader; what kind of card it is nobody asks: no payment "
            "application is ever selected",
        )
    return Verdict(
        "no-app",
        f"{who} is there and speaks ISO-DEP, but has no app for {aids}",
        "install the tap app, and open it once; where it is installed, unlock the phone and make it the one that "
        "answers in the NFC settings",
    )


def _lost(picture: Picture, who: str) -> Verdict:
    if not any(one.sw is not None for one in picture.selects) and not picture.ats:
        return Verdict(
            "too-far",
            f"{who} is there for a moment, and is lost before it says a word",
            "hold it closer and still, flat on the mark; without its case; see whether the antenna is covered by metal",
        )
    return Verdict(
        "lost",
        f"{who} is there, and the conversation breaks off: {picture.lost}",
        "hold it still, closer, without its case; if it is always so, restart the phone",
    )
