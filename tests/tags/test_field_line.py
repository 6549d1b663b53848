"""What can be seen of the field-detect line without a GPIO chip: its errors."""

from pathlib import Path

import pytest

from edge_agent.errors import ReaderError, ReaderFault
from edge_agent.tags.field_line import open_field_line


def test_a_line_that_is_not_there_is_told_with_what_to_do() -> None:
    assert not Path("/dev/gpiochip999").exists()
    with pytest.raises(ReaderError, match="gpiochip999:3 cannot be used") as caught:
        open_field_line("gpiochip999:3")
    assert caught.value.fault is ReaderFault.NOT_FOUND
    assert "gpioinfo" in caught.value.remedy
