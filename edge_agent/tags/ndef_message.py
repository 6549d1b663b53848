"""The NDEF message on a tag: the link of a ticket and, if wanted, an Android Application Record; by ndeflib.

The only module that imports it. A message never exceeds 255 bytes (docs/contract.md).
"""

import ndef

from edge_agent.errors import TicketError

MAX_BYTES = 255
_APPLICATION_RECORD = "urn:nfc:ext:android.com:pkg"
"""The external type that Android reads a package name from."""


def ticket_message(url: str, app: str | None) -> bytes:
    """Return the message: a URI record (NFC Forum URI RTD) and the package ``app`` behind it.

    Raises TicketError for what is no ASCII text, or a message above 255 bytes.
    """
    if not url.isascii() or not (app or "").isascii():
        raise TicketError("a ticket's link and its application are ASCII text")
    records: list[ndef.Record] = [ndef.UriRecord(url)]
    if app:
        records.append(ndef.Record(_APPLICATION_RECORD, "", app.encode("ascii")))
    message = b"".join(ndef.message_encoder(records))
    if len(message) > MAX_BYTES:
        raise TicketError(
            f"an NDEF message of {len(message)} bytes, {MAX_BYTES} at most",
            remedy="shorten `host` or `app` in [tickets]",
        )
    return message
