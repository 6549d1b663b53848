import errno
import os
import termios

import pytest

from edge_agent.errors import ReaderFault
from edge_agent.readers.line_faults import check_device, line_error, open_error

HERE = "/dev/null"
NOT_HERE = "/dev/no-such-reader"


@pytest.mark.parametrize(
    "device",
    [
        "/dev/ttyUSB0",
        "/dev/nfc-reader0",
        "/dev/pts/7",
        "/dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A50285BI-if00-port0",
        "/dev/serial/by-path/pci-0000:00:14.0-usb-0:1:1.0-port0",
    ],
)
def test_every_name_of_a_line_is_accepted(device: str) -> None:
    assert check_device(device) == device


@pytest.mark.parametrize(
    "device",
    ["", "ttyUSB0", "/dev/tty USB0", "/dev/x;reboot", "/dev/$(id)", "/dev/`id`", "/dev/a\nb", "/dev/a|b", "/dev/ü"],
)
def test_what_a_shell_could_take_for_more_is_refused(device: str) -> None:
    with pytest.raises(ValueError, match="absolute path"):
        check_device(device)


@pytest.mark.parametrize(
    ("number", "device", "fault", "remedy"),
    [
        (errno.ENOENT, NOT_HERE, ReaderFault.NOT_FOUND, "plug in"),
        (errno.ENXIO, HERE, ReaderFault.NOT_FOUND, "plug in"),
        (errno.EIO, NOT_HERE, ReaderFault.NOT_FOUND, "plug in"),
        (errno.EACCES, HERE, ReaderFault.NO_PERMISSION, "dialout"),
        (errno.EPERM, HERE, ReaderFault.NO_PERMISSION, "dialout"),
        (errno.EAGAIN, HERE, ReaderFault.IO, "stop the other"),
        (errno.EBUSY, HERE, ReaderFault.IO, "stop the other"),
        (errno.EIO, HERE, ReaderFault.NO_ANSWER, "power-cycle"),
    ],
)
def test_open_errors_say_what_to_do(number: int, device: str, fault: ReaderFault, remedy: str) -> None:
    error = open_error(OSError(number, os.strerror(number)), device)
    assert error.fault is fault
    assert remedy in error.remedy
    assert device in error.text


@pytest.mark.parametrize(
    ("error", "device", "fault"),
    [
        (termios.error(errno.EIO, "Input/output error"), HERE, ReaderFault.UNPLUGGED),
        (OSError(errno.ENODEV, ""), HERE, ReaderFault.UNPLUGGED),
        (OSError(errno.EIO, ""), NOT_HERE, ReaderFault.UNPLUGGED),
        (OSError(errno.EIO, ""), HERE, ReaderFault.NO_ANSWER),
        (OSError(errno.ETIMEDOUT, ""), HERE, ReaderFault.NO_ANSWER),
        (OSError("no errno at all"), HERE, ReaderFault.NO_ANSWER),
    ],
)
def test_a_line_that_fails_was_pulled_out_or_fell_silent(
    error: OSError | termios.error, device: str, fault: ReaderFault
) -> None:
    explained = line_error(error, device)
    assert explained.fault is fault
    assert explained.remedy
