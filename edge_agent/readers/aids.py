"""Which application ids a terminal may ask a phone for. Pure.

A payment application must never be selected by this agent: a phone would open its wallet, a card would answer like at
a till, and a wrong impression of charging is worse than a lost tap. Such AIDs are refused at configuration.
"""

from edge_agent.readers.apdu import AID_BYTES

DEFAULT_AID = bytes.fromhex("F05441504544474501")
"""Contract, section 2: F0 (proprietary, unregistered; ISO/IEC 7816-5) and "TAPEDGE" 01."""

_ENVIRONMENTS = {
    b"1PAY.SYS.DDF01": "the payment system environment (PSE)",
    b"2PAY.SYS.DDF01": "the proximity payment system environment (PPSE)",
}

# Registered application providers (ISO/IEC 7816-5: the first 5 bytes) that run payment systems.
_PAYMENT_PROVIDERS = {
    "A000000001": "Danmont",
    "A000000003": "Visa",
    "A000000004": "Mastercard and Maestro",
    "A000000005": "Maestro UK",
    "A000000010": "Maestro Switzerland",
    "A000000024": "Midland Bank",
    "A000000025": "American Express",
    "A000000029": "LINK",
    "A000000042": "Cartes Bancaires",
    "A000000065": "JCB",
    "A000000098": "Visa US common debit",
    "A000000121": "Dankort",
    "A000000141": "PagoBANCOMAT",
    "A000000152": "Discover and Diners Club",
    "A000000154": "Banrisul",
    "A000000228": "mada",
    "A000000277": "Interac",
    "A000000324": "Discover",
    "A000000333": "UnionPay",
    "A000000337": "GIM-UEMOA",
    "A000000359": "girocard",
    "A000000371": "Verve",
    "A000000384": "eftpos Australia",
    "A000000432": "Universal Electronic Card",
    "A000000524": "RuPay",
    "A000000602": "NSICCS",
    "A000000615": "MyDebit",
    "A000000620": "Debit Network Alliance",
    "A000000658": "Mir",
    "A000000672": "TROY",
    "A000000727": "NAPAS",
    "D276000025": "girocard",
    "D578000002": "BankAxept",
}


def check_aid(aid: str | bytes) -> bytes:
    """Return the AID's bytes, given as bytes or hexadecimal text; raises ValueError with the reason and the remedy."""
    if isinstance(aid, str):
        try:
            aid = bytes.fromhex(aid)
        except ValueError:
            raise ValueError("an AID is written in hexadecimal, like F05441504544474501") from None
    if len(aid) not in AID_BYTES:
        raise ValueError(f"an AID has 5 to 16 bytes (ISO/IEC 7816-5), this one has {len(aid)}")
    if owner := payment_system(aid):
        raise ValueError(f"{aid.hex().upper()} belongs to {owner}; use the AID that your own phone app registers")
    return aid


def payment_system(aid: bytes) -> str | None:
    """Name the payment system that an AID belongs to, None if it is none.

    A prefix of a payment environment counts too: SELECT by a partial DF name finds it (ISO/IEC 7816-4, 7.3.1).
    """
    for name, owner in _ENVIRONMENTS.items():
        if aid.startswith(name) or name.startswith(aid):
            return owner
    return _PAYMENT_PROVIDERS.get(aid[:5].hex().upper())
