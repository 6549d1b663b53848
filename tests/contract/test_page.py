"""The page for people: its examples are the vectors', its numbers the code's, its links lead somewhere."""

import json
import re
from pathlib import Path

from edge_agent.cloud import tickets, verifier, witness
from edge_agent.contract import artefacts
from edge_agent.contract.samples import AID, EXAMPLE, FLEET, A
from edge_agent.readers import aids, apdu
from edge_agent.tokens import tap_token
from edge_agent.tokens.tap_token import parse, stream_aad
from edge_agent.uplink import batch, checkpoints, export_file, wire

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/contract.md").read_text()
PAYLOAD_LIMITS = (
    wire.ACK_BYTES,
    wire.RESULT_BYTES,
    wire.STATE_BYTES,
    wire.HEALTH_BYTES,
    wire.ALARM_BYTES,
    wire.COMMAND_BYTES,
    wire.RESPONSE_BYTES,
)
PARTS = artefacts.document_parts()


def token_vector(name: str) -> bytes:
    cases = json.loads((ROOT / "config/contract/vectors/tokens.json").read_text())["cases"]
    return next(bytes.fromhex(case["token_hex"]) for case in cases if case["name"] == name)


def test_the_generated_parts_are_the_generators() -> None:
    assert artefacts.with_generated_parts(PAGE) == PAGE


def test_the_annotated_token_is_the_vector_and_verifies() -> None:
    listing = PARTS["example-token"].split("\n")[1:-1]
    hexes = (re.match(r"\s*((?:[0-9a-f]{2}(?: |$))+)(?: |$)", line) for line in listing)
    data = bytes.fromhex("".join(match[1] for match in hexes if match))
    assert data == token_vector("phone-app")
    assert parse(data).claims == EXAMPLE
    assert parse(data).verified_by(A.key.public, stream_aad(FLEET, A.terminal))


def test_the_signed_bytes_on_the_page_are_what_was_signed() -> None:
    text = PARTS["example-signing"]
    blocks = re.findall(r"\((\d+) bytes\):\n((?:  [0-9a-f]+\n)+)", text)
    (signed_size, signed), (token_size, token) = blocks
    to_be_signed, whole = bytes.fromhex(signed), bytes.fromhex(token)
    assert (len(to_be_signed), len(whole)) == (int(signed_size), int(token_size))
    assert whole == token_vector("phone-app")
    assert A.key.public.verify(whole[-64:], to_be_signed)


def test_the_apdus_on_the_page_are_the_vectors() -> None:
    vectors = json.loads((ROOT / "config/contract/vectors/apdu.json").read_text())
    steps = next(one for one in vectors["transcripts"] if one["name"] == "accepted-with-receipt")["steps"]
    expected = [step[side] for step in steps for side in ("command_hex", "answer_hex")]
    blocks = PARTS["example-apdus"].removeprefix("```text\n").removesuffix("\n```").split("\n\n")
    assert [bytes.fromhex(block.split("\n", 1)[1]).hex() for block in blocks] == expected


def test_the_payloads_on_the_page_are_the_vectors() -> None:
    valid = json.loads((ROOT / "config/contract/vectors/payloads.json").read_text())["valid"]
    shown = [json.loads(line) for line in PARTS["example-payloads"].split("\n") if line.startswith("{")]
    assert shown == [value for name in DECODED for value in valid[name]]


DECODED = ("ack", "result", "state", "alarm", "health", "command", "response", "resend-args", "show-args")


def test_the_numbers_on_the_page_are_the_codes() -> None:
    for words in (
        f"At most **{tap_token.MAX_TOKEN_BYTES} bytes**",
        f"never above {tap_token.MAX_TTL_S}.",
        f"with {verifier.SKEW_S} s for skewed clocks",
        f"iat is {verifier.REFUSE_FUTURE_S} s or more ahead",
        f"{verifier.INGEST_WINDOW_S // 86400} days by default",
        f"| batch | {batch.MAX_TOKENS} tokens, {batch.MAX_BATCH_BYTES // 1024} KiB |",
        f"| {' · '.join(map(str, PAYLOAD_LIMITS))} bytes |",
        f"at most {wire.MAX_MISSING_RANGES}",
        f"Every {checkpoints.EVERY_TAPS} taps, every {checkpoints.EVERY_S / 60:g} minutes",
        f'{{"format": "{export_file.FORMAT}",',
        f"**`{AID.hex(' ').upper()}`**",
        f"a receipt of at most {apdu.RECEIPT_MAX_BYTES} bytes",
    ):
        assert words in PAGE, words
    assert aids.DEFAULT_AID == AID


def test_every_verdict_is_in_the_table() -> None:
    for verdict in verifier.Verdict:
        assert re.search(rf"^\| \d+ \| `{verdict.value}` \|", PAGE, re.MULTILINE), verdict


def test_every_verdict_on_a_ticket_is_on_the_page() -> None:
    told = {tickets.TicketVerdict.TEST_TAP, tickets.TicketVerdict.UNWITNESSED}
    section = PAGE[PAGE.index("\n### What a ticket is worth") : PAGE.index("\n## 4.")]
    for verdict in tickets.TicketVerdict:
        row = re.search(rf"^\| \d+ \| `{verdict.value}` \|", section, re.MULTILINE)
        assert bool(row) != (verdict in told), verdict
        assert f"`{verdict.value}`" in section
    for outcome in witness.Outcome:
        assert f"`{outcome.value}`" in section, outcome


def test_the_ticket_on_the_page_is_the_vector() -> None:
    cases = json.loads((ROOT / "config/contract/vectors/tickets.json").read_text())["cases"]
    vector = next(case for case in cases if case["name"] == "link")
    shown = PARTS["example-ticket"]
    assert vector["shown"] in shown
    assert vector["ticket_hex"] in re.sub(r"\s", "", shown)
    assert re.sub(r"\s|[a-z]{3,}", "", shown).find(vector["ticket_hex"][:44]) >= 0


def test_links_lead_somewhere() -> None:
    headings = {
        re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in PAGE.splitlines()
        if line.startswith("#")
    }
    links = re.findall(r"\]\(([^)]+)\)", PAGE)
    assert links
    for link in links:
        if link.startswith("#"):
            assert link[1:] in headings, link
        else:
            assert (ROOT / "docs" / link).exists(), link


def test_a_ticket_has_the_size_that_the_page_says() -> None:
    section = PAGE[PAGE.index("\n## 3.") : PAGE.index("\n### What a ticket is worth")]
    parts = [int(size) for size in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)]
    assert sum(parts) == 86
    assert -(-86 * 4 // 3) == 115
    assert sum(parts[:-1]) == 22
    assert len("tap-ticket/v1") == 13
