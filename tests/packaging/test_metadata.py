"""The files that the recipe writes: control archive, changelog and the licenses of the libraries."""

from pathlib import Path

import pytest
from deb_recipe import bundled, control, copyright, source  # noqa: A004 -- Debian's name of the file
from deb_recipe.target import BuildError, Target

TARGET = Target(12, "amd64")


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def installed(folder: Path, name: str, fields: str, *licenses: tuple[str, str]) -> None:
    info = folder / f"{name}-1.0.dist-info"
    write(info / "METADATA", f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n{fields}\nA text\n")
    write(info / "WHEEL", "Wheel-Version: 1.0\nTag: py2-none-any\nTag: py3-none-any\n")
    for path, text in licenses:
        write(info / path, text)


def test_the_control_file_asks_for_the_python_of_its_release(tmp_path: Path) -> None:
    write(tmp_path / "usr" / "bin" / "x", "x" * 1025)
    control.write(tmp_path, TARGET, "0.2.0", ["libc6 (>= 2.28)", "libgcc-s1"])
    fields = dict(
        line.partition(": ")[::2]
        for line in (tmp_path / "DEBIAN" / "control").read_text(encoding="utf-8").splitlines()
        if not line.startswith(" ")
    )
    assert fields["Version"] == "0.2.0+deb12"
    assert fields["Architecture"] == "amd64"
    assert fields["Depends"].startswith("libc6 (>= 2.28), libgcc-s1, libusb-1.0-0")
    assert "python3 (>= 3.11), python3 (<< 3.12)" in fields["Depends"]
    assert fields["Installed-Size"] == "4"  # two folders, and a file of two KiB
    assert {"python3-pyscard", "pcscd"} <= set(fields["Suggests"].split(", "))


def test_the_control_archive_has_sums_conffiles_and_scripts(tmp_path: Path) -> None:
    write(tmp_path / "etc" / "x")
    control.write(tmp_path, TARGET, "0.2.0", ["libc6"])
    folder = tmp_path / "DEBIAN"
    assert (folder / "md5sums").read_text(encoding="utf-8") == "d41d8cd98f00b204e9800998ecf8427e  etc/x\n"
    assert (folder / "conffiles").read_text(encoding="utf-8") == "/etc/edge-agent/edge-agent.toml\n"
    assert {path.name for path in folder.iterdir()} == {
        "control",
        "md5sums",
        "conffiles",
        "postinst",
        "prerm",
        "postrm",
    }


def test_the_changelog_is_of_the_form_that_debian_reads() -> None:
    lines = control.changelog(TARGET, "0.2.0", 1_800_000_000).splitlines()
    assert lines[0] == "edge-agent (0.2.0+deb12) stable; urgency=medium"
    assert lines[-1].endswith("  Fri, 15 Jan 2027 08:00:00 +0000")


def test_libraries_are_read_by_their_own_metadata(tmp_path: Path) -> None:
    installed(tmp_path, "New_One", "License-Expression: MIT OR Apache-2.0\nLicense: old words")
    installed(tmp_path, "old", "License: see below\nClassifier: License :: OSI Approved :: BSD License")
    installed(tmp_path, "edge-agent", "License-Expression: Apache-2.0")
    new, old = bundled.libraries(tmp_path)
    assert (new.name, new.license, new.is_expression) == ("new-one", "MIT OR Apache-2.0", True)
    assert (old.name, old.license, old.is_expression) == ("old", "BSD License", False)
    assert new.tags == {"py2-none-any", "py3-none-any"}


def test_every_license_is_told_once_and_those_of_debian_by_their_name(tmp_path: Path) -> None:
    ours = "Permission is granted"
    installed(
        tmp_path,
        "a",
        "License: X",
        ("licenses/LICENSE", ours),
        ("licenses/COPYING", "\n  Apache License\n Version 2.0, x"),
    )
    installed(tmp_path, "b", "License: X", ("LICENSE.txt", ours + "\n"))
    installed(tmp_path, "c", "License: X")
    text = copyright.text_of(bundled.libraries(tmp_path))
    assert text.count(ours) == 1
    assert "a LICENSE, b LICENSE.txt" in text
    assert "/usr/share/common-licenses/Apache-2.0 on Debian systems." in text
    assert "c 1.0\n  License: X\n  Source: https://pypi.org/project/c/1.0/\n  Its wheel has no license file" in text


def test_the_version_is_the_one_of_the_sources_unless_another_is_wanted() -> None:
    text = (source.ROOT / source.VERSION_FILE).read_text(encoding="utf-8")
    assert f'VERSION = "{source.version()}"' in text
    assert 'VERSION = "9.8.7"' in source.with_version(text, "9.8.7")


def test_a_time_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(BuildError, match="SOURCE_DATE_EPOCH=yesterday is no number"):
        source.epoch()


def test_a_command_that_fails_is_told_with_its_complaint() -> None:
    with pytest.raises(BuildError, match="no such thing"):
        source.run("sh", "-c", "echo no such thing >&2; exit 3")
    with pytest.raises(BuildError, match="edge-no-such-command is not installed"):
        source.run("edge-no-such-command")
