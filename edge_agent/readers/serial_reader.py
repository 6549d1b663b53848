"""Readers with a serial protocol of their own behind the Reader port: those that say numbers, and ACS's CCID dialogue.

What is spoken decides what can be served: a reader that only says numbers sees no phone.
"""

from edge_agent.clock import Clock
from edge_agent.errors import ConfigError
from edge_agent.readers.acs_driver import AcsDriver
from edge_agent.readers.port_names import check_port
from edge_agent.readers.presence import GONE_AFTER_S as PHONE_GONE_AFTER_S
from edge_agent.readers.profiles.base import ProfileSettings
from edge_agent.readers.profiles.make import make_parser
from edge_agent.readers.stays import GONE_AFTER_S, Stays
from edge_agent.readers.threaded_reader import POLL_INTERVAL_S, ThreadedReader
from edge_agent.readers.uid_driver import UidDriver
from edge_agent.readers.usb_reset import UsbReset

BAUDS = (9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600)


class SerialReader(ThreadedReader):
    """A reader on ``device`` (a path, or a USB device as in ``port_names``), 8N1 at ``baud``.

    Without ``gone_after_s`` a number that was not heard for a second, and a phone that an ACS reader did not see for
    0.3 s, has left. ``poll_interval_s`` is for acs_ccid; who says numbers is listened to all the time.
    Raises ConfigError on a port or speed that cannot be used.
    """

    def __init__(
        self,
        name: str,
        device: str,
        *,
        clock: Clock,
        baud: int = 9600,
        profile: ProfileSettings | None = None,
        poll_interval_s: float = POLL_INTERVAL_S,
        gone_after_s: float | None = None,
    ) -> None:
        settings = profile or ProfileSettings()
        try:
            check_port(device)
        except ValueError as error:
            raise ConfigError([f"readers: device {device!r}: {error}"]) from None
        if baud not in BAUDS:
            raise ConfigError([f"readers: baud {baud} is none of {', '.join(map(str, BAUDS))}"])
        if settings.profile == "acs_ccid":
            super().__init__(
                name,
                AcsDriver(device, baud=baud, clock=clock, phone_uids=settings.phone_uids),
                clock=clock,
                poll_interval_s=poll_interval_s,
                gone_after_s=PHONE_GONE_AFTER_S if gone_after_s is None else gone_after_s,
                reset_usb=UsbReset(device),
            )
            return
        driver = UidDriver(
            device,
            baud=baud,
            profile=settings.profile,
            parser=make_parser(settings),
            stays=Stays(gone_after_s=GONE_AFTER_S if gone_after_s is None else gone_after_s),
            clock=clock,
        )
        # The driver waits in its poll and knows who has gone: neither is to be waited for twice.
        super().__init__(name, driver, clock=clock, poll_interval_s=0.0, gone_after_s=0.0, reset_usb=UsbReset(device))
