"""docs/apps.md is a program: its app is put into an emulated phone, its page checks tickets, its XML is parsed."""

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from edge_agent.cloud.keyset import KeySet
from edge_agent.readers.aids import DEFAULT_AID
from edge_agent.simulation.iso_dep import Ats, IsoDepCard, Response, random_uid
from edge_agent.tags.ticket import Ticket, link, seal
from edge_agent.tokens.keys import PrivateKey
from edge_agent.tokens.sign1 import Alg
from edge_agent.tokens.tap_token import parse
from tests.fakes.tag_site import TagSite
from tests.fakes.whole_agent import WholeAgent, whole_agent

PAGE = (Path(__file__).parent.parent / "docs" / "apps.md").read_text(encoding="utf-8")
ANDROID = "{http://schemas.android.com/apk/res/android}"
KEY = PrivateKey.from_ed25519_seed(bytes(range(32)))
NOW = 1_800_000_000
VECTORS = Path(__file__).parent.parent / "config/contract/vectors"
REGISTERED = [key["registry"] for key in json.loads((VECTORS / "keys.json").read_text())["keys"] if key["registry"]]
REGISTRY = KeySet.from_json(json.dumps({"version": 1, "keys": REGISTERED}))
TICKETS = json.loads((VECTORS / "tickets.json").read_text())["cases"]
STRICTER = {"es256-link", "es256-text-alone", "redeemed-before-and-expired", "key-replaced-after-the-issue"}
"""Refused by the page: an algorithm that it leaves to its reader, and times that it looks at first."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", PAGE)


def block_with(language: str, text: str) -> str:
    (found,) = [block for block in blocks(language) if text in block]
    return found


def program(text: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(block_with("python", text), "docs/apps.md", "exec"), names)  # noqa: S102 - our own page's example
    return names


class PagesApp:
    """The app of the page as an emulated phone's application."""

    def __init__(self, *, locked: bool = False) -> None:
        self.tokens: list[bytes] = []
        self.locked = locked
        self._app = program("class TapService")["TapService"](self.tokens.append, lambda: self.locked)

    def command(self, apdu: bytes) -> Response | None:
        return Response(self._app.process(apdu), 0.0)

    def link_lost(self) -> None:
        self._app.deactivated()


def phone(app: PagesApp) -> IsoDepCard:
    return IsoDepCard(app, random_uid(random.Random(4)), timing=Ats())


async def hold(terminal: WholeAgent, app: PagesApp, until: Callable[[], object]) -> None:
    card = phone(app)
    terminal.emulator.place(card)
    await terminal.until(until)
    terminal.emulator.remove(card)
    await terminal.field_clear()


async def test_the_app_of_the_page_gets_a_token_for_its_nonce_and_a_new_nonce_for_the_next_tap(tmp_path: Path) -> None:
    app = PagesApp()
    async with whole_agent(tmp_path) as terminal:
        await hold(terminal, app, lambda: len(app.tokens) == 1)
        await hold(terminal, app, lambda: len(app.tokens) == 2)
    first, second = (parse(token).claims for token in app.tokens)
    assert first.nonce is not None
    assert len(first.nonce) == 16
    assert first.nonce != second.nonce
    assert (first.seq, second.seq) == (1, 2)


async def test_the_app_of_the_page_asks_to_be_unlocked(tmp_path: Path) -> None:
    app = PagesApp(locked=True)
    async with whole_agent(tmp_path) as terminal:
        await hold(terminal, app, lambda: "unlock" in terminal.cues)
        assert await terminal.issued() == []
        app.locked = False
        await hold(terminal, app, lambda: len(app.tokens) == 1)


def test_the_apps_xml_registers_the_contracts_aid_and_no_payment() -> None:
    service = ET.fromstring(block_with("xml", "<host-apdu-service"))  # noqa: S314 - our own page
    (group,) = service.iter("aid-group")
    assert group.get(f"{ANDROID}category") == "other"
    assert [name.get(f"{ANDROID}name") for name in service.iter("aid-filter")] == [DEFAULT_AID.hex().upper()]
    manifest = ET.fromstring(block_with("xml", "<service "))  # noqa: S314 - our own page
    assert manifest.get(f"{ANDROID}permission") == "android.permission.BIND_NFC_SERVICE"


def test_the_kotlin_speaks_of_the_same_bytes_as_the_python() -> None:
    (kotlin,) = blocks("kotlin")
    python = block_with("python", "class TapService")
    hexadecimal = re.compile(r'"([0-9A-F]{4,})"')
    assert set(hexadecimal.findall(kotlin)) == set(hexadecimal.findall(python))


def check(url: str, now: float = NOW) -> tuple[bytes, bytes]:
    public = Ed25519PublicKey.from_public_bytes(KEY.public._x)
    keys = {KEY.kid: public}
    checked: tuple[bytes, bytes] = program("def check_ticket")["check_ticket"](url, keys.get, now)
    return checked


def ticket(*, iat: int = NOW, kid: bytes = KEY.kid) -> str:
    return link("t.example.net", seal(Ticket(kid, iat, 120, b"nonce-08"), KEY.sign))


def test_the_page_of_the_page_takes_a_ticket() -> None:
    assert check(ticket()) == (KEY.kid, b"nonce-08")
    assert check(ticket(iat=NOW - 130)) == (KEY.kid, b"nonce-08")


@pytest.mark.parametrize("case", TICKETS, ids=[case["name"] for case in TICKETS])
def test_the_page_of_the_page_takes_of_the_contracts_vectors_what_is_fresh(case: dict[str, Any]) -> None:
    """And ``used``, which needs a database."""

    def public_key_of(kid: bytes) -> Ed25519PublicKey | None:
        record = REGISTRY.lookup(kid)
        if record is None or record.public.alg is not Alg.EDDSA:
            return None
        ended = any(end is not None and case["now"] >= end for end in (record.valid_to, record.revoked_at))
        counts = record.valid_from <= case["now"] and not ended
        return None if not counts else Ed25519PublicKey.from_public_bytes(record.public._x)

    shown = case["shown"]
    url = link("t.example.net", shown) if "://" not in shown else shown
    check_ticket = program("def check_ticket")["check_ticket"]
    if case["verdict"] in ("fresh", "used") and case["name"] not in STRICTER:
        assert check_ticket(url, public_key_of, case["now"])[1] == bytes.fromhex(case["ticket"]["nonce"])
    else:
        with pytest.raises(ValueError, match=r".+"):
            check_ticket(url, public_key_of, case["now"])


def test_the_page_of_the_page_takes_what_a_phone_has_read_off_the_tag() -> None:
    site = TagSite(app="net.example.tap")
    site.tag.open()
    site.tag.show(ticket())
    seen, _told = site.read_once()
    assert check(str(seen.url)) == (KEY.kid, b"nonce-08")
    assert seen.app == "net.example.tap"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (ticket(iat=NOW - 131), "too late"),
        (ticket(iat=NOW + 11), "from the future"),
        (ticket(kid=bytes(8)), "no such terminal"),
        (ticket() + "x", "no ticket link"),
        (ticket().replace("https", "http"), "no ticket link"),
        (link("t.example.net", seal(Ticket(KEY.kid, NOW, 120, b"nonce-08"), lambda _data: bytes(64))), "not signed"),
    ],
)
def test_the_page_of_the_page_refuses_what_is_none(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check(url)
