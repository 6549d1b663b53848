"""The ticket vectors by the page alone: base64, struct and cryptography, none of our code; and our own on top."""

import base64
import json
import re
import struct
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from cryptography.hazmat.primitives.hashes import SHA256

from edge_agent.cloud.base import Row, Stream, TicketAsked
from edge_agent.cloud.keyset import KeySet
from edge_agent.cloud.ledger import SqliteLedger
from edge_agent.cloud.tickets import TicketVerdict, verify_ticket
from edge_agent.cloud.witness import OfflineQuota, Outcome, RedemptionAsked, WitnessPolicy

FOLDER = Path(__file__).parents[2] / "config/contract/vectors"
KEYS = json.loads((FOLDER / "keys.json").read_text())["keys"]
TICKETS = json.loads((FOLDER / "tickets.json").read_text())["cases"]
REDEMPTIONS = json.loads((FOLDER / "redemptions.json").read_text())
STORIES = REDEMPTIONS["stories"]
EACH_TICKET = pytest.mark.parametrize("case", TICKETS, ids=[case["name"] for case in TICKETS])
EACH_STORY = pytest.mark.parametrize("story", STORIES, ids=[story["name"] for story in STORIES])

REGISTERED = {key["kid"]: key for key in KEYS if key["registry"]}
REGISTRY = KeySet.from_json(json.dumps({"version": 1, "keys": [key["registry"] for key in REGISTERED.values()]}))
P256_HALF = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551 // 2


# Section 3 of the page, written down once more.


def from_base64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def signed(key: dict[str, Any], signature: bytes, data: bytes) -> bool:
    jwk = key["public_jwk"]
    try:
        if jwk["alg"] == "EdDSA":
            ed25519.Ed25519PublicKey.from_public_bytes(from_base64url(jwk["x"])).verify(signature, data)
            return True
        x, y = (int.from_bytes(from_base64url(jwk[name]), "big") for name in "xy")
        r, s = (int.from_bytes(signature[at : at + 32], "big") for at in (0, 32))
        public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
        public.verify(utils.encode_dss_signature(r, s), data, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return s <= P256_HALF


def taken_apart(shown: str) -> tuple[int, bytes, int, int, bytes, bytes] | None:
    found = re.fullmatch(r"(?:https://[a-z0-9.-]{1,253}/k/)?([A-Za-z0-9_-]{114}[AEIMQUYcgkosw048])", shown)
    return struct.unpack(">B8sIB8s64s", from_base64url(found[1])) if found else None


def verdict_by_the_page(case: dict[str, Any]) -> str:
    fields = taken_apart(case["shown"])
    if fields is None or fields[0] != 1 or fields[3] == 0:
        return "malformed"
    _, kid, iat, ttl, _, signature = fields
    key = REGISTERED.get(kid.hex())
    if key is None:
        return "unknown_key"
    if not signed(key, signature, b"tap-ticket/v1\x00" + from_base64url(case["shown"][-115:])[:22]):
        return "bad_signature"
    if case["used"]:
        return "used"
    times, now = key["registry"], case["now"]
    rules = {
        "unknown_key": iat < times["valid_from"] - 10,
        "revoked_key": (times["revoked_at"] is not None and max(now, iat) >= times["revoked_at"])
        or (times["valid_to"] is not None and iat >= times["valid_to"]),
        "clock_suspect": iat > now + 10,
        "expired": now > iat + ttl + 10,
    }
    return next((verdict for verdict, applies in rules.items() if applies), "fresh")


@EACH_TICKET
def test_plain_base64_struct_and_cryptography_give_the_verdict(case: dict[str, Any]) -> None:
    assert verdict_by_the_page(case) == case["verdict"]


@EACH_TICKET
def test_our_verifier_gives_the_verdict(case: dict[str, Any]) -> None:
    found = verify_ticket(case["shown"], now=case["now"], keys=REGISTRY.lookup, used=lambda _kid, _nonce: case["used"])
    assert found.verdict.value == case["verdict"], found.reason
    assert ("ticket" in case) == (found.ticket is not None)


@EACH_TICKET
def test_bytes_text_link_and_fields_are_the_same_ticket(case: dict[str, Any]) -> None:
    if case["verdict"] == "malformed":
        assert "text" not in case
        return
    raw = bytes.fromhex(case["ticket_hex"])
    assert len(raw) == 86
    assert base64.urlsafe_b64encode(raw).rstrip(b"=").decode() == case["text"]
    assert case["shown"] in (case["text"], f"https://t.example.com/k/{case['text']}")
    if "ticket" in case:
        _, kid, iat, ttl, nonce, _ = struct.unpack(">B8sIB8s64s", raw)
        said = case["ticket"]
        assert (kid.hex(), iat, ttl, nonce.hex()) == (said["kid"], said["iat"], said["ttl"], said["nonce"])
        home = REGISTERED[said["kid"]]["registry"]
        assert (home["fleet"], home["terminal"]) == (said["fleet"], said["terminal"])


def test_every_verdict_has_a_vector_and_both_algorithms_a_good_one() -> None:
    redeeming_only = {TicketVerdict.TEST_TAP, TicketVerdict.UNWITNESSED}
    assert {case["verdict"] for case in TICKETS} == {verdict.value for verdict in set(TicketVerdict) - redeeming_only}
    assert len({case["name"] for case in TICKETS}) == len(TICKETS)
    good = {REGISTERED[case["ticket"]["kid"]]["alg"] for case in TICKETS if case["verdict"] == "fresh"}
    assert good == {"EdDSA", "ES256"}


def test_wrong_vectors_differ_in_more_than_their_name() -> None:
    shown = [case["shown"] for case in TICKETS if case["verdict"] in ("malformed", "bad_signature")]
    assert len(set(shown)) == len(shown)


# The redemptions.


class ByThePage:
    """The rules of "Two witnesses", written down once more as they stand there."""

    def __init__(self, policy: dict[str, int]) -> None:
        self.policy = policy
        self.reports: list[tuple[int, int, bool]] = []
        self.redeemed: dict[int, tuple[str, int, str]] = {}
        self.keys: dict[int, int] = {}

    def reported(self, ticket: int, *, until: int, test: bool = False) -> bool:
        return any(number == ticket and at <= until and tested == test for number, at, tested in self.reports)

    def ask(self, ticket: int, key: int, who: str, verdict: str, now: int) -> tuple[str, str]:
        if self.keys.get(ticket, key) != key:
            return "refused", "used"
        if ticket in self.redeemed:
            return self.again(ticket, who, now)
        if verdict != "fresh":
            return "refused", verdict
        if self.reported(ticket, until=now):
            outcome = "granted"
        elif self.reported(ticket, until=now, test=True):
            return "refused", "test_tap"
        else:
            outcome = "granted_on_quota" if self.waiting(now) < self.policy["per_terminal"] else "pending"
        self.redeemed[ticket], self.keys[ticket] = (who, now, outcome), key
        return outcome, "fresh"

    def again(self, ticket: int, who: str, now: int) -> tuple[str, str]:
        first, asked, outcome = self.redeemed[ticket]
        if who != first:
            return "refused", "used"
        if outcome != "pending":
            return outcome, "fresh"
        if self.reported(ticket, until=asked + self.policy["match_s"]):
            self.redeemed[ticket] = (who, asked, "granted")
            return "granted", "fresh"
        if self.reported(ticket, until=now, test=True):
            return "refused", "test_tap"
        return ("refused", "unwitnessed") if now > asked + self.policy["match_s"] else ("pending", "fresh")

    def waiting(self, now: int) -> int:
        return sum(
            outcome == "granted_on_quota"
            and now - asked < self.policy["window_s"]
            and not self.reported(ticket, until=asked + self.policy["match_s"])
            for ticket, (_, asked, outcome) in self.redeemed.items()
        )


@EACH_STORY
def test_the_rules_of_the_page_give_the_answers(story: dict[str, Any]) -> None:
    book = ByThePage(REDEMPTIONS["policy"])
    for step in story["steps"]:
        if "report" in step:
            book.reports.append((step["report"], step["at"], step["test"]))
        else:
            found = book.ask(step["ask"], step["key"], step["who"], step["ticket_verdict"], step["at"])
            assert found == (step["outcome"], step["verdict"]), step


@EACH_STORY
async def test_our_ledger_gives_the_answers(story: dict[str, Any], tmp_path: Path) -> None:
    limits = REDEMPTIONS["policy"]
    policy = WitnessPolicy(OfflineQuota(limits["per_terminal"], limits["window_s"]), limits["match_s"])
    ledger = SqliteLedger(tmp_path / "ledger.db")
    await ledger.open()
    for seq, step in enumerate(story["steps"], 1):
        if "report" in step:
            await ledger.store([report(step["report"], step["at"], seq, test=step["test"])])
            continue
        event = RedemptionAsked(step["who"], TicketVerdict(step["ticket_verdict"]))
        asked = TicketAsked(b"key id %d" % step["key"], nonce_of(step["ask"]), "sh", "sh-1-a", event)
        answer = await ledger.redeem_ticket(asked, now=step["at"], policy=policy)
        assert (answer.outcome.value, answer.verdict.value) == (step["outcome"], step["verdict"]), step
    await ledger.close()


def nonce_of(ticket: int) -> bytes:
    return ticket.to_bytes(8, "big")


def report(ticket: int, at: int, seq: int, *, test: bool) -> Row:
    return Row(
        stream=Stream("sh", "sh-1-a", b"chain--1"),
        seq=seq,
        token=b"token %d" % seq,
        verdict="fresh",
        redeemable=not test,
        received_at=at,
        kid=b"key id 1",
        iat=at,
        exp=at + 90,
        clk=2,
        boot=b"bootbyte",
        up=100,
        prev=bytes(16),
        mode=2,
        nonce=nonce_of(ticket),
        test=test,
    )


def test_every_answer_has_a_story() -> None:
    asks = [step for story in STORIES for step in story["steps"] if "ask" in step]
    assert {step["outcome"] for step in asks} == {outcome.value for outcome in Outcome}
    refused = {step["verdict"] for step in asks if step["outcome"] == "refused"}
    assert {"used", "expired", "clock_suspect", "test_tap", "unwitnessed"} <= refused
