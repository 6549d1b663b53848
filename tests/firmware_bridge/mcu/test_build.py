"""The C reference as a maker gets it: compiles without a word, is small, needs nothing, and is all there."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from firmware_bridge import frames, messages, protocol
from tests.conftest import require_system
from tests.fakes.mcu_reference import HARNESS, MCU, make

CORE = ("tap_frames", "tap_screen")
MAX_CODE = 2048
MAX_RAM = 512
SOURCES = sorted([*MCU.rglob("*.[ch]"), HARNESS])


@pytest.fixture(scope="module")
def sizes(build: Path) -> str:
    require_system("arm-none-eabi-gcc")
    return make(build / "small", "size")


def test_code_and_constants_of_both_files_are_small(sizes: str) -> None:
    text, data, bss = (int(size) for size in sizes.splitlines()[-1].split()[:3])
    assert text < MAX_CODE
    assert (data, bss) == (0, 0)
    claimed = re.search(r"code and constants, both files \| ([\d,]+)", (MCU / "README.md").read_text())
    assert claimed
    # Another compiler is not another page.
    assert text == pytest.approx(int(claimed[1].replace(",", "")), rel=0.1)


def test_they_call_nothing_but_each_other(sizes: str, build: Path) -> None:
    objects = [str(build / "small" / f"{name}.o") for name in CORE]
    nm = subprocess.run(["arm-none-eabi-nm", "-u", *objects], capture_output=True, text=True, check=True)
    wanted = set(re.findall(r"U (\w+)", nm.stdout))
    # What gcc may make of a loop or of an assignment, in any program without a library.
    assert {name for name in wanted if not name.startswith("tap_")} <= {"memcpy", "memset"}


def test_the_ram_is_what_the_page_says(build: Path, sizes: str) -> None:
    """A division by zero at compile time shows any other size."""
    claimed = re.search(r"`struct tap_screen`, no other static data \| (\d+)", (MCU / "README.md").read_text())
    assert claimed
    assert int(claimed[1]) <= MAX_RAM
    source = build / "ram.c"
    source.write_text(
        f'#include "tap_screen.h"\ntypedef char is[(sizeof(struct tap_screen) == {claimed[1]}) ? 1 : -1];\n'
    )
    subprocess.run(
        [
            "arm-none-eabi-gcc",
            "-mcpu=cortex-m3",
            "-mthumb",
            "-ffreestanding",
            f"-I{MCU}",
            "-c",
            source,
            "-o",
            "/dev/null",
        ],
        check=True,
    )


def test_the_stack_is_bounded_and_small(sizes: str, build: Path) -> None:
    frames_of = {}
    for name in CORE:
        for line in (build / "small" / f"{name}.su").read_text().splitlines():
            where, size, kind = line.split("\t")
            assert kind == "static", line  # neither VLA nor alloca
            frames_of[where.rpartition(":")[2]] = int(size)
    assert sum(frames_of.values()) < MAX_RAM


# clang only where somebody has it: it is needed for nothing else.
@pytest.mark.parametrize("compiler", ["gcc", *filter(shutil.which, ["clang"])])
@pytest.mark.parametrize("level", ["-O0", "-O3"])
def test_compiles_without_a_word(build: Path, compiler: str, level: str) -> None:
    require_system("gcc")
    make(build / f"{compiler}{level}", "host", f"CC={compiler} {level}")


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_sources_are_formatted_alike(source: Path) -> None:
    text = source.read_text(encoding="utf-8")
    assert text.startswith("/* SPDX-License-Identifier: Apache-2.0")
    assert "\t" not in text
    assert text.endswith("\n")
    for number, line in enumerate(text.splitlines(), 1):
        assert len(line) <= 120, number
        assert line == line.rstrip(), number


def test_no_heap_no_floating_point_no_library_in_the_two_files() -> None:
    for name in CORE:
        text = (MCU / f"{name}.c").read_text()
        code = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
        assert set(re.findall(r'#include [<"]([^">]+)', code)) <= {"tap_frames.h", "tap_screen.h"}
        assert not re.search(r"\b(malloc|free|float|double|goto|union|static_assert|setjmp)\b", code)


def test_numbers_are_those_of_the_python_end() -> None:
    text = "\n".join((MCU / f"{name}.{kind}").read_text() for name in CORE for kind in "hc")

    def number(name: str) -> int:
        found = re.search(rf"\b{name}(?: =)? (0x[0-9A-F]+|\d+)u?\b", text)
        assert found, name
        return int(found[1], 0)

    for cue, code in messages.CUE_CODES.items():
        assert number(f"TAP_CUE_{cue.name}") == code
    for capability in list(messages.Capability):
        assert number(f"TAP_CAN_{capability.name}") == capability
    for event in messages.EventCode:
        assert number(f"TAP_EVENT_{event.name}") == event
    assert number("TAP_VERSION") == frames.PROTOCOL_VERSION
    assert number("TAP_MAX_PAYLOAD") == frames.MAX_PAYLOAD
    assert number("TAP_MAX_TEXT") == messages.MAX_TEXT
    assert number("TAP_MAX_SERIAL") == messages.MAX_SERIAL
    assert number("TAP_MAX_TERMINAL_ID") == messages.MAX_TERMINAL_ID
    assert number("TAP_MAX_EVENT_DATA") == messages.MAX_EVENT_DATA
    assert number("REPEAT_AFTER_MS") == round(protocol.ACK_WITHIN_S * 1000)
    assert number("REPEATS") == protocol.RETRIES


def test_it_goes_into_the_wheel_with_the_package() -> None:
    project = tomllib.loads((MCU.parents[1] / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert "firmware_bridge" in wheel["packages"]
    assert not {"exclude", "only-include"} & set(wheel)
