import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.readers.port_names import UsbName, check_device, check_port, parse_port


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


def test_a_usb_port_is_named_by_vendor_product_and_serial() -> None:
    assert parse_port("usb:0403:6001") == UsbName(0x0403, 0x6001)
    assert parse_port("usb:072F:223b:RR-1") == UsbName(0x072F, 0x223B, "RR-1")
    assert check_port("usb:072F:223B") == "usb:072f:223b"


@pytest.mark.parametrize("text", ["usb:", "usb:403:6001", "usb:0403:6001:", "usb:0403:6001:a b", "usb:0403:600g"])
def test_a_wrong_usb_port_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="usb:VENDOR:PRODUCT"):
        parse_port(text)


@given(st.text(max_size=40))
def test_any_text_is_a_port_that_reads_back_or_a_value_error(text: str) -> None:
    try:
        port = parse_port(text)
    except ValueError:
        return
    assert parse_port(str(port)) == port
