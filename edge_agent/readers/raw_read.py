"""Looks once at what is in the field of a reader, through any driver: no tap comes of it, and no token is given.

It selects the configured applications and that of an NDEF tag, and never one of a payment system.
"""

import asyncio

from edge_agent.clock import Clock
from edge_agent.errors import LostReason, SessionLost
from edge_agent.readers import apdu
from edge_agent.readers.aids import check_aid
from edge_agent.readers.base import Reader, Session, TargetKind
from edge_agent.readers.raw_picture import SW_OK, Picture, Selected

NDEF_AID = bytes.fromhex("D2760000850101")
"""NFC Forum Type 4 Tag, 5.1: the NDEF tag application."""
ANSWER_WITHIN_S = 1.5
_TRIES = 3
"""People come slowly: who is lost at once is looked at again."""
_BACK_WITHIN_S = 1.0


async def look(reader: Reader, aids: tuple[bytes, ...], wait_s: float, clock: Clock) -> Picture | None:
    """Wait ``wait_s`` seconds for something in the field of an open reader and ask what it is; None if nothing came.

    Takes some seconds more where something answers slowly. Raises ReaderError, ValueError for a payment application.
    """
    for aid in aids:
        check_aid(aid)
    until = clock.monotonic() + wait_s
    picture: Picture | None = None
    for _ in range(_TRIES):
        session = await _next(reader, until - clock.monotonic())
        if session is None:
            break
        try:
            picture = await _look_at(session, aids)
        finally:
            await session.close()
        if [one.lost for one in picture.selects] != [LostReason.VANISHED]:
            break
        until = min(until, clock.monotonic() + _BACK_WITHIN_S)
    return picture


async def _next(reader: Reader, within_s: float) -> Session | None:
    try:
        async with asyncio.timeout(max(within_s, 0.0)):
            return await reader.next_session()
    except TimeoutError:
        return None


async def _look_at(session: Session, aids: tuple[bytes, ...]) -> Picture:
    target = session.target
    selects: list[Selected] = []
    ndef: Selected | None = None
    lost = ""
    if target.kind is TargetKind.ISO_DEP:
        for aid in aids:
            selects.append(await _select(session, aid))
            if selects[-1].sw is None:
                break
        lost = selects[-1].trouble if selects and selects[-1].sw is None else ""
        if not lost and not any(one.sw == SW_OK for one in selects):
            ndef = await _select(session, NDEF_AID, tap_app=False)
    return Picture(
        kind=target.kind,
        sak=target.sak,
        atqa=target.atqa,
        uid_bytes=target.uid.length,
        uid_random=target.uid.is_random,
        ats=session.ats,
        selects=tuple(selects),
        ndef=ndef,
        lost=lost,
    )


async def _select(session: Session, aid: bytes, *, tap_app: bool = True) -> Selected:
    try:
        raw = await session.transceive(apdu.select(aid), ANSWER_WITHIN_S)
    except SessionLost as error:
        return Selected(aid, trouble=error.text, lost=error.reason)
    ms = round(session.rtt_s * 1000, 1)
    try:
        response = apdu.parse_response(raw)
    except apdu.ApduError as error:
        return Selected(aid, sw=0, ms=ms, trouble=str(error))
    if response.sw != SW_OK or not tap_app:
        return Selected(aid, response.sw, ms)
    try:
        return Selected(aid, response.sw, ms, version=apdu.parse_application(response.data, aid).version)
    except apdu.ApduError as error:
        return Selected(aid, response.sw, ms, trouble=str(error))
