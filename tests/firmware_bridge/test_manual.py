"""The generator of the OEM's manual: it renews what stands between the marks and nothing else."""

from pathlib import Path

import pytest

from firmware_bridge import manual
from firmware_bridge.frames import FrameDecoder
from firmware_bridge.messages import from_host, from_mcu

PAGE = (Path(__file__).parents[2] / "docs" / "screen-link.md").read_text(encoding="utf-8")


def test_a_stale_part_is_renewed_and_the_rest_stays(tmp_path: Path) -> None:
    stale = tmp_path / "page.md"
    stale.write_text("mine\n" + PAGE.replace("u16, from 1", "u16, from 0") + "mine too\n", encoding="utf-8")
    assert manual.main([str(stale)]) == 0
    assert stale.read_text(encoding="utf-8") == "mine\n" + PAGE + "mine too\n"


def test_a_page_without_a_part_or_with_one_too_many_is_refused() -> None:
    for page in (PAGE.replace("generated: cues", "generated: clues"), PAGE + PAGE, ""):
        with pytest.raises(ValueError, match="the page has the generated parts"):
            manual.with_generated_parts(page)


def test_wrong_usage_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert manual.main([]) == 2
    assert "usage" in capsys.readouterr().err


def test_every_example_is_a_message_that_its_receiver_takes() -> None:
    for name, _, seq, message in manual.EXAMPLES:
        (frame,) = FrameDecoder().feed(manual.encode_message(message, seq))
        assert (from_mcu if frame.type & 0x80 else from_host)(frame) == message, name
