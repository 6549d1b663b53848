"""What a secret is called and what a ticket looks like: the vocabulary of all that must not pass one on. Pure."""

import re

REDACTED = "[redacted]"
# A word of a name that marks its value as secret. Numbers and booleans under such a name are counts, not secrets.
_SECRET_WORDS = frozenset(
    {"password", "passwd", "passphrase", "secret", "secrets", "credential", "credentials", "cookie", "authorization"}
    | {"key", "private", "jwk", "pem", "token", "tokens", "payload", "apdu"}
    | {"uid", "nonce", "sub", "pseudonym", "ticket"}
)
TICKET = re.compile(r"A[Q-Za-f][A-Za-z0-9_-]{113}")
"""A ticket for phones is a bearer secret: 115 characters of base64url, the first eight bits are 1 (contract, 3)."""


def names_a_secret(name: str) -> bool:
    """Whether a value of this name, ``broker_password`` or ``privateKey``, is one to hide."""
    return not _SECRET_WORDS.isdisjoint(re.split(r"[^a-z]+", re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()))
