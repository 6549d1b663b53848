import errno
import os
import termios

import pytest

from edge_agent.errors import ReaderFault
from edge_agent.readers.line_faults import line_error, no_answer, open_error

HERE = "/dev/null"
NOT_HERE = "/dev/no-such-reader"


@pytest.mark.parametrize(
    ("number", "device", "fault", "remedy"),
    [
        (errno.ENOENT, NOT_HERE, ReaderFault.NOT_FOUND, "plug in"),
        (errno.ENXIO, HERE, ReaderFault.NOT_FOUND, "plug in"),
        (errno.EIO, NOT_HERE, ReaderFault.NOT_FOUND, "plug in"),
        (errno.EACCES, HERE, ReaderFault.NO_PERMISSION, "dialout"),
        (errno.EPERM, HERE, ReaderFault.NO_PERMISSION, "dialout"),
        (errno.EAGAIN, HERE, ReaderFault.TAKEN, "stop the other"),
        (errno.EBUSY, HERE, ReaderFault.TAKEN, "stop the other"),
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


def test_what_was_expected_is_named_and_its_remedy_fits() -> None:
    silent = OSError(errno.EIO, "")
    assert line_error(silent, HERE).text == f"no PN532 answers at {HERE}"
    assert "HSU" in no_answer(HERE).remedy
    for error in (line_error(silent, HERE, "acs_ccid reader"), open_error(silent, HERE, "acs_ccid reader")):
        assert error.text == f"no acs_ccid reader answers at {HERE}"
        assert "reader probe" in error.remedy
        assert "HSU" not in error.remedy
