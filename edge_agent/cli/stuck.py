"""What the steps of one phone mean: a sentence for each, and where it got stuck, why and what to try. Pure."""

from collections import defaultdict
from dataclasses import dataclass, field

from edge_agent.cli.status_view import Answer, tables_in, text_of

# Bits of SAK (ISO/IEC 14443-3, 6.5.3) and status words (ISO/IEC 7816-4, 5.6) in the words of a technician.
_WORDS = {
    "9000": "yes",
    "6a82": "no such app here",
    "6985": "not now: locked, or the app wants to be opened",
    "6982": "not now: it wants to be unlocked",
    "6d00": "it does not know this command",
    "6e00": "it does not know this command",
    "6f00": "its app failed",
}


@dataclass(frozen=True, slots=True)
class Advice:
    """The end of a walk: a stable id, what that means, what to do next."""

    id: str
    text: str
    next: str
    ok: bool = False


@dataclass(slots=True)
class Findings:
    """What was seen of the first phone; ``take`` its steps in order. ``last_step`` is the one at which all is well."""

    last_step: str = "stored"
    wants_cue: bool = False
    """There is a screen, and its cue may leave a moment later than the tap is stored."""
    visit: object = None
    seen: set[str] = field(default_factory=set)
    facts: dict[str, object] = field(default_factory=dict)
    screens: set[str] = field(default_factory=set)

    @property
    def began(self) -> bool:
        """Whether anybody came."""
        return self.visit is not None

    @property
    def ended(self) -> bool:
        """Whether the reader is done with it."""
        return "ended" in self.seen

    @property
    def over(self) -> bool:
        """Whether nothing more is to be expected; a phone that was lost may come back at once."""
        if "token" in self.seen:
            return self.ended and self.last_step in self.seen and (bool(self.screens) or not self.wants_cue)
        return self.ended and not self.lost

    @property
    def lost(self) -> bool:
        """Whether it left, or was too slow, before it had a token: people approach slowly."""
        return "token" not in self.seen and self.facts.get("outcome") in {"lost", "timeout"}

    def take(self, step: Answer) -> bool:
        """Take a step; False for one of somebody else. A phone that is lost and comes again is followed anew."""
        if step.get("step") == "seen" and (self.visit is None or (self.ended and "token" not in self.seen)):
            if step.get("technology") == "simulated":
                return False
            self.visit = step.get("visit")
            self.seen.clear()
            self.facts.clear()
        if self.visit is None or step.get("visit") != self.visit:
            return False
        self.seen.add(str(step.get("step")))
        self.facts.update({name: value for name, value in step.items() if name != "step"})
        if step.get("step") == "cue":
            self.screens.add(text_of(step.get("screen"), 24))
        return True


def said(step: Answer) -> str:
    """One step as a sentence; "" for one of another version."""
    told = defaultdict(lambda: "?", {name: text_of(value, 80) for name, value in step.items()})
    told |= {"who": _who(step), "answer": _sw(step)}
    told |= {name: words if step.get(name) else "" for name, words in _MORE.items()}
    told["why"] = f" ({told['why']})" if step.get("why") else ""
    return _SAID.get(str(step.get("step")), "").format_map(told)


_SAID = {
    "seen": "field: {who} at {where}",
    "ats": "ATS: {ats}: it speaks ISO/IEC 14443-4, as phones do",
    "answered": "AID {aid}: {answer} in {ms} ms",
    "nonce": "app: gave a nonce of {nonce_bytes} bytes{sub}",
    "read": "ticket: read from {where}",
    "token": "token: signed and on disk, seq {seq}{again}",
    "delivered": "phone: answers the token with {answer}{receipt}",
    "cue": "cue: {cue} on {screen}",
    "sent": "broker: has it (PUBACK)",
    "stored": "ack: the cloud has stored it",
    "ended": "end: {outcome}{why}",
}
_MORE = {"sub": " and a pseudonym", "again": ", the one it already had", "receipt": ", with a receipt"}


def _who(step: Answer) -> str:
    match step.get("technology"):
        case "iso_dep":
            who = "a phone or a chip card"
        case "plain":
            who = "a plain card or tag, no phone"
        case "reads_us":
            return "a phone that reads"
        case other:
            return text_of(other, 24)
    sak, uid = step.get("sak"), step.get("uid_bytes")
    told = f", SAK {sak:02X}" if isinstance(sak, int) else ""
    return f"{who}{told}" + (f", UID of {uid} bytes" if isinstance(uid, int) and uid else "")


def _sw(step: Answer) -> str:
    sw = text_of(step.get("sw") or "nothing", 8)
    return f"{sw} ({_WORDS[sw]})" if sw in _WORDS else sw


def advice_for(found: Findings, status: Answer) -> Advice:
    """Where it got stuck, or that all is well. ``status`` is the agent's answer to `status` afterwards."""
    if not found.began:
        return Advice(
            "nobody",
            "nothing came into any field",
            "hold the phone flat to the mark, without a metal case, NFC switched on and the screen lit; if a second "
            "phone does nothing either, the antenna or its cable: edge-agent doctor --only devices",
        )
    if "token" in found.seen:
        return _kept(found, status)
    outcome = str(found.facts.get("outcome", ""))
    return _ENDS.get(outcome) or _silent(found)


def _kept(found: Findings, status: Answer) -> Advice:
    if "sent" not in found.seen and "stored" not in found.seen:
        uplink = status.get("uplink")
        up = isinstance(uplink, dict) and uplink.get("up") is True
        why = "there is a connection" if up else "there is no connection to the broker"
        return Advice("not_sent", f"the tap is kept, but not sent: {why}", "edge-agent doctor --only delivery")
    if found.last_step not in found.seen:
        return Advice(
            "not_stored",
            "the broker has the tap, but no receiver confirms it",
            "see that the receiver runs and knows this terminal's key: edge-agent keys show",
        )
    outcome = found.facts.get("outcome")
    if outcome in {"unconfirmed", "late"}:
        return Advice(
            "not_taken",
            "the tap counts, but the phone did not take its token: it left too early, or its app is too slow",
            "try once more and hold it until the screen says thanks",
        )
    if not found.screens and tables_in(status, "screens"):
        return Advice("no_cue", "the tap is stored, but no screen was told of it", "edge-agent doctor --only devices")
    shown = f", and {', '.join(sorted(found.screens))} showed it" if found.screens else ""
    return Advice("ok", f"the phone was served{shown}", "nothing to do.", ok=True)


def _silent(found: Findings) -> Advice:
    """It left or said nothing; how far it came tells why."""
    if not found.lost:
        return Advice("unfinished", "the phone is still being served", "wait, and run it again")
    if "answered" in found.seen:
        return Advice(
            "app_slow", "its app answered once and then no more", "hold it longer; update the app on the phone"
        )
    if "ats" in found.seen:
        return Advice(
            "app_silent",
            "the phone is there, but its app did not answer SELECT",
            "is the app installed and started once, is it allowed to use NFC (on Android: contactless payments default "
            "or the app in the foreground), is the screen on and unlocked?",
        )
    return Advice(
        "no_ats",
        "something is in the field, but it does not answer RATS: at the edge of the field, or two cards at once",
        "hold it flat to the mark and still, alone, out of its wallet or metal case",
    )


_ENDS = {
    "no_app": Advice(
        "no_app",
        "the phone or card answers, but none of our AIDs is on it: a payment card, or a phone without the app",
        "install the app and open it once; is its AID among ours? edge-agent config explain exchange.aids",
    ),
    "locked": Advice("locked", "the app wants the phone unlocked", "unlock the phone and hold it again"),
    "foreign": Advice(
        "foreign",
        "something that has our AID answers like another application",
        "see which app on the phone has this AID; another reader app may have claimed it",
    ),
    "malformed": Advice(
        "malformed",
        "the app answered SELECT with something that is not the contract, or another version of it",
        "update the app on the phone; docs/apps.md says what it must answer",
    ),
    "ignored": Advice(
        "plain_card",
        'that is a plain card or tag; cards = "ignore" in [[readers]] leaves it alone',
        "hold a phone with the app",
    ),
    "refused": Advice(
        "refused",
        "the terminal took no tap: its limits, or its storage",
        "wait a minute and try again; edge-agent status says what was refused and whether taps can be kept",
    ),
    "card_late": Advice("storage_slow", "the storage did not answer in time", "edge-agent doctor --only host"),
    "late": Advice("storage_slow", "the storage did not answer in time", "edge-agent doctor --only host"),
    "not_read": Advice(
        "not_read",
        "a phone's field came to the tag, and left without reading the ticket",
        "hold it longer, flat to the mark; its screen must be on and unlocked",
    ),
}  # fmt: skip
